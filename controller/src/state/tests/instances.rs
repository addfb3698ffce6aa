//! What is shown of one instance, and which are in a list.

use muster_common::condition::{ConditionStatus, Phase};
use muster_common::executor::Contact;
use muster_common::instance::InstanceState;
use muster_common::reason::Reason;

use crate::state::testing::*;
use crate::state::view::{self, Detail, InstanceFilter};

/// Ten thousand of them are 6 MB, of which 5 are what Drove's clients expect.
const MAX_BRIEF_BYTES: usize = 600;

#[test]
fn an_instance_tells_its_conditions_and_those_of_one_that_is_not_heard_are_unknown() {
    use ConditionStatus::{True, Unknown};
    let mut fixture = Fixture::with_executors(1);
    fixture.running(spec("web"), 1);
    let shown = |fixture: &Fixture| {
        let instance = fixture.state.instance(&instance_id("web-1.e1.0")).unwrap();
        view::instance_info(&fixture.state, instance)
    };
    let statuses = |info: &muster_common::instance::InstanceInfo| {
        info.conditions.iter().map(|condition| condition.status).collect::<Vec<_>>()
    };
    let healthy = shown(&fixture);
    assert_eq!((healthy.phase, statuses(&healthy)), (Phase::Running, vec![True; 4]));
    assert_eq!((healthy.restarts, healthy.last_failure_message.as_str()), (0, ""));

    fixture.contact("e1", Contact::Unreachable);
    let unknown = shown(&fixture);
    assert_eq!((unknown.phase, statuses(&unknown)), (Phase::Unknown, vec![True, True, Unknown, Unknown]));
    let ready = &unknown.conditions[2];
    assert_eq!(ready.reason, Some(Reason::ExecutorUnreachable));
    assert!(ready.message.starts_with("no contact with executor e1"), "{ready:?}");
    assert_eq!(ready.last_transition, fixture.now);
    assert_eq!(unknown.timeline, healthy.timeline, "its own word stays as it was");
}

#[test]
fn instances_are_found_across_services() {
    let mut fixture = Fixture::with_executors(2);
    fixture.running(spec("web"), 1);
    fixture.running(spec("agent"), 1);
    fixture.report_in("web-1.e1.0", &slot_id("web-1", "e1", 0), &UP_AND_DOWN);
    let find = |filter: InstanceFilter, ended: bool| -> Vec<String> {
        let page = view::all_instances(&fixture.state, &filter, ended, (0, 10), Detail::Brief);
        assert_eq!(page.items.len(), page.total);
        page.items.into_iter().map(|info| info.instance_id).collect()
    };
    let all = InstanceFilter::default;
    let texts = |text: &str| vec![text.to_owned()];
    let labels = |key: &str, value: Option<&str>| vec![(key.to_owned(), value.map(str::to_owned))];
    let (agents, others) = (["agent-1.e1.0", "agent-1.e2.0"], ["web-1.e2.0"]);
    assert_eq!(find(all(), false), [&agents[..], &others].concat());
    assert_eq!(find(all(), true), [&agents[..], &["web-1.e1.0"], &others].concat());
    assert_eq!(find(InstanceFilter { services: texts("agent-1"), ..all() }, true), agents);
    assert_eq!(
        find(InstanceFilter { executors: texts("e2"), ..all() }, true),
        ["agent-1.e2.0", "web-1.e2.0"]
    );
    assert_eq!(find(InstanceFilter { id_prefix: "web".into(), ..all() }, true), ["web-1.e1.0", "web-1.e2.0"]);
    assert_eq!(find(InstanceFilter { states: vec![InstanceState::Stopped], ..all() }, true), ["web-1.e1.0"]);
    assert_eq!(find(InstanceFilter { labels: labels("team", Some("platform")), ..all() }, false).len(), 3);
    assert_eq!(find(InstanceFilter { labels: labels("team", None), ..all() }, false).len(), 3);
    assert!(find(InstanceFilter { labels: labels("team", Some("other")), ..all() }, true).is_empty());
}

#[test]
fn lists_of_living_instances_stay_lean() {
    let mut fixture = Fixture::with_executors(1);
    fixture.running(spec("web"), 1);
    let whole = |detail| {
        let all = InstanceFilter::default();
        let page = view::active_instances(&fixture.state, &service_id("web-1"), &all, (0, 10), detail);
        serde_json::to_string(&page.items).unwrap()
    };
    let (brief, detail) = (whole(Detail::Brief), whole(Detail::Whole));
    // The ids of real ones are longer than those of this test: a UUID each for instance and executor.
    let ids = "SI-58eb1111-8c2c-4ea2-a159-8fc68010a146a45442a1-d4d0-3479-ab9e-3ed0aa5f7d2d".len();
    assert!(brief.len() + ids <= MAX_BRIEF_BYTES, "{} bytes: {brief}", brief.len());
    for member in ["timeline", "probes", "evidence", "conditions"] {
        assert!(!brief.contains(member), "{member}: {brief}");
    }
    assert!(detail.contains("timeline") && detail.contains("conditions"), "{detail}");
}
