//! What of the state is worth counting, as metrics. It follows the state and changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, describe_counter, gauge};
use muster_common::executor::ExecutorState;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::state::State;

/// How often to look at most.
const REST: Duration = Duration::from_secs(1);

/// Runs until `shutdown`, or until nobody owns the state any more.
pub(crate) async fn follow(mut state: watch::Receiver<Arc<State>>, shutdown: CancellationToken) {
    describe_counter!(
        "muster_operations_total",
        "Operations that ended while this controller ran; every controller counts each, so read it from one of them."
    );
    let work = async {
        let mut seen = Arc::clone(&state.borrow_and_update());
        loop {
            show_executors(&seen);
            sleep(REST).await;
            if state.changed().await.is_err() {
                return;
            }
            let now = Arc::clone(&state.borrow_and_update());
            count_operations(&seen, &now);
            seen = now;
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

fn count_operations(before: &State, now: &State) {
    for operation in now.operations_ended_since(before) {
        let (kind, outcome) = (operation.kind.as_str(), operation.state.as_str());
        counter!("muster_operations_total", "kind" => kind, "outcome" => outcome).increment(1);
    }
}
