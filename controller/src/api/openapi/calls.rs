//! Every call of the API, as programs are told of it. A test holds this list against the routes.

use std::collections::BTreeMap;

use muster_common::cluster::{AddController, ClusterStateData, ClusterSummary, ControllerInfo};
use muster_common::dashboard::DashboardData;
use muster_common::event::{Event, EventCounts, LatestEvents};
use muster_common::exec::{ExecAnswer, ExecRequest};
use muster_common::executor::{
    BlacklistOperationResponse, DrainRequest, ExecutorNodeData, ExecutorSummary, TagsRequest,
};
use muster_common::generation::SpecGeneration;
use muster_common::instance::InstanceInfo;
use muster_common::operation::{Accepted, Operation, OperationRequest, OperationSummary};
use muster_common::placement::{ExecutorPlacement, SimulatedPlacement, SimulationRequest};
use muster_common::service::ServiceSummary;
use muster_common::slot::SlotInfo;
use muster_common::spec::LocalServiceSpec;
use muster_common::user::UserInfo;
use serde_json::Value;

use super::call::Call;
use super::examples;
use crate::api::logfiles::{FileNames, Piece};
use crate::api::logs::Files;
use crate::api::operations::Valid;
use crate::api::parameter::{
    COLUMNS, COMMAND, DETAIL, DETAIL_PLACES, ENV, EVENT_TYPE, EXECUTOR, EXECUTORS, FOLLOW, FROM, ID_PREFIX,
    INSTANCES_PER_HOST, KEY, KNOWN, LABEL, LAST_EVENT, LENGTH, LOG_PLACE, LOG_PLACES, OFFSET, OLD, OLD_LOGS,
    OPERATION_STATE, REASON, RENAME, RESUME, ROWS, SERVICE, SINCE, SINCE_TIME, SIZE, STALE, STATE, STDIN,
    TAIL, TTY, WANTED, WORKDIR, WRITTEN_SINCE,
};

const GONE: &[(&str, &str)] = &[("410", "What comes after that place is not kept any more; `resumeFrom` is")];
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
    .takes(&[OPERATION_STATE, SERVICE, FROM, SIZE, STALE])
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
        .takes(&[INSTANCES_PER_HOST, FROM, SIZE, STALE])
        .body::<LocalServiceSpec>(examples::SPECS)
        .answers::<Vec<ExecutorPlacement>>()
        .paged(),
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
    .takes(&[FROM, SIZE, STALE])
    .answers::<Vec<SlotInfo>>()
    .paged(),
    Call::get("/localservices/{service}/placement", "placeService", "Where it runs, and why not elsewhere")
        .takes(&[FROM, SIZE, STALE])
        .answers::<Vec<ExecutorPlacement>>()
        .paged(),
    Call::get(
        "/localservices/{service}/generations",
        "listGenerations",
        "The specs that it had, newest first",
    )
    .takes(&[FROM, SIZE, STALE])
    .answers::<Vec<SpecGeneration>>()
    .paged(),
    Call::get("/localservices/{service}/operations", "listServiceOperations", "Its operations")
        .takes(&[FROM, SIZE, STALE])
        .answers::<Vec<OperationSummary>>()
        .paged(),
    Call::get("/localservices/{service}/instances", "listInstances", "Its instances that live")
        .takes(&[SERVICE, STATE, EXECUTOR, REASON, SINCE, ID_PREFIX, LABEL, DETAIL, FROM, SIZE, STALE])
        .answers::<Vec<InstanceInfo>>()
        .paged(),
    Call::get(
        "/localservices/{service}/instances/old",
        "listOldInstances",
        "Its instances that ended or are lost, newest first, with the evidence of why",
    )
    .takes(&[SERVICE, STATE, EXECUTOR, REASON, SINCE, ID_PREFIX, LABEL, FROM, SIZE, STALE])
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
    .takes(&[TAIL, WRITTEN_SINCE, LOG_PLACE, LAST_EVENT, FOLLOW, STALE])
    .answers_content("text/plain"),
    Call::get(
        "/localservices/{service}/instances/{instance}/logs/files",
        "listInstanceLogFiles",
        "Its log's files",
    )
    .takes(&[STALE])
    .answers::<Files>(),
    Call::get("/localservices/{service}/logs", "followServiceLogs", "What all instances of a service write")
        .takes(&[TAIL, WRITTEN_SINCE, OLD_LOGS, LOG_PLACES, LAST_EVENT, FOLLOW, STALE])
        .answers_content("text/event-stream"),
    Call::get(
        "/localservices/{service}/instances/{instance}/exec",
        "execInteractively",
        "Run a command beside an instance with a terminal: a WebSocket that speaks muster.exec.v1",
    )
    .takes(&[COMMAND, TTY, STDIN, ROWS, COLUMNS, ENV, WORKDIR, STALE])
    .or(&[("101", "The WebSocket begins")]),
    Call::post(
        "/localservices/{service}/instances/{instance}/exec",
        "exec",
        "Run a command beside an instance to its end",
    )
    .takes(&[STALE])
    .body::<ExecRequest>(examples::COMMANDS)
    .answers::<ExecAnswer>(),
    Call::get("/logfiles/localservices/{service}/{instance}/list", "listLogFiles", "As Drove lists them")
        .takes(&[STALE])
        .answers_raw::<FileNames>()
        .or(AWAY),
    Call::get(
        "/logfiles/localservices/{service}/{instance}/read/{file}",
        "readLogFile",
        "As Drove reads them",
    )
    .takes(&[OFFSET, LENGTH, STALE])
    .answers_raw::<Piece>()
    .or(AWAY),
    Call::get(
        "/logfiles/localservices/{service}/{instance}/download/{file}",
        "downloadLogFile",
        "All that is there of one",
    )
    .takes(&[RENAME, STALE])
    .answers_content("text/plain")
    .named()
    .or(AWAY),
    Call::get("/instances", "listAllInstances", "Instances of all services")
        .takes(&[SERVICE, STATE, EXECUTOR, REASON, SINCE, ID_PREFIX, LABEL, OLD, DETAIL, FROM, SIZE, STALE])
        .answers::<Vec<InstanceInfo>>()
        .paged(),
    Call::get(
        "/applications/{service}/instances",
        "listApplicationInstances",
        "The same as those of a local service: clients of Drove look for them here",
    )
    .takes(&[SERVICE, STATE, EXECUTOR, REASON, SINCE, ID_PREFIX, LABEL, DETAIL, FROM, SIZE, STALE])
    .answers::<Vec<InstanceInfo>>()
    .paged(),
    Call::get("/cluster", "getCluster", "The cluster in figures").takes(&[STALE]).answers::<ClusterSummary>(),
    Call::get("/cluster/dashboard", "getDashboard", "The cluster at a glance")
        .takes(&[STALE])
        .answers::<DashboardData>(),
    Call::post("/cluster/placement/simulate", "simulatePlacement", "Would it fit?")
        .takes(&[DETAIL_PLACES, STALE])
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
    Call::get(
        "/cluster/executors",
        "listExecutors",
        "The machines of the fleet, and those that were removed",
    )
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
        "Give it tags, in place of those given before, or beside them",
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
        .takes(&[RESUME, LAST_EVENT, EVENT_TYPE, SERVICE, EXECUTOR, STALE])
        .answers_content("text/event-stream")
        .or(GONE),
    Call::get("/endpoints", "listEndpoints", "Exposed applications, of which there are none here")
        .answers::<Vec<Value>>(),
    Call::get("/endpoints/app/{app}", "listAppEndpoints", "The same of one application")
        .answers::<Vec<Value>>(),
];
