//! The specs that a service has and had, by the generation that brought them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_common::id::Generation;
use muster_common::spec::LocalServiceSpec;
use muster_common::time::Timestamp;

/// How many specs a service keeps to go back to, beside those that its slots run.
pub(crate) const MAX_SPECS: usize = 10;

/// One spec of a service. Never changed.
#[derive(Debug, Clone, PartialEq)]
pub struct SpecVersion {
    /// What to run.
    pub spec: Arc<LocalServiceSpec>,
    /// When it was accepted.
    pub at: Timestamp,
    /// Who asked for it.
    pub by: String,
    /// The generation whose spec this is again, when a rollback brought it.
    pub restores: Option<Generation>,
    /// Whether what runs another spec is stopped before an instance of this one is started.
    pub stop_first: bool,
}

/// All specs of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct Specs {
    kept: BTreeMap<Generation, Arc<SpecVersion>>,
    wanted: Generation,
    newest: Arc<SpecVersion>,
    stable: Generation,
}

impl Specs {
    /// With the one that a service was created with.
    pub(super) fn new(generation: Generation, version: SpecVersion) -> Self {
        let version = Arc::new(version);
        Self {
            kept: BTreeMap::from([(generation, Arc::clone(&version))]),
            wanted: generation,
            newest: version,
            stable: generation,
        }
    }

    /// As they were stored. `None`: what is wanted is not among them.
    pub(super) fn restore(
        kept: BTreeMap<Generation, Arc<SpecVersion>>,
        wanted: Generation,
        stable: Generation,
    ) -> Option<Self> {
        let newest = Arc::clone(kept.get(&wanted)?);
        Some(Self { kept, wanted, newest, stable })
    }

    /// The spec that users want everywhere.
    #[must_use]
    pub fn spec(&self) -> &Arc<LocalServiceSpec> {
        &self.newest.spec
    }

    /// Its generation.
    #[must_use]
    pub const fn wanted(&self) -> Generation {
        self.wanted
    }

    /// The generation that runs everywhere but where a rollout has put another one: new slots are given it, and a
    /// rollback brings it back. It is the wanted one, but while a rollout is at work or after one that failed.
    #[must_use]
    pub const fn stable(&self) -> Generation {
        self.stable
    }

    /// The spec of the stable generation: where a service belongs goes by it. So a rollout that asks for other
    /// executors takes nothing away before it is through.
    #[must_use]
    pub fn stable_spec(&self) -> &Arc<LocalServiceSpec> {
        self.kept.get(&self.stable).map_or(&self.newest.spec, |version| &version.spec)
    }

    /// The spec of a generation, while it is kept.
    #[must_use]
    pub fn get(&self, generation: Generation) -> Option<&Arc<SpecVersion>> {
        self.kept.get(&generation)
    }

    /// All that are kept, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Generation, &Arc<SpecVersion>)> {
        self.kept.iter().map(|(generation, version)| (*generation, version))
    }

    /// What a rollback without a generation goes back to: what is stable while something else is wanted, or else
    /// the newest earlier spec that differs.
    #[must_use]
    pub fn earlier(&self) -> Option<Generation> {
        if self.stable != self.wanted && self.kept.contains_key(&self.stable) {
            return Some(self.stable);
        }
        let earlier = self.kept.range(..self.wanted).rev();
        earlier
            .into_iter()
            .find(|(_, version)| version.spec != self.newest.spec)
            .map(|(generation, _)| *generation)
    }

    /// Wants another spec from now on. Those that nobody needs any more are forgotten: `used` are those that slots
    /// are asked to run.
    pub(super) fn want(&mut self, generation: Generation, version: SpecVersion, used: &BTreeSet<Generation>) {
        self.newest = Arc::new(version);
        self.wanted = generation;
        self.kept.insert(generation, Arc::clone(&self.newest));
        let surplus = self.kept.len().saturating_sub(MAX_SPECS);
        let stable = self.stable;
        let unused =
            self.kept.keys().filter(|kept| **kept != stable && **kept != generation && !used.contains(kept));
        let gone: Vec<Generation> = unused.take(surplus).copied().collect();
        for generation in gone {
            self.kept.remove(&generation);
        }
    }

    /// What is wanted runs everywhere now.
    pub(super) fn settle(&mut self) {
        self.stable = self.wanted;
    }

    /// What is stable is wanted again.
    pub(super) fn fall_back(&mut self) {
        if let Some(version) = self.kept.get(&self.stable) {
            self.newest = Arc::clone(version);
            self.wanted = self.stable;
        }
    }
}
