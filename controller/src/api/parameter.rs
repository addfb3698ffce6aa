//! What calls read beside their path and body: parameters of the query, and headers. Each is named once, here: handlers
//! read by it, and the description of the API lists it. A call is asked for nothing that is not listed for it, which
//! every test notices.

use std::borrow::Cow;

use muster_common::event::EventType;
use muster_common::instance::InstanceState;
use muster_common::operation::OperationState;
use muster_common::reason::Reason;
use muster_common::rest;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// Makes the schema of a type, and of all that it is made of.
pub(super) type Maker = fn(&mut SchemaGenerator) -> Schema;

pub(super) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The schema of a number of bytes for which -1 stands where none is given, as Drove's clients write it.
struct FromMinusOne;

impl JsonSchema for FromMinusOne {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "FromMinusOne".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "format": "int64", "minimum": -1, "maximum": i64::MAX })
    }
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Query,
    Header,
}

/// A parameter in the query or a header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameter {
    pub(super) place: Place,
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) schema: Maker,
    pub(super) is_repeated: bool,
    pub(super) is_required: bool,
}

impl Parameter {
    /// `?name=`, at most once.
    const fn query<T: JsonSchema>(name: &'static str, description: &'static str) -> Self {
        let schema = schema_of::<T>;
        Self { place: Place::Query, name, description, schema, is_repeated: false, is_required: false }
    }

    /// A header.
    const fn header<T: JsonSchema>(name: &'static str, description: &'static str) -> Self {
        Self { place: Place::Header, ..Self::query::<T>(name, description) }
    }

    /// May be given several times.
    const fn repeated(self) -> Self {
        Self { is_repeated: true, ..self }
    }

    /// Must be given.
    const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    /// Whether `other` says the same: names alone are used for different things.
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.place, self.name, self.description) == (other.place, other.name, other.description)
    }
}

pub(super) const STALE: Parameter =
    Parameter::query::<bool>("stale", "Answer from what this controller has, be it behind or alone");

// ---- lists

pub(super) const FROM: Parameter = Parameter::query::<u32>("from", "How many to leave out");
pub(super) const SIZE: Parameter = Parameter::query::<u32>("size", "How many to give at most");
pub(super) const EXECUTOR: Parameter =
    Parameter::query::<String>("executor", "Only those on one of these executors").repeated();
pub(super) const SERVICE: Parameter =
    Parameter::query::<String>("service", "Only those of one of these services").repeated();
pub(super) const OPERATION_STATE: Parameter =
    Parameter::query::<OperationState>("state", "Only those in one of these states").repeated();

// ---- instances

pub(super) const STATE: Parameter =
    Parameter::query::<InstanceState>("state", "Only those in one of these states").repeated();
pub(super) const REASON: Parameter =
    Parameter::query::<Reason>("reason", "Only those that ended for one of these reasons").repeated();
pub(super) const SINCE: Parameter =
    Parameter::query::<u64>("since", "Only those that changed since this time, in ms since 1970");
pub(super) const ID_PREFIX: Parameter =
    Parameter::query::<String>("idPrefix", "How their ids begin, with or without SI-");
pub(super) const LABEL: Parameter =
    Parameter::query::<String>("label", "A tag of their service: key, or key=value").repeated();
pub(super) const DETAIL: Parameter = Parameter::query::<bool>("detail", "With timeline, checks and evidence");
pub(super) const OLD: Parameter = Parameter::query::<bool>("old", "Also those that ended");

// ---- services and executors

pub(super) const KNOWN: Parameter = Parameter::header::<String>(
    "If-None-Match",
    "The generation that the caller knows: 304 while it is that",
);
pub(super) const WANTED: Parameter =
    Parameter::header::<String>("If-Match", "Only while the service is of this generation: else 412");
pub(super) const KEY: Parameter = Parameter::header::<String>(
    rest::IDEMPOTENCY_KEY,
    "A call that comes again under its key is the same operation",
);
pub(super) const EXECUTORS: Parameter = Parameter::query::<String>("id", "An executor").repeated().required();
pub(super) const INSTANCES_PER_HOST: Parameter =
    Parameter::query::<u8>("instancesPerHost", "How many each executor is to hold, 1 to 256");
pub(super) const DETAIL_PLACES: Parameter = Parameter::query::<bool>("detail", "Name each place");

// ---- events

pub(super) const SINCE_TIME: Parameter =
    Parameter::query::<u64>("lastSyncTime", "Only events after this time, in ms since 1970");
pub(super) const RESUME: Parameter = Parameter::query::<String>(
    "from",
    "Only events after this revision, or after an event's id; oldest first",
);
pub(super) const LAST_EVENT: Parameter =
    Parameter::header::<String>(rest::LAST_EVENT_ID, "Where an earlier stream ended");
pub(super) const EVENT_TYPE: Parameter =
    Parameter::query::<EventType>("type", "Only events of one of these types").repeated();

// ---- logs

pub(super) const TAIL: Parameter =
    Parameter::query::<u32>("tail", "How many of the last lines to begin with");
pub(super) const WRITTEN_SINCE: Parameter =
    Parameter::query::<u64>("since", "What was written since this time, in ms since 1970");
pub(super) const LOG_PLACE: Parameter =
    Parameter::query::<String>("from", "What comes after this place, as an event's id says it");
pub(super) const LOG_PLACES: Parameter =
    Parameter::query::<String>("from", "Go on after the message with this id");
pub(super) const FOLLOW: Parameter =
    Parameter::query::<bool>("follow", "Go on with what is written, as server-sent events");
pub(super) const OLD_LOGS: Parameter = Parameter::query::<bool>("old", "Also of those that ended");
pub(super) const OFFSET: Parameter =
    Parameter::query::<FromMinusOne>("offset", "From which byte on; -1: where it ends");
pub(super) const LENGTH: Parameter =
    Parameter::query::<FromMinusOne>("length", "How many bytes at most; -1: 32768");
pub(super) const RENAME: Parameter =
    Parameter::query::<bool>("rename", "Name it after its instance and the time");

// ---- commands

pub(super) const COMMAND: Parameter =
    Parameter::query::<String>("command", "The command, one for each word").repeated().required();
pub(super) const TTY: Parameter = Parameter::query::<bool>("tty", "With a terminal");
pub(super) const STDIN: Parameter = Parameter::query::<bool>("stdin", "With input");
pub(super) const ROWS: Parameter = Parameter::query::<u16>("rows", "The terminal's height");
pub(super) const COLUMNS: Parameter = Parameter::query::<u16>("columns", "The terminal's width");
pub(super) const ENV: Parameter = Parameter::query::<String>("env", "A variable, NAME=VALUE").repeated();
pub(super) const WORKDIR: Parameter = Parameter::query::<String>("workdir", "Where to run it");
