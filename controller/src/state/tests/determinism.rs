//! The same log gives the same bytes, on any machine, through any snapshot.

use bytes::Bytes;
use muster_common::cluster::ClusterState;
use muster_common::executor::Contact;
use muster_common::id::{OperationId, Revision};
use muster_common::instance::InstanceState;
use muster_common::operation::{Canary, ClusterOpSpec, FailureStrategy, OperationRequest, Steer};
use muster_common::service::ServiceState;
use muster_common::time::Timestamp;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

use crate::reconcile;
use crate::state::codec::{read_snapshot, write_snapshot};
use crate::state::testing::*;
use crate::state::{Change, Command, ExecutorReport, Reply, Retention, State, Steered, Wish};

pub(super) fn bytes(state: &State) -> Vec<Bytes> {
    write_snapshot(state)
}

impl Fixture {
    pub(super) fn assert_same_but_for_revision(&self, before: &[Bytes]) {
        let mut before = read_snapshot(before).unwrap();
        before.revision = self.state.revision;
        (before.clock, before.led) = (self.state.clock, self.state.led);
        assert_eq!(bytes(&before), bytes(&self.state));
    }

    /// Puts a service into a state that it may be able to reach only in passing.
    pub(super) fn force_state(&mut self, id: &str, state: ServiceState) {
        Arc::make_mut(self.state.services.get_mut(&service_id(id)).unwrap()).state = state;
    }

    /// Lets running operations end by telling that everything asked for has happened, then takes
    /// the service down and away.
    pub(super) fn deactivate_after_settling(&mut self, id: &str) {
        self.settle();
        let slots: Vec<_> = self.state.slots_of(&service_id(id)).map(|(slot, _)| slot).collect();
        for slot in &slots {
            self.report_in(&format!("{}.new", name_in(slot)), slot, &UP);
            self.report_in(&name_in(slot), slot, &UP_AND_DOWN);
        }
        self.settle();
        self.deactivate(id);
        for slot in &slots {
            self.report_in(&format!("{}.new", name_in(slot)), slot, &UP_AND_DOWN);
        }
        self.settle();
        self.destroy(id);
        self.settle();
    }
}

/// One step of a random life, made into a command with the state at hand.
#[derive(Debug, Clone)]
enum Step {
    Register(u8, bool),
    Contact(u8, Contact),
    Create(u8, u32),
    Activate(u8),
    Deactivate(u8),
    Count(u8, u32),
    Restart(u8, bool),
    Test(u8),
    Adjust(u8),
    UpdateSpec(u8, u8, bool),
    Rollback(u8),
    Retry(u8),
    Steer(u8, Steer),
    Lead(i64),
    Destroy(u8),
    Report(u8, u8, usize),
    Reconcile(u64),
    Cluster(ClusterState),
    Duty(u8, Wish),
    Tag(u8, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let contact = proptest::sample::select(Contact::ALL);
    prop_oneof![
        (0..3_u8, any::<bool>()).prop_map(|(executor, empty)| Step::Register(executor, empty)),
        (0..3_u8, contact).prop_map(|(executor, contact)| Step::Contact(executor, contact)),
        (0..3_u8, 1..3_u32).prop_map(|(service, count)| Step::Create(service, count)),
        (0..3_u8).prop_map(Step::Activate),
        (0..3_u8).prop_map(Step::Deactivate),
        (0..3_u8, 1..3_u32).prop_map(|(service, count)| Step::Count(service, count)),
        (0..3_u8, any::<bool>()).prop_map(|(service, stop_first)| Step::Restart(service, stop_first)),
        (0..3_u8).prop_map(Step::Destroy),
        (0..3_u8).prop_map(Step::Test),
        (0..3_u8).prop_map(Step::Adjust),
        (0..3_u8, 0..3_u8, any::<bool>())
            .prop_map(|(service, content, undo)| Step::UpdateSpec(service, content, undo)),
        (0..3_u8).prop_map(Step::Rollback),
        (0..3_u8).prop_map(Step::Retry),
        (0..120_u8, proptest::sample::select(Steer::ALL)).prop_map(|(n, steer)| Step::Steer(n, steer)),
        (-400..400_i64).prop_map(Step::Lead),
        (0..3_u8, 0..6_u8, 0..9_usize).prop_map(|(executor, slot, way)| Step::Report(executor, slot, way)),
        (0..400_u64).prop_map(Step::Reconcile),
        proptest::sample::select(ClusterState::ALL).prop_map(Step::Cluster),
        (0..3_u8, wish()).prop_map(|(executor, wish)| Step::Duty(executor, wish)),
        (0..3_u8, any::<bool>()).prop_map(|(executor, ssd)| Step::Tag(executor, ssd)),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        Just(Wish::Blacklist),
        Just(Wish::Unblacklist),
        (1..400_u64).prop_map(|seconds| Wish::Drain { within: Duration::from_secs(seconds) }),
        Just(Wish::Remove),
    ]
}

/// The log that `steps` write.
fn log(steps: &[Step]) -> Vec<Bytes> {
    let mut state = State::default();
    let mut now = Timestamp(1_000_000);
    let mut log = Vec::new();
    for (n, step) in steps.iter().enumerate() {
        let service_id = |service: &u8| format!("s{service}-1");
        let submit = |request| Command::SubmitOperation {
            id: OperationId::new(format!("OP-{n}")).unwrap(),
            request: Box::new(request),
            at: now,
            by: String::new(),
            if_generation: None,
        };
        let command = match step {
            Step::Register(executor, empty) => Command::RegisterExecutor {
                at: now,
                record: Box::new(executor_record(&format!("e{executor}"))),
                holds: empty.then(Vec::new),
            },
            Step::Contact(executor, contact) => Command::ExecutorContact {
                at: now,
                verdicts: vec![(executor_id(&format!("e{executor}")), *contact)],
            },
            Step::Create(service, instances_per_host) => submit(OperationRequest::Create {
                spec: Box::new(if *service == 2 {
                    spec_for("s2", &serde_json::json!({"all": ["ssd"]}))
                } else {
                    spec(&format!("s{service}"))
                }),
                instances_per_host: *instances_per_host,
            }),
            Step::Activate(service) => submit(OperationRequest::Activate { service_id: service_id(service) }),
            Step::Deactivate(service) => {
                submit(OperationRequest::Deactivate { service_id: service_id(service) })
            }
            Step::Count(service, instances_per_host) => submit(OperationRequest::UpdateInstanceCount {
                service_id: service_id(service),
                instances_per_host: *instances_per_host,
            }),
            Step::Restart(service, stop_first) => submit(OperationRequest::Restart {
                service_id: service_id(service),
                stop_first: *stop_first,
                cluster_op_spec: None,
            }),
            Step::Test(service) => {
                submit(OperationRequest::DeployTestInstance { service_id: service_id(service) })
            }
            Step::Adjust(service) => {
                submit(OperationRequest::AdjustInstances { service_id: service_id(service), op_spec: None })
            }
            Step::UpdateSpec(service, content, undo) => {
                let mut spec = spec(&format!("s{service}"));
                spec.env.insert("CONTENT".to_owned(), content.to_string());
                let failure_strategy = if *undo { FailureStrategy::Rollback } else { FailureStrategy::Stop };
                let canary = Some(Canary::Percent(30)).filter(|_| content % 2 == 0);
                let op_spec = ClusterOpSpec { failure_strategy, canary, ..ClusterOpSpec::default() };
                submit(OperationRequest::UpdateSpec {
                    spec: Box::new(spec),
                    stop_first: false,
                    op_spec: Some(op_spec),
                })
            }
            Step::Rollback(service) => submit(OperationRequest::Rollback {
                service_id: service_id(service),
                generation: None,
                stop_first: false,
                op_spec: None,
            }),
            Step::Retry(service) => submit(OperationRequest::Retry { service_id: service_id(service) }),
            Step::Steer(n, steer) => Command::SteerOperation {
                at: now,
                which: Steered::Operation(operation_id(&format!("OP-{n}"))),
                steer: *steer,
                by: String::new(),
            },
            Step::Lead(seconds) => {
                now.0 = now.0.saturating_add_signed(seconds * 1000);
                Command::AnnounceLeader { at: now, address: String::new() }
            }
            Step::Cluster(state) => {
                Command::SetClusterState { at: now, state: *state, address: String::new() }
            }
            Step::Duty(executor, wish) => Command::ChangeDuty {
                at: now,
                wish: *wish,
                executors: vec![executor_id(&format!("e{executor}"))],
                by: String::new(),
            },
            Step::Tag(executor, ssd) => Command::TagExecutor {
                at: now,
                executor: executor_id(&format!("e{executor}")),
                tags: ssd.then(|| "ssd".to_owned()).into_iter().collect(),
            },
            Step::Destroy(service) => submit(OperationRequest::Destroy { service_id: service_id(service) }),
            Step::Report(executor, slot, way) => {
                let slots: Vec<_> = state.slots.on_executor(&executor_id(&format!("e{executor}"))).collect();
                let Some((id, slot)) = slots.get(usize::from(*slot)) else { continue };
                let name = format!("{}.{}", name_in(id), slot.epoch);
                let way: Vec<InstanceState> = UP_AND_DOWN[..*way.min(&UP_AND_DOWN.len())].to_vec();
                let record = record(&name, id, slot.epoch, &way);
                let executor = id.executor.clone();
                let report =
                    ExecutorReport { executor, instances: vec![Arc::new(record)], slots: Vec::new() };
                Command::Reports { at: now, reports: vec![report] }
            }
            Step::Reconcile(seconds) => {
                now.0 += seconds * 1000;
                let mut changes = reconcile::plan(&state, now).changes;
                let old_instances = u32::try_from(seconds % 3 + 1).unwrap();
                changes.push(Change::Retain(Retention { old_instances, ..Retention::default() }));
                Command::Plan { at: now, changes }
            }
        };
        state.apply(Revision(n as u64 + 1), &command);
        log.push(command.encode());
    }
    log
}

/// A machine that applied the first `until` commands of `log`, through their bytes.
fn replay(state: &mut State, log: &[Bytes], from: usize, until: usize) -> Vec<Bytes> {
    let commands = log.iter().enumerate().take(until).skip(from);
    commands
        .map(|(n, command)| {
            let command = Command::decode(command).unwrap();
            let reply = state.apply(Revision(n as u64 + 1), &command).encode();
            assert_eq!(Reply::decode(&reply).unwrap().encode(), reply);
            reply
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_log_gives_the_same_bytes_everywhere_also_through_a_snapshot(
        steps in proptest::collection::vec(step(), 1..120),
        cut in any::<prop::sample::Index>(),
    ) {
        let log = log(&steps);
        let mut one = State::default();
        let answers = replay(&mut one, &log, 0, log.len());

        let cut = cut.index(log.len() + 1);
        let mut other = State::default();
        let mut other_answers = replay(&mut other, &log, 0, cut);
        let snapshot = bytes(&other);
        let mut restored = read_snapshot(&snapshot).unwrap();
        prop_assert_eq!(&bytes(&restored), &snapshot);
        other_answers.extend(replay(&mut restored, &log, cut, log.len()));

        prop_assert_eq!(answers, other_answers);
        prop_assert_eq!(bytes(&one), bytes(&restored));
    }
}

#[test]
fn a_snapshot_that_is_not_whole_is_refused() {
    let mut fixture = Fixture::with_executors(2);
    fixture.running(spec("web"), 2);
    let whole = bytes(&fixture.state);
    let [one] = whole.as_slice() else { panic!("a small state is one chunk") };
    assert!(read_snapshot(&whole).is_ok());
    let twice = [one.clone(), one.clone()];
    for broken in [&[][..], &twice[..], &[one.slice(..one.len() - 4)][..], &[one.slice(10..)][..]] {
        assert!(read_snapshot(broken).is_err());
    }
}
