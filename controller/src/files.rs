//! Files that controllers fetch for executors, which may not reach the places where they are (config servers, say).
//!
//! An executor names a place in a spec, never a URL. So a controller fetches only what a spec asks for that is assigned
//! to this executor, only from servers that this controller's configuration allows ([`FetchUrl`]), and never from a metadata
//! service, which would tell a machine its credentials ([`Reach`]). Nothing is kept here. This module knows the state and
//! must not know who leads.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use muster_common::id::{ExecutorId, Generation, ServiceId, SlotId};
use muster_common::spec::{ConfigSource, FetchUrl, HttpCallSpec, MAX_CONTROLLER_FETCH_BYTES};
use muster_platform::call::{FetchError, Reach, fetch};
use muster_proto::v1;
use muster_proto::v1::fetch_file_response::Outcome;
use muster_proto::v1::files_server::{Files, FilesServer};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use crate::peer::executor_of;
use crate::state::State;

/// How many files are fetched at once; bounds the memory for them, too.
const MAX_FETCHES: usize = 16;
/// How long a call waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(5);
/// How long a call may take, whatever its spec says: the executor that asks has a start to make.
const FETCH_WITHIN: Duration = Duration::from_secs(90);

/// The gRPC service.
pub(crate) struct FileService {
    state: watch::Receiver<Arc<State>>,
    allowed: Vec<FetchUrl>,
    places: Semaphore,
}

impl FileService {
    /// The routes of a service that fetches from the `allowed` places.
    pub(crate) fn routes(state: watch::Receiver<Arc<State>>, allowed: Vec<FetchUrl>) -> Router {
        let service = Self { state, allowed, places: Semaphore::new(MAX_FETCHES) };
        Router::new().route_service("/muster.v1.Files/{*call}", FilesServer::new(service))
    }

    async fn content(&self, call: &HttpCallSpec) -> Result<Vec<u8>, FetchError> {
        // Judged again: the service may be older than the configuration.
        let allowed = FetchUrl::permitting(&self.allowed, call)
            .map_err(|refusal| FetchError::Refused(refusal.to_string()))?;
        let reach = Reach::Others { loopback: allowed.is_loopback() };
        let fetched = fetch(call, "muster-controller", reach, MAX_CONTROLLER_FETCH_BYTES);
        match timeout(FETCH_WITHIN, fetched).await {
            Ok(fetched) => fetched,
            Err(_) => Err(FetchError::Unreached(format!(
                "cannot fetch {}: no whole answer within {FETCH_WITHIN:?}",
                call.shown_url()
            ))),
        }
    }
}

#[tonic::async_trait]
impl Files for FileService {
    async fn fetch(
        &self,
        request: Request<v1::FetchFileRequest>,
    ) -> Result<Response<v1::FetchFileResponse>, Status> {
        let executor = executor_of(&request)?;
        let asked = request.into_inner();
        let call = call_of(&self.state.borrow(), &executor, &asked)?;
        let _place = match timeout(TURN_WITHIN, self.places.acquire()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(Status::unavailable("this controller is stopping")),
            Err(_) => return Err(Status::resource_exhausted("this controller fetches too much already")),
        };
        let fetched = self.content(&call).await;
        let outcome = match &fetched {
            Ok(_) => "fetched",
            Err(FetchError::Refused(_)) => "refused",
            Err(FetchError::Unreached(_)) => "unreached",
        };
        metrics::counter!("muster_controller_files_total", "outcome" => outcome).increment(1);
        if let Err(error) = &fetched {
            tracing::info!(%executor, service = asked.service, file = asked.file, %error, "a file was not fetched");
        }
        let outcome = match fetched {
            Ok(content) => Outcome::Content(content.into()),
            Err(FetchError::Refused(why)) => Outcome::Refusal(why),
            // Another controller may have a way there, and the executor a copy.
            Err(FetchError::Unreached(why)) => return Err(Status::unavailable(why)),
        };
        Ok(Response::new(v1::FetchFileResponse { outcome: Some(outcome) }))
    }
}

/// The call that fetches what is asked for, if the executor has a slot of that service and generation. A start may be
/// under way while the service is scaled: one for an earlier generation of the slot is the same slot's.
#[allow(clippy::result_large_err)] // what tonic's handlers return
fn call_of(
    state: &State,
    executor: &ExecutorId,
    asked: &v1::FetchFileRequest,
) -> Result<HttpCallSpec, Status> {
    let service =
        ServiceId::new(&asked.service).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let slot = SlotId { service, executor: executor.clone(), index: asked.index };
    let held = state.slot(&slot).filter(|held| Generation(asked.generation) <= held.generation);
    let spec = held.and_then(|held| state.spec_in(&slot, held)).ok_or_else(|| {
        Status::failed_precondition(format!(
            "here, {executor} has no slot {}/{} of generation {}",
            slot.service, slot.index, asked.generation
        ))
    })?;
    let config = usize::try_from(asked.file).ok().and_then(|file| spec.configs.get(file));
    match config.map(|config| &config.source) {
        Some(ConfigSource::ControllerHttpFetch { http }) => Ok(http.clone()),
        Some(
            ConfigSource::Inline { .. }
            | ConfigSource::ExecutorLocalFile { .. }
            | ConfigSource::ExecutorHttpFetch { .. },
        )
        | None => Err(Status::invalid_argument(format!(
            "configs[{}] of {} is no file that controllers fetch",
            asked.file, slot.service
        ))),
    }
}
