//! The wire contract (docs/drove-api.md), rule by rule and example by example: one file for each of its sections, each
//! case named by its section. What is asked is a real controller; what its one executor says is the contract's
//! example. What Muster adds to an answer is named in each case, so that nothing comes along unnoticed.
//!
//! | file | section |
//! |---|---|
//! | `traps` | §0, what an implementer falls into |
//! | `endpoints` | §1, calls, statuses, who may |
//! | `shapes`, `specs` | §2, what is answered and what is taken |
//! | `rules` | §3, what is refused, and in which words |
//! | `states` | §2.5, §3.2, what the states of instances and services mean |
//! | `client` | §5, what drove-cli indexes |
//!
//! What needs a real node (§1.5: logs) is in `tests/tests/logs.rs`.

mod client;
mod endpoints;
mod rules;
mod shapes;
mod specs;
mod states;
mod traps;

use std::collections::{BTreeMap, BTreeSet};

use muster_common::duration::DroveDuration;
use muster_common::evidence::{Evidence, Transition};
use muster_common::executor::{ExecutorRecord, NodeLayout};
use muster_common::id::{Epoch, ExecutorId, Generation, InstanceId, ServiceId, SlotId};
use muster_common::instance::{
    InstancePort, InstanceRecord, InstanceState, LocalInfo, ResourceAllocation, RunnerKind,
};
use muster_common::reason::Reason;
use muster_common::spec::{PortType, SpecLimits};
use muster_common::time::Timestamp;
use muster_controller::State;
use muster_platform::World;
use muster_proto::v1;
use serde_json::{Value, json};

use crate::common::Cluster;
use crate::common::executor::{Session, register};

const SERVICE: &str = "TEST_LOCAL_SERVICE-1";
const EXECUTOR: &str = "a45442a1-d4d0-3479-ab9e-3ed0aa5f7d2d";
const INSTANCE: &str = "SI-58eb1111-8c2c-4ea2-a159-8fc68010a146";
/// One that ended before.
const ENDED: &str = "SI-0d5e7a1c-61f5-4a55-9a52-3b5a3e6f2c10";
const OPERATIONS: &str = "/localservices/operations";
/// What is said of whatever breaks a rule.
const COMMAND: &str = "Command validation failure";

/// A spec with every member of §2.2.
fn example_spec() -> Value {
    serde_json::from_str(include_str!("spec.json")).unwrap()
}

/// The same under another name, with what is put in place of some of it; null takes a member away.
fn spec_with(name: &str, changes: &[(&str, Value)]) -> Value {
    let mut spec = example_spec();
    spec["name"] = json!(name);
    for (pointer, value) in changes {
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        match spec.pointer_mut(parent) {
            Some(Value::Object(members)) if value.is_null() => drop(members.remove(member)),
            Some(Value::Object(members)) => drop(members.insert(member.to_owned(), value.clone())),
            Some(Value::Array(elements)) => elements[member.parse::<usize>().unwrap()] = value.clone(),
            _ => panic!("{pointer} is not in the example"),
        }
    }
    spec
}

/// A controller that allows what the example uses, and whose executor may be silent for as long as a test takes.
async fn controller() -> Cluster {
    Cluster::start_configured(World::system(), 1, |config| {
        config.spec_limits = SpecLimits { enable_raw_device_access: true, ..SpecLimits::default() };
        config.liveness.unknown_after = DroveDuration::from_secs(600);
        config.liveness.lost_after = DroveDuration::from_secs(1200);
    })
    .await
}

/// The contract's service at work on the contract's executor: one instance is HEALTHY, one ended before.
struct Fleet {
    cluster: Cluster,
    executor: Session,
    /// What its executor is to run.
    row: v1::SlotAssignment,
}

impl Fleet {
    async fn start() -> Self {
        let cluster = controller().await;
        let address = cluster.controllers[0].cluster_addr().to_string();
        let node = v1::Register { executor: Some((&node()).into()), ..register(EXECUTOR, 1, 0) };
        let mut executor = Session::open(&cluster.executor(EXECUTOR), &address, node).await.unwrap();
        executor.welcome().await;
        executor.table().await;
        cluster.submit(0, json!({"type": "CREATE", "spec": example_spec(), "instancesPerHost": 1})).await;
        cluster.submit(0, json!({"type": "ACTIVATE", "serviceId": SERVICE})).await;
        let table = executor.table().await;
        let [row] = table.rows.as_slice() else { panic!("{table:?}") };
        let (ended, healthy) = (ended(row), healthy(row));
        executor.report(vec![(&ended).into(), (&healthy).into()], Vec::new()).await;
        executor.ack().await;
        let is_over = |state: &State| state.operations().all(|operation| operation.state.is_final());
        cluster.until(0, "the service is as it was asked for", is_over).await;
        Self { cluster, executor, row: row.clone() }
    }

    /// The one instance ends; its place may be taken from then on.
    async fn end_instance(&self) {
        let end = InstanceRecord { version: 2, state: InstanceState::Stopped, ..healthy(&self.row) };
        self.executor.report(vec![(&end).into()], Vec::new()).await;
        let is_gone = |state: &State| {
            state.instance(&end.id).is_some_and(|found| found.record.state == InstanceState::Stopped)
        };
        self.cluster.until(0, "the instance ended", is_gone).await;
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.cluster.get(0, path).await;
        assert_eq!((status, &answer["status"]), (200, &json!("SUCCESS")), "{path}: {answer}");
        assert_eq!(answer["message"], "success", "{path}");
        answer["data"].clone()
    }

    async fn stop(self) {
        drop(self.executor);
        self.cluster.stop().await;
    }
}

/// The example of §2.9.
fn node() -> ExecutorRecord {
    ExecutorRecord {
        id: ExecutorId::new(EXECUTOR).unwrap(),
        hostname: "node1".to_owned(),
        api_port: 3000,
        incarnation: 1,
        boot_id: "boot".to_owned(),
        version: "0.1.0".to_owned(),
        tags: vec!["node1".to_owned()],
        layout: NodeLayout {
            cores: BTreeMap::from([(0, vec![2, 3, 4, 5])]),
            memory: BTreeMap::from([(0, 19_026)]),
        },
        core_overcommit: 1,
    }
}

/// The example of §2.5.
fn healthy(row: &v1::SlotAssignment) -> InstanceRecord {
    let port = InstancePort { container_port: 8000, host_port: 33_857, port_type: PortType::Http };
    InstanceRecord {
        id: InstanceId::new(INSTANCE).unwrap(),
        slot: SlotId {
            service: ServiceId::new(SERVICE).unwrap(),
            executor: ExecutorId::new(EXECUTOR).unwrap(),
            index: 0,
        },
        service_name: "TEST_LOCAL_SERVICE".to_owned(),
        epoch: Epoch(row.epoch),
        generation: Generation(row.generation),
        version: 1,
        state: InstanceState::Healthy,
        reason: None,
        error_message: String::new(),
        runner: RunnerKind::Docker,
        local_info: Some(LocalInfo {
            hostname: "node1".to_owned(),
            ports: BTreeMap::from([("main".to_owned(), port)]),
        }),
        resources: vec![
            ResourceAllocation::Cpu { cores: BTreeMap::from([(0, vec![2])]) },
            ResourceAllocation::Memory { memory_in_mb: BTreeMap::from([(0, 128)]) },
        ],
        warnings: Vec::new(),
        created: Timestamp(1_719_892_354_194),
        updated: Timestamp(1_719_897_100_104),
        started: Some(Timestamp(1_719_892_355_000)),
        finished: None,
        timeline: vec![step(1_719_892_354_194, InstanceState::Pending, InstanceState::Healthy, None)],
        probes: Vec::new(),
        evidence: None,
    }
}

/// One that its executor replaced.
fn ended(row: &v1::SlotAssignment) -> InstanceRecord {
    let exited =
        step(1_719_892_353_000, InstanceState::Healthy, InstanceState::Stopped, Some(Reason::Exited));
    InstanceRecord {
        id: InstanceId::new(ENDED).unwrap(),
        state: InstanceState::Stopped,
        reason: Some(Reason::Exited),
        error_message: "exited with code 3".to_owned(),
        created: Timestamp(1_719_892_350_000),
        updated: Timestamp(1_719_892_353_000),
        started: Some(Timestamp(1_719_892_351_000)),
        finished: Some(Timestamp(1_719_892_353_000)),
        timeline: vec![exited],
        evidence: Some(Evidence { exit_code: Some(3), log_tail: "bye\n".to_owned(), ..Evidence::default() }),
        ..healthy(row)
    }
}

fn step(at: u64, from: InstanceState, to: InstanceState, reason: Option<Reason>) -> Transition {
    Transition { at: Timestamp(at), from, to, reason, message: String::new(), repeats: None }
}

/// An answer is the contract's example: the same members with the same values, but for those that are `varying`, which are
/// of the same kind. Beside them it has what Muster adds, and nothing else.
fn assert_example(case: &str, answer: &Value, example: &Value, varying: &[&str], additions: &[&str]) {
    let (answered, expected) = (answer.as_object().expect(case), example.as_object().expect(case));
    for (member, value) in expected {
        let found = answered.get(member).unwrap_or_else(|| panic!("{case}: {member} is missing in {answer}"));
        if varying.contains(&member.as_str()) {
            assert_eq!(kind(found), kind(value), "{case}: {member} in {answer}");
        } else {
            assert_eq!(found, value, "{case}: {member}");
        }
    }
    let beside: BTreeSet<&str> =
        answered.keys().filter(|key| !expected.contains_key(*key)).map(String::as_str).collect();
    assert_eq!(beside, additions.iter().copied().collect(), "{case}: what is added");
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() => "whole number",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// A refusal in the envelope, with its list of errors.
fn refusal(message: &str, errors: &[&str], kind: &str) -> Value {
    json!({"status": "FAILED", "data": {"validationErrors": errors, "kind": kind}, "message": message})
}
