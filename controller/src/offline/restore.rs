//! A new cluster of a backup.

use std::fs::File;
use std::io::BufReader;

use muster_common::exit::Exit;
use muster_common::id::Revision;
use muster_platform::{RoleError, World};

use super::{Paused, RestoreArgs, Stopped, found};
use crate::backup;
use crate::raft::Machine as _;
use crate::raft::regroup::{self, Ended};
use crate::state::Replica;

/// What happens to what runs, for who has to go on from there.
const CONSEQUENCES: &str = "\
    What runs says what became of it since the backup, and nothing of it is stopped where the backup has its slot: an \
    instance that was replaced since then stays as it is, as does one that missed a rollout before. Its generation is \
    not the service's; to have the wanted spec everywhere, submit UPDATE_SPEC or RESTART, which go in waves.\n\
    Executors that the backup does not know register as new ones, with new epochs: what runs on them is replaced. \
    Services that came after the backup are not known, and what runs of them is stopped.";

pub(super) async fn restore(args: &RestoreArgs, world: &World) -> Result<(), RoleError> {
    let stopped = Stopped::lock(&args.config, world)?;
    if !regroup::is_empty(&stopped.dir) {
        return Err(RoleError::new(
            Exit::Conflict,
            format!(
                "{} holds a controller's state already; restore into an empty data directory, or set that state \
                 aside with 'muster controller rejoin'",
                stopped.dir.display()
            ),
        ));
    }
    let name = args.backup.display();
    let unusable = |cause: &dyn std::fmt::Display| {
        RoleError::new(Exit::Validation, format!("{name} cannot be restored: {cause}"))
    };
    let file = File::open(&args.backup)
        .map_err(|error| RoleError::caused_by(Exit::NotFound, format!("cannot open {name}"), &error))?;
    let mut chunks = Vec::new();
    let header = backup::read(BufReader::new(file), |chunk| chunks.push(chunk)).map_err(|e| unusable(&e))?;
    if header.cluster != stopped.cluster {
        let (found, ours) = (&header.cluster, &stopped.cluster);
        return Err(unusable(&format!("it is of cluster {found}, and this controller is of cluster {ours}")));
    }
    // All of it is read, so that nothing is found to be wrong later.
    let (mut replica, state) = Replica::new();
    replica.restore(&chunks).map_err(|error| unusable(&error))?;
    drop(chunks); // as large as the state
    replica.publish();
    let revision = state.borrow().revision();
    if revision != Revision(header.revision) {
        return Err(unusable(&format!("it holds revision {} and names {}", revision.0, header.revision)));
    }
    let ended = Ended { term: header.term, revision: header.revision };
    let made = found(&stopped, &mut replica, ended, world).await?;
    let (services, executors) = (state.borrow().services().count(), state.borrow().executors().count());
    println!(
        "controller {} is a cluster of its own now, with revision {} of cluster {}: {services} services, \
         {executors} executors.\n{CONSEQUENCES}\n{}Next: start it; run 'muster controller rejoin' on the others and start \
         them; then 'muster members add' each.",
        stopped.me.id,
        header.revision,
        header.cluster,
        Paused(&made.paused)
    );
    Ok(())
}
