//! What the supervisor's mind does that neither a life nor a search shows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use muster_common::executor::NodeLayout;
use muster_common::id::{Epoch, ExecutorId, Generation, InstanceId};
use muster_common::instance::{InstanceState, RunnerKind};
use muster_common::slot::UnreadableRow;
use muster_common::spec::LocalServiceSpec;
use muster_common::time::Timestamp;

use super::ends::Bound;
use super::{Core, Details};
use crate::journal::{Contents, Drawer, Drawers};
use crate::lease::Room;
use crate::machine::{Event, Instance, Now};
use crate::runner::{Exit, Listed, LogEnd, Workload};
use crate::supervisor::Standing;
use crate::testing::{place, table};

/// A core whose one slot crashes again and again while no controller listens.
struct CrashLoop {
    core: Core,
    now: Duration,
    /// Between two turns.
    pause: Duration,
    /// What people's clock says of it.
    wall: fn(Duration) -> Timestamp,
    /// Who ended, in order.
    ended: Vec<InstanceId>,
}

impl CrashLoop {
    fn new() -> Self {
        Self {
            core: filled(Details::default()),
            now: Duration::ZERO,
            pause: Duration::from_secs(1000),
            wall: |now| Timestamp(1_000_000_000).plus(now),
            ended: Vec::new(),
        }
    }

    fn turn(&mut self) {
        self.turn_after(self.pause);
    }

    fn turn_after(&mut self, pause: Duration) {
        self.now += pause;
        let now = Now { wall: (self.wall)(self.now), mono: self.now };
        let mut random = self.now.as_secs();
        self.core.wake(now);
        self.core.decide(now, &mut || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            random
        });
    }

    fn crash(&mut self) {
        let live = |core: &Core| core.instances().find(|one| !one.is_over()).map(|one| one.id().clone());
        self.turn();
        let id = live(&self.core).unwrap();
        let workload = Workload::container(id.as_str());
        let exit = Exit { code: Some(1), ..Exit::default() };
        for event in [
            Event::PortsChecked(Ok(())),
            Event::Provisioned(Ok(())),
            Event::Started(Ok(workload)),
            Event::Exited(exit),
            Event::EvidenceCollected(Ok(LogEnd::kept("last words"))),
            Event::Removed(Ok(())),
        ] {
            self.core.tell(id.clone(), event);
            self.turn();
        }
        assert!(self.core.instance(&id).unwrap().is_over());
        self.ended.push(id);
    }

    /// So many of the newest ends have their logs, and so many their timelines; all have their exit codes.
    fn assert_kept(&self, logs: usize, timelines: usize) {
        for (age, id) in self.ended.iter().rev().enumerate() {
            let record = &self.core.instance(id).unwrap().record;
            let evidence = record.evidence.as_ref().unwrap();
            assert_eq!(evidence.exit_code, Some(1));
            assert_eq!(evidence.log_tail.is_empty(), age >= logs, "{age}");
            assert_eq!(record.timeline.len() == 1, age >= timelines, "{age}");
        }
    }
}

fn filled(details: Details) -> Core {
    let room = Room {
        hostname: "node".to_owned(),
        layout: NodeLayout { cores: BTreeMap::from([(0, vec![0])]), memory: BTreeMap::from([(0, 4096)]) },
        core_overcommit: 1,
        ports: 5000..=5999,
    };
    let contents = Contents { is_whole: true, ..Contents::default() };
    let mut core = Core::new(ExecutorId::new("e1").unwrap(), room, contents, false);
    core.details = details;
    let mut wanted = table(1, 1, 1);
    let row = &mut wanted.rows[0];
    let mut spec = row.spec.as_ref().clone();
    spec.restart_policy = serde_json::from_str(r#"{"backoff": ["1s"], "budget": 1000}"#).unwrap();
    row.spec = spec.into();
    core.take_table(1, wanted);
    core
}

#[test]
fn while_nobody_listens_detail_is_dropped_and_no_end_whatever_the_clock_does() {
    let on: fn(Duration) -> Timestamp = |now| Timestamp(1_000_000_000).plus(now);
    let back: fn(Duration) -> Timestamp =
        |now| Timestamp(1_000_000_000 - u64::try_from(now.as_millis()).unwrap());
    for wall in [on, back] {
        let logs = Bound { ends: 3, bytes: usize::MAX };
        let core = filled(Details { logs, outlines: Bound { ends: 6, ..logs } });
        let mut crashing = CrashLoop { core, wall, ..CrashLoop::new() };
        for _ in 0..10 {
            crashing.crash();
        }
        crashing.assert_kept(3, 6);
    }
}

#[test]
fn ends_that_nobody_confirms_slow_down_who_makes_them_and_are_walked_through_by_nobody() {
    let mut crashing = CrashLoop::new();
    let mut eager = table(2, 1, 1);
    for row in &mut eager.rows {
        let spec = Arc::make_mut(&mut row.spec);
        spec.restart_policy = serde_json::from_str(r#"{"backoff": ["0s"], "budget": "UNLIMITED"}"#).unwrap();
    }
    crashing.core.take_table(1, eager);
    for _ in 0..1000 {
        crashing.crash();
        assert!(crashing.core.by_slot.values().flatten().count() <= 1);
    }
    assert_eq!(crashing.core.instances().count(), 1000 + crashing.core.live().count());
    crashing.pause = Duration::ZERO;
    crashing.crash();
    for (pause, live) in [(0, 0), (500, 0), (500, 1)] {
        crashing.turn_after(Duration::from_millis(pause));
        assert_eq!(crashing.core.live().count(), live);
    }
}

#[test]
fn detail_is_bounded_by_its_size_and_the_newest_is_kept() {
    let mut crashing = CrashLoop::new();
    crashing.crash();
    let record = &crashing.core.instance(&crashing.ended[0]).unwrap().record;
    let log = record.evidence.as_ref().unwrap().log_tail.len();
    let outline: usize = record.timeline.iter().map(|step| size_of_val(step) + step.message.len()).sum();
    assert!(log > 0 && outline > 0);
    let many = |bytes| Bound { ends: 1000, bytes };
    crashing.core.details = Details { logs: many(2 * log), outlines: many(5 * outline) };
    for _ in 0..10 {
        crashing.crash();
    }
    crashing.assert_kept(2, 5);
}

#[test]
fn the_next_instance_has_its_room_while_the_log_of_the_last_one_is_copied() {
    // The node has one core, and the service asks for it.
    let mut crashing = CrashLoop::new();
    crashing.turn();
    let first = crashing.core.instances().next().unwrap().id().clone();
    let exit = Exit { code: Some(1), ..Exit::default() };
    let end = LogEnd { text: "last words".to_owned(), is_kept: false };
    for event in [
        Event::PortsChecked(Ok(())),
        Event::Provisioned(Ok(())),
        Event::Started(Ok(Workload::container("c"))),
        Event::Exited(exit),
    ] {
        crashing.core.tell(first.clone(), event);
        crashing.turn();
    }
    let next = |core: &Core| core.instances().find(|one| *one.id() != first).map(Instance::holds_lease);
    // Longer than the back-off, and shorter than evidence may take.
    crashing.turn_after(Duration::from_secs(2));
    assert_eq!(next(&crashing.core), Some(false), "the last one's container may still hold its ports");
    crashing.core.tell(first.clone(), Event::EvidenceCollected(Ok(end)));
    crashing.turn_after(Duration::ZERO);
    assert_eq!(next(&crashing.core), Some(true));
    assert_eq!(crashing.core.instance(&first).unwrap().state(), InstanceState::Deprovisioning);
    // Its own end changes nothing for the next one.
    for event in [Event::LogCopied(Ok(None)), Event::Removed(Ok(()))] {
        crashing.core.tell(first.clone(), event);
        crashing.turn_after(Duration::ZERO);
    }
    assert!(crashing.core.instance(&first).unwrap().is_over());
    assert_eq!(next(&crashing.core), Some(true));
}

#[test]
fn what_was_fetched_is_needed_while_a_slot_names_it_and_while_a_slot_cannot_be_read() {
    let mut core = filled(Details::default());
    assert_eq!(core.fetching_calls(), Some(BTreeSet::new()));
    let fetching = |revision, generation| {
        let mut wanted = table(revision, 1, 1);
        let spec = r#"{"name": "web", "version": "1", "configs":
            [{"type": "CONTROLLER_HTTP_FETCH", "localFilename": "f", "http": {"hostname": "c"}}]}"#;
        wanted.rows[0].spec = LocalServiceSpec::from_json(spec.as_bytes()).unwrap().into();
        wanted.rows[0].generation = Generation(generation);
        wanted
    };
    core.take_table(1, fetching(2, 2));
    let calls = core.fetching_calls().unwrap();
    assert_eq!(calls.len(), 1);
    core.take_table(1, fetching(3, 3));
    assert_eq!(core.fetching_calls(), Some(calls), "it was only scaled");
    let mut unreadable = table(4, 1, 0);
    unreadable.unreadable.push(UnreadableRow {
        service: "web-1".to_owned(),
        index: 0,
        epoch: Epoch(1),
        generation: Generation(4),
        problem: "of a later version".to_owned(),
    });
    core.take_table(1, unreadable);
    assert_eq!(core.fetching_calls(), None);
}

#[test]
fn an_acknowledgement_of_a_later_version_is_answered_with_what_is_true_now() {
    let mut crashing = CrashLoop::new();
    crashing.crash();
    let id = crashing.ended[0].clone();
    let key = crashing.core.standing().unacked_slots.keys().next().unwrap().clone();
    let slot_version = crashing.core.standing().unacked_slots[&key].version;
    let told = |core: &Core| {
        let standing = core.standing();
        let instance = standing.unacked_instances.get(&id).map(|unacked| unacked.record.version);
        (instance, standing.unacked_slots.get(&key).map(|status| status.version))
    };
    // The journal was put back from a copy: the controllers know more than it does.
    let (later, later_slot) = (5000, slot_version + 5000);
    crashing.core.acknowledge(vec![(id.clone(), later)], vec![(key.clone(), later_slot)]);
    assert_eq!(told(&crashing.core), (Some(later + 1), Some(later_slot + 1)));
    crashing.core.acknowledge(vec![(id.clone(), later + 1)], vec![(key.clone(), later_slot + 1)]);
    assert_eq!(told(&crashing.core), (None, None));
    assert!(crashing.core.instance(&id).is_none(), "it is over and told");
}

#[test]
fn a_late_answer_of_a_runner_does_not_revive_who_was_forgotten() {
    let mut looped = CrashLoop::new();
    looped.core.listings_begin(2);
    looped.crash();
    let id = looped.ended[0].clone();
    let was = Listed { instance: id.clone(), place: Some(place()), runs: true };
    let version = looped.core.instance(&id).unwrap().record.version;
    looped.core.acknowledge(vec![(id.clone(), version)], Vec::new());
    looped.turn();
    assert!(looped.core.instance(&id).is_none(), "it is forgotten");
    // The one runner answers, and is asked again, before the other one's answer is taken in.
    assert!(looped.core.take_listing(RunnerKind::Docker, Vec::new()).is_empty());
    looped.core.listings_begin(1);
    assert!(looped.core.take_listing(RunnerKind::Process, vec![was.clone()]).is_empty());
    looped.turn();
    assert!(looped.core.instance(&id).is_none(), "it is not taken in again");
    // Whatever names it once all have answered is there.
    assert!(looped.core.take_listing(RunnerKind::Docker, Vec::new()).is_empty());
    looped.core.listings_begin(1);
    looped.core.take_listing(RunnerKind::Process, vec![was]);
    looped.turn();
    assert!(looped.core.instance(&id).is_some());
}

#[test]
fn what_controllers_refuse_is_not_told_again() {
    let mut crashing = CrashLoop::new();
    crashing.crash();
    let id = crashing.ended[0].clone();
    crashing.core.acknowledge(vec![(id.clone(), u64::MAX)], Vec::new());
    assert!(!crashing.core.standing().unacked_instances.contains_key(&id));
    assert!(crashing.core.instance(&id).is_none());
}

/// What would be told now: instances and slots.
fn untold(core: &Core) -> (Vec<InstanceId>, usize) {
    let standing = core.standing();
    (standing.unacked_instances.keys().cloned().collect(), standing.unacked_slots.len())
}

/// Confirms everything that waits for it.
fn acknowledge_all(core: &mut Core) {
    let Standing { unacked_instances, unacked_slots, .. } = core.standing().clone();
    let instances = unacked_instances.iter().map(|(id, one)| (id.clone(), one.record.version)).collect();
    let slots = unacked_slots.iter().map(|(key, status)| (key.clone(), status.version)).collect();
    core.acknowledge(instances, slots);
}

#[test]
fn controllers_of_another_history_are_told_everything_anew_and_count_as_told_only_then() {
    let mut crashing = CrashLoop::new();
    crashing.crash();
    crashing.turn();
    let CrashLoop { mut core, now, .. } = crashing;
    let now = Now { wall: Timestamp(2_000_000_000), mono: now };
    let mut journal = Drawers::default();
    let mut turn = |core: &mut Core| {
        core.decide(now, &mut || 0).batch.apply_to(&mut journal);
        let acked = journal.get(&Drawer::Acked).map_or(0, BTreeMap::len);
        (acked, Contents::read(journal.clone()).0.history)
    };
    acknowledge_all(&mut core);
    let held: Vec<InstanceId> = core.instances().map(|one| one.id().clone()).collect();
    assert_eq!((held.len(), untold(&core)), (1, (Vec::new(), 0)), "the end was told and is forgotten");
    assert_eq!(turn(&mut core), (2, String::new()));

    core.enter_history("restored".to_owned());
    assert_eq!(untold(&core), (held.clone(), 1));
    assert_eq!(turn(&mut core), (0, String::new()), "another start tells it all again");
    // The session breaks, and the next one is with the same controllers: what they confirmed stays confirmed.
    let slots = core.standing().unacked_slots.iter().map(|(key, one)| (key.clone(), one.version)).collect();
    core.acknowledge(Vec::new(), slots);
    core.enter_history("restored".to_owned());
    assert_eq!((untold(&core), core.standing().history.as_str()), ((held, 0), ""));
    acknowledge_all(&mut core);
    assert_eq!((untold(&core), core.standing().history.as_str()), ((Vec::new(), 0), "restored"));
    assert_eq!(turn(&mut core), (2, "restored".to_owned()));
    core.enter_history("restored".to_owned());
    assert_eq!(untold(&core), (Vec::new(), 0));
}

#[test]
fn who_holds_nothing_has_told_everything() {
    let mut core = filled(Details::default());
    core.enter_history("restored".to_owned());
    assert_eq!(core.standing().history, "restored");
}
