//! The real program with real processes under it: killed, started again, told to stop.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod certificate;
mod metrics;
mod systemd;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use muster_common::duration::DroveDuration;
use muster_common::id::Epoch;
use muster_common::instance::{InstanceInfo, InstanceRecord, InstanceState};
use muster_common::reason::Reason;
use muster_common::spec::{CheckMode, PreShutdownSpec};
use muster_platform::World;
use muster_tests::agent::{Agent, STEADY, healthy, is_alive, row, signal, table, until};
use muster_tests::controller::{Controller, Records};
use rustix::process::Signal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_muster-under-test");

#[tokio::test]
async fn a_service_does_not_notice_that_its_executor_was_killed() {
    let controller = Controller::start().await;
    let mut agent = Agent::new(PROGRAM, &controller);
    controller.set_table(table(1, vec![row("steady", 1, STEADY)]));
    let records = controller.until("it is healthy", |records| healthy(records, "steady").count() == 1).await;
    let first = healthy(&records, "steady").next().unwrap().clone();
    let pid = agent.pid_of(&first);
    for _ in 0..3 {
        let before = controller.records()[first.id.as_str()].version;
        agent.kill();
        agent.start();
        let again = controller
            .until("it is found again", |records| {
                let record = &records[first.id.as_str()];
                record.version > before && record.state == InstanceState::Healthy
            })
            .await;
        assert_eq!(again.len(), 1, "nothing was started anew");
        assert!(is_alive(pid));
    }

    // It is killed while nobody looks: its end is told all the same.
    agent.kill();
    signal(pid, Signal::KILL);
    let status = agent.dir.path().join("data/run").join(first.id.as_str()).join("exit.json");
    let is_written = || std::fs::read(&status).is_ok_and(|status| !status.trim_ascii().is_empty());
    until("its end is written down", is_written).await;
    let ended_by = World::system().clock.now();
    agent.start();
    let over = |records: &Records| records[first.id.as_str()].state == InstanceState::Stopped;
    let records = controller.until("its end is told", over).await;
    let ended = &records[first.id.as_str()];
    assert_eq!(ended.reason, Some(Reason::Signaled));
    assert!(ended.finished.unwrap() <= ended_by, "when it ended counts, not when that was learnt");
    let evidence = ended.evidence.clone().unwrap();
    assert_eq!((evidence.signal, evidence.log_tail.as_str()), (Some(9), "hello\n"));
    let records = controller.until("it is replaced", |records| healthy(records, "steady").count() == 1).await;
    let second = agent.pid_of(healthy(&records, "steady").next().unwrap());

    // SIGTERM keeps it; an empty table does not.
    assert_eq!(agent.terminate(), 0);
    assert!(is_alive(second));
    agent.start();
    controller.set_table(table(2, vec![]));
    let all_over = |records: &Records| records.values().all(|record| record.state.is_terminal());
    controller.until("all is over", all_over).await;
    assert!(!is_alive(second));
}

#[tokio::test]
async fn a_test_that_fails_leaves_no_process_behind() {
    let controller = Controller::start().await;
    let agent = Agent::new(PROGRAM, &controller);
    controller.set_table(table(1, vec![row("steady", 1, STEADY)]));
    let records = controller.until("it is healthy", |records| healthy(records, "steady").count() == 1).await;
    let pid = agent.pid_of(healthy(&records, "steady").next().unwrap());
    assert!(is_alive(pid));
    drop(agent);
    assert!(!is_alive(pid));
}

/// At least once, and never twice at the same time.
#[tokio::test]
async fn a_hook_that_a_kill_cut_short_is_ended_and_run_again() {
    let controller = Controller::start().await;
    let mut agent = Agent::new(PROGRAM, &controller);
    let said = agent.dir.path().join("said");
    let go = agent.dir.path().join("go");
    let hook = format!(
        "echo $$ >> {said}; while [ ! -e {go} ]; do sleep 0.05; done; echo done >> {said}",
        said = said.display(),
        go = go.display()
    );
    let mut steady = row("steady", 1, STEADY);
    Arc::make_mut(&mut steady.spec).pre_shutdown = Some(PreShutdownSpec {
        hooks: vec![CheckMode::Cmd { command: hook, shell_disabled: false }],
        hook_timeout: Some(DroveDuration::from_secs(60)),
        wait_before_kill: DroveDuration::from_secs(0),
        grace: None,
    });
    controller.set_table(table(1, vec![steady]));
    controller.until("it is healthy", |records| healthy(records, "steady").count() == 1).await;

    let begun = async |count: usize| -> Vec<String> {
        let read = || std::fs::read_to_string(&said).unwrap_or_default();
        until("the hook said so much", || read().lines().count() >= count).await;
        read().lines().map(str::to_owned).collect()
    };
    controller.set_table(table(2, vec![]));
    let first: u32 = begun(1).await[0].parse().unwrap();
    agent.kill();
    assert!(is_alive(first), "it ended with the executor, and there is nothing to be seen here");
    agent.start();
    let second: u32 = begun(2).await[1].parse().unwrap();
    assert!(!is_alive(first), "two of them ran at once");
    assert!(is_alive(second));
    std::fs::write(&go, "").unwrap();
    let all_over = |records: &Records| records.values().all(|record| record.state.is_terminal());
    controller.until("all is over", all_over).await;
    assert_eq!(begun(3).await[2..], ["done"], "it came to its end once");
}

#[tokio::test]
async fn a_service_does_not_notice_that_the_journal_is_gone() {
    let controller = Controller::start().await;
    let mut agent = Agent::new(PROGRAM, &controller);
    controller.set_table(table(1, vec![row("steady", 1, STEADY), row("unwanted", 1, STEADY)]));
    let both = |records: &Records| {
        healthy(records, "steady").count() == 1 && healthy(records, "unwanted").count() == 1
    };
    let before = controller.until("both are healthy", both).await;
    let steady = healthy(&before, "steady").next().unwrap().clone();
    let unwanted = healthy(&before, "unwanted").next().unwrap().clone();
    let (steady_pid, unwanted_pid) = (agent.pid_of(&steady), agent.pid_of(&unwanted));

    agent.kill();
    std::fs::remove_file(agent.dir.path().join("data/journal.redb")).unwrap();
    controller.set_table(table(2, vec![row("steady", 1, STEADY)]));
    agent.start();
    let records = controller
        .until("one is found, the other has ended", |records| {
            let found = &records[steady.id.as_str()];
            found.version > steady.version
                && found.state == InstanceState::Healthy
                && records[unwanted.id.as_str()].state == InstanceState::Stopped
        })
        .await;
    assert_eq!(records.len(), 2, "nothing was started anew");
    assert_eq!(records[steady.id.as_str()].local_info, steady.local_info);
    assert!(is_alive(steady_pid) && !is_alive(unwanted_pid));
    let orphan = &records[unwanted.id.as_str()];
    assert_eq!(orphan.evidence.as_ref().unwrap().log_tail, "hello\n");
    assert!(orphan.error_message.contains("no record of it was left"), "{}", orphan.error_message);

    controller.set_table(table(3, vec![]));
    let all_over = |records: &Records| records.values().all(|record| record.state.is_terminal());
    controller.until("all is over", all_over).await;
}

/// Users see it on the instance, and a restart of the executor does not take it away.
#[tokio::test]
async fn a_service_says_which_of_its_limits_hold_nobody() {
    let controller = Controller::start().await;
    let mut agent = Agent::with(PROGRAM, &controller, "runner: process\nprocess: {controlGroups: false}\n");
    controller.set_table(table(1, vec![row("steady", 1, STEADY)]));
    let records = controller.until("it is healthy", |records| healthy(records, "steady").count() == 1).await;
    let first = healthy(&records, "steady").next().unwrap().clone();
    let is_told = |warning: &String| warning.starts_with("memory limit not enforced: ");
    assert!(first.warnings.iter().any(is_told), "{first:#?}");
    let shown = serde_json::to_value(InstanceInfo::from(&first)).unwrap();
    assert_eq!(shown["warnings"], serde_json::json!(first.warnings));

    agent.kill();
    agent.start();
    let found = |records: &Records| {
        healthy(records, "steady").next().is_some_and(|record| record.version > first.version)
    };
    let records = controller.until("it is found again", found).await;
    assert_eq!(records[first.id.as_str()].warnings, first.warnings);
    controller.set_table(table(2, vec![]));
    let all_over = |records: &Records| records.values().all(|record| record.state.is_terminal());
    controller.until("all is over", all_over).await;
}

/// The controller answers while this waits for the executor to end.
#[tokio::test(flavor = "multi_thread")]
async fn the_drain_flag_overrules_a_configuration_that_keeps() {
    let controller = Controller::start().await;
    let mut agent = Agent::new(PROGRAM, &controller);
    agent.kill();
    let config = std::fs::read_to_string(&agent.config).unwrap();
    std::fs::write(&agent.config, format!("{config}onTerminate: keep\n")).unwrap();
    agent.process = Some(agent.command().arg("--drain").stderr(Stdio::null()).spawn().unwrap());
    controller.set_table(table(1, vec![row("steady", 1, STEADY)]));
    let records = controller.until("it is healthy", |records| healthy(records, "steady").count() == 1).await;
    let steady = healthy(&records, "steady").next().unwrap();
    let pid = agent.pid_of(steady);
    assert_eq!(agent.terminate(), 0);
    assert!(!is_alive(pid));
    assert!(agent.dir.path().join("data").join(muster_executor::DRAINED).exists());
    // By then it has told how it ended.
    let told = &controller.records()[steady.id.as_str()];
    assert_eq!(told.state, InstanceState::Stopped);
    assert_eq!(told.evidence.as_ref().unwrap().signal, Some(15));
}

/// The controller answers while this waits for the executor to end.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_right_after_the_start_leaves_nothing_running() {
    let controller = Controller::start().await;
    let mut agent = Agent::new(PROGRAM, &controller);
    controller.set_table(table(1, vec![row("steady", 1, STEADY)]));
    let records = controller.until("it is healthy", |records| healthy(records, "steady").count() == 1).await;
    let pid = agent.pid_of(healthy(&records, "steady").next().unwrap());
    agent.kill();
    let config = std::fs::read_to_string(&agent.config).unwrap();
    std::fs::write(&agent.config, format!("{config}onTerminate: drain\n")).unwrap();
    agent.start();
    agent.until_it_listens().await;
    assert_eq!(agent.terminate(), 0);
    assert!(!is_alive(pid));
    assert_eq!(std::fs::read_dir(agent.dir.path().join("data/run")).unwrap().count(), 0);
}

/// How often the executor is killed; more by `MUSTER_KILLS`.
const KILLS: u32 = 12;

#[tokio::test]
async fn killed_again_and_again_among_services_of_every_kind() {
    let kills = std::env::var("MUSTER_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(KILLS);
    let controller = Controller::start().await;
    let mut agent = Agent::new(PROGRAM, &controller);
    let rows = |epoch: u64| {
        let mut rows: Vec<_> = (0..4).map(|index| row(&format!("steady-{index}"), 1, STEADY)).collect();
        rows.push(row("crashing", 1, "sleep 0.2; exit 7"));
        rows.push(row("replaced", epoch, STEADY));
        rows
    };
    controller.set_table(table(1, rows(1)));
    let steady = |records: &Records| -> Vec<InstanceRecord> {
        let is = |record: &&InstanceRecord| record.service_name.starts_with("steady");
        records.values().filter(is).cloned().collect()
    };
    let all_steady = |records: &Records| {
        steady(records).iter().filter(|record| record.state == InstanceState::Healthy).count() == 4
    };
    let records = controller.until("the steady ones are healthy", all_steady).await;
    let pids: Vec<u32> = steady(&records).iter().map(|record| agent.pid_of(record)).collect();
    for round in 0..kills {
        controller.set_table(table(u64::from(round) + 2, rows(u64::from(round) + 2)));
        // A different moment each time, from before the journal is open to the middle of everything.
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 37 % 450)).await;
        agent.kill();
        agent.start();
    }
    controller.until("the steady ones are healthy again", all_steady).await;
    let last = Epoch(u64::from(kills) + 1);
    let records = controller
        .until("the last replacement is healthy", |records| {
            healthy(records, "replaced").count() == 1
                && healthy(records, "replaced").all(|record| record.epoch == last)
        })
        .await;
    assert_eq!(steady(&records).len(), 4, "a steady service was started anew");
    assert!(pids.iter().all(|&pid| is_alive(pid)));

    controller.set_table(table(u64::from(kills) + 2, vec![]));
    let all_over = |records: &Records| records.values().all(|record| record.state.is_terminal());
    let records = controller.until("all is over", all_over).await;
    for record in records.values().filter(|record| record.service_name == "crashing") {
        let asked = record.reason == Some(Reason::SlotRemoved);
        let code = record.evidence.as_ref().and_then(|evidence| evidence.exit_code);
        assert!(asked || code == Some(7), "{record:#?}");
    }
    agent.kill();
    for name in ["run", "scratch"] {
        let left = std::fs::read_dir(agent.dir.path().join("data").join(name)).unwrap().count();
        assert_eq!(left, 0, "{name} is not empty");
    }
    let marked = |pid: &String| {
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| records.keys().any(|id| contains(&environ, id.as_bytes())))
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let left: Vec<String> =
        processes.filter_map(|entry| entry.file_name().into_string().ok()).filter(marked).collect();
    assert_eq!(left, Vec::<String>::new(), "processes were left behind");
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn what_is_in_the_way_is_said_in_one_sentence() {
    let controller = Controller::start().await;
    let agent = Agent::new(PROGRAM, &controller);
    controller.set_table(table(1, vec![row("steady", 1, STEADY)]));
    controller.until("it works", |records| healthy(records, "steady").count() == 1).await;

    let refused = |config: String, code: i32, words: &str| {
        let path = agent.dir.path().join("other.yaml");
        std::fs::write(&path, config).unwrap();
        let output = Command::new(PROGRAM)
            .args(["executor", "--config"])
            .arg(&path)
            .env("MUSTER_LOG", "off")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words) && said.starts_with("muster: ") && said.lines().count() == 1, "{said}");
    };
    let config = std::fs::read_to_string(&agent.config).unwrap();
    refused(config.clone(), 5, "in use by another process");
    let elsewhere = config.replace("/data\n", "/elsewhere\n");
    refused(elsewhere.clone(), 5, "the port is taken");
    refused(config.replace("cluster: test", "cluster: another"), 3, "another");
    refused(config.replace("id: e1", "id: e2"), 3, "e2");
    refused(format!("{config}surprise: 1\n"), 6, "surprise");
    refused(config.replace("coreOvercommit: 16", "coreOvercommit: 0"), 6, "coreOvercommit");

    controller.set_table(table(2, vec![]));
    let all_over = |records: &Records| records.values().all(|record| record.state.is_terminal());
    controller.until("all is over", all_over).await;
}
