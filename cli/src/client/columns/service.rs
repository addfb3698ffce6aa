//! Services.

use muster_common::service::ServiceSummary;

use crate::client::screen::Tone;
use crate::client::table::{Cell, Column, Listed, real};
use crate::client::words::{age_cell, tone_of_service};

impl Listed for ServiceSummary {
    const NONE: &'static str = "no services; deploy one with 'muster apply FILE'";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("ID", |service, _| Cell::text(&service.id)),
        Column::new("STATE", |service, _| {
            Cell::text(service.state.as_str()).toned(tone_of_service(service.state))
        }),
        Column::new("HEALTHY", |service, _| healthy(service)),
        Column::new("PER HOST", |service, _| Cell::count(service.instances_per_host.into())),
        Column::wide("CPUS", |service, _| {
            Cell::ranked(service.total_cpus.to_string(), service.total_cpus.as_f64().unwrap_or_default())
        }),
        Column::wide("MEMORY MB", |service, _| Cell::count(service.total_memory)),
        Column::wide("AWAY", |service, _| Cell::count(service.away_instances)),
        Column::wide("GAVE UP", |service, _| Cell::count(service.failed_instances)),
        Column::wide("GENERATION", |service, _| Cell::count(service.generation.0)),
        Column::wide("TAGS", |service, _| Cell::text(tags(service))),
        Column::new("AGE", |service, screen| age_cell(service.created, screen)),
        Column::new("PROBLEM", |service, _| {
            Cell::text(service.problems.first().map_or("", String::as_str)).toned(Tone::Bad)
        }),
    ];

    fn id(&self) -> String {
        self.id.clone()
    }
}

/// `2/3`, ordered by what is missing.
fn healthy(service: &ServiceSummary) -> Cell {
    let (healthy, required) = (service.healthy_instances, service.required_instances);
    let tone = if healthy >= required { Tone::Plain } else { Tone::Bad };
    let share = if required == 0 { 1.0 } else { real(healthy) / real(required) };
    Cell::ranked(format!("{healthy}/{required}"), share).toned(tone)
}

fn tags(service: &ServiceSummary) -> String {
    let tags: Vec<String> = service.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    tags.join(",")
}
