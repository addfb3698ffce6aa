//! Where a reader of a whole service's logs was: `@<time>`, and `<instance>:<place>` of each that is read, with commas
//! between them. The place is that of the instance's own log, `-` where nothing was read yet, `.` where all is read. The
//! time, by which controllers order the ends of a service's instances, is that from which on ends are news: whoever ended
//! then or later and is not named came and went while nobody looked.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use muster_common::id::InstanceId;
use muster_common::time::LedTime;

use super::log_place::{LogPlace, NoPlace};

/// How many instances are named: twice what is followed at once, some 7 KiB at most.
const MAX_NAMED: usize = 128;
const NOTHING: &str = "-";
const END: &str = ".";
const KNOWN_BEFORE: char = '@';

/// How far one instance's log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// Nothing is read yet: reading begins where its caller wants.
    Nothing,
    /// Everything before this.
    At(LogPlace),
    /// All that there will ever be.
    End,
}

/// How far each instance of a service is read. One that is not named came later, and nothing of it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ServicePlace {
    named: BTreeMap<InstanceId, Reached>,
    /// None in a place that an earlier version wrote.
    known_before: Option<LedTime>,
}

impl ServicePlace {
    pub(super) fn of(&self, instance: &InstanceId) -> Option<Reached> {
        self.named.get(instance).copied()
    }

    pub(super) fn instances(&self) -> impl Iterator<Item = &InstanceId> {
        self.named.keys()
    }

    /// That of `instance` from now on. More instances than can be named are not.
    pub(super) fn reach(&mut self, instance: &InstanceId, reached: Reached) {
        if self.named.len() < MAX_NAMED || self.named.contains_key(instance) {
            self.named.insert(instance.clone(), reached);
        }
    }

    /// Whoever ended before is named, or needs not be read.
    pub(super) const fn known_before(&self) -> Option<LedTime> {
        self.known_before
    }

    /// That is so from now on.
    pub(super) const fn know_before(&mut self, end: LedTime) {
        self.known_before = Some(end);
    }

    /// Names those no more that are read to their end, but while nobody could tell them from new ones.
    pub(super) fn forget_ended(&mut self, seems_new: impl Fn(&InstanceId) -> bool) {
        self.named.retain(|instance, reached| *reached != Reached::End || seems_new(instance));
    }
}

impl fmt::Display for ServicePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        if let Some(LedTime(end)) = self.known_before {
            write!(f, "{KNOWN_BEFORE}{end}")?;
            comma = ",";
        }
        for (instance, reached) in &self.named {
            match reached {
                Reached::Nothing => write!(f, "{comma}{instance}:{NOTHING}")?,
                Reached::At(place) => write!(f, "{comma}{instance}:{place}")?,
                Reached::End => write!(f, "{comma}{instance}:{END}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

impl FromStr for ServicePlace {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (mut named, mut known_before) = (BTreeMap::new(), None);
        for (n, part) in text.split(',').filter(|_| !text.is_empty()).enumerate() {
            if let Some(end) = part.strip_prefix(KNOWN_BEFORE).filter(|_| n == 0) {
                known_before = Some(LedTime(end.parse().map_err(|_| NoPlace)?));
                continue;
            }
            let (instance, place) = part.split_once(':').ok_or(NoPlace)?;
            let reached = match place {
                NOTHING => Reached::Nothing,
                END => Reached::End,
                place => Reached::At(place.parse()?),
            };
            named.insert(InstanceId::new(instance).map_err(|_| NoPlace)?, reached);
            if named.len() > MAX_NAMED {
                return Err(NoPlace);
            }
        }
        Ok(Self { named, known_before })
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::v1;

    use super::*;

    fn id(n: usize) -> InstanceId {
        InstanceId::new(format!("SI-{n}")).unwrap()
    }

    #[test]
    fn a_place_is_read_as_it_is_written() {
        let mut place = ServicePlace::default();
        assert_eq!((place.to_string().as_str(), "".parse()), ("", Ok(place.clone())));
        place.reach(&id(1), Reached::Nothing);
        place.reach(&id(2), Reached::At(LogPlace(v1::LogPlace { segment: 7, offset: 9 })));
        place.reach(&id(3), Reached::End);
        assert_eq!(place.to_string(), "SI-1:-,SI-2:7.9,SI-3:.");
        assert_eq!(place.to_string().parse(), Ok(place.clone()));
        place.know_before(LedTime(86_400_001));
        assert_eq!(place.to_string(), "@86400001,SI-1:-,SI-2:7.9,SI-3:.");
        assert_eq!(place.to_string().parse(), Ok(place));
        assert_eq!("@7".parse::<ServicePlace>().map(|place| place.to_string()), Ok("@7".to_owned()));
        let old = "SI-1:-,SI-2:7.9".parse::<ServicePlace>().unwrap();
        assert_eq!((old.known_before(), old.instances().count()), (None, 2), "as earlier versions wrote it");
        let wrong = [",", "SI-1", "SI-1:", "SI-1:x", "SI-1:1", "../x:1.2", "SI-1:1.2,", "1.2"];
        for text in wrong.into_iter().chain(["@", "@x", "@-1", "@7,", "SI-1:-,@7", "@7,@7"]) {
            assert_eq!(text.parse::<ServicePlace>(), Err(NoPlace), "{text:?}");
        }
    }

    #[test]
    fn it_has_a_bound_and_forgets_who_ended_once_nobody_takes_him_for_new() {
        let mut place = ServicePlace::default();
        for n in 0..MAX_NAMED + 10 {
            place.reach(&id(n), Reached::Nothing);
        }
        let text = place.to_string();
        assert_eq!(text.parse(), Ok(place.clone()));
        assert_eq!(format!("{text},SI-x:-").parse::<ServicePlace>(), Err(NoPlace));
        place.reach(&id(0), Reached::End);
        place.reach(&id(1), Reached::End);
        place.forget_ended(|instance| *instance == id(0));
        assert_eq!((place.of(&id(0)), place.of(&id(1))), (Some(Reached::End), None));
        assert_eq!(place.instances().count(), MAX_NAMED - 1);
    }
}
