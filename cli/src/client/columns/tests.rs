//! What the tables look like.

use insta::assert_snapshot;
use muster_common::cluster::ControllerInfo;
use muster_common::event::Event;
use muster_common::executor::ExecutorSummary;
use muster_common::operation::OperationSummary;
use muster_common::placement::ExecutorPlacement;
use muster_common::service::ServiceSummary;

use super::Ended;
use crate::args::Output;
use crate::client::samples::{self, screen, wide_screen};
use crate::client::table::{Listed, list, sort};

fn shown<T: Listed>(output: Output, items: &[T]) -> String {
    list(output, items, &screen()).unwrap()
}

#[test]
fn services() {
    let services: Vec<ServiceSummary> = vec![samples::service(), samples::troubled_service()];
    assert_snapshot!("services", shown(Output::Table, &services));
    assert_snapshot!("services_wide", shown(Output::Wide, &services));
    assert_snapshot!("services_name", shown(Output::Name, &services));
    assert_snapshot!("services_yaml", shown(Output::Yaml, &services[..1]));
    assert_snapshot!("services_none", shown::<ServiceSummary>(Output::Table, &[]));
}

#[test]
fn instances() {
    let instances = vec![samples::healthy_instance(), samples::pending_instance()];
    assert_snapshot!("instances", shown(Output::Table, &instances));
    assert_snapshot!("instances_wide", shown(Output::Wide, &instances));
    assert_snapshot!("instances_old", shown(Output::Table, &[Ended(samples::ended_instance())]));
}

#[test]
fn executors() {
    let executors: Vec<ExecutorSummary> = samples::executors();
    assert_snapshot!("executors", shown(Output::Table, &executors));
    assert_snapshot!("executors_wide", shown(Output::Wide, &executors));
}

#[test]
fn operations() {
    let operations: Vec<OperationSummary> = vec![samples::operation_summary()];
    assert_snapshot!("operations", shown(Output::Table, &operations));
    assert_snapshot!("operations_wide", shown(Output::Wide, &operations));
}

#[test]
fn events() {
    let events: Vec<Event> = samples::events();
    assert_snapshot!("events", shown(Output::Table, &events));
    assert_snapshot!("events_wide", shown(Output::Wide, &events));
}

#[test]
fn members() {
    let members: Vec<ControllerInfo> = samples::members();
    assert_snapshot!("members", shown(Output::Table, &members));
}

#[test]
fn placement() {
    let places: Vec<ExecutorPlacement> = samples::places();
    assert_snapshot!("placement", shown(Output::Table, &places));
}

#[test]
fn a_narrow_terminal_is_never_overrun() {
    let instances = vec![samples::healthy_instance(), samples::pending_instance()];
    for width in [120, 80, 60] {
        let text = list(Output::Table, &instances, &wide_screen(width)).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= usize::from(width)), "{width}:\n{text}");
        assert_snapshot!(format!("instances_on_{width}"), text);
    }
}

#[test]
fn ids_can_be_copied_and_words_be_read_on_80_columns() {
    let mut events = samples::events();
    events[2].metadata.insert("OPERATION_ID".into(), "OP-306b7968-fc4b-4302-a3c2-3358ef709ea6".into());
    let mut operation = samples::operation_summary();
    operation.operation.message =
        "superseded by DEACTIVATE OP-306b7968-fc4b-4302-a3c2-3358ef709ea6".to_owned();
    let events = list(Output::Table, &events, &wide_screen(80)).unwrap();
    let operations = list(Output::Table, &[operation], &wide_screen(80)).unwrap();
    for text in [&events, &operations] {
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
    assert!(events.contains("(OP-306b7968)") && !events.contains("_STATE_CHANGE"), "{events}");
    assert!(operations.contains("OP-d8be7219") && operations.contains("UPDATE_SPEC"), "{operations}");
    assert_eq!(operations.matches('…').count(), 1, "a message is cut, not broken: {operations}");
}

#[test]
fn states_are_coloured_where_there_are_colours() {
    let colored = crate::client::screen::Screen { color: true, ..screen() };
    let text = list(Output::Table, &[samples::healthy_instance()], &colored).unwrap();
    assert!(text.contains("\u{1b}[38;5;2mHEALTHY"), "{text:?}");
    assert!(!shown(Output::Table, &[samples::healthy_instance()]).contains('\u{1b}'));
}

#[test]
fn columns_order_by_what_they_mean() {
    let ids = |by: &str| -> Vec<String> {
        let mut services = vec![samples::service(), samples::troubled_service()];
        sort(&mut services, by, &screen()).unwrap();
        services.into_iter().map(|service| service.id).collect()
    };
    assert_eq!(ids("id"), ["hello-1", "shipper-2"]);
    assert_eq!(ids("-id"), ["shipper-2", "hello-1"]);
    assert_eq!(ids("healthy"), ["shipper-2", "hello-1"], "what is missing first");
    assert_eq!(ids("PER HOST"), ids("per-host"));
    let mut none: Vec<ServiceSummary> = Vec::new();
    let error = sort(&mut none, "helthy", &screen()).unwrap_err();
    assert_eq!(error.exit, muster_common::exit::Exit::Usage);
    assert!(
        error.message.contains("did you mean 'healthy'?") && error.message.contains("per-host"),
        "{error}"
    );
}
