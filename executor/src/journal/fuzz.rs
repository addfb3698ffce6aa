//! The journal's records, damaged: nothing makes reading panic, what cannot be read says why, and what is read is the same
//! when it was written and read again.

use muster_common::strategy::{self, damaged, thorough};
use muster_proto::v1;
use proptest::prelude::*;
use prost::Message;

use super::contents;
use crate::machine::Instance;
use crate::slots::Slot;

/// What a disk may hold of an instance that has everything an instance can have.
fn instances() -> impl Strategy<Value = Vec<u8>> {
    let descent = || Some(v1::JournalDescent { step: "HOOK".to_owned(), hook: 2 });
    let container = v1::JournalContainer { id: "c0ffee".to_owned(), warnings: vec!["old engine".to_owned()] };
    let process =
        v1::JournalProcess { shim_pid: 7, shim_start_ticks: 8, pid: 9, start_ticks: 10, warnings: vec![] };
    let kinds =
        [v1::journal_workload::Kind::Container(container), v1::journal_workload::Kind::Process(process)];
    (strategy::instance_record(), proptest::sample::select(kinds.to_vec())).prop_map(move |(record, kind)| {
        let message = v1::JournalInstance {
            record: Some((&record).into()),
            workload: Some(v1::JournalWorkload { kind: Some(kind) }),
            exit: Some(v1::JournalExit { code: Some(137), at_ms: Some(5), ..Default::default() }),
            stop: Some(v1::JournalStop { reason: "EXITED".to_owned(), message: "gone".to_owned() }),
            resume: Some(v1::JournalResume {
                state: "HEALTHY".to_owned(),
                descent: descent(),
                ..Default::default()
            }),
            descent: descent(),
            ..Default::default()
        };
        message.encode_to_vec()
    })
}

fn slots() -> impl Strategy<Value = Vec<u8>> {
    (strategy::slot_status(), any::<u32>()).prop_map(|(status, failures)| {
        v1::JournalSlot::from(&Slot { status, failures, kept_old: None }).encode_to_vec()
    })
}

/// The id that a record was kept under, which it must bear itself.
fn key_of(bytes: &[u8]) -> String {
    let record = v1::JournalInstance::decode(bytes).ok().and_then(|message| message.record);
    record.map(|record| record.id).unwrap_or_default()
}

proptest! {
    #![proptest_config(thorough())]

    #[test]
    fn instance_records(bytes in damaged(instances()), spec in damaged(strategy::local_service_spec().prop_map(|spec| spec.to_json()))) {
        let id = key_of(&bytes);
        match contents::instance(&id, &bytes, Some(&spec)) {
            Err(why) => prop_assert!(!why.is_empty()),
            Ok(read) => {
                prop_assert!(contents::instance("SI-another", &bytes, Some(&spec)).is_err() || id == "SI-another");
                let written = v1::JournalInstance::from(&read).encode_to_vec();
                let again: Instance = contents::instance(&id, &written, Some(&read.spec.to_json())).unwrap();
                prop_assert!(again.same_on_disk(&read), "{again:?}\n{read:?}");
                prop_assert_eq!(&again.spec, &read.spec);
            }
        }
    }

    #[test]
    fn slot_records(bytes in damaged(slots())) {
        match contents::slot(&bytes) {
            Err(why) => prop_assert!(!why.is_empty()),
            Ok(read) => prop_assert_eq!(contents::slot(&v1::JournalSlot::from(&read).encode_to_vec()), Ok(read)),
        }
    }

    #[test]
    fn tables(bytes in damaged(strategy::slot_table().prop_map(|table| {
        v1::JournalTable { term: 3, table: Some((&table).into()) }.encode_to_vec()
    }))) {
        match contents::table(&bytes) {
            Err(why) => prop_assert!(!why.is_empty()),
            Ok((term, table)) => {
                let written = v1::JournalTable { term, table: Some((&table).into()) }.encode_to_vec();
                prop_assert_eq!(contents::table(&written), Ok((term, table)));
            }
        }
    }
}
