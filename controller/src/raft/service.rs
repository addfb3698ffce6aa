//! The gRPC services that other members call. Only controllers may call them, and each may speak only for itself.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use muster_common::id::ControllerId;
use muster_proto::v1;
use muster_proto::v1::control_server::{Control, ControlServer};
use muster_proto::v1::members_server::MembersServer;
use muster_proto::v1::raft_server::{Raft as RaftRpc, RaftServer};
use openraft::raft::{AppendEntriesResponse, StreamAppendError};
use tokio::sync::Semaphore;
use tonic::service::interceptor::InterceptedService;
use tonic::{Extensions, Request, Response, Status, Streaming};

use super::codec::{self, Malformed};
use super::entries::Entries;
use super::membership::Membership;
use super::node::{Elsewhere, Node, NotWritten};
use super::peers::MAX_MESSAGE;
use super::propose::MAX_COMMAND;
use super::snapshot;
use super::types::{Runtime, Vote};
use crate::peer::controller_of;

/// An entry's commands are replicated or given up by then; the caller's own deadline is shorter.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Names the incarnation that a call of the Raft service is meant for.
pub(super) const INCARNATION: &str = "muster-incarnation";

/// The routes of all services.
pub(super) fn routes(node: Arc<Node>, seed: u64) -> axum::Router {
    let members = MembersServer::new(Membership::new(Arc::clone(&node)));
    let me = Arc::clone(&node);
    let meant_for_me = move |request| controllers_only(request).and_then(|request| meant_for(&me, request));
    let entries = Entries::start(Arc::clone(&node));
    let service = Service { node, entries, seed, receiving: Arc::new(Semaphore::new(1)) };
    let raft = RaftServer::new(service.clone())
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let control = ControlServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    axum::Router::new()
        .route_service("/muster.v1.Raft/{method}", InterceptedService::new(raft, meant_for_me))
        .route_service("/muster.v1.Control/{method}", InterceptedService::new(control, controllers_only))
        .route_service("/muster.v1.Members/{method}", InterceptedService::new(members, controllers_only))
}

/// Refuses a call that is meant for another incarnation of this member: these files know nothing of what the files of that
/// one voted and acknowledged.
#[allow(clippy::result_large_err)] // tonic's signature
fn meant_for(node: &Node, request: Request<()>) -> Result<Request<()>, Status> {
    let meant = request.metadata().get(INCARNATION).map_or(&[][..], |meant| meant.as_bytes());
    if meant == node.incarnation.0.as_bytes() {
        Ok(request)
    } else {
        let id = node.id;
        Err(Status::failed_precondition(format!("the files of controller {id} are not those that are meant")))
    }
}

#[allow(clippy::result_large_err)] // tonic's signature
fn controllers_only(mut request: Request<()>) -> Result<Request<()>, Status> {
    let caller = Caller(controller_of(&request)?);
    request.extensions_mut().insert(caller);
    Ok(request)
}

/// Who calls.
#[derive(Debug, Clone, Copy)]
struct Caller(ControllerId);

#[allow(clippy::result_large_err)] // what tonic's handlers return
impl Caller {
    fn of(extensions: &Extensions) -> Result<Self, Status> {
        extensions.get().copied().ok_or_else(|| Status::unauthenticated("only controllers may call"))
    }

    /// Refuses a vote that names somebody else than the caller as candidate or leader.
    fn owns(self, vote: &Vote) -> Result<(), Status> {
        if vote.leader_id.voted_for == self.0.0 {
            Ok(())
        } else {
            let claimed = vote.leader_id.voted_for;
            Err(Status::permission_denied(format!("controller {} cannot speak for {claimed}", self.0)))
        }
    }
}

#[derive(Clone)]
struct Service {
    node: Arc<Node>,
    /// The way into the log while this member leads.
    entries: Entries,
    /// For the tasks that openraft starts in calls from outside.
    seed: u64,
    /// One snapshot at a time: it is in memory until it is whole.
    receiving: Arc<Semaphore>,
}

#[allow(clippy::needless_pass_by_value)] // as map_err hands it over
fn malformed(error: Malformed) -> Status {
    Status::invalid_argument(error.to_string())
}

#[allow(clippy::needless_pass_by_value)] // as map_err hands it over
fn stopped(error: impl ToString) -> Status {
    Status::unavailable(error.to_string())
}

#[tonic::async_trait]
impl RaftRpc for Service {
    type StreamAppendStream = BoxStream<'static, Result<v1::RaftAppended, Status>>;

    async fn stream_append(
        &self,
        request: Request<Streaming<v1::RaftAppend>>,
    ) -> Result<Response<Self::StreamAppendStream>, Status> {
        let caller = Caller::of(request.extensions())?;
        // Dropped with the stream of requests, when the leader has hung up.
        let line = self.node.lines.from(caller.0);
        // A request that cannot be read ends the stream; the leader begins a new one.
        let requests = request.into_inner().map(move |request| {
            let _open = &line;
            let request = codec::append_from(request?).map_err(malformed)?;
            caller.owns(&request.vote)?;
            Ok(request)
        });
        let requests = requests.scan((), |(), request: Result<_, Status>| {
            if let Err(status) = &request {
                tracing::debug!(%status, "a stream of appends ended");
            }
            std::future::ready(request.ok())
        });
        let begin = async { self.node.raft.stream_append(requests).boxed() };
        let answers: BoxStream<'static, _> = Runtime::scope(self.seed, begin).await;
        Ok(Response::new(
            answers.map(|answer| answer.map(|answer| codec::appended_to(&answer)).map_err(stopped)).boxed(),
        ))
    }

    async fn append(&self, request: Request<v1::RaftAppend>) -> Result<Response<v1::RaftAppended>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = codec::append_from(request.into_inner()).map_err(malformed)?;
        caller.owns(&request.vote)?;
        let previous = request.prev_log_id;
        let last = request.entries.last().map(|entry| entry.log_id).or(previous);
        let result = match self.node.raft.append_entries(request).await.map_err(stopped)? {
            AppendEntriesResponse::Success => Ok(last),
            AppendEntriesResponse::PartialSuccess(matched) => Ok(matched),
            AppendEntriesResponse::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote)),
            AppendEntriesResponse::Conflict => {
                let at = previous.ok_or_else(|| Status::internal("a conflict before the log's beginning"))?;
                Err(StreamAppendError::Conflict(at))
            }
        };
        Ok(Response::new(codec::appended_to(&result)))
    }

    async fn vote(
        &self,
        request: Request<v1::RaftVoteRequest>,
    ) -> Result<Response<v1::RaftVoteResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = codec::vote_request_from(request.into_inner()).map_err(malformed)?;
        caller.owns(&request.vote)?;
        let response = self.node.raft.vote(request).await.map_err(stopped)?;
        Ok(Response::new(codec::vote_response_to(&response)))
    }

    async fn pre_vote(
        &self,
        request: Request<v1::RaftVoteRequest>,
    ) -> Result<Response<v1::RaftVoteResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = codec::vote_request_from(request.into_inner()).map_err(malformed)?;
        caller.owns(&request.vote)?;
        let response = self.node.raft.pre_vote(request).await.map_err(stopped)?;
        Ok(Response::new(codec::vote_response_to(&response)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<v1::RaftSnapshotPart>>,
    ) -> Result<Response<v1::RaftSnapshotInstalled>, Status> {
        let caller = Caller::of(request.extensions())?;
        let _receiving = self
            .receiving
            .try_acquire()
            .map_err(|_| Status::resource_exhausted("another snapshot is being received"))?;
        let (vote, snapshot) = snapshot::receive(request.into_inner(), |vote| caller.owns(vote)).await?;
        let response = self.node.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        Ok(Response::new(v1::RaftSnapshotInstalled { vote: Some(codec::vote_to(&response.vote)) }))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::RaftTransfer>,
    ) -> Result<Response<v1::RaftTransferred>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = codec::transfer_from(request.into_inner()).map_err(malformed)?;
        caller.owns(request.from_leader())?;
        let response = self.node.raft.handle_transfer_leader(request).await.map_err(stopped)?;
        Ok(Response::new(codec::transferred_to(response)))
    }
}

pub(super) fn elsewhere(at: &Elsewhere) -> v1::LeaderElsewhere {
    v1::LeaderElsewhere { leader: at.0.map(|id| id.0) }
}

#[tonic::async_trait]
impl Control for Service {
    async fn propose(
        &self,
        request: Request<v1::ProposeRequest>,
    ) -> Result<Response<v1::ProposeResponse>, Status> {
        use v1::propose_response::Outcome;
        let commands = request.into_inner().commands;
        if commands.iter().any(|command| command.len() > MAX_COMMAND) {
            return Err(Status::invalid_argument("a command is too large"));
        }
        for command in &commands {
            (self.node.check)(command).map_err(|error| Status::invalid_argument(error.to_string()))?;
        }
        let write = self.entries.write(commands.into());
        let outcome = match tokio::time::timeout(WRITE_TIMEOUT, write).await {
            Ok(Ok(replies)) => Outcome::Replies(v1::ProposeReplies { replies }),
            Ok(Err(NotWritten::Elsewhere(at))) => Outcome::LeaderElsewhere(elsewhere(&at)),
            Ok(Err(NotWritten::Refused(cause))) => return Err(Status::invalid_argument(cause)),
            Ok(Err(NotWritten::Unknown(cause))) => Outcome::Unknown(v1::ProposeUnknown { cause }),
            Err(_) => Outcome::Unknown(v1::ProposeUnknown {
                cause: "the leader did not commit it in time".to_owned(),
            }),
        };
        Ok(Response::new(v1::ProposeResponse { outcome: Some(outcome) }))
    }

    async fn read_index(
        &self,
        _request: Request<v1::ReadIndexRequest>,
    ) -> Result<Response<v1::ReadIndexResponse>, Status> {
        use v1::read_index_response::Outcome;
        let outcome = match self.node.read_index().await {
            Ok(index) => Outcome::Revision(index),
            Err(at) => Outcome::LeaderElsewhere(elsewhere(&at)),
        };
        Ok(Response::new(v1::ReadIndexResponse { outcome: Some(outcome) }))
    }
}
