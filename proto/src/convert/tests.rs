//! What is written can be read and is the same; what cannot be read is refused by the field's name.

use std::fmt::Debug;
use std::sync::Arc;

use muster_common::evidence::{
    MAX_LOG_TAIL_BYTES, MAX_MESSAGE_BYTES, MAX_PROBE_ANSWER_BYTES, MAX_PROBE_RECORDS, MAX_TIMELINE,
    MAX_WARNINGS,
};
use muster_common::executor::ExecutorRecord;
use muster_common::id::SlotId;
use muster_common::instance::{InstanceRecord, LocalInfo};
use muster_common::slot::{SlotStatus, SlotTable};
use muster_common::strategy;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use prost::Message;

use super::Malformed;
use crate::v1;

/// Writes `value`, encodes, decodes and reads it again.
fn travelled<T, M>(value: &T) -> Result<T, Malformed>
where
    T: TryFrom<M, Error = Malformed> + Debug,
    M: Message + Default + for<'a> From<&'a T>,
{
    let bytes = M::from(value).encode_to_vec();
    T::try_from(M::decode(bytes.as_slice()).expect("what was encoded decodes"))
}

proptest! {
    #[test]
    fn slot_ids_survive(slot in strategy::slot_id()) {
        prop_assert_eq!(travelled::<SlotId, v1::SlotId>(&slot).unwrap(), slot);
    }

    #[test]
    fn instance_records_survive(record in strategy::instance_record()) {
        prop_assert_eq!(travelled::<InstanceRecord, v1::InstanceRecord>(&record).unwrap(), record);
    }

    #[test]
    fn slot_tables_survive(table in strategy::slot_table()) {
        prop_assert_eq!(travelled::<SlotTable, v1::SlotTable>(&table).unwrap(), table);
    }

    #[test]
    fn slot_statuses_survive(status in strategy::slot_status()) {
        prop_assert_eq!(travelled::<SlotStatus, v1::SlotStatus>(&status).unwrap(), status);
    }

    #[test]
    fn executor_records_survive(record in strategy::executor_record()) {
        prop_assert_eq!(travelled::<ExecutorRecord, v1::ExecutorRecord>(&record).unwrap(), record);
    }
}

/// Some value of a strategy, the same in every run.
fn sample<S: Strategy>(strategy: S) -> S::Value {
    strategy.new_tree(&mut TestRunner::deterministic()).expect("the strategy makes values").current()
}

fn wire_record() -> v1::InstanceRecord {
    v1::InstanceRecord {
        timeline: vec![(&sample(strategy::transition())).into()],
        probes: vec![(&sample(strategy::probe_record())).into()],
        evidence: Some((&sample(strategy::evidence())).into()),
        local_info: Some((&sample(strategy::local_info())).into()),
        ..(&sample(strategy::instance_record())).into()
    }
}

#[test]
fn a_record_is_refused_by_the_name_of_its_bad_field() {
    type Damage = fn(&mut v1::InstanceRecord);
    let table: [(&str, Damage); 15] = [
        ("InstanceRecord.id", |r| r.id = "../x".into()),
        ("InstanceRecord.slot", |r| r.slot = None),
        ("SlotId.executor", |r| r.slot.as_mut().unwrap().executor.clear()),
        ("InstanceRecord.state", |r| r.state = "DREAMING".into()),
        ("InstanceRecord.reason", |r| r.reason = "MOOD".into()),
        ("InstanceRecord.runner", |r| r.runner.clear()),
        ("InstanceRecord.error_message", |r| r.error_message = "x".repeat(MAX_MESSAGE_BYTES + 1)),
        ("InstanceRecord.timeline", |r| r.timeline = vec![r.timeline[0].clone(); MAX_TIMELINE + 1]),
        ("InstanceRecord.warnings", |r| r.warnings = vec![String::new(); MAX_WARNINGS + 1]),
        ("InstanceRecord.probes", |r| r.probes = vec![r.probes[0].clone(); MAX_PROBE_RECORDS + 1]),
        ("Transition.to", |r| r.timeline[0].to = "UP".into()),
        ("ProbeRecord.answer", |r| r.probes[0].answer = "x".repeat(MAX_PROBE_ANSWER_BYTES + 1)),
        ("Evidence.log_tail", |r| {
            r.evidence.as_mut().unwrap().log_tail = "x".repeat(MAX_LOG_TAIL_BYTES + 1);
        }),
        ("Allocation.kind", |r| r.resources = vec![v1::Allocation { kind: None }]),
        ("InstancePort.host_port", |r| {
            r.local_info.as_mut().unwrap().ports = vec![v1::InstancePort {
                name: "main".into(),
                container_port: 80,
                host_port: 65_536,
                port_type: "HTTP".into(),
            }];
        }),
    ];
    InstanceRecord::try_from(wire_record()).expect("undamaged");
    for (field, damage) in table {
        let mut record = wire_record();
        damage(&mut record);
        let refused = InstanceRecord::try_from(record).expect_err(field);
        assert_eq!(format!("{}.{}", refused.message, refused.field), field);
        assert!(refused.to_string().starts_with(field), "{refused}");
    }
}

#[test]
fn a_row_that_cannot_be_read_costs_only_itself() {
    let mut rows = vec![sample(strategy::slot_assignment()); 4];
    let mut other = sample(strategy::local_service_spec());
    other.name = "other".to_owned();
    rows[3].spec = Arc::new(other);
    for (index, row) in (0..).zip(&mut rows) {
        row.index = index;
    }
    let table = SlotTable { rows, ..SlotTable::default() };
    let mut written = v1::SlotTable::from(&table);
    assert_eq!((written.rows.len(), written.specs_json.len()), (4, 2), "a spec is written once");

    written.specs_json[1] = "{".into();
    written.rows[1].mode = "LATER".to_owned();
    written.rows[2].spec = 2;
    let read = SlotTable::try_from(written).unwrap();
    assert_eq!(read.rows, table.rows[..1]);
    let problems: Vec<(u32, &str)> =
        read.unreadable.iter().map(|row| (row.index, row.problem.split(':').next().unwrap())).collect();
    assert_eq!(
        problems,
        [(1, "SlotAssignment.mode"), (2, "SlotAssignment.spec"), (3, "SlotTable.specs_json")]
    );
    assert_eq!(travelled::<SlotTable, v1::SlotTable>(&read).unwrap(), read, "a journal keeps them");
}

#[test]
fn what_one_node_or_one_port_says_twice_is_refused() {
    let twice = vec![v1::NumaMemory { node: 0, memory_mb: 1 }; 2];
    let mut executor = v1::ExecutorRecord::from(&sample(strategy::executor_record()));
    executor.memory = twice;
    assert_eq!(ExecutorRecord::try_from(executor).unwrap_err().field, "memory");

    let port = v1::InstancePort { name: "a".into(), port_type: "TCP".into(), ..Default::default() };
    let info = v1::LocalInfo { hostname: "node".into(), ports: vec![port.clone(), port] };
    assert_eq!(LocalInfo::try_from(info).unwrap_err().field, "ports");
}

#[test]
fn what_we_write_is_cut_to_what_we_read() {
    let mut record = sample(strategy::instance_record());
    record.error_message = "ä".repeat(MAX_MESSAGE_BYTES);
    record.timeline = vec![sample(strategy::transition()); MAX_TIMELINE + 3];
    record.timeline.last_mut().unwrap().message = "the last".into();
    record.probes = vec![sample(strategy::probe_record()); MAX_PROBE_RECORDS + 3];
    let mut evidence = sample(strategy::evidence());
    evidence.log_tail = format!("{}the end", "x".repeat(MAX_LOG_TAIL_BYTES));
    record.evidence = Some(evidence);

    let read = travelled::<InstanceRecord, v1::InstanceRecord>(&record).unwrap();
    assert_eq!(read.error_message.len(), MAX_MESSAGE_BYTES);
    assert_eq!((read.timeline.len(), read.probes.len()), (MAX_TIMELINE, MAX_PROBE_RECORDS));
    assert_eq!(read.timeline.last().unwrap().message, "the last", "the newest are kept");
    assert!(read.evidence.unwrap().log_tail.ends_with("the end"), "the end is kept");
}
