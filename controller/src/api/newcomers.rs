//! Which instances of a service a reader has not met yet: those that came since he looked last, also those that ended
//! before he looked again. Every one is met once.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_common::id::{InstanceId, ServiceId};
use muster_common::time::LedTime;

use crate::state::{Instance, Population, State};

/// What one reader has met. It does not grow with what came and went.
#[derive(Debug)]
pub(super) struct Newcomers {
    service: ServiceId,
    /// Met at the first look, be they over.
    named: Vec<InstanceId>,
    /// Those that end from then on are met, though nobody saw them live; none before the first look: those to come.
    known_before: Option<LedTime>,
    met: Population,
    /// Met, and over for all that is known; but their executors may come back with them.
    awaited: BTreeSet<InstanceId>,
}

impl Newcomers {
    /// At first, those will be met that live, those that ended at `since` or later, and those `named`.
    pub(super) fn new(service: ServiceId, since: Option<LedTime>, named: Vec<InstanceId>) -> Self {
        let (met, awaited) = (Population::default(), BTreeSet::new());
        Self { service, named, known_before: since, met, awaited }
    }

    /// Whether anybody came or ended since the last look. Cheap.
    pub(super) fn is_due(&self, state: &State) -> bool {
        !self.met.is_as(&state.population(&self.service))
    }

    /// Whoever ended before was met, or was over before the first look.
    pub(super) fn known_before(&self) -> LedTime {
        self.known_before.unwrap_or_default()
    }

    /// Those that were not met before.
    pub(super) fn meet(&mut self, state: &State) -> Vec<Arc<Instance>> {
        let now = state.population(&self.service);
        let (came, went) = self.met.came_and_went(&now);
        let ended = state.old_instances(&self.service).take_while(|instance| {
            let ended = instance.ended.map(|ended| ended.led);
            self.known_before.is_some_and(|before| ended >= Some(before))
        });
        let ids = came.into_iter().chain(ended.map(|instance| &instance.record.id)).chain(&self.named);
        let ids: BTreeSet<&InstanceId> = ids.collect();
        let is_new = |id: &&InstanceId| !self.met.has(id) && !self.awaited.contains(*id);
        let news = ids.into_iter().filter(is_new).filter_map(|id| state.instance(id));
        let news: Vec<_> = news.filter(|news| news.record.slot.service == self.service).cloned().collect();

        let is_awaited = |id: &InstanceId| state.instance(id).is_some_and(|known| known.is_awaited());
        self.awaited.extend(went.into_iter().chain(news.iter().map(|news| &news.record.id)).cloned());
        self.awaited.retain(is_awaited);
        self.known_before = self.known_before.max(Some(now.next_end()));
        self.named = Vec::new();
        self.met = now;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Contact;
    use crate::state::testing::*;

    fn met(newcomers: &mut Newcomers, fixture: &Fixture) -> Vec<String> {
        newcomers.meet(&fixture.state).iter().map(|instance| instance.record.id.to_string()).collect()
    }

    fn reader(since: Option<LedTime>, named: &[&str]) -> Newcomers {
        Newcomers::new(service_id("web-1"), since, named.iter().map(|id| instance_id(id)).collect())
    }

    #[test]
    fn everybody_is_met_once_also_who_came_and_went_between_two_looks() {
        let (mut fixture, slot) = (Fixture::with_executors(1), slot_id("web-1", "e1", 0));
        fixture.report_in("over", &slot, &UP_AND_DOWN);
        fixture.report_in("a", &slot, &UP);
        fixture.report_in("other", &slot_id("other-1", "e1", 0), &UP);
        let mut newcomers = reader(None, &[]);
        assert!(newcomers.is_due(&fixture.state));
        assert_eq!(met(&mut newcomers, &fixture), ["a"]);
        assert!(!newcomers.is_due(&fixture.state));

        // Neither what becomes of one that lives nor other services are looked at.
        fixture.report_in("b", &slot_id("other-1", "e1", 0), &UP_AND_DOWN);
        assert!(!newcomers.is_due(&fixture.state));

        fixture.report_in("a", &slot, &UP_AND_DOWN);
        for n in 0..3 {
            fixture.report_in(&format!("brief{n}"), &slot, &UP_AND_DOWN);
        }
        fixture.report_in("c", &slot, &UP[..2]);
        assert!(newcomers.is_due(&fixture.state));
        assert_eq!(met(&mut newcomers, &fixture), ["brief0", "brief1", "brief2", "c"]);
        fixture.report_in("c", &slot, &UP);
        assert!(!newcomers.is_due(&fixture.state));
        assert!(met(&mut newcomers, &fixture).is_empty());
        fixture.report_in("c", &slot, &UP_AND_DOWN);
        assert!(newcomers.is_due(&fixture.state));
        assert!(met(&mut newcomers, &fixture).is_empty());
    }

    #[test]
    fn who_comes_again_meets_those_that_ended_since_he_left_and_those_that_he_names() {
        let (mut fixture, slot) = (Fixture::with_executors(1), slot_id("web-1", "e1", 0));
        fixture.report_in("first", &slot, &UP_AND_DOWN);
        fixture.report_in("second", &slot, &UP);
        let mut newcomers = reader(None, &[]);
        assert_eq!(met(&mut newcomers, &fixture), ["second"]);
        let left = newcomers.known_before();
        fixture.report_in("second", &slot, &UP_AND_DOWN);
        fixture.report_in("third", &slot, &UP_AND_DOWN);
        fixture.report_in("fourth", &slot, &UP);
        assert_eq!(met(&mut reader(Some(left), &["second"]), &fixture), ["fourth", "second", "third"]);
        assert_eq!(met(&mut reader(Some(LedTime(0)), &[]), &fixture).len(), 4, "all that are known");
        // A place of an earlier version names those that are read, and knows of no time.
        assert_eq!(met(&mut reader(None, &["first", "gone"]), &fixture), ["first", "fourth"]);
    }

    #[test]
    fn who_is_lost_and_found_again_is_not_met_twice() {
        let (mut fixture, slot) = (Fixture::with_executors(1), slot_id("web-1", "e1", 0));
        fixture.report_in("a", &slot, &UP);
        let mut newcomers = reader(None, &[]);
        assert_eq!(met(&mut newcomers, &fixture), ["a"]);
        fixture.contact("e1", Contact::Lost);
        assert!(fixture.state.instance(&instance_id("a")).unwrap().is_awaited());
        assert!(met(&mut newcomers, &fixture).is_empty());
        fixture.register("e1", Some(&["a"]));
        assert!(fixture.state.instance(&instance_id("a")).unwrap().is_live());
        assert!(newcomers.is_due(&fixture.state) && met(&mut newcomers, &fixture).is_empty());
        assert!(newcomers.awaited.is_empty());
        // Also where nobody looked in between, and where it is lost for good.
        fixture.contact("e1", Contact::Lost);
        fixture.register("e1", Some(&["a"]));
        assert!(met(&mut newcomers, &fixture).is_empty());
        fixture.contact("e1", Contact::Lost);
        assert!(met(&mut newcomers, &fixture).is_empty());
        fixture.register("e1", Some(&[]));
        assert!(!fixture.state.instance(&instance_id("a")).unwrap().is_awaited());
        assert!(met(&mut newcomers, &fixture).is_empty() && newcomers.awaited.is_empty());
    }
}
