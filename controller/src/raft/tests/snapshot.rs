use muster_proto::v1::raft_snapshot_part::Part;

use super::super::types::SnapshotMeta;
use super::*;

fn snapshot(sizes: &[usize]) -> Snapshot {
    let chunk = |size: &usize| Bytes::from((0..*size).map(|nth| nth.to_le_bytes()[0]).collect::<Vec<_>>());
    Snapshot { meta: SnapshotMeta::default(), snapshot: sizes.iter().map(chunk).collect() }
}

fn pieces(snapshot: &Snapshot) -> (Assembly, Vec<v1::RaftSnapshotPiece>) {
    let mut parts = parts(&Vote::new(1, 1), snapshot).into_iter().map(|part| part.part.unwrap());
    let Some(Part::Header(header)) = parts.next() else { panic!("no header") };
    let meta = header.meta.unwrap();
    let assembly = Assembly {
        expected_chunks: meta.chunks,
        expected_bytes: meta.bytes,
        bytes: 0,
        chunks: Vec::new(),
        open: BytesMut::new(),
    };
    let pieces = parts
        .map(|part| match part {
            Part::Piece(piece) => piece,
            Part::Header(_) => panic!("a second header"),
        })
        .collect();
    (assembly, pieces)
}

#[test]
fn chunks_of_any_size_arrive_as_they_were() {
    for sizes in [&[][..], &[1, 2, 3], &[PIECE], &[PIECE + 1, 2 * PIECE, 5]] {
        let snapshot = snapshot(sizes);
        let (mut assembly, pieces) = pieces(&snapshot);
        assert!(pieces.iter().all(|piece| piece.data.len() <= PIECE));
        for piece in pieces {
            assembly.add(&piece).unwrap();
        }
        assert_eq!(assembly.finish().unwrap(), snapshot.snapshot);
    }
}

#[test]
fn torn_and_overfull_snapshots_are_refused() {
    let snapshot = snapshot(&[PIECE + 1, 7]);
    let (mut torn, mut some) = pieces(&snapshot);
    some.pop();
    for piece in &some {
        torn.add(piece).unwrap();
    }
    assert!(torn.finish().is_err());

    let (mut overfull, all) = pieces(&snapshot);
    for piece in &all {
        overfull.add(piece).unwrap();
    }
    assert!(overfull.add(&all[0]).is_err());
}

#[test]
fn pieces_without_anything_in_them_are_refused() {
    let (mut endless, _) = pieces(&snapshot(&[7]));
    for ends_chunk in [false, true] {
        assert!(endless.add(&v1::RaftSnapshotPiece { data: Bytes::new(), ends_chunk }).is_err());
    }
}
