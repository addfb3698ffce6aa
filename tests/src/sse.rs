//! Server-sent events, as a client reads them.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use reqwest::blocking::{Client, Response};
use serde_json::Value;

/// Longer than any stream is silent: a heartbeat comes every ten seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// One event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sse {
    /// Its name.
    pub event: String,
    /// From where to go on, if it says so.
    pub id: Option<String>,
    /// What it says.
    pub data: Value,
}

/// The events of one stream, until it ends or breaks.
pub struct Events(BufReader<Response>);

impl Events {
    /// Opens `url`, going on from `last_event_id`.
    pub fn open(url: &str, last_event_id: Option<&str>) -> reqwest::Result<Self> {
        let http = Client::builder().no_proxy().timeout(None).connect_timeout(SILENCE).build()?;
        let mut request = http.get(url).header("Accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        Ok(Self(BufReader::new(request.send()?.error_for_status()?)))
    }
}

impl Iterator for Events {
    type Item = Sse;

    fn next(&mut self) -> Option<Sse> {
        let mut sse = Sse::default();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end_matches(['\r', '\n']);
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                // A comment: somebody is there.
                "" if !line.is_empty() => {}
                "" if sse != Sse::default() => return Some(sse),
                "event" => value.clone_into(&mut sse.event),
                "id" => sse.id = Some(value.to_owned()),
                "data" => sse.data = serde_json::from_str(value).ok()?,
                _ => {}
            }
        }
    }
}
