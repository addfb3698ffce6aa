//! Messages as they arrive, damaged: nothing makes reading panic, a refusal names message and field, and what is read is
//! the same when it was written and read again.

use std::fmt::Debug;

use muster_common::executor::ExecutorRecord;
use muster_common::instance::InstanceRecord;
use muster_common::slot::{SlotStatus, SlotTable};
use muster_common::strategy::{self, damaged, thorough};
use proptest::prelude::*;
use prost::Message;

use super::Malformed;
use crate::v1;

/// The longest refusal: it is logged, and told to whoever sent the message.
const MAX_REFUSAL_BYTES: usize = 2_000;

/// `bytes` are refused, or mean the same when what they mean is written and read again.
fn read_or_told<T, M>(bytes: &[u8]) -> Result<(), TestCaseError>
where
    T: TryFrom<M, Error = Malformed> + PartialEq + Debug,
    M: Message + Default + for<'a> From<&'a T>,
{
    let Ok(message) = M::decode(bytes) else { return Ok(()) };
    match T::try_from(message) {
        Ok(value) => prop_assert_eq!(T::try_from(M::from(&value)), Ok(value)),
        Err(refused) => {
            prop_assert!(!refused.message.is_empty() && !refused.field.is_empty(), "{refused:?}");
            let text = refused.to_string();
            prop_assert!(text.len() <= MAX_REFUSAL_BYTES, "{} bytes: {text:.200}", text.len());
        }
    }
    Ok(())
}

fn bytes_of<T: Debug, M>(values: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<u8>>
where
    M: Message + for<'a> From<&'a T>,
{
    damaged(values.prop_map(|value| M::from(&value).encode_to_vec()))
}

proptest! {
    #![proptest_config(thorough())]

    #[test]
    fn instance_records(bytes in bytes_of::<_, v1::InstanceRecord>(strategy::instance_record())) {
        read_or_told::<InstanceRecord, v1::InstanceRecord>(&bytes)?;
    }

    #[test]
    fn slot_tables(bytes in bytes_of::<_, v1::SlotTable>(strategy::slot_table())) {
        read_or_told::<SlotTable, v1::SlotTable>(&bytes)?;
    }

    #[test]
    fn slot_statuses(bytes in bytes_of::<_, v1::SlotStatus>(strategy::slot_status())) {
        read_or_told::<SlotStatus, v1::SlotStatus>(&bytes)?;
    }

    #[test]
    fn executor_records(bytes in bytes_of::<_, v1::ExecutorRecord>(strategy::executor_record())) {
        read_or_told::<ExecutorRecord, v1::ExecutorRecord>(&bytes)?;
    }
}
