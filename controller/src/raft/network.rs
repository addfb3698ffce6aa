//! What consensus sends to the other members. Every call has a deadline.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use muster_common::id::ControllerId;
use muster_proto::v1;
use openraft::OptionalSend;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption, RPCTypes,
    RaftNetworkFactory,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status};

use super::codec;
use super::peers::{Clients, Peers};
use super::service::INCARNATION;
use super::snapshot;
use super::types::{Addresses, Snapshot, TypeConfig, Vote};

/// An append that is not answered by then: the follower hangs, or its disk does.
const APPEND_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after a peer could not be reached, over and over: it is found soon after it is back.
const BACKOFF: Duration = Duration::from_millis(100);

type RpcError = RPCError<TypeConfig>;

/// Makes links.
pub(super) struct Network {
    pub(super) id: ControllerId,
    pub(super) peers: Peers,
}

impl Network {
    fn link(&self, target: u64, node: &Addresses, alone: bool) -> Link {
        let member = self.peers.member(ControllerId(target), node);
        let clients = self.peers.clients(member.id, &member.cluster_addr).map_err(|error| error.to_string());
        // It is a UUID, which can always be sent. A call that names nobody's incarnation would be refused.
        let incarnation = node.incarnation.0.parse().ok();
        Link { id: self.id.0, target, incarnation, clients, alone }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, node: &Addresses) -> Link {
        self.link(target, node, false)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Addresses) -> Link {
        self.link(target, node, true)
    }
}

/// What consensus sends to one member.
pub(super) struct Link {
    id: u64,
    target: u64,
    /// The incarnation that is called. Files that were made anew are another one, and refuse the call.
    incarnation: Option<MetadataValue<Ascii>>,
    /// An address that is none says so at each call.
    clients: Result<Clients, String>,
    /// Appends are single calls rather than a stream: for heartbeats.
    alone: bool,
}

/// Everything but a deadline counts as unreachable: consensus then pauses before it tries again, which
/// it would not after any other network error.
fn unreachable(error: impl ToString) -> RpcError {
    RPCError::Unreachable(Unreachable::from_string(error))
}

impl Link {
    fn clients(&self) -> Result<Clients, RpcError> {
        self.clients.clone().map_err(unreachable)
    }

    /// A call to the incarnation that the group knows.
    fn to_target<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(incarnation) = &self.incarnation {
            request.metadata_mut().insert(INCARNATION, incarnation.clone());
        }
        request
    }

    async fn call<T>(
        &self,
        action: RPCTypes,
        timeout: Duration,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, RpcError> {
        within(self.id, self.target, action, timeout, call).await.map(tonic::Response::into_inner)
    }
}

async fn within<T>(
    id: u64,
    target: u64,
    action: RPCTypes,
    timeout: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, RpcError> {
    match tokio::time::timeout(timeout, call).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(status)) => Err(unreachable(status)),
        Err(_) => Err(RPCError::Timeout(Timeout { action, id, target, timeout })),
    }
}

/// Ends where a request without entries repeats the one before: what it should hold was purged meanwhile, and
/// consensus looks for another way, a snapshot, only once its stream is over.
fn until_stuck(
    requests: impl Stream<Item = AppendEntriesRequest<TypeConfig>>,
) -> impl Stream<Item = AppendEntriesRequest<TypeConfig>> {
    requests.scan(None, |before, request| {
        let empty = request.entries.is_empty().then_some((request.prev_log_id, request.leader_commit));
        let is_stuck = empty.is_some() && *before == empty;
        *before = empty;
        std::future::ready((!is_stuck).then_some(request))
    })
}

impl NetBackoff<TypeConfig> for Link {
    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(BACKOFF)))
    }
}

impl NetVote<TypeConfig> for Link {
    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let mut client = self.clients()?.quick;
        let call = client.vote(self.to_target(codec::vote_request_to(&request)));
        let response = self.call(RPCTypes::Vote, option.soft_ttl(), call).await?;
        codec::vote_response_from(response).map_err(unreachable)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let mut client = self.clients()?.quick;
        let call = client.pre_vote(self.to_target(codec::vote_request_to(&request)));
        let response = self.call(RPCTypes::Vote, option.soft_ttl(), call).await?;
        codec::vote_response_from(response).map_err(unreachable)
    }
}

impl NetTransferLeader<TypeConfig> for Link {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        let mut client = self.clients()?.quick;
        let call = client.transfer_leader(self.to_target(codec::transfer_to(&request)));
        let response = self.call(RPCTypes::TransferLeader, option.soft_ttl(), call).await?;
        codec::transferred_from(response).map_err(unreachable)
    }
}

type Appended<'s> = BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RpcError>>;

impl NetStreamAppend<TypeConfig> for Link {
    fn stream_append<S>(
        &mut self,
        requests: S,
        option: RPCOption,
    ) -> BoxFuture<'_, Result<Appended<'_>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let clients = self.clients()?;
            if self.alone {
                return Ok(self.append_alone(clients, requests, option.soft_ttl()));
            }
            self.append_stream(clients, requests).await
        })
    }
}

impl Link {
    fn append_alone<'s>(
        &'s self,
        clients: Clients,
        requests: impl Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + 's,
        timeout: Duration,
    ) -> Appended<'s> {
        let answers = requests.then(move |request| {
            let mut client = clients.quick.clone();
            async move {
                let call = client.append(self.to_target(codec::append_to(&request)));
                let response = self.call(RPCTypes::AppendEntries, timeout, call).await?;
                codec::appended_from(response).map_err(unreachable)
            }
        });
        Box::pin(answers)
    }

    async fn append_stream(
        &self,
        clients: Clients,
        mut requests: impl Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    ) -> Result<Appended<'static>, RpcError> {
        // Consensus pauses between attempts inside its stream of requests. A connection that is refused
        // fails before the stream is looked at, so it is looked at first.
        let Some(first) = requests.next().await else {
            return Ok(futures::stream::empty().boxed());
        };
        let requests = until_stuck(futures::stream::once(std::future::ready(first)).chain(requests));
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let requests = requests.map(move |request| {
            counter.fetch_add(1, Ordering::Relaxed);
            codec::append_to(&request)
        });
        let mut client = clients.log;
        let call = client.stream_append(self.to_target(requests));
        let answers = self.call(RPCTypes::AppendEntries, APPEND_TIMEOUT, call).await?;
        let (id, target) = (self.id, self.target);
        let answers = futures::stream::unfold(Some((answers, 0)), move |state| {
            let sent = Arc::clone(&sent);
            async move {
                let (mut answers, received) = state?;
                loop {
                    let unanswered = sent.load(Ordering::Relaxed) > received;
                    match within(id, target, RPCTypes::AppendEntries, APPEND_TIMEOUT, answers.message()).await
                    {
                        // With nothing to answer, silence is what is expected.
                        Err(RPCError::Timeout(_)) if !unanswered => {}
                        Err(error) => return Some((Err(error), None)),
                        Ok(None) => return None,
                        Ok(Some(answer)) => {
                            let answer = codec::appended_from(answer).map_err(unreachable);
                            return Some((answer, Some((answers, received + 1))));
                        }
                    }
                }
            }
        });
        Ok(Box::pin(answers))
    }
}

impl NetSnapshot<TypeConfig> for Link {
    type SnapshotData = Vec<Bytes>;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let mut client = self.clients()?.bulk;
        let parts: Vec<v1::RaftSnapshotPart> = snapshot::parts(&vote, &snapshot);
        let send = async {
            let parts = snapshot::paced(futures::stream::iter(parts));
            let call = client.install_snapshot(self.to_target(parts));
            self.call(RPCTypes::InstallSnapshot, option.soft_ttl(), call).await
        };
        let response = tokio::select! {
            biased;
            closed = cancel => return Err(closed.into()),
            response = send => response?,
        };
        let vote = response.vote.ok_or_else(|| unreachable("the answer to a snapshot has no vote"))?;
        Ok(SnapshotResponse::new(codec::vote_from(vote)))
    }
}
