//! Asks a workload how it is: HTTP, TCP, gRPC, CMD. Knows nothing of states or attempts: one question, one
//! answer, always within the timeout.

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

pub(crate) use hook::HookCaller;
pub use node::NodeProber;

/// The bytes of an answer that are kept.
const ANSWER_MAX: usize = 1024;

/// What every call names as its host, and what certificates must be good for.
const CALLED_NAME: &str = "localhost";

/// Why there was no answer, in words for a person.
struct ProbeError(String);

impl From<CallError> for ProbeError {
    fn from(CallError(why): CallError) -> Self {
        Self(why)
    }
}

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeOutcome {
    /// Whether it passed.
    pub passed: bool,
    /// Whether the workload was asked at all. An engine that is away says nothing of what runs on it.
    pub asked: bool,
    /// How long it took.
    pub latency: Duration,
    /// HTTP status, gRPC status or exit code, where there was one.
    pub code: Option<i32>,
    /// The first KiB of the answer, or the error in words.
    pub answer: String,
}

/// Asks.
pub trait Prober: Send + Sync {
    /// Asks once; takes at most `timeout`.
    fn probe<'a>(
        &'a self,
        mode: &'a CheckMode,
        timeout: Duration,
        plan: &'a LaunchPlan,
        workload: &'a Workload,
    ) -> BoxFuture<'a, ProbeOutcome>;
}
