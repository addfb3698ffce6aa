//! What controllers send each other and keep, damaged: nothing makes reading panic, and what is read is the same when it
//! was written and read again.

use muster_common::strategy::{damaged, thorough};
use muster_proto::v1;
use proptest::prelude::*;
use prost::Message as _;

use super::tests::{append, entries, snapshot_metas};
use super::{append_from, append_to, entry_from, entry_to, snapshot_meta_from, snapshot_meta_to};

fn bytes_of<M: prost::Message>(messages: impl IntoIterator<Item = M>) -> impl Strategy<Value = Vec<u8>> {
    let whole: Vec<Vec<u8>> = messages.into_iter().map(|message| message.encode_to_vec()).collect();
    damaged(proptest::sample::select(whole))
}

proptest! {
    #![proptest_config(thorough())]

    #[test]
    fn log_entries(bytes in bytes_of(entries().iter().map(entry_to))) {
        let Ok(message) = v1::RaftEntry::decode(bytes.as_slice()) else { return Ok(()) };
        match entry_from(message) {
            Err(refused) => prop_assert!(refused.to_string().starts_with("malformed Raft"), "{refused}"),
            Ok(entry) => prop_assert_eq!(entry_from(entry_to(&entry)).unwrap(), entry),
        }
    }

    #[test]
    fn appends(bytes in bytes_of([append_to(&append())])) {
        let Ok(message) = v1::RaftAppend::decode(bytes.as_slice()) else { return Ok(()) };
        match append_from(message) {
            Err(refused) => prop_assert!(refused.to_string().starts_with("malformed Raft"), "{refused}"),
            Ok(read) => {
                let again = append_from(append_to(&read)).unwrap();
                prop_assert_eq!((again.vote, again.prev_log_id), (read.vote, read.prev_log_id));
                prop_assert_eq!((again.entries, again.leader_commit), (read.entries, read.leader_commit));
            }
        }
    }

    #[test]
    fn snapshot_headers(bytes in bytes_of(snapshot_metas().iter().map(|meta| snapshot_meta_to(meta, 3, 4)))) {
        let Ok(message) = v1::RaftSnapshotMeta::decode(bytes.as_slice()) else { return Ok(()) };
        if let Ok(meta) = snapshot_meta_from(message) {
            prop_assert_eq!(snapshot_meta_from(snapshot_meta_to(&meta, 0, 0)).unwrap(), meta);
        }
    }
}
