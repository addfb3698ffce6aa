//! What descriptions look like.

use insta::assert_snapshot;
use muster_common::executor::ExecutorState;

use super::*;
use crate::client::columns::Ended;
use crate::client::samples::{self, screen};

#[test]
fn a_service_that_is_well() {
    let facts = ServiceFacts {
        service: samples::service(),
        live: vec![samples::healthy_instance()],
        ended: Vec::new(),
        operations: Vec::new(),
        events: samples::events(),
    };
    assert_snapshot!(service(&facts, &screen()));
}

#[test]
fn a_service_in_trouble() {
    let facts = ServiceFacts {
        service: samples::troubled_service(),
        live: vec![samples::pending_instance()],
        ended: vec![Ended(samples::ended_instance())],
        operations: vec![samples::operation_summary()],
        events: Vec::new(),
    };
    assert_snapshot!(service(&facts, &screen()));
}

#[test]
fn a_service_that_is_destroyed() {
    let past = Past {
        service_id: "hello-1".to_owned(),
        state: muster_common::service::ServiceState::Destroyed,
        ended: vec![Ended(samples::ended_instance())],
        operations: Vec::new(),
        events: samples::events(),
    };
    assert_snapshot!(destroyed(&past, &screen()));
}

#[test]
fn instances_that_live_wait_and_ended() {
    assert_snapshot!("instance_healthy", instance(&samples::healthy_instance(), &[], &screen()));
    assert_snapshot!("instance_pending", instance(&samples::pending_instance(), &[], &screen()));
    assert_snapshot!("instance_ended", instance(&samples::ended_instance(), &samples::events(), &screen()));
}

#[test]
fn an_executor_that_is_drained() {
    assert_snapshot!(executor(&samples::executor_node(), &[], &screen()));
}

#[test]
fn an_executor_that_was_removed() {
    let mut removed = samples::executors().remove(1);
    removed.state = ExecutorState::Removed;
    assert_snapshot!(removed_executor(&removed, &samples::events(), &screen()));
}

#[test]
fn an_operation_at_work_and_one_that_failed() {
    let running = samples::operation_summary().operation;
    assert_snapshot!("operation_running", operation(&running, &screen()));
    assert_snapshot!("operation_failed", operation(&samples::failed_operation(), &screen()));
}

#[test]
fn what_workloads_wrote_steers_no_terminal() {
    let mut bad = samples::ended_instance();
    bad.error_message = "\u{1b}[2Jgone".to_owned();
    if let Some(evidence) = &mut bad.evidence {
        evidence.log_tail = "\u{1b}]0;title\u{7}\n".to_owned();
    }
    assert!(!instance(&bad, &[], &screen()).contains('\u{1b}'));
}
