//! Who follows events and nothing else comes to the picture that is shown to whoever asks.

use std::collections::BTreeMap;

use muster_common::event::{Event, EventType};
use muster_common::executor::{Contact, ExecutorState};
use muster_common::id::Revision;
use muster_common::instance::InstanceState;
use serde_json::Value;

use crate::state::testing::*;
use crate::state::{Change, Command, EventPosition, Happening, Retention, Wish, view};

const BEGIN: EventPosition = EventPosition::end_of(Revision(0));

/// What happens, in words, and how.
type Step<'a> = (&'a str, &'a dyn Fn(&mut Fixture));

/// What a watcher knows: of each instance where it is and how, of each executor what was said of all that lives on it.
#[derive(Default)]
struct Watcher {
    seen: Revision,
    instances: BTreeMap<String, (String, InstanceState)>,
    silent: BTreeMap<String, InstanceState>,
}

impl Watcher {
    fn follow(&mut self, fixture: &Fixture) {
        for event in view::events_from(&fixture.state, EventPosition::end_of(self.seen), usize::MAX) {
            self.see(&event);
        }
    }

    fn see(&mut self, event: &Event) {
        let tag =
            |name: &str| event.metadata.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        self.seen = event.revision;
        match event.kind {
            EventType::LocalServiceInstanceStateChange => {
                let state = tag("CURRENT_STATE").parse().unwrap();
                self.instances.insert(tag("INSTANCE_ID"), (tag("EXECUTOR_ID"), state));
            }
            EventType::ExecutorUnknown => {
                assert_eq!(tag("INSTANCES_STATE"), "UNKNOWN");
                self.silent.insert(tag("EXECUTOR_ID"), InstanceState::Unknown);
            }
            EventType::ExecutorRemoved => {
                let id = tag("EXECUTOR_ID");
                for (executor, state) in self.instances.values_mut() {
                    if *executor == id && !state.is_terminal() {
                        *state = InstanceState::Lost;
                    }
                }
            }
            EventType::ExecutorAdded | EventType::ExecutorFound => {
                self.silent.remove(&tag("EXECUTOR_ID"));
            }
            _ => {}
        }
    }

    fn picture(&self) -> BTreeMap<String, InstanceState> {
        let shown = |(executor, state): &(String, InstanceState)| match self.silent.get(executor) {
            Some(all) if !state.is_terminal() => *all,
            Some(_) | None => *state,
        };
        self.instances.iter().map(|(id, known)| (id.clone(), shown(known))).collect()
    }
}

fn shown(fixture: &Fixture) -> BTreeMap<String, InstanceState> {
    let service = service_id("web-1");
    let all = fixture.state.live_instances(&service).chain(fixture.state.old_instances(&service));
    all.map(|one| view::instance_info(&fixture.state, one))
        .map(|info| (info.instance_id, info.state))
        .collect()
}

fn keep_events(fixture: &mut Fixture, events: u32) {
    let changes = vec![Change::Retain(Retention { events, ..Retention::default() })];
    fixture.apply(&Command::Plan { at: fixture.now, changes });
}

#[test]
fn a_watcher_sees_what_whoever_asks_is_shown() {
    let mut fixture = Fixture::with_executors(3);
    fixture.running(spec("web"), 2);
    let held = ["web-1.e1.0", "web-1.e1.1"];
    let mut watcher = Watcher::default();
    let steps: &[Step<'_>] = &[
        ("all is well", &|_| {}),
        ("one is not heard", &|fixture| fixture.contact("e1", Contact::Unreachable)),
        ("what it had said is late", &|fixture| {
            fixture.report_in(held[0], &slot_id("web-1", "e1", 0), &UP_AND_DOWN[..6]);
        }),
        ("it is heard again", &|fixture| fixture.register("e1", None)),
        ("it is lost", &|fixture| fixture.contact("e1", Contact::Lost)),
        ("it is back, and found nothing yet", &|fixture| fixture.register("e1", None)),
        ("it holds one of two", &|fixture| fixture.register("e1", Some(&held[..1]))),
        ("another is lost", &|fixture| fixture.contact("e2", Contact::Lost)),
        ("a third is not heard", &|fixture| fixture.contact("e3", Contact::Unreachable)),
        ("it is removed", &|fixture| fixture.change_duty("e3", Wish::Remove).unwrap()),
        ("it is lost, which concerns nobody", &|fixture| fixture.contact("e3", Contact::Lost)),
        ("it comes anew", &|fixture| fixture.register("e3", Some(&[]))),
    ];
    for (what, step) in steps {
        step(&mut fixture);
        watcher.follow(&fixture);
        assert_eq!(watcher.picture(), shown(&fixture), "{what}");
    }
}

#[test]
fn each_change_of_contact_is_told_once_as_droves_consumers_know_it() {
    let mut fixture = Fixture::with_executors(1);
    fixture.running(spec("web"), 1);
    let since = fixture.state.revision();
    fixture.contact("e1", Contact::Unreachable);
    fixture.contact("e1", Contact::Unreachable);
    fixture.register("e1", None);
    fixture.contact("e1", Contact::Unreachable);
    fixture.contact("e1", Contact::Lost);
    fixture.register("e1", None);
    let told: Vec<_> = view::events_from(&fixture.state, EventPosition::end_of(since), usize::MAX);
    let of_executor = told.iter().filter(|event| event.metadata.contains_key("CONTACT"));
    let expected = [
        (EventType::ExecutorUnknown, "UNREACHABLE", "UNREADY"),
        (EventType::ExecutorFound, "CONNECTED", "ACTIVE"),
        (EventType::ExecutorUnknown, "UNREACHABLE", "UNREADY"),
        (EventType::ExecutorRemoved, "LOST", "UNREADY"),
        (EventType::ExecutorAdded, "CONNECTED", "ACTIVE"),
    ];
    let seen = of_executor.map(|event| {
        (
            event.kind,
            event.metadata["CONTACT"].as_str().unwrap(),
            event.metadata["CURRENT_STATE"].as_str().unwrap(),
        )
    });
    assert_eq!(seen.collect::<Vec<_>>(), expected);
    assert_eq!(told[0].metadata["ERROR"], "no contact with executor e1");
    assert_eq!(
        (&told[0].metadata["HOSTNAME"], &told[0].metadata["PORT"]),
        (&"e1.example.org".into(), &4200.into())
    );
    assert_eq!(told[0].metadata["INSTANCES"], 1);
    assert_eq!(fixture.shown_state("e1"), ExecutorState::Active);
}

#[test]
fn a_fleet_that_falls_silent_drives_nothing_else_out_of_what_is_kept() {
    const FLEET: usize = 20;
    let mut fixture = Fixture::with_executors(FLEET);
    fixture.running(spec("web"), 10);
    keep_events(&mut fixture, 200);
    let mut watcher = Watcher { seen: fixture.state.revision(), ..Watcher::default() };
    watcher.instances = fixture
        .state
        .live_instances(&service_id("web-1"))
        .map(|one| (one.record.id.to_string(), (one.record.slot.executor.to_string(), one.state())))
        .collect();
    let all = |contact: Contact| (1..=FLEET).map(|n| (executor_id(&format!("e{n}")), contact)).collect();
    for (contact, most) in [(Contact::Unreachable, FLEET), (Contact::Lost, 200 / 4 + FLEET)] {
        let (seen, now) = (watcher.seen, fixture.now);
        fixture.apply(&Command::ExecutorContact { at: now, verdicts: all(contact) });
        assert!(fixture.state.can_resume(EventPosition::end_of(seen)), "{contact:?}");
        let told = fixture.state.events_after(seen).count();
        assert!(told >= FLEET && told <= most, "{told} events of {contact:?}");
        watcher.follow(&fixture);
        assert_eq!(watcher.picture(), shown(&fixture), "{contact:?}");
    }
    let lost = |record: &Happening| matches!(record, Happening::Instance { state: InstanceState::Lost, .. });
    let told_of_instances =
        fixture.state.events_behind(BEGIN).filter(|(_, record)| lost(&record.what)).count();
    assert!(told_of_instances >= 200 / 4 - FLEET, "{told_of_instances} losses were told by themselves");
}
