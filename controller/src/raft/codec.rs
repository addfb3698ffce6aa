//! openraft's nouns as messages, and back. What travels and what is stored is the same.

use std::collections::BTreeSet;

use muster_proto::v1;
use openraft::impls::leader_id_std::LeaderId;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::types::{
    Addresses, Entry, Incarnation, LogId, Membership, Nodes, Payload, Proposal, SnapshotMeta,
    StoredMembership, TypeConfig, Vote,
};

/// A message that cannot be what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed {message}: {problem}")]
pub(crate) struct Malformed {
    message: &'static str,
    problem: String,
}

fn required<T>(message: &'static str, field: &'static str, value: Option<T>) -> Result<T, Malformed> {
    value.ok_or_else(|| Malformed { message, problem: format!("{field} is missing") })
}

pub(crate) fn vote_to(vote: &Vote) -> v1::RaftVote {
    v1::RaftVote { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
}

pub(crate) fn vote_from(vote: v1::RaftVote) -> Vote {
    Vote { leader_id: LeaderId { term: vote.term, voted_for: vote.node }, committed: vote.committed }
}

pub(crate) fn log_id_to(id: LogId) -> v1::RaftLogId {
    v1::RaftLogId { term: id.leader_id.term, index: id.index }
}

pub(crate) fn log_id_from(id: v1::RaftLogId) -> LogId {
    LogId::new_term_index(id.term, id.index)
}

pub(crate) fn member_to(id: u64, node: &Addresses) -> v1::RaftMember {
    v1::RaftMember {
        id,
        cluster_addr: node.cluster.clone(),
        api_addr: node.api.clone(),
        incarnation: node.incarnation.0.clone(),
    }
}

pub(crate) fn member_from(member: v1::RaftMember) -> (u64, Addresses) {
    let incarnation = Incarnation(member.incarnation);
    (member.id, Addresses { cluster: member.cluster_addr, api: member.api_addr, incarnation })
}

fn membership_to(membership: &Membership) -> v1::RaftMembership {
    v1::RaftMembership {
        configs: membership
            .get_joint_config()
            .iter()
            .map(|voters| v1::RaftQuorum { voters: voters.iter().copied().collect() })
            .collect(),
        members: membership.nodes().map(|(id, node)| member_to(*id, node)).collect(),
    }
}

fn membership_from(membership: v1::RaftMembership) -> Result<Membership, Malformed> {
    let configs: Vec<BTreeSet<u64>> =
        membership.configs.into_iter().map(|quorum| quorum.voters.into_iter().collect()).collect();
    let nodes: Nodes = membership.members.into_iter().map(member_from).collect();
    if configs.is_empty() && nodes.is_empty() {
        return Ok(Membership::default()); // what a member has before it knows a group
    }
    Membership::new(configs, nodes)
        .map_err(|error| Malformed { message: "RaftMembership", problem: error.to_string() })
}

fn stored_membership_to(stored: &StoredMembership) -> v1::RaftStoredMembership {
    v1::RaftStoredMembership {
        log_id: stored.log_id().map(log_id_to),
        membership: Some(membership_to(stored.membership())),
    }
}

fn stored_membership_from(stored: v1::RaftStoredMembership) -> Result<StoredMembership, Malformed> {
    let membership = required("RaftStoredMembership", "membership", stored.membership)?;
    Ok(StoredMembership::new(stored.log_id.map(log_id_from), membership_from(membership)?))
}

pub(crate) fn entry_to(entry: &Entry) -> v1::RaftEntry {
    let payload = match &entry.payload {
        Payload::Blank => None,
        Payload::Normal(proposal) => {
            Some(v1::raft_entry::Payload::Commands(v1::RaftCommands { commands: proposal.commands.to_vec() }))
        }
        Payload::Membership(membership) => {
            Some(v1::raft_entry::Payload::Membership(membership_to(membership)))
        }
    };
    v1::RaftEntry { id: Some(log_id_to(entry.log_id)), payload }
}

pub(crate) fn entry_from(entry: v1::RaftEntry) -> Result<Entry, Malformed> {
    let id = required("RaftEntry", "id", entry.id)?;
    let payload = match entry.payload {
        None => Payload::Blank,
        Some(v1::raft_entry::Payload::Commands(commands)) => {
            Payload::Normal(Proposal { commands: commands.commands.into() })
        }
        Some(v1::raft_entry::Payload::Membership(membership)) => {
            Payload::Membership(membership_from(membership)?)
        }
    };
    Ok(Entry { log_id: log_id_from(id), payload })
}

pub(crate) fn append_to(request: &AppendEntriesRequest<TypeConfig>) -> v1::RaftAppend {
    v1::RaftAppend {
        vote: Some(vote_to(&request.vote)),
        previous: request.prev_log_id.map(log_id_to),
        entries: request.entries.iter().map(entry_to).collect(),
        leader_commit: request.leader_commit.map(log_id_to),
    }
}

pub(crate) fn append_from(request: v1::RaftAppend) -> Result<AppendEntriesRequest<TypeConfig>, Malformed> {
    let prev_log_id = request.previous.map(log_id_from);
    let entries: Vec<Entry> = request.entries.into_iter().map(entry_from).collect::<Result<_, _>>()?;
    // Consensus takes this for granted, and a hole in the log for what it replaces.
    let first = prev_log_id.map_or(0, |previous| previous.index + 1);
    if let Some((expected, entry)) =
        (first..).zip(&entries).find(|(index, entry)| entry.log_id.index != *index)
    {
        let problem = format!("entry {} comes where {expected} should", entry.log_id.index);
        return Err(Malformed { message: "RaftAppend", problem });
    }
    Ok(AppendEntriesRequest {
        vote: vote_from(required("RaftAppend", "vote", request.vote)?),
        prev_log_id,
        entries,
        leader_commit: request.leader_commit.map(log_id_from),
    })
}

pub(crate) fn appended_to(result: &StreamAppendResult<TypeConfig>) -> v1::RaftAppended {
    use v1::raft_appended::Outcome;
    let outcome = match result {
        Ok(matched) => Outcome::Matched(v1::RaftMatched { up_to: matched.map(log_id_to) }),
        Err(StreamAppendError::Conflict(at)) => Outcome::Conflict(log_id_to(*at)),
        Err(StreamAppendError::HigherVote(vote)) => Outcome::HigherVote(vote_to(vote)),
    };
    v1::RaftAppended { outcome: Some(outcome) }
}

pub(crate) fn appended_from(response: v1::RaftAppended) -> Result<StreamAppendResult<TypeConfig>, Malformed> {
    use v1::raft_appended::Outcome;
    Ok(match required("RaftAppended", "outcome", response.outcome)? {
        Outcome::Matched(matched) => Ok(matched.up_to.map(log_id_from)),
        Outcome::Conflict(at) => Err(StreamAppendError::Conflict(log_id_from(at))),
        Outcome::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote_from(vote))),
    })
}

pub(crate) fn vote_request_to(request: &VoteRequest<TypeConfig>) -> v1::RaftVoteRequest {
    v1::RaftVoteRequest {
        vote: Some(vote_to(&request.vote)),
        last: request.last_log_id.map(log_id_to),
        leadership_transfer: request.leadership_transfer,
    }
}

pub(crate) fn vote_request_from(request: v1::RaftVoteRequest) -> Result<VoteRequest<TypeConfig>, Malformed> {
    Ok(VoteRequest {
        vote: vote_from(required("RaftVoteRequest", "vote", request.vote)?),
        last_log_id: request.last.map(log_id_from),
        leadership_transfer: request.leadership_transfer,
    })
}

pub(crate) fn vote_response_to(response: &VoteResponse<TypeConfig>) -> v1::RaftVoteResponse {
    v1::RaftVoteResponse {
        vote: Some(vote_to(&response.vote)),
        granted: response.vote_granted,
        last: response.last_log_id.map(log_id_to),
    }
}

pub(crate) fn vote_response_from(
    response: v1::RaftVoteResponse,
) -> Result<VoteResponse<TypeConfig>, Malformed> {
    Ok(VoteResponse {
        vote: vote_from(required("RaftVoteResponse", "vote", response.vote)?),
        vote_granted: response.granted,
        last_log_id: response.last.map(log_id_from),
    })
}

/// `chunks` and `bytes` let the receiver tell a whole snapshot from a torn one.
pub(crate) fn snapshot_meta_to(meta: &SnapshotMeta, chunks: u64, bytes: u64) -> v1::RaftSnapshotMeta {
    v1::RaftSnapshotMeta {
        last: meta.last_log_id.map(log_id_to),
        membership: Some(stored_membership_to(&meta.last_membership)),
        chunks,
        bytes,
    }
}

pub(crate) fn snapshot_meta_from(meta: v1::RaftSnapshotMeta) -> Result<SnapshotMeta, Malformed> {
    let membership = required("RaftSnapshotMeta", "membership", meta.membership)?;
    Ok(SnapshotMeta {
        last_log_id: meta.last.map(log_id_from),
        last_membership: stored_membership_from(membership)?,
    })
}

pub(crate) fn transfer_to(request: &TransferLeaderRequest<TypeConfig>) -> v1::RaftTransfer {
    v1::RaftTransfer {
        from: Some(vote_to(request.from_leader())),
        to: *request.to_node_id(),
        last: request.last_log_id().copied().map(log_id_to),
    }
}

pub(crate) fn transfer_from(
    request: v1::RaftTransfer,
) -> Result<TransferLeaderRequest<TypeConfig>, Malformed> {
    let from = vote_from(required("RaftTransfer", "from", request.from)?);
    Ok(TransferLeaderRequest::new(from, request.to, request.last.map(log_id_from)))
}

pub(crate) fn transferred_to(response: TransferLeaderResponse<TypeConfig>) -> v1::RaftTransferred {
    use v1::raft_transferred::Refused;
    let refused = response.err().map(|error| match error {
        TransferLeaderError::VoteChanged { expected, actual } => Refused::VoteChanged(v1::RaftVoteChanged {
            expected: Some(vote_to(&expected)),
            actual: Some(vote_to(&actual)),
        }),
        TransferLeaderError::LogNotFlushed { expected, actual } => {
            Refused::LogNotFlushed(v1::RaftLogNotFlushed {
                expected: expected.map(log_id_to),
                actual: actual.map(log_id_to),
            })
        }
    });
    v1::RaftTransferred { refused }
}

pub(crate) fn transferred_from(
    response: v1::RaftTransferred,
) -> Result<TransferLeaderResponse<TypeConfig>, Malformed> {
    use v1::raft_transferred::Refused;
    Ok(match response.refused {
        None => Ok(()),
        Some(Refused::VoteChanged(changed)) => Err(TransferLeaderError::VoteChanged {
            expected: vote_from(required("RaftVoteChanged", "expected", changed.expected)?),
            actual: vote_from(required("RaftVoteChanged", "actual", changed.actual)?),
        }),
        Some(Refused::LogNotFlushed(behind)) => Err(TransferLeaderError::LogNotFlushed {
            expected: behind.expected.map(log_id_from),
            actual: behind.actual.map(log_id_from),
        }),
    })
}

#[cfg(test)]
#[path = "tests/codec_fuzz.rs"]
mod fuzz;
#[cfg(test)]
#[path = "tests/codec.rs"]
mod tests;
