//! The log and snapshot stores, by themselves.

mod reopen;
mod room;
mod suite;
mod view;

use std::sync::Arc;

use bytes::Bytes;
use muster_common::id::{ClusterId, ControllerId};
use muster_platform::Disk;
use openraft::storage::{IOFlushed, RaftLogStorage as _};
use openraft::type_config::TypeConfigExt as _;

use super::open::{Owner, Stores, open};
use crate::raft::types::{Entry, Incarnation, LogId, Payload, Proposal, TypeConfig};
use crate::raft::{StartError, Storage};

fn opened(storage: &Storage, disk: Disk) -> Result<Stores, StartError> {
    let owner = Owner {
        cluster: ClusterId::new("test").unwrap(),
        controller: ControllerId(1),
        incarnation: Incarnation("first".to_owned()),
    };
    open(storage, &owner, disk)
}

fn id(index: u64) -> LogId {
    LogId::new_term_index(1, index)
}

fn entry(index: u64, size: usize) -> Entry {
    let commands: Arc<[Bytes]> = vec![vec![1; size].into()].into();
    Entry { log_id: id(index), payload: Payload::Normal(Proposal { commands }) }
}

/// Appends entries and waits until they are durable.
async fn append(stores: &mut Stores, entries: Vec<Entry>) {
    let (flushed, outcome) = TypeConfig::oneshot();
    stores.log.append(entries, IOFlushed::<TypeConfig>::signal(flushed)).await.unwrap();
    outcome.await.unwrap().unwrap();
}

/// Drops the stores and waits until their files are closed.
async fn close(stores: Stores) {
    let closed = stores.closed.clone();
    drop(stores);
    for closed in closed {
        closed.cancelled().await;
    }
}
