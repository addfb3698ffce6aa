//! What the supervisor's mind does that neither a life nor a search shows.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_common::executor::NodeLayout;
use muster_common::id::{ExecutorId, InstanceId};
use muster_common::time::Timestamp;

use super::{Core, Details};
use crate::journal::Contents;
use crate::lease::Room;
use crate::machine::{Event, Now};
use crate::runner::{Exit, Workload};
use crate::testing::table;

/// A core whose one slot crashes again and again while no controller listens.
struct CrashLoop {
    core: Core,
    now: Duration,
    /// What people's clock says of it.
    wall: fn(Duration) -> Timestamp,
    /// Who ended, in order.
    ended: Vec<InstanceId>,
}

impl CrashLoop {
    fn turn(&mut self) {
        self.now += Duration::from_secs(1000);
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
        let workload = Workload::Docker { container_id: id.to_string() };
        let exit = Exit { code: Some(1), ..Exit::default() };
        for event in [
            Event::PortsChecked(Ok(())),
            Event::Provisioned(Ok(())),
            Event::Started(Ok(workload)),
            Event::Exited(exit),
            Event::EvidenceCollected(Ok("last words".to_owned())),
            Event::Removed(Ok(())),
        ] {
            self.core.tell(id.clone(), event);
            self.turn();
        }
        assert!(self.core.instance(&id).unwrap().is_over());
        self.ended.push(id);
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
        let core = filled(Details { in_full: 3, in_outline: 6 });
        let mut crashing = CrashLoop { core, now: Duration::ZERO, wall, ended: Vec::new() };
        for _ in 0..10 {
            crashing.crash();
        }
        for (age, id) in crashing.ended.iter().rev().enumerate() {
            let record = &crashing.core.instance(id).unwrap().record;
            let evidence = record.evidence.as_ref().unwrap();
            assert_eq!(evidence.exit_code, Some(1));
            assert_eq!(evidence.log_tail.is_empty(), age >= 3, "{age}");
            assert_eq!(record.timeline.len() == 1, age >= 6, "{age}");
        }
    }
}

#[test]
fn an_acknowledgement_of_a_later_version_is_answered_with_what_is_true_now() {
    let mut crashing = CrashLoop {
        core: filled(Details::default()),
        now: Duration::ZERO,
        wall: |now| Timestamp(1_000_000_000).plus(now),
        ended: Vec::new(),
    };
    crashing.crash();
    let id = crashing.ended[0].clone();
    let key = crashing.core.standing().unacked_slots.keys().next().unwrap().clone();
    let slot_version = crashing.core.standing().unacked_slots[&key].version;
    let told = |core: &Core| {
        let standing = core.standing();
        let instance = standing.unacked_instances.get(&id).map(|record| record.version);
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
fn what_controllers_refuse_is_not_told_again() {
    let mut crashing = CrashLoop {
        core: filled(Details::default()),
        now: Duration::ZERO,
        wall: |now| Timestamp(1_000_000_000).plus(now),
        ended: Vec::new(),
    };
    crashing.crash();
    let id = crashing.ended[0].clone();
    crashing.core.acknowledge(vec![(id.clone(), u64::MAX)], Vec::new());
    assert!(!crashing.core.standing().unacked_instances.contains_key(&id));
    assert!(crashing.core.instance(&id).is_none());
}
