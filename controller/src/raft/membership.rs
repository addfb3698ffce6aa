//! The gRPC service through which other controllers list and change the members of the group.

use std::sync::Arc;

use muster_common::id::ControllerId;
use muster_proto::v1;
use muster_proto::v1::members_server::Members;
use tonic::{Request, Response, Status};

use super::codec;
use super::founding;
use super::members::{self, MemberChange, NotChanged};
use super::node::{Leader, Node};
use super::service::elsewhere;
use super::types::{Addresses, Incarnation};

/// Serves the calls.
pub(super) struct Membership {
    node: Arc<Node>,
}

impl Membership {
    pub(super) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    /// In a task of its own: a caller that hangs up must not leave a change half made.
    async fn change(&self, change: MemberChange) -> Response<v1::MemberChangeResponse> {
        use v1::member_change_response::Outcome;
        let node = Arc::clone(&self.node);
        let made = tokio::spawn(async move { members::make(&node, &change).await });
        let outcome = match made.await {
            Ok(Ok(())) => Outcome::Done(v1::MemberChangeDone {}),
            Ok(Err(NotChanged::Refused(why))) => {
                Outcome::Refused(v1::MemberChangeRefused { why, is_unknown: false })
            }
            Ok(Err(NotChanged::NoMember)) => {
                Outcome::Refused(v1::MemberChangeRefused { why: String::new(), is_unknown: true })
            }
            Ok(Err(NotChanged::Elsewhere(at))) => Outcome::LeaderElsewhere(elsewhere(&at)),
            Ok(Err(NotChanged::Unknown(cause))) => Outcome::Unknown(v1::MemberChangeUnknown { cause }),
            Err(ended) => Outcome::Unknown(v1::MemberChangeUnknown { cause: ended.to_string() }),
        };
        Response::new(v1::MemberChangeResponse { outcome: Some(outcome) })
    }
}

#[tonic::async_trait]
impl Members for Membership {
    async fn hello(
        &self,
        _request: Request<v1::HelloRequest>,
    ) -> Result<Response<v1::HelloResponse>, Status> {
        Ok(Response::new(founding::own(&self.node).to_message()))
    }

    async fn list(
        &self,
        _request: Request<v1::ListMembersRequest>,
    ) -> Result<Response<v1::ListMembersResponse>, Status> {
        use v1::list_members_response::Outcome;
        let known = members::known_here(&self.node);
        let outcome = match (self.node.leader(), known.last) {
            (Leader::Me, Some(last)) => {
                let standing = |standing: members::Standing| {
                    let at = Addresses {
                        cluster: standing.member.cluster_addr,
                        api: standing.member.api_addr,
                        incarnation: Incarnation::default(),
                    };
                    v1::MemberStanding {
                        member: Some(codec::member_to(standing.member.id.0, &at)),
                        votes: standing.votes,
                        last: standing.last,
                        silent_ms: standing
                            .silent
                            .map(|silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)),
                    }
                };
                let members = known.members.into_iter().map(standing).collect();
                Outcome::Standings(v1::MemberStandings { members, last })
            }
            (Leader::Other(leader), _) => {
                Outcome::LeaderElsewhere(v1::LeaderElsewhere { leader: Some(leader.id.0) })
            }
            (Leader::Me | Leader::Nobody, _) => {
                Outcome::LeaderElsewhere(v1::LeaderElsewhere { leader: None })
            }
        };
        Ok(Response::new(v1::ListMembersResponse { outcome: Some(outcome) }))
    }

    async fn add(
        &self,
        request: Request<v1::AddMemberRequest>,
    ) -> Result<Response<v1::MemberChangeResponse>, Status> {
        let request = request.into_inner();
        let id = ControllerId(request.id);
        Ok(self.change(MemberChange::Add { id, address: request.cluster_addr }).await)
    }

    async fn remove(
        &self,
        request: Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::MemberChangeResponse>, Status> {
        let id = ControllerId(request.into_inner().id);
        Ok(self.change(MemberChange::Remove { id }).await)
    }
}
