//! What is sent to whoever watches the cluster's events: server-sent events. One that happened bears the name of its
//! kind; beside those there are heartbeats, and the word that ends a stream.

use crate::event::{Event, EventType};

/// The name of a heartbeat: nothing happened up to the revision that its id says.
pub const HEARTBEAT: &str = "HEARTBEAT";

wire_enum! {
    /// Why a stream of events ends; the names of the last message.
    pub enum WatchEnd {
        /// What its reader asked for is forgotten, or never happened here.
        Compacted = "COMPACTED",
        /// It was read so slowly that what was not read is forgotten.
        SlowConsumer = "SLOW_CONSUMER",
        /// No majority answers this controller, so that events may happen elsewhere: another one may go on.
        NoLeader = "NO_LEADER",
        /// The controller is stopping: another one goes on from the same place.
        ShuttingDown = "SHUTTING_DOWN",
    }
}

/// One message of a stream of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchMessage {
    /// This happened.
    Event(Event),
    /// Something happened of a kind that only a later version knows.
    UnknownEvent,
    /// Nothing happened.
    Heartbeat,
    /// The stream is over.
    End(WatchEnd),
}

impl WatchMessage {
    /// What a message of this name and with this data says.
    pub fn decode(name: &str, data: &str) -> Result<Self, serde_json::Error> {
        if name == HEARTBEAT {
            return Ok(Self::Heartbeat);
        }
        if let Ok(end) = name.parse() {
            return Ok(Self::End(end));
        }
        if name.parse::<EventType>().is_err() {
            return Ok(Self::UnknownEvent);
        }
        serde_json::from_str(data).map(Self::Event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_stream_is_told_from_what_happened() {
        let read = |name: &str, data: &str| WatchMessage::decode(name, data).unwrap();
        assert_eq!(read("HEARTBEAT", "{}"), WatchMessage::Heartbeat);
        for end in WatchEnd::ALL {
            assert_eq!(read(end.as_str(), r#"{"resumeFrom":7}"#), WatchMessage::End(*end));
        }
        let event = r#"{"type":"EXECUTOR_ADDED","id":"x","time":1,"metadata":{},"revision":7}"#;
        assert!(matches!(read("EXECUTOR_ADDED", event), WatchMessage::Event(event) if event.revision.0 == 7));
        assert_eq!(read("NEWER_KIND", r#"{"type":"NEWER_KIND"}"#), WatchMessage::UnknownEvent);
        assert!(
            WatchMessage::decode("EXECUTOR_ADDED", "{}").is_err(),
            "nothing is passed over without a word"
        );
    }

    #[test]
    fn no_kind_of_event_has_the_name_of_something_else() {
        for kind in EventType::ALL {
            assert!(kind.as_str() != HEARTBEAT && kind.as_str().parse::<WatchEnd>().is_err(), "{kind}");
        }
    }
}
