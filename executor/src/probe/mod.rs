//! Checks a workload once, by HTTP, TCP, gRPC or CMD, and answers within the timeout. It knows nothing of states or
//! attempts.

mod grpc;
mod hook;
mod http;
mod node;
mod target;

use std::time::Duration;

use futures::future::BoxFuture;
use muster_common::spec::CheckMode;
use muster_platform::call::CallError;

use crate::runner::{LaunchPlan, Workload};
use crate::want::is_want;

pub(crate) use hook::HookCaller;
pub use node::NodeProber;

/// The bytes of an answer that are kept.
const ANSWER_MAX: usize = 1024;

/// What every call names as its host, and what certificates must be good for.
const CALLED_NAME: &str = "localhost";

/// Why there was no answer, in words for a person.
enum ProbeError {
    /// The workload did not give one.
    NoAnswer(String),
    /// It was never asked: the node was short of what that takes.
    NotAsked(String),
}

impl From<CallError> for ProbeError {
    fn from(error: CallError) -> Self {
        let why = error.to_string();
        if is_want(&error) { Self::NotAsked(why) } else { Self::NoAnswer(why) }
    }
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeOutcome {
    /// Whether it passed.
    pub passed: bool,
    /// Whether the workload was asked at all. An engine that is away says nothing of what runs on it, and neither
    /// does a node that is out of descriptors.
    pub asked: bool,
    /// How long it took.
    pub latency: Duration,
    /// HTTP status, gRPC status or exit code, where there was one.
    pub code: Option<i32>,
    /// The first KiB of the answer, or the error in words.
    pub answer: String,
}

/// Checks workloads.
pub trait Prober: Send + Sync {
    /// Makes one check; takes at most `timeout`.
    fn probe<'a>(
        &'a self,
        mode: &'a CheckMode,
        timeout: Duration,
        plan: &'a LaunchPlan,
        workload: &'a Workload,
    ) -> BoxFuture<'a, ProbeOutcome>;
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_call_that_the_node_cannot_make_asks_nobody() {
        let error =
            |errno: Errno| CallError::Machine { what: "cannot read".to_owned(), source: errno.into() };
        for (errno, asks_nobody) in [(Errno::MFILE, true), (Errno::NFILE, true), (Errno::NOENT, false)] {
            let told = ProbeError::from(error(errno));
            assert_eq!(matches!(told, ProbeError::NotAsked(_)), asks_nobody, "{errno}");
        }
    }
}
