//! Instances: those that live, and those that ended.

use muster_common::instance::InstanceInfo;
use serde::Serialize;

use crate::client::table::{Cell, Column, Listed};
use crate::client::words::{age_cell, ending, ports, tone_of_error, tone_of_instance};

impl Listed for InstanceInfo {
    const NONE: &'static str = "no instances; those that ended are under --old";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("INSTANCE", |instance, _| Cell::id(&instance.instance_id)),
        Column::new("SERVICE", |instance, _| Cell::text(&instance.service_id)),
        Column::new("EXECUTOR", |instance, _| Cell::text(&instance.executor_id)),
        Column::wide("SLOT", |instance, _| Cell::count(instance.slot_index.into())),
        Column::new("STATE", |instance, _| state(instance)),
        Column::wide("REASON", |instance, _| reason(instance)),
        Column::new("PORTS", |instance, _| Cell::text(ports(instance))),
        Column::wide("RUNNER", |instance, _| Cell::text(instance.runner.as_str())),
        Column::wide("EPOCH", |instance, _| Cell::count(instance.epoch.0)),
        Column::wide("GENERATION", |instance, _| Cell::count(instance.generation.0)),
        Column::new("AGE", |instance, screen| age_cell(instance.created, screen)),
        Column::new("ERROR", |instance, _| error(instance)),
    ];

    fn id(&self) -> String {
        self.instance_id.clone()
    }
}

/// An instance that is over.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Ended(pub(crate) InstanceInfo);

impl Listed for Ended {
    const NONE: &'static str = "no instance has ended within the retention time";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("INSTANCE", |ended, _| Cell::id(&ended.0.instance_id)),
        Column::new("SERVICE", |ended, _| Cell::text(&ended.0.service_id)),
        Column::new("EXECUTOR", |ended, _| Cell::text(&ended.0.executor_id)),
        Column::wide("SLOT", |ended, _| Cell::count(ended.0.slot_index.into())),
        Column::new("STATE", |ended, _| state(&ended.0)),
        Column::new("REASON", |ended, _| reason(&ended.0)),
        Column::new("ENDED", |ended, _| {
            Cell::text(ended.0.evidence.as_ref().map(ending).unwrap_or_default())
        }),
        Column::wide("GENERATION", |ended, _| Cell::count(ended.0.generation.0)),
        Column::new("AGO", |ended, screen| age_cell(ended.0.updated, screen)),
        Column::new("ERROR", |ended, _| error(&ended.0)),
    ];

    fn id(&self) -> String {
        self.0.instance_id.clone()
    }
}

fn state(instance: &InstanceInfo) -> Cell {
    Cell::text(instance.state.as_str()).toned(tone_of_instance(instance.state))
}

fn error(instance: &InstanceInfo) -> Cell {
    Cell::text(&instance.error_message).toned(tone_of_error(instance.reason))
}

fn reason(instance: &InstanceInfo) -> Cell {
    Cell::text(instance.reason.map_or("", |reason| reason.as_str()))
}
