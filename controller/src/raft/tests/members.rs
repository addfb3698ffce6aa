use super::*;

fn electorate(voters: &[u64], live: &[u64]) -> Electorate {
    Electorate { voters: voters.iter().copied().collect(), live: live.iter().copied().collect() }
}

#[test]
fn a_change_that_would_leave_no_majority_is_refused() {
    for (voters, live, id, allowed) in [
        (&[1, 2, 3][..], &[1, 2, 3][..], 3, true),
        (&[1, 2, 3], &[1, 2], 3, true),
        // Of 1 and 3 only 1 would be left to answer.
        (&[1, 2, 3], &[1, 2], 2, false),
        (&[1, 2], &[1, 2], 2, true),
        (&[1], &[1], 1, false),
        (&[1, 2, 3, 4, 5], &[1, 2, 3], 3, false),
        (&[1, 2, 3, 4, 5], &[1, 2, 3], 5, true),
        // A learner goes without being counted.
        (&[1, 2, 3], &[1, 2], 4, true),
    ] {
        let refused = electorate(voters, live).admit_removal(id);
        assert_eq!(refused.is_ok(), allowed, "{voters:?} {live:?} {id}: {refused:?}");
    }
    let why = electorate(&[1, 2, 3], &[1, 2]).admit_removal(2).unwrap_err();
    assert!(
        why.contains("2 controllers would vote, of whom 2 must answer, and 1 do; not answering: 3"),
        "{why}"
    );
}

#[test]
fn a_vote_is_given_only_where_a_majority_of_all_then_answers() {
    assert!(electorate(&[1], &[1, 2]).admit_vote(2).is_ok());
    assert!(electorate(&[1, 2, 3], &[1, 2, 4]).admit_vote(4).is_ok());
    assert!(electorate(&[1, 2, 3], &[1, 2]).admit_vote(4).is_err());
}
