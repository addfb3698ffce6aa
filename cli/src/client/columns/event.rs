//! Events.

use muster_common::event::{Event, EventTag, EventType};

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
            let states = [EventTag::CurrentState, EventTag::State, EventTag::Contact];
            Cell::text(states.into_iter().find_map(|tag| event.text(tag)).unwrap_or_default())
        }),
        Column::new("WHERE", |event, _| Cell::text(place(event))),
        Column::new("ERROR", |event, _| {
            Cell::text(event.text(EventTag::Error).unwrap_or_default()).toned(Tone::Bad)
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
    let named = |tag| event.text(tag).unwrap_or_default().into_owned();
    let id = |tag| shown(named(tag));
    match event.kind {
        EventType::LocalServiceStateChange => named(EventTag::LocalServiceId),
        EventType::LocalServiceInstanceStateChange => {
            format!("{} of {}", id(EventTag::InstanceId), named(EventTag::ServiceId))
        }
        EventType::InstanceExec => {
            let (program, user) = (named(EventTag::Program), named(EventTag::User));
            format!("{program} beside {} by {user}", id(EventTag::InstanceId))
        }
        EventType::OperationStateChange => {
            let (kind, service) = (named(EventTag::Type), named(EventTag::ServiceId));
            format!("{kind} of {service} ({})", id(EventTag::OperationId))
        }
        EventType::ExecutorAdded
        | EventType::ExecutorRemoved
        | EventType::ExecutorUnknown
        | EventType::ExecutorFound
        | EventType::ExecutorBlacklistRequested
        | EventType::ExecutorBlacklisted
        | EventType::ExecutorUnBlacklisted
        | EventType::ExecutorDrainRequested => named(EventTag::ExecutorId),
        EventType::LeadershipAcquired
        | EventType::LeadershipLost
        | EventType::MaintenanceModeSet
        | EventType::MaintenanceModeRemoved => named(EventTag::Hostname),
    }
}

fn place(event: &Event) -> String {
    match event.kind {
        EventType::LocalServiceInstanceStateChange | EventType::InstanceExec => {
            event.text(EventTag::ExecutorId).unwrap_or_default().into_owned()
        }
        EventType::ExecutorAdded
        | EventType::ExecutorRemoved
        | EventType::ExecutorUnknown
        | EventType::ExecutorFound
        | EventType::ExecutorBlacklistRequested
        | EventType::ExecutorBlacklisted
        | EventType::ExecutorUnBlacklisted
        | EventType::ExecutorDrainRequested => {
            event.text(EventTag::Hostname).unwrap_or_default().into_owned()
        }
        EventType::LocalServiceStateChange
        | EventType::OperationStateChange
        | EventType::LeadershipAcquired
        | EventType::LeadershipLost
        | EventType::MaintenanceModeSet
        | EventType::MaintenanceModeRemoved => String::new(),
    }
}
