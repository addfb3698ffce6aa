//! What is proposed: an executor that registers anew, over and over. Such a command changes the state
//! and leaves its size as it was, so that the last proposal of a run meets what the first one met.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use muster_common::executor::{ExecutorRecord, NodeLayout};
use muster_common::id::ExecutorId;
use muster_controller::Command;
use muster_platform::World;

/// A tag of padding, and what it takes in a command: a field number and a length come with it.
const TAG: usize = 64;
const TAG_FIELD: usize = TAG + 2;

/// Numbers that only grow, over all rows of a run: an executor whose incarnation is new differs from
/// what is stored of it, so that no command is without effect.
#[derive(Debug, Clone, Default)]
pub(crate) struct Incarnations(Arc<AtomicU64>);

impl Incarnations {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// The commands of one client.
pub(crate) struct Commands {
    /// The real clock: what is said to be old would be pruned, which is work of its own.
    world: World,
    record: ExecutorRecord,
    incarnations: Incarnations,
}

impl Commands {
    /// Commands of about `bytes` bytes, about executor `number`.
    pub(crate) fn new(number: usize, bytes: usize, incarnations: Incarnations) -> anyhow::Result<Self> {
        let name = format!("bench-{number}");
        let record = ExecutorRecord {
            id: ExecutorId::new(&name)?,
            hostname: name.clone(),
            api_port: 4200,
            incarnation: 0,
            boot_id: "bench".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            tags: vec![name],
            layout: NodeLayout::default(),
            core_overcommit: 1,
        };
        let mut commands = Self { world: World::system(), record, incarnations };
        let padding = bytes.saturating_sub(commands.next().len());
        let rest = (padding % TAG_FIELD).saturating_sub(TAG_FIELD - TAG);
        let tags = std::iter::repeat_n(TAG, padding / TAG_FIELD).chain([rest]);
        commands.record.tags.extend(tags.map(|length| "x".repeat(length)));
        Ok(commands)
    }

    /// The next one, encoded.
    pub(crate) fn next(&mut self) -> Bytes {
        self.record.incarnation = self.incarnations.next();
        let at = self.world.clock.now();
        Command::RegisterExecutor { at, record: Box::new(self.record.clone()), holds: None }.encode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_about_as_large_as_was_asked_for() {
        for bytes in [128, 200, 512, 4096, 65_535] {
            let length = Commands::new(255, bytes, Incarnations::default()).unwrap().next().len();
            assert!(length.abs_diff(bytes) <= 8, "{length} for {bytes}");
        }
    }

    #[test]
    fn no_two_commands_are_the_same_also_of_two_clients_with_one_executor() {
        let incarnations = Incarnations::default();
        let mut first = Commands::new(0, 512, incarnations.clone()).unwrap();
        let mut second = Commands::new(0, 512, incarnations).unwrap();
        let incarnation = |bytes: Bytes| match Command::decode(&bytes).unwrap() {
            Command::RegisterExecutor { record, .. } => record.incarnation,
            other => panic!("{other:?}"),
        };
        let found = [first.next(), second.next(), first.next()].map(incarnation);
        assert!(found.is_sorted_by(|before, after| before < after), "{found:?}");
    }
}
