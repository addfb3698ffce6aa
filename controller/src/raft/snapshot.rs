//! A snapshot on its way: cut into pieces, and put together again within bounds.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use muster_proto::v1;
use tonic::{Status, Streaming};

use super::codec;
use super::types::{Snapshot, Vote};

/// The size of a piece.
const PIECE: usize = 1024 * 1024;
/// Before each piece: 64 MiB/s at most, so that a large snapshot leaves heartbeats and entries their share of the
/// network, the disk and the processor. One that is torn is sent anew from its beginning.
const PAUSE: Duration = Duration::from_micros(15_625);
/// The largest snapshot: ten times what 100,000 instances with their evidence take.
const MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Into how many chunks it may be cut; ours have a MiB or little less.
const MAX_CHUNKS: u64 = 64 * 1024;
/// The longest silence between two pieces.
const IDLE: Duration = Duration::from_secs(10);

/// A snapshot as it travels. The pieces share the snapshot's memory.
pub(super) fn parts(vote: &Vote, snapshot: &Snapshot) -> Vec<v1::RaftSnapshotPart> {
    use v1::raft_snapshot_part::Part;
    let chunks = &snapshot.snapshot;
    let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    let header = v1::RaftSnapshotHeader {
        vote: Some(codec::vote_to(vote)),
        meta: Some(codec::snapshot_meta_to(&snapshot.meta, chunks.len() as u64, bytes)),
    };
    let pieces = chunks.iter().flat_map(|chunk| {
        let count = chunk.len().div_ceil(PIECE);
        (0..count).map(move |nth| {
            let data = chunk.slice(nth * PIECE..chunk.len().min((nth + 1) * PIECE));
            Part::Piece(v1::RaftSnapshotPiece { data, ends_chunk: nth + 1 == count })
        })
    });
    std::iter::once(Part::Header(header))
        .chain(pieces)
        .map(|part| v1::RaftSnapshotPart { part: Some(part) })
        .collect()
}

/// The parts, no faster than a snapshot may travel.
pub(super) fn paced<T>(parts: impl Stream<Item = T>) -> impl Stream<Item = T> {
    parts.then(|part| async move {
        tokio::time::sleep(PAUSE).await;
        part
    })
}

/// Puts pieces together.
struct Assembly {
    expected_chunks: u64,
    expected_bytes: u64,
    bytes: u64,
    chunks: Vec<Bytes>,
    open: BytesMut,
}

impl Assembly {
    fn add(&mut self, piece: &v1::RaftSnapshotPiece) -> Result<(), Status> {
        self.bytes += piece.data.len() as u64;
        if self.bytes > self.expected_bytes || self.chunks.len() as u64 >= self.expected_chunks {
            return Err(Status::invalid_argument("the snapshot is larger than it said"));
        }
        // Else they could go on for ever.
        if piece.data.is_empty() {
            return Err(Status::invalid_argument("a piece of the snapshot is empty"));
        }
        self.open.extend_from_slice(&piece.data);
        if piece.ends_chunk {
            self.chunks.push(self.open.split().freeze());
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<Bytes>, Status> {
        if self.bytes == self.expected_bytes
            && self.chunks.len() as u64 == self.expected_chunks
            && self.open.is_empty()
        {
            Ok(self.chunks)
        } else {
            Err(Status::data_loss("the snapshot was torn"))
        }
    }
}

/// Receives a snapshot, and the vote that came with it. `admit` checks the vote before anything is kept.
pub(super) async fn receive(
    mut parts: Streaming<v1::RaftSnapshotPart>,
    admit: impl FnOnce(&Vote) -> Result<(), Status>,
) -> Result<(Vote, Snapshot), Status> {
    use v1::raft_snapshot_part::Part;
    let malformed = |_| Status::invalid_argument("the snapshot's header is malformed");
    let Some(Part::Header(header)) = next(&mut parts).await? else {
        return Err(Status::invalid_argument("a snapshot begins with its header"));
    };
    let (Some(vote), Some(meta)) = (header.vote, header.meta) else {
        return Err(Status::invalid_argument("the snapshot's header is not whole"));
    };
    let vote = codec::vote_from(vote);
    admit(&vote)?;
    let (expected_chunks, expected_bytes) = (meta.chunks, meta.bytes);
    if expected_bytes > MAX_BYTES {
        return Err(Status::resource_exhausted(format!("the snapshot takes more than {MAX_BYTES} bytes")));
    }
    if expected_chunks > MAX_CHUNKS {
        return Err(Status::resource_exhausted(format!("the snapshot has more than {MAX_CHUNKS} chunks")));
    }
    let meta = codec::snapshot_meta_from(meta).map_err(malformed)?;
    let mut assembly =
        Assembly { expected_chunks, expected_bytes, bytes: 0, chunks: Vec::new(), open: BytesMut::new() };
    while let Some(part) = next(&mut parts).await? {
        let Part::Piece(piece) = part else {
            return Err(Status::invalid_argument("a snapshot has one header"));
        };
        assembly.add(&piece)?;
    }
    Ok((vote, Snapshot { meta, snapshot: assembly.finish()? }))
}

async fn next(
    parts: &mut Streaming<v1::RaftSnapshotPart>,
) -> Result<Option<v1::raft_snapshot_part::Part>, Status> {
    let part = tokio::time::timeout(IDLE, parts.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the snapshot stopped coming"))??;
    Ok(part.and_then(|part| part.part))
}

#[cfg(test)]
#[path = "tests/snapshot.rs"]
mod tests;
