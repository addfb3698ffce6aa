//! Machines that are cut off: nothing goes in or out, and nobody is told.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use muster_common::cluster::ControllerInfo;
use muster_common::instance::{InstanceInfo, InstanceState};
use muster_common::reason::Reason;
use muster_common::service::ServiceSummary;
use muster_tests::api::CallError;
use muster_tests::lab::{Lab, Liveness, Role};

use crate::observer::{Observer, was_lost};
use crate::{PROGRAM, SERVICE, example};

/// By then whoever is not in session with the new leader is UNKNOWN.
const PAST_UNKNOWN: Duration = Duration::from_secs(16);
/// A controller looks for a leader for 5 s on behalf of a read, for 11 s on behalf of a write; on a busy machine it
/// still answers before it gives the call up.
const REFUSED_WITHIN: Duration = Duration::from_secs(30);

/// Every instance with its process: who restarts one changes that.
type Processes = BTreeMap<String, (u32, u64)>;

fn processes(lab: &Lab, nth: usize) -> Processes {
    let instances = lab.instances(nth, SERVICE).unwrap();
    instances.iter().map(|instance| (instance.instance_id.clone(), lab.process_of(instance))).collect()
}

/// So many healthy instances, as the controller `nth` shows them once there are.
fn all_healthy(lab: &Lab, nth: usize, count: usize) -> Processes {
    lab.wait_for("all instances healthy", || {
        let instances = lab.instances(nth, SERVICE).ok()?;
        let healthy = instances.iter().filter(|found| found.state == InstanceState::Healthy).count();
        (healthy == count).then(|| processes(lab, nth))
    })
}

fn instances_per_host(controller: &Role, query: &str) -> Result<u32, CallError> {
    let summary: ServiceSummary = controller.api.get(&format!("localservices/{SERVICE}{query}"))?;
    Ok(summary.instances_per_host)
}

/// The instance of the service on an executor that is not among the active ones.
fn away(lab: &Lab, executor: &Role, state: InstanceState) -> Option<InstanceInfo> {
    let path = format!("localservices/{SERVICE}/instances/old");
    let instances: Vec<InstanceInfo> = lab.controllers[0].api.get(&path).ok()?;
    instances.into_iter().find(|found| found.executor_id == executor.id && found.state == state)
}

#[test]
fn executors_that_are_cut_off_are_unknown_then_lost_then_found_again_and_restart_nothing() {
    let liveness = Liveness { unknown_after: "2s", lost_after: "20s" };
    let Some(lab) = Lab::start("executors that are cut off", PROGRAM, 2, liveness) else { return };
    lab.apply(&example());
    let before = processes(&lab, 0);
    let [short, long] = &lab.executors[..] else { panic!("two executors") };
    for executor in [short, long] {
        lab.network.cut(&executor.machine);
    }
    let [unknown, other] = [short, long].map(|executor| {
        let unknown = lab.wait_for("it to be UNKNOWN", || away(&lab, executor, InstanceState::Unknown));
        let why = format!("no contact with executor {} since", executor.id);
        assert!(unknown.error_message.contains(&why), "{unknown:?}");
        assert_eq!(before[&unknown.instance_id], lab.process_of(&unknown), "its executor needs nobody");
        unknown
    });
    lab.controllers[0].api.scale(SERVICE, 2).unwrap();

    lab.network.mend(&short.machine);
    let back = lab.wait_for("it to be back", || lab.healthy(0, SERVICE, &unknown.instance_id));
    assert!(!was_lost(&back), "{:?}", back.timeline);

    let lost = lab.wait_for("the other one to be LOST", || away(&lab, long, InstanceState::Lost));
    assert_eq!((&lost.instance_id, lost.reason), (&other.instance_id, Some(Reason::ExecutorUnreachable)));
    lab.network.mend(&long.machine);
    let found = lab.wait_for("it to be found", || lab.healthy(0, SERVICE, &lost.instance_id));
    let revived = found.timeline.iter().find(|step| step.reason == Some(Reason::FoundAgain)).unwrap();
    assert!(revived.message.starts_with("found again after"), "{revived:?}");

    // What was asked meanwhile is done, and nothing was restarted for it.
    let all = all_healthy(&lab, 0, 4);
    assert!(before.iter().all(|(id, process)| all.get(id) == Some(process)), "{before:?} {all:?}");
}

#[test]
fn a_leader_that_is_cut_off_is_succeeded_refuses_everything_and_follows_once_it_is_back() {
    // Shorter than an executor takes to notice that nothing comes from its leader any more.
    let liveness = Liveness { unknown_after: "5s", ..Liveness::DEFAULT };
    let Some(lab) = Lab::start("a leader that is cut off", PROGRAM, 2, liveness) else { return };
    lab.apply(&example());
    let before = processes(&lab, 0);
    let old = lab.leader();
    let others: Vec<usize> = (0..3).filter(|nth| *nth != old).collect();
    let observer = Observer::start(others.iter().map(|&nth| lab.controllers[nth].api.clone()).collect());

    lab.network.cut(&lab.controllers[old].machine);
    let cut = Instant::now();
    let new = lab.wait_for("the next leader", || {
        others.iter().copied().find(|&nth| lab.leader_seen_by(nth) == Some(nth))
    });
    for (&nth, count) in others.iter().zip([2, 3]) {
        lab.wait_for("a write through the majority", || lab.controllers[nth].api.scale(SERVICE, count).ok());
        assert_eq!(instances_per_host(&lab.controllers[new], ""), Ok(count));
    }

    // The executors have all gone over to the new leader, and do what it says.
    let all = all_healthy(&lab, new, 6);
    println!("obeyed everywhere after {:?}", cut.elapsed());

    let deposed = &lab.controllers[old];
    thread::scope(|scope| {
        let asked = Instant::now();
        let read = scope.spawn(|| instances_per_host(deposed, ""));
        let write = scope.spawn(|| deposed.api.scale(SERVICE, 9));
        let (read, write) = (read.join().unwrap(), write.join().unwrap());
        assert!(matches!(read, Err(CallError::NotNow(_))), "{read:?}");
        assert!(matches!(write, Err(CallError::NotNow(_) | CallError::Unknown(_))), "{write:?}");
        assert!(asked.elapsed() < REFUSED_WITHIN, "after {:?}", asked.elapsed());
    });
    assert_eq!(
        instances_per_host(deposed, "?stale=true"),
        Ok(1),
        "what it knew it still tells who wants that"
    );

    thread::sleep(PAST_UNKNOWN.saturating_sub(cut.elapsed()));

    lab.network.mend(&deposed.machine);
    lab.wait_for("the old leader to follow", || {
        (lab.leader_seen_by(old) == Some(new) && instances_per_host(deposed, "") == Ok(3)).then_some(())
    });
    assert_eq!(lab.leader_seen_by(new), Some(new), "its return disturbed nobody");
    observer.saw_nothing();
    assert_eq!(processes(&lab, old), all);
    assert!(before.iter().all(|(id, process)| all.get(id) == Some(process)), "{before:?} {all:?}");
}

/// Leaders are elected by controllers alone: one that these cannot reach goes on hearing its executors.
#[test]
fn a_leader_that_only_executors_can_reach_lets_them_go() {
    let Some(lab) = Lab::start("a leader that only executors can reach", PROGRAM, 2, Liveness::DEFAULT)
    else {
        return;
    };
    lab.apply(&example());
    let before = processes(&lab, 0);
    let old = lab.leader();
    let others: Vec<usize> = (0..3).filter(|nth| *nth != old).collect();
    let observer = Observer::start(others.iter().map(|&nth| lab.controllers[nth].api.clone()).collect());

    for &nth in &others {
        lab.network.part(&lab.controllers[old].machine, &lab.controllers[nth].machine);
    }
    let parted = Instant::now();
    lab.wait_for("a write through the majority", || lab.controllers[others[0]].api.scale(SERVICE, 2).ok());
    let all = all_healthy(&lab, others[0], 4);
    println!("obeyed everywhere after {:?}", parted.elapsed());
    thread::sleep(PAST_UNKNOWN.saturating_sub(parted.elapsed()));
    for &nth in &others {
        lab.network.join(&lab.controllers[old].machine, &lab.controllers[nth].machine);
    }
    lab.wait_for("the old leader to follow", || {
        (instances_per_host(&lab.controllers[old], "") == Ok(2)).then_some(())
    });
    observer.saw_nothing();
    assert!(before.iter().all(|(id, process)| all.get(id) == Some(process)), "{before:?} {all:?}");
}

#[test]
fn a_follower_that_is_cut_off_disturbs_nobody_and_catches_up() {
    let Some(lab) = Lab::start("a follower that is cut off", PROGRAM, 1, Liveness::DEFAULT) else { return };
    lab.apply(&example());
    let leader = lab.leader();
    let term = term(&lab.controllers[leader]);
    let nth = (leader + 1) % 3;
    let other = &lab.controllers[(leader + 2) % 3];
    let follower = &lab.controllers[nth];
    let observer = Observer::start(vec![lab.controllers[leader].api.clone(), other.api.clone()]);

    lab.network.cut(&follower.machine);
    for count in 2..=4 {
        other.api.scale(SERVICE, count).unwrap();
        assert_eq!(instances_per_host(other, ""), Ok(count));
    }
    let read = instances_per_host(follower, "");
    assert!(matches!(read, Err(CallError::NotNow(_))), "{read:?}");
    assert_eq!(instances_per_host(follower, "?stale=true"), Ok(1));

    lab.network.mend(&follower.machine);
    lab.wait_for("it to catch up", || (instances_per_host(follower, "") == Ok(4)).then_some(()));
    assert_eq!((lab.leader_seen_by(nth), lab.leader()), (Some(leader), leader));
    assert_eq!(self::term(&lab.controllers[leader]), term, "no election was held");
    observer.saw_nothing();
}

/// Raft's term, as a controller knows it.
fn term(controller: &Role) -> u64 {
    let members: Vec<ControllerInfo> = controller.api.get("cluster/controllers").unwrap();
    members.iter().find_map(|member| member.term).unwrap()
}
