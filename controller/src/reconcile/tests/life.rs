//! A random life of a cluster: what users ask for, what executors do, what specs are good for, and when plans are made.

use std::sync::Arc;
use std::time::Duration;

use muster_common::cluster::ClusterState;
use muster_common::duration::DroveDuration;
use muster_common::executor::Contact;
use muster_common::id::{Epoch, OperationId, ServiceId, SlotId};
use muster_common::operation::{
    Canary, ClusterOpSpec, FailureStrategy, OperationKind, OperationRequest, OperationState, Parallelism,
    Steer,
};
use muster_common::service::ActivationState;
use muster_common::slot::{SlotPhase, SlotStatus};
use muster_common::spec::LocalServiceSpec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::simulated::{Fate, Simulated};
use super::world::{World, ZONES};
use crate::state::testing::*;
use crate::state::{Command, Reply, Slot, Steered, Wish};

/// The services of a random life.
const NAMES: [&str; 2] = ["web", "log"];

/// What happens next.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Exchange(usize),
    Work(usize, bool),
    Crash(usize),
    Wipe(usize),
    Reconcile,
    StalePlan(Index),
    Contact(usize, Contact),
    Duty(usize, Wish),
    Tag(usize, bool),
    Wait(u64),
    Lead(i64),
    Skew(usize, i64),
    Cluster(ClusterState),
    Ask(Box<Ask>),
    Steer(Index, Steer),
}

/// A request in the making: which instances and services there are is known when its time has come.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    name: &'static str,
    kind: OperationKind,
    content: Content,
    per_host: u32,
    stop_first: bool,
    op_spec: ClusterOpSpec,
    instances: [Index; 2],
}

/// A spec in short.
#[derive(Debug, Clone, Copy)]
struct Content {
    fate: Fate,
    host_level: bool,
    /// For executors with the tag `ssd` only.
    picky: bool,
}

impl Content {
    fn spec(self, name: &str) -> LocalServiceSpec {
        let mut document = serde_json::to_value(spec_with(name, self.host_level)).unwrap();
        if self.picky {
            document["placementPolicy"]["tags"] = serde_json::json!({"all": ["ssd"]});
        }
        let mut spec = serde_json::from_value(document).unwrap();
        self.fate.write(&mut spec);
        spec
    }
}

/// What happens by itself.
pub(super) fn by_itself() -> impl Strategy<Value = Step> {
    let executor = || 0..ZONES.len();
    prop_oneof![
        12 => executor().prop_map(Step::Exchange),
        12 => (executor(), prop::bool::weighted(0.9)).prop_map(|(executor, works)| Step::Work(executor, works)),
        10 => Just(Step::Reconcile),
        2 => any::<Index>().prop_map(Step::StalePlan),
        2 => (executor(), select(Contact::ALL)).prop_map(|(executor, contact)| Step::Contact(executor, contact)),
        2 => (0..40_u64).prop_map(Step::Wait),
        1 => executor().prop_map(Step::Crash),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let executor = || 0..ZONES.len();
    prop_oneof![
        60 => by_itself(),
        10 => ask().prop_map(|ask| Step::Ask(Box::new(ask))),
        4 => (any::<Index>(), select(Steer::ALL)).prop_map(|(which, steer)| Step::Steer(which, steer)),
        1 => executor().prop_map(Step::Wipe),
        2 => (executor(), wish()).prop_map(|(executor, wish)| Step::Duty(executor, wish)),
        2 => (executor(), any::<bool>()).prop_map(|(executor, ssd)| Step::Tag(executor, ssd)),
        1 => (100..400_u64).prop_map(Step::Wait),
        1 => Just(Step::Wait(3 * 86_400)),
        1 => (-3600..3600_i64).prop_map(Step::Lead),
        1 => (executor(), -9..9_i64).prop_map(|(executor, skew_ms)| Step::Skew(executor, skew_ms)),
        1 => select(ClusterState::ALL).prop_map(Step::Cluster),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    let drain = (1..400_u64).prop_map(|seconds| Wish::Drain { within: Duration::from_secs(seconds) });
    prop_oneof![Just(Wish::Blacklist), Just(Wish::Unblacklist), drain, Just(Wish::Remove)]
}

fn ask() -> impl Strategy<Value = Ask> {
    let kinds = prop_oneof![2 => select(OperationKind::ALL), 1 => Just(OperationKind::UpdateSpec)];
    let content = (select(&Fate::ALL), prop::bool::weighted(0.1), prop::bool::weighted(0.2))
        .prop_map(|(fate, host_level, picky)| Content { fate, host_level, picky });
    (select(&NAMES), kinds, content, 1..3_u32, any::<bool>(), op_spec(), any::<[Index; 2]>()).prop_map(
        |(name, kind, content, per_host, stop_first, op_spec, instances)| Ask {
            name,
            kind,
            content,
            per_host,
            stop_first,
            op_spec,
            instances,
        },
    )
}

fn op_spec() -> impl Strategy<Value = ClusterOpSpec> {
    let parallelism = prop_oneof![
        3 => (1..4_u32).prop_map(Parallelism::Slots),
        1 => select(&[Parallelism::Percent(50), Parallelism::Percent(100)]),
    ];
    let canary = prop_oneof![
        3 => Just(None),
        1 => Just(Some(Canary::Percent(30))),
        1 => Just(Some(Canary::Tag("zone=a".to_owned()))),
    ];
    (parallelism, select(FailureStrategy::ALL), select(&[0, 10]), canary).prop_map(
        |(parallelism, failure_strategy, settle, canary)| ClusterOpSpec {
            parallelism,
            failure_strategy,
            settle: DroveDuration::from_secs(settle),
            canary,
            ..ClusterOpSpec::default()
        },
    )
}

impl World {
    pub(super) fn go(&mut self, step: Step) {
        match step {
            Step::Exchange(executor) => self.exchange(executor),
            Step::Work(executor, works) => self.executors[executor].step(works),
            Step::Crash(executor) => self.executors[executor].crash(),
            Step::Wipe(executor) => {
                self.executors[executor].wipe();
                self.register(executor);
            }
            Step::Reconcile => {
                self.reconcile();
            }
            Step::StalePlan(which) => self.plan_again(which),
            Step::Contact(executor, contact) => self.contact(executor, contact),
            Step::Duty(executor, wish) => self.change_duty(executor, wish),
            Step::Tag(executor, ssd) => {
                self.tag(executor, ssd.then(|| "ssd".to_owned()));
            }
            Step::Wait(seconds) => self.fixture.advance(seconds),
            Step::Lead(seconds) => self.lead(seconds),
            Step::Skew(executor, skew_ms) => self.skew(executor, skew_ms),
            Step::Cluster(state) => self.fixture.set_cluster_state(state),
            Step::Ask(ask) => self.ask(&ask),
            Step::Steer(which, steer) => self.steer(which, steer),
        }
        self.check();
    }

    fn ask(&mut self, ask: &Ask) {
        if let Ok(operation) = self.fixture.submit(self.request(ask)) {
            let revision = self.fixture.state.revision();
            self.accepted.insert(operation, Epoch(revision.0));
        }
    }

    fn request(&self, ask: &Ask) -> OperationRequest {
        let service_id = format!("{}-1", ask.name);
        let id = crate::state::testing::service_id(&service_id);
        let (stop_first, op_spec) = (ask.stop_first, Some(ask.op_spec.clone()));
        let live: Vec<_> = self.fixture.state.live_instances(&id).collect();
        let named = ask.instances.iter().filter(|_| !live.is_empty());
        let instance_ids = named.map(|index| index.get(&live).record.id.to_string()).collect();
        match ask.kind {
            OperationKind::Create => {
                let spec = Box::new(ask.content.spec(ask.name));
                OperationRequest::Create { spec, instances_per_host: ask.per_host }
            }
            OperationKind::Activate => OperationRequest::Activate { service_id },
            OperationKind::Deactivate => OperationRequest::Deactivate { service_id },
            OperationKind::DeployTestInstance => OperationRequest::DeployTestInstance { service_id },
            OperationKind::AdjustInstances => OperationRequest::AdjustInstances { service_id, op_spec },
            OperationKind::UpdateInstanceCount => {
                OperationRequest::UpdateInstanceCount { service_id, instances_per_host: ask.per_host }
            }
            OperationKind::Restart => {
                OperationRequest::Restart { service_id, stop_first, cluster_op_spec: op_spec }
            }
            OperationKind::ReplaceInstances => {
                OperationRequest::ReplaceInstances { service_id, instance_ids, stop_first, op_spec }
            }
            OperationKind::StopInstances => {
                OperationRequest::StopInstances { service_id, instance_ids, op_spec }
            }
            OperationKind::UpdateSpec => OperationRequest::UpdateSpec {
                spec: Box::new(ask.content.spec(ask.name)),
                stop_first,
                op_spec,
            },
            OperationKind::Rollback => {
                OperationRequest::Rollback { service_id, generation: None, stop_first, op_spec }
            }
            OperationKind::Retry => OperationRequest::Retry { service_id },
            OperationKind::Destroy => OperationRequest::Destroy { service_id },
        }
    }

    fn steer(&mut self, which: Index, steer: Steer) {
        let running: Vec<OperationId> =
            self.fixture.state.running_operations().map(|operation| operation.id.clone()).collect();
        if running.is_empty() {
            return;
        }
        let which = Steered::Operation(which.get(&running).clone());
        let command = Command::SteerOperation { at: self.fixture.now, which, steer, by: "ann".to_owned() };
        if let Reply::Accepted { operation, .. } = self.fixture.apply(&command) {
            assert!(self.fixture.state.operation(&operation).is_some());
        }
    }

    /// Every slot runs what a rollout that succeeded brought, and everything that can work does.
    fn check_rest(&mut self) {
        assert_eq!(self.fixture.state.running_operations().count(), 0);
        let services: Vec<_> = self.fixture.state.services().cloned().collect();
        for service in services {
            assert_eq!(service.state, service.resting_state());
            let state = &self.fixture.state;
            let wanted: Vec<_> = state
                .executors()
                .flat_map(|executor| state.wanted_slots(executor))
                .filter(|slot| slot.service == service.id)
                .collect();
            let assigned: Vec<_> = self.fixture.state.slots_of(&service.id).map(|(slot, _)| slot).collect();
            assert_eq!(wanted, assigned);
            let oldest = service.specs.iter().next().map(|(generation, _)| generation).unwrap();
            let newest = self.rollouts.get(&service.id);
            let failed = newest.is_some_and(|(generation, outcome)| {
                *generation >= oldest && *outcome != OperationState::Succeeded
            });
            // What failed and was not undone leaves its slots to the users.
            let is_left = service.specs.stable() != service.specs.wanted();
            assert!(failed || !is_left);
            for (slot, held) in self.fixture.state.slots_of(&service.id) {
                let runs = self.fixture.state.spec_in(&slot, held).unwrap();
                assert!(
                    is_left || runs == service.spec() || self.is_held_up(&slot),
                    "{slot:?} does not run what is to run: {:?}",
                    service.specs.wanted()
                );
            }
            if service.activation == ActivationState::Inactive {
                assert_eq!(self.live_of(&service.id), 0);
            } else {
                self.check_retry(&service.id, is_left);
            }
        }
    }

    /// What users try again comes up wherever it can; and what runs everywhere then is stable.
    fn check_retry(&mut self, service: &ServiceId, is_left: bool) {
        let service_id = service.to_string();
        self.fixture.submit(OperationRequest::Retry { service_id }).unwrap();
        self.calm_down();
        let state = &self.fixture.state;
        let is_good = |id: &SlotId, slot: &Slot| Fate::of(state.spec_in(id, slot).unwrap()) == Fate::Good;
        for (id, slot) in state.slots_of(service) {
            assert!(!is_good(&id, slot) || state.is_replaced(&id, slot), "{id:?} does not run as it could");
        }
        let specs = &state.service(service).unwrap().specs;
        let runs_wanted =
            |(id, slot): (SlotId, &Arc<Slot>)| slot.spec == specs.wanted() && is_good(&id, slot);
        let is_everywhere = state.slots_of(service).count() > 0 && state.slots_of(service).all(runs_wanted);
        assert!(!is_everywhere || specs.stable() == specs.wanted(), "{service}: it runs everywhere");
        if !is_left && Fate::of(specs.spec()) == Fate::Good {
            assert!(!state.slots_of(service).any(|(id, slot)| state.is_behind(&id, slot)), "{service}");
        }
    }

    /// Whether a slot has to wait with catching up, because another one of its zone is down, or another one has given up on
    /// what it is to have.
    fn is_held_up(&self, slot: &SlotId) -> bool {
        let state = &self.fixture.state;
        let zone = |slot: &SlotId| state.executor(&slot.executor).and_then(|executor| executor.zone());
        let mut others = state.slots_of(&slot.service).filter(|(other, _)| other != slot);
        state.slot(slot).is_some_and(|held| state.is_behind(slot, held))
            && others.any(|(other, held)| {
                let gave_up =
                    |status: &SlotStatus| matches!(status.phase, SlotPhase::Failed | SlotPhase::KeptOld);
                let is_down = zone(&other) == zone(slot) && !state.is_filled(&other, held);
                is_down || held.current_status().is_some_and(gave_up)
            })
    }

    /// Everything goes away when users want it to.
    pub(super) fn take_down(&mut self) {
        let services: Vec<_> = self.fixture.state.services().cloned().collect();
        for service in services {
            if service.activation != ActivationState::Inactive {
                self.fixture.deactivate(service.id.as_str());
                self.calm_down();
            }
            let operation = self.fixture.destroy(service.id.as_str());
            self.calm_down();
            assert_eq!(self.fixture.operation(&operation).state, OperationState::Succeeded);
        }
        assert_eq!(self.fixture.state.services().count(), 0);
        assert_eq!(self.executors.iter().map(Simulated::live).sum::<usize>(), 0);
    }
}

/// A whole life, from the first request to the last instance's end.
#[derive(Debug, Clone)]
pub(super) struct Life {
    fate: Fate,
    per_host: u32,
    is_active: bool,
    /// How many failures in a row a slot may have before it is given up: few, or more than ever happen.
    budget: u32,
    steps: Vec<Step>,
}

pub(super) fn life() -> impl Strategy<Value = Life> {
    let budget = prop_oneof![2 => Just(2), 1 => Just(u32::MAX)];
    (select(&Fate::ALL), 1..3_u32, any::<bool>(), budget, prop::collection::vec(step(), 0..150)).prop_map(
        |(fate, per_host, is_active, budget, steps)| Life { fate, per_host, is_active, budget, steps },
    )
}

impl Life {
    /// Lives it; the world that is left.
    pub(super) fn live(self) -> World {
        let mut world = World::new();
        world.executors.iter_mut().for_each(|executor| executor.budget = self.budget);
        for name in NAMES {
            let content = Content { fate: self.fate, host_level: false, picky: false };
            world.fixture.create(content.spec(name), self.per_host);
            if self.is_active {
                world.fixture.activate(&format!("{name}-1"));
            }
        }
        world.calm_down();
        for step in self.steps {
            world.go(step);
        }
        world.come_to_an_end();
        world.check_rest();
        world.take_down();
        world
    }
}
