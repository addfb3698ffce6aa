//! Watches shims: their end is seen the moment it happens, whether this executor started them or an
//! earlier one did, and turned into the exit of their workload.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use muster_common::id::InstanceId;
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::launch::{Ended, Pids};
use super::off_worker;
use super::rundir::RunDir;
use crate::runner::kin::{self, ProcessId};
use crate::runner::{Exit, RunnerEvent};

/// How long what a killed shim left behind may take to vanish after SIGKILL.
const STRAY_WAIT: Duration = Duration::from_secs(10);

/// How often a kill is repeated.
const STRAY_INTERVAL: Duration = Duration::from_millis(20);

/// How long the end of a shim may take that has let go of everything.
const BURIAL_WAIT: Duration = Duration::from_secs(5);

/// How soon an end is looked into again that could not be: out of descriptors, say.
const CONCLUDE_INTERVAL: Duration = Duration::from_secs(1);

/// Learns of one workload's end.
pub(super) type ExitReceiver = watch::Receiver<Option<Exit>>;

struct Watched {
    exit: ExitReceiver,
    _task: AbortOnDropHandle<()>,
}

/// One task for each running workload. The map is locked for moments only, never across a wait.
pub(super) struct Watches {
    events: mpsc::Sender<RunnerEvent>,
    watched: Mutex<BTreeMap<InstanceId, Watched>>,
}

impl Watches {
    pub(super) fn new(events: mpsc::Sender<RunnerEvent>) -> Self {
        Self { events, watched: Mutex::default() }
    }

    /// Watches a shim; one that is watched already stays so. `None`: it is gone by now.
    pub(super) fn watch(
        &self,
        instance: &InstanceId,
        run: &RunDir,
        pids: &Pids,
    ) -> io::Result<Option<ExitReceiver>> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(present) = watched.get(instance) {
            return Ok(Some(present.exit.clone()));
        }
        let Some(descriptor) = pids.shim.open()? else { return Ok(None) };
        // The successor of this call is unsafe for descriptors that their owner may close or change;
        // an `OwnedFd` does neither.
        #[allow(deprecated)]
        let descriptor = AsyncFd::with_interest(descriptor, Interest::READABLE)?;
        let (sender, exit) = watch::channel(None);
        let task = tend(instance.clone(), run.clone(), pids.clone(), descriptor, sender, self.events.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(task));
        watched.insert(instance.clone(), Watched { exit: exit.clone(), _task: task });
        Ok(Some(exit))
    }

    /// Announces an end that nobody watched.
    pub(super) async fn announce(&self, instance: InstanceId, exit: Exit) {
        announce(&self.events, instance, exit).await;
    }

    /// Waits until whoever watches the shim of a workload that has ended has buried it; that is a matter of moments.
    pub(super) async fn bury(&self, instance: &InstanceId) {
        let watched = self
            .watched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(instance)
            .map(|watched| watched.exit.clone());
        let Some(mut exit) = watched else { return };
        // An error says that nobody watches any more.
        if timeout(BURIAL_WAIT, exit.wait_for(Option::is_some)).await.is_err() {
            tracing::warn!(%instance, "its shim has not ended within {BURIAL_WAIT:?}");
        }
    }

    /// Forgets an instance that was removed.
    pub(super) fn forget(&self, instance: &InstanceId) {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).remove(instance);
    }
}

async fn tend(
    instance: InstanceId,
    run: RunDir,
    pids: Pids,
    shim: AsyncFd<OwnedFd>,
    sender: watch::Sender<Option<Exit>>,
    events: mpsc::Sender<RunnerEvent>,
) {
    if let Err(error) = shim.readable().await {
        // The runtime is shutting down.
        tracing::debug!(%instance, %error, "stopped watching");
        return;
    }
    // Buries it, when it was this executor's own child.
    let _ = waitid(WaitId::PidFd(shim.get_ref().as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    drop(shim);
    // The shim's number is nobody else's only now; on a second look it may be.
    let mut session = Some(pids.shim.pid);
    let exit = loop {
        match conclude(&instance, &run, &pids, session.take()).await {
            Ok(exit) => break exit,
            Err(error) => {
                tracing::error!(%instance, %error, "it cannot be found out how the workload ended; trying again");
                sleep(CONCLUDE_INTERVAL).await;
            }
        }
    };
    sender.send_replace(Some(exit.clone()));
    announce(&events, instance, exit).await;
}

async fn announce(events: &mpsc::Sender<RunnerEvent>, instance: InstanceId, exit: Exit) {
    if events.send(RunnerEvent::Exited { instance, exit }).await.is_err() {
        tracing::debug!("nobody listens for exits any more");
    }
}

/// How a workload ended whose shim is gone. A shim that was killed itself has not said: then nothing
/// of the workload may go on unwatched, and its exit status is unknown. One that has said, but could not end
/// everybody, keeps no exit status from being known: whoever is left after one more blow is the removal's to go on
/// with. On `session` see [`kin::strays`].
pub(super) async fn conclude(
    instance: &InstanceId,
    run: &RunDir,
    pids: &Pids,
    session: Option<u32>,
) -> io::Result<Exit> {
    let kept = run.clone();
    let ended = match off_worker(move || kept.ended()).await {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            tracing::warn!(%instance, %error, "the exit status cannot be read");
            None
        }
        answer => answer?,
    };
    let workload = Some(pids.workload);
    match ended {
        Some(Ended { exit, alone: true }) => Ok(exit),
        Some(Ended { exit, alone: false }) => {
            match strike(instance, run, workload, session).await {
                Ok(left) => tracing::warn!(%instance, ?left, "the workload ended before all that it started"),
                Err(error) => {
                    tracing::warn!(%instance, %error, "what the workload left cannot be killed yet");
                }
            }
            Ok(exit)
        }
        None => {
            tracing::warn!(%instance, "the shim ended before its work was done; killing what it left");
            kill_strays(instance, run, workload, session).await?;
            Ok(Exit::default())
        }
    }
}

/// Kills whoever is in the instance's control groups and whatever [`kin::strays`] finds, until nobody is left. An error
/// means that it could not be looked, or that somebody is left whom SIGKILL does not end: he may hold ports still.
pub(super) async fn kill_strays(
    instance: &InstanceId,
    run: &RunDir,
    workload: Option<ProcessId>,
    session: Option<u32>,
) -> io::Result<()> {
    let deadline = Instant::now() + STRAY_WAIT;
    loop {
        let left = strike(instance, run, workload, session).await?;
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let pids: Vec<u32> = left.iter().map(|process| process.pid).collect();
            let why = format!("processes {pids:?} are still there {STRAY_WAIT:?} after SIGKILL");
            return Err(io::Error::other(why));
        }
        sleep(STRAY_INTERVAL).await;
    }
}

/// Sends SIGKILL to all of them once; whom it was sent to one by one, because they were still there.
async fn strike(
    instance: &InstanceId,
    run: &RunDir,
    workload: Option<ProcessId>,
    session: Option<u32>,
) -> io::Result<Vec<ProcessId>> {
    let (name, run) = (instance.clone(), run.clone());
    let blow = move || {
        let group = run.group()?;
        // At one blow first: who is looked for one by one may fork meanwhile.
        group.kill()?;
        let mut left = kin::strays(name.as_str(), workload, session)?;
        left.extend(group.members()?);
        left.iter().try_for_each(|process| process.signal(Signal::KILL))?;
        Ok(left)
    };
    off_worker(blow).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_exit_is_known_whoever_cannot_be_killed() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path().to_owned());
        // A group of which nobody can tell who is in it.
        let group = dir.path().join("group");
        std::fs::create_dir_all(group.join("cgroup.procs")).unwrap();
        let places = serde_json::json!({"places": [{"dir": group, "version": "v2"}]});
        run.write_group(&serde_json::from_value(places).unwrap()).unwrap();
        let nobody = ProcessId { pid: u32::MAX, start_ticks: 0 };
        let pids = Pids { boot_id: String::new(), shim: nobody, workload: nobody, warnings: Vec::new() };
        let instance = InstanceId::new("SI-1").unwrap();
        let exit = Exit { code: Some(7), ..Exit::default() };
        run.write_ended(&Ended { exit: exit.clone(), alone: false }).unwrap();
        assert_eq!(conclude(&instance, &run, &pids, None).await.unwrap(), exit);
        // Who takes it away is told what is in the way.
        kill_strays(&instance, &run, None, None).await.unwrap_err();
    }
}
