//! What was seen of each service's specs while a world went on: whether the wanted one was ever HEALTHY, and what the
//! rollouts that wanted it took down, however often it was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_common::id::{Epoch, Generation, ServiceId, SlotId};
use muster_common::operation::OperationState;
use muster_common::slot::{SlotPhase, SlotStatus};
use muster_common::spec::LocalServiceSpec;

use crate::state::{Change, Service, Slot, State};

/// All services that there are.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<ServiceId, Entry>);

#[derive(Debug)]
struct Entry {
    wanted: (Generation, Arc<LocalServiceSpec>),
    stable: (Generation, Arc<LocalServiceSpec>),
    /// Whether the wanted spec was HEALTHY in some slot since it is wanted.
    is_proven: bool,
    series: Series,
}

/// The rollouts that wanted the same spec one after the other, none of which succeeded yet.
#[derive(Debug, Default, Clone)]
pub(super) struct Series {
    /// The epochs that they gave.
    pub(super) raised: BTreeSet<Epoch>,
    /// How many slots the widest of them may take down.
    pub(super) most: usize,
}

impl Ledger {
    /// Looks at the state. A spec becomes stable only when it was seen to work, or when there was nothing to see.
    pub(super) fn note(&mut self, state: &State) {
        self.0.retain(|service, _| state.service(service).is_some());
        for service in state.services() {
            let known = self.0.remove(&service.id);
            let entry = known.map_or_else(|| Entry::of(service), |known| known.followed_by(service));
            let entry = entry.seen_in(state, service);
            self.0.insert(service.id.clone(), entry);
        }
    }

    pub(super) fn series(&self, service: &ServiceId) -> Series {
        self.0.get(service).map(|entry| entry.series.clone()).unwrap_or_default()
    }

    pub(super) fn widen(&mut self, service: &ServiceId, most: usize, epochs: impl Iterator<Item = Epoch>) {
        if let Some(entry) = self.0.get_mut(service) {
            entry.series.most = entry.series.most.max(most);
            entry.series.raised.extend(epochs);
        }
    }
}

impl Entry {
    fn of(service: &Service) -> Self {
        let specs = &service.specs;
        Self {
            wanted: (specs.wanted(), Arc::clone(specs.spec())),
            stable: (specs.stable(), Arc::clone(specs.stable_spec())),
            is_proven: false,
            series: Series::default(),
        }
    }

    fn followed_by(self, service: &Service) -> Self {
        let now = Self::of(service);
        let is_repeated = now.wanted.1 == self.wanted.1 && self.wanted.0 != self.stable.0;
        let is_same = now.wanted.0 == self.wanted.0 || is_repeated;
        let series = if is_same { self.series } else { Series::default() };
        Self { stable: self.stable, is_proven: is_same && self.is_proven, series, ..now }
    }

    fn seen_in(mut self, state: &State, service: &Service) -> Self {
        let mut slots = state.slots_of(&service.id).peekable();
        let had_none = slots.peek().is_none();
        let shows_it = |(id, slot): (SlotId, &Arc<Slot>)| {
            let asked = state.spec_in(&id, slot);
            asked.is_some_and(|asked| **asked == *self.wanted.1) && state.is_filled(&id, slot)
        };
        self.is_proven |= slots.any(shows_it);
        let specs = &service.specs;
        if specs.stable() != self.stable.0 {
            assert!(
                self.is_proven || had_none || *specs.stable_spec() == self.stable.1,
                "what was never HEALTHY is stable: {:?} of {}",
                specs.stable(),
                service.id
            );
            self.stable = (specs.stable(), Arc::clone(specs.stable_spec()));
        }
        self
    }
}

/// What goes back to a spec that it runs already, or catches up with it, is not replaced for that.
pub(super) fn check_way_back(before: &State, after: &State, changes: &[Change]) {
    for change in changes {
        let goes_back = match change {
            Change::RaiseSlot { operation, slot, .. } => {
                let operation = before.operation(operation);
                let back = operation.is_some_and(|known| known.state == OperationState::RollingBack);
                back.then_some(slot)
            }
            Change::CatchUp { slot, .. } => Some(slot),
            _ => None,
        };
        let Some(id) = goes_back else { continue };
        let (Some(slot), Some(now)) = (before.slot(id), after.slot(id)) else { continue };
        let Some(service) = before.service(&id.service).filter(|_| now.epoch > slot.epoch) else { continue };
        let runs_it = before.spec_in(id, slot) == Some(service.specs.stable_spec());
        let gave_up = |status: &SlotStatus| matches!(status.phase, SlotPhase::KeptOld | SlotPhase::Failed);
        assert!(!runs_it || slot.current_status().is_some_and(gave_up), "{id:?} runs what it is given back");
    }
}
