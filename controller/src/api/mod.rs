//! REST, in Drove's envelope (docs/drove-api.md §1): reads from the replicated state, writes through the
//! log. Any controller answers any call; nothing is ever redirected.
//!
//! | module | noun |
//! |---|---|
//! | `access` | what a call may do: read the state, submit a command |
//! | `services`, `instances`, `operations`, `placement`, `cluster`, `controllers`, `executors`, `backup`, `events`, `watch` | the calls |
//! | `logs`, `service_logs`, `logfiles` | what instances wrote: one, all of a service, as Drove has them |
//! | `newcomers` | whom a reader of a service's logs has not met yet |
//! | `exec`, `exec_socket` | commands beside instances: to their end, and interactive |
//! | `exec_request` | what such a command is |
//! | `log_place`, `service_place`, `log_file` | where a reader was in a log, in those of a service, and what its files are called |
//! | `openapi` | all calls, as programs are told of them |
//! | `path`, `parameter`, `query`, `resume`, `body`, `error`, `answer` | what comes in, and what goes out |
//! | `frames` | events as they are sent, written once for all who watch |
//! | `etag` | which generation of a service a caller knows |
//! | `idempotency` | the key under which a repeated call is the same operation |
//! | `user` | who makes a call, and whether that user may |
//! | `origin` | which calls come from a program, and which from a web page that has no business here |
//! | `guard`, `sending` | bounds on every call: time, how many at once, how much of answers is on its way; and its metrics |
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
#[cfg(test)]
mod fuzz;
mod guard;
mod idempotency;
mod instances;
mod log_file;
mod log_place;
mod logfiles;
mod logs;
mod newcomers;
mod openapi;
mod operations;
mod origin;
mod parameter;
mod path;
mod placement;
mod query;
mod resume;
mod sending;
mod service_logs;
mod service_place;
mod services;
mod user;
mod watch;

use axum::handler::Handler;
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Extension, Router};
use muster_common::user::Verb;

pub(crate) use access::{Api, Parts};
pub(crate) use body::Arriving;
pub(crate) use frames::Frames;

use sending::Sending;

/// A call: its method and path, what it does, so that none is without an answer to who may, and who does it.
struct Route {
    method: &'static str,
    path: &'static str,
    verb: Verb,
    /// Whether it looks at `If-Match`.
    is_conditional: bool,
    handler: MethodRouter<Api>,
}

impl Route {
    fn get<H: Handler<T, Api>, T: 'static>(path: &'static str, verb: Verb, handler: H) -> Self {
        Self { method: "get", path, verb, is_conditional: false, handler: get(handler) }
    }

    fn post<H: Handler<T, Api>, T: 'static>(path: &'static str, verb: Verb, handler: H) -> Self {
        Self { method: "post", path, verb, is_conditional: false, handler: post(handler) }
    }

    fn delete<H: Handler<T, Api>, T: 'static>(path: &'static str, verb: Verb, handler: H) -> Self {
        Self { method: "delete", path, verb, is_conditional: false, handler: delete(handler) }
    }

    fn conditional(self) -> Self {
        Self { is_conditional: true, ..self }
    }
}

/// Every call but those that take as long as a user's command.
fn routes() -> Vec<Route> {
    use Verb::{Administer, Maintain, Operate, Read, ReadLogs};
    vec![
        Route::get("/ping", Read, cluster::ping),
        Route::get("/whoami", Read, user::whoami),
        Route::get("/openapi.json", Read, openapi::document_json),
        Route::get("/localservices", Read, services::list),
        Route::post("/localservices/validate/spec", Read, operations::validate_spec),
        Route::get("/localservices/operations", Read, operations::list),
        Route::post("/localservices/operations", Operate, operations::submit).conditional(),
        Route::get("/localservices/operations/{operation}", Read, operations::one),
        Route::post("/localservices/operations/{operation}/cancel", Operate, operations::cancel),
        Route::post("/localservices/operations/{operation}/pause", Operate, operations::pause),
        Route::post("/localservices/operations/{operation}/resume", Operate, operations::resume),
        Route::post("/localservices/operations/{operation}/promote", Operate, operations::promote),
        Route::post("/localservices/placement", Read, placement::of_spec),
        Route::get("/localservices/{service}", Read, services::one),
        Route::get("/localservices/{service}/spec", Read, services::spec),
        Route::get("/localservices/{service}/slots", Read, services::slots),
        Route::get("/localservices/{service}/placement", Read, placement::of_service),
        Route::get("/localservices/{service}/generations", Read, services::generations),
        Route::get("/localservices/{service}/operations", Read, operations::of_service),
        Route::get("/localservices/{service}/instances", Read, instances::of_service),
        Route::get("/localservices/{service}/instances/old", Read, instances::old),
        Route::get("/localservices/{service}/instances/{instance}", Read, instances::one),
        Route::get("/localservices/{service}/instances/{instance}/logs", ReadLogs, logs::of_instance),
        Route::get("/localservices/{service}/instances/{instance}/logs/files", ReadLogs, logs::files),
        Route::get("/localservices/{service}/logs", ReadLogs, service_logs::of_service),
        Route::get("/logfiles/localservices/{service}/{instance}/list", ReadLogs, logfiles::list),
        Route::get("/logfiles/localservices/{service}/{instance}/read/{file}", ReadLogs, logfiles::read),
        Route::get(
            "/logfiles/localservices/{service}/{instance}/download/{file}",
            ReadLogs,
            logfiles::download,
        ),
        Route::get("/instances", Read, instances::all),
        // drove-cli waits for replaced and stopped instances of a local service here (its defect).
        Route::get("/applications/{service}/instances", Read, instances::of_service),
        Route::get("/cluster", Read, cluster::summary),
        Route::get("/cluster/dashboard", Read, cluster::dashboard),
        Route::post("/cluster/placement/simulate", Read, placement::simulate),
        Route::get("/cluster/controllers", Read, controllers::list),
        Route::post("/cluster/controllers", Administer, controllers::add),
        Route::delete("/cluster/controllers/{controller}", Administer, controllers::remove),
        Route::get("/cluster/backup", Administer, backup::take),
        Route::post("/cluster/maintenance/set", Maintain, cluster::set_maintenance),
        Route::post("/cluster/maintenance/unset", Maintain, cluster::unset_maintenance),
        Route::get("/cluster/executors", Read, executors::list),
        Route::post("/cluster/executors/blacklist", Maintain, executors::blacklist),
        Route::post("/cluster/executors/unblacklist", Maintain, executors::unblacklist),
        Route::get("/cluster/executors/{executor}", Read, executors::one),
        Route::post("/cluster/executors/{executor}/blacklist", Maintain, executors::blacklist_one),
        Route::post("/cluster/executors/{executor}/unblacklist", Maintain, executors::unblacklist_one),
        Route::post("/cluster/executors/{executor}/drain", Maintain, executors::drain),
        Route::post("/cluster/executors/{executor}/remove", Maintain, executors::remove),
        Route::post("/cluster/executors/{executor}/tags", Maintain, executors::tag),
        Route::get("/cluster/events", Read, events::list),
        Route::get("/cluster/events/latest", Read, events::latest),
        Route::get("/cluster/events/summary", Read, events::summary),
        Route::get("/cluster/events/watch", Read, watch::watch),
        Route::get("/endpoints", Read, cluster::endpoints),
        Route::get("/endpoints/app/{app}", Read, cluster::endpoints),
    ]
}

/// They take as long as their commands.
fn commands() -> Vec<Route> {
    let path = "/localservices/{service}/instances/{instance}/exec";
    vec![Route::get(path, Verb::Exec, exec_socket::interactive), Route::post(path, Verb::Exec, exec::once)]
}

/// All calls, bounded. Unknown paths answer 404, unknown methods 405, both without a body.
pub(crate) fn router(api: Api) -> Router {
    let sending = Sending::default();
    let bounded = |routes: Vec<Route>, limit| {
        let mut v1 = Router::new();
        for Route { method, path, verb, is_conditional, handler } in routes {
            let handler = if is_conditional { handler } else { etag::without_if_match(handler) };
            let handler = handler.layer(Extension(openapi::listed(method, path)));
            v1 = v1.route(path, guard::measured(path, user::admitted(&api, verb, handler)));
        }
        guard::bounded(v1, limit, &sending)
    };
    let guarded = bounded(routes(), guard::CALL_TIMEOUT).merge(bounded(commands(), guard::COMMAND_TIMEOUT));
    let guarded = origin::checked(guarded, &api);
    Router::new()
        .nest("/apis/v1", guarded.with_state(api))
        .merge(muster_platform::telemetry::metrics_router())
}
