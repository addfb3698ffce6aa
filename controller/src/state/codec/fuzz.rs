//! What the log, the disk and other controllers hold, damaged: nothing makes reading panic, refusals are in words, what is
//! read is the same when it was written and read again, and a command that could be read can be applied.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use muster_common::id::Revision;
use muster_common::strategy::{self, damaged, thorough};
use proptest::prelude::*;
use proptest::sample::select;

use super::tests::{commands, replies};
use super::{read_snapshot, write_snapshot};
use crate::state::testing::*;
use crate::state::{Command, ExecutorReport, Reply, State};

/// The longest refusal: it is logged, and named to whoever restores a backup.
const MAX_REFUSAL_BYTES: usize = 2_000;

/// A cluster in the middle of things: services that run, one that is being replaced, ended instances.
static LIFE: LazyLock<Fixture> = LazyLock::new(|| {
    let mut fixture = Fixture::with_executors(3);
    fixture.running(spec("web"), 2);
    fixture.running(spec("log"), 1);
    for slot in [slot_id("web-1", "e1", 0), slot_id("log-1", "e2", 0)] {
        fixture.report_in(&format!("{}.more", name_in(&slot)), &slot, &UP_AND_DOWN);
    }
    fixture.restart("web-1", muster_common::operation::ClusterOpSpec::default(), true);
    fixture.reconcile();
    fixture
});

static SNAPSHOT: LazyLock<Vec<Bytes>> = LazyLock::new(|| write_snapshot(&LIFE.state));

fn is_told(error: &dyn std::fmt::Display) -> Result<(), TestCaseError> {
    let text = error.to_string();
    prop_assert!((1..=MAX_REFUSAL_BYTES).contains(&text.len()), "{} bytes: {text:.200}", text.len());
    Ok(())
}

/// A state that can be written and read again, as the same.
fn is_whole(state: &State) -> Result<(), TestCaseError> {
    let written = write_snapshot(state);
    let again = read_snapshot(&written).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert!(write_snapshot(&again) == written, "another state is read");
    Ok(())
}

/// Applies `command` to a cluster that lives.
fn applied(command: &Command) -> Result<(), TestCaseError> {
    let mut state = LIFE.state.clone();
    let reply = state.apply(Revision(LIFE.log.len() as u64 + 1), command);
    prop_assert_eq!(Reply::decode(&reply.encode()).unwrap(), reply);
    is_whole(&state)
}

fn some_command() -> impl Strategy<Value = Vec<u8>> {
    let listed = commands().iter().map(|command| command.encode().to_vec()).collect::<Vec<_>>();
    let lived = LIFE.log.iter().map(|bytes| bytes.to_vec()).collect::<Vec<_>>();
    prop_oneof![select(listed), select(lived)]
}

proptest! {
    #![proptest_config(thorough())]

    #[test]
    fn log_commands(bytes in damaged(some_command())) {
        match Command::decode_with_term(&bytes) {
            Err(error) => is_told(&error)?,
            Ok((command, term)) => {
                let written = command.encode_in_term(term);
                prop_assert_eq!(Command::decode_with_term(&written).unwrap(), (command.clone(), term));
                applied(&command)?;
            }
        }
    }

    #[test]
    fn whatever_executors_report(
        instances in proptest::collection::vec(strategy::instance_record(), 0..3),
        slots in proptest::collection::vec(strategy::slot_status(), 0..3),
        of_it in any::<bool>(),
    ) {
        let (executor, at) = (executor_id("e1"), LIFE.now);
        let instances = instances.into_iter().map(|mut record| {
            if of_it {
                record.slot = slot_id("web-1", "e1", 0);
            }
            Arc::new(record)
        });
        let slots = slots.into_iter().map(|mut status| {
            if of_it {
                status.service = service_id("web-1");
            }
            status
        });
        let report = ExecutorReport { executor, instances: instances.collect(), slots: slots.collect() };
        applied(&Command::Reports { at, reports: vec![report] })?;
    }

    #[test]
    fn log_replies(bytes in damaged(select(replies().iter().map(|reply| reply.encode().to_vec()).collect::<Vec<_>>()))) {
        match Reply::decode(&bytes) {
            Err(error) => is_told(&error)?,
            Ok(reply) => prop_assert_eq!(Reply::decode(&reply.encode()).unwrap(), reply),
        }
    }

    /// Chunks concatenate, so one stands for all.
    #[test]
    fn snapshot_chunks(chunk in damaged(Just(SNAPSHOT.concat()))) {
        match read_snapshot(&[chunk.into()]) {
            Err(error) => is_told(&error)?,
            Ok(state) => is_whole(&state)?,
        }
    }
}
