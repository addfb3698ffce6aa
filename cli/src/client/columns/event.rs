//! Events.

use muster_common::event::{Event, EventType};
use serde_json::Value;

use crate::client::screen::Tone;
use crate::client::table::{Cell, Column, Listed, real};

impl Listed for Event {
    const NONE: &'static str = "no events are kept that match";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("TIME", |event, _| Cell::ranked(event.time.to_string(), real(event.time.as_ms()))),
        Column::wide("REVISION", |event, _| Cell::count(event.revision.0)),
        Column::new("TYPE", |event, _| Cell::text(event.kind.as_str())),
        Column::new("WHAT", |event, _| Cell::text(subject(event))),
        Column::new("STATE", |event, _| {
            let states = ["CURRENT_STATE", "STATE", "CONTACT"];
            Cell::text(states.iter().find_map(|name| text(event, name)).unwrap_or_default())
        }),
        Column::new("WHERE", |event, _| Cell::text(place(event))),
        Column::new("ERROR", |event, _| {
            Cell::text(text(event, "ERROR").unwrap_or_default()).toned(Tone::Bad)
        }),
    ];

    fn id(&self) -> String {
        self.id.clone()
    }
}

/// What it is about.
fn subject(event: &Event) -> String {
    let named = |name| text(event, name).unwrap_or_default();
    match event.kind {
        EventType::LocalServiceStateChange => named("LOCAL_SERVICE_ID"),
        EventType::LocalServiceInstanceStateChange => {
            format!("{} of {}", named("INSTANCE_ID"), named("SERVICE_ID"))
        }
        EventType::InstanceExec => {
            format!("{} beside {} by {}", named("PROGRAM"), named("INSTANCE_ID"), named("USER"))
        }
        EventType::OperationStateChange => {
            format!("{} of {} ({})", named("TYPE"), named("SERVICE_ID"), named("OPERATION_ID"))
        }
        EventType::ExecutorAdded
        | EventType::ExecutorRemoved
        | EventType::ExecutorUnknown
        | EventType::ExecutorFound
        | EventType::ExecutorBlacklistRequested
        | EventType::ExecutorBlacklisted
        | EventType::ExecutorUnBlacklisted
        | EventType::ExecutorDrainRequested => named("EXECUTOR_ID"),
        EventType::LeadershipAcquired
        | EventType::LeadershipLost
        | EventType::MaintenanceModeSet
        | EventType::MaintenanceModeRemoved => named("HOSTNAME"),
    }
}

fn place(event: &Event) -> String {
    match event.kind {
        EventType::LocalServiceInstanceStateChange | EventType::InstanceExec => {
            text(event, "EXECUTOR_ID").unwrap_or_default()
        }
        EventType::ExecutorAdded
        | EventType::ExecutorRemoved
        | EventType::ExecutorUnknown
        | EventType::ExecutorFound
        | EventType::ExecutorBlacklistRequested
        | EventType::ExecutorBlacklisted
        | EventType::ExecutorUnBlacklisted
        | EventType::ExecutorDrainRequested => text(event, "HOSTNAME").unwrap_or_default(),
        EventType::LocalServiceStateChange
        | EventType::OperationStateChange
        | EventType::LeadershipAcquired
        | EventType::LeadershipLost
        | EventType::MaintenanceModeSet
        | EventType::MaintenanceModeRemoved => String::new(),
    }
}

fn text(event: &Event, name: &str) -> Option<String> {
    match event.metadata.get(name)? {
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
