//! Executors.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{id, instance};
use crate::executor::{ExecutorRecord, NodeLayout};

/// Any executor's own record.
pub fn executor_record() -> impl Strategy<Value = ExecutorRecord> {
    let names = ("[a-z0-9.]{1,20}", "[a-f0-9-]{1,36}", "[0-9.]{1,8}", vec("[a-z]{1,8}", 0..4));
    let layout = (instance::cores(), instance::memory());
    (id::executor_id(), names, any::<u16>(), any::<u64>(), layout, any::<u32>()).prop_map(
        |(
            id,
            (hostname, boot_id, version, tags),
            api_port,
            incarnation,
            (cores, memory),
            core_overcommit,
        )| {
            ExecutorRecord {
                id,
                hostname,
                api_port,
                incarnation,
                boot_id,
                version,
                tags,
                layout: NodeLayout { cores, memory },
                core_overcommit,
            }
        },
    )
}
