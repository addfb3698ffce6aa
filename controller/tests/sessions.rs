//! Sessions of a fake executor with real controllers: real gRPC over mTLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says so by failing

mod common;

use std::time::{Duration, Instant};

use common::executor::{Session, instance, register};
use common::{Cluster, PATIENCE, spec};
use futures::stream::{self, StreamExt as _};
use muster_common::duration::DroveDuration;
use muster_common::executor::Contact;
use muster_common::id::{ExecutorId, InstanceId};
use muster_common::instance::InstanceState;
use muster_controller::LivenessConfig;
use muster_platform::{ExpectedPeer, World, channel};
use muster_proto::v1;
use muster_proto::v1::controller_message::Body as Down;
use muster_proto::v1::executor_message::Body as Up;
use serde_json::json;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::Channel;

fn address(cluster: &Cluster, controller: usize) -> String {
    cluster.controllers[controller].cluster_addr().to_string()
}

fn executor(id: &str) -> ExecutorId {
    ExecutorId::new(id).unwrap()
}

async fn activate(cluster: &Cluster, controller: usize) {
    let create = json!({"type": "CREATE", "spec": spec("WEB"), "instancesPerHost": 1});
    cluster.submit(controller, create).await;
    cluster.submit(controller, json!({"type": "ACTIVATE", "serviceId": "WEB-1"})).await;
}

#[tokio::test]
async fn an_executor_registers_gets_its_table_and_its_reports_are_acknowledged() {
    let cluster = Cluster::start(1).await;
    let tls = cluster.executor("e1");
    let mut session = Session::open(&tls, &address(&cluster, 0), register("e1", 1, 0)).await.unwrap();
    let welcome = session.welcome().await;
    assert_eq!(welcome.heartbeat_interval_ms, 2_500);
    assert!(session.term > 0);
    let empty = session.table().await;
    assert!(empty.rows.is_empty() && empty.revision > 0);
    let (_, body) = cluster.get(0, "/cluster/executors").await;
    assert_eq!(body["data"][0]["executorId"], json!("e1"), "{body}");
    assert_eq!(body["data"][0]["state"], json!("ACTIVE"));

    activate(&cluster, 0).await;
    let table = session.table().await;
    assert!(table.revision > empty.revision);
    let [row] = table.rows.as_slice() else { panic!("{table:?}") };
    assert_eq!((row.service.as_str(), row.index), ("WEB-1", 0));

    session.report(vec![instance("SI-1", "WEB-1", "e1", row, "HEALTHY")], Vec::new()).await;
    let ack = session.ack().await;
    assert_eq!(ack.instances, [v1::InstanceAck { id: "SI-1".into(), version: 1 }]);
    let (_, body) = cluster.get(0, "/localservices/WEB-1/instances").await;
    assert_eq!(body["data"][0]["instanceId"], json!("SI-1"), "{body}");
    assert_eq!(body["data"][0]["state"], json!("HEALTHY"));
    let (_, body) = cluster.get(0, "/localservices/WEB-1").await;
    assert_eq!(body["data"]["healthyInstances"], json!(1));
    let (_, body) = cluster.get(0, "/localservices/WEB-1/slots").await;
    assert_eq!(body["data"][0]["instances"], json!(["SI-1"]), "{body}");
    cluster.stop().await;
}

#[tokio::test]
async fn an_executor_speaks_only_for_itself() {
    let cluster = Cluster::start(1).await;
    let tls = cluster.executor("e1");
    let at = address(&cluster, 0);
    let mut posing = Session::open(&tls, &at, register("e2", 1, 0)).await.unwrap();
    assert_eq!(posing.end().await.unwrap().code(), Code::PermissionDenied);

    let mut session = Session::open(&tls, &at, register("e1", 1, 0)).await.unwrap();
    session.welcome().await;
    session.table().await;
    // What is another's is not stored, and acknowledged so that it is not sent for ever.
    session
        .report(vec![instance("SI-9", "WEB-1", "e2", &v1::SlotAssignment::default(), "HEALTHY")], Vec::new())
        .await;
    assert_eq!(session.ack().await.instances[0].id, "SI-9");
    assert!(cluster.controllers[0].state().borrow().instance(&InstanceId::new("SI-9").unwrap()).is_none());
    cluster.stop().await;
}

#[tokio::test]
async fn a_stream_that_does_not_begin_as_it_must_ends_with_the_reason() {
    let cluster = Cluster::start(1).await;
    let tls = cluster.executor("e1");
    let at = address(&cluster, 0);

    let mut early = Session::connect(&tls, &at).await.unwrap();
    early.heartbeat(0).await;
    assert_eq!(early.end().await.unwrap().code(), Code::InvalidArgument);

    let mut nameless = Session::open(&tls, &at, v1::Register::default()).await.unwrap();
    let status = nameless.end().await.unwrap();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("register.executor"), "{status}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_record_that_cannot_be_read_costs_itself_alone() {
    let cluster = Cluster::start(1).await;
    let tls = cluster.executor("e1");
    let at = address(&cluster, 0);
    let mut session = Session::open(&tls, &at, register("e1", 1, 0)).await.unwrap();
    session.welcome().await;
    session.table().await;
    let good = instance("SI-1", "WEB-1", "e1", &v1::SlotAssignment::default(), "HEALTHY");
    let odd = v1::InstanceRecord { id: "SI-2".to_owned(), state: "FLYING".to_owned(), ..good.clone() };
    session.report(vec![odd, good], Vec::new()).await;
    // Who can read it may be told later: it is not acknowledged.
    let acked: Vec<String> = session.ack().await.instances.into_iter().map(|ack| ack.id).collect();
    assert_eq!(acked, ["SI-1"]);
    assert!(cluster.controllers[0].state().borrow().instance(&InstanceId::new("SI-2").unwrap()).is_none());
    cluster.stop().await;
}

#[tokio::test]
async fn a_newer_session_replaces_the_older_one_and_an_older_one_is_refused() {
    let cluster = Cluster::start(1).await;
    let tls = cluster.executor("e1");
    let at = address(&cluster, 0);
    let mut first = Session::open(&tls, &at, register("e1", 2, 0)).await.unwrap();
    first.welcome().await;
    let mut second = Session::open(&tls, &at, register("e1", 2, 0)).await.unwrap();
    second.welcome().await;
    assert_eq!(first.end().await.unwrap().code(), Code::Aborted);

    let mut outdated = Session::open(&tls, &at, register("e1", 1, 0)).await.unwrap();
    assert_eq!(outdated.end().await.unwrap().code(), Code::Aborted);

    let mut restarted = Session::open(&tls, &at, register("e1", 3, 0)).await.unwrap();
    restarted.welcome().await;
    assert_eq!(second.end().await.unwrap().code(), Code::Aborted);
    let state = cluster.controllers[0].state().borrow().clone();
    assert_eq!(state.executor(&executor("e1")).unwrap().record.incarnation, 3);
    cluster.stop().await;
}

#[tokio::test]
async fn a_table_that_the_executor_does_not_hold_is_sent_again_and_one_that_it_holds_is_not() {
    // Longer than a busy machine takes for a few messages.
    let unknown_after = DroveDuration::from_secs(8);
    let liveness = LivenessConfig { unknown_after, ..LivenessConfig::default() };
    let cluster = Cluster::start_with(1, liveness).await;
    let tls = cluster.executor("e1");
    let at = address(&cluster, 0);
    let mut session = Session::open(&tls, &at, register("e1", 1, 0)).await.unwrap();
    let welcome = session.welcome().await;
    assert_eq!(welcome.heartbeat_interval_ms, 2_000);
    let table = session.table().await;

    // Heartbeats with the present table bring nothing, and never touch the log; with an older one, the
    // table.
    let before = cluster.controllers[0].state().borrow().revision();
    for _ in 0..3 {
        session.heartbeat(table.revision).await;
        assert_eq!(session.next_within(Duration::from_millis(100)).await, None);
    }
    // Not while the one that was sent may still be on its way.
    let sent_again = async {
        loop {
            session.heartbeat(0).await;
            if let Some(message) = session.next_within(Duration::from_millis(200)).await {
                return message;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, sent_again).await.unwrap(), Down::Table(table.clone()));
    assert_eq!(cluster.controllers[0].state().borrow().revision(), before);

    // Who comes back with the present table is not sent it.
    let mut again = Session::open(&tls, &at, register("e1", 1, table.revision)).await.unwrap();
    again.welcome().await;
    assert_eq!(again.next_within(Duration::from_millis(100)).await, None);
    cluster.stop().await;
}

#[tokio::test]
async fn silence_is_noticed_and_a_word_heals_it() {
    // Longer than a busy machine takes for a few calls.
    let liveness = LivenessConfig {
        unknown_after: DroveDuration::from_secs(2),
        lost_after: DroveDuration::from_secs(4),
        ..LivenessConfig::default()
    };
    let cluster = Cluster::start_with(1, liveness).await;
    let tls = cluster.executor("e1");
    let at = address(&cluster, 0);
    activate(&cluster, 0).await;
    let mut session = Session::open(&tls, &at, register("e1", 1, 0)).await.unwrap();
    session.welcome().await;
    let mut table = session.table().await;
    while table.rows.is_empty() {
        table = session.table().await;
    }
    let record = instance("SI-1", "WEB-1", "e1", &table.rows[0], "HEALTHY");
    session.report(vec![record.clone()], Vec::new()).await;
    session.ack().await;

    let contact = |wanted: Contact| {
        cluster
            .until(0, "the contact", move |state| state.executor(&executor("e1")).unwrap().contact == wanted)
    };
    contact(Contact::Unreachable).await;
    assert!(session.end().await.is_some(), "a session that says nothing is closed");
    let (_, body) = cluster.get(0, "/localservices/WEB-1/instances/old").await;
    assert_eq!(body["data"][0]["state"], json!("UNKNOWN"), "{body}");

    let mut session = Session::open(&tls, &at, register("e1", 1, table.revision)).await.unwrap();
    session.welcome().await;
    contact(Contact::Connected).await;
    // It goes on speaking: how long the answer takes says nothing.
    let is_healthy = async {
        loop {
            session.heartbeat(table.revision).await;
            let (_, body) = cluster.get(0, "/localservices/WEB-1/instances").await;
            if body["data"][0]["state"] == json!("HEALTHY") {
                return;
            }
        }
    };
    timeout(PATIENCE, is_healthy).await.unwrap();

    drop(session);
    let state = contact(Contact::Lost).await;
    let id = InstanceId::new("SI-1").unwrap();
    assert_eq!(state.instance(&id).unwrap().state(), InstanceState::Lost);
    let mut register = register("e1", 1, table.revision);
    register.holds = Some(v1::Inventory { instances: vec!["SI-1".to_owned()] });
    let mut session = Session::open(&tls, &at, register).await.unwrap();
    session.welcome().await;
    cluster
        .until(0, "the instance is found again", |state| {
            state.instance(&id).unwrap().state() == InstanceState::Healthy
        })
        .await;
    cluster.stop().await;
}

#[tokio::test]
async fn from_what_was_told_in_another_history_nothing_is_concluded() {
    let cluster = Cluster::start(1).await;
    let tls = cluster.executor("e1");
    let at = address(&cluster, 0);
    activate(&cluster, 0).await;
    let mut session = Session::open(&tls, &at, register("e1", 1, 0)).await.unwrap();
    let history = session.welcome().await.history;
    assert_eq!(history.as_deref(), Some(""), "of a group that was founded");
    let mut table = session.table().await;
    while table.rows.is_empty() {
        table = session.table().await;
    }
    session.report(vec![instance("SI-1", "WEB-1", "e1", &table.rows[0], "HEALTHY")], Vec::new()).await;
    session.ack().await;

    let state_of = |id: &str| {
        let state = cluster.controllers[0].state().borrow().clone();
        state.instance(&InstanceId::new(id).unwrap()).map(|instance| instance.state())
    };
    // It was replaced, as those were told whom this cluster's state was not made of.
    let holding = |history: &str| v1::Register {
        holds: Some(v1::Inventory { instances: vec!["SI-2".to_owned()] }),
        history: Some(history.to_owned()),
        ..register("e1", 1, table.revision)
    };
    let mut session = Session::open(&tls, &at, holding("before")).await.unwrap();
    assert_eq!(session.welcome().await.history.as_deref(), Some(""));
    assert_eq!(state_of("SI-1"), Some(InstanceState::Healthy));
    session.report(vec![instance("SI-2", "WEB-1", "e1", &table.rows[0], "HEALTHY")], Vec::new()).await;
    session.ack().await;

    let mut session = Session::open(&tls, &at, holding("")).await.unwrap();
    session.welcome().await;
    assert_eq!(
        (state_of("SI-1"), state_of("SI-2")),
        (Some(InstanceState::Lost), Some(InstanceState::Healthy))
    );
    cluster.stop().await;
}

#[tokio::test]
async fn reports_of_many_executors_are_all_acknowledged() {
    /// More from each than may wait for it on the way down.
    const REPORTS: u64 = 200;
    let cluster = Cluster::start(1).await;
    let at = address(&cluster, 0);
    activate(&cluster, 0).await;
    let one = |n: usize| {
        let (tls, at) = (cluster.executor(&format!("e{n}")), at.clone());
        async move {
            let id = format!("e{n}");
            let mut session = Session::open(&tls, &at, register(&id, 1, 0)).await.unwrap();
            session.welcome().await;
            let mut table = session.table().await;
            while table.rows.is_empty() {
                table = session.table().await;
            }
            for version in 1..=REPORTS {
                let mut record = instance(&format!("SI-{n}"), "WEB-1", &id, &table.rows[0], "HEALTHY");
                record.version = version;
                session.report(vec![record], Vec::new()).await;
            }
            let mut acknowledged = 0;
            while acknowledged < REPORTS {
                acknowledged = match session.next().await.unwrap() {
                    Some(Down::Ack(ack)) => ack.instances.iter().map(|ack| ack.version).max().unwrap(),
                    Some(Down::Table(_)) => acknowledged,
                    other => panic!("{other:?}"),
                };
            }
        }
    };
    futures::future::join_all((0..20).map(one)).await;
    let state = cluster.controllers[0].state().borrow().clone();
    for n in 0..20 {
        let id = InstanceId::new(format!("SI-{n}")).unwrap();
        assert_eq!(state.instance(&id).unwrap().record.version, REPORTS);
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_crowd_is_let_in_one_by_one_and_the_others_are_told_when_to_ask_again() {
    /// Together more than are let in within a second.
    const EXECUTORS: usize = 64;
    const ASKS: usize = 32;
    /// As many streams of one executor as may be open before they registered.
    const AT_ONCE: usize = 4;
    let cluster = Cluster::start(1).await;
    let dial = |id: String| {
        let (tls, at) = (cluster.executor(&id), address(&cluster, 0));
        (channel(&World::system(), &tls, &at, ExpectedPeer::AnyController).unwrap(), id)
    };
    let crowd: Vec<_> = (0..EXECUTORS).map(|n| dial(format!("e{n}"))).collect();
    let ask = |(channel, id): &(Channel, String)| {
        let (channel, register) = (channel.clone(), register(id, 1, 0));
        async move {
            let mut session = Session::on(channel).await.unwrap();
            session.send(Up::Register(register)).await;
            session.next().await
        }
    };
    // It has led for less than that before the first one asks.
    let begun = Instant::now();
    let asking = crowd.iter().map(|executor| {
        let asks = stream::iter(0..ASKS).map(|_| ask(executor));
        asks.buffer_unordered(AT_ONCE).collect::<Vec<_>>()
    });
    let answers: Vec<_> = futures::future::join_all(asking).await.into_iter().flatten().collect();
    let elapsed_ms = usize::try_from(begun.elapsed().as_millis()).unwrap();
    let welcomed = answers.iter().filter(|answer| matches!(answer, Ok(Some(Down::Welcome(_))))).count();
    assert!(welcomed <= 258 + elapsed_ms, "{welcomed} in {elapsed_ms} ms");
    for answer in &answers {
        if let Ok(Some(Down::Wait(wait))) = answer {
            assert!((0..=5_000).contains(&wait.retry_after_ms), "{wait:?}");
        }
    }
    let let_in = async { while !matches!(ask(&crowd[0]).await, Ok(Some(Down::Welcome(_)))) {} };
    timeout(PATIENCE, let_in).await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn streams_that_do_not_register_are_few() {
    let cluster = Cluster::start(1).await;
    let at = address(&cluster, 0);
    let tls = cluster.executor("e1");
    let mut silent = Vec::new();
    let mut refused = None;
    while refused.is_none() && silent.len() < 16 {
        match Session::connect(&tls, &at).await {
            Ok(session) => silent.push(session),
            Err(why) => refused = Some(why),
        }
    }
    let refused = refused.expect("somebody is refused");
    assert_eq!((refused.code(), silent.len()), (Code::ResourceExhausted, 4), "{refused}");
    let other = cluster.executor("e2");
    Session::open(&other, &at, register("e2", 1, 0)).await.unwrap().welcome().await;
    let mut first = silent.remove(0);
    first.send(Up::Register(register("e1", 1, 0))).await;
    first.welcome().await;
    Session::connect(&tls, &at).await.expect("the one that registered does not count any more");
    cluster.stop().await;
}

#[tokio::test]
async fn a_stopping_controller_tells_its_sessions() {
    let cluster = Cluster::start(1).await;
    let tls = cluster.executor("e1");
    let mut session = Session::open(&tls, &address(&cluster, 0), register("e1", 1, 0)).await.unwrap();
    session.welcome().await;
    session.table().await;
    let stopping = tokio::spawn(cluster.stop());
    assert!(matches!(session.next().await, Ok(Some(Down::NotLeader(_)))));
    assert!(matches!(session.next().await, Ok(None)));
    session.send(Up::Heartbeat(v1::Heartbeat::default())).await;
    stopping.await.unwrap();
}
