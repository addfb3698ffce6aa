//! Files of type `CONTROLLER_HTTP_FETCH`: a controller fetches them, because it reaches places that this node may not.
//!
//! Before a start the content is asked for and put into the plan, so that runners know nothing of controllers. What was
//! fetched last is kept on the disk for each generation that this node fills a slot of, and used only when no controller
//! gives an answer: a slot is filled with all of them gone. What a controller says counts: a file that it could not
//! fetch fails the start, as one does that this node fetches by itself.

mod controllers;
mod kept;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use muster_common::id::{Generation, ServiceId};
use muster_common::spec::{ConfigSource, LocalServiceSpec};
use muster_platform::World;
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use self::kept::Kept;
use crate::machine::START_LIMIT;
use crate::runner::{LaunchPlan, StartError};

pub(crate) use controllers::Controllers;

/// How long all files of one start may take: less than the start itself has, so that it ends with the reason.
const LIMIT: Duration = Duration::from_secs(START_LIMIT.as_secs() - 20);
/// Between two rounds through the controllers; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How much pauses vary, in percent: nodes that wait for the same controllers do not come back in step.
const JITTER: u32 = 50;
/// The most that all files of one instance may have together, in bytes: they are in memory at once, and kept.
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
    /// Tells its call from another: slots of one generation may run different specs while one is rolled out.
    pub call: Uuid,
    /// How long one controller is given.
    pub patience: Duration,
}

/// Why a file was not fetched, in words for a person; never a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotFetched {
    /// A controller says that there will be none.
    #[error("{0}")]
    Refused(String),
    /// No controller gave an answer.
    #[error("no controller gave an answer: {0}")]
    Unanswered(String),
}

/// Asks controllers for files.
pub(crate) trait Fetcher: Send + Sync {
    /// Asks each controller at most once, until one answers.
    fn fetch<'a>(&'a self, wanted: &'a WantedFile) -> BoxFuture<'a, Result<Vec<u8>, NotFetched>>;
}

/// What controllers fetched for this node.
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
        let is_fetched = |source: &ConfigSource| matches!(source, ConfigSource::ControllerHttpFetch { .. });
        if !plan.spec.configs.iter().any(|config| is_fetched(&config.source)) {
            return Ok(plan);
        }
        let deadline = Instant::now() + LIMIT;
        let mut spec = LocalServiceSpec::clone(&plan.spec);
        let mut room = MAX_TOTAL_BYTES;
        for (file, config) in (0..).zip(&mut spec.configs) {
            let ConfigSource::ControllerHttpFetch { http } = &config.source else { continue };
            let wanted = WantedFile {
                service: plan.place.service.clone(),
                index: plan.place.index,
                generation: plan.place.generation,
                file,
                call: Uuid::new_v5(&Uuid::NAMESPACE_OID, &http.to_json()),
                patience: http.operation_timeout.as_duration().saturating_add(SLACK),
            };
            let failed = |why: String| StartError::Failed {
                step: "place config",
                why: format!("{}: {why}", config.local_filename),
            };
            let content = self.content(&wanted, deadline).await.map_err(failed)?;
            room = room.checked_sub(content.len()).ok_or_else(|| {
                failed(format!("with the fetched files before it, it is larger than {MAX_TOTAL_BYTES} bytes"))
            })?;
            config.source = ConfigSource::Inline { data: STANDARD.encode(content) };
        }
        plan.spec = Arc::new(spec);
        Ok(plan)
    }

    /// Asks again and again while nobody answers, unless there is what was fetched before.
    async fn content(&self, wanted: &WantedFile, deadline: Instant) -> Result<Vec<u8>, String> {
        let mut pause = FIRST_PAUSE;
        loop {
            let why = match timeout_at(deadline, self.fetcher.fetch(wanted)).await {
                Ok(Ok(content)) => {
                    if let Err(error) = self.kept.keep(wanted, content.clone()).await {
                        tracing::warn!(%error, service = %wanted.service, "a fetched file is not kept; this start does not need it");
                    }
                    return Ok(content);
                }
                Ok(Err(NotFetched::Refused(why))) => return Err(why),
                Ok(Err(unanswered @ NotFetched::Unanswered(_))) => unanswered.to_string(),
                Err(_) => "the last controller that was asked gives no answer".to_owned(),
            };
            match self.kept.get(wanted).await {
                Ok(Some(content)) => {
                    tracing::warn!(service = %wanted.service, file = wanted.file, why, "placing the file that was fetched last");
                    return Ok(content);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, service = %wanted.service, "a kept file cannot be read"),
            }
            let pausing = self.world.jitter(pause, JITTER);
            if Instant::now() + pausing >= deadline {
                return Err(format!("not fetched within {LIMIT:?}: {why}"));
            }
            sleep(pausing).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Forgets what was fetched for other generations than these. They must be those of all present slots: nothing else
    /// is written meanwhile.
    pub(crate) async fn retain(&self, generations: BTreeSet<(ServiceId, Generation)>) {
        if let Err(error) = self.kept.retain(generations).await {
            tracing::warn!(%error, "files of services that are gone cannot be removed; trying again later");
        }
    }
}
