//! The gRPC service: executors that dial, and controllers that ask the leader to have one dial them.

use std::time::Duration;

use axum::Router;
use muster_common::id::ExecutorId;
use muster_proto::v1;
use muster_proto::v1::relay_up::Body as Up;
use muster_proto::v1::relays_server::{Relays, RelaysServer};
use muster_proto::v1::summon_response::Outcome;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::awaited::{Arrival, Awaited};
use crate::peer::{controller_of, executor_of};
use crate::session::{Summoned, Summons};

/// How long who dialled may take to say for which relay.
const BEGINS_WITHIN: Duration = Duration::from_secs(5);
/// How many messages wait for an executor: input of a command, mostly.
const DOWN_QUEUE: usize = 8;

pub(super) struct Service {
    awaited: Awaited,
    summons: Summons,
}

impl Service {
    pub(super) fn routes(awaited: Awaited, summons: Summons) -> Router {
        let service = RelaysServer::new(Self { awaited, summons });
        Router::new().route_service("/muster.v1.Relays/{*call}", service)
    }
}

#[tonic::async_trait]
impl Relays for Service {
    type OpenStream = ReceiverStream<Result<v1::RelayDown, Status>>;

    async fn open(
        &self,
        request: Request<Streaming<v1::RelayUp>>,
    ) -> Result<Response<Self::OpenStream>, Status> {
        let executor = executor_of(&request)?;
        let mut up = request.into_inner();
        let first = timeout(BEGINS_WITHIN, up.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("nobody said which relay this is"))??;
        let Some(Up::Begin(begin)) = first.and_then(|first| first.body) else {
            return Err(Status::invalid_argument("a relay begins with begin"));
        };
        // The same words for one that never was, that is over, and that is somebody else's.
        let not_expected =
            || Status::not_found(format!("executor {executor} is not expected, or not any more"));
        let tell = self.awaited.claim(&begin.relay, &executor).ok_or_else(not_expected)?;
        let (down, answers) = mpsc::channel(DOWN_QUEUE);
        tell.send(Arrival { up, down }).map_err(|_| not_expected())?;
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn summon(
        &self,
        request: Request<v1::SummonRequest>,
    ) -> Result<Response<v1::SummonResponse>, Status> {
        let caller = controller_of(&request)?;
        let asked = request.into_inner();
        let executor = ExecutorId::new(&asked.executor);
        let executor = executor.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let dial = asked.dial.ok_or_else(|| Status::invalid_argument("it is not said where to dial"))?;
        if dial.controller != caller.0 {
            let whom = dial.controller;
            return Err(Status::permission_denied(format!("controller {caller} cannot have {whom} dialled")));
        }
        let outcome = match self.summons.summon(executor, dial).await {
            Summoned::Told => Outcome::Summoned(v1::Summoned {}),
            Summoned::NoSession => Outcome::NoSession(v1::NoSession {}),
            Summoned::NotLeader => Outcome::LeaderElsewhere(v1::LeaderElsewhere { leader: None }),
        };
        Ok(Response::new(v1::SummonResponse { outcome: Some(outcome) }))
    }
}
