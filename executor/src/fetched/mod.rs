//! Files that a server has. They are fetched before a start and put into its plan, so that runners know nothing of
//! servers and a start that is to stop while one is slow has not begun.
//!
//! This node fetches `EXECUTOR_HTTP_FETCH`. A controller fetches `CONTROLLER_HTTP_FETCH`, because it reaches servers that
//! this node may not. For each call that a slot of this node needs, the content that a controller fetched last is kept on the
//! disk. It is used only when no controller answers, or the server answers none of them. So a slot can be filled while all of
//! them are gone.
//!
//! An answer counts: a file that may not be fetched, or that the server refuses, fails the start. Silence of the controllers,
//! or of a server that this node asks itself, is no fault of the service: the start is tried again.

mod controllers;
mod kept;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use muster_common::id::{Generation, ServiceId};
use muster_common::spec::{ConfigSource, ConfigSpec, HttpCallSpec, LocalServiceSpec};
use muster_platform::World;
use muster_platform::call::{FetchError, Reach, fetch};
use tokio::time::{Instant, sleep, timeout_at};

use self::kept::Kept;
use crate::limits::FILES;
use crate::runner::{LaunchPlan, MAX_FILE_BYTES, MAX_FILES_BYTES, StartError};

pub(crate) use controllers::Controllers;
pub(crate) use kept::CallName;

/// Between two rounds through the controllers; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How much pauses vary, in percent: nodes that wait for the same controllers do not come back in step.
const JITTER: u32 = 50;
/// The most that the controllers' files of one instance may have together, in bytes: they are kept.
const MAX_TOTAL_BYTES: usize = 16 << 20;
/// What a controller may take beyond the call's own timeout: others may be before us.
const SLACK: Duration = Duration::from_secs(10);

/// One file that a controller is asked for: its place in the spec of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WantedFile {
    /// The slot's service.
    pub service: ServiceId,
    /// The slot's index.
    pub index: u32,
    /// The slot's generation.
    pub generation: Generation,
    /// The file's index in the spec.
    pub file: u32,
    /// What fetches it, as the spec of this node says.
    pub call: CallName,
    /// How long one controller is given.
    pub patience: Duration,
}

impl WantedFile {
    fn of(plan: &LaunchPlan, file: u32, http: &HttpCallSpec) -> Self {
        Self {
            service: plan.place.service.clone(),
            index: plan.place.index,
            generation: plan.place.generation,
            file,
            call: CallName::of(http),
            patience: http.operation_timeout.as_duration().saturating_add(SLACK),
        }
    }
}

/// Why a file was not fetched, in words for a person; never a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotFetched {
    /// A controller says that there will be none.
    #[error("{0}")]
    Refused(String),
    /// No controller gave an answer, or none had one from the server.
    #[error("{0}")]
    Unanswered(String),
}

/// Asks controllers for files.
pub(crate) trait Fetcher: Send + Sync {
    /// Asks each controller at most once, until one answers.
    fn fetch<'a>(&'a self, wanted: &'a WantedFile) -> BoxFuture<'a, Result<Vec<u8>, NotFetched>>;
}

/// What is fetched for this node.
pub(crate) struct Fetched {
    world: World,
    fetcher: Arc<dyn Fetcher>,
    kept: Kept,
}

impl Fetched {
    /// Asks `fetcher`, and keeps what was fetched in `data_dir`.
    pub(crate) fn new(world: World, data_dir: &Path, fetcher: Arc<dyn Fetcher>) -> Self {
        let kept = Kept::new(data_dir, world.disk);
        Self { world, fetcher, kept }
    }

    /// The plan with the content of every such file in it.
    pub(crate) async fn put_into(&self, mut plan: LaunchPlan) -> Result<LaunchPlan, StartError> {
        let mut spec = LocalServiceSpec::clone(&plan.spec);
        // First, while they have all of their time: that this node's own are slow is not for controllers to answer for.
        let deadline = Instant::now() + FILES;
        self.put_controllers_files(&plan, &mut spec.configs, deadline).await?;
        put_own_files(&mut spec.configs, deadline).await?;
        plan.spec = Arc::new(spec);
        Ok(plan)
    }

    async fn put_controllers_files(
        &self,
        plan: &LaunchPlan,
        configs: &mut [ConfigSpec],
        deadline: Instant,
    ) -> Result<(), StartError> {
        let mut room = Room::of(MAX_TOTAL_BYTES);
        for (file, config) in (0..).zip(configs) {
            let ConfigSource::ControllerHttpFetch { http } = &config.source else { continue };
            let name = &config.local_filename;
            let fetched = self.content(&WantedFile::of(plan, file, http), deadline).await;
            let content = fetched.map_err(|error| match error {
                NotFetched::Refused(why) => failed(name, why),
                NotFetched::Unanswered(why) => unanswered(name, &why),
            })?;
            room.put(config, &content)?;
        }
        Ok(())
    }

    /// Asks again and again while nobody answers, unless there is what was fetched before.
    async fn content(&self, wanted: &WantedFile, deadline: Instant) -> Result<Vec<u8>, NotFetched> {
        let mut pause = FIRST_PAUSE;
        loop {
            let why = match timeout_at(deadline, self.fetcher.fetch(wanted)).await {
                Ok(Ok(content)) => {
                    if let Err(error) = self.kept.keep(wanted.call, content.clone()).await {
                        tracing::warn!(%error, service = %wanted.service, "a fetched file is not kept; this start does not need it");
                    }
                    return Ok(content);
                }
                Ok(Err(refused @ NotFetched::Refused(_))) => return Err(refused),
                Ok(Err(NotFetched::Unanswered(why))) => format!("no controller gave an answer: {why}"),
                Err(_) => "the last controller that was asked gives no answer".to_owned(),
            };
            match self.kept.get(wanted.call).await {
                Ok(Some(content)) => {
                    tracing::warn!(service = %wanted.service, file = wanted.file, why, "placing the file that was fetched last");
                    return Ok(content);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, service = %wanted.service, "a kept file cannot be read"),
            }
            let pausing = self.world.jitter(pause, JITTER);
            if Instant::now() + pausing >= deadline {
                return Err(NotFetched::Unanswered(format!("not fetched within {FILES:?}: {why}")));
            }
            sleep(pausing).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Forgets what other calls fetched than these.
    pub(crate) async fn retain(&self, calls: BTreeSet<CallName>) {
        if let Err(error) = self.kept.retain(calls).await {
            tracing::warn!(%error, "fetched files that no slot needs any more cannot be removed; trying again later");
        }
    }
}

async fn put_own_files(configs: &mut [ConfigSpec], deadline: Instant) -> Result<(), StartError> {
    let mut room = Room::of(MAX_FILES_BYTES);
    for config in configs {
        let ConfigSource::ExecutorHttpFetch { http } = &config.source else { continue };
        // Boxed: most starts fetch nothing, and each carries what they might.
        let fetched = Box::pin(fetch(http, "muster-executor", Reach::Anywhere, MAX_FILE_BYTES));
        let late = |_| {
            let url = http.shown_url();
            let why = format!(
                "cannot fetch {url}: no whole answer within the {FILES:?} that a start has for its files"
            );
            Err(FetchError::Unreached(why))
        };
        let name = &config.local_filename;
        let content =
            timeout_at(deadline, fetched).await.unwrap_or_else(late).map_err(|error| match error {
                FetchError::Refused(why) => failed(name, why),
                FetchError::Unreached(why) => unanswered(name, &why),
            })?;
        room.put(config, &content)?;
    }
    Ok(())
}

/// What the fetched files of one start may have together, in bytes.
struct Room {
    most: usize,
    left: usize,
}

impl Room {
    const fn of(most: usize) -> Self {
        Self { most, left: most }
    }

    /// The content takes the place of the call.
    fn put(&mut self, config: &mut ConfigSpec, content: &[u8]) -> Result<(), StartError> {
        let most = self.most;
        self.left = self.left.checked_sub(content.len()).ok_or_else(|| {
            let why = format_args!("with the fetched files before it, it is larger than {most} bytes");
            failed(&config.local_filename, why)
        })?;
        config.source = ConfigSource::Inline { data: STANDARD.encode(content) };
        Ok(())
    }
}

fn failed(name: &str, why: impl Display) -> StartError {
    StartError::Failed { step: "place config", why: format!("{name}: {why}") }
}

/// Nobody said that there will be no such file.
fn unanswered(name: &str, why: &str) -> StartError {
    StartError::RunnerUnavailable(format!("{name}: {why}"))
}

/// The calls of a spec that controllers make.
pub(crate) fn calls_of(spec: &LocalServiceSpec) -> impl Iterator<Item = CallName> {
    spec.configs.iter().filter_map(|config| match &config.source {
        ConfigSource::ControllerHttpFetch { http } => Some(CallName::of(http)),
        ConfigSource::Inline { .. }
        | ConfigSource::ExecutorLocalFile { .. }
        | ConfigSource::ExecutorHttpFetch { .. } => None,
    })
}
