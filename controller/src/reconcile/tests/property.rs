//! Whatever executors do and whenever plans are applied: never more slots down by our doing than
//! `parallelism`, and everything comes to rest.

use muster_common::executor::Contact;
use muster_common::operation::{ClusterOpSpec, OperationState, Parallelism};
use muster_common::service::ServiceState;
use proptest::prelude::*;

use super::simulated::Simulated;
use crate::reconcile::plan;
use crate::state::testing::*;
use crate::state::{Change, Command, Reply, slot_table};

const EXECUTORS: usize = 4;
const ID: &str = "web-1";

/// The controllers' side and all executors.
struct World {
    fixture: Fixture,
    executors: Vec<Simulated>,
    /// Every plan so far, to be applied again at the wrong time.
    plans: Vec<Vec<Change>>,
}

impl World {
    /// A service that is up on all executors.
    fn running(per_host: u32) -> Self {
        let mut fixture = Fixture::with_executors(EXECUTORS);
        fixture.create(spec("web"), per_host);
        fixture.activate(ID);
        let executors = (1..=EXECUTORS).map(|n| Simulated::new(&format!("e{n}"))).collect();
        let mut world = Self { fixture, executors, plans: Vec::new() };
        world.calm_down();
        assert_eq!(world.slots_down(), 0);
        world
    }

    fn slots_down(&self) -> usize {
        self.executors.iter().map(Simulated::slots_down).sum()
    }

    /// Tables go down and reports come up, if the executor is in contact.
    fn exchange(&mut self, executor: usize) {
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

    fn reconcile(&mut self) -> bool {
        let changes = plan(&self.fixture.state, self.fixture.now).changes;
        if changes.is_empty() {
            return false;
        }
        let command = Command::Plan { at: self.fixture.now, changes: changes.clone() };
        let Reply::Planned { applied, .. } = self.fixture.apply(&command) else { panic!("not planned") };
        assert!(applied > 0, "a plan that changes nothing was proposed: {changes:?}");
        let again = self.fixture.apply(&command);
        assert!(matches!(again, Reply::Planned { applied: 0, .. }), "{again:?} to {changes:?}");
        self.plans.push(changes);
        true
    }

    /// Everybody is in contact, everything works, and everything that is asked for is done.
    fn calm_down(&mut self) {
        for n in 0..EXECUTORS {
            self.fixture.contact(&format!("e{}", n + 1), Contact::Connected);
        }
        for round in 0..200 {
            let planned = self.reconcile();
            for executor in 0..EXECUTORS {
                self.exchange(executor);
                self.executors[executor].step(true);
                self.exchange(executor);
            }
            if !planned && round > 5 {
                return;
            }
        }
        panic!("plans do not come to an end: {:?}", plan(&self.fixture.state, self.fixture.now));
    }
}

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    Exchange(usize),
    Work(usize, bool),
    Reconcile,
    StalePlan(prop::sample::Index),
    Contact(usize, Contact),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..EXECUTORS).prop_map(Step::Exchange),
        6 => (0..EXECUTORS, prop::bool::weighted(0.9)).prop_map(|(executor, works)| Step::Work(executor, works)),
        4 => Just(Step::Reconcile),
        1 => any::<prop::sample::Index>().prop_map(Step::StalePlan),
        1 => (0..EXECUTORS, prop::sample::select(Contact::ALL))
            .prop_map(|(executor, contact)| Step::Contact(executor, contact)),
        1 => (0..40_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_takes_down_no_more_slots_than_it_may_and_comes_to_an_end(
        parallelism in 1..4_u32,
        per_host in 1..3_u32,
        stop_first in any::<bool>(),
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let mut world = World::running(per_host);
        let op_spec = ClusterOpSpec { parallelism: Parallelism::Slots(parallelism), ..ClusterOpSpec::default() };
        let operation = world.fixture.restart(ID, op_spec, stop_first);
        let may_be_down = if stop_first { parallelism as usize } else { 0 };
        for step in steps {
            match step {
                Step::Exchange(executor) => world.exchange(executor),
                Step::Work(executor, works) => world.executors[executor].step(works),
                Step::Reconcile => {
                    world.reconcile();
                }
                Step::StalePlan(index) if !world.plans.is_empty() => {
                    let changes = index.get(&world.plans).clone();
                    world.fixture.apply(&Command::Plan { at: world.fixture.now, changes });
                }
                Step::StalePlan(_) => {}
                Step::Contact(executor, contact) => world.fixture.contact(&format!("e{}", executor + 1), contact),
                Step::Wait(seconds) => world.fixture.advance(seconds),
            }
            let down = world.slots_down();
            prop_assert!(down <= may_be_down, "{down} slots are down, {may_be_down} may be");
        }
        world.calm_down();
        world.fixture.advance(300);
        world.calm_down();
        let finished = world.fixture.operation(&operation);
        prop_assert!(finished.finished.is_some(), "{finished:?}");
        prop_assert_ne!(finished.state, OperationState::Running);
        prop_assert_eq!(world.fixture.service(ID).state, ServiceState::Active);
        prop_assert!(world.slots_down() <= may_be_down);

        // And all of it goes away again.
        world.fixture.deactivate(ID);
        world.calm_down();
        world.fixture.destroy(ID);
        world.calm_down();
        prop_assert!(world.fixture.state.service(&service_id(ID)).is_none());
        prop_assert_eq!(world.executors.iter().map(Simulated::live).sum::<usize>(), 0);
    }
}
