//! Every call of the API, as programs are told of it. A test holds this list against the routes.

use std::collections::BTreeMap;

use muster_common::cluster::{AddController, ClusterStateData, ClusterSummary, ControllerInfo};
use muster_common::dashboard::DashboardData;
use muster_common::event::{Event, EventCounts, EventType, LatestEvents};
use muster_common::exec::{ExecAnswer, ExecRequest};
use muster_common::executor::{
    BlacklistOperationResponse, DrainRequest, ExecutorNodeData, ExecutorSummary, TagsRequest,
};
use muster_common::generation::SpecGeneration;
use muster_common::instance::{InstanceInfo, InstanceState};
use muster_common::operation::{Accepted, Operation, OperationRequest, OperationState, OperationSummary};
use muster_common::placement::{ExecutorPlacement, SimulatedPlacement, SimulationRequest};
use muster_common::reason::Reason;
use muster_common::service::ServiceSummary;
use muster_common::slot::SlotInfo;
use muster_common::spec::LocalServiceSpec;
use muster_common::user::UserInfo;
use serde_json::Value;

use super::call::{Call, Parameter};
use super::examples;
use crate::api::logfiles::{FileNames, Piece};
use crate::api::logs::Files;
use crate::api::operations::Valid;

const STALE: Parameter =
    Parameter::query::<bool>("stale", "Answer from what this controller has, be it behind or alone");
const FROM: Parameter = Parameter::query::<u32>("from", "How many to leave out");
const SIZE: Parameter = Parameter::query::<u32>("size", "How many to give at most");
const STATE: Parameter =
    Parameter::query::<InstanceState>("state", "Only those in one of these states").repeated();
const SINCE_TIME: Parameter =
    Parameter::query::<u64>("lastSyncTime", "Only events after this time, in ms since 1970");
const RESUME: Parameter = Parameter::query::<String>(
    "from",
    "Only events after this revision, or after an event's id; oldest first",
);
const LAST_EVENT: Parameter = Parameter::header::<String>("Last-Event-ID", "Where an earlier stream ended");
const EXECUTORS: Parameter = Parameter::query::<String>("id", "An executor").repeated().required();
const KEY: Parameter = Parameter::header::<String>(
    "Idempotency-Key",
    "A call that comes again under its key is the same operation",
);
const GONE: &[(&str, &str)] = &[("410", "What comes after that place is not kept any more; `resumeFrom` is")];

const REASON: Parameter =
    Parameter::query::<Reason>("reason", "Only those that ended for one of these reasons").repeated();
const EXECUTOR: Parameter =
    Parameter::query::<String>("executor", "Only those on one of these executors").repeated();
const SERVICE: Parameter =
    Parameter::query::<String>("service", "Only those of one of these services").repeated();
const SINCE: Parameter =
    Parameter::query::<u64>("since", "Only those that changed since this time, in ms since 1970");
const DETAIL: Parameter = Parameter::query::<bool>("detail", "With timeline, checks and evidence");
const KNOWN: Parameter = Parameter::header::<String>(
    "If-None-Match",
    "The generation that the caller knows: 304 while it is that",
);
const WANTED: Parameter =
    Parameter::header::<String>("If-Match", "Only while the service is of this generation: else 412");
const TAIL: Parameter = Parameter::query::<u32>("tail", "How many of the last lines to begin with");
const FOLLOW: Parameter =
    Parameter::query::<bool>("follow", "Go on with what is written, as server-sent events");
const AS_KNOWN: &[(&str, &str)] = &[("304", "It is of the generation that the caller knows")];
const MOVED: &[(&str, &str)] = &[("412", "The service is of another generation by now")];
const AWAY: &[(&str, &str)] = &[("204", "There is no such instance, or its executor is away")];

/// All calls, in the order of the routes.
pub(super) const CALLS: &[Call] = &[
    Call::get("/ping", "ping", "Is somebody there?").answers::<String>(),
    Call::get("/openapi.json", "describeApi", "This document").answers_raw::<BTreeMap<String, Value>>(),
    Call::get("/whoami", "whoAmI", "Who the caller is, and what for").answers::<UserInfo>(),
    Call::get("/localservices", "listServices", "Services by their id")
        .takes(&[FROM, SIZE, STALE])
        .answers::<BTreeMap<String, ServiceSummary>>()
        .paged(),
    Call::post("/localservices/validate/spec", "validateSpec", "Would this spec be accepted?")
        .body::<LocalServiceSpec>(examples::SPECS)
        .answers::<Valid>(),
    Call::get(
        "/localservices/operations",
        "listOperations",
        "Operations at work, then finished ones, newest first",
    )
    .takes(&[
        Parameter::query::<OperationState>("state", "Only those in one of these states").repeated(),
        SERVICE,
        FROM,
        SIZE,
        STALE,
    ])
    .answers::<Vec<OperationSummary>>()
    .paged(),
    Call::post("/localservices/operations", "submitOperation", "Ask for something; accepted means durable")
        .takes(&[KEY, WANTED])
        .body::<OperationRequest>(examples::OPERATIONS)
        .answers::<Accepted>()
        .begins(&["getOperation", "pauseOperation", "resumeOperation", "promoteOperation", "cancelOperation"])
        .or(MOVED),
    Call::get("/localservices/operations/{operation}", "getOperation", "One operation with all its slots")
        .takes(&[STALE])
        .answers::<Operation>(),
    Call::post(
        "/localservices/operations/{operation}/cancel",
        "cancelOperation",
        "End an operation early; a service's id ends what is at work for it",
    ),
    Call::post("/localservices/operations/{operation}/pause", "pauseOperation", "Begin nothing more for now")
        .answers::<Accepted>(),
    Call::post("/localservices/operations/{operation}/resume", "resumeOperation", "Go on after a pause")
        .answers::<Accepted>(),
    Call::post(
        "/localservices/operations/{operation}/promote",
        "promoteOperation",
        "Go on after the canaries",
    )
    .answers::<Accepted>(),
    Call::post("/localservices/placement", "placeSpec", "Where a spec would run, and why not elsewhere")
        .takes(&[Parameter::query::<u8>("instancesPerHost", "How many each executor is to hold"), STALE])
        .body::<LocalServiceSpec>(examples::SPECS)
        .answers::<Vec<ExecutorPlacement>>(),
    Call::get("/localservices/{service}", "getService", "One service")
        .takes(&[KNOWN, STALE])
        .answers::<ServiceSummary>()
        .tagged()
        .or(AS_KNOWN),
    Call::get("/localservices/{service}/spec", "getSpec", "Its spec; what is sensitive is masked")
        .takes(&[KNOWN, STALE])
        .answers::<LocalServiceSpec>()
        .tagged()
        .or(AS_KNOWN),
    Call::get(
        "/localservices/{service}/slots",
        "listSlots",
        "Its slots: what is asked of each, and what it says",
    )
    .takes(&[STALE])
    .answers::<Vec<SlotInfo>>(),
    Call::get("/localservices/{service}/placement", "placeService", "Where it runs, and why not elsewhere")
        .takes(&[STALE])
        .answers::<Vec<ExecutorPlacement>>(),
    Call::get(
        "/localservices/{service}/generations",
        "listGenerations",
        "The specs that it had, newest first",
    )
    .takes(&[STALE])
    .answers::<Vec<SpecGeneration>>(),
    Call::get("/localservices/{service}/operations", "listServiceOperations", "Its operations")
        .takes(&[FROM, SIZE, STALE])
        .answers::<Vec<OperationSummary>>()
        .paged(),
    Call::get("/localservices/{service}/instances", "listInstances", "Its instances that live")
        .takes(&[STATE, EXECUTOR, DETAIL, FROM, SIZE, STALE])
        .answers::<Vec<InstanceInfo>>()
        .paged(),
    Call::get(
        "/localservices/{service}/instances/old",
        "listOldInstances",
        "Its instances that ended or are lost, newest first, with the evidence of why",
    )
    .takes(&[STATE, EXECUTOR, REASON, SINCE, FROM, SIZE, STALE])
    .answers::<Vec<InstanceInfo>>()
    .paged(),
    Call::get("/localservices/{service}/instances/{instance}", "getInstance", "One instance, in any state")
        .takes(&[STALE])
        .answers::<InstanceInfo>(),
    Call::get(
        "/localservices/{service}/instances/{instance}/logs",
        "readInstanceLog",
        "What an instance wrote, be it over; as text, or as server-sent events",
    )
    .takes(&[
        TAIL,
        Parameter::query::<u64>("since", "What was written since this time, in ms since 1970"),
        Parameter::query::<String>("from", "What comes after this place, as an event's id says it"),
        LAST_EVENT,
        FOLLOW,
        STALE,
    ])
    .answers_content("text/plain"),
    Call::get(
        "/localservices/{service}/instances/{instance}/logs/files",
        "listInstanceLogFiles",
        "Its log's files",
    )
    .takes(&[STALE])
    .answers::<Files>(),
    Call::get("/localservices/{service}/logs", "followServiceLogs", "What all instances of a service write")
        .takes(&[
            TAIL,
            Parameter::query::<u64>("since", "What was written since this time, in ms since 1970"),
            Parameter::query::<bool>("old", "Also of those that ended"),
            Parameter::query::<String>("from", "Go on after the message with this id"),
            FOLLOW,
            STALE,
        ])
        .answers_content("text/event-stream"),
    Call::get(
        "/localservices/{service}/instances/{instance}/exec",
        "execInteractively",
        "Run a command beside an instance with a terminal: a WebSocket that speaks muster.exec.v1",
    )
    .takes(&[
        Parameter::query::<String>("command", "The command, one for each word").repeated().required(),
        Parameter::query::<bool>("tty", "With a terminal"),
        Parameter::query::<bool>("stdin", "With input"),
        Parameter::query::<u16>("rows", "The terminal's height"),
        Parameter::query::<u16>("columns", "The terminal's width"),
        Parameter::query::<String>("env", "A variable, NAME=VALUE").repeated(),
        Parameter::query::<String>("workdir", "Where to run it"),
    ])
    .or(&[("101", "The WebSocket begins")]),
    Call::post(
        "/localservices/{service}/instances/{instance}/exec",
        "exec",
        "Run a command beside an instance to its end",
    )
    .body::<ExecRequest>(examples::COMMANDS)
    .answers::<ExecAnswer>(),
    Call::get("/logfiles/localservices/{service}/{instance}/list", "listLogFiles", "As Drove lists them")
        .answers_raw::<FileNames>()
        .or(AWAY),
    Call::get(
        "/logfiles/localservices/{service}/{instance}/read/{file}",
        "readLogFile",
        "As Drove reads them",
    )
    .takes(&[
        Parameter::query::<i64>("offset", "From which byte on; -1: where it ends"),
        Parameter::query::<i64>("length", "How many bytes at most; -1: 32768"),
    ])
    .answers_raw::<Piece>()
    .or(AWAY),
    Call::get(
        "/logfiles/localservices/{service}/{instance}/download/{file}",
        "downloadLogFile",
        "All that is there of one",
    )
    .takes(&[Parameter::query::<bool>("rename", "Name it after its instance and the time")])
    .answers_content("text/plain")
    .named()
    .or(AWAY),
    Call::get("/instances", "listAllInstances", "Instances of all services")
        .takes(&[
            SERVICE,
            STATE,
            EXECUTOR,
            REASON,
            SINCE,
            Parameter::query::<String>("idPrefix", "How their ids begin, with or without SI-"),
            Parameter::query::<String>("label", "A tag of their service: key, or key=value").repeated(),
            Parameter::query::<bool>("old", "Also those that ended"),
            DETAIL,
            FROM,
            SIZE,
            STALE,
        ])
        .answers::<Vec<InstanceInfo>>()
        .paged(),
    Call::get(
        "/applications/{service}/instances",
        "listApplicationInstances",
        "The same as those of a local service: clients of Drove look for them here",
    )
    .takes(&[STATE, EXECUTOR, DETAIL, FROM, SIZE, STALE])
    .answers::<Vec<InstanceInfo>>()
    .paged(),
    Call::get("/cluster", "getCluster", "The cluster in figures").takes(&[STALE]).answers::<ClusterSummary>(),
    Call::get("/cluster/dashboard", "getDashboard", "The cluster at a glance")
        .takes(&[STALE])
        .answers::<DashboardData>(),
    Call::post("/cluster/placement/simulate", "simulatePlacement", "Would it fit?")
        .takes(&[Parameter::query::<bool>("detail", "Name each place"), STALE])
        .body::<SimulationRequest>(examples::SIMULATIONS)
        .answers::<SimulatedPlacement>(),
    Call::get("/cluster/controllers", "listControllers", "Who leads, who votes, how far behind each is")
        .answers::<Vec<ControllerInfo>>(),
    Call::post("/cluster/controllers", "addController", "Take a controller in: it learns, then votes")
        .body::<AddController>(examples::CONTROLLERS)
        .answers::<AddController>(),
    Call::delete("/cluster/controllers/{controller}", "removeController", "Take a controller out")
        .answers::<u64>(),
    Call::get("/cluster/backup", "takeBackup", "The whole state as of one revision")
        .takes(&[STALE])
        .answers_content("application/octet-stream"),
    Call::post("/cluster/maintenance/set", "setMaintenance", "Accept no operations for now")
        .answers::<ClusterStateData>(),
    Call::post("/cluster/maintenance/unset", "unsetMaintenance", "Accept operations again")
        .answers::<ClusterStateData>(),
    Call::get("/cluster/executors", "listExecutors", "The machines of the fleet")
        .takes(&[FROM, SIZE, STALE])
        .answers::<Vec<ExecutorSummary>>()
        .paged(),
    Call::post("/cluster/executors/blacklist", "blacklistExecutors", "Empty executors")
        .takes(&[EXECUTORS])
        .answers::<BlacklistOperationResponse>(),
    Call::post(
        "/cluster/executors/unblacklist",
        "unblacklistExecutors",
        "Let executors take instances again",
    )
    .takes(&[EXECUTORS])
    .answers::<BlacklistOperationResponse>(),
    Call::get("/cluster/executors/{executor}", "getExecutor", "One executor, with what it runs")
        .takes(&[STALE])
        .answers::<ExecutorNodeData>(),
    Call::post("/cluster/executors/{executor}/blacklist", "blacklistExecutor", "Empty one executor")
        .answers::<BlacklistOperationResponse>(),
    Call::post(
        "/cluster/executors/{executor}/unblacklist",
        "unblacklistExecutor",
        "Let one take instances again",
    )
    .answers::<BlacklistOperationResponse>(),
    Call::post("/cluster/executors/{executor}/drain", "drainExecutor", "Empty it within a time")
        .optional_body::<DrainRequest>(examples::DRAINS)
        .answers::<ExecutorSummary>(),
    Call::post("/cluster/executors/{executor}/remove", "removeExecutor", "Forget one that is gone for good")
        .answers::<ExecutorSummary>(),
    Call::post(
        "/cluster/executors/{executor}/tags",
        "tagExecutor",
        "Give it tags, in place of those given before",
    )
    .body::<TagsRequest>(examples::TAGS)
    .answers::<ExecutorSummary>(),
    Call::get("/cluster/events", "listEvents", "What happened, newest first")
        .takes(&[SINCE_TIME, SIZE, RESUME, STALE])
        .answers::<Vec<Event>>()
        .or(GONE),
    Call::get("/cluster/events/latest", "latestEvents", "What happened, and the time to ask from next")
        .takes(&[SINCE_TIME, SIZE, STALE])
        .answers::<LatestEvents>(),
    Call::get("/cluster/events/summary", "countEvents", "How many events of each kind")
        .takes(&[SINCE_TIME, STALE])
        .answers::<EventCounts>(),
    Call::get("/cluster/events/watch", "watchEvents", "Events as they happen")
        .takes(&[
            RESUME,
            LAST_EVENT,
            Parameter::query::<EventType>("type", "Only events of one of these types").repeated(),
            SERVICE,
            EXECUTOR,
            STALE,
        ])
        .answers_content("text/event-stream")
        .or(GONE),
    Call::get("/endpoints", "listEndpoints", "Exposed applications, of which there are none here")
        .answers::<Vec<Value>>(),
    Call::get("/endpoints/app/{app}", "listAppEndpoints", "The same of one application")
        .answers::<Vec<Value>>(),
];
