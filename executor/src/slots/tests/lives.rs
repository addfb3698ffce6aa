//! Random lives of a slot, and what must hold in each.

use muster_common::id::Epoch;
use muster_common::instance::InstanceState::*;
use muster_common::slot::ReplaceMode;
use muster_common::time::Timestamp;
use proptest::prelude::*;

use super::bench::{Bench, become_state, row};
use crate::machine::{Instance, StopIntent};

#[derive(Debug, Clone)]
enum Deed {
    Advance(usize),
    Fail(usize),
    Raise,
    GoBack,
    Remove,
    Pass(u64),
    Mode(bool),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (0..3usize).prop_map(Deed::Advance),
        2 => (0..3usize).prop_map(Deed::Fail),
        1 => Just(Deed::Raise),
        1 => Just(Deed::GoBack),
        1 => Just(Deed::Remove),
        2 => (0..400_000u64).prop_map(Deed::Pass),
        1 => any::<bool>().prop_map(Deed::Mode),
    ]
}

proptest! {
    /// Whatever happens: one live instance per epoch (checked in `Bench::keep`), a healthy one is
    /// only asked to go when a newer one is healthy, when stop-first was asked for, or when the slot is
    /// gone; and deciding twice on the same facts changes nothing.
    #[test]
    fn random_lives_of_a_slot(deeds in prop::collection::vec(deed(), 1..80)) {
        let mut bench = Bench::new(ReplaceMode::StartFirst);
        let mut epoch = 1;
        for deed in deeds {
            let at = Timestamp(bench.now);
            let live: Vec<usize> =
                (0..bench.instances.len()).filter(|&index| !bench.instances[index].is_over()).collect();
            match deed {
                Deed::Advance(nth) => if let Some(&index) = live.get(nth) {
                    let instance = &mut bench.instances[index];
                    let next = match (instance.state(), instance.stop.is_some()) {
                        (Deprovisioning, _) => Stopped,
                        (_, true) => Deprovisioning,
                        (Pending, _) => Starting,
                        (Starting, _) => Unready,
                        (_, _) => Healthy,
                    };
                    become_state(instance, next, at);
                },
                Deed::Fail(nth) => if let Some(&index) = live.get(nth) {
                    become_state(&mut bench.instances[index], Stopped, at);
                },
                Deed::Raise => {
                    epoch += 1;
                    let mode = bench.row.as_ref().map_or(ReplaceMode::StartFirst, |row| row.mode);
                    bench.row = Some(row(epoch, mode));
                }
                Deed::GoBack => if let Some(row) = &mut bench.row {
                    row.epoch = Epoch(row.epoch.0.saturating_sub(1).max(1));
                },
                Deed::Remove => bench.row = None,
                Deed::Pass(millis) => bench.now += millis,
                Deed::Mode(start_first) => if let Some(row) = &mut bench.row {
                    row.mode = if start_first { ReplaceMode::StartFirst } else { ReplaceMode::StopFirst };
                },
            }
            let before: Vec<Instance> = bench.instances.clone();
            let decision = bench.keep();
            for (id, StopIntent { reason, .. }) in &decision.stop {
                let going = before.iter().find(|instance| instance.id() == id).unwrap();
                let replaced = before.iter().any(|other| {
                    Some(other.epoch()) >= bench.row.as_ref().map(|row| row.epoch)
                        && other.epoch() >= going.epoch()
                        && other.state() == Healthy && other.id() != id
                });
                let stop_first = bench.row.as_ref().is_some_and(|row| row.mode == ReplaceMode::StopFirst);
                let may_go = going.state() != Healthy || replaced || stop_first || bench.row.is_none();
                prop_assert!(may_go, "a healthy instance was stopped for {reason}");
            }
            let again = bench.keep();
            prop_assert!(again.mint.is_none() && again.stop.is_empty() && again.accounted.is_empty());
        }
    }
}
