//! REST, in Drove's envelope (drove-wire.md §1): reads from the replicated state, writes through the
//! log. Any controller answers any call; nothing is ever redirected.
//!
//! | module | noun |
//! |---|---|
//! | `access` | what a call may do: read the state, submit a command |
//! | `services`, `operations`, `placement`, `cluster`, `controllers`, `executors`, `backup`, `events`, `watch` | the calls |
//! | `logs`, `service_logs`, `logfiles` | what instances wrote: one, all of a service, as Drove has them |
//! | `exec`, `exec_socket` | commands beside instances: to their end, and interactive |
//! | `exec_request` | what such a command is |
//! | `log_place`, `log_file` | where a reader of a log was, and what its files are called |
//! | `path`, `query`, `resume`, `body`, `error`, `answer` | what comes in, and what goes out |
//! | `idempotency` | the key under which a repeated call is the same operation |
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
mod events;
mod exec;
mod exec_request;
mod exec_socket;
mod executors;
mod guard;
mod idempotency;
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
mod watch;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, delete, get, post};

pub(crate) use access::{Api, Parts};

/// Every call. Unknown paths answer 404, unknown methods 405, both without a body.
pub(crate) fn router(api: Api) -> Router {
    let routes: [(&'static str, MethodRouter<Api>); 47] = [
        ("/ping", get(cluster::ping)),
        ("/localservices", get(services::list)),
        ("/localservices/validate/spec", post(operations::validate_spec)),
        ("/localservices/operations", get(operations::list).post(operations::submit)),
        ("/localservices/operations/{operation}", get(operations::one)),
        ("/localservices/operations/{operation}/cancel", post(operations::cancel)),
        ("/localservices/operations/{operation}/pause", post(operations::pause)),
        ("/localservices/operations/{operation}/resume", post(operations::resume)),
        ("/localservices/operations/{operation}/promote", post(operations::promote)),
        ("/localservices/placement", post(placement::of_spec)),
        ("/localservices/{service}", get(services::one)),
        ("/localservices/{service}/spec", get(services::spec)),
        ("/localservices/{service}/slots", get(services::slots)),
        ("/localservices/{service}/placement", get(placement::of_service)),
        ("/localservices/{service}/generations", get(services::generations)),
        ("/localservices/{service}/operations", get(operations::of_service)),
        ("/localservices/{service}/instances", get(services::instances)),
        ("/localservices/{service}/instances/old", get(services::old_instances)),
        ("/localservices/{service}/instances/{instance}", get(services::instance)),
        ("/localservices/{service}/instances/{instance}/logs", get(logs::of_instance)),
        ("/localservices/{service}/instances/{instance}/logs/files", get(logs::files)),
        ("/localservices/{service}/logs", get(service_logs::of_service)),
        ("/logfiles/localservices/{service}/{instance}/list", get(logfiles::list)),
        ("/logfiles/localservices/{service}/{instance}/read/{file}", get(logfiles::read)),
        ("/logfiles/localservices/{service}/{instance}/download/{file}", get(logfiles::download)),
        // drove-cli waits for replaced and stopped instances of a local service here (its defect).
        ("/applications/{service}/instances", get(services::instances)),
        ("/cluster", get(cluster::summary)),
        ("/cluster/controllers", get(controllers::list).post(controllers::add)),
        ("/cluster/controllers/{controller}", delete(controllers::remove)),
        ("/cluster/backup", get(backup::take)),
        ("/cluster/maintenance/set", post(cluster::set_maintenance)),
        ("/cluster/maintenance/unset", post(cluster::unset_maintenance)),
        ("/cluster/executors", get(executors::list)),
        ("/cluster/executors/blacklist", post(executors::blacklist)),
        ("/cluster/executors/unblacklist", post(executors::unblacklist)),
        ("/cluster/executors/{executor}", get(executors::one)),
        ("/cluster/executors/{executor}/blacklist", post(executors::blacklist_one)),
        ("/cluster/executors/{executor}/unblacklist", post(executors::unblacklist_one)),
        ("/cluster/executors/{executor}/drain", post(executors::drain)),
        ("/cluster/executors/{executor}/remove", post(executors::remove)),
        ("/cluster/executors/{executor}/tags", post(executors::tag)),
        ("/cluster/events", get(events::list)),
        ("/cluster/events/latest", get(events::latest)),
        ("/cluster/events/summary", get(events::summary)),
        ("/cluster/events/watch", get(watch::watch)),
        ("/endpoints", get(cluster::endpoints)),
        ("/endpoints/app/{app}", get(cluster::endpoints)),
    ];
    // They take as long as their commands.
    let commands: [(&'static str, MethodRouter<Api>); 1] = [(
        "/localservices/{service}/instances/{instance}/exec",
        get(exec_socket::interactive).post(exec::once),
    )];
    let bounded = |routes: Vec<(&'static str, MethodRouter<Api>)>, limit| {
        let mut v1 = Router::new();
        for (path, methods) in routes {
            v1 = v1.route(path, guard::measured(path, methods));
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
