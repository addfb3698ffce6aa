//! A whole state as a list of chunks, so that a large one travels and is written piece by piece.
//! Equal states give equal bytes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use muster_common::cluster::ClusterStateData;
use muster_common::id::Revision;
use muster_common::time::{LedTime, Timestamp};
use muster_proto::v1::snapshot_record::Body;
use muster_proto::{Fields, v1};
use prost::Message;

use super::{DecodeError, no_body, operation, record};
use crate::state::{Retention, State};

/// A chunk is closed before it is larger than this, unless it is a single record: just under 1 MiB, as it takes the next
/// power of two in its file.
const CHUNK_BYTES: usize = 1024 * 1024 - 8 * 1024;

/// A snapshot that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// One of its records.
    #[error("record {index} of the snapshot cannot be read: {source}")]
    Record {
        /// Counted from 0 over all chunks; of a whole chunk that cannot be read, its first.
        index: u64,
        /// Why.
        source: DecodeError,
    },
    /// Pieces are missing, repeated or out of order.
    #[error("the snapshot is not whole: {0}")]
    NotWhole(String),
}

/// Writes `state`; the first record names the revision, the last one counts the others.
#[must_use]
pub(crate) fn write_snapshot(state: &State) -> Vec<Bytes> {
    let mut chunks = Chunks::default();
    chunks.push(Body::Head(v1::SnapshotHead {
        revision: state.revision.0,
        cluster_state: state.cluster.state.to_string(),
        cluster_updated_ms: state.cluster.updated.as_ms(),
        retention: Some(state.retention.into()),
        leader_address: state.leader.clone(),
        leader_term: state.term,
        history: state.history.clone(),
        history_after: state.history_after.0,
        events_compacted: state.events.compacted().0,
        clock_ms: state.clock.as_ms(),
        led_ms: Some(state.led.as_ms()),
    }));
    for service in state.services.values() {
        chunks.push(Body::Service(record::write_service(service)));
    }
    for executor in state.executors.values() {
        chunks.push(Body::Executor(record::write_executor(executor)));
    }
    for (id, slot) in state.slots.iter() {
        chunks.push(Body::Slot(record::write_slot(&id, slot)));
    }
    for instance in state.instances.iter() {
        chunks.push(Body::Instance(record::write_instance(instance)));
    }
    for operation in state.operations.iter() {
        chunks.push(Body::Operation(operation::write(operation)));
    }
    for (position, event) in state.events.iter() {
        chunks.push(Body::Event(record::write_event(*position, event)));
    }
    chunks.finish()
}

/// Reads what [`write_snapshot`] wrote.
pub(crate) fn read_snapshot(chunks: &[Bytes]) -> Result<State, SnapshotError> {
    let mut reader = Reader::default();
    for chunk in chunks {
        let index = reader.count;
        let chunk = v1::SnapshotChunk::decode(chunk.clone())
            .map_err(|error| SnapshotError::Record { index, source: error.into() })?;
        for record in chunk.records {
            reader.read(record)?;
        }
    }
    if reader.ended { Ok(reader.state) } else { Err(not_whole("its end is missing")) }
}

/// Gathers records into chunks.
#[derive(Default)]
struct Chunks {
    done: Vec<Bytes>,
    open: BytesMut,
    count: u64,
}

impl Chunks {
    fn push(&mut self, body: Body) {
        // Messages concatenate: a chunk of one record after another is a chunk of all of them.
        let one = v1::SnapshotChunk { records: vec![v1::SnapshotRecord { body: Some(body) }] };
        if !self.open.is_empty() && self.open.len() + one.encoded_len() > CHUNK_BYTES {
            self.done.push(self.open.split().freeze());
        }
        self.open.extend_from_slice(&one.encode_to_vec());
        self.count += 1;
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.push(Body::End(v1::SnapshotEnd { records: self.count }));
        if !self.open.is_empty() {
            self.done.push(self.open.freeze());
        }
        self.done
    }
}

/// Puts records together to a state.
#[derive(Default)]
struct Reader {
    state: State,
    count: u64,
    ended: bool,
}

impl Reader {
    fn read(&mut self, record: v1::SnapshotRecord) -> Result<(), SnapshotError> {
        let index = self.count;
        let body = record.body.ok_or_else(|| SnapshotError::Record {
            index,
            source: no_body(Fields("SnapshotRecord")).into(),
        })?;
        if self.ended {
            return Err(not_whole("there are records after its end"));
        }
        if matches!(body, Body::Head(_)) != (index == 0) {
            return Err(not_whole(format!("record {index} is out of place")));
        }
        if let Body::End(end) = &body {
            if end.records != index {
                return Err(not_whole(format!("it has {index} of {} records", end.records)));
            }
            self.ended = true;
        }
        self.count += 1;
        self.store(body).map_err(|source| SnapshotError::Record { index, source })
    }

    fn store(&mut self, body: Body) -> Result<(), DecodeError> {
        let state = &mut self.state;
        match body {
            Body::Head(head) => {
                state.revision = Revision(head.revision);
                let cluster = Fields("SnapshotHead").parse("cluster_state", &head.cluster_state)?;
                let updated = Timestamp(head.cluster_updated_ms);
                state.cluster = ClusterStateData { state: cluster, updated };
                state.clock = Timestamp(head.clock_ms);
                state.led = LedTime(head.led_ms.unwrap_or(head.clock_ms));
                state.retention = head.retention.map_or_else(Retention::default, Into::into);
                state.leader = head.leader_address;
                state.term = head.leader_term;
                state.history = head.history;
                state.history_after = Revision(head.history_after);
                state.events.set_compacted(Revision(head.events_compacted));
            }
            Body::Service(message) => {
                let service = record::read_service(&message)?;
                state.services.insert(service.id.clone(), Arc::new(service));
            }
            Body::Executor(message) => {
                let executor = record::read_executor(message)?;
                state.executors.insert(executor.record.id.clone(), Arc::new(executor));
            }
            Body::Slot(message) => {
                let (id, slot) = record::read_slot(message)?;
                state.slots.insert(&id, Arc::new(slot));
            }
            Body::Instance(message) => {
                let instance = record::read_instance(message)?;
                state.instances.put(instance, state.retention.old_instances);
            }
            Body::Operation(message) => state.operations.put(operation::read(message)?),
            Body::Event(message) => {
                let (position, event) = record::read_event(message)?;
                state.events.append(position, event);
            }
            Body::End(_) => {}
        }
        Ok(())
    }
}

fn not_whole(problem: impl Into<String>) -> SnapshotError {
    SnapshotError::NotWhole(problem.into())
}
