//! Commands that work on the files of a stopped controller: they make a new cluster of a backup or of one survivor, or set
//! the files aside so that the controller can join again.
//!
//! | module | noun |
//! |---|---|
//! | [`args`] | the command line |
//! | [`restore`] | a new cluster of a backup |
//! | [`recover`] | a new cluster of one survivor |
//! | [`rejoin`] | a controller that begins anew |

mod args;
mod recover;
mod rejoin;
mod restore;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_common::exit::Exit;
use muster_common::id::Revision;
use muster_common::operation::Operation;
use muster_platform::{DataDir, RoleError, World};

pub use args::{OfflineCommand, RestoreArgs};

use crate::config::ControllerConfig;
use crate::raft::regroup::Ended;
use crate::raft::types::Incarnation;
use crate::raft::{Machine as _, Member, StartError, regroup};
use crate::state::Replica;
use crate::store::Owner;

/// Runs a command. What it has to say goes to standard output.
pub async fn run(command: OfflineCommand, world: &World) -> Result<(), RoleError> {
    match command {
        OfflineCommand::Recover(args) => recover::recover(&args, world).await,
        OfflineCommand::Restore(args) => restore::restore(&args, world).await,
        OfflineCommand::Rejoin(args) => rejoin::rejoin(&args, world),
    }
}

/// A stopped controller, whose data directory is locked so that nobody can start it meanwhile.
struct Stopped {
    me: Member,
    owner: Owner,
    dir: PathBuf,
    cluster: String,
    _lock: DataDir,
}

impl Stopped {
    fn lock(config: &Path, world: &World) -> Result<Self, RoleError> {
        let read: ControllerConfig = muster_platform::config::read_yaml(config)?;
        read.check()?;
        let invalid = |what: &str| RoleError::new(Exit::Validation, format!("{} {what}", config.display()));
        let Some(dir) = read.data_dir.clone() else { return Err(invalid("has no 'dataDir'")) };
        let me = read.members.iter().find(|member| member.id == read.id);
        let Some(me) = me else { return Err(invalid("does not name this controller among 'members'")) };
        let me = Member { id: me.id, cluster_addr: me.cluster.clone(), api_addr: me.api.clone() };
        let incarnation = Incarnation(world.uuid().to_string());
        let owner = Owner { cluster: read.cluster.clone(), controller: read.id, incarnation };
        let lock = DataDir::lock(&dir)?;
        regroup::finish(&dir).map_err(|error| {
            let sentence = format!("cannot finish in {} what was cut short", dir.display());
            RoleError::caused_by(Exit::Failure, sentence, &error)
        })?;
        Ok(Self { me, owner, dir, cluster: read.cluster.to_string(), _lock: lock })
    }
}

/// A group of one that was made.
struct Founded {
    /// Where the files are that were in the directory before, if there were any.
    aside: Option<PathBuf>,
    /// The operations that were at work in the old group. They are paused now and wait for a user's decision.
    paused: Vec<Arc<Operation>>,
}

/// Makes a stopped controller a group of its own. Its state is the one in `replica`, which is of a group that has ended.
/// What was in its directory is set aside.
///
/// Operations that go in waves are paused. How far they got since, or that users stopped them, may not be known here,
/// and each of their steps replaces something that runs.
async fn found(
    stopped: &Stopped,
    replica: &mut Replica,
    ended: Ended,
    world: &World,
) -> Result<Founded, StartError> {
    let now = world.clock.now();
    let begin = ended.next(now);
    replica.begin_history(Revision(begin.index), world.uuid().to_string());
    let paused = replica.pause_waves(now);
    let aside =
        regroup::write(&stopped.dir, &stopped.owner, &stopped.me, begin, replica.snapshot()()).await?;
    Ok(Founded { aside, paused })
}

/// What was paused, each with what has it go on and what ends it; nothing: nothing was.
struct Paused<'a>(&'a [Arc<Operation>]);

impl fmt::Display for Paused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "These operations were at work and are paused now. Look at each, and at what runs, before you resume or \
             cancel it; one that waits for 7 days fails."
        )?;
        for operation in self.0 {
            let path = format!("/apis/v1/localservices/operations/{}", operation.id);
            writeln!(
                f,
                "  {} of {}: it goes on after POST {path}/resume, and ends after POST {path}/cancel",
                operation.kind, operation.service
            )?;
        }
        Ok(())
    }
}

/// Nothing was done, because nobody said that it should.
fn unconfirmed() -> RoleError {
    RoleError::new(Exit::Usage, "nothing was changed; say --yes to have it done")
}

#[cfg(test)]
mod tests {
    use muster_common::operation::ClusterOpSpec;

    use super::*;
    use crate::state::testing::*;

    #[test]
    fn what_is_paused_is_named_with_what_can_be_done() {
        assert_eq!(Paused(&[]).to_string(), "");
        let mut fixture = Fixture::with_executors(1);
        fixture.running(spec("web"), 1);
        let operation = fixture.restart("web-1", ClusterOpSpec::default(), false);
        fixture.settle();
        let said = Paused(&fixture.state.pause_waves(fixture.now)).to_string();
        let path = format!("/apis/v1/localservices/operations/{operation}");
        let line = format!(
            "RESTART of web-1: it goes on after POST {path}/resume, and ends after POST {path}/cancel"
        );
        assert!(said.contains("are paused now") && said.contains(&line), "{said}");
    }
}
