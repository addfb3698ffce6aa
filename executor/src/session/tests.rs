//! The session against a scripted controller, over real mTLS on loopback.

use std::time::Duration;

use futures::future::BoxFuture;
use muster_common::executor::{ExecutorRecord, NodeLayout};
use muster_common::id::{ClusterId, ControllerId, ExecutorId};
use muster_common::identity::{Identity, Role};
use muster_common::instance::InstanceState;
use muster_platform::{Authority, Crowd, PeerIdentity, TlsIdentity, World, bind, serve_cluster};
use muster_proto::v1;
use muster_proto::v1::controller_message::Body as Down;
use muster_proto::v1::executor_message::Body as Up;
use muster_proto::v1::sessions_server::{Sessions, SessionsServer};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{Session, run};
use crate::testing::{Bench, table};

/// For everything that must happen; generous, as the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// One session, as the controller sees it.
struct Opened {
    up: Streaming<v1::ExecutorMessage>,
    down: mpsc::Sender<Result<v1::ControllerMessage, Status>>,
    peer: Identity,
}

impl Opened {
    async fn next(&mut self) -> Up {
        let message = timeout(PATIENCE, self.up.message()).await.expect("nothing was said");
        message.unwrap().expect("the executor hung up").body.unwrap()
    }

    async fn register(&mut self) -> v1::Register {
        match self.next().await {
            Up::Register(register) => register,
            other => panic!("{other:?} before the register"),
        }
    }

    /// The next report that satisfies `wanted`; other messages are passed over.
    async fn report(&mut self, wanted: impl Fn(&v1::Report) -> bool) -> v1::Report {
        loop {
            if let Up::Report(report) = self.next().await
                && wanted(&report)
            {
                return report;
            }
        }
    }

    async fn say(&self, term: u64, body: Down) {
        self.down.send(Ok(v1::ControllerMessage { term, body: Some(body) })).await.unwrap();
    }

    async fn welcome(&self, term: u64) {
        self.say(term, Down::Welcome(v1::Welcome { heartbeat_interval_ms: 100, history: None })).await;
    }

    /// The welcome of a leader whose group has this history.
    async fn welcome_to(&self, history: &str) {
        let history = Some(history.to_owned());
        self.say(1, Down::Welcome(v1::Welcome { heartbeat_interval_ms: 100, history })).await;
    }

    /// Confirms every report until the executor ends the stream.
    async fn acknowledge_to_the_end(mut self) {
        let all = async {
            while let Ok(Some(message)) = self.up.message().await {
                if let Some(Up::Report(report)) = message.body {
                    // It may have ended the stream meanwhile.
                    let body = Some(Down::Ack(ack_of(&report)));
                    let _ = self.down.send(Ok(v1::ControllerMessage { term: 1, body })).await;
                }
            }
        };
        timeout(PATIENCE, all).await.expect("it goes on");
    }
}

/// A controller that hands every session to the test.
struct Script(mpsc::Sender<Opened>);

impl Sessions for Script {
    type OpenStream = ReceiverStream<Result<v1::ControllerMessage, Status>>;

    fn open<'a, 'async_trait>(
        &'a self,
        request: Request<Streaming<v1::ExecutorMessage>>,
    ) -> BoxFuture<'async_trait, Result<Response<Self::OpenStream>, Status>>
    where
        'a: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let peer = request.extensions().get::<PeerIdentity>().unwrap().0.clone();
            let (down, stream) = mpsc::channel(16);
            self.0.send(Opened { up: request.into_inner(), down, peer }).await.unwrap();
            Ok(Response::new(ReceiverStream::new(stream)))
        })
    }
}

struct Controller {
    address: String,
    sessions: mpsc::Receiver<Opened>,
    _ends: tokio_util::sync::DropGuard,
}

impl Controller {
    async fn start(authority: &Authority, id: u64) -> Self {
        let tls = identity(authority, Role::Controller(ControllerId(id)));
        let listener = bind(&World::system(), "a test", "127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (opened, sessions) = mpsc::channel(4);
        let service = SessionsServer::new(Script(opened));
        let router = tonic::service::Routes::new(service).prepare().into_axum_router();
        let ends = CancellationToken::new();
        tokio::spawn(serve_cluster(listener, tls, Crowd::default(), router, ends.clone()));
        Self { address, sessions, _ends: ends.drop_guard() }
    }

    async fn session(&mut self) -> Opened {
        timeout(PATIENCE, self.sessions.recv()).await.expect("nobody came").unwrap()
    }
}

fn cluster() -> ClusterId {
    ClusterId::new("test").unwrap()
}

fn identity(authority: &Authority, role: Role) -> TlsIdentity {
    let identity = Identity { cluster: cluster(), role };
    let issued = authority.issue(&identity).unwrap();
    TlsIdentity::from_pem(&authority.ca_pem(), &issued.cert_pem, &issued.key_pem, &identity).unwrap()
}

/// A supervisor whose session tries `controllers`; ends with the guard.
fn connect(bench: &Bench, authority: &Authority, controllers: Vec<String>) -> tokio_util::sync::DropGuard {
    let id = ExecutorId::new("e1").unwrap();
    let session = Session {
        world: World::system(),
        tls: identity(authority, Role::Executor(id.clone())),
        controllers,
        executor: ExecutorRecord {
            id,
            hostname: "node".to_owned(),
            api_port: 1,
            incarnation: 1,
            boot_id: "b".to_owned(),
            version: "0".to_owned(),
            tags: vec!["node".to_owned()],
            layout: NodeLayout::default(),
            core_overcommit: 1,
        },
        supervisor: bench.handle().clone(),
        leader: tokio::sync::watch::Sender::new(None),
        relays: crate::relay::dials().0,
    };
    let ends = CancellationToken::new();
    tokio::spawn(run(session, ends.clone()));
    ends.drop_guard()
}

fn has_healthy(report: &v1::Report) -> bool {
    report.instances.iter().any(|record| record.state == InstanceState::Healthy.as_str())
}

fn ack_of(report: &v1::Report) -> v1::Ack {
    let instance =
        |record: &v1::InstanceRecord| v1::InstanceAck { id: record.id.clone(), version: record.version };
    let slot = |slot: &v1::SlotStatus| v1::SlotAck {
        service: slot.service.clone(),
        index: slot.index,
        version: slot.version,
    };
    v1::Ack {
        instances: report.instances.iter().map(instance).collect(),
        slots: report.slots.iter().map(slot).collect(),
    }
}

#[tokio::test]
async fn a_table_goes_down_and_reports_come_up_until_they_are_acknowledged() {
    let authority = Authority::new(&cluster()).unwrap();
    let mut controller = Controller::start(&authority, 1).await;
    let bench = Bench::new().await;
    let _session = connect(&bench, &authority, vec![controller.address.clone()]);
    let mut opened = controller.session().await;
    assert_eq!(opened.peer.role, Role::Executor(ExecutorId::new("e1").unwrap()));
    let register = opened.register().await;
    assert_eq!((register.table_revision, register.holds), (0, Some(v1::Inventory::default())));
    opened.welcome(1).await;
    opened.say(1, Down::Table((&table(7, 1, 1)).into())).await;
    let report = opened.report(has_healthy).await;
    assert_eq!(report.instances.len(), 1);
    opened.say(1, Down::Ack(ack_of(&report))).await;
    let mut standing = bench.handle().standing();
    let acknowledged = standing.wait_for(|standing| standing.unacked_instances.is_empty());
    timeout(PATIENCE, acknowledged).await.unwrap().unwrap();
    loop {
        if let Up::Heartbeat(heartbeat) = opened.next().await {
            assert_eq!(heartbeat.table_revision, 7);
            break;
        }
    }
}

#[tokio::test]
async fn a_leader_that_has_no_time_is_asked_again_before_others_are_asked_for_it() {
    let authority = Authority::new(&cluster()).unwrap();
    let mut follower = Controller::start(&authority, 1).await;
    let leader = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let leader_address = leader.local_addr().unwrap().to_string();
    let bench = Bench::new().await;
    let _session = connect(&bench, &authority, vec![follower.address.clone()]);
    follower.session().await.say(1, Down::NotLeader(v1::NotLeader { leader_address })).await;
    for _ in 0..2 {
        let (mut stream, _) = timeout(PATIENCE, leader.accept()).await.expect("nobody came").unwrap();
        assert!(follower.sessions.is_empty());
        assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0, "its hello");
    }
    follower.session().await;
}

#[tokio::test]
async fn the_hint_to_the_leader_is_followed() {
    let authority = Authority::new(&cluster()).unwrap();
    let (mut follower, mut leader) =
        (Controller::start(&authority, 1).await, Controller::start(&authority, 2).await);
    let bench = Bench::new().await;
    let _session = connect(&bench, &authority, vec![follower.address.clone()]);
    let opened = follower.session().await;
    opened.say(3, Down::NotLeader(v1::NotLeader { leader_address: leader.address.clone() })).await;
    leader.session().await.register().await;
}

#[tokio::test]
async fn who_is_told_to_wait_asks_the_same_controller_again_and_not_earlier() {
    let wait = Duration::from_millis(300);
    let authority = Authority::new(&cluster()).unwrap();
    let (mut leader, mut other) =
        (Controller::start(&authority, 1).await, Controller::start(&authority, 2).await);
    let bench = Bench::new().await;
    let _session = connect(&bench, &authority, vec![leader.address.clone(), other.address.clone()]);
    for _ in 0..2 {
        let mut told = leader.session().await;
        told.register().await;
        told.say(1, Down::Wait(v1::Wait { retry_after_ms: 300 })).await;
        drop(told);
        assert!(timeout(wait * 9 / 10, leader.sessions.recv()).await.is_err(), "it did not wait");
    }
    let mut opened = leader.session().await;
    opened.register().await;
    opened.welcome(1).await;
    opened.say(1, Down::Table((&table(1, 1, 1)).into())).await;
    opened.report(has_healthy).await;
    assert!(other.sessions.try_recv().is_err(), "nobody else was asked");
}

#[tokio::test]
async fn the_term_of_a_candidate_whom_nobody_follows_locks_nobody_out() {
    let authority = Authority::new(&cluster()).unwrap();
    let (mut candidate, mut leader) =
        (Controller::start(&authority, 1).await, Controller::start(&authority, 2).await);
    let bench = Bench::new().await;
    let _session = connect(&bench, &authority, vec![candidate.address.clone(), leader.address.clone()]);
    let lonely = candidate.session().await;
    lonely.say(100, Down::NotLeader(v1::NotLeader { leader_address: String::new() })).await;
    let mut led = leader.session().await;
    led.register().await;
    led.welcome(3).await;
    led.say(3, Down::Table((&table(1, 1, 1)).into())).await;
    led.report(has_healthy).await;
}

#[tokio::test]
async fn what_was_not_acknowledged_is_said_again_in_the_next_session() {
    let authority = Authority::new(&cluster()).unwrap();
    let mut controller = Controller::start(&authority, 1).await;
    let bench = Bench::new().await;
    let _session = connect(&bench, &authority, vec![controller.address.clone()]);
    let mut first = controller.session().await;
    first.register().await;
    first.welcome(1).await;
    first.say(1, Down::Table((&table(1, 1, 1)).into())).await;
    let said = first.report(has_healthy).await;
    drop(first);
    let mut second = controller.session().await;
    let register = second.register().await;
    assert_eq!(register.table_revision, 1);
    assert_eq!(register.holds.unwrap().instances, [said.instances[0].id.clone()]);
    second.welcome(1).await;
    let again = second.report(has_healthy).await;
    assert_eq!(again.instances[0].id, said.instances[0].id);
    assert_eq!(bench.node.starts(), 1, "losing the session stops nothing");
}

#[tokio::test]
async fn controllers_of_another_history_are_told_everything_before_they_are_told_what_is_held() {
    let authority = Authority::new(&cluster()).unwrap();
    let mut controller = Controller::start(&authority, 1).await;
    let bench = Bench::new().await;
    let _session = connect(&bench, &authority, vec![controller.address.clone()]);
    let mut first = controller.session().await;
    assert_eq!(first.register().await.history.as_deref(), Some(""));
    first.welcome_to("").await;
    first.say(1, Down::Table((&table(1, 1, 1)).into())).await;
    let said = first.report(has_healthy).await;
    first.say(1, Down::Ack(ack_of(&said))).await;
    let mut standing = bench.handle().standing();
    let acknowledged = standing.wait_for(|standing| standing.unacked_instances.is_empty());
    timeout(PATIENCE, acknowledged).await.unwrap().unwrap();
    drop(first);

    // They were restored, and know nothing of what was acknowledged.
    let mut second = controller.session().await;
    assert_eq!(second.register().await.history.as_deref(), Some(""));
    second.welcome_to("restored").await;
    let again = second.report(has_healthy).await;
    assert_eq!(again.instances[0].id, said.instances[0].id);
    second.say(1, Down::Ack(ack_of(&again))).await;
    second.acknowledge_to_the_end().await;
    let mut third = controller.session().await;
    let register = third.register().await;
    assert_eq!(register.history.as_deref(), Some("restored"));
    assert_eq!(register.holds.unwrap().instances, [said.instances[0].id.clone()]);
    third.welcome_to("restored").await;
    while let Up::Report(report) = third.next().await {
        assert!(report.instances.is_empty(), "all was told");
    }
    assert_eq!(bench.node.starts(), 1);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_costs_no_session_and_is_asked_for_again() {
    let authority = Authority::new(&cluster()).unwrap();
    let mut controller = Controller::start(&authority, 1).await;
    let bench = Bench::new().await;
    let _session = connect(&bench, &authority, vec![controller.address.clone()]);
    let mut first = controller.session().await;
    first.register().await;
    first.welcome(1).await;
    let mut wanted = v1::SlotTable::from(&table(7, 1, 2));
    wanted.rows[1].mode = "LATER".to_owned();
    first.say(1, Down::Table(wanted)).await;
    let is_told = |report: &v1::Report| {
        let told = |slot: &v1::SlotStatus| {
            slot.index == 1 && slot.phase == "FAILED" && slot.message.contains("SlotAssignment.mode")
        };
        report.slots.iter().any(told)
    };
    first.report(is_told).await;
    first.report(has_healthy).await;
    drop(first);
    let mut second = controller.session().await;
    assert_eq!(second.register().await.table_revision, 0, "it wants to be told again");
    second.welcome(1).await;
    second.say(1, Down::Table((&table(7, 1, 2)).into())).await;
    let all = |report: &v1::Report| report.slots.iter().any(|slot| slot.index == 1 && slot.phase == "FILLED");
    second.report(all).await;
}

#[tokio::test]
async fn a_leader_that_was_deposed_is_not_obeyed() {
    let authority = Authority::new(&cluster()).unwrap();
    let mut controller = Controller::start(&authority, 1).await;
    let bench = Bench::new().await;
    let _session = connect(&bench, &authority, vec![controller.address.clone()]);
    let mut leader = controller.session().await;
    leader.register().await;
    leader.welcome(5).await;
    leader.say(5, Down::Table((&table(1, 1, 1)).into())).await;
    leader.report(has_healthy).await;
    drop(leader);
    // It comes back with the term it had before, and wants everything gone.
    let mut deposed = controller.session().await;
    deposed.register().await;
    let body = Some(Down::Table((&table(2, 1, 0)).into()));
    // It may have been hung up on already.
    let _ = deposed.down.send(Ok(v1::ControllerMessage { term: 4, body })).await;
    let mut next = controller.session().await;
    let register = next.register().await;
    assert_eq!(register.table_revision, 1);
    assert_eq!(bench.node.running().len(), 1);
}
