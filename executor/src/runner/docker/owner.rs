//! Whose a container is: what its labels say. Pure.

use std::collections::HashMap;

use muster_common::id::InstanceId;

use crate::runner::LaunchPlan;

/// Who made a container. Only ids ever go into labels: everybody who can reach the engine reads them.
pub(super) mod label {
    /// Every container that Muster made.
    pub(in super::super) const MANAGED: &str = "muster.managed";
    /// The executor's id.
    pub(in super::super) const EXECUTOR: &str = "muster.executor";
    /// The executor's data directory: two clusters on one machine may use the same ids.
    pub(in super::super) const DATA_DIR: &str = "muster.data-dir";
    /// The service's id.
    pub(in super::super) const SERVICE: &str = "muster.service";
    /// The instance's id.
    pub(in super::super) const INSTANCE: &str = "muster.instance";
    /// The slot's index.
    pub(in super::super) const SLOT: &str = "muster.slot";
    /// The whole [`Place`](crate::runner::Place), as JSON.
    pub(in super::super) const PLACE: &str = "muster.place";
}

/// Whose containers: this executor's and no other's.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) executor: String,
    pub(super) data_dir: String,
}

impl Owner {
    /// The engine's filter for them.
    pub(super) fn filter(&self) -> Vec<String> {
        vec![
            format!("{}={}", label::EXECUTOR, self.executor),
            format!("{}={}", label::DATA_DIR, self.data_dir),
        ]
    }

    /// Whether a container with these labels is this executor's, and made for `instance`.
    pub(super) fn made(&self, labels: &HashMap<String, String>, instance: &InstanceId) -> bool {
        let is = |name: &str, value: &str| labels.get(name).is_some_and(|label| label == value);
        is(label::EXECUTOR, &self.executor)
            && is(label::DATA_DIR, &self.data_dir)
            && is(label::INSTANCE, instance.as_str())
    }
}

/// The data directory for which this executor made a container with these labels for `instance`, when it is another one than
/// now.
pub(super) fn made_elsewhere<'a>(
    owner: &Owner,
    labels: &'a HashMap<String, String>,
    instance: &InstanceId,
) -> Option<&'a str> {
    let elsewhere = labels.get(label::DATA_DIR).filter(|dir| **dir != owner.data_dir)?;
    let there = Owner { data_dir: elsewhere.clone(), ..owner.clone() };
    there.made(labels, instance).then_some(elsewhere)
}

/// What a container for this plan is labelled with.
pub(super) fn labels(plan: &LaunchPlan, owner: &Owner) -> HashMap<String, String> {
    // A place is text, numbers and maps with text keys: it can always be written.
    let place = serde_json::to_string(&plan.place).unwrap_or_default();
    [
        (label::MANAGED, "true".to_owned()),
        (label::EXECUTOR, owner.executor.clone()),
        (label::DATA_DIR, owner.data_dir.clone()),
        (label::SERVICE, plan.place.service.to_string()),
        (label::INSTANCE, plan.instance.to_string()),
        (label::SLOT, plan.place.index.to_string()),
        (label::PLACE, place),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
