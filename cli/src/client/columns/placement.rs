//! Where a service belongs.

use muster_common::placement::ExecutorPlacement;

use crate::client::screen::Tone;
use crate::client::table::{Cell, Column, Listed};

impl Listed for ExecutorPlacement {
    const NONE: &'static str = "no executor has registered yet";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("EXECUTOR", |place, _| Cell::text(&place.executor_id)),
        Column::new("HOST", |place, _| Cell::text(&place.hostname)),
        Column::new("STATE", |place, _| Cell::text(place.state.as_str())),
        Column::new("WANTED", |place, _| Cell::count(place.wanted.into())),
        Column::new("LIVE", |place, _| {
            let tone = if place.live < place.wanted { Tone::Bad } else { Tone::Plain };
            Cell::count(place.live.into()).toned(tone)
        }),
        Column::new("WHY NOT HERE", |place, _| {
            let reasons: Vec<&str> = place.reasons.iter().map(|reason| reason.message.as_str()).collect();
            Cell::text(reasons.join("; "))
        }),
    ];

    fn id(&self) -> String {
        self.executor_id.clone()
    }
}
