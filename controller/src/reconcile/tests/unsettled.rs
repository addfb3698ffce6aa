//! A plan that looks only at executors of which something changed finds what a plan of everything finds.

use std::sync::Arc;

use muster_common::executor::Contact;
use muster_common::operation::OperationRequest;
use proptest::prelude::*;

use crate::reconcile::unsettled::Unsettled;
use crate::reconcile::{plan, plan_on};
use crate::state::testing::*;
use crate::state::{Change, Command, Wish};

const SERVICES: [&str; 3] = ["web", "log", "edge"];

/// Something that happens to a cluster of a few executors and services; what is refused changes nothing.
fn happen(fixture: &mut Fixture, what: u8, executor: u8, service: usize) {
    let executor = format!("e{executor}");
    let name = SERVICES[service];
    let service_id = format!("{name}-1");
    let request = match what {
        0 | 1 => return fixture.register(&executor, None),
        2 => return fixture.contact(&executor, Contact::Unreachable),
        3 => return drop(fixture.change_duty(&executor, Wish::Blacklist)),
        4 => return drop(fixture.change_duty(&executor, Wish::Unblacklist)),
        5 => {
            let (executor, tags) = (executor_id(&executor), vec!["edge".to_owned()]);
            return drop(fixture.apply(&Command::TagExecutor { at: fixture.now, executor, tags }));
        }
        6 => {
            let tags =
                if name == "edge" { serde_json::json!({"any": ["edge"]}) } else { serde_json::json!({}) };
            OperationRequest::Create { spec: Box::new(spec_for(name, &tags)), instances_per_host: 2 }
        }
        7 | 8 => OperationRequest::Activate { service_id },
        9 => OperationRequest::Deactivate { service_id },
        _ => OperationRequest::Destroy { service_id },
    };
    drop(fixture.submit(request));
}

fn step(fixture: &mut Fixture, unsettled: &mut Unsettled) -> Vec<Change> {
    let state = Arc::new(fixture.state.clone());
    let all = plan(&state, fixture.now);
    let some = plan_on(&state, unsettled.in_state(&state), fixture.now);
    assert_eq!((&some.changes, some.wake), (&all.changes, all.wake));
    unsettled.settled(&some.settled);
    some.changes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_is_overlooked(
        happenings in prop::collection::vec((0..11_u8, 0..4_u8, 0..SERVICES.len(), any::<bool>()), 1..40)
    ) {
        let (mut fixture, mut unsettled) = (Fixture::with_executors(2), Unsettled::default());
        for (what, executor, service, is_applied) in happenings {
            happen(&mut fixture, what, executor, service);
            let changes = step(&mut fixture, &mut unsettled);
            if is_applied && !changes.is_empty() {
                fixture.apply(&Command::Plan { at: fixture.now, changes });
            }
        }
    }
}

#[test]
fn what_is_settled_is_looked_at_again_when_it_changes() {
    let mut fixture = Fixture::with_executors(3);
    fixture.create(spec("web"), 1);
    fixture.activate("web-1");
    let mut unsettled = Unsettled::default();
    while let changes @ [_, ..] = step(&mut fixture, &mut unsettled).as_slice() {
        fixture.apply(&Command::Plan { at: fixture.now, changes: changes.to_vec() });
    }
    let names = |unsettled: &mut Unsettled, fixture: &Fixture| -> Vec<String> {
        let state = Arc::new(fixture.state.clone());
        unsettled.in_state(&state).iter().map(ToString::to_string).collect()
    };
    assert_eq!(names(&mut unsettled, &fixture), Vec::<String>::new());
    fixture.register("e4", None);
    assert_eq!(names(&mut unsettled, &fixture), ["e4"]);
    fixture.deactivate("web-1");
    assert_eq!(names(&mut unsettled, &fixture), ["e1", "e2", "e3", "e4"]);
}
