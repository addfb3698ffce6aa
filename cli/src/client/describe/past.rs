//! A service that is destroyed: what is left of it.

use muster_common::event::Event;
use muster_common::operation::OperationSummary;
use muster_common::service::ServiceState;
use serde::Serialize;

use super::page::Page;
use crate::client::columns::Ended;
use crate::client::screen::Screen;
use crate::client::table::table;
use crate::client::words::{age, tone_of_service};

/// What is known of what a service was.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Past {
    pub(crate) service_id: String,
    pub(crate) state: ServiceState,
    /// Some that ended, newest last.
    pub(crate) ended: Vec<Ended>,
    /// Newest first.
    pub(crate) operations: Vec<OperationSummary>,
    /// Oldest first.
    pub(crate) events: Vec<Event>,
}

pub(crate) fn destroyed(past: &Past, screen: &Screen) -> String {
    let id = &past.service_id;
    let mut page = Page::new(screen);
    page.field("Service", id);
    page.toned("State", tone_of_service(past.state), past.state.as_str());
    let newest = past.operations.first().map(|summary| &summary.operation);
    let when = newest.and_then(|newest| newest.finished).map(|end| age(end, screen));
    let when = when.map(|age| format!(" The last thing that was asked of it was over {age} ago."));
    page.paragraph(&[format!("It was destroyed.{}", when.unwrap_or_default())]);
    if !past.ended.is_empty() {
        page.section("Ended (newest last)", &table(&past.ended, false, screen));
    }
    if !past.operations.is_empty() {
        page.section("Operations (newest first)", &table(&past.operations, false, screen));
    }
    if !past.events.is_empty() {
        page.section("Events (newest last)", &table(&past.events, false, screen));
    }
    page.next(&[
        (format!("muster get instances {id} --old"), "all that ended, with the reason"),
        (format!("muster logs {id} --previous"), "what the last one wrote"),
        (format!("muster ops {id}"), "what was asked of it"),
    ])
}
