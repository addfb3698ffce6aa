//! What the instances of a node wrote: one way to read it, whichever runner they are of and whether they live.
//!
//! Everything is read from files. Those of a container that runs are a copy, which is brought up to date whenever it is
//! read; so a position stays true through the container's end, and whoever follows loses and repeats nothing there.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use muster_common::id::InstanceId;

use super::{RunnerError, RunnerSet, Runners};
use crate::logs::{FOLLOW_INTERVAL, LogFollower, LogPiece, LogPosition, LogReader};

/// How soon a follower has a copy brought up to date again in which there was nothing new: that costs the engine a call.
const COPY_INTERVAL: Duration = Duration::from_secs(1);

/// A log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Its files cannot be.
    #[error("the log's files cannot be read: {0}")]
    Disk(#[from] io::Error),
    /// Who keeps it does not give it.
    #[error(transparent)]
    Runner(#[from] RunnerError),
}

/// The logs of a node's instances.
#[derive(Clone)]
pub struct Logs {
    data_dir: PathBuf,
    runners: RunnerSet,
}

impl Logs {
    /// The logs below an executor's data directory, and those that its runners have still to give.
    #[must_use]
    pub fn new(data_dir: PathBuf, runners: &Runners) -> Self {
        Self { data_dir, runners: runners.set() }
    }

    /// The log of an instance. `None` when there is none, or none any more.
    pub async fn of(&self, instance: &InstanceId) -> Result<Option<InstanceLog>, LogError> {
        self.freshen(instance).await?;
        let (data_dir, id) = (self.data_dir.clone(), instance.clone());
        let reader = blocking(move || LogReader::find(&data_dir, &id)).await?;
        Ok(reader.map(|reader| InstanceLog { logs: self.clone(), instance: instance.clone(), reader }))
    }

    /// Whether it is worth asking again. What is in the files can be read also while a runner is away.
    async fn freshen(&self, instance: &InstanceId) -> Result<bool, LogError> {
        let mut is_copied = false;
        for runner in self.runners.iter() {
            is_copied |= match runner.freshen_log(instance).await {
                Err(RunnerError::Unavailable(error)) => {
                    tracing::debug!(error, %instance, "a log is not up to date");
                    true
                }
                answer => answer?,
            };
        }
        Ok(is_copied)
    }
}

/// The log of one instance.
#[derive(Clone)]
pub struct InstanceLog {
    logs: Logs,
    instance: InstanceId,
    reader: LogReader,
}

impl InstanceLog {
    /// The last `lines` lines, as far as they are within the last `max_bytes`, and where following them begins.
    pub async fn tail(&self, lines: usize, max_bytes: usize) -> Result<LogPiece, LogError> {
        self.logs.freshen(&self.instance).await?;
        let reader = self.reader.clone();
        blocking(move || reader.tail(lines, max_bytes)).await
    }

    /// Where to follow from so that nothing written at `time` or later is left out. Begins up to ten seconds earlier.
    pub async fn since(&self, time: SystemTime) -> Result<LogPosition, LogError> {
        self.logs.freshen(&self.instance).await?;
        let reader = self.reader.clone();
        blocking(move || reader.since(time)).await
    }

    /// Follows it from a position on; the default one is its beginning.
    #[must_use]
    pub fn follow(&self, from: LogPosition) -> Following {
        Following { log: self.clone(), follower: LogFollower::new(self.reader.clone(), from) }
    }
}

/// Follows the log of one instance for as long as it is asked.
pub struct Following {
    log: InstanceLog,
    follower: LogFollower,
}

impl Following {
    /// Where the next piece begins: what to go on from after a restart.
    #[must_use]
    pub fn position(&self) -> LogPosition {
        self.follower.position()
    }

    /// Waits for the next piece. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<LogPiece, LogError> {
        loop {
            if let Some(piece) = self.follower.look().await? {
                return Ok(piece);
            }
            let is_copied = self.log.logs.freshen(&self.log.instance).await?;
            if let Some(piece) = self.follower.look().await? {
                return Ok(piece);
            }
            tokio::time::sleep(if is_copied { COPY_INTERVAL } else { FOLLOW_INTERVAL }).await;
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, LogError> {
    // The task itself fails only when the runtime is shutting down.
    Ok(tokio::task::spawn_blocking(work).await.map_err(io::Error::from)??)
}
