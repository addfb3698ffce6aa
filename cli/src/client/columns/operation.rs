//! Operations, as lists show them.

use std::fmt::Write as _;

use muster_common::operation::{OperationSummary, SlotOutcome};

use crate::client::table::{Cell, Column, Listed};
use crate::client::words::{age_cell, span, tone_of_operation};

impl Listed for OperationSummary {
    const NONE: &'static str = "no operations are kept";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("OPERATION", |summary, _| Cell::id(summary.operation.id.as_str())),
        Column::new("KIND", |summary, _| Cell::text(summary.operation.kind.as_str())),
        Column::new("SERVICE", |summary, _| Cell::text(summary.operation.service.as_str())),
        Column::new("STATE", |summary, _| {
            Cell::text(summary.operation.state.as_str()).toned(tone_of_operation(summary.operation.state))
        }),
        Column::new("PROGRESS", |summary, _| Cell::text(progress(summary))),
        Column::wide("BY", |summary, _| Cell::text(&summary.operation.by)),
        Column::wide("TOOK", |summary, _| {
            let operation = &summary.operation;
            Cell::text(operation.finished.map(|end| span(end.since(operation.created))).unwrap_or_default())
        }),
        Column::new("AGE", |summary, screen| age_cell(summary.operation.created, screen)),
        Column::new("MESSAGE", |summary, _| Cell::text(&summary.operation.message)),
    ];

    fn id(&self) -> String {
        self.operation.id.to_string()
    }
}

/// `3/8 done, 1 away`.
pub(crate) fn progress(summary: &OperationSummary) -> String {
    let all: usize = summary.outcomes.values().sum();
    if all == 0 {
        return String::new();
    }
    let count = |outcome| summary.outcomes.get(&outcome).copied().unwrap_or_default();
    let mut text = format!("{}/{all} done", count(SlotOutcome::Done));
    for (outcome, word) in [
        (SlotOutcome::Failed, "failed"),
        (SlotOutcome::Away, "away"),
        (SlotOutcome::RolledBack, "rolled back"),
    ] {
        if count(outcome) > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {} {word}", count(outcome));
        }
    }
    text
}
