use super::*;

fn at(id: u64, incarnation: &str) -> (u64, Addresses) {
    let (cluster, api) = (format!("host-{id}:4100"), format!("host-{id}:4000"));
    (id, Addresses { cluster, api, incarnation: Incarnation(incarnation.to_owned()) })
}

fn empty(id: u64) -> Hello {
    Hello { me: at(id, "new"), configured: vec![1, 2, 3], group: Nodes::new(), leads_in: None }
}

fn member(id: u64, group: &[(u64, Addresses)]) -> Hello {
    Hello { me: at(id, "old"), group: group.iter().cloned().collect(), ..empty(id) }
}

fn decided(own: u64, heard: &[(u64, Option<Hello>)]) -> Verdict {
    let heard = heard.iter().map(|(id, hello)| (ControllerId(*id), hello.clone())).collect();
    decide(&empty(own), &heard)
}

#[test]
fn the_lowest_founds_once_all_have_answered_that_they_are_empty() {
    let all = Verdict::Found([at(1, "new"), at(2, "new"), at(3, "new")].into());
    assert_eq!(decided(1, &[(2, Some(empty(2))), (3, Some(empty(3)))]), all);
    let founder = Verdict::Wait(Waiting::Founder(ControllerId(1)));
    assert_eq!(decided(2, &[(1, Some(empty(1))), (3, Some(empty(3)))]), founder);
    let silent = Verdict::Wait(Waiting::For(vec![ControllerId(3)]));
    assert_eq!(decided(1, &[(2, Some(empty(2))), (3, None)]), silent);
    assert_eq!(decided(1, &[]), Verdict::Found([at(1, "new")].into()), "alone, it is the group");
}

#[test]
fn where_there_is_a_group_nobody_founds_another() {
    let me = ControllerId(1);
    let with_old_files = [at(1, "old"), at(2, "old"), at(3, "old")];
    let wait = |waiting| Verdict::Wait(waiting);
    let heard = |group: &[_]| decided(1, &[(2, Some(member(2, group))), (3, None)]);
    assert_eq!(heard(&with_old_files), wait(Waiting::ToBeReplaced(me)));
    assert_eq!(heard(&with_old_files[1..]), wait(Waiting::ToBeAdded(me)));
    assert_eq!(heard(&[at(1, "new"), at(2, "old")]), wait(Waiting::Leader));
    // Others that are as empty do not make it a founding.
    let mixed = [(2, Some(empty(2))), (3, Some(member(3, &with_old_files)))];
    assert_eq!(decided(1, &mixed), wait(Waiting::ToBeReplaced(me)));
}

#[test]
fn members_that_are_configured_differently_found_nothing() {
    let other = Hello { configured: vec![2, 3], ..empty(2) };
    let heard = [(2, Some(other)), (3, Some(empty(3)))];
    assert_eq!(decided(1, &heard), Verdict::Wait(Waiting::Agreement(ControllerId(2))));
}
