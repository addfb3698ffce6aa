//! The runners of a node, by kind.

use std::sync::Arc;

use muster_common::instance::RunnerKind;

use super::{Runner, Runners};

/// The runners of a node, for whoever calls them.
#[derive(Clone)]
pub struct RunnerSet {
    docker: Option<Arc<dyn Runner>>,
    process: Option<Arc<dyn Runner>>,
}

impl RunnerSet {
    /// The runner of a kind, if this node has it.
    #[must_use]
    pub fn of(&self, kind: RunnerKind) -> Option<&Arc<dyn Runner>> {
        pick(kind, self.docker.as_ref(), self.process.as_ref())
    }

    /// All that this node has.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Runner>> {
        self.docker.iter().chain(&self.process)
    }
}

impl Runners {
    /// The runner of a kind, if this node has it.
    #[must_use]
    pub fn of(&self, kind: RunnerKind) -> Option<&Arc<dyn Runner>> {
        pick(kind, self.docker.as_ref(), self.process.as_ref())
    }

    /// The runners without their announcements, which only one can hear.
    #[must_use]
    pub fn set(&self) -> RunnerSet {
        RunnerSet { docker: self.docker.clone(), process: self.process.clone() }
    }
}

fn pick<'a>(
    kind: RunnerKind,
    docker: Option<&'a Arc<dyn Runner>>,
    process: Option<&'a Arc<dyn Runner>>,
) -> Option<&'a Arc<dyn Runner>> {
    match kind {
        RunnerKind::Docker => docker,
        RunnerKind::Process => process,
    }
}
