//! Real controllers in this process: real sockets, certificates and, in a temporary directory, files.
#![allow(dead_code, unreachable_pub)] // each test binary uses its part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says so by failing

pub mod executor;
pub mod program;

use std::sync::Arc;
use std::time::Duration;

use muster_common::id::{ClusterId, ControllerId, ExecutorId};
use muster_common::identity::{Identity, Role};
use muster_common::spec::SpecLimits;
use muster_controller::State;
use muster_controller::Storage;
use muster_controller::{Controller, ControllerConfig, Resources};
use muster_controller::{ListenConfig, LivenessConfig, MemberConfig, RetentionConfig};
use muster_platform::{Authority, TlsIdentity, World, bind};
use muster_proto::v1;
use serde_json::{Value, json};

use executor::{Session, instance, register};

/// Long enough for a loaded machine; nothing waits for as long as this when all is well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Some controllers of one cluster.
pub struct Cluster {
    pub authority: Authority,
    pub id: ClusterId,
    pub controllers: Vec<Controller>,
    pub http: reqwest::Client,
    _dir: tempfile::TempDir,
}

impl Cluster {
    /// Starts `count` controllers and waits until one leads.
    pub async fn start(count: u64) -> Self {
        Self::start_with(count, LivenessConfig::default()).await
    }

    pub async fn start_with(count: u64, liveness: LivenessConfig) -> Self {
        Self::start_in(World::system(), count, liveness).await
    }

    pub async fn start_in(world: World, count: u64, liveness: LivenessConfig) -> Self {
        Self::start_limited(world, count, liveness, SpecLimits::default()).await
    }

    pub async fn start_limited(
        world: World,
        count: u64,
        liveness: LivenessConfig,
        limits: SpecLimits,
    ) -> Self {
        Self::start_configured(world, count, |config| {
            config.liveness = liveness;
            config.spec_limits = limits.clone();
        })
        .await
    }

    /// Starts them as `configure` says.
    pub async fn start_configured(
        world: World,
        count: u64,
        configure: impl Fn(&mut ControllerConfig),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let id = ClusterId::new("test").unwrap();
        let authority = Authority::new(&id).unwrap();
        let mut bound = Vec::new();
        for _ in 0..count {
            let cluster = bind(&world, "the test", "127.0.0.1:0").await.unwrap();
            let api = bind(&world, "the test", "127.0.0.1:0").await.unwrap();
            bound.push((cluster, api));
        }
        let members: Vec<MemberConfig> = (1..)
            .zip(&bound)
            .map(|(id, (cluster, api))| MemberConfig {
                id: ControllerId(id),
                cluster: cluster.local_addr().unwrap().to_string(),
                api: api.local_addr().unwrap().to_string(),
            })
            .collect();
        let starts = members.iter().zip(bound).map(|(member, (cluster, api))| {
            let data_dir = dir.path().join(member.id.to_string());
            std::fs::create_dir(&data_dir).unwrap();
            let mut config = ControllerConfig {
                cluster: id.clone(),
                id: member.id,
                data_dir: Some(data_dir.clone()),
                listen: ListenConfig {
                    cluster: member.cluster.clone(),
                    api: member.api.clone(),
                    allow_plain_http: false,
                },
                members: members.clone(),
                tls: None,
                liveness: LivenessConfig::default(),
                retention: RetentionConfig::default(),
                spec_limits: SpecLimits::default(),
                users: Vec::new(),
            };
            configure(&mut config);
            let tls = identity(&authority, &id, Role::Controller(member.id));
            let resources = Resources { cluster, api, storage: Storage::Directory(data_dir), lock: None };
            Controller::start_on(resources, config, world.clone(), tls)
        });
        let controllers = futures::future::try_join_all(starts).await.unwrap();
        let cluster = Self { authority, id, controllers, http: reqwest::Client::new(), _dir: dir };
        cluster.leader().await;
        cluster
    }

    /// Waits until one is the ready leader, and says which.
    pub async fn leader(&self) -> usize {
        let watches = self.controllers.iter().enumerate().map(|(n, controller)| {
            let mut status = controller.status();
            Box::pin(async move {
                status.wait_for(|status| status.is_ready_leader).await.unwrap();
                n
            })
        });
        let first = futures::future::select_all(watches);
        tokio::time::timeout(PATIENCE, first).await.expect("no controller became leader").0
    }

    /// An identity for an executor of this cluster.
    pub fn executor(&self, id: &str) -> TlsIdentity {
        identity(&self.authority, &self.id, Role::Executor(ExecutorId::new(id).unwrap()))
    }

    /// An identity for a controller of this cluster.
    pub fn controller_identity(&self) -> TlsIdentity {
        identity(&self.authority, &self.id, Role::Controller(ControllerId(9)))
    }

    pub fn url(&self, controller: usize, path: &str) -> String {
        format!("http://{}{path}", self.controllers[controller].api_addr())
    }

    /// The status and the body of a GET below `/apis/v1`.
    pub async fn get(&self, controller: usize, path: &str) -> (u16, Value) {
        let response = self.http.get(self.url(controller, &format!("/apis/v1{path}"))).send().await.unwrap();
        answer(response).await
    }

    /// The status and the body of a POST below `/apis/v1`.
    pub async fn post(&self, controller: usize, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let request = self.http.post(self.url(controller, &format!("/apis/v1{path}")));
        let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
        answer(response).await
    }

    /// Submits an operation that must be accepted; its id.
    pub async fn submit(&self, controller: usize, operation: Value) -> String {
        let (status, body) = self.post(controller, "/localservices/operations", operation.to_string()).await;
        assert_eq!((status, &body["status"]), (200, &Value::from("SUCCESS")), "{body}");
        body["data"]["operationId"].as_str().unwrap().to_owned()
    }

    /// A session of the executor `e1`, the table that it was sent, and the instance of `WEB-1` that is HEALTHY in its one
    /// slot.
    pub async fn with_a_healthy_instance(&self) -> (Session, v1::SlotTable, v1::InstanceRecord) {
        self.submit(0, json!({"type": "CREATE", "spec": spec("WEB"), "instancesPerHost": 1})).await;
        self.submit(0, json!({"type": "ACTIVATE", "serviceId": "WEB-1"})).await;
        let address = self.controllers[0].cluster_addr().to_string();
        let mut session = Session::open(&self.executor("e1"), &address, register("e1", 1, 0)).await.unwrap();
        session.welcome().await;
        let mut table = session.table().await;
        while table.rows.is_empty() {
            table = session.table().await;
        }
        let healthy = instance("SI-1", "WEB-1", "e1", &table.rows[0], "HEALTHY");
        session.report(vec![healthy.clone()], Vec::new()).await;
        session.ack().await;
        (session, table, healthy)
    }

    /// Waits until the state of `controller` is as `wanted`.
    pub async fn until(&self, controller: usize, what: &str, wanted: impl Fn(&State) -> bool) -> Arc<State> {
        let mut state = self.controllers[controller].state();
        let reached = tokio::time::timeout(PATIENCE, state.wait_for(|state| wanted(state))).await;
        Arc::clone(&reached.unwrap_or_else(|_| panic!("never: {what}")).unwrap())
    }

    pub async fn stop(self) {
        futures::future::join_all(self.controllers.into_iter().map(Controller::shutdown)).await;
    }
}

async fn answer(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect(&text) };
    (status, body)
}

fn identity(authority: &Authority, cluster: &ClusterId, role: Role) -> TlsIdentity {
    let identity = Identity { cluster: cluster.clone(), role };
    let issued = authority.issue(&identity).unwrap();
    TlsIdentity::from_pem(&authority.ca_pem(), &issued.cert_pem, &issued.key_pem, &identity).unwrap()
}

/// A spec that is valid.
pub fn spec(name: &str) -> Value {
    let check = json!({
        "mode": {"type": "HTTP", "protocol": "HTTP", "portName": "main", "path": "/", "verb": "GET", "successCodes": [200]},
        "timeout": "1s", "interval": "1s", "attempts": 3
    });
    json!({
        "name": name, "version": "1", "type": "LOCAL_SERVICE",
        "executable": {"type": "PROCESS", "command": ["/bin/true"]},
        "exposedPorts": [{"name": "main", "port": 8000, "type": "HTTP"}],
        "configs": [{"type": "INLINE", "localFilename": "/secret.txt", "data": "RHJvdmUgdGVzdA=="}],
        "resources": [{"type": "CPU", "count": 1}, {"type": "MEMORY", "sizeInMB": 16}],
        "placementPolicy": {"type": "LOCAL", "hostLevel": false},
        "healthcheck": check, "readiness": check,
        "tags": {"team": "platform"}
    })
}
