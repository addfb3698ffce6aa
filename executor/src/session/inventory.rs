//! The list of instances that an executor says that it holds. Pure: it follows from the standing.

use muster_common::id::InstanceId;
use muster_common::instance::InstanceRecord;
use muster_proto::v1;

use crate::supervisor::Standing;

/// How large the inventory may grow. A command of the controllers' log has to hold it, which may have 1 MiB
/// (`MAX_COMMAND` in `controller/src/raft/propose.rs`): an executor with a larger one could never register.
const MAX_BYTES: usize = 512 * 1024;
/// What an id takes beyond its text.
const ID_OVERHEAD: usize = 4;

/// Everything that the controllers may take for living, so that they take nothing of it for lost: whatever is not
/// over or was told already, and then of the ends that nobody has taken yet those of the oldest instances, which were
/// told to be living before nobody listened. The reports tell of the rest. None if even the first part is too much:
/// then nothing is concluded.
pub(super) fn inventory(standing: &Standing) -> Option<v1::Inventory> {
    let untold_end = |id: &InstanceId| -> Option<&InstanceRecord> {
        let record = standing.unacked_instances.get(id)?.record.as_ref();
        record.state.is_terminal().then_some(record)
    };
    let (mut first, mut ends) = (Vec::new(), Vec::<&InstanceRecord>::new());
    for id in &standing.holds {
        match untold_end(id) {
            None => first.push(id),
            Some(end) => ends.push(end),
        }
    }
    ends.sort_by_key(|end| (end.created, &end.id));
    let must = first.len();
    let mut bytes = 0;
    let fitting = first.into_iter().chain(ends.into_iter().map(|end| &end.id)).take_while(|id| {
        bytes += id.as_str().len() + ID_OVERHEAD;
        bytes <= MAX_BYTES
    });
    let instances: Vec<String> = fitting.map(InstanceId::to_string).collect();
    (instances.len() >= must).then_some(v1::Inventory { instances })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use muster_common::id::{ExecutorId, SlotId};
    use muster_common::instance::InstanceState;
    use muster_common::time::Timestamp;
    use prost::Message as _;

    use super::*;
    use crate::machine::{Instance, Now};
    use crate::supervisor::Unacked;
    use crate::testing::table;

    /// As long as real ones are.
    fn id(number: u64) -> InstanceId {
        InstanceId::new(format!("SI-{number:036}")).unwrap()
    }

    fn unacked(record: &InstanceRecord) -> Unacked {
        Unacked { record: Arc::new(record.clone()), ended: 0 }
    }

    /// Holds `ended` instances whose end was not told; who comes later has the lower id.
    fn standing(ended: u64) -> Standing {
        let row = &table(1, 1, 1).rows[0];
        let slot =
            SlotId { service: row.service.clone(), executor: ExecutorId::new("e1").unwrap(), index: 0 };
        let now = Now { wall: Timestamp(0), mono: Duration::ZERO };
        let mut record = Instance::minted(id(0), slot, row, now).record;
        record.state = InstanceState::Stopped;
        let mut standing = Standing::default();
        for created in 0..ended {
            record.id = id(1_000_000 - created);
            record.created = Timestamp(created);
            standing.holds.insert(record.id.clone());
            standing.unacked_instances.insert(record.id.clone(), unacked(&record));
        }
        standing
    }

    #[test]
    fn a_hundred_thousand_untold_ends_fit_a_command_and_hide_nothing_that_lives() {
        let mut standing = standing(100_000);
        let living = id(2_000_000);
        let mut record = standing.unacked_instances[&id(1_000_000)].record.as_ref().clone();
        record.state = InstanceState::Healthy;
        record.created = Timestamp(u64::MAX);
        standing.unacked_instances.insert(living.clone(), unacked(&record));
        let told = id(0);
        standing.holds.extend([living.clone(), told.clone()]);
        let inventory = inventory(&standing).unwrap();
        assert!(inventory.encoded_len() < 1024 * 1024, "{}", inventory.encoded_len());
        assert_eq!(inventory.instances[..2], [told.to_string(), living.to_string()]);
        let oldest: Vec<String> = (0..1000).map(|created| id(1_000_000 - created).to_string()).collect();
        assert_eq!(inventory.instances[2..1002], oldest);
    }

    #[test]
    fn of_more_than_can_be_said_nothing_is_said() {
        let mut standing = standing(100_000);
        standing.unacked_instances.clear();
        assert_eq!(inventory(&standing), None);
    }
}
