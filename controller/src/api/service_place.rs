//! Where a reader of a whole service's logs was: `<instance>:<place>` of each that is read, with commas between them. The
//! place is that of the instance's own log, `-` where nothing was read yet, `.` where all is read.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use muster_common::id::InstanceId;

use super::log_place::{LogPlace, NoPlace};

/// How many instances are named: twice what is followed at once, some 7 KiB at most.
const MAX_NAMED: usize = 128;
const NOTHING: &str = "-";
const END: &str = ".";

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
pub(super) struct ServicePlace(BTreeMap<InstanceId, Reached>);

impl ServicePlace {
    pub(super) fn of(&self, instance: &InstanceId) -> Option<Reached> {
        self.0.get(instance).copied()
    }

    pub(super) fn instances(&self) -> impl Iterator<Item = &InstanceId> {
        self.0.keys()
    }

    /// That of `instance` from now on. More instances than can be named are not.
    pub(super) fn reach(&mut self, instance: &InstanceId, reached: Reached) {
        if self.0.len() < MAX_NAMED || self.0.contains_key(instance) {
            self.0.insert(instance.clone(), reached);
        }
    }

    /// Names those no more that are read to their end, but while nobody could tell them from new ones.
    pub(super) fn forget_ended(&mut self, seems_new: impl Fn(&InstanceId) -> bool) {
        self.0.retain(|instance, reached| *reached != Reached::End || seems_new(instance));
    }
}

impl fmt::Display for ServicePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (instance, reached)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            match reached {
                Reached::Nothing => write!(f, "{comma}{instance}:{NOTHING}")?,
                Reached::At(place) => write!(f, "{comma}{instance}:{place}")?,
                Reached::End => write!(f, "{comma}{instance}:{END}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for ServicePlace {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let mut named = BTreeMap::new();
        for part in text.split(',').filter(|_| !text.is_empty()) {
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
        Ok(Self(named))
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
        assert_eq!(place.to_string().parse(), Ok(place));
        for text in [",", "SI-1", "SI-1:", "SI-1:x", "SI-1:1", "../x:1.2", "SI-1:1.2,", "1.2"] {
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
