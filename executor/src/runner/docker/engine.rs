//! The Docker Engine: one connection, its version agreed on, every call bounded, every failure sorted.

use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::runner::{ProvisionError, RunnerError, StartError};

/// The oldest engine API that is spoken: Engine 20.10 (December 2020).
const OLDEST_API: (usize, usize) = (1, 41);

/// How long the first words with an engine may take: a hung one must not hold up an executor's start.
const GREETING_LIMIT: Duration = Duration::from_secs(5);

/// The client's own limit, in seconds. Never reached: each call here has a shorter one of its own.
const CLIENT_LIMIT: u64 = 24 * 3600;

/// A call to the engine failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum EngineError {
    /// Nobody answers, or not in time.
    #[error(
        "no Docker Engine answers at {socket}: {why}; start it (systemctl start docker) or check that the executor may use the socket"
    )]
    Unreachable {
        /// Where it was expected.
        socket: String,
        /// What went wrong.
        why: String,
    },
    /// It answers, but it cannot be worked with.
    #[error("the Docker Engine at {socket} speaks API {version}; 1.41 or later is needed (Docker 20.10)")]
    TooOld {
        /// Where it is.
        socket: String,
        /// What it speaks.
        version: String,
    },
    /// It refused, in its own words.
    #[error("{message}")]
    Refused {
        /// The HTTP status of its answer.
        status: u16,
        /// Its words.
        message: String,
    },
}

impl EngineError {
    /// Whether what was named does not exist.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether something is in the way: a taken name, a removal under way.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }

    pub(super) fn at(self, step: &'static str) -> RunnerError {
        match self {
            Self::Refused { message, .. } => RunnerError::Failed { step, why: message },
            other => RunnerError::Unavailable(other.to_string()),
        }
    }

    pub(super) fn at_start(self, step: &'static str) -> StartError {
        match self {
            Self::Refused { message, .. } => StartError::Failed { step, why: message },
            other => StartError::RunnerUnavailable(other.to_string()),
        }
    }

    pub(super) fn at_provision(self, what: &str) -> ProvisionError {
        match self {
            Self::Refused { message, .. } => {
                ProvisionError::Unavailable { what: format!("image {what}"), why: message }
            }
            other => ProvisionError::RunnerUnavailable(other.to_string()),
        }
    }
}

/// The engine behind one socket. Reached for at the first call, and again until it answers.
pub(super) struct Engine {
    socket: String,
    limit: Duration,
    greeting: Mutex<Greeting>,
}

/// What came of the first words.
#[derive(Default)]
struct Greeting {
    client: Option<Docker>,
    failed: Option<(Instant, EngineError)>,
}

impl Engine {
    /// An engine at a socket's path. `limit` is how long an ordinary call may take.
    pub(super) fn new(socket: String, limit: Duration) -> Self {
        Self { socket, limit, greeting: Mutex::default() }
    }

    /// A call with the ordinary limit. `name` is what it is counted under: a constant, never data.
    pub(super) async fn call<T>(
        &self,
        name: &'static str,
        work: impl AsyncFnOnce(Docker) -> Result<T, bollard::errors::Error>,
    ) -> Result<T, EngineError> {
        self.call_within(name, self.limit, work).await
    }

    /// A call with a limit of its own.
    pub(super) async fn call_within<T>(
        &self,
        name: &'static str,
        limit: Duration,
        work: impl AsyncFnOnce(Docker) -> Result<T, bollard::errors::Error>,
    ) -> Result<T, EngineError> {
        let mut count = Count { name, outcome: "dropped" };
        let called = async { work(self.client().await?).await.map_err(|error| self.sort(error)) };
        let (outcome, done) = match timeout(limit, called).await {
            Ok(done) => (outcome_of(&done), done),
            Err(_) => ("timeout", Err(self.unreachable(format!("no answer within {limit:?}")))),
        };
        count.outcome = outcome;
        done
    }

    /// The client itself, for streams.
    ///
    /// One greets at a time. Who waited for one that failed is told so: were each to greet by itself, the
    /// twentieth would wait twenty times as long for a hung engine.
    pub(super) async fn client(&self) -> Result<Docker, EngineError> {
        let asked = Instant::now();
        let mut greeting = self.greeting.lock().await;
        if let Some(client) = &greeting.client {
            return Ok(client.clone());
        }
        if let Some((at, error)) = &greeting.failed
            && *at > asked
        {
            return Err(error.clone());
        }
        match self.connect().await {
            Ok(client) => {
                *greeting = Greeting { client: Some(client.clone()), failed: None };
                Ok(client)
            }
            Err(error) => {
                greeting.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// The engine went away. Whoever answers next may be an older or a newer one: the version is agreed on anew.
    pub(super) async fn part(&self) {
        self.greeting.lock().await.client = None;
    }

    async fn connect(&self) -> Result<Docker, EngineError> {
        let client = Docker::connect_with_unix(&self.socket, CLIENT_LIMIT, API_DEFAULT_VERSION)
            .map_err(|error| self.unreachable(error.to_string()))?;
        let limit = self.limit.min(GREETING_LIMIT);
        let negotiated = timeout(limit, client.negotiate_version())
            .await
            .map_err(|_| self.unreachable(format!("no answer within {limit:?}")))?
            .map_err(|error| self.sort(error))?;
        let version = negotiated.client_version();
        if (version.major_version, version.minor_version) < OLDEST_API {
            let version = format!("{}.{}", version.major_version, version.minor_version);
            return Err(EngineError::TooOld { socket: self.socket.clone(), version });
        }
        Ok(negotiated)
    }

    pub(super) fn sort(&self, error: bollard::errors::Error) -> EngineError {
        use bollard::errors::Error;
        match error {
            Error::DockerResponseServerError { status_code: 500.., message } if is_own_trouble(&message) => {
                self.unreachable(message)
            }
            Error::DockerResponseServerError { status_code, message } => {
                EngineError::Refused { status: status_code, message }
            }
            // What it says in the middle of an answer that began well.
            Error::DockerStreamError { error } => EngineError::Refused { status: 500, message: error },
            other => self.unreachable(with_causes(&other)),
        }
    }

    pub(super) fn unreachable(&self, why: String) -> EngineError {
        EngineError::Unreachable { socket: self.socket.clone(), why }
    }
}

/// Counts a call when it is over, also when whoever made it does not wait for its end: a stop is let go when the
/// container is seen to end.
struct Count {
    name: &'static str,
    outcome: &'static str,
}

impl Drop for Count {
    fn drop(&mut self) {
        let labels = [("call", self.name), ("outcome", self.outcome)];
        metrics::counter!("muster_executor_engine_calls_total", &labels).increment(1);
    }
}

/// What a call is counted as: `ok`, `not_found`, `conflict`, `refused`, `unreachable`; beside these `timeout` and
/// `dropped`.
const fn outcome_of<T>(done: &Result<T, EngineError>) -> &'static str {
    match done {
        Ok(_) => "ok",
        Err(EngineError::Refused { status: 404, .. }) => "not_found",
        Err(EngineError::Refused { status: 409, .. }) => "conflict",
        Err(EngineError::Refused { .. } | EngineError::TooOld { .. }) => "refused",
        Err(EngineError::Unreachable { .. }) => "unreachable",
    }
}

/// Whether what the engine complains of is that its containerd is away, or that it is ending itself. It answers
/// then, but its answers say nothing of what was asked for.
fn is_own_trouble(message: &str) -> bool {
    const WORDS: [&str; 4] =
        ["containerd.sock", "transport is closing", "client connection is closing", "context canceled"];
    WORDS.iter().any(|words| message.contains(words))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(status_code: u16, message: &str) -> EngineError {
        let engine = Engine::new("/s".to_owned(), Duration::from_secs(1));
        engine.sort(bollard::errors::Error::DockerResponseServerError {
            status_code,
            message: message.to_owned(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_call_a_hung_engine_wait_no_longer_than_one() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        // Nobody ever accepts.
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let engine = Engine::new(socket.display().to_string(), Duration::from_secs(30));
        let begun = Instant::now();
        let calls = (0..20).map(|_| engine.call("ping", async |client| client.ping().await));
        for answer in futures::future::join_all(calls).await {
            assert!(matches!(answer, Err(EngineError::Unreachable { .. })), "{answer:?}");
        }
        // By the paused clock: nothing else took any time.
        assert_eq!(begun.elapsed().as_secs(), GREETING_LIMIT.as_secs());
    }

    /// Answers one question for its version with `api`, like an engine that speaks nothing newer.
    async fn speak_once(listener: &tokio::net::UnixListener, api: &str) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = [0; 4096];
        assert!(stream.read(&mut asked).await.unwrap() > 0);
        let body = format!(r#"{{"ApiVersion": "{api}"}}"#);
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    }

    #[tokio::test]
    async fn an_engine_that_comes_back_is_agreed_with_anew() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let engine = Engine::new(socket.display().to_string(), Duration::from_secs(30));
        let (client, ()) = tokio::join!(engine.client(), speak_once(&listener, "1.41"));
        assert_eq!(client.unwrap().client_version().minor_version, 41);
        assert!(engine.client().await.is_ok(), "nobody answers, and nobody is asked");
        engine.part().await;
        let (client, ()) = tokio::join!(engine.client(), speak_once(&listener, "1.40"));
        assert!(matches!(client, Err(EngineError::TooOld { .. })), "{:?}", client.err());
    }

    #[test]
    fn a_call_is_counted_by_what_came_of_it() {
        let of = |error| outcome_of::<()>(&Err(error));
        assert_eq!(outcome_of(&Ok(())), "ok");
        assert_eq!((of(sorted(404, "")), of(sorted(409, ""))), ("not_found", "conflict"));
        assert_eq!((of(sorted(500, "")), of(sorted(500, "context canceled"))), ("refused", "unreachable"));
    }

    #[test]
    fn an_engine_whose_containerd_is_away_is_away_itself() {
        let dial = "connection error: desc = \"transport: error while dialing: dial unix:///run/containerd/containerd.sock: timeout\": unavailable";
        assert!(matches!(sorted(500, dial), EngineError::Unreachable { .. }));
        assert!(matches!(sorted(500, "context canceled"), EngineError::Unreachable { .. }));
        assert!(matches!(sorted(500, "no space left on device"), EngineError::Refused { status: 500, .. }));
        assert!(sorted(404, "no such container: containerd.sock").is_not_found());
    }
}
