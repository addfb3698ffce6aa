//! What a container wrote, as the engine keeps it, and the copy of it that outlives the container.
//!
//! The copy is in the form of processes' logs, below the executor's data directory. It is brought up to date whenever
//! somebody reads the log of a container that runs, and completed when the container has ended, so that a position in it
//! stays true through the end. An engine that cannot give the log holds up nobody's end: what is missing is said and
//! counted.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{LogsOptions, LogsOptionsBuilder};
use futures::{Stream, StreamExt};
use muster_common::id::{InstanceId, ServiceId};
use muster_common::spec::LoggingSpec;
use tokio::time::Instant;

use super::container::label;
use super::engine::{Engine, EngineError};
use super::stamp;
use crate::logs::{Entries, LogCopy, LogDir, LogReader, Rotation, Seek, Step};
use crate::runner::{LaunchPlan, RunnerError};

/// The lines that are asked for when only the end of a log is read; its bytes are what counts.
const TAIL_LINES: &str = "500";

/// The lines that are asked for first when a copy is brought up to date: the engine finds them from the end.
const RECENT_LINES: &str = "1000";

const ALL_LINES: &str = "all";

/// How long a log may take to be copied before its end is asked for alone: within the time that evidence has.
const COLLECT_LIMIT: Duration = Duration::from_secs(6);

/// How long what is left of it may take before the container is removed all the same.
const COMPLETE_LIMIT: Duration = Duration::from_secs(30);

/// How long somebody who reads the log of a container that runs waits for what is new; then it goes on the next time.
const FRESHEN_LIMIT: Duration = Duration::from_secs(3);

/// How much longer the engine may be silent.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// The bytes that are written in one go.
const BATCH_BYTES: usize = 64 << 10;

/// A log could not be copied, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// The engine does not give it.
    #[error("{0}")]
    Engine(#[from] EngineError),
    /// It gave up in the middle, in its own words.
    #[error("the engine cannot read on: {0}")]
    Broken(String),
    /// It is not over in time.
    #[error("copying takes longer than {0:?}")]
    TooLong(Duration),
    /// There is no place for it.
    #[error("its files cannot be used: {0}")]
    Disk(#[from] io::Error),
}

impl CopyError {
    /// What is missing now is missing for good.
    pub(super) fn report(&self, instance: &InstanceId) {
        let why = match self {
            Self::Engine(error) if error.is_not_found() => "gone",
            Self::Engine(EngineError::Refused { .. }) => "refused",
            Self::Engine(EngineError::Unreachable { .. } | EngineError::TooOld { .. }) => "unreachable",
            Self::Broken(_) => "broken",
            Self::TooLong(_) => "too_long",
            Self::Disk(_) => "disk",
        };
        tracing::warn!(error = %self, %instance, "the log of a container is not kept, or not all of it");
        metrics::counter!("muster_executor_logs_not_kept_total", "why" => why).increment(1);
    }

    fn at(self, step: &'static str) -> RunnerError {
        match self {
            Self::Engine(error) => error.at(step),
            other => RunnerError::Failed { step, why: other.to_string() },
        }
    }

    fn is_gone(&self) -> bool {
        matches!(self, Self::Engine(error) if error.is_not_found())
    }
}

/// Where a container's log is, and where its copy.
#[derive(Debug, Clone)]
struct Source {
    container: String,
    dir: LogDir,
    rotation: Rotation,
    /// Whether the copy holds all that there will ever be.
    is_complete: bool,
}

/// What is known of the logs of living instances; kept until they are removed.
pub(super) struct Logs {
    data_dir: PathBuf,
    known: Mutex<BTreeMap<InstanceId, Source>>,
}

impl Logs {
    pub(super) fn new(data_dir: PathBuf) -> Self {
        Self { data_dir, known: Mutex::default() }
    }

    pub(super) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// A container was started for this plan.
    pub(super) fn expect(&self, plan: &LaunchPlan, container: &str) {
        self.learn(&plan.instance, container, &plan.place.service, plan.spec.logging.as_ref());
    }

    /// The engine shows this container of an instance.
    pub(super) fn keep(&self, instance: &InstanceId, container: &str, found: &ContainerInspectResponse) {
        let service =
            super::labels(found).and_then(|labels| ServiceId::new(labels.get(label::SERVICE)?).ok());
        if let Some(service) = service {
            self.learn(instance, container, &service, logging_of(found).as_ref());
        }
    }

    fn learn(
        &self,
        instance: &InstanceId,
        container: &str,
        service: &ServiceId,
        logging: Option<&LoggingSpec>,
    ) {
        let source = || Source {
            container: container.to_owned(),
            dir: LogDir::of(&self.data_dir, service, instance),
            rotation: Rotation::of_copy(logging),
            is_complete: false,
        };
        self.change(|known| {
            known.entry(instance.clone()).or_insert_with(source);
        });
    }

    /// The instance is no more.
    pub(super) fn forget(&self, instance: &InstanceId) {
        self.change(|known| known.remove(instance));
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<InstanceId, Source>) -> T) -> T {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn get(&self, instance: &InstanceId) -> Option<Source> {
        self.change(|known| known.get(instance).cloned())
    }

    /// The engine is asked only for one that nobody has asked for since this executor started. `None`: it was never
    /// started, or is nobody's.
    async fn source(
        &self,
        engine: &Engine,
        instance: &InstanceId,
        container: &str,
    ) -> Result<Option<Source>, CopyError> {
        if let Some(source) = self.get(instance) {
            return Ok(Some(source));
        }
        let found = engine
            .call("inspect_container", async |client| client.inspect_container(container, None).await)
            .await?;
        if !found.state.as_ref().is_some_and(super::never_started) {
            self.keep(instance, container, &found);
        }
        Ok(self.get(instance))
    }

    /// The end of the log of a container that has ended. The log is copied first, in the same call.
    pub(super) async fn collect(
        &self,
        engine: &Engine,
        instance: &InstanceId,
        container: &str,
        max_bytes: usize,
    ) -> Result<String, RunnerError> {
        match self.copy_to_end(engine, instance, container, max_bytes, COLLECT_LIMIT).await {
            Ok(tail) => Ok(String::from_utf8_lossy(&tail).into_owned()),
            Err(error) if error.is_gone() => {
                error.report(instance);
                self.left_over(instance, max_bytes).await
            }
            Err(error @ CopyError::Engine(_)) => Err(error.at("read log")),
            Err(error) => {
                tracing::debug!(%error, %instance, "the log of a container is not copied yet");
                tail(engine, container, max_bytes).await
            }
        }
    }

    /// Copies what is still missing of the log of a container that is about to be removed.
    pub(super) async fn complete(
        &self,
        engine: &Engine,
        instance: &InstanceId,
        container: &str,
    ) -> Result<(), CopyError> {
        self.copy_to_end(engine, instance, container, 0, COMPLETE_LIMIT).await.map(drop)
    }

    /// Brings the copy of the log of a container that runs up to date. Whether there is any such container.
    pub(super) async fn freshen(&self, engine: &Engine, instance: &InstanceId) -> Result<bool, RunnerError> {
        let Some(source) = self.get(instance).filter(|source| !source.is_complete) else { return Ok(false) };
        let freshened = async {
            let (dir, rotation) = (source.dir.clone(), source.rotation);
            // None: somebody else is just about it.
            if let Some(fresh) = on_disk(move || LogCopy::try_open(dir, rotation)).await? {
                let fresh = copy(engine, &source.container, fresh, FRESHEN_LIMIT).await?;
                on_disk(move || fresh.pause()).await?;
            }
            Ok(())
        };
        match freshened.await {
            Ok(()) | Err(CopyError::TooLong(_)) => Ok(true),
            Err(error) if error.is_gone() => Ok(true),
            Err(error) => Err(error.at("read log")),
        }
    }

    /// Answers with the end of the log.
    async fn copy_to_end(
        &self,
        engine: &Engine,
        instance: &InstanceId,
        container: &str,
        tail_bytes: usize,
        limit: Duration,
    ) -> Result<Vec<u8>, CopyError> {
        let Some(source) = self.source(engine, instance, container).await? else { return Ok(Vec::new()) };
        let Source { dir, rotation, is_complete, .. } = source;
        if is_complete {
            return on_disk(move || Ok(LogReader::new(dir).tail(usize::MAX, tail_bytes)?.bytes)).await;
        }
        let begun = on_disk(move || LogCopy::open(dir, rotation, tail_bytes)).await?;
        let whole = copy(engine, container, begun, limit).await?;
        let tail = on_disk(move || Ok(whole.finish())).await?;
        self.change(|known| known.get_mut(instance).map(|source| source.is_complete = true));
        Ok(tail)
    }

    /// The end of what was copied of a container that is gone.
    async fn left_over(&self, instance: &InstanceId, max_bytes: usize) -> Result<String, RunnerError> {
        let (data_dir, id) = (self.data_dir.clone(), instance.clone());
        let left = on_disk(move || match LogReader::find(&data_dir, &id)? {
            Some(reader) => Ok(reader.tail(usize::MAX, max_bytes)?.bytes),
            None => Ok(Vec::new()),
        });
        let left = left.await.map_err(|error| error.at("read log"))?;
        if left.is_empty() {
            let why = "the container is gone, and its log with it".to_owned();
            return Err(RunnerError::Failed { step: "read log", why });
        }
        Ok(String::from_utf8_lossy(&left).into_owned())
    }
}

/// How a container's log is rotated, where the engine does it as a spec asks.
fn logging_of(found: &ContainerInspectResponse) -> Option<LoggingSpec> {
    let options = found.host_config.as_ref()?.log_config.as_ref()?.config.as_ref()?;
    Some(LoggingSpec::Local {
        max_size: options.get("max-size")?.clone(),
        max_files: options.get("max-file")?.parse().ok()?,
        compress: options.get("compress").is_some_and(|value| value == "true"),
    })
}

async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, CopyError> {
    // The task itself fails only when the runtime is shutting down.
    Ok(tokio::task::spawn_blocking(work).await.map_err(io::Error::from)??)
}

/// What came of reading.
enum Reading {
    ToTheEnd,
    /// The bookmark was not among the lines that were asked for.
    TooFewLines,
    TooLong,
    Broken(String),
}

/// Brings a copy up to date. What is new is nearly always among the last lines; the whole log is asked for when it is
/// not, and the first time.
async fn copy(
    engine: &Engine,
    container: &str,
    mut copy: LogCopy,
    limit: Duration,
) -> Result<LogCopy, CopyError> {
    let deadline = Instant::now() + limit;
    let widths = [RECENT_LINES, ALL_LINES];
    for &lines in widths.iter().skip(usize::from(copy.bookmark().is_at_start())) {
        let options = options(lines, true);
        let poured = engine.call_within("logs", limit + ANSWER_MARGIN, async move |client| {
            let entries = client.logs(container, Some(options));
            pour(entries, copy, lines == ALL_LINES, deadline).await
        });
        let reading;
        (copy, reading) = poured.await??;
        match reading {
            Reading::ToTheEnd => break,
            Reading::TooFewLines => {}
            Reading::TooLong => return Err(CopyError::TooLong(limit)),
            Reading::Broken(words) => return Err(CopyError::Broken(words)),
        }
    }
    Ok(copy)
}

fn options(lines: &str, timestamps: bool) -> LogsOptions {
    LogsOptionsBuilder::default().stdout(true).stderr(true).timestamps(timestamps).tail(lines).build()
}

/// Writes what is new of these entries into the copy, however the reading ends. The engine's errors are told apart from
/// the disk's.
async fn pour(
    entries: impl Stream<Item = Result<LogOutput, Error>> + Send,
    mut copy: LogCopy,
    is_whole: bool,
    deadline: Instant,
) -> Result<Result<(LogCopy, Reading), CopyError>, Error> {
    let mut entries = pin!(entries);
    let mut seek = Seek::new(copy.bookmark(), is_whole);
    let mut taken = Entries::after(copy.bookmark());
    let reading = loop {
        let entry = match entries.next().await {
            None if seek.is_in_vain() => break Ok(Reading::TooFewLines),
            None => break Ok(Reading::ToTheEnd),
            Some(Err(error)) => break Err(error),
            Some(Ok(entry)) => entry.into_bytes(),
        };
        // Without a time it is no entry: the engine says what is the matter.
        let Some((time, text)) = stamp::split(&entry) else {
            break Ok(Reading::Broken(String::from_utf8_lossy(&entry).trim_end().to_owned()));
        };
        match seek.next(time) {
            Step::Skip => {}
            Step::Widen => break Ok(Reading::TooFewLines),
            Step::Take => taken.push(time, text),
            Step::TakeAfterGap => {
                taken.follow_gap();
                taken.push(time, text);
            }
        }
        if taken.len() >= BATCH_BYTES {
            (copy, taken) = match write(copy, taken).await {
                Ok(written) => written,
                Err(error) => return Ok(Err(error)),
            };
        }
        if Instant::now() >= deadline {
            break Ok(Reading::TooLong);
        }
    };
    let written = write(copy, taken).await;
    let reading = reading?;
    Ok(written.map(|(copy, _)| (copy, reading)))
}

/// Writes entries, and hands back where the next ones go.
async fn write(mut copy: LogCopy, entries: Entries) -> Result<(LogCopy, Entries), CopyError> {
    on_disk(move || {
        copy.append(&entries)?;
        Ok((copy, Entries::after(entries.bookmark())))
    })
    .await
}

/// The last `max_bytes` of what a container wrote, without a copy of it.
async fn tail(engine: &Engine, container: &str, max_bytes: usize) -> Result<String, RunnerError> {
    let options = options(TAIL_LINES, false);
    let read = engine.call("logs", async |client| {
        let mut pieces = client.logs(container, Some(options));
        let mut tail = Vec::new();
        while let Some(piece) = pieces.next().await {
            tail.extend_from_slice(&piece?.into_bytes());
            if tail.len() > 2 * max_bytes {
                tail.drain(..tail.len() - max_bytes);
            }
        }
        Ok(tail)
    });
    let tail = read.await.map_err(|error| error.at("read log"))?;
    Ok(String::from_utf8_lossy(&tail[tail.len().saturating_sub(max_bytes)..]).into_owned())
}
