//! What executors say, damaged: nothing makes reading panic, what cannot be read is named and costs itself alone, and no
//! part of a report is larger than the log takes.

use muster_common::id::ExecutorId;
use muster_common::strategy::{self, damaged, thorough};
use muster_proto::v1;
use muster_proto::v1::executor_message::Body;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

use super::message::{Registration, parts, report};

fn messages() -> impl Strategy<Value = Vec<u8>> {
    let records = vec(strategy::instance_record().prop_map(|record| (&record).into()), 0..3);
    let statuses = vec(strategy::slot_status().prop_map(|status| (&status).into()), 0..3);
    let reports =
        (records, statuses).prop_map(|(instances, slots)| Body::Report(v1::Report { instances, slots }));
    let registers = strategy::executor_record().prop_map(|record| {
        let holds = Some(v1::Inventory { instances: vec!["SI-1".to_owned(), "SI-2".to_owned()] });
        let history = Some("h1".to_owned());
        Body::Register(v1::Register { executor: Some((&record).into()), table_revision: 7, holds, history })
    });
    prop_oneof![reports, registers].prop_map(|body| v1::ExecutorMessage { body: Some(body) }.encode_to_vec())
}

proptest! {
    #![proptest_config(thorough())]

    #[test]
    fn session_messages(bytes in damaged(messages())) {
        let Ok(message) = v1::ExecutorMessage::decode(bytes.as_slice()) else { return Ok(()) };
        match message.body {
            Some(Body::Register(register)) => {
                if let Err(why) = Registration::try_from(register) {
                    prop_assert!(why.starts_with("register.executor"), "{why}");
                }
            }
            Some(Body::Report(said)) => {
                let records = said.instances.len() + said.slots.len();
                let (mut read, mut refused) = (0, 0);
                for (part, size) in parts(said) {
                    prop_assert!(size <= bytes.len(), "a part of {size} bytes");
                    let (understood, unreadable) = report(&ExecutorId::new("e1").unwrap(), part);
                    read += understood.instances.len() + understood.slots.len();
                    refused += unreadable.len();
                    for one in unreadable {
                        prop_assert!(!one.problem.field.is_empty() && !one.problem.problem.is_empty(), "{one:?}");
                    }
                }
                prop_assert_eq!(read + refused, records, "each record is read or named");
            }
            Some(Body::Heartbeat(_)) | None => {}
        }
    }
}
