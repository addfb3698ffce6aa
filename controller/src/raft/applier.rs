//! Feeds the machine what the group has agreed on, in order, and keeps its snapshots.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use metrics::{counter, gauge, histogram};
use muster_common::id::Revision;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use tokio::sync::watch;

use super::compaction::Growth;
use super::machine::{Encode, Machine};
use super::types::{LogId, Payload, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};
use crate::store::SnapshotStore;

/// Owns the machine.
pub(crate) struct Applier {
    /// The mutex is never locked: it makes a `Send` machine `Sync`, as openraft asks.
    machine: Mutex<Box<dyn Machine>>,
    last: Option<LogId>,
    membership: StoredMembership,
    snapshots: SnapshotStore,
    growth: Growth,
    applied: watch::Sender<Revision>,
}

impl Applier {
    pub(crate) fn new(
        machine: Box<dyn Machine>,
        snapshots: SnapshotStore,
        growth: Growth,
        applied: watch::Sender<Revision>,
    ) -> Self {
        Self {
            machine: Mutex::new(machine),
            last: None,
            membership: StoredMembership::default(),
            snapshots,
            growth,
            applied,
        }
    }

    fn machine(&mut self) -> &mut dyn Machine {
        &mut **self.machine.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows readers the machine as it is now, and tells those who wait for it.
    fn publish(&mut self) {
        self.machine().publish();
        let applied = self.last.map_or(Revision(0), |last| Revision(last.index));
        self.applied.send_replace(applied);
    }
}

impl RaftStateMachine<TypeConfig> for Applier {
    type SnapshotData = Vec<Bytes>;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<Entries>(&mut self, mut entries: Entries) -> io::Result<()>
    where
        Entries: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut answers = Vec::new();
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let replies: Vec<Bytes> = match &entry.payload {
                Payload::Blank => Vec::new(),
                Payload::Normal(proposal) => {
                    let revision = Revision(entry.log_id.index);
                    self.growth.add(proposal.commands.iter().map(Bytes::len).sum());
                    let commands = proposal.commands.iter();
                    let replies: Result<_, _> =
                        commands.map(|command| self.machine().apply(revision, command)).collect();
                    replies.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
                }
                Payload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                    Vec::new()
                }
            };
            self.last = Some(entry.log_id);
            answers.extend(responder.map(|responder| (responder, replies)));
        }
        // Whoever is answered must be able to read what was answered.
        self.publish();
        for (responder, replies) in answers {
            responder.send(replies);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        self.growth.begin_anew();
        Builder {
            meta: SnapshotMeta { last_log_id: self.last, last_membership: self.membership.clone() },
            encode: Mutex::new(Some(self.machine().snapshot())),
            snapshots: self.snapshots.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, chunks: Vec<Bytes>) -> io::Result<()> {
        self.machine().restore(&chunks).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.snapshots.replace(meta.clone(), chunks).await?;
        self.growth.begin_anew();
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.publish();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        self.snapshots.read().await
    }
}

/// Tells how large a snapshot was, and how long it took to make and to keep.
#[allow(clippy::cast_precision_loss)] // a gauge is a float
fn observe(chunks: &[Bytes], took: Duration) {
    let bytes: usize = chunks.iter().map(Bytes::len).sum();
    gauge!("muster_raft_snapshot_bytes").set(bytes as f64);
    histogram!("muster_raft_snapshot_seconds").record(took.as_secs_f64());
}

/// A snapshot that has been taken but not encoded.
pub(crate) struct Builder {
    meta: SnapshotMeta,
    /// As in [`Applier`], the mutex only makes it `Sync`.
    encode: Mutex<Option<Encode>>,
    snapshots: SnapshotStore,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Vec<Bytes>;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let encode = self.encode.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let encode = encode.ok_or_else(|| io::Error::other("a snapshot is built once"))?;
        let begun = Instant::now();
        let chunks = self.snapshots.disk().run(encode).await?;
        // To end for that would end all members at about the same time: their logs are as long, and mostly their disks as
        // large. The log grows until there is room, or until it has none itself.
        if let Some(no_room) = self.snapshots.lacks_room_for(&chunks).await? {
            counter!("muster_raft_snapshots_without_room_total").increment(1);
            tracing::warn!(%no_room, "a snapshot is not kept, and the log grows meanwhile; make room on the disk of state.redb");
            // Of what is given back here nobody looks at more than how far it reaches.
            let meta = self.snapshots.meta().await?.unwrap_or_default();
            return Ok(Snapshot { meta, snapshot: Vec::new() });
        }
        self.snapshots.replace(self.meta.clone(), chunks.clone()).await?;
        observe(&chunks, begun.elapsed());
        Ok(Snapshot { meta: self.meta.clone(), snapshot: chunks })
    }
}
