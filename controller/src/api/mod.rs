//! REST, in Drove's envelope (drove-wire.md §1): reads from the replicated state, writes through the
//! log. Any controller answers any call; nothing is ever redirected.
//!
//! | module | noun |
//! |---|---|
//! | `access` | what a call may do: read the state, submit a command |
//! | `services`, `instances`, `operations`, `placement`, `cluster`, `controllers`, `executors`, `backup`, `events`, `watch` | the calls |
//! | `logs`, `service_logs`, `logfiles` | what instances wrote: one, all of a service, as Drove has them |
//! | `exec`, `exec_socket` | commands beside instances: to their end, and interactive |
//! | `exec_request` | what such a command is |
//! | `log_place`, `log_file` | where a reader of a log was, and what its files are called |
//! | `path`, `query`, `resume`, `body`, `error`, `answer` | what comes in, and what goes out |
//! | `frames` | events as they are sent, written once for all who watch |
//! | `etag` | which generation of a service a caller knows |
//! | `idempotency` | the key under which a repeated call is the same operation |
//! | `user` | who makes a call, and whether that user may |
//! | `origin` | which calls come from a program, and which from a web page that has no business here |
//! | `guard` | bounds on every call: time, size, how many at once; and its metrics |
//!
//! It must not know how the log works, nor what applying a command means.

mod access;
mod answer;
mod backup;
mod body;
mod cluster;
mod controllers;
mod error;
mod etag;
mod events;
mod exec;
mod exec_request;
mod exec_socket;
mod executors;
mod frames;
mod guard;
mod idempotency;
mod instances;
mod log_file;
mod log_place;
mod logfiles;
mod logs;
mod operations;
mod origin;
mod path;
mod placement;
mod query;
mod resume;
mod service_logs;
mod services;
mod user;
mod watch;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, delete, get, post};
use muster_common::user::Verb;

pub(crate) use access::{Api, Parts};
pub(crate) use body::ARRIVING_BYTES;
pub(crate) use frames::Frames;

/// A path, what its methods do, and who does it.
type Route = (&'static str, Verb, MethodRouter<Api>);

/// Every call, with what it does, so that none is without an answer to who may. Unknown paths answer 404, unknown methods
/// 405, both without a body.
pub(crate) fn router(api: Api) -> Router {
    use Verb::{Administer, Exec, Maintain, Operate, Read, ReadLogs};
    let routes: [Route; 53] = [
        ("/ping", Read, get(cluster::ping)),
        ("/whoami", Read, get(user::whoami)),
        ("/localservices", Read, get(services::list)),
        ("/localservices/validate/spec", Read, post(operations::validate_spec)),
        ("/localservices/operations", Read, get(operations::list)),
        ("/localservices/operations", Operate, post(operations::submit)),
        ("/localservices/operations/{operation}", Read, get(operations::one)),
        ("/localservices/operations/{operation}/cancel", Operate, post(operations::cancel)),
        ("/localservices/operations/{operation}/pause", Operate, post(operations::pause)),
        ("/localservices/operations/{operation}/resume", Operate, post(operations::resume)),
        ("/localservices/operations/{operation}/promote", Operate, post(operations::promote)),
        ("/localservices/placement", Read, post(placement::of_spec)),
        ("/localservices/{service}", Read, get(services::one)),
        ("/localservices/{service}/spec", Read, get(services::spec)),
        ("/localservices/{service}/slots", Read, get(services::slots)),
        ("/localservices/{service}/placement", Read, get(placement::of_service)),
        ("/localservices/{service}/generations", Read, get(services::generations)),
        ("/localservices/{service}/operations", Read, get(operations::of_service)),
        ("/localservices/{service}/instances", Read, get(instances::of_service)),
        ("/localservices/{service}/instances/old", Read, get(instances::old)),
        ("/localservices/{service}/instances/{instance}", Read, get(instances::one)),
        ("/localservices/{service}/instances/{instance}/logs", ReadLogs, get(logs::of_instance)),
        ("/localservices/{service}/instances/{instance}/logs/files", ReadLogs, get(logs::files)),
        ("/localservices/{service}/logs", ReadLogs, get(service_logs::of_service)),
        ("/logfiles/localservices/{service}/{instance}/list", ReadLogs, get(logfiles::list)),
        ("/logfiles/localservices/{service}/{instance}/read/{file}", ReadLogs, get(logfiles::read)),
        ("/logfiles/localservices/{service}/{instance}/download/{file}", ReadLogs, get(logfiles::download)),
        ("/instances", Read, get(instances::all)),
        // drove-cli waits for replaced and stopped instances of a local service here (its defect).
        ("/applications/{service}/instances", Read, get(instances::of_service)),
        ("/cluster", Read, get(cluster::summary)),
        ("/cluster/dashboard", Read, get(cluster::dashboard)),
        ("/cluster/placement/simulate", Read, post(placement::simulate)),
        ("/cluster/controllers", Read, get(controllers::list)),
        ("/cluster/controllers", Administer, post(controllers::add)),
        ("/cluster/controllers/{controller}", Administer, delete(controllers::remove)),
        ("/cluster/backup", Administer, get(backup::take)),
        ("/cluster/maintenance/set", Maintain, post(cluster::set_maintenance)),
        ("/cluster/maintenance/unset", Maintain, post(cluster::unset_maintenance)),
        ("/cluster/executors", Read, get(executors::list)),
        ("/cluster/executors/blacklist", Maintain, post(executors::blacklist)),
        ("/cluster/executors/unblacklist", Maintain, post(executors::unblacklist)),
        ("/cluster/executors/{executor}", Read, get(executors::one)),
        ("/cluster/executors/{executor}/blacklist", Maintain, post(executors::blacklist_one)),
        ("/cluster/executors/{executor}/unblacklist", Maintain, post(executors::unblacklist_one)),
        ("/cluster/executors/{executor}/drain", Maintain, post(executors::drain)),
        ("/cluster/executors/{executor}/remove", Maintain, post(executors::remove)),
        ("/cluster/executors/{executor}/tags", Maintain, post(executors::tag)),
        ("/cluster/events", Read, get(events::list)),
        ("/cluster/events/latest", Read, get(events::latest)),
        ("/cluster/events/summary", Read, get(events::summary)),
        ("/cluster/events/watch", Read, get(watch::watch)),
        ("/endpoints", Read, get(cluster::endpoints)),
        ("/endpoints/app/{app}", Read, get(cluster::endpoints)),
    ];
    // They take as long as their commands.
    let commands: [Route; 1] = [(
        "/localservices/{service}/instances/{instance}/exec",
        Exec,
        get(exec_socket::interactive).post(exec::once),
    )];
    let bounded = |routes: Vec<Route>, limit| {
        let mut v1 = Router::new();
        for (path, verb, methods) in routes {
            v1 = v1.route(path, guard::measured(path, user::admitted(&api, verb, methods)));
        }
        guard::bounded(v1.layer(DefaultBodyLimit::max(body::MAX_BODY_BYTES)), limit)
    };
    let guarded =
        bounded(routes.into(), guard::CALL_TIMEOUT).merge(bounded(commands.into(), guard::COMMAND_TIMEOUT));
    let guarded = origin::checked(guarded, &api);
    Router::new()
        .nest("/apis/v1", guarded.with_state(api))
        .merge(muster_platform::telemetry::metrics_router())
}
