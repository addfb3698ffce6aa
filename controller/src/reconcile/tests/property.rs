//! Whatever users ask for, executors do and specs are good for, and whenever plans are applied: never more is down by
//! our doing than may be, nothing that was accepted is dropped, and everything comes to rest. For more cases
//! see `.cargo/config.toml`.

use muster_common::operation::{ClusterOpSpec, OperationState, Parallelism};
use muster_common::service::ServiceState;
use proptest::prelude::*;

use super::life::{Step, by_itself, life};
use super::world::World;
use crate::state::testing::*;

const ID: &str = "web-1";

proptest! {
    #[test]
    fn whatever_happens_nothing_is_dropped_nothing_is_stuck_and_no_more_is_down_than_may_be(life in life()) {
        life.live();
    }
}

/// What happens while one operation is at work on a service that is up.
fn calm_step() -> impl Strategy<Value = Step> {
    by_itself().prop_filter("nothing ends by itself", |step| !matches!(step, Step::Crash(_)))
}

proptest! {
    #[test]
    fn a_restart_takes_down_no_more_slots_than_it_may_and_comes_to_an_end(
        parallelism in 1..4_u32,
        per_host in 1..3_u32,
        stop_first in any::<bool>(),
        steps in prop::collection::vec(calm_step(), 0..200),
    ) {
        let mut world = World::new();
        world.fixture.create(spec("web"), per_host);
        world.fixture.activate(ID);
        world.calm_down();
        prop_assert_eq!(world.slots_down(), 0);
        let op_spec = ClusterOpSpec { parallelism: Parallelism::Slots(parallelism), ..ClusterOpSpec::default() };
        let operation = world.fixture.restart(ID, op_spec, stop_first);
        let may_be_down = if stop_first { parallelism as usize } else { 0 };
        for step in steps {
            world.go(step);
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
        world.take_down();
    }
}
