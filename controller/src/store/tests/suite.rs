//! openraft's own tests of a store.

use std::io;
use std::sync::Arc;

use muster_common::id::{ClusterId, ControllerId, Revision};
use muster_platform::Disk;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tokio::sync::watch;

use crate::raft::Storage;
use crate::raft::applier::Applier;
use crate::raft::compaction::Growth;
use crate::raft::tests::Adder;
use crate::raft::types::{Incarnation, Runtime, TypeConfig};
use crate::store::log::LogStore;
use crate::store::{MemoryDisk, Owner, open};

struct Builder {
    disk: Disk,
    on_disk: bool,
}

impl StoreBuilder<TypeConfig, LogStore, Applier, Option<tempfile::TempDir>> for Builder {
    async fn build(
        &self,
    ) -> Result<(Option<tempfile::TempDir>, LogStore, Applier), StorageError<TypeConfig>> {
        let directory = self.on_disk.then(|| tempfile::tempdir().unwrap());
        let storage = match &directory {
            Some(directory) => Storage::Directory(directory.path().to_owned()),
            None => Storage::Memory(MemoryDisk::new()),
        };
        let owner = Owner {
            cluster: ClusterId::new("test").unwrap(),
            controller: ControllerId(1),
            incarnation: Incarnation::default(),
        };
        let stores = open(&storage, &owner, self.disk).map_err(io::Error::other).unwrap();
        let growth = Growth::new(u64::MAX, Arc::default());
        let applier =
            Applier::new(Box::new(Adder::default()), stores.snapshots, growth, watch::channel(Revision(0)).0);
        Ok((directory, stores.log, applier))
    }
}

async fn passes(builder: Builder) {
    Runtime::scope(1, Suite::test_all(builder)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_passes_on_disk_with_a_writer_thread() {
    passes(Builder { disk: Disk::Threads, on_disk: true }).await;
}

#[tokio::test]
async fn the_store_passes_on_disk_inline() {
    passes(Builder { disk: Disk::Inline, on_disk: true }).await;
}

#[tokio::test]
async fn the_store_passes_in_memory_inline() {
    passes(Builder { disk: Disk::Inline, on_disk: false }).await;
}
