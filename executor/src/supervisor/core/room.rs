//! Leases of ports, cores and memory: giving them out, taking them back, and offering them to instances that wait.

use std::collections::BTreeSet;
use std::time::Duration;

use muster_common::id::InstanceId;
use muster_common::instance::InstanceState;
use muster_common::reason::Reason;

use super::strays::never_ran;
use super::{Core, key_of};
use crate::lease::{Held, PortError};
use crate::machine::{Event, Instance, Lease, NoRoom, Now};

/// How long a port that was found taken is passed over.
const AVOID_TAKEN_PORT: Duration = Duration::from_secs(60);

impl Core {
    /// The answer to a bind check.
    pub(crate) fn ports_checked(&mut self, id: InstanceId, answer: Result<(), PortError>, now: Now) {
        if let Err(error) = &answer {
            self.avoid_ports.insert(error.port(), now.mono + AVOID_TAKEN_PORT);
        }
        self.tell(id, Event::PortsChecked(answer.map_err(|error| error.no_room())));
    }

    pub(super) fn lease(&mut self, id: &InstanceId, now: Now) {
        let Some(instance) = self.instances.get(id) else { return };
        let answer = self.obstacle(instance).map_or_else(|| self.room_for(instance, now), Err);
        if let Ok(lease) = &answer
            && let Some(last) = lease.local_info.ports.values().map(|port| port.host_port).max()
        {
            self.port_cursor = last.saturating_add(1);
        }
        // At once: whoever asks next must see what this one holds.
        self.events.push_front((id.clone(), Event::Leased(answer)));
    }

    fn room_for(&self, instance: &Instance, now: Now) -> Result<Lease, NoRoom> {
        let held = Held::by(self.live());
        let avoid: BTreeSet<u16> =
            self.avoid_ports.iter().filter(|(_, until)| **until > now.mono).map(|(port, _)| *port).collect();
        self.room.lease(&instance.spec, &held, self.port_cursor, &avoid)
    }

    /// What keeps an instance from being started, however much room there is. Nothing is started without a lease,
    /// so this is where two live instances of one slot and epoch are made impossible.
    fn obstacle(&self, instance: &Instance) -> Option<NoRoom> {
        let runner = instance.record.runner;
        if self.is_unheard(runner) {
            let message = format!(
                "nothing is started before the {runner} runner has said what already runs on this node"
            );
            return Some(NoRoom { reason: Reason::RunnerUnavailable, message });
        }
        let is_twin = |other: &&Instance| {
            other.id() != instance.id()
                && other.epoch() == instance.epoch()
                && !other.is_spent()
                && !never_ran(other)
        };
        let twin = self.in_slot(&key_of(&instance.record.slot)).find(is_twin)?;
        let message = format!("{} of the same slot and epoch must be gone first", twin.id());
        Some(NoRoom { reason: Reason::InsufficientResources, message })
    }

    /// Something was given back: those that wait for room ask again, the oldest first.
    pub(super) fn offer_room(&mut self) {
        let waits =
            |instance: &&Instance| instance.state() == InstanceState::Pending && !instance.holds_lease();
        let mut waiting: Vec<_> = self
            .live()
            .filter(waits)
            .map(|instance| (instance.record.created, instance.id().clone()))
            .collect();
        waiting.sort();
        self.events.extend(waiting.into_iter().map(|(_, id)| (id, Event::RoomFreed)));
    }
}
