//! The cluster: three controllers, and as many executors as a test wants.

use muster_common::cluster::ClusterSummary;
use muster_common::id::{ClusterId, ControllerId, ExecutorId};
use muster_common::identity::{Identity, Role as Speaks};
use muster_common::instance::{InstanceInfo, InstanceState};
use muster_platform::Authority;
use serde_json::{Value, json};

use super::machine::Machine;
use super::network::Network;
use super::role::{API_PORT, Role};
use crate::api::CallError;
use crate::cluster::{self, greeted_pid};

const CLUSTER: &str = "lab";
const CLUSTER_PORT: u16 = 4100;
const CONTROLLERS: u8 = 3;

/// When silent executors are given up, as the configuration has it.
#[derive(Debug, Clone, Copy)]
pub struct Liveness {
    /// Such as `10s`.
    pub unknown_after: &'static str,
    /// Such as `10m`.
    pub lost_after: &'static str,
}

impl Liveness {
    /// What it is where nobody configures it.
    pub const DEFAULT: Self = Self { unknown_after: "10s", lost_after: "10m" };
}

/// A cluster, each of whose roles is on a machine of its own. Dropping it ends everything that runs there.
pub struct Lab {
    // In this order: what runs ends before its network does, and both before their files are removed.
    /// Three of them.
    pub controllers: Vec<Role>,
    /// As many as were asked for.
    pub executors: Vec<Role>,
    /// What they are on.
    pub network: Network,
    program: String,
    dir: tempfile::TempDir,
}

impl Lab {
    /// Starts the roles; returns when there is a leader and every executor is in session with it. `None` where there
    /// can be no such machines, see [`Network::new`].
    #[must_use]
    pub fn start(test: &str, program: &str, executors: u8, liveness: Liveness) -> Option<Self> {
        let mut network = Network::new(test)?;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let authority = Authority::new(&cluster_id()).expect("an authority");
        let machines: Vec<Machine> = (0..CONTROLLERS + executors).map(|_| network.machine()).collect();
        let members: Vec<Value> = (1..=CONTROLLERS).zip(&machines).map(member).collect();
        let mut lab = Self {
            controllers: Vec::new(),
            executors: Vec::new(),
            network,
            program: program.to_owned(),
            dir,
        };
        for (number, machine) in (1..).zip(machines) {
            let is_controller = number <= CONTROLLERS;
            let (id, speaks, config) = if is_controller {
                let config = controller(number, &machine, &members, liveness);
                (format!("controller-{number}"), Speaks::Controller(ControllerId(number.into())), config)
            } else {
                let id = format!("executor-{}", number - CONTROLLERS);
                let speaks = Speaks::Executor(ExecutorId::new(&id).expect("an id"));
                let config = executor(&id, &members);
                (id, speaks, config)
            };
            let identity = Identity { cluster: cluster_id(), role: speaks };
            let mut role =
                Role::prepare(program, (id, machine), (&authority, &identity), config, lab.dir.path());
            role.start();
            if is_controller { &mut lab.controllers } else { &mut lab.executors }.push(role);
        }
        lab.wait_for("a leader and all executors", || {
            let summary: ClusterSummary = lab.controllers[0].api.get("cluster").ok()?;
            (summary.num_executors == u64::from(executors)).then_some(())
        });
        Some(lab)
    }

    /// Deploys a spec by `muster apply`, which waits until it is healthy everywhere.
    pub fn apply(&self, spec: &Value) {
        let file = self.dir.path().join("spec.json");
        std::fs::write(&file, spec.to_string()).expect("a file");
        let server = format!("http://127.0.0.1:{API_PORT}");
        let file = file.to_string_lossy();
        let applied =
            self.controllers[0].machine.run(&[&self.program, "--server", &server, "apply", "-f", &file]);
        assert!(applied.status.success(), "{}{}", String::from_utf8_lossy(&applied.stderr), self.logs());
    }

    /// The leader, as the controller `nth` knows it at the moment.
    #[must_use]
    pub fn leader_seen_by(&self, nth: usize) -> Option<usize> {
        let summary: ClusterSummary = self.controllers[nth].api.get("cluster?stale=true").ok()?;
        self.controllers.iter().position(|role| api_address(&role.machine) == summary.leader)
    }

    /// The leader, as soon as it knows that itself.
    #[must_use]
    pub fn leader(&self) -> usize {
        self.wait_for("a leader", || {
            (0..self.controllers.len()).find(|&nth| self.leader_seen_by(nth) == Some(nth))
        })
    }

    /// The live instances of a service with all that is known of them, as the controller `nth` shows them.
    pub fn instances(&self, nth: usize, service: &str) -> Result<Vec<InstanceInfo>, CallError> {
        self.controllers[nth].api.get(&format!("localservices/{service}/instances?detail=true"))
    }

    /// An instance of a service, while the controller `nth` shows it as healthy.
    #[must_use]
    pub fn healthy(&self, nth: usize, service: &str, instance_id: &str) -> Option<InstanceInfo> {
        let instances = self.instances(nth, service).ok()?;
        instances
            .into_iter()
            .find(|instance| instance.instance_id == instance_id && instance.state == InstanceState::Healthy)
    }

    /// Which process an instance of the example service is: its pid, and when it began. It is asked on its own
    /// machine, so that it answers also while that is cut off.
    #[must_use]
    pub fn process_of(&self, instance: &InstanceInfo) -> (u32, u64) {
        let role = self.executors.iter().find(|role| role.id == instance.executor_id).expect("its executor");
        let pid = greeted_pid(&role.machine.within(crate::api::client), instance);
        (pid, role.machine.start_ticks(pid).expect("it runs"))
    }

    /// Waits until `condition` gives something; fails with `what` and the roles' logs after [`cluster::BOUND`].
    pub fn wait_for<T>(&self, what: &str, condition: impl FnMut() -> Option<T>) -> T {
        cluster::wait_for(what, || self.logs(), condition)
    }

    fn logs(&self) -> String {
        cluster::logs(self.dir.path())
    }
}

fn cluster_id() -> ClusterId {
    ClusterId::new(CLUSTER).expect("a name")
}

fn api_address(machine: &Machine) -> String {
    format!("{}:{API_PORT}", machine.address())
}

fn member((id, machine): (u8, &Machine)) -> Value {
    json!({"id": id, "cluster": format!("{}:{CLUSTER_PORT}", machine.address()), "api": api_address(machine)})
}

fn controller(id: u8, machine: &Machine, members: &[Value], liveness: Liveness) -> Value {
    json!({
        "id": id,
        "listen": {
            "cluster": format!("{}:{CLUSTER_PORT}", machine.address()),
            "api": format!("127.0.0.1:{API_PORT}"),
        },
        "members": members,
        "liveness": {"unknownAfter": liveness.unknown_after, "lostAfter": liveness.lost_after},
    })
}

fn executor(id: &str, members: &[Value]) -> Value {
    let controllers: Vec<&Value> = members.iter().map(|member| &member["cluster"]).collect();
    json!({
        "id": id,
        "listen": {"api": format!("127.0.0.1:{API_PORT}")},
        "controllers": controllers,
        "runner": "process",
        "coreOvercommit": 16,
        // Their directories would outlive the machine.
        "process": {"controlGroups": false},
    })
}
