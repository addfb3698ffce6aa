//! The controllers' state and some executors in miniature, and all that may happen to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use muster_common::cluster::ClusterState;
use muster_common::executor::{Contact, ExecutorState};
use muster_common::id::{Epoch, ExecutorId, Generation, InstanceId, OperationId, ServiceId, SlotId};
use muster_common::operation::{Operation, OperationState, SlotOutcome, SlotProgress};
use muster_common::slot::{ReplaceMode, SlotPhase};
use muster_common::time::Timestamp;

use super::proof::{Ledger, Series, check_way_back};
use super::simulated::Simulated;
use crate::reconcile::plan;
use crate::state::testing::*;
use crate::state::{
    Change, Command, ExecNoted, Reply, Retention, Slot, Wish, goes_in_waves, is_rollout, slot_table,
};

/// Where each executor is: two zones of two, and one that names none.
pub(super) const ZONES: [&str; 5] = ["a", "a", "b", "b", ""];
/// In how many rounds a world must come to rest: far more than any takes.
const MAX_ROUNDS: usize = 400;

/// The controllers' side and all executors.
pub(super) struct World {
    pub(super) fixture: Fixture,
    pub(super) executors: Vec<Simulated>,
    /// When each executor was lost the last time.
    lost: Vec<Epoch>,
    /// Every plan so far, to be applied again at the wrong time.
    plans: Vec<Vec<Change>>,
    /// What was accepted, and at which revision.
    pub(super) accepted: BTreeMap<OperationId, Epoch>,
    /// How the newest rollout of each service ended, by the generation that it brought.
    pub(super) rollouts: BTreeMap<ServiceId, (Generation, OperationState)>,
    ledger: Ledger,
}

impl World {
    pub(super) fn new() -> Self {
        let executors = (1..=ZONES.len()).map(|n| Simulated::new(&format!("e{n}"))).collect();
        let mut world = Self {
            fixture: Fixture::new(),
            executors,
            lost: vec![Epoch(0); ZONES.len()],
            plans: Vec::new(),
            accepted: BTreeMap::new(),
            rollouts: BTreeMap::new(),
            ledger: Ledger::default(),
        };
        (0..ZONES.len()).for_each(|executor| world.register(executor));
        let changes = vec![Change::Retain(Retention { old_instances: 5, ..Retention::default() })];
        world.fixture.apply(&Command::Plan { at: world.fixture.now, changes });
        world
    }

    /// An executor opens a session, and says what it holds.
    pub(super) fn register(&mut self, executor: usize) {
        let mut record = executor_record(&self.executors[executor].name);
        record
            .tags
            .extend(Some(ZONES[executor]).filter(|zone| !zone.is_empty()).map(|zone| format!("zone={zone}")));
        let holds: Vec<InstanceId> =
            self.executors[executor].inventory().iter().map(|id| instance_id(id)).collect();
        let at = self.fixture.now;
        let command = Command::RegisterExecutor { at, record: Box::new(record), holds: Some(holds) };
        assert_eq!(self.fixture.apply(&command), Reply::Done);
    }

    pub(super) fn contact(&mut self, executor: usize, contact: Contact) {
        match contact {
            Contact::Connected => self.register(executor),
            contact => self.fixture.contact(&self.executors[executor].name, contact),
        }
        if contact == Contact::Lost {
            self.lost[executor] = Epoch(self.fixture.state.revision().0);
        }
    }

    pub(super) fn change_duty(&mut self, executor: usize, wish: Wish) {
        let executors = vec![executor_id(&self.executors[executor].name)];
        self.fixture.apply(&Command::ChangeDuty {
            at: self.fixture.now,
            wish,
            executors,
            by: "ann".to_owned(),
        });
    }

    /// Users give it one more tag, or take away all that they gave.
    pub(super) fn tag(&mut self, executor: usize, tag: Option<String>) {
        let (at, executor) = (self.fixture.now, executor_id(&self.executors[executor].name));
        self.fixture.apply(&match tag {
            Some(tag) => Command::AmendTags { at, executor, remove: Vec::new(), add: vec![tag] },
            None => Command::TagExecutor { at, executor, tags: Vec::new() },
        });
    }

    /// Somebody runs a command beside an instance.
    pub(super) fn exec(&mut self, executor: usize) {
        let exec = ExecNoted {
            service: service_id("web-1"),
            instance: InstanceId::new("i").unwrap(),
            executor: executor_id(&self.executors[executor].name),
            program: "sh".to_owned(),
            by: "ann".to_owned(),
        };
        assert_eq!(self.fixture.apply(&Command::NoteExec { at: self.fixture.now, exec }), Reply::Done);
    }

    /// How far an executor's clock is from the leader's.
    pub(super) fn skew(&mut self, executor: usize, skew_ms: i64) {
        let skews = vec![(executor_id(&self.executors[executor].name), skew_ms)];
        let command = Command::NoteSkews { at: self.fixture.now, skews };
        assert_eq!(self.fixture.apply(&command), Reply::Done);
    }

    /// Another controller leads, whose clock is ahead by so many seconds, or behind.
    pub(super) fn lead(&mut self, seconds: i64) {
        self.fixture.lead_at(Timestamp(self.fixture.now.0.saturating_add_signed(seconds * 1000)));
    }

    /// How many slots hold nothing healthy. Those of who was lost since they were taken down do not count: nobody waits for
    /// them.
    pub(super) fn slots_down(&self) -> usize {
        let counts = |(executor, lost): (&Simulated, &Epoch)| {
            executor.slots_down().filter(|taken| taken.is_none_or(|taken| *lost < taken)).count()
        };
        self.executors.iter().zip(&self.lost).map(counts).sum()
    }

    /// Tables go down and reports come up, if the executor is in contact.
    pub(super) fn exchange(&mut self, executor: usize) {
        let executor = &mut self.executors[executor];
        if !self.fixture.state.is_connected(&executor_id(&executor.name)) {
            return;
        }
        executor.take(slot_table(&self.fixture.state, &executor_id(&executor.name)));
        let instances = std::mem::take(&mut executor.instances);
        let statuses = std::mem::take(&mut executor.statuses);
        let ack = self.fixture.report(&executor.name, instances, statuses);
        assert!(ack.refused.is_empty());
    }

    /// Plans once. Every change of a plan that is made now can be made, and only once.
    pub(super) fn reconcile(&mut self) -> bool {
        let changes = plan(&self.fixture.state, self.fixture.now).changes;
        if changes.is_empty() {
            return false;
        }
        let before = self.fixture.state.clone();
        let command = Command::Plan { at: self.fixture.now, changes: changes.clone() };
        let Reply::Planned { applied, .. } = self.fixture.apply(&command) else { panic!("not planned") };
        assert!(applied > 0, "a plan that changes nothing was proposed: {changes:?}");
        let refused = changes.iter().find(|change| match change {
            Change::RaiseSlot { slot, epoch, .. } => {
                self.fixture.state.slot(slot).is_some_and(|slot| slot.epoch == *epoch)
            }
            _ => false,
        });
        assert!(refused.is_none(), "a slot was to begin and may not: {refused:?} of {changes:?}");
        for operation in before.running_operations() {
            self.check_gate(operation, &changes);
        }
        check_way_back(&before, &self.fixture.state, &changes);
        self.ledger.note(&self.fixture.state);
        let Reply::Planned { applied, .. } = self.fixture.apply(&command) else { panic!("not planned") };
        // The clock of an operation that is held since is to be started again anyway.
        let clocks = changes.iter().filter(|change| matches!(change, Change::StartClock { .. })).count();
        assert!(applied as usize <= clocks, "{applied} can be made twice of {changes:?}");
        self.plans.push(changes);
        true
    }

    /// Applies a plan of earlier, which must do no harm.
    pub(super) fn plan_again(&mut self, which: proptest::sample::Index) {
        if !self.plans.is_empty() {
            let changes = which.get(&self.plans).clone();
            self.fixture.apply(&Command::Plan { at: self.fixture.now, changes });
        }
    }

    /// What is held moves nothing; and nothing more is begun while too much of what was begun is not well.
    fn check_gate(&self, operation: &Operation, changes: &[Change]) {
        let moves = |change: &&Change| match change {
            Change::RaiseSlot { operation: of, .. } => *of == operation.id,
            _ => false,
        };
        let begun = changes.iter().filter(moves).count();
        self.check_left(operation, begun);
        let state = &self.fixture.state;
        assert!(begun == 0 || !operation.state.is_held(), "{begun} slots of a held operation: {operation:?}");
        let after = state.operation(&operation.id).unwrap();
        let is_unwell = |progress: &&SlotProgress| {
            let raised = progress.epoch.is_some();
            let counts = matches!(
                progress.outcome,
                SlotOutcome::InProgress | SlotOutcome::Settling | SlotOutcome::Done
            );
            let slot = state.slot(&progress.slot);
            let is_filled = slot.is_some_and(|slot| state.is_filled(&progress.slot, slot));
            raised && counts && slot.is_some() && !is_filled && state.is_connected(&progress.slot.executor)
        };
        let unwell = after.slots.iter().filter(is_unwell).count();
        let most = operation.op_spec.parallelism.of(after.slots.len());
        assert!(
            begun == 0 || after.state != OperationState::Running || unwell <= most,
            "{begun} slots are begun, {unwell} are not well now, {most} may be: {after:?}"
        );
    }

    /// What a stop-first operation begins counts together with what those before it began and left. What a rollout left down
    /// goes back at once, however much that is: nothing is lost by it.
    fn check_left(&self, operation: &Operation, begun: usize) {
        let state = &self.fixture.state;
        let after = state.operation(&operation.id).unwrap();
        let goes_back = operation.state == OperationState::RollingBack;
        let is_begun = |slot: &SlotId| {
            after
                .slots
                .iter()
                .find(|progress| progress.slot == *slot)
                .is_none_or(|progress| progress.epoch.is_some() && (!goes_back || state.serves(slot)))
        };
        let is_at_work = |(id, slot): &(SlotId, &Arc<Slot>)| {
            slot.mode == ReplaceMode::StopFirst
                && is_begun(id)
                && state.is_connected(&id.executor)
                && slot.current_status().is_none_or(|status| status.phase == SlotPhase::Filling)
                && !state.is_filled(id, slot)
        };
        let at_work = state.slots_of(&operation.service).filter(is_at_work).count();
        let most = operation.op_spec.parallelism.of(after.slots.len());
        assert!(
            begun == 0 || !self.stops_first(operation) || at_work <= most,
            "{begun} slots are begun, {at_work} are at work now, {most} may be: {after:?}"
        );
    }

    /// What must hold at every moment. Once an operation was seen to be over it may be forgotten.
    pub(super) fn check(&mut self) {
        self.ledger.note(&self.fixture.state);
        for id in self.accepted.keys() {
            let operation = self.fixture.state.operation(id).unwrap_or_else(|| panic!("{id} was dropped"));
            assert_eq!(operation.state.is_final(), operation.finished.is_some());
            let must_say = matches!(operation.state, OperationState::Failed | OperationState::Cancelled);
            assert!(!must_say || !operation.message.is_empty(), "{operation:?} does not say why");
        }
        for operation in self.fixture.state.running_operations().filter(|known| goes_in_waves(known.kind)) {
            if is_rollout(operation.kind) {
                let epochs = operation.slots.iter().filter_map(|progress| progress.epoch);
                self.ledger.widen(&operation.service, self.may_be_down(operation), epochs);
            }
            self.check_down(operation);
        }
        self.note_what_is_over();
    }

    /// Not more is down by the doing of an operation, and of those before it that wanted the same, than may be, and
    /// never a whole zone.
    fn check_down(&self, operation: &Operation) {
        let Some(&since) = self.accepted.get(&operation.id) else { return };
        let of_it = operation.slots.iter().map(|progress| progress.slot.clone());
        let of_others = self.fixture.state.slots_of(&operation.service).map(|(slot, _)| slot);
        let places: BTreeSet<SlotId> = of_it.chain(of_others).collect();
        let earlier = Some(self.ledger.series(&operation.service)).filter(|_| is_rollout(operation.kind));
        let Series { raised, most } = earlier.unwrap_or_default();
        let most = most.max(self.may_be_down(operation));
        let is_down = |slot: &&SlotId| {
            self.taken_down(slot).is_some_and(|epoch| epoch > since || raised.contains(&epoch))
        };
        let down = places.iter().filter(is_down).count();
        assert!(down <= most, "{down} slots are down, {most} may be: {operation:?}");
        for zone in ["a", "b"] {
            let of_zone = || places.iter().filter(|slot| ZONES[self.position(&slot.executor)] == zone);
            let is_alone = of_zone().count() < 2;
            // What users took out of it since is not the operation's doing.
            let was_emptied = (0..ZONES.len()).filter(|executor| ZONES[*executor] == zone).any(|executor| {
                let known = self.fixture.state.executor(&executor_id(&self.executors[executor].name));
                known.is_none_or(|known| known.duty != ExecutorState::Active)
            });
            assert!(
                is_alone || was_emptied || !of_zone().all(|slot| is_down(&slot)),
                "zone {zone} is down as a whole: {operation:?}"
            );
        }
    }

    /// How many slots an operation may take down.
    fn may_be_down(&self, operation: &Operation) -> usize {
        let parallelism = operation.op_spec.parallelism.of(operation.slots.len());
        if self.stops_first(operation) { parallelism } else { 0 }
    }

    /// The epoch for which what was healthy in the slot was stopped, if nothing healthy came in its place. What was taken
    /// away since is nothing that an operation did, and who was lost is not waited for: what is begun there goes on
    /// when it is found again.
    fn taken_down(&self, slot: &SlotId) -> Option<Epoch> {
        let position = self.position(&slot.executor);
        let assigned = Epoch(self.fixture.state.slot(slot)?.assigned.0);
        let taken = self.executors[position].taken_down(&slot.service, slot.index)?;
        (taken > assigned && self.lost[position] < taken).then_some(taken)
    }

    fn position(&self, executor: &ExecutorId) -> usize {
        self.executors.iter().position(|known| known.name == executor.as_str()).unwrap()
    }

    fn stops_first(&self, operation: &Operation) -> bool {
        let service = self.fixture.state.service(&operation.service);
        operation.stop_first
            || service
                .is_some_and(|service| service.specs.iter().any(|(_, version)| version.spec.is_host_level()))
    }

    /// Everybody is in contact, everything works that can, and everything that is asked for is done.
    pub(super) fn calm_down(&mut self) {
        self.fixture.set_cluster_state(ClusterState::Normal);
        (0..self.executors.len()).for_each(|executor| self.register(executor));
        for round in 0..MAX_ROUNDS {
            let planned = self.reconcile();
            for executor in 0..self.executors.len() {
                self.exchange(executor);
                self.executors[executor].step(true);
                self.exchange(executor);
            }
            self.check();
            if !planned && round > 20 {
                return;
            }
        }
        panic!("plans do not come to an end: {:?}", plan(&self.fixture.state, self.fixture.now));
    }

    /// Calms down until every deadline that there was has passed.
    pub(super) fn come_to_an_end(&mut self) {
        for wait in [0, 60, 400, 1000, 8 * 86_400, 4000, 4000] {
            self.fixture.now = self.fixture.now.plus(Duration::from_secs(wait));
            self.calm_down();
        }
    }

    fn note_what_is_over(&mut self) {
        let state = &self.fixture.state;
        for operation in state.operations() {
            if let Some(generation) = operation.generation {
                let newest =
                    self.rollouts.entry(operation.service.clone()).or_insert((generation, operation.state));
                *newest = (*newest).max((generation, operation.state));
            }
        }
        self.accepted
            .retain(|id, _| state.operation(id).is_some_and(|operation| operation.finished.is_none()));
    }

    pub(super) fn live_of(&self, service: &ServiceId) -> usize {
        self.fixture.state.live_instances(service).count()
    }
}
