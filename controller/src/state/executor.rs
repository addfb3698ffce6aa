//! An executor as the controllers keep it.

use muster_common::executor::{Contact, ExecutorRecord, ExecutorState};
use muster_common::id::Revision;
use muster_common::time::Timestamp;

/// One executor that registered at least once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executor {
    /// What it said of itself when it last registered.
    pub record: ExecutorRecord,
    /// What the users want of it; never `UNREADY`, which is [`Self::shown_state`]'s to say.
    pub duty: ExecutorState,
    /// Whether it is heard.
    pub contact: Contact,
    /// Since when.
    pub contact_since: Timestamp,
    /// When it first registered.
    pub created: Timestamp,
    /// When this record last changed.
    pub updated: Timestamp,
    /// The revision of the last change to its slots.
    pub table_revision: Revision,
}

impl Executor {
    /// The state that users see: `UNREADY` while an active executor is not heard.
    #[must_use]
    pub const fn shown_state(&self) -> ExecutorState {
        match (self.duty, self.contact) {
            (ExecutorState::Active, Contact::Unreachable | Contact::Lost) => ExecutorState::Unready,
            (duty, _) => duty,
        }
    }

    /// Whether slots belong on it. An executor that is not heard keeps its slots: it goes on
    /// running them by itself.
    #[must_use]
    pub const fn takes_slots(&self) -> bool {
        match self.duty {
            ExecutorState::Active | ExecutorState::Unready => true,
            ExecutorState::BlacklistRequested | ExecutorState::Blacklisted | ExecutorState::Removed => false,
        }
    }
}
