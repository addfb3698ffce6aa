//! Events.

use muster_common::event::{Event, EventTag, EventType};

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

/// What it is about.
fn subject(event: &Event) -> String {
    let named = |tag| event.text(tag).unwrap_or_default().into_owned();
    match event.kind {
        EventType::LocalServiceStateChange => named(EventTag::LocalServiceId),
        EventType::LocalServiceInstanceStateChange => {
            format!("{} of {}", named(EventTag::InstanceId), named(EventTag::ServiceId))
        }
        EventType::InstanceExec => {
            format!(
                "{} beside {} by {}",
                named(EventTag::Program),
                named(EventTag::InstanceId),
                named(EventTag::User)
            )
        }
        EventType::OperationStateChange => {
            format!(
                "{} of {} ({})",
                named(EventTag::Type),
                named(EventTag::ServiceId),
                named(EventTag::OperationId)
            )
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
