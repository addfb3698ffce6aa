//! A certificate that is out of date, and the one that replaces it.

use muster_tests::agent::{Agent, STEADY, healthy, is_alive, row, signal, table, until};
use muster_tests::controller::{Controller, Records, write_certificate, write_expired_certificate};
use rustix::process::Signal;

use super::PROGRAM;

#[tokio::test]
async fn a_node_whose_certificate_expired_does_its_work_and_is_heard_once_it_has_another() {
    let controller = Controller::start().await;
    let mut agent = Agent::new(PROGRAM, &controller);
    controller.set_table(table(1, vec![row("steady", 1, STEADY)]));
    let records = controller.until("it is healthy", |records| healthy(records, "steady").count() == 1).await;
    let first = healthy(&records, "steady").next().unwrap().clone();
    let gone = agent.pid_of(&first);
    agent.kill();
    signal(gone, Signal::KILL);

    write_expired_certificate(&controller.authority, "test", agent.dir.path());
    agent.start();
    let scratch = agent.dir.path().join("data/scratch");
    let pids = || {
        let notes = std::fs::read_dir(&scratch).into_iter().flatten().flatten();
        let pids = notes.filter_map(|note| std::fs::read_to_string(note.path().join("pid")).ok());
        pids.filter_map(|pid| pid.trim().parse::<u32>().ok()).collect::<Vec<_>>()
    };
    // Not whoever was killed, who may take a while to die: by then the executor has read the certificate that it has,
    // and will not find half of the next one.
    until("it is replaced", || pids().into_iter().any(|pid| pid != gone && is_alive(pid))).await;
    assert!(
        controller.records().keys().all(|id| id.as_str() == first.id.as_str()),
        "nobody takes that certificate"
    );

    write_certificate(&controller.authority, "test", agent.dir.path());
    let is_heard =
        |records: &Records| healthy(records, "steady").next().is_some_and(|record| record.id != first.id);
    controller.until("the other one is told of", is_heard).await;
    controller.set_table(table(2, vec![]));
    let all_over = |records: &Records| records.values().all(|record| record.state.is_terminal());
    controller.until("all is over", all_over).await;
}
