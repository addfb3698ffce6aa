//! Events.

use muster_common::event::{Event, EventType};
use serde_json::Value;

use crate::client::screen::Tone;
use crate::client::table::{Cell, Column, Listed, real, short_id};
use crate::client::words::age;

impl Listed for Event {
    const NONE: &'static str = "no events are kept that match";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("TIME", |event, screen| {
            let time = Cell::ranked(event.time.to_string(), real(event.time.as_ms()));
            time.or(format!("{} ago", age(event.time, screen)))
        }),
        Column::wide("REVISION", |event, _| Cell::count(event.revision.0)),
        Column::new("TYPE", |event, _| Cell::text(event.kind.as_str()).or(brief(event.kind))),
        Column::new("WHAT", |event, _| {
            Cell::text(subject(event, |id| id)).or(subject(event, |id| short_id(&id).to_owned()))
        }),
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

/// The kind without what others have as well.
fn brief(kind: EventType) -> &'static str {
    let kind = kind.as_str();
    kind.strip_suffix("_STATE_CHANGE").map_or(kind, |kind| kind.strip_prefix("LOCAL_").unwrap_or(kind))
}

/// What it is about; ids as they are to be shown.
fn subject(event: &Event, shown: impl Fn(String) -> String) -> String {
    let named = |name| text(event, name).unwrap_or_default();
    let id = |name| shown(named(name));
    match event.kind {
        EventType::LocalServiceStateChange => named("LOCAL_SERVICE_ID"),
        EventType::LocalServiceInstanceStateChange => {
            format!("{} of {}", id("INSTANCE_ID"), named("SERVICE_ID"))
        }
        EventType::InstanceExec => {
            format!("{} beside {} by {}", named("PROGRAM"), id("INSTANCE_ID"), named("USER"))
        }
        EventType::OperationStateChange => {
            format!("{} of {} ({})", named("TYPE"), named("SERVICE_ID"), id("OPERATION_ID"))
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
