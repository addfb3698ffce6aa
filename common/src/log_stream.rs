//! What is sent to whoever reads logs as they are written: server-sent events, each with a name and with data as JSON.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::id::InstanceId;

wire_enum! {
    /// The names of the events of a log.
    pub enum LogEventKind {
        /// Something was written.
        Lines = "lines",
        /// The instance is over, and all is read.
        End = "end",
        /// The node cannot be read.
        Unavailable = "unavailable",
    }
}

/// One message of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogMessage {
    /// Whose log it is, where several are in one stream; none: it is about the whole stream.
    pub source: Option<LogSource>,
    /// What is said of it.
    pub event: LogEvent,
}

/// Whose log it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogSource {
    /// The instance.
    pub instance_id: InstanceId,
    /// Where it runs; empty where that is not known any more.
    pub executor_id: String,
    /// That machine's name; empty where it is not known.
    pub hostname: String,
}

/// What a reader of a log is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    /// This was written.
    Lines(LogLines),
    /// The instance is over, and all is read.
    End,
    /// The node cannot be read, for this reason.
    Unavailable(String),
}

/// What was written.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LogLines {
    /// The text; not always whole lines.
    pub text: String,
    /// The place from which to go on.
    pub next_position: Option<String>,
    /// Something before it is not there any more.
    pub is_after_gap: bool,
    /// Why there may be more than could be read; empty: there is no trouble.
    pub trouble: String,
}

/// A message that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableLogMessage {
    /// It is no JSON, or not such.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Its kind of event needs it.
    #[error("it has no {0}")]
    Missing(&'static str),
}

/// The data of a message, of whichever event.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<InstanceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    executor_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_position: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    gap: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    trouble: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl LogEvent {
    /// Its name.
    #[must_use]
    pub const fn kind(&self) -> LogEventKind {
        match self {
            Self::Lines(_) => LogEventKind::Lines,
            Self::End => LogEventKind::End,
            Self::Unavailable(_) => LogEventKind::Unavailable,
        }
    }
}

impl LogMessage {
    /// Its data. A JSON text has no line breaks, and these are always JSON.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut data = Data::default();
        if let Some(LogSource { instance_id, executor_id, hostname }) = self.source.clone() {
            data.instance_id = Some(instance_id);
            data.executor_id = Some(executor_id);
            data.hostname = Some(hostname);
        }
        match &self.event {
            LogEvent::Lines(LogLines { text, next_position, is_after_gap, trouble }) => {
                data.text = Some(text.into());
                data.next_position.clone_from(next_position);
                data.gap = *is_after_gap;
                data.trouble.clone_from(trouble);
            }
            LogEvent::End => {}
            LogEvent::Unavailable(why) => data.message = Some(why.clone()),
        }
        serde_json::to_string(&data).unwrap_or_default()
    }

    /// What a message of this name and with this data says; none where only a later version knows its name.
    pub fn decode(name: &str, data: &str) -> Result<Option<Self>, UnreadableLogMessage> {
        let Ok(kind) = name.parse::<LogEventKind>() else { return Ok(None) };
        let data: Data<'_> = serde_json::from_str(data)?;
        let source = data.instance_id.map(|instance_id| LogSource {
            instance_id,
            executor_id: data.executor_id.unwrap_or_default(),
            hostname: data.hostname.unwrap_or_default(),
        });
        let event = match kind {
            LogEventKind::Lines => LogEvent::Lines(LogLines {
                text: data.text.ok_or(UnreadableLogMessage::Missing("text"))?.into_owned(),
                next_position: data.next_position,
                is_after_gap: data.gap,
                trouble: data.trouble,
            }),
            LogEventKind::End => LogEvent::End,
            LogEventKind::Unavailable => {
                LogEvent::Unavailable(data.message.ok_or(UnreadableLogMessage::Missing("message"))?)
            }
        };
        Ok(Some(Self { source, event }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::strategy::instance_id;

    fn lines(text: &str) -> LogEvent {
        LogEvent::Lines(LogLines { text: text.to_owned(), ..LogLines::default() })
    }

    #[test]
    fn messages_are_as_the_wire_has_them() {
        let source = LogSource {
            instance_id: InstanceId::new("SI-1").unwrap(),
            executor_id: "e1".to_owned(),
            hostname: "host-1".to_owned(),
        };
        let said = LogLines { next_position: Some("0.2".to_owned()), ..LogLines::default() };
        let table = [
            (
                LogEvent::Lines(LogLines { text: "a\n".to_owned(), ..said.clone() }),
                r#"{"text":"a\n","nextPosition":"0.2"}"#,
            ),
            (
                LogEvent::Lines(LogLines { is_after_gap: true, trouble: "slow".to_owned(), ..said }),
                r#"{"text":"","nextPosition":"0.2","gap":true,"trouble":"slow"}"#,
            ),
            (LogEvent::End, "{}"),
            (LogEvent::Unavailable("away".to_owned()), r#"{"message":"away"}"#),
        ];
        for (event, data) in table {
            let kind = event.kind();
            let alone = LogMessage { source: None, event };
            assert_eq!(alone.encode(), data);
            assert_eq!(LogMessage::decode(kind.as_str(), data).unwrap(), Some(alone.clone()));
            let of_one = LogMessage { source: Some(source.clone()), ..alone };
            let rest = data.trim_start_matches('{');
            let comma = if rest == "}" { "" } else { "," };
            let named = r#"{"instanceId":"SI-1","executorId":"e1","hostname":"host-1""#;
            assert_eq!(of_one.encode(), format!("{named}{comma}{rest}"));
        }
    }

    #[test]
    fn what_cannot_be_understood_is_an_error_and_what_later_versions_say_is_not() {
        assert!(LogMessage::decode("later", "x").unwrap().is_none());
        for (name, data) in [
            ("lines", ""),
            ("lines", "{"),
            ("lines", "{}"),
            ("unavailable", "{}"),
            ("lines", r#"{"text":1}"#),
        ] {
            assert!(LogMessage::decode(name, data).is_err(), "{name} {data}");
        }
        let unnamed = LogMessage::decode("lines", r#"{"text":"a","instanceId":"a/b"}"#).unwrap_err();
        assert!(unnamed.to_string().contains("instance id"), "{unnamed}");
        assert_eq!(
            LogMessage::decode("lines", r#"{"text":"a","later":1}"#).unwrap().unwrap().event,
            lines("a")
        );
    }

    proptest! {
        #[test]
        fn a_message_is_read_as_it_was_written(
            source in prop::option::of((instance_id(), "\\PC{0,9}", "\\PC{0,9}")),
            (text, trouble) in (any::<String>(), "\\PC{0,9}"),
            next_position in prop::option::of("[0-9]{1,9}\\.[0-9]{1,9}"),
            is_after_gap in any::<bool>(),
        ) {
            let source = source.map(|(instance_id, executor_id, hostname)| LogSource { instance_id, executor_id, hostname });
            let said = LogLines { text: text.clone(), next_position, is_after_gap, trouble };
            for event in [LogEvent::Lines(said.clone()), LogEvent::End, LogEvent::Unavailable(text.clone())] {
                let message = LogMessage { source: source.clone(), event };
                let (name, data) = (message.event.kind(), message.encode());
                prop_assert!(!data.contains('\n'));
                prop_assert_eq!(LogMessage::decode(name.as_str(), &data).unwrap(), Some(message));
            }
        }
    }
}
