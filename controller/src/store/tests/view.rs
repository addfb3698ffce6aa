//! What is kept in memory.

use super::{entry, id};
use crate::store::view::{READ_BYTES, View, limited};

const MIB: usize = 1024 * 1024;

#[test]
fn entries_leave_memory_only_when_they_are_durable() {
    let mut view = View::default();
    let entries: Vec<_> = (0..100).map(|index| entry(index, MIB)).collect();
    view.append(&entries);
    assert_eq!(view.find(0..u64::MAX).in_memory, entries, "nothing is durable yet");

    view.became_durable(id(90));
    let found = view.find(0..u64::MAX);
    assert_eq!(found.on_disk.start, 0);
    assert!((60..90).contains(&found.on_disk.end), "{:?}", found.on_disk);
    let split = usize::try_from(found.on_disk.end).unwrap();
    assert_eq!(found.in_memory, entries[split..]);

    // Only what was asked for, and only what there is.
    assert_eq!(view.find(95..97).in_memory, entries[95..97]);
    assert!(view.find(100..200).in_memory.is_empty());
    assert_eq!(view.find(3..5).on_disk, 3..5);
}

#[test]
fn what_is_cut_off_is_not_found() {
    let mut view = View::default();
    view.append(&(0..10).map(|index| entry(index, 1)).collect::<Vec<_>>());
    assert_eq!(view.truncate(Some(id(6))), 7);
    view.purge(id(3));
    let found = view.find(0..u64::MAX);
    assert!(found.on_disk.is_empty());
    assert_eq!(found.in_memory.iter().map(|entry| entry.log_id.index).collect::<Vec<_>>(), [4, 5, 6]);
    view.append(&[entry(7, 2)]);
    assert_eq!(view.find(7..8).in_memory, [entry(7, 2)]);
    assert_eq!((view.purged, view.last), (Some(id(3)), Some(id(7))));
}

#[test]
fn a_piece_has_a_size_but_never_nothing() {
    let large = entry(0, READ_BYTES * 2);
    assert_eq!(limited(vec![large.clone(), entry(1, 1)]), [large]);
    let entries: Vec<_> = (0..10).map(|index| entry(index, MIB / 2)).collect();
    assert_eq!(limited(entries.clone()), entries[..3]);
}
