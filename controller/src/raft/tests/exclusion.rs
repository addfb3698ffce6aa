use muster_common::id::ControllerId;

use super::*;
use crate::raft::types::{Addresses, Incarnation};

fn at(incarnation: &str) -> Addresses {
    Addresses { incarnation: Incarnation(incarnation.to_owned()), ..Addresses::default() }
}

/// Member `id`, which knows these as the group.
fn member(id: u64, group: &[(u64, &str)], leads_in: Option<u64>) -> Hello {
    let group = group.iter().map(|(id, incarnation)| (*id, at(incarnation))).collect();
    Hello { me: (id, at("files")), configured: Vec::new(), group, leads_in }
}

#[test]
fn only_a_leader_that_is_not_from_before_excludes_a_member() {
    let all = [(1, "files"), (2, "files"), (3, "files")];
    let own = member(3, &all, None);
    let without = &all[..2];
    let anew = [(1, "files"), (3, "others")];
    for (own, heard, expected) in [
        (&own, vec![], None),
        (&own, vec![member(1, &all, Some(7))], None),
        (&own, vec![member(1, without, None)], None),
        (&own, vec![member(1, without, Some(6))], None),
        (&own, vec![member(1, without, None), member(2, without, Some(7))], Some(2)),
        (&own, vec![member(1, &anew, Some(8))], Some(1)),
        // One with empty files waits to be taken in.
        (&member(3, &[], None), vec![member(1, without, Some(7))], None),
    ] {
        assert_eq!(excluded_by(own, 7, &heard), expected.map(ControllerId), "{heard:?}");
    }
}
