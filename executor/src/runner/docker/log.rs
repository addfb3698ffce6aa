//! What a container wrote, as the engine keeps it, and the copy of it that outlives the container.
//!
//! The copy is in the form of processes' logs, below the executor's data directory. It is brought up to date whenever
//! somebody reads the log of a container that runs, and now and then besides, so that little is left to copy at its end.
//! It is completed when the container has ended, so that a position in it stays true through the end. A few are copied at
//! once. An engine that cannot give the log holds up nobody's end: what is missing is said and counted.
//!
//! The engine's file goes with its container, so the container waits for the copy, and its instance with it; the slot
//! does not. What remains at the end is copied in three steps:
//!
//! | step | copies | a full disk |
//! |---|---|---|
//! | `collect`, with the evidence | as much as [`LOG_COLLECT`] allows; nearly always all | it comes again |
//! | `copy_on`, if that was not all | for as long as it gets on (see `progress`), at most [`LOG_COPY`] | ends it |
//! | `complete`, before the removal | what is left, for [`LOG_COMPLETE`]; then the rest is given up | lost, and counted |

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use muster_common::id::{InstanceId, ServiceId};
use muster_common::spec::LoggingSpec;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::engine::{Engine, EngineError};
use super::find::labels;
use super::owner::label;
use super::pour::{copy, has_news, on_disk, tail};
use super::progress::Progress;
use crate::limits::{LOG_COLLECT, LOG_COMPLETE, LOG_COPY};
use crate::logs::{Bookmark, LogCopy, LogDir, LogReader, NoRoom, Rotation};
use crate::runner::{LaunchPlan, LogEnd, RunnerError};

#[cfg(test)]
mod tests;

/// How long one copy of a container that runs may take to be brought up to date; then it goes on the next time.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(20);

/// How many logs are copied at once: when a node is drained it may be all of them.
const COPIES: usize = 8;

/// How many of those that take minutes are, beside the others, so that they hold up neither readers nor evidence.
const LONG_COPIES: usize = 2;

/// How long it may take once through all containers that run, and how long from one to the next.
const ROUND: Duration = Duration::from_secs(60);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// How long somebody who reads the log of a container that runs waits for what is new; then it goes on the next time.
const FRESHEN_LIMIT: Duration = Duration::from_secs(3);

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
    #[error("what was left of it could not be copied within {0:?}")]
    TooLong(Duration),
    /// It gets on so slowly that there is no end to it.
    #[error("less than {bytes} bytes of it could be copied within {within:?}")]
    TooSlow {
        /// What would have been enough.
        bytes: u64,
        /// In this time.
        within: Duration,
    },
    /// Nothing more comes, and no end either.
    #[error("the engine gives nothing more for {0:?}")]
    Silent(Duration),
    /// There is no place for it.
    #[error("its files cannot be used: {0}")]
    Disk(#[from] io::Error),
}

impl CopyError {
    /// What is missing now is missing for good.
    fn report(&self, instance: &InstanceId) {
        let why = match self {
            Self::Engine(error) if error.is_not_found() => "gone",
            Self::Engine(EngineError::Refused { .. }) => "refused",
            Self::Engine(EngineError::Unreachable { .. } | EngineError::TooOld { .. }) => "unreachable",
            Self::Broken(_) => "broken",
            Self::TooLong(_) => "too_long",
            Self::TooSlow { .. } => "too_slow",
            Self::Silent(_) => "silent",
            Self::Disk(_) => "disk",
        };
        tracing::warn!(error = %self, %instance, "the log of a container is not kept, or not all of it");
        metrics::counter!("muster_executor_logs_not_kept_total", "why" => why).increment(1);
    }

    fn at(self, step: &'static str) -> RunnerError {
        match self {
            Self::Engine(error) => error.at(step),
            Self::Disk(error) => RunnerError::at(step, &error),
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
    /// The last entry that is known to be in the copy.
    copied: Option<Bookmark>,
}

/// How a log is copied to its end.
struct Terms {
    /// How much of its end is asked for.
    tail_bytes: usize,
    no_room: NoRoom,
    queue: Queue,
    limit: Duration,
}

/// Who is copied first.
#[derive(Clone, Copy)]
enum Queue {
    /// Waiting counts: others may be copied for as long as one's own copy has.
    Hurried,
    /// Others may be copied for as long as it takes.
    Patient,
    /// The same, among those that take minutes.
    Long,
}

/// What is known of the logs of living instances; kept until they are removed.
pub(super) struct Logs {
    data_dir: PathBuf,
    known: Mutex<BTreeMap<InstanceId, Source>>,
    copying: Semaphore,
    copying_long: Semaphore,
}

impl Logs {
    pub(super) fn new(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            known: Mutex::default(),
            copying: Semaphore::new(COPIES),
            copying_long: Semaphore::new(LONG_COPIES),
        }
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
        let service = labels(found).and_then(|labels| ServiceId::new(labels.get(label::SERVICE)?).ok());
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
            copied: None,
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

    /// The container of an instance, as far as that is known without asking.
    pub(super) fn container(&self, instance: &InstanceId) -> Option<String> {
        self.get(instance).map(|source| source.container)
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
    ) -> Result<LogEnd, RunnerError> {
        let terms = Terms {
            tail_bytes: max_bytes,
            no_room: NoRoom::ComeAgain,
            queue: Queue::Hurried,
            limit: LOG_COLLECT,
        };
        match self.copy_to_end(engine, instance, container, terms).await {
            Ok(tail) => Ok(LogEnd::kept(String::from_utf8_lossy(&tail))),
            Err(error) if error.is_gone() => {
                let left = self.left_over(instance, max_bytes).await;
                self.give_up(instance, &error).await;
                left.map(LogEnd::kept)
            }
            Err(error @ CopyError::Engine(_)) => Err(error.at("read log")),
            Err(error) => {
                tracing::debug!(%error, %instance, "the log of a container is not copied yet");
                let text = tail(engine, container, max_bytes).await?;
                Ok(LogEnd { text, is_kept: false })
            }
        }
    }

    /// Copies what is still missing of the log of a container that has ended, for as long as that gets on. Answers with
    /// its end; none if the container is gone.
    pub(super) async fn copy_on(
        &self,
        engine: &Engine,
        instance: &InstanceId,
        container: &str,
        max_bytes: usize,
    ) -> Result<Option<String>, RunnerError> {
        let terms =
            Terms { tail_bytes: max_bytes, no_room: NoRoom::ComeAgain, queue: Queue::Long, limit: LOG_COPY };
        match self.copy_to_end(engine, instance, container, terms).await {
            Ok(tail) => Ok(Some(String::from_utf8_lossy(&tail).into_owned())),
            Err(error) if error.is_gone() => {
                self.give_up(instance, &error).await;
                Ok(None)
            }
            Err(error) => Err(error.at("copy log")),
        }
    }

    /// Copies what is still missing of the log of a container that is about to be removed.
    pub(super) async fn complete(
        &self,
        engine: &Engine,
        instance: &InstanceId,
        container: &str,
    ) -> Result<(), CopyError> {
        let terms =
            Terms { tail_bytes: 0, no_room: NoRoom::Lost, queue: Queue::Patient, limit: LOG_COMPLETE };
        self.copy_to_end(engine, instance, container, terms).await.map(drop)
    }

    /// The container is gone, and what was not copied of its log with it: counted, and said where the copy ends.
    pub(super) async fn give_up(&self, instance: &InstanceId, error: &CopyError) {
        let (known, data_dir, id) = (self.get(instance), self.data_dir.clone(), instance.clone());
        let why = error.to_string();
        let said = on_disk(move || {
            let copy = match known {
                Some(source) => Some((source.dir, source.rotation)),
                None => LogDir::find(&data_dir, &id)?.map(|dir| (dir, Rotation::of_copy(None))),
            };
            copy.map_or(Ok(true), |(dir, rotation)| LogCopy::open(dir, rotation, 0)?.give_up(&why))
        });
        match said.await {
            Ok(true) => error.report(instance),
            Ok(false) => {}
            Err(disk) => {
                error.report(instance);
                tracing::warn!(error = %disk, %instance, "that the log is not whole could not be written down");
            }
        }
    }

    /// Brings the copy of the log of a container that runs up to date. Whether there is any such container.
    pub(super) async fn freshen(&self, engine: &Engine, instance: &InstanceId) -> Result<bool, RunnerError> {
        let Some(source) = self.get(instance).filter(|source| !source.is_complete) else { return Ok(false) };
        match self.catch_up(engine, instance, source, FRESHEN_LIMIT).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_gone() => Ok(true),
            Err(error) => Err(error.at("read log")),
        }
    }

    async fn catch_up(
        &self,
        engine: &Engine,
        instance: &InstanceId,
        source: Source,
        limit: Duration,
    ) -> Result<(), CopyError> {
        let Source { container, dir, rotation, .. } = source;
        let asked = Instant::now();
        let _turn = self.turn(Queue::Hurried, limit).await?;
        // None: somebody else is just about it.
        if let Some(fresh) = on_disk(move || LogCopy::try_open(dir, rotation)).await? {
            let progress = Progress::since(asked, limit, Instant::now());
            let fresh = copy(engine, &container, fresh, NoRoom::ComeAgain, progress).await?;
            let copied = fresh.bookmark();
            on_disk(move || fresh.pause()).await?;
            self.change(|known| known.get_mut(instance).map(|source| source.copied = Some(copied)));
        }
        Ok(())
    }

    /// Waits until few enough others are being copied.
    async fn turn(&self, queue: Queue, limit: Duration) -> Result<Option<SemaphorePermit<'_>>, CopyError> {
        let copying = match queue {
            Queue::Hurried | Queue::Patient => &self.copying,
            Queue::Long => &self.copying_long,
        };
        // It is never closed.
        let turn = async { copying.acquire().await.ok() };
        match queue {
            Queue::Hurried => timeout(limit, turn).await.map_err(|_| CopyError::TooLong(limit)),
            Queue::Patient | Queue::Long => Ok(turn.await),
        }
    }

    /// Brings the copies of containers that run up to date, one after the other, so that little is left to copy when
    /// they end.
    pub(super) fn keep_copied(self: Arc<Self>, engine: Arc<Engine>) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                let running: Vec<InstanceId> = self.change(|known| {
                    let unfinished = known.iter().filter(|(_, source)| !source.is_complete);
                    unfinished.map(|(instance, _)| instance.clone()).collect()
                });
                let count = u32::try_from(running.len()).unwrap_or(u32::MAX).max(1);
                let pause = (ROUND / count).min(MAX_PAUSE);
                sleep(pause).await;
                for instance in running {
                    if let Err(error) = self.keep_up(&engine, &instance).await {
                        tracing::debug!(%error, %instance, "the copy of a log is not up to date");
                    }
                    sleep(pause).await;
                }
            }
        }))
    }

    async fn keep_up(&self, engine: &Engine, instance: &InstanceId) -> Result<(), CopyError> {
        let Some(source) = self.get(instance).filter(|source| !source.is_complete) else { return Ok(()) };
        if let Some(copied) = source.copied
            && !has_news(engine, &source.container, copied).await?
        {
            return Ok(());
        }
        self.catch_up(engine, instance, source, CATCH_UP_LIMIT).await
    }

    /// Answers with the end of the log.
    async fn copy_to_end(
        &self,
        engine: &Engine,
        instance: &InstanceId,
        container: &str,
        terms: Terms,
    ) -> Result<Vec<u8>, CopyError> {
        let Some(source) = self.source(engine, instance, container).await? else { return Ok(Vec::new()) };
        let Source { dir, rotation, is_complete, .. } = source;
        let Terms { tail_bytes, no_room, queue, limit } = terms;
        if is_complete {
            return on_disk(move || Ok(LogReader::new(dir).tail(usize::MAX, tail_bytes)?.bytes)).await;
        }
        let asked = Instant::now();
        let _turn = self.turn(queue, limit).await?;
        let begun = match queue {
            Queue::Hurried => asked,
            Queue::Patient | Queue::Long => Instant::now(),
        };
        // Somebody may just be bringing it up to date.
        let opening = on_disk(move || LogCopy::open(dir, rotation, tail_bytes));
        let opened = timeout_at(begun + limit, opening).await.map_err(|_| CopyError::TooLong(limit))??;
        let progress = Progress::since(begun, limit, Instant::now());
        let whole = copy(engine, container, opened, no_room, progress).await?;
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
