//! An executor as far as a session shows it: real gRPC over mTLS, and nothing behind it.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_common::executor::{ExecutorRecord, NodeLayout};
use muster_common::id::ExecutorId;
use muster_platform::{ExpectedPeer, TlsIdentity, World, channel};
use muster_proto::v1;
use muster_proto::v1::controller_message::Body as Down;
use muster_proto::v1::executor_message::Body as Up;
use muster_proto::v1::sessions_client::SessionsClient;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::PATIENCE;

/// One open stream.
pub struct Session {
    pub up: mpsc::Sender<v1::ExecutorMessage>,
    down: Streaming<v1::ControllerMessage>,
    /// The term of the last message.
    pub term: u64,
}

impl Session {
    /// Opens a stream and says `register`.
    pub async fn open(tls: &TlsIdentity, address: &str, register: v1::Register) -> Result<Self, Status> {
        let session = Self::connect(tls, address).await?;
        session.send(Up::Register(register)).await;
        Ok(session)
    }

    /// Opens a stream and says nothing.
    pub async fn connect(tls: &TlsIdentity, address: &str) -> Result<Self, Status> {
        Self::on(channel(&World::system(), tls, address, ExpectedPeer::AnyController).unwrap()).await
    }

    /// Opens one more stream on a connection and says nothing.
    pub async fn on(channel: Channel) -> Result<Self, Status> {
        let (up, messages) = mpsc::channel(16);
        let answer = SessionsClient::new(channel).open(ReceiverStream::new(messages)).await?;
        Ok(Self { up, down: answer.into_inner(), term: 0 })
    }

    pub async fn send(&self, body: Up) {
        // The controller may have ended the stream: then the test sees it in what comes down.
        let _ = self.up.send(v1::ExecutorMessage { body: Some(body) }).await;
    }

    pub async fn report(&self, instances: Vec<v1::InstanceRecord>, slots: Vec<v1::SlotStatus>) {
        self.send(Up::Report(v1::Report { instances, slots })).await;
    }

    pub async fn heartbeat(&self, table_revision: u64) {
        self.send(Up::Heartbeat(v1::Heartbeat { table_revision, now_ms: 0 })).await;
    }

    /// The next message; `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<Down>, Status> {
        let message = timeout(PATIENCE, self.down.message()).await.expect("nothing came down")?;
        let Some(message) = message else { return Ok(None) };
        self.term = message.term;
        Ok(message.body)
    }

    /// The next message if one comes `within` that time.
    pub async fn next_within(&mut self, within: Duration) -> Option<Down> {
        timeout(within, self.down.message()).await.ok()?.unwrap()?.body
    }

    pub async fn welcome(&mut self) -> v1::Welcome {
        match self.next().await {
            Ok(Some(Down::Welcome(welcome))) => welcome,
            other => panic!("expected a welcome, got {other:?}"),
        }
    }

    pub async fn table(&mut self) -> v1::SlotTable {
        match self.next().await {
            Ok(Some(Down::Table(table))) => table,
            other => panic!("expected a slot table, got {other:?}"),
        }
    }

    pub async fn ack(&mut self) -> v1::Ack {
        match self.next().await {
            Ok(Some(Down::Ack(ack))) => ack,
            other => panic!("expected an acknowledgement, got {other:?}"),
        }
    }

    /// Why the stream ends, whatever comes before.
    pub async fn end(&mut self) -> Option<Status> {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(status) => return Some(status),
            }
        }
    }
}

/// What executor `id` says of itself at its `incarnation`-th start.
pub fn register(id: &str, incarnation: u64, table_revision: u64) -> v1::Register {
    let record = ExecutorRecord {
        id: ExecutorId::new(id).unwrap(),
        hostname: "node1".to_owned(),
        api_port: 4200,
        incarnation,
        boot_id: "boot".to_owned(),
        version: "0.1.0".to_owned(),
        tags: vec!["node1".to_owned()],
        layout: NodeLayout {
            cores: BTreeMap::from([(0, vec![0, 1, 2, 3])]),
            memory: BTreeMap::from([(0, 4096)]),
        },
        core_overcommit: 1,
    };
    v1::Register { executor: Some((&record).into()), table_revision, holds: None, history: None }
}

/// An instance of `service` in the slot 0 of `executor`.
pub fn instance(
    id: &str,
    service: &str,
    executor: &str,
    row: &v1::SlotAssignment,
    state: &str,
) -> v1::InstanceRecord {
    v1::InstanceRecord {
        id: id.to_owned(),
        slot: Some(v1::SlotId { service: service.to_owned(), executor: executor.to_owned(), index: 0 }),
        service_name: "WEB".to_owned(),
        epoch: row.epoch,
        generation: row.generation,
        version: 1,
        state: state.to_owned(),
        runner: "PROCESS".to_owned(),
        created_ms: 1,
        updated_ms: 1,
        ..v1::InstanceRecord::default()
    }
}
