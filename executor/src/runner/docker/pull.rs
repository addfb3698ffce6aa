//! Pulls of images: one per reference at a time however many instances wait for it, and a few per node.
//!
//! What a spec allows a pull is counted from its turn on: a service is not to blame for the images of others. The wait
//! for the turn has a limit of its own, and who is turned away by it comes again.
//!
//! Who waits holds the pull. When the last one lets go (its instance was stopped, its time is up), the pull's task
//! is aborted and its connection closed, and others have its room. The engine ends its own work then, but not before
//! a registry that hangs has answered it (seen with Engine 20.10).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::StreamExt;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::credentials::{self, Credentials};
use super::engine::{Engine, EngineError};
use crate::limits::PULL_TURN;
use crate::runner::ProvisionError;

/// The bytes of the engine's words about its progress that are kept.
const MAX_PROGRESS: usize = 200;

/// The pulls under way on this node.
pub(super) struct Pulls {
    engine: Arc<Engine>,
    credentials: Credentials,
    permits: Arc<Semaphore>,
    under_way: Mutex<BTreeMap<String, Weak<Pull>>>,
}

/// One pull, for all who wait for it.
struct Pull {
    state: watch::Receiver<State>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Clone)]
enum State {
    /// As many others as may be are under way.
    Waits,
    /// The engine's last word about it.
    UnderWay(String),
    Done(Result<(), Failure>),
}

/// What all who wait are told.
#[derive(Clone)]
enum Failure {
    /// The image cannot be had.
    Image(String),
    /// The engine or the registry is away, which says nothing of the image.
    Away(String),
}

impl Pulls {
    /// At most `at_once` at a time.
    pub(super) fn new(engine: Arc<Engine>, credentials: Credentials, at_once: usize) -> Self {
        let permits = Arc::new(Semaphore::new(at_once));
        Self { engine, credentials, permits, under_way: Mutex::default() }
    }

    /// Pulls the image, or waits for the pull of it that is under way, at most `limit` from its turn on.
    pub(super) async fn pull(&self, image: &str, limit: Duration) -> Result<(), ProvisionError> {
        let unavailable = |why: String| ProvisionError::Unavailable { what: format!("image {image}"), why };
        let pull = self.join(image);
        let mut state = pull.state.clone();
        let turn = async { state.wait_for(|state| !matches!(state, State::Waits)).await.is_ok() };
        if timeout(PULL_TURN, turn).await.is_err() {
            return Err(ProvisionError::RunnerUnavailable(format!(
                "image {image} has waited {PULL_TURN:?} for its turn behind other pulls of this node, and comes \
                 again; docker.pullsInFlight of the executor's configuration says how many there are at once"
            )));
        }
        let done = async {
            let done = state.wait_for(|state| matches!(state, State::Done(_))).await;
            done.map(|state| state.clone())
        };
        match timeout(limit, done).await {
            Ok(Ok(State::Done(Ok(())))) => Ok(()),
            Ok(Ok(State::Done(Err(Failure::Image(why))))) => Err(unavailable(why)),
            Ok(Ok(State::Done(Err(Failure::Away(why))))) => Err(ProvisionError::RunnerUnavailable(why)),
            Ok(Ok(State::Waits | State::UnderWay(_)) | Err(_)) => {
                Err(unavailable("the pull was cut short".to_owned()))
            }
            Err(_) => {
                let last = match &*pull.state.borrow() {
                    State::Waits => "none".to_owned(),
                    State::UnderWay(progress) => progress.clone(),
                    State::Done(_) => "it ended".to_owned(),
                };
                let why = format!(
                    "timed out in pull after {limit:?}; last progress: {last}; check the registry and the network, or \
                     raise dockerPullTimeout"
                );
                Err(unavailable(why))
            }
        }
    }

    /// The pull of this image that is under way, or a new one.
    fn join(&self, image: &str) -> Arc<Pull> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let present = under_way.get(image).and_then(Weak::upgrade);
        // One that is over belongs to those who waited for it: who comes now asks anew.
        if let Some(pull) = present.filter(|pull| !matches!(*pull.state.borrow(), State::Done(_))) {
            return pull;
        }
        let (sender, state) = watch::channel(State::Waits);
        let work = Work {
            image: image.to_owned(),
            engine: Arc::clone(&self.engine),
            credentials: self.credentials.clone(),
            permits: Arc::clone(&self.permits),
            state: sender,
        };
        let pull = Arc::new(Pull { state, _task: AbortOnDropHandle::new(tokio::spawn(work.run())) });
        under_way.retain(|_, pull| pull.strong_count() > 0);
        under_way.insert(image.to_owned(), Arc::downgrade(&pull));
        pull
    }
}

/// What the task of a pull owns.
struct Work {
    image: String,
    engine: Arc<Engine>,
    credentials: Credentials,
    permits: Arc<Semaphore>,
    state: watch::Sender<State>,
}

/// Counts a pull that waits for its turn, for as long as it does.
struct Waiting(metrics::Gauge);

impl Waiting {
    fn begin() -> Self {
        let depth = metrics::gauge!("muster_executor_queue_depth", "queue" => "pulls");
        depth.increment(1.0);
        Self(depth)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl Work {
    async fn run(self) {
        let waiting = Waiting::begin();
        // Never closed.
        let _permit = self.permits.acquire().await;
        drop(waiting);
        let begun = Instant::now();
        let done = self.fetch().await;
        let outcome = if done.is_ok() { "pulled" } else { "failed" };
        metrics::counter!("muster_executor_pulls_total", "outcome" => outcome).increment(1);
        metrics::histogram!("muster_executor_pull_seconds").record(begun.elapsed().as_secs_f64());
        self.state.send_replace(State::Done(done));
    }

    async fn fetch(&self) -> Result<(), Failure> {
        self.state.send_replace(State::UnderWay("asking for the node's credentials".to_owned()));
        let credentials = self.credentials.of(&self.image).await.map_err(Failure::Image)?;
        let is_known = credentials.is_some();
        self.state.send_replace(State::UnderWay("asking the engine".to_owned()));
        let client = self.engine.client().await.map_err(|error| self.failure(error, is_known))?;
        let client = client.with_request_modifier(credentials::in_url_letters);
        let options = CreateImageOptionsBuilder::default().from_image(&self.image).build();
        let mut steps = client.create_image(Some(options), None, credentials);
        while let Some(step) = steps.next().await {
            let step = step.map_err(|error| self.failure(self.engine.sort(error), is_known))?;
            if let Some(message) = step.error_detail.as_ref().and_then(|error| error.message.clone()) {
                return Err(self.failure(EngineError::Refused { status: 500, message }, is_known));
            }
            if let Some(progress) = progress(&step) {
                self.state.send_replace(State::UnderWay(progress));
            }
        }
        Ok(())
    }

    fn failure(&self, error: EngineError, with_credentials: bool) -> Failure {
        match error {
            EngineError::Refused { message, .. } => {
                let cause = Cause::of(&message);
                let said = with_advice(message, cause, with_credentials);
                match cause {
                    Cause::Away => {
                        Failure::Away(format!("image {} could not be fetched: {said}", self.image))
                    }
                    Cause::Access | Cause::Name | Cause::Other => Failure::Image(said),
                }
            }
            other => Failure::Away(other.to_string()),
        }
    }
}

/// What a failure comes from, as far as its words tell: the engine passes on those of registries and networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The registry does not let this node have it.
    Access,
    /// The registry has no such image.
    Name,
    /// The registry is not reached, or cannot serve anybody now.
    Away,
    Other,
}

impl Cause {
    fn of(words: &str) -> Self {
        let lower = words.to_lowercase();
        let has = |signs: &[&str]| signs.iter().any(|sign| lower.contains(sign));
        if has(&["unauthorized", "denied", "no basic auth", "authentication required"]) {
            Self::Access
        } else if has(&["not found", "manifest unknown"]) {
            Self::Name
        } else if has(&[
            "no such host",
            "server misbehaving",
            "temporary failure in name resolution",
            "connection refused",
            "connection reset",
            "unreachable",
            "no route to host",
            "timeout",
            "deadline exceeded",
            ": eof",
            "unexpected eof",
            "unexpected http status: 5",
            "toomanyrequests",
            "too many requests",
        ]) {
            Self::Away
        } else {
            Self::Other
        }
    }
}

/// The registry's own words, and what to do.
fn with_advice(words: String, cause: Cause, with_credentials: bool) -> String {
    let advice = match cause {
        Cause::Access if with_credentials => {
            "the registry does not take this node's credentials: check them, and the image's name"
        }
        Cause::Access => {
            "this node has no credentials for the registry: run docker login as the executor's user, or check the \
             image's name"
        }
        Cause::Name => "check the image's name and tag",
        Cause::Away => "check that this node reaches the registry",
        Cause::Other => return words,
    };
    format!("{words}; {advice}")
}

fn progress(step: &CreateImageInfo) -> Option<String> {
    let status = step.status.as_deref()?;
    let mut words = step.id.as_deref().map_or_else(|| status.to_owned(), |id| format!("{id}: {status}"));
    if let Some(detail) = &step.progress_detail
        && let (Some(current), Some(total)) = (detail.current, detail.total)
    {
        words = format!("{words}, {current} of {total} bytes");
    }
    Some(words.chars().take(MAX_PROGRESS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pull_that_waits_for_its_turn_has_not_begun() {
        let engine = Arc::new(Engine::new("/nonexistent/docker.sock".to_owned(), Duration::from_secs(1)));
        let pulls = Pulls::new(engine, Credentials::new(None), 1);
        let others = Arc::clone(&pulls.permits).acquire_owned().await.unwrap();
        let begun = tokio::time::Instant::now();
        match pulls.pull("web:1", Duration::from_secs(1)).await {
            Err(ProvisionError::RunnerUnavailable(why)) => assert!(why.contains("for its turn"), "{why}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(begun.elapsed(), PULL_TURN);
        // Its turn comes, and then it is tried.
        let (pulled, ()) = tokio::join!(pulls.pull("web:1", Duration::from_secs(1)), async { drop(others) });
        let why = pulled.unwrap_err().to_string();
        assert!(!why.contains("for its turn"), "{why}");
    }

    #[test]
    fn a_registry_that_is_away_is_told_from_an_image_that_cannot_be_had() {
        for words in [
            "Get \"https://r/v2/\": dial tcp 10.0.0.1:443: connect: connection refused",
            "Get \"https://r/v2/\": net/http: request canceled (Client.Timeout exceeded while awaiting headers)",
            "Head \"https://r/v2/x\": dial tcp: lookup r on 10.0.0.2:53: server misbehaving",
            "Get \"https://r/v2/\": EOF",
            "received unexpected HTTP status: 503 Service Unavailable",
            "toomanyrequests: You have reached your pull rate limit",
        ] {
            assert_eq!(Cause::of(words), Cause::Away, "{words}");
        }
        for (words, cause) in [
            ("unauthorized: authentication required", Cause::Access),
            ("manifest for web/timeout:1 not found: manifest unknown", Cause::Name),
            ("no space left on device", Cause::Other),
            ("invalid reference format", Cause::Other),
        ] {
            assert_eq!(Cause::of(words), cause, "{words}");
        }
    }

    #[test]
    fn a_refusal_keeps_its_words_and_says_what_to_do() {
        for (words, known, advice) in [
            ("pull access denied for x", false, "docker login"),
            ("unauthorized: authentication required", true, "does not take this node's credentials"),
            ("manifest for x:1 not found: manifest unknown", false, "name and tag"),
            ("dial tcp: lookup r.invalid: no such host", false, "reaches the registry"),
            ("no space left on device", false, ""),
        ] {
            let said = with_advice(words.to_owned(), Cause::of(words), known);
            assert!(said.starts_with(words) && said.contains(advice), "{said}");
        }
    }
}
