//! Executors.

use muster_common::executor::{ExecutorState, ExecutorSummary};

use crate::client::screen::Tone;
use crate::client::table::{Cell, Column, Listed};
use crate::client::words::used;

impl Listed for ExecutorSummary {
    const NONE: &'static str = "no executor has registered yet";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("EXECUTOR", |executor, _| Cell::text(&executor.executor_id)),
        Column::new("HOST", |executor, _| Cell::text(&executor.hostname)),
        Column::new("STATE", |executor, _| Cell::text(executor.state.as_str()).toned(tone(executor.state))),
        Column::new("CORES USED", |executor, _| used(executor.used_cores, executor.free_cores)),
        Column::new("MEMORY MB USED", |executor, _| used(executor.used_memory, executor.free_memory)),
        Column::wide("PORT", |executor, _| Cell::count(executor.port.into())),
        Column::new("TAGS", |executor, _| Cell::text(executor.tags.join(","))),
    ];

    fn id(&self) -> String {
        self.executor_id.clone()
    }
}

fn tone(state: ExecutorState) -> Tone {
    match state {
        ExecutorState::Active => Tone::Good,
        ExecutorState::BlacklistRequested | ExecutorState::Draining => Tone::Busy,
        ExecutorState::Unready => Tone::Bad,
        ExecutorState::Blacklisted | ExecutorState::Removed => Tone::Faint,
    }
}
