//! The Docker Engine: one connection, its version agreed on, every call bounded, every failure sorted.

use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::runner::{ProvisionError, RunnerError, StartError};

/// The oldest engine API that is spoken: Engine 20.10 (December 2020).
const OLDEST_API: (usize, usize) = (1, 41);

/// How long the first words with an engine may take: a hung one must not hold up an executor's start.
const GREETING_LIMIT: Duration = Duration::from_secs(5);

/// The client's own limit, in seconds. Never reached: each call here has a shorter one of its own.
const CLIENT_LIMIT: u64 = 24 * 3600;

/// A call to the engine failed.
#[derive(Debug, thiserror::Error)]
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
    client: OnceCell<Docker>,
}

impl Engine {
    /// An engine at a socket's path. `limit` is how long an ordinary call may take.
    pub(super) fn new(socket: String, limit: Duration) -> Self {
        Self { socket, limit, client: OnceCell::new() }
    }

    /// A call with the ordinary limit.
    pub(super) async fn call<T>(
        &self,
        work: impl AsyncFnOnce(Docker) -> Result<T, bollard::errors::Error>,
    ) -> Result<T, EngineError> {
        self.call_within(self.limit, work).await
    }

    /// A call with a limit of its own.
    pub(super) async fn call_within<T>(
        &self,
        limit: Duration,
        work: impl AsyncFnOnce(Docker) -> Result<T, bollard::errors::Error>,
    ) -> Result<T, EngineError> {
        let client = self.client().await?;
        match timeout(limit, work(client)).await {
            Ok(done) => done.map_err(|error| self.sort(error)),
            Err(_) => Err(self.unreachable(format!("no answer within {limit:?}"))),
        }
    }

    /// The client itself, for streams.
    pub(super) async fn client(&self) -> Result<Docker, EngineError> {
        self.client.get_or_try_init(|| self.connect()).await.cloned()
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
            Error::DockerResponseServerError { status_code, message } => {
                EngineError::Refused { status: status_code, message }
            }
            // What it says in the middle of an answer that began well.
            Error::DockerStreamError { error } => EngineError::Refused { status: 500, message: error },
            other => self.unreachable(with_causes(&other)),
        }
    }

    fn unreachable(&self, why: String) -> EngineError {
        EngineError::Unreachable { socket: self.socket.clone(), why }
    }
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
