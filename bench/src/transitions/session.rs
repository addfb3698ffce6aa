//! One executor's session, as a real one speaks it; only that its instances live as fast as they can.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use muster_common::executor::{ExecutorRecord, NodeLayout};
use muster_common::id::ExecutorId;
use muster_platform::{ExpectedPeer, TlsIdentity, World, channel};
use muster_proto::v1;
use muster_proto::v1::controller_message::Body as Down;
use muster_proto::v1::executor_message::Body as Up;
use muster_proto::v1::sessions_client::SessionsClient;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::life::Life;

/// Much longer than anything takes here.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// A slot table holds the specs of everything that runs on the node.
const MAX_TABLE_BYTES: usize = 64 * 1024 * 1024;

/// A transition that was acknowledged: it was committed, and applied by the leader, shortly before.
pub(crate) struct Committed {
    pub(crate) instance: String,
    pub(crate) state: String,
    pub(crate) at: Instant,
}

/// A session that is open.
pub(super) struct Session {
    executor: ExecutorId,
    world: World,
    up: mpsc::Sender<v1::ExecutorMessage>,
    down: Streaming<v1::ControllerMessage>,
    lives: Vec<Life>,
}

impl Session {
    /// Registers with the leader, and is welcome.
    pub(super) async fn open(executor: ExecutorId, tls: TlsIdentity, leader: String) -> anyhow::Result<Self> {
        let world = World::system();
        let channel = channel(&world, &tls, &leader, ExpectedPeer::AnyController)?;
        let mut client = SessionsClient::new(channel).max_decoding_message_size(MAX_TABLE_BYTES);
        let record = ExecutorRecord {
            id: executor.clone(),
            hostname: executor.to_string(),
            api_port: 4200,
            incarnation: 1,
            boot_id: "bench".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            tags: Vec::new(),
            layout: NodeLayout::default(),
            core_overcommit: 1,
        };
        let register = v1::Register {
            executor: Some((&record).into()),
            table_revision: 0,
            holds: Some(v1::Inventory::default()),
            history: None,
        };
        let register = v1::ExecutorMessage { body: Some(Up::Register(register)) };
        loop {
            let (up, queue) = mpsc::channel(1);
            up.send(register.clone()).await.context("registering")?;
            let opened = timeout(ANSWER_WITHIN, client.open(ReceiverStream::new(queue))).await;
            let down = opened.context("opening a session")?.context("opening a session")?.into_inner();
            let (executor, world) = (executor.clone(), world.clone());
            let mut session = Self { executor, world, up, down, lives: Vec::new() };
            let turn = loop {
                match session.hear().await? {
                    Down::Welcome(_) => return Ok(session),
                    Down::Wait(wait) => break Duration::from_millis(wait.retry_after_ms),
                    Down::NotLeader(_) => bail!("the leader changed"),
                    Down::Table(_) | Down::Ack(_) | Down::Dial(_) => {}
                }
            };
            sleep(turn).await;
        }
    }

    /// Waits for a table of so many slots, and fills them: every instance is HEALTHY when this returns.
    pub(super) async fn fill(&mut self, instances: u32) -> anyhow::Result<()> {
        let wanted = usize::try_from(instances)?;
        while self.lives.len() != wanted {
            if let Down::Table(table) = self.hear().await? {
                let executor = self.executor.as_str();
                self.lives = table.rows.iter().map(|row| Life::new(executor, row)).collect();
            }
        }
        while !self.lives.iter().all(Life::is_healthy) {
            self.report().await?;
        }
        Ok(())
    }

    /// Reports until `end`, each report when the one before is acknowledged. What was acknowledged between `from`
    /// and `end` is counted: how long each report took.
    pub(super) async fn run(mut self, from: Instant, end: Instant) -> anyhow::Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        loop {
            let began = Instant::now();
            self.report().await?;
            let ended = Instant::now();
            if ended >= end {
                return Ok(latencies);
            }
            if ended >= from {
                latencies.push(ended - began);
            }
        }
    }

    /// One transition of one instance after the other, one each `every`, until `stop`; all that were acknowledged.
    pub(super) async fn trickle(
        mut self,
        every: Duration,
        stop: CancellationToken,
    ) -> anyhow::Result<(Self, Vec<Committed>)> {
        let mut committed = Vec::new();
        let mut turns = tokio::time::interval(every);
        for nth in (0..self.lives.len()).cycle() {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = turns.tick() => {}
            }
            let next = self.lives[nth].step(&self.world);
            let (instance, state) = (next.record.id.clone(), next.record.state.clone());
            let report = v1::Report { instances: vec![next.record], slots: next.slot.into_iter().collect() };
            self.told(report).await?;
            committed.push(Committed { instance, state, at: Instant::now() });
        }
        Ok((self, committed))
    }

    /// One transition of each instance, reported, committed and acknowledged.
    async fn report(&mut self) -> anyhow::Result<()> {
        let mut report = v1::Report::default();
        for life in &mut self.lives {
            let step = life.step(&self.world);
            report.instances.push(step.record);
            report.slots.extend(step.slot);
        }
        self.told(report).await
    }

    /// Tells a report, and waits until all of it is acknowledged.
    async fn told(&mut self, report: v1::Report) -> anyhow::Result<()> {
        let expected = |report: &v1::Report| {
            let instances = report.instances.iter().map(|record| (record.id.clone(), record.version));
            let slots =
                report.slots.iter().map(|slot| (format!("{}/{}", slot.service, slot.index), slot.version));
            instances.chain(slots).collect::<Vec<_>>()
        };
        let mut waiting = expected(&report);
        let message = v1::ExecutorMessage { body: Some(Up::Report(report)) };
        self.up.send(message).await.context("reporting")?;
        while !waiting.is_empty() {
            if let Down::Ack(ack) = self.hear().await? {
                let instances = ack.instances.into_iter().map(|ack| (ack.id, ack.version));
                let slots =
                    ack.slots.into_iter().map(|ack| (format!("{}/{}", ack.service, ack.index), ack.version));
                for acknowledged in instances.chain(slots) {
                    waiting.retain(|waiting| *waiting != acknowledged);
                }
            }
        }
        Ok(())
    }

    async fn hear(&mut self) -> anyhow::Result<Down> {
        let message = timeout(ANSWER_WITHIN, self.down.message()).await;
        let message = message.with_context(|| format!("{} heard nothing", self.executor))??;
        message
            .and_then(|message| message.body)
            .with_context(|| format!("the session of {} ended", self.executor))
    }
}
