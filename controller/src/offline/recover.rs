//! A new cluster of one survivor, after the majority is lost.

use std::fmt;

use muster_common::exit::Exit;
use muster_platform::{RoleError, World};

use super::args::ConfirmedArgs;
use super::{Paused, Stopped, found, unconfirmed};
use crate::raft::regroup::{self, Survivor};
use crate::state::Replica;

pub(super) async fn recover(args: &ConfirmedArgs, world: &World) -> Result<(), RoleError> {
    let stopped = Stopped::lock(&args.config, world)?;
    if regroup::is_empty(&stopped.dir) {
        return Err(RoleError::new(
            Exit::NotFound,
            format!("{} holds no controller's state: there is nothing to recover", stopped.dir.display()),
        ));
    }
    let (mut replica, _) = Replica::new();
    let survivor = regroup::read(&stopped.dir, &stopped.owner, &mut replica).await?;
    println!("{}", Consequences { survivor: &survivor, me: stopped.me.id.0 });
    if !args.yes {
        return Err(unconfirmed());
    }
    let made = found(&stopped, &mut replica, survivor.ended, world).await?;
    if let Some(aside) = made.aside {
        println!("What was there is in {}.", aside.display());
    }
    print!("{}", Paused(&made.paused));
    println!(
        "Controller {} is a cluster of its own now.\nNext: start it; run 'muster controller rejoin' on the others and \
         start them; then 'muster members add' each.",
        stopped.me.id
    );
    Ok(())
}

/// What recovering means, for who has to decide it.
struct Consequences<'a> {
    survivor: &'a Survivor,
    me: u64,
}

impl fmt::Display for Consequences<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Survivor { ended, committed, members, voters } = self.survivor;
        let list = |ids: Vec<u64>| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        writeln!(f, "Controller {} has revision {} of term {}.", self.me, ended.revision, ended.term)?;
        writeln!(f, "It knows that everything up to revision {committed} was accepted.")?;
        let after = ended.revision.saturating_sub(*committed);
        if after > 0 {
            writeln!(
                f,
                "{after} entries after that may or may not have been accepted (what was is noted only now and then, \
                 so that up to a hundred or so are no bad sign); they will be kept, as if they were."
            )?;
        }
        writeln!(
            f,
            "Whatever others accepted after revision {} is lost; how much that was is not known here. Look at the \
             other survivors, and take the one with the highest term, and of these the highest revision.",
            ended.revision
        )?;
        writeln!(
            f,
            "Operations that are at work in waves will be paused, as it may be lost that one was over or cancelled."
        )?;
        writeln!(f, "What missed a rollout keeps what it runs, until UPDATE_SPEC or RESTART is submitted.")?;
        let others: Vec<u64> = members.keys().copied().filter(|id| *id != self.me).collect();
        writeln!(
            f,
            "Members were {}, of whom {} voted.",
            list(members.keys().copied().collect()),
            list(voters.iter().copied().collect())
        )?;
        write!(
            f,
            "Controllers {} will not be members any more. If they can still run, stop them: a majority of them \
             would go on as the old cluster.",
            list(others)
        )
    }
}
