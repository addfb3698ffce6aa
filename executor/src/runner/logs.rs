//! What the instances of a node wrote: one way to read it, whichever runner they are of and whether they live.
//!
//! Everything is read from files. Those of a container that runs are a copy, which is brought up to date whenever it is
//! read; so a position stays true through the container's end, and whoever follows loses and repeats nothing there.
//! When that fails, what is there is read, and the reader is told why.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use muster_common::id::InstanceId;

use super::{RunnerError, RunnerSet, Runners};
use crate::logs::{FOLLOW_INTERVAL, LogFollower, LogPiece, LogPosition, LogReader, LogSegments};

/// How soon a follower has a copy brought up to date again in which there was nothing new: that costs the engine a call,
/// since it tells nobody when a container writes.
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
        let freshened = self.freshen(instance).await;
        let (data_dir, id) = (self.data_dir.clone(), instance.clone());
        let reader = blocking(move || LogReader::find(&data_dir, &id)).await?;
        if let (None, Some(trouble)) = (&reader, freshened.trouble) {
            return Err(trouble.into());
        }
        Ok(reader.map(|reader| InstanceLog { logs: self.clone(), instance: instance.clone(), reader }))
    }

    /// What is in the files can be read whatever comes of it.
    async fn freshen(&self, instance: &InstanceId) -> Freshened {
        let mut freshened = Freshened::default();
        for runner in self.runners.iter() {
            match runner.freshen_log(instance).await {
                Ok(is_copied) => freshened.is_copied |= is_copied,
                Err(error) => {
                    tracing::debug!(%error, %instance, "a log is not up to date");
                    freshened = Freshened { is_copied: true, trouble: Some(error) };
                }
            }
        }
        freshened
    }
}

/// What came of having a copy brought up to date.
#[derive(Default)]
struct Freshened {
    /// Whether there is a copy at all, so that it is worth asking again.
    is_copied: bool,
    /// Why it may not be up to date.
    trouble: Option<RunnerError>,
}

impl Freshened {
    fn words(&self) -> Option<String> {
        self.trouble.as_ref().map(ToString::to_string)
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
        let trouble = self.logs.freshen(&self.instance).await.words();
        let reader = self.reader.clone();
        let piece = blocking(move || reader.tail(lines, max_bytes)).await?;
        Ok(LogPiece { trouble, ..piece })
    }

    /// Where to follow from so that nothing written at `time` or later is left out. Begins up to ten seconds earlier.
    pub async fn since(&self, time: SystemTime) -> Result<LogPosition, LogError> {
        // What is the matter is told to whoever reads on from there.
        self.logs.freshen(&self.instance).await;
        let reader = self.reader.clone();
        blocking(move || reader.since(time)).await
    }

    /// Its files, and where each lies in the whole output.
    pub async fn segments(&self) -> Result<LogSegments, LogError> {
        // What is the matter is told to whoever reads.
        self.logs.freshen(&self.instance).await;
        let reader = self.reader.clone();
        blocking(move || reader.segments()).await
    }

    /// Follows it from a position on; the default one is its beginning.
    #[must_use]
    pub fn follow(&self, from: LogPosition) -> Following {
        Following { log: self.clone(), follower: LogFollower::new(self.reader.clone(), from), told: None }
    }
}

/// Follows the log of one instance for as long as it is asked.
pub struct Following {
    log: InstanceLog,
    follower: LogFollower,
    /// The trouble that was told of last.
    told: Option<String>,
}

impl Following {
    /// Where the next piece begins: what to go on from after a restart.
    #[must_use]
    pub fn position(&self) -> LogPosition {
        self.follower.position()
    }

    /// The next piece of what is there by now; none when all of it is read. What is the matter is told with the last one,
    /// which may be empty.
    pub async fn available(&mut self) -> Result<Option<LogPiece>, LogError> {
        if let Some(piece) = self.follower.look().await? {
            return Ok(Some(piece));
        }
        let freshened = self.log.logs.freshen(&self.log.instance).await;
        if let Some(piece) = self.follower.look().await? {
            return Ok(Some(piece));
        }
        let trouble = freshened.words().filter(|trouble| self.told.as_ref() != Some(trouble));
        self.told.clone_from(&trouble);
        Ok(trouble.map(|trouble| LogPiece {
            next: self.position(),
            trouble: Some(trouble),
            ..LogPiece::default()
        }))
    }

    /// Waits for the next piece. `None`: the instance is over, and all it wrote is read. A piece that is empty brings
    /// only word of new trouble. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<LogPiece>, LogError> {
        loop {
            if let Some(piece) = self.follower.look().await? {
                return Ok(Some(piece));
            }
            let freshened = self.log.logs.freshen(&self.log.instance).await;
            let reader = self.log.reader.clone();
            // Before the look: what is written in between is found by it.
            let is_over = blocking(move || reader.is_over()).await?;
            if let Some(piece) = self.follower.look().await? {
                return Ok(Some(piece));
            }
            if is_over && freshened.trouble.is_none() {
                return Ok(None);
            }
            let trouble = freshened.words();
            let is_news = trouble.is_some() && trouble != self.told;
            self.told.clone_from(&trouble);
            if is_news {
                return Ok(Some(LogPiece { next: self.position(), trouble, ..LogPiece::default() }));
            }
            tokio::time::sleep(if freshened.is_copied { COPY_INTERVAL } else { FOLLOW_INTERVAL }).await;
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, LogError> {
    // The task itself fails only when the runtime is shutting down.
    Ok(tokio::task::spawn_blocking(work).await.map_err(io::Error::from)??)
}

#[cfg(test)]
mod tests {
    use muster_common::id::ServiceId;
    use tokio::time::timeout;

    use super::*;
    use crate::logs::{LogDir, OutputLog, Rotation};
    use crate::testing::Node;

    #[tokio::test(start_paused = true)]
    async fn new_trouble_is_told_once_in_a_piece_without_output_and_a_log_in_trouble_is_not_over() {
        let dir = tempfile::tempdir().unwrap();
        let instance = InstanceId::new("SI-1").unwrap();
        let log_dir = LogDir::of(dir.path(), &ServiceId::new("web-1").unwrap(), &instance);
        OutputLog::open(log_dir, Rotation::of_copy(None)).unwrap().append(b"hello\n");
        let node = Node::default();
        let log = Logs::new(dir.path().to_owned(), &node.runners()).of(&instance).await.unwrap().unwrap();
        let mut following = log.follow(LogPosition::default());
        let piece = following.next().await.unwrap().unwrap();
        assert_eq!((piece.bytes.as_slice(), piece.trouble), (&b"hello\n"[..], None));
        let end = following.position();
        let only = |trouble: &str| {
            Some(LogPiece { next: end, trouble: Some(trouble.to_owned()), ..LogPiece::default() })
        };
        let an_hour = Duration::from_secs(3600);
        for trouble in ["no engine answers", "it is broken"] {
            node.set_log_trouble(Some(trouble));
            assert_eq!(following.next().await.unwrap(), only(trouble));
            std::fs::write(dir.path().join("logs/web-1/SI-1/output.ended"), "").unwrap();
            assert!(timeout(an_hour, following.next()).await.is_err(), "told again, or over");
        }
        assert_eq!(following.position(), end);
        node.set_log_trouble(None);
        assert_eq!(following.next().await.unwrap(), None);
    }
}
