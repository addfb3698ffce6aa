//! An executor as the controllers keep it.

use muster_common::executor::{Contact, ExecutorRecord, ExecutorState};
use muster_common::id::Revision;
use muster_common::time::Timestamp;

use super::Moment;

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
    pub contact_since: Moment,
    /// When it first registered.
    pub created: Timestamp,
    /// When this record last changed.
    pub updated: Timestamp,
    /// The revision of the last change to its slots.
    pub table_revision: Revision,
    /// Since when it has its duty.
    pub duty_since: Moment,
    /// The tags that users gave it, beside those that it brings.
    pub given_tags: Vec<String>,
    /// How many ms its clock was ahead of the leader's when that was last noted; shown, and nothing else.
    pub clock_skew_ms: i64,
    /// How long it may take until it is empty, while it is DRAINING.
    pub drain: Option<Drain>,
}

/// The time that a drain has: leaders' time, as that of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// In all.
    pub within_ms: u64,
    /// What was left of it when its clock last stood.
    pub time_left_ms: u64,
    /// When it is over, while its clock runs.
    pub deadline: Option<Timestamp>,
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

    /// All its tags: those that it brings, then those that users gave it.
    pub fn tags(&self) -> impl Iterator<Item = &String> {
        let given = self.given_tags.iter().filter(|tag| !self.record.tags.contains(tag));
        self.record.tags.iter().chain(given)
    }

    /// Whether it has a tag.
    #[must_use]
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags().any(|known| known == tag)
    }

    /// What fails together with it, when its tags say so (`zone=…`): a rack, a room, a data centre.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.tags().find_map(|tag| tag.strip_prefix("zone="))
    }

    /// Whether it is to become empty.
    #[must_use]
    pub const fn is_being_emptied(&self) -> bool {
        matches!(self.duty, ExecutorState::BlacklistRequested | ExecutorState::Draining)
    }

    /// Whether slots belong on it. An executor that is not heard keeps its slots: it goes on
    /// running them by itself.
    #[must_use]
    pub const fn takes_slots(&self) -> bool {
        match self.duty {
            ExecutorState::Active | ExecutorState::Unready => true,
            ExecutorState::BlacklistRequested
            | ExecutorState::Blacklisted
            | ExecutorState::Draining
            | ExecutorState::Removed => false,
        }
    }
}
