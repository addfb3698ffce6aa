//! How long the steps of a start take: where the time goes between a lease and a workload that runs.

use std::time::Instant;

use muster_common::instance::RunnerKind;

/// A step under way. One that fails is let go: how long a failure took says nothing about starts.
pub(super) struct Step {
    runner: RunnerKind,
    name: &'static str,
    begun: Instant,
}

impl Step {
    pub(super) fn begin(runner: RunnerKind, name: &'static str) -> Self {
        Self { runner, name, begun: Instant::now() }
    }

    /// It succeeded.
    pub(super) fn done(self) {
        let labels = [("runner", self.runner.as_str()), ("step", self.name)];
        metrics::histogram!("muster_executor_start_seconds", &labels)
            .record(self.begun.elapsed().as_secs_f64());
    }
}
