//! The condition of an instance: what the disk and the kernel together say of it.

use std::fs;
use std::io;
use std::time::Duration;

use muster_common::id::InstanceId;
use tokio::time::{Instant, sleep};

use super::launch::Pids;
use super::watch::{self, ExitReceiver};
use super::{Inner, off_worker};
use crate::runner::{Exit, Listed, Place, RunnerError, Workload};

/// How long a shim that lives may take to write down whom it started.
pub(super) const SETTLE_WAIT: Duration = Duration::from_secs(10);

/// How often a condition on the disk is looked at again.
pub(super) const SETTLE_INTERVAL: Duration = Duration::from_millis(10);

/// What the disk and the kernel together say of an instance.
pub(super) enum Condition {
    Nothing,
    NeverStarted,
    Running(Pids, ExitReceiver),
    Ended(Pids, Exit),
}

impl Inner {
    /// Finds out, finishes what a killed shim left unfinished, and watches what runs.
    pub(super) async fn examine(&self, instance: &InstanceId) -> Result<Condition, RunnerError> {
        let failed = |error: io::Error| RunnerError::at("find process", &error);
        let run = self.run_dir(instance);
        let deadline = Instant::now() + SETTLE_WAIT;
        self.wait_for_start(instance, deadline).await?;
        loop {
            let seen = run.clone();
            let read = move || {
                if seen.exists() { Ok(Some((seen.lock()?, seen.pids()))) } else { Ok(None) }
            };
            let Some((lock, pids)) = off_worker(read).await.map_err(failed)? else {
                return Ok(Condition::Nothing);
            };
            let pids = match pids {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    // Who runs there cannot be told, and not be looked after: nobody may go on.
                    tracing::error!(%instance, %error, "it cannot be read who runs for an instance; killing it");
                    watch::kill_strays(instance, &run, None, None).await.map_err(failed)?;
                    None
                }
                answer => answer.map_err(failed)?,
            };
            match (lock, pids) {
                (Some(_free), None) => {
                    // Unless the shim was killed right after it started somebody, this finds nobody.
                    watch::kill_strays(instance, &run, None, None).await.map_err(failed)?;
                    return Ok(Condition::NeverStarted);
                }
                // The machine was started anew since. Who ended before it went down left its exit status.
                (_, Some(pids)) if pids.boot_id != self.boot_id => {
                    let ended = off_worker(move || run.ended()).await.unwrap_or_else(|error| {
                        tracing::warn!(%instance, %error, "it cannot be read how it ended before the machine was started anew");
                        None
                    });
                    return Ok(ended.map_or(Condition::Nothing, |ended| Condition::Ended(pids, ended.exit)));
                }
                (Some(_free), Some(pids)) => {
                    let exit = watch::conclude(instance, &run, &pids, None).await.map_err(failed)?;
                    return Ok(Condition::Ended(pids, exit));
                }
                (None, Some(pids)) => {
                    if let Some(exit) = self.watches.watch(instance, &run, &pids).map_err(failed)? {
                        return Ok(Condition::Running(pids, exit));
                    }
                    // It ended between two looks, and its lock is about to be free.
                }
                // It is being started.
                (None, None) => {}
            }
            if Instant::now() >= deadline {
                let why = format!("its shim has not settled within {SETTLE_WAIT:?}");
                return Err(RunnerError::Failed { step: "find process", why });
            }
            sleep(SETTLE_INTERVAL).await;
        }
    }

    /// Waits until this executor's own start of an instance, if there is one, has come to its end.
    async fn wait_for_start(&self, instance: &InstanceId, deadline: Instant) -> Result<(), RunnerError> {
        while self.starts.contains(instance) {
            if Instant::now() >= deadline {
                let why = format!("a start of it has not come to its end within {SETTLE_WAIT:?}");
                return Err(RunnerError::Failed { step: "find process", why });
            }
            sleep(SETTLE_INTERVAL).await;
        }
        Ok(())
    }

    pub(super) fn list(&self) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for entry in fs::read_dir(self.data_dir.join("run"))? {
            let name = entry?.file_name();
            match InstanceId::new(name.to_string_lossy()) {
                Ok(instance) => {
                    let (place, runs) = (self.place(&instance)?, self.seems_to_run(&instance)?);
                    listed.push(Listed { instance, place, runs });
                }
                Err(error) => tracing::warn!(%error, "ignored in the run directory"),
            }
        }
        listed.sort_by(|one, other| one.instance.cmp(&other.instance));
        Ok(listed)
    }

    /// Without touching the lock, which a start under way may be about to take.
    fn seems_to_run(&self, instance: &InstanceId) -> io::Result<bool> {
        let pids = match self.run_dir(instance).pids() {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(true),
            answer => answer?,
        };
        match pids {
            Some(pids) if pids.boot_id == self.boot_id => Ok(pids.shim.open()?.is_some()),
            _ => Ok(false),
        }
    }

    /// A place that cannot be read is no place: what is there can only be cleared away.
    fn place(&self, instance: &InstanceId) -> io::Result<Option<Place>> {
        match self.run_dir(instance).place() {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!(%instance, %error, "it cannot be told where an instance belongs");
                Ok(None)
            }
            answer => answer,
        }
    }
}

pub(super) fn workload(pids: &Pids) -> Workload {
    Workload::Process {
        shim_pid: pids.shim.pid,
        shim_start_ticks: pids.shim.start_ticks,
        pid: pids.workload.pid,
        start_ticks: pids.workload.start_ticks,
        warnings: pids.warnings.clone(),
    }
}
