//! Runs a shutdown hook: the same call as a check, but one that has to get through rather than to judge.
//!
//! A command that fails is not run again: whether that helps, only its author knows. (One that the executor's own end
//! cut short is: the hook is then run anew, see `PreShutdownSpec::hooks`.) A hook that could not be asked, because the
//! engine was away or the node short of descriptors, is asked as soon as it can be, within its time. A call over the network that fails
//! is made again, as in Drove (docs/drove-api.md §4.3): up to five times, three seconds apart. A call that takes
//! its time (a drain that answers when it is done) may use all that the hook has; it is not made again.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use muster_common::spec::CheckMode;
use tokio::time::{Instant, sleep};

use super::{ProbeOutcome, Prober};
use crate::runner::{LaunchPlan, Workload};

/// How often a call is made at most.
const TRIES_MAX: u32 = 5;
/// Between two of them.
const PAUSE: Duration = Duration::from_secs(3);
/// Before whoever could not ask is told to once more.
const AWAY_PAUSE: Duration = Duration::from_millis(500);

/// Asks as another prober does, again where that may help, all within the timeout.
pub(crate) struct HookCaller(pub(crate) Arc<dyn Prober>);

impl Prober for HookCaller {
    fn probe<'a>(
        &'a self,
        mode: &'a CheckMode,
        timeout: Duration,
        plan: &'a LaunchPlan,
        workload: &'a Workload,
    ) -> BoxFuture<'a, ProbeOutcome> {
        Box::pin(async move {
            let begun = Instant::now();
            let most = if matches!(mode, CheckMode::Cmd { .. }) { 1 } else { TRIES_MAX };
            let mut tries = 0;
            loop {
                let left = timeout.saturating_sub(begun.elapsed());
                let mut outcome = self.0.probe(mode, left, plan, workload).await;
                // One that reached nobody was none.
                tries += u32::from(outcome.asked);
                let pause = if outcome.asked { PAUSE } else { AWAY_PAUSE };
                // A try that could only begin as the time ends would say nothing.
                if outcome.passed || tries == most || begun.elapsed() + pause >= timeout {
                    outcome.latency = begun.elapsed();
                    if !outcome.passed && tries > 1 {
                        outcome.answer = format!("{} (tried {tries} times)", outcome.answer);
                    }
                    return outcome;
                }
                sleep(pause).await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU32, Ordering};

    use muster_common::id::InstanceId;
    use muster_common::spec::LocalServiceSpec;
    use serde_json::json;

    use super::*;

    /// Cannot ask so often, then fails so often, and takes so long each time.
    struct Reluctant {
        away: u32,
        failures: u32,
        takes: Duration,
        asked: AtomicU32,
    }

    impl Prober for Reluctant {
        fn probe<'a>(
            &'a self,
            _: &'a CheckMode,
            timeout: Duration,
            _: &'a LaunchPlan,
            _: &'a Workload,
        ) -> BoxFuture<'a, ProbeOutcome> {
            Box::pin(async move {
                let before = self.asked.fetch_add(1, Ordering::Relaxed);
                sleep(self.takes.min(timeout)).await;
                let passed = before >= self.away + self.failures && self.takes <= timeout;
                ProbeOutcome {
                    passed,
                    asked: before >= self.away,
                    latency: self.takes,
                    code: None,
                    answer: "said".to_owned(),
                }
            })
        }
    }

    /// How often it was asked, whether it passed, what it said and how long it took.
    async fn called(mode: CheckMode, failures: u32, takes: u64, limit: u64) -> (u32, bool, String, u64) {
        called_while_away(mode, 0, failures, takes, limit).await
    }

    async fn called_while_away(
        mode: CheckMode,
        away: u32,
        failures: u32,
        takes: u64,
        limit: u64,
    ) -> (u32, bool, String, u64) {
        let takes = Duration::from_secs(takes);
        let inner = Arc::new(Reluctant { away, failures, takes, asked: 0.into() });
        let prober: Arc<dyn Prober> = Arc::clone(&inner) as _;
        let instance = InstanceId::from_uuid(uuid::Uuid::nil());
        let plan = LaunchPlan {
            instance,
            place: crate::testing::place(),
            spec: Arc::new(LocalServiceSpec::from_json(b"{}").unwrap()),
            env: BTreeMap::new(),
        };
        let workload = Workload::container("c");
        let outcome = HookCaller(prober).probe(&mode, Duration::from_secs(limit), &plan, &workload).await;
        (inner.asked.load(Ordering::Relaxed), outcome.passed, outcome.answer, outcome.latency.as_secs())
    }

    fn http() -> CheckMode {
        serde_json::from_value(json!({"type": "HTTP", "portName": "main"})).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_made_again_until_it_passes_or_there_is_no_time() {
        let said = "said".to_owned();
        assert_eq!(called(http(), 0, 1, 30).await, (1, true, said.clone(), 1));
        assert_eq!(called(http(), 2, 0, 30).await, (3, true, said.clone(), 6));
        assert_eq!(called(http(), 9, 0, 30).await, (5, false, "said (tried 5 times)".to_owned(), 12));
        assert_eq!(called(http(), 9, 1, 8).await, (2, false, "said (tried 2 times)".to_owned(), 5));
        // One that hangs has all the time there is, once.
        assert_eq!(called(http(), 0, 99, 30).await, (1, false, said, 30));
    }

    fn command() -> CheckMode {
        CheckMode::Cmd { command: "x".to_owned(), shell_disabled: false }
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_fails_is_not_run_again() {
        assert_eq!(called(command(), 1, 1, 30).await, (1, false, "said".to_owned(), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_could_not_ask_asks_as_soon_as_it_can() {
        let said = "said".to_owned();
        assert_eq!(called_while_away(command(), 4, 0, 0, 30).await, (5, true, said.clone(), 2));
        // Once it was run, it is not run again.
        assert_eq!(called_while_away(command(), 4, 1, 0, 30).await, (5, false, said.clone(), 2));
        // What reached nobody is none of a call's tries.
        let tried = "said (tried 5 times)".to_owned();
        assert_eq!(called_while_away(http(), 4, 9, 0, 30).await, (9, false, tried, 14));
        // Within the time that the hook has.
        assert_eq!(called_while_away(command(), 999, 0, 0, 3).await, (6, false, said, 2));
    }
}
