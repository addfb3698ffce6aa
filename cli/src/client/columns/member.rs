//! Controllers.

use muster_common::cluster::{ControllerInfo, ControllerRole};

use crate::client::screen::Tone;
use crate::client::table::{Cell, Column, Listed, real};

impl Listed for ControllerInfo {
    const NONE: &'static str = "this controller is in no group yet; its log says what it waits for";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("ID", |member, _| Cell::count(member.id)),
        Column::new("ROLE", |member, _| Cell::text(member.role.as_str()).toned(tone(member.role))),
        Column::new("CLUSTER ADDRESS", |member, _| Cell::text(&member.cluster)),
        Column::new("API", |member, _| Cell::text(&member.api)),
        Column::new("LAST LOG", |member, _| known(member.last_log)),
        Column::new("LAG", |member, _| known(member.lag)),
        Column::new("SILENT", |member, _| member.silent_ms.map_or_else(|| Cell::text(""), silent)),
    ];

    fn id(&self) -> String {
        self.id.to_string()
    }
}

fn tone(role: ControllerRole) -> Tone {
    match role {
        ControllerRole::Leader => Tone::Good,
        ControllerRole::Voter => Tone::Plain,
        ControllerRole::Learner => Tone::Busy,
    }
}

fn known(number: Option<u64>) -> Cell {
    number.map_or_else(|| Cell::text("?"), Cell::count)
}

fn silent(ms: u64) -> Cell {
    Cell::ranked(format!("{}.{}s", ms / 1000, ms % 1000 / 100), real(ms))
}
