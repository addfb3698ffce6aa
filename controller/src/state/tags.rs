//! The tags that users give executors, beside those that they bring.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_common::executor::MAX_TAGS;
use muster_common::id::ExecutorId;
use muster_common::time::Timestamp;

use super::{Refusal, Reply, State};

impl State {
    /// Gives an executor what `tags` makes of those that users gave it before.
    pub(super) fn give_tags(
        &mut self,
        at: Timestamp,
        id: &ExecutorId,
        tags: impl FnOnce(&[String]) -> Vec<String>,
    ) -> Reply {
        if self.is_in_maintenance() {
            return Reply::Refused(Refusal::Maintenance);
        }
        let Some(executor) = self.executor(id) else {
            return Reply::Refused(Refusal::UnknownExecutor(id.to_string()));
        };
        let tags = tags(&executor.given_tags);
        if tags.len() > MAX_TAGS {
            return Reply::Refused(Refusal::TooManyTags(id.clone(), tags.len()));
        }
        if let Some(executor) = self.executors.get_mut(id).map(Arc::make_mut) {
            executor.given_tags = tags;
            executor.updated = at;
        }
        Reply::Done
    }
}

/// Tags of which some go, by themselves or by their keys, before others come: each in place of another value of its key.
pub(super) fn amended(given: &[String], remove: &[String], add: &[String]) -> Vec<String> {
    let key = |tag: &str| tag.split_once('=').map(|(key, _)| key.to_owned());
    let mut tags: BTreeSet<String> = given.iter().cloned().collect();
    for gone in remove {
        tags.retain(|tag| tag != gone && key(tag).as_ref() != Some(gone));
    }
    for new in add {
        tags.retain(|tag| key(new).is_none() || key(tag) != key(new));
        tags.insert(new.clone());
    }
    tags.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Command;
    use crate::state::testing::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn tags_are_added_changed_and_taken_away() {
        for (given, remove, add, expected) in [
            (&[][..], &[][..], &["zone=a", "gpu"][..], &["gpu", "zone=a"][..]),
            (&["zone=a"], &[], &["zone=b"], &["zone=b"]),
            (&["zone=a"], &[], &["zone=b", "zone=c"], &["zone=c"]),
            (&["zone=a", "gpu"], &["gpu", "zone"], &[], &[]),
            (&["zone=a", "zone"], &["zone=a"], &["zones=2"], &["zone", "zones=2"]),
            (&["zone=a"], &["zone=a"], &["zone"], &["zone"]),
            (&["gpu"], &["ssd"], &["gpu"], &["gpu"]),
        ] {
            let amended = amended(&texts(given), &texts(remove), &texts(add));
            assert_eq!(amended, expected, "{given:?} - {remove:?} + {add:?}");
        }
    }

    #[test]
    fn of_two_who_tag_at_once_neither_loses_what_he_asked_for_and_nobody_gives_more_than_there_may_be() {
        let mut fixture = Fixture::with_executors(1);
        let executor = executor_id("e1");
        let amend = |fixture: &mut Fixture, remove: &[&str], add: &[String]| {
            let (at, executor) = (fixture.now, executor.clone());
            fixture.apply(&Command::AmendTags { at, executor, remove: texts(remove), add: add.to_vec() })
        };
        fixture.tag("e1", &["old"]);
        assert_eq!(amend(&mut fixture, &["old"], &texts(&["ann=1"])), Reply::Done);
        assert_eq!(amend(&mut fixture, &["old"], &texts(&["bob=1"])), Reply::Done);
        let given = |fixture: &Fixture| fixture.state.executor(&executor).unwrap().given_tags.clone();
        assert_eq!(given(&fixture), ["ann=1", "bob=1"]);

        let many: Vec<String> = (0..MAX_TAGS - 1).map(|n| format!("t{n}")).collect();
        let refused = Reply::Refused(Refusal::TooManyTags(executor.clone(), MAX_TAGS + 1));
        assert_eq!(amend(&mut fixture, &[], &many), refused);
        assert_eq!(given(&fixture), ["ann=1", "bob=1"]);
        assert_eq!(amend(&mut fixture, &["bob"], &many), Reply::Done);
        assert_eq!(given(&fixture).len(), MAX_TAGS);
        let nobody =
            Command::AmendTags { at: fixture.now, executor: executor_id("e9"), remove: vec![], add: vec![] };
        assert_eq!(fixture.apply(&nobody), Reply::Refused(Refusal::UnknownExecutor("e9".to_owned())));
    }
}
