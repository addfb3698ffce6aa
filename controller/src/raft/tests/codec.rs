use std::collections::BTreeSet;

use super::*;

fn id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

fn membership() -> Membership {
    let nodes: Nodes = (1..=4)
        .map(|n| {
            let (cluster, api) = (format!("10.0.0.{n}:4100"), format!("10.0.0.{n}:4000"));
            (n, Addresses { cluster, api, incarnation: Incarnation(format!("files-{n}")) })
        })
        .collect();
    let configs = vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])];
    Membership::new(configs, nodes).unwrap()
}

pub(super) fn entries() -> Vec<Entry> {
    let commands = vec![bytes::Bytes::from_static(b"one"), bytes::Bytes::new()].into();
    vec![
        Entry { log_id: id(1, 0), payload: Payload::Membership(membership()) },
        Entry { log_id: id(1, 1), payload: Payload::Blank },
        Entry { log_id: id(2, 2), payload: Payload::Normal(Proposal { commands }) },
        Entry { log_id: id(2, 3), payload: Payload::Membership(Membership::default()) },
    ]
}

fn through<M: prost::Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

#[test]
fn entries_survive_being_written() {
    for entry in entries() {
        assert_eq!(entry_from(through(&entry_to(&entry))).unwrap(), entry);
    }
    let error = entry_from(v1::RaftEntry::default()).unwrap_err();
    assert_eq!(error.to_string(), "malformed RaftEntry: id is missing");
}

pub(super) fn append() -> AppendEntriesRequest<TypeConfig> {
    AppendEntriesRequest {
        vote: Vote { leader_id: LeaderId { term: 7, voted_for: 3 }, committed: true },
        prev_log_id: Some(id(1, 0)),
        entries: entries().split_off(1),
        leader_commit: Some(id(0, 0)),
    }
}

#[test]
fn requests_survive_the_wire() {
    let append = append();
    let vote = append.vote;
    let back = append_from(through(&append_to(&append))).unwrap();
    assert_eq!((back.vote, back.prev_log_id), (append.vote, append.prev_log_id));
    assert_eq!((back.entries, back.leader_commit), (append.entries, append.leader_commit));

    for leadership_transfer in [true, false] {
        let request = VoteRequest { vote, last_log_id: None, leadership_transfer };
        assert_eq!(vote_request_from(through(&vote_request_to(&request))).unwrap(), request);
        let response = VoteResponse { vote, vote_granted: leadership_transfer, last_log_id: Some(id(3, 4)) };
        assert_eq!(vote_response_from(through(&vote_response_to(&response))).unwrap(), response);
    }
    let transfer = TransferLeaderRequest::new(vote, 2, Some(id(7, 9)));
    assert_eq!(transfer_from(through(&transfer_to(&transfer))).unwrap(), transfer);
}

#[test]
fn answers_survive_the_wire() {
    let vote = Vote { leader_id: LeaderId { term: 7, voted_for: 3 }, committed: false };
    let answers: [StreamAppendResult<TypeConfig>; 4] = [
        Ok(None),
        Ok(Some(id(0, 0))),
        Err(StreamAppendError::Conflict(id(2, 5))),
        Err(StreamAppendError::HigherVote(vote)),
    ];
    for answer in answers {
        assert_eq!(appended_from(through(&appended_to(&answer))).unwrap(), answer);
    }
    let transfers: [TransferLeaderResponse<TypeConfig>; 3] = [
        Ok(()),
        Err(TransferLeaderError::VoteChanged { expected: vote, actual: vote }),
        Err(TransferLeaderError::LogNotFlushed { expected: Some(id(1, 1)), actual: None }),
    ];
    for answer in transfers {
        assert_eq!(transferred_from(through(&transferred_to(answer.clone()))).unwrap(), answer);
    }
    assert!(appended_from(v1::RaftAppended::default()).is_err());
}

pub(super) fn snapshot_metas() -> [SnapshotMeta; 2] {
    let stored = StoredMembership::new(Some(id(2, 50)), membership());
    [
        SnapshotMeta { last_log_id: None, last_membership: StoredMembership::default() },
        SnapshotMeta { last_log_id: Some(id(3, 99)), last_membership: stored },
    ]
}

#[test]
fn snapshot_headers_survive() {
    for meta in snapshot_metas() {
        assert_eq!(snapshot_meta_from(through(&snapshot_meta_to(&meta, 3, 4))).unwrap(), meta);
    }
}

#[test]
fn an_append_that_would_leave_a_hole_is_refused() {
    let entry = |index| Entry { log_id: id(1, index), payload: Payload::Blank };
    let append = |previous: Option<u64>, indexes: &[u64]| {
        append_from(append_to(&AppendEntriesRequest {
            vote: Vote::new_committed(1, 1),
            prev_log_id: previous.map(|index| id(1, index)),
            entries: indexes.iter().map(|index| entry(*index)).collect(),
            leader_commit: None,
        }))
    };
    for (previous, whole) in [(None, &[0, 1][..]), (Some(4), &[5, 6, 7]), (Some(4), &[])] {
        append(previous, whole).unwrap();
    }
    for (previous, holed) in [(None, &[1][..]), (Some(4), &[6]), (Some(4), &[5, 7]), (Some(4), &[4, 5])] {
        append(previous, holed).unwrap_err();
    }
}
