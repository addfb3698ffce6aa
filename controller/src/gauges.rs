//! Numbers of the state, as metrics. This task follows the state and changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};
use muster_common::executor::ExecutorState;
use muster_common::operation::Operation;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::raft::Consensus;
use crate::state::State;

/// The shortest time between two looks at the state.
const REST: Duration = Duration::from_secs(1);

/// Runs until `shutdown`, or until nobody owns the state any more.
pub(crate) async fn follow(
    mut state: watch::Receiver<Arc<State>>,
    consensus: Consensus,
    shutdown: CancellationToken,
) {
    let work = async {
        let mut ended = Ended::default();
        loop {
            // A controller that starts is told what happened without it; that is over when it knows what all know.
            let is_current = ended.seen.is_some() || consensus.read_barrier().await.is_ok();
            let now = Arc::clone(&state.borrow_and_update());
            show_executors(&now);
            for operation in ended.next(now, is_current) {
                let (kind, outcome) = (operation.kind.as_str(), operation.state.as_str());
                counter!("muster_operations_total", "kind" => kind, "outcome" => outcome).increment(1);
            }
            sleep(REST).await;
            if is_current && state.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = work => {}
    }
}

#[allow(clippy::cast_precision_loss)] // far fewer executors than 2^52
fn show_executors(state: &State) {
    let mut counts: BTreeMap<ExecutorState, usize> = BTreeMap::new();
    for executor in state.executors() {
        *counts.entry(executor.shown_state()).or_default() += 1;
    }
    for shown in ExecutorState::ALL {
        let count = counts.get(shown).copied().unwrap_or_default();
        gauge!("muster_executors", "state" => shown.as_str()).set(count as f64);
    }
}

/// Finds the operations that ended between two looks.
#[derive(Default)]
struct Ended {
    /// The state when it was last looked at; none while it was not `current` yet.
    seen: Option<Arc<State>>,
}

impl Ended {
    /// Those that ended since the last look. What ended before the first state that is current is history.
    fn next(&mut self, now: Arc<State>, is_current: bool) -> Vec<Arc<Operation>> {
        let since = self.seen.as_deref().map(|seen| now.operations_ended_since(seen).cloned().collect());
        if is_current {
            self.seen = Some(now);
        }
        since.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::*;

    #[test]
    fn what_ended_before_a_controller_knew_what_all_know_is_not_counted() {
        let mut fixture = Fixture::with_executors(1);
        let mut ended = Ended::default();
        let count = |ended: &mut Ended, fixture: &Fixture, is_current| {
            ended.next(Arc::new(fixture.state.clone()), is_current).len()
        };
        assert_eq!(count(&mut ended, &Fixture::new(), false), 0, "it is empty");
        fixture.running(spec("web"), 1);
        assert_eq!(count(&mut ended, &fixture, true), 0, "it was told all at once");
        fixture.running(spec("log"), 1);
        let happened = count(&mut ended, &fixture, true);
        assert!(happened > 0);
        assert_eq!(count(&mut ended, &fixture, true), 0);
    }
}
