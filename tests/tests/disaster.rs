//! What an operator does when controllers are lost: with the real programs, and with a workload that must not
//! notice.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Output;

use muster_common::cluster::{ControllerInfo, ControllerRole};
use muster_common::instance::{InstanceInfo, InstanceState};
use muster_tests::api::CallError;
use muster_tests::cluster::{DevCluster, RoleProcess, kill_9};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_muster-under-test");
const SERVICE: &str = "example-1";
const IDS: [&str; 3] = ["controller-1", "controller-2", "controller-3"];

fn said(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{err}")
}

/// The three controllers of a cluster, as an operator handles them.
struct Operator(DevCluster);

impl Operator {
    fn role(&self, nth: usize) -> RoleProcess {
        self.0.role(IDS[nth])
    }

    fn kill(&self, nth: usize) {
        self.0.dev("kill", IDS[nth]);
    }

    fn start(&self, nth: usize) {
        self.0.dev("start", IDS[nth]);
    }

    /// `muster <args> --config <the controller's>`: its exit code, and what it said.
    fn offline(&self, nth: usize, args: &[&str]) -> (i32, String) {
        let config = self.role(nth).dir.join("controller.yaml");
        let config = config.to_string_lossy();
        let output = self.0.muster(&[args, &["--config", &config]].concat());
        (output.status.code().unwrap(), said(&output))
    }

    /// The same; must succeed, once the kernel has taken a killed controller's last thread away.
    fn offline_ok(&self, nth: usize, args: &[&str]) -> String {
        self.0.wait_for(&format!("{args:?}"), || {
            let (code, said) = self.offline(nth, args);
            if said.contains("in use by another process") {
                return None;
            }
            assert_eq!(code, 0, "{args:?}: {said}");
            Some(said)
        })
    }

    /// `muster --server <the controller's> <args>`.
    fn ask(&self, nth: usize, args: &[&str]) -> (i32, String) {
        let output = self.0.muster(&[&["--server", &self.role(nth).rest], args].concat());
        (output.status.code().unwrap(), said(&output))
    }

    /// The same, until it succeeds: the cluster may be electing.
    fn ask_until_ok(&self, nth: usize, args: &[&str]) -> String {
        self.0.wait_for(&format!("{args:?}"), || {
            let (code, said) = self.ask(nth, args);
            (code == 0).then_some(said)
        })
    }

    /// Where the others reach a controller.
    fn cluster_addr(&self, nth: usize) -> String {
        let (host, port) =
            self.role(nth).rest.trim_start_matches("http://").rsplit_once(':').map(own).unwrap();
        format!("{host}:{}", port.parse::<u16>().unwrap() + 100)
    }

    fn members(&self, nth: usize) -> Vec<ControllerInfo> {
        self.0.try_get(&self.role(nth).rest, "cluster/controllers").unwrap()
    }

    /// The one instance, healthy, as `nth` shows it.
    fn healthy(&self, nth: usize) -> InstanceInfo {
        self.0.wait_for("the healthy instance", || {
            let path = format!("localservices/{SERVICE}/instances");
            let instances: Vec<InstanceInfo> = self.0.try_get(&self.role(nth).rest, &path).ok()?;
            instances.into_iter().find(|instance| instance.state == InstanceState::Healthy)
        })
    }

    /// The ids of all instances by their slots, once `count` are left and healthy.
    fn serving(&self, count: usize) -> BTreeMap<u32, String> {
        self.0.wait_for(&format!("{count} healthy instances"), || {
            let instances = self.0.instances(SERVICE);
            let are_well = instances.iter().all(|one| one.state == InstanceState::Healthy);
            let serving = instances.into_iter().map(|one| (one.slot_index, one.instance_id));
            (are_well && serving.len() == count).then(|| serving.collect())
        })
    }

    /// The pid of each instance.
    fn pids(&self) -> BTreeMap<String, u32> {
        let pid_of = |one: InstanceInfo| (one.instance_id.clone(), self.0.pid_of(&one));
        self.0.healthy(SERVICE).into_iter().map(pid_of).collect()
    }

    /// Asks for another instance in place of this one.
    fn replace(&self, id: &str) {
        let replace = json!({"type": "REPLACE_INSTANCES", "serviceId": SERVICE, "instanceIds": [id]});
        let accepted = || self.0.operate(&self.role(0).rest, &replace).ok();
        self.0.wait_for("the replacement to be accepted", accepted);
    }

    /// A change is accepted and carried out: the cluster is alive.
    fn scale(&self, nth: usize, to: u32) {
        self.ask_until_ok(nth, &["scale", SERVICE, &to.to_string()]);
    }

    /// The revision of the newest event.
    fn revision(&self, nth: usize) -> u64 {
        self.0.wait_for("the newest event", || {
            let newest: Vec<serde_json::Value> =
                self.0.try_get(&self.role(nth).rest, "cluster/events?size=1").ok()?;
            newest.first()?["revision"].as_u64()
        })
    }

    fn data(&self, nth: usize) -> PathBuf {
        self.role(nth).dir.join("data")
    }
}

fn own((host, port): (&str, &str)) -> (String, String) {
    (host.to_owned(), port.to_owned())
}

#[test]
fn a_lost_majority_and_then_everything_is_survived_without_touching_the_workload() {
    let operator = Operator(DevCluster::start(PROGRAM, 1, &[]));
    let before = operator.healthy(0);
    let pid = operator.0.pid_of(&before);
    let file = operator.0.dir().join("backup");
    let name = file.to_string_lossy().into_owned();
    let wrote = operator.ask_until_ok(0, &["backup", &name]);
    assert!(wrote.contains("as of revision"), "{wrote}");
    let (code, again) = operator.ask(0, &["backup", &name]);
    assert_eq!(code, 5, "an older backup is not overwritten: {again}");

    // Two of three are lost; the third says what that means, and goes on alone.
    for nth in 0..3 {
        operator.kill(nth);
    }
    let (code, refused) = operator.0.wait_for("the lock to be free", || {
        Some(operator.offline(0, &["controller", "recover"])).filter(|(code, _)| *code != 5)
    });
    assert_eq!(code, 2, "{refused}");
    for part in ["It knows that everything up to revision", "is lost", "Members were 1, 2, 3", "--yes"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    let kept = operator.data(0).join("log.redb");
    assert!(kept.exists(), "nothing was changed");
    operator.offline_ok(0, &["controller", "recover", "--yes"]);
    operator.start(0);
    assert_eq!(operator.healthy(0).instance_id, before.instance_id);
    operator.scale(0, 2);
    operator.scale(0, 1);

    // One of the old ones comes back on its old files, alone, and is nobody; then it joins.
    operator.start(1);
    operator.0.wait_for("it serves", || operator.0.try_get::<String>(&operator.role(1).rest, "ping").ok());
    let (code, refused) = operator.ask(0, &["members", "add", "2", &operator.cluster_addr(1)]);
    assert_eq!(code, 5, "{refused}");
    assert!(refused.contains("in a group already"), "{refused}");
    operator.kill(1);
    for nth in [1, 2] {
        operator.offline_ok(nth, &["controller", "rejoin", "--yes"]);
        operator.start(nth);
        operator
            .0
            .wait_for("it serves", || operator.0.try_get::<String>(&operator.role(nth).rest, "ping").ok());
        operator.ask_until_ok(0, &["members", "add", &(nth + 1).to_string(), &operator.cluster_addr(nth)]);
    }
    let members = operator.members(1);
    assert_eq!(members.len(), 3, "{members:?}");
    assert!(members.iter().all(|member| member.role != ControllerRole::Learner), "{members:?}");
    assert!(members.iter().all(|member| member.lag.is_some()), "{members:?}");
    operator.scale(2, 1);

    // Everything is lost but the backup. Its service had one instance, which runs.
    for nth in 0..3 {
        operator.kill(nth);
    }
    for nth in 0..3 {
        operator.offline_ok(nth, &["controller", "rejoin", "--yes"]);
    }
    let cut = operator.0.dir().join("cut");
    let whole = fs::read(&file).unwrap();
    fs::write(&cut, &whole[..whole.len() - 1]).unwrap();
    let (code, refused) = operator.offline(0, &["restore", &cut.to_string_lossy()]);
    assert_eq!(code, 6, "{refused}");
    assert!(refused.contains("is damaged"), "{refused}");
    operator.offline_ok(0, &["restore", &name]);
    let (code, refused) = operator.offline(0, &["restore", &name]);
    assert_eq!(code, 5, "{refused}");
    for nth in 0..3 {
        operator.start(nth);
    }
    let after = operator.healthy(0);
    assert_eq!(
        (&after.instance_id, operator.0.pid_of(&after)),
        (&before.instance_id, pid),
        "it was not restarted"
    );
    for nth in [1, 2] {
        operator.ask_until_ok(0, &["members", "add", &(nth + 1).to_string(), &operator.cluster_addr(nth)]);
    }
    operator.scale(1, 2);
    let both = operator.0.wait_for_healthy(SERVICE, 2);
    let same =
        both.iter().find(|instance| instance.instance_id == before.instance_id).expect("the first stays");
    assert_eq!(operator.0.pid_of(same), pid);
}

#[test]
fn a_restored_group_hears_what_it_does_not_know_and_touches_nothing_of_it() {
    let operator = Operator(DevCluster::start(PROGRAM, 1, &[]));
    operator.scale(0, 2);
    let before = operator.serving(2);
    let file = operator.0.dir().join("backup");
    let name = file.to_string_lossy().into_owned();
    operator.ask_until_ok(0, &["backup", &name]);

    // After the backup one instance crashes, so that another has its slot and epoch; and one is replaced.
    kill_9(operator.pids()[&before[&0]]);
    operator.replace(&before[&1]);
    let after = operator.0.wait_for("both to be other ones", || {
        Some(operator.serving(2)).filter(|now| now.iter().all(|(slot, id)| *id != before[slot]))
    });
    let (pids, seen) = (operator.pids(), operator.revision(0));

    for nth in 0..3 {
        operator.kill(nth);
    }
    for nth in 0..3 {
        operator.offline_ok(nth, &["controller", "rejoin", "--yes"]);
    }
    let said = operator.offline_ok(0, &["restore", &name]);
    assert!(said.contains("replaced since then stays as it is"), "{said}");
    operator.start(0);
    // Nobody is taken for lost before it is known who took his place.
    operator.0.wait_for("those of before to be over", || {
        let old = operator.0.old_instances(SERVICE);
        before.values().all(|id| old.iter().any(|one| one.instance_id == *id)).then_some(())
    });
    assert_eq!(
        (operator.serving(2), operator.pids()),
        (after.clone(), pids.clone()),
        "nothing was restarted"
    );

    operator.0.wait_for("what the executor says of its slots", || {
        let path = format!("localservices/{SERVICE}/slots");
        let slots: Vec<serde_json::Value> = operator.0.try_get(&operator.role(0).rest, &path).ok()?;
        slots.iter().all(|slot| slot["status"]["phase"] == "FILLED").then_some(())
    });

    // Whoever watched has to look anew, and no revision is told twice.
    let from = format!("cluster/events?from={seen}");
    let watched = operator.0.try_get::<serde_json::Value>(&operator.role(0).rest, &from);
    assert!(matches!(&watched, Err(CallError::Wrong(words)) if words.contains("COMPACTED")), "{watched:?}");
    assert!(operator.revision(0) > seen);

    // What is asked for from now on is newer than all that was.
    operator.replace(&after[&1]);
    let last = operator
        .0
        .wait_for("another one in slot 1", || Some(operator.serving(2)).filter(|now| now[&1] != after[&1]));
    assert_eq!((&last[&0], operator.pids()[&last[&0]]), (&after[&0], pids[&after[&0]]));
}

#[test]
fn a_survivor_that_lags_says_what_it_has_loses_what_others_accepted_and_nothing_that_runs() {
    let operator = Operator(DevCluster::start(PROGRAM, 1, &[]));
    operator.scale(0, 2);
    let before = operator.serving(2);

    // While the last one is away an instance crashes, another one is replaced, and a third slot comes.
    operator.kill(2);
    kill_9(operator.pids()[&before[&0]]);
    operator.replace(&before[&1]);
    operator.0.wait_for("both to be other ones", || {
        Some(operator.serving(2)).filter(|now| now.iter().all(|(slot, id)| *id != before[slot]))
    });
    operator.scale(0, 3);
    let after = operator.serving(3);
    let (pids, seen) = (operator.pids(), operator.revision(0));
    operator.kill(0);
    operator.kill(1);

    let (code, said) = operator.0.wait_for("the lock to be free", || {
        Some(operator.offline(2, &["controller", "recover"])).filter(|(code, _)| *code != 5)
    });
    assert_eq!(code, 2, "{said}");
    let last = number_after(&said, "Whatever others accepted after revision ");
    assert!(last < seen, "it knows how far it is, and that is not up to revision {seen}: {said}");
    assert!(number_after(&said, "It knows that everything up to revision ") <= last, "{said}");
    assert!(said.contains("Look at the other survivors"), "{said}");

    operator.offline_ok(2, &["controller", "recover", "--yes"]);
    operator.start(2);
    // It never heard of the third slot, whose instance goes as any that is not wanted; of those that are wanted it knew
    // others, and takes what runs.
    operator.0.wait_for("what it did not know of to be over, with its evidence", || {
        let old = operator.0.old_instances(SERVICE);
        let third =
            old.iter().find(|one| one.instance_id == after[&2] && one.state == InstanceState::Stopped)?;
        let before_is_over = before.values().all(|id| old.iter().any(|one| one.instance_id == *id));
        (third.evidence.is_some() && before_is_over).then_some(())
    });
    let kept = operator.serving(2);
    assert!(kept.iter().all(|(slot, id)| *id == after[slot]), "{kept:?} {after:?}");
    let now = operator.pids();
    assert!(kept.values().all(|id| now[id] == pids[id]), "nothing was restarted: {now:?} {pids:?}");

    // What was lost is asked for again.
    operator.scale(2, 3);
    let again = operator.serving(3);
    assert!(kept.iter().all(|(slot, id)| again[slot] == *id), "{kept:?} {again:?}");
    assert_ne!(again[&2], after[&2]);
}

#[test]
fn a_survivor_without_a_majority_gives_a_backup_to_who_takes_what_it_has_and_that_restores() {
    let operator = Operator(DevCluster::start(PROGRAM, 1, &[]));
    let before = operator.healthy(0);
    let pid = operator.0.pid_of(&before);
    operator.kill(1);
    operator.kill(2);
    let file = operator.0.dir().join("backup");
    let name = file.to_string_lossy().into_owned();
    let (code, refused) = operator.ask(0, &["backup", &name]);
    assert_ne!(code, 0, "nobody can say that it is not older than what was accepted: {refused}");
    assert!(!file.exists(), "nothing is left of it");
    let wrote = operator.ask_until_ok(0, &["backup", "--stale", &name]);
    assert!(wrote.contains("as of revision"), "{wrote}");

    operator.kill(0);
    operator.offline_ok(0, &["controller", "rejoin", "--yes"]);
    operator.offline_ok(0, &["restore", &name]);
    operator.start(0);
    let after = operator.healthy(0);
    assert_eq!((&after.instance_id, operator.0.pid_of(&after)), (&before.instance_id, pid));
    operator.scale(0, 2);
    assert_eq!(operator.serving(2)[&before.slot_index], before.instance_id);
}

/// The number that follows these words.
fn number_after(text: &str, words: &str) -> u64 {
    let (_, rest) = text.split_once(words).unwrap_or_else(|| panic!("{words}: {text}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[test]
fn damaged_files_are_named_with_what_to_do_and_that_works() {
    let operator = Operator(DevCluster::start(
        PROGRAM,
        1,
        &[json!({
            "name": "idle", "version": "1", "type": "LOCAL_SERVICE",
            "executable": {"type": "PROCESS", "command": ["sh", "-c", "exec sleep 1000"]},
            "exposedPorts": [{"name": "main", "port": 8000, "type": "TCP"}],
            "resources": [{"type": "CPU", "count": 0.1}, {"type": "MEMORY", "sizeInMB": 16}],
            "placementPolicy": {"type": "LOCAL", "hostLevel": false},
            "readiness": {"mode": {"type": "CMD", "command": "true"}, "timeout": "1s", "interval": "1s", "attempts": 3},
            "healthcheck": {"mode": {"type": "CMD", "command": "true"}, "timeout": "1s", "interval": "1s", "attempts": 3},
        })],
    ));
    let leader = operator.0.wait_for("a leader", || operator.0.leader());
    let nth = IDS.iter().position(|id| *id != leader.id).unwrap();
    let other = (nth + 1) % 3;
    operator.kill(nth);
    let path = operator.data(nth).join("log.redb");
    let mut bytes = fs::read(&path).unwrap();
    // Every page in use, wherever they are; the file's head is left alone.
    for page in bytes.chunks_mut(4096).skip(1) {
        page[100] ^= 0x40;
    }
    fs::write(&path, bytes).unwrap();
    let (code, refused) = operator.0.wait_for("the lock to be free", || {
        Some(operator.offline(nth, &["controller"])).filter(|(code, _)| *code != 5)
    });
    assert_eq!(code, 1, "{refused}");
    for part in [path.to_string_lossy().as_ref(), "is damaged", "muster controller rejoin"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }

    operator.offline_ok(nth, &["controller", "rejoin", "--yes"]);
    operator.start(nth);
    operator.0.wait_for("it serves", || operator.0.try_get::<String>(&operator.role(nth).rest, "ping").ok());
    let id = (nth + 1).to_string();
    operator.ask_until_ok(other, &["members", "remove", &id]);
    let (code, gone) = operator.ask(other, &["members", "remove", &id]);
    assert_eq!(code, 4, "{gone}");
    operator.ask_until_ok(other, &["members", "add", &id, &operator.cluster_addr(nth)]);
    let shown = operator.ask_until_ok(nth, &["members"]);
    assert_eq!(shown.matches("VOTER").count(), 2, "{shown}");
    assert_eq!(shown.matches("LEADER").count(), 1, "{shown}");
}
