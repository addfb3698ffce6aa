//! The history of the cluster to which the controllers belong. Controllers that were restored or recovered know no more than
//! their backup or their survivor did. They do not know what the earlier controllers confirmed after that, and nobody would
//! report it again.
//!
//! So a confirmation holds for one history. In another history this executor reports everything anew. Only when that is
//! confirmed do the controllers draw conclusions from what this executor does not hold.

use std::collections::BTreeSet;

use muster_common::id::InstanceId;

use super::Core;

/// How far the controllers of another history have been told what this executor holds.
#[derive(Debug, Clone)]
pub(super) struct Telling {
    history: String,
    /// Of whom they have confirmed nothing yet.
    untold: BTreeSet<InstanceId>,
}

impl Core {
    /// The leader's history is this one.
    pub(crate) fn enter_history(&mut self, history: String) {
        let known = self.telling.as_ref().map_or(&self.standing.history, |telling| &telling.history);
        if *known == history {
            return;
        }
        for owner in std::mem::take(&mut self.acked).into_keys() {
            self.output.batch.unacked(owner);
        }
        self.republish_all();
        self.telling = Some(Telling { history, untold: self.instances.keys().cloned().collect() });
        self.end_telling();
    }

    /// The controllers know of an instance.
    pub(super) fn was_told(&mut self, id: &InstanceId) {
        if let Some(telling) = &mut self.telling {
            telling.untold.remove(id);
        }
    }

    /// Notes that everything was told, once that is so. Until it is written, another start tells it all again.
    pub(super) fn end_telling(&mut self) {
        if let Some(Telling { history, .. }) = self.telling.take_if(|telling| telling.untold.is_empty()) {
            self.output.batch.history(&history);
            self.standing.history = history;
            self.has_news = true;
        }
    }
}
