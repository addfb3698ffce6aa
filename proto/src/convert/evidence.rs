//! Timelines, probe results and how a workload ended.

use muster_common::evidence::{
    Evidence, MAX_LOG_TAIL_BYTES, MAX_MESSAGE_BYTES, MAX_PROBE_ANSWER_BYTES, ProbeRecord, Repeats,
    Transition, head, tail,
};
use muster_common::reason::Reason;
use muster_common::time::Timestamp;

use super::{Fields, Malformed};
use crate::v1;

impl From<&Transition> for v1::Transition {
    fn from(transition: &Transition) -> Self {
        Self {
            at_ms: transition.at.as_ms(),
            from: transition.from.to_string(),
            to: transition.to.to_string(),
            reason: reason_name(transition.reason),
            message: head(&transition.message, MAX_MESSAGE_BYTES).to_owned(),
            repeats: transition
                .repeats
                .map(|Repeats { times, last }| v1::Repeats { times, last_ms: last.as_ms() }),
        }
    }
}

impl TryFrom<v1::Transition> for Transition {
    type Error = Malformed;

    fn try_from(message: v1::Transition) -> Result<Self, Malformed> {
        let fields = Fields("Transition");
        Ok(Self {
            at: Timestamp(message.at_ms),
            from: fields.parse("from", &message.from)?,
            to: fields.parse("to", &message.to)?,
            reason: fields.parse_optional("reason", &message.reason)?,
            message: fields.text("message", message.message, MAX_MESSAGE_BYTES)?,
            repeats: message
                .repeats
                .map(|v1::Repeats { times, last_ms }| Repeats { times, last: Timestamp(last_ms) }),
        })
    }
}

impl From<&ProbeRecord> for v1::ProbeRecord {
    fn from(record: &ProbeRecord) -> Self {
        Self {
            at_ms: record.at.as_ms(),
            kind: record.kind.to_string(),
            passed: record.passed,
            latency_ms: record.latency_ms,
            code: record.code,
            answer: head(&record.answer, MAX_PROBE_ANSWER_BYTES).to_owned(),
        }
    }
}

impl TryFrom<v1::ProbeRecord> for ProbeRecord {
    type Error = Malformed;

    fn try_from(message: v1::ProbeRecord) -> Result<Self, Malformed> {
        let fields = Fields("ProbeRecord");
        Ok(Self {
            at: Timestamp(message.at_ms),
            kind: fields.parse("kind", &message.kind)?,
            passed: message.passed,
            latency_ms: message.latency_ms,
            code: message.code,
            answer: fields.text("answer", message.answer, MAX_PROBE_ANSWER_BYTES)?,
        })
    }
}

impl From<&Evidence> for v1::Evidence {
    fn from(evidence: &Evidence) -> Self {
        Self {
            exit_code: evidence.exit_code,
            signal: evidence.signal,
            oom_killed: evidence.oom_killed,
            log_tail: tail(&evidence.log_tail, MAX_LOG_TAIL_BYTES).to_owned(),
        }
    }
}

impl TryFrom<v1::Evidence> for Evidence {
    type Error = Malformed;

    fn try_from(message: v1::Evidence) -> Result<Self, Malformed> {
        Ok(Self {
            exit_code: message.exit_code,
            signal: message.signal,
            oom_killed: message.oom_killed,
            log_tail: Fields("Evidence").text("log_tail", message.log_tail, MAX_LOG_TAIL_BYTES)?,
        })
    }
}

/// A reason's wire name; empty means none.
pub(super) fn reason_name(reason: Option<Reason>) -> String {
    reason.map_or("", Reason::as_str).to_owned()
}
