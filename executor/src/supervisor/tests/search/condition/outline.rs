//! What makes two conditions the same: everything about them but ids, times and versions.

use std::fmt::Write as _;
use std::time::Duration;

use muster_common::id::InstanceId;

use super::super::ways::hash;
use super::Condition;
use crate::machine::Instance;

impl Condition {
    /// Everything about it but ids, times and versions.
    pub(in super::super) fn outline(&self) -> u64 {
        let mut text = self.outline_of_core();
        let modes: Vec<_> = self.table.rows.iter().map(|row| row.mode).collect();
        let table = (modes, self.table.revision);
        let _ = write!(text, "|{:?}|{}|{table:?}|{}", self.budget, self.durable_outline, self.is_unlisted);
        let mut pending: Vec<String> =
            self.pending.iter().map(|(id, effect)| format!("{}{effect:?}", self.place_of(id))).collect();
        pending.sort();
        let made: Vec<_> = self.made.iter().map(|(id, made)| (self.place_of(id), made)).collect();
        let begged: Vec<_> = self.begged.iter().map(|id| self.place_of(id)).collect();
        let _ = write!(text, "|{pending:?}|{made:?}|{begged:?}");
        hash(&text)
    }

    fn place_of(&self, id: &InstanceId) -> usize {
        let mut ids: Vec<_> =
            self.core.instances().map(|one| (one.epoch(), one.record.created, one.id())).collect();
        ids.sort();
        ids.iter().position(|(_, _, other)| *other == id).unwrap_or(usize::MAX)
    }

    pub(super) fn outline_of_core(&self) -> String {
        let mut instances: Vec<&Instance> = self.core.instances().collect();
        instances.sort_by_key(|one| (one.epoch(), one.record.created, one.id().clone()));
        let mut text = String::new();
        for one in instances {
            let pace = &one.pace;
            let is_patient = self.clock < pace.launched + Duration::from_secs(1);
            let _ = write!(
                text,
                "{:?}{:?}{:?}{:?}{:?}{:?}{}{}{};{}{}{}{}{}{}{}/",
                one.epoch(),
                one.state(),
                one.record.reason,
                one.descent,
                one.resume.as_ref().map(|resume| (
                    resume.state,
                    resume.reason,
                    resume.descent,
                    resume.rebooted
                )),
                one.exit,
                one.stop.is_some(),
                one.accounted,
                one.holds_lease(),
                pace.deadline.is_some(),
                pace.retry.is_some(),
                pace.tries.min(2),
                pace.probe.due.is_some(),
                pace.probe.asked.is_some(),
                pace.probe.failures,
                is_patient,
            );
            let _ = write!(text, "{}{}", one.workload.is_some(), one.record.started.is_some());
        }
        text.push_str(&self.core.outline());
        for slot in self.core.slots() {
            let _ = write!(text, "{:?}{:?}{}", slot.phase, slot.epoch, slot.retry_at.is_some());
        }
        text
    }
}
