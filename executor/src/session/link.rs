//! One connection to one controller, from the registration to its end.

use std::io;
use std::time::Duration;

use muster_common::id::{InstanceId, ServiceId};
use muster_common::slot::{SlotTable, UnreadableRow};
use muster_platform::channel::words_of;
use muster_platform::{ExpectedPeer, channel};
use muster_proto::v1;
use muster_proto::v1::controller_message::Body as Down;
use muster_proto::v1::executor_message::Body as Up;
use muster_proto::v1::sessions_client::SessionsClient;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::client::Session;
use super::inventory::inventory;
use super::report::Sent;
use crate::slots::SlotKey;
use crate::supervisor::{Handle, Message};

/// How many messages may wait for the connection; reports are read from the standing when there is room.
const UP_QUEUE: usize = 8;
/// For the connection and the first sign of life on it.
const REACHED_WITHIN: Duration = Duration::from_secs(10);
/// For the answer to the register. Whoever is to give it is there, and is missed sooner when it vanishes: in a fleet
/// that comes at once it has much to do, and to begin anew would give it more.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// A connection that takes nothing for so long is lost.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// What a Welcome that names no interval means, and the bounds for one that does.
const HEARTBEAT: Duration = Duration::from_secs(2);
const HEARTBEAT_BOUNDS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
/// A slot table holds the specs of everything that runs on the node.
const MAX_TABLE_BYTES: usize = 64 * 1024 * 1024;
/// How long it waits for its turn at most before it asks again, and how often it does before it looks elsewhere.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const MAX_WAITS: u32 = 100;
/// It asks again up to two parts in this many later than told: a line must not come in step.
const WAIT_JITTER: u32 = 10;
/// When there is nothing to repeat.
const FAR: Duration = Duration::from_secs(3600);

/// Why a link ended.
#[derive(Debug)]
pub(super) enum End {
    /// The other end does not lead. It named the leader, if it knows it.
    NotLeader { leader: String },
    /// It turned this executor away, because too many others were waiting.
    TurnedAway { why: String },
    /// The connection broke, or could not be made.
    Lost { why: String },
    /// The executor is shutting down.
    SupervisorGone,
}

impl End {
    fn lost(why: impl std::fmt::Display) -> Self {
        Self::Lost { why: format!("{why}") }
    }

    fn broken(status: &Status) -> Self {
        Self::Lost { why: words_of(status) }
    }

    /// Why there is no stream.
    fn not_reached(status: &Status) -> Self {
        let why = words_of(status);
        if was_cut_short(status) { Self::TurnedAway { why } } else { Self::Lost { why } }
    }
}

/// Whether the other end took the connection, and ended it before it was made.
fn was_cut_short(status: &Status) -> bool {
    let is_cut = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
    };
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.downcast_ref().is_some_and(is_cut) {
            return true;
        }
        source = error.source();
    }
    false
}

/// What became of a stream that was opened.
enum Opened {
    /// The leader opened the session.
    Session(Box<Streaming<v1::ControllerMessage>>),
    /// It asks this executor to register again after this time.
    Later(Duration),
}

pub(super) struct Link<'a> {
    session: &'a Session,
    supervisor: &'a Handle,
    /// The highest term seen in any link: a controller of an older one has been deposed.
    highest_term: &'a mut u64,
    welcomed: bool,
    /// The history that this executor registered with.
    history: String,
    /// When the leader wants to be asked again, once it said so.
    told_to_wait: Option<Duration>,
    heartbeat: Duration,
    begun: Instant,
    sent: Sent,
}

impl<'a> Link<'a> {
    pub(super) fn new(session: &'a Session, highest_term: &'a mut u64) -> Self {
        Self {
            session,
            supervisor: &session.supervisor,
            highest_term,
            welcomed: false,
            history: String::new(),
            told_to_wait: None,
            heartbeat: HEARTBEAT,
            begun: Instant::now(),
            sent: Sent::default(),
        }
    }

    pub(super) fn was_welcomed(&self) -> bool {
        self.welcomed
    }

    /// Opens the link and lives it to its end.
    pub(super) async fn run(&mut self, address: &str) -> End {
        let (world, tls) = (&self.session.world, &self.session.tls);
        let channel = match channel(world, tls, address, ExpectedPeer::AnyController) {
            Ok(channel) => channel,
            Err(error) => return End::lost(error),
        };
        let mut client = SessionsClient::new(channel).max_decoding_message_size(MAX_TABLE_BYTES);
        for _ in 0..MAX_WAITS {
            let (up, queue) = mpsc::channel(UP_QUEUE);
            match self.open(&mut client, &up, queue).await {
                Ok(Opened::Session(mut down)) => {
                    tracing::info!(%address, term = *self.highest_term, "in session with the leader");
                    self.session.leader.send_replace(Some(address.to_owned()));
                    match self.live(&up, &mut down).await {
                        Ok(()) => (self.welcomed, self.sent) = (false, Sent::default()),
                        Err(end) => return end,
                    }
                }
                // The connection stays: making it anew is what costs.
                Ok(Opened::Later(wait)) => sleep(wait + world.jitter(wait / WAIT_JITTER, 100)).await,
                Err(end) => return end,
            }
        }
        End::lost("it is the leader and does not let this executor in")
    }

    /// Registers and waits for the Welcome.
    async fn open(
        &mut self,
        client: &mut SessionsClient<Channel>,
        up: &mpsc::Sender<v1::ExecutorMessage>,
        queue: mpsc::Receiver<v1::ExecutorMessage>,
    ) -> Result<Opened, End> {
        let register = self.register();
        self.say(up, Up::Register(register)).await?;
        let reached = timeout(REACHED_WITHIN, client.open(ReceiverStream::new(queue))).await;
        let answer = reached.map_err(|_| End::lost("it was not reached in time"))?;
        let mut down = answer.map_err(|status| End::not_reached(&status))?.into_inner();
        let answered = timeout(ANSWERED_WITHIN, self.answer(&mut down)).await;
        let wait = answered.map_err(|_| End::lost("no answer to the register in time"))??;
        Ok(wait.map_or_else(|| Opened::Session(Box::new(down)), Opened::Later))
    }

    /// Waits for the Welcome; or how long to wait, if that is the answer.
    async fn answer(&mut self, down: &mut Streaming<v1::ControllerMessage>) -> Result<Option<Duration>, End> {
        while !self.welcomed {
            let message = down.message().await.map_err(|status| End::broken(&status))?;
            self.hear(message).await?;
            if let Some(wait) = self.told_to_wait.take() {
                return Ok(Some(wait));
            }
        }
        Ok(None)
    }

    fn register(&mut self) -> v1::Register {
        let standing = self.supervisor.standing();
        let standing = standing.borrow();
        // What could not be read may have been mended, or this program may be a newer one: the table is wanted again.
        let table_revision = if standing.unreadable_rows == 0 { standing.table_revision.0 } else { 0 };
        self.history.clone_from(&standing.history);
        v1::Register {
            executor: Some((&self.session.executor).into()),
            table_revision,
            holds: inventory(&standing),
            history: Some(standing.history.clone()),
        }
    }

    /// Until the leader, which had another history, was told everything anew: then it is to hear what this executor
    /// holds, which it could not compare before.
    async fn live(
        &mut self,
        up: &mpsc::Sender<v1::ExecutorMessage>,
        down: &mut Streaming<v1::ControllerMessage>,
    ) -> Result<(), End> {
        let mut standing = self.supervisor.standing();
        let mut next_heartbeat = Instant::now() + self.heartbeat;
        loop {
            self.report(up, &mut standing).await?;
            if standing.borrow().history != self.history {
                return Ok(());
            }
            let repeat_at = self.begun + self.sent.repeat_at().unwrap_or(FAR);
            tokio::select! {
                message = down.message() => {
                    self.hear(message.map_err(|status| End::broken(&status))?).await?;
                }
                changed = standing.changed() => changed.map_err(|_| End::SupervisorGone)?,
                () = sleep_until(next_heartbeat) => {
                    let table_revision = standing.borrow().table_revision.0;
                    let now_ms = self.session.world.clock.now().as_ms();
                    self.say(up, Up::Heartbeat(v1::Heartbeat { table_revision, now_ms })).await?;
                    next_heartbeat = Instant::now() + self.heartbeat;
                }
                () = sleep_until(repeat_at) => {}
            }
        }
    }

    /// Sends whatever has not been sent yet, or not been acknowledged for too long.
    async fn report(
        &mut self,
        up: &mpsc::Sender<v1::ExecutorMessage>,
        standing: &mut tokio::sync::watch::Receiver<crate::supervisor::Standing>,
    ) -> Result<(), End> {
        loop {
            let report = self.sent.next_report(&standing.borrow_and_update(), self.begun.elapsed());
            let Some(report) = report else { return Ok(()) };
            self.say(up, Up::Report(report)).await?;
        }
    }

    async fn say(&self, up: &mpsc::Sender<v1::ExecutorMessage>, body: Up) -> Result<(), End> {
        let message = v1::ExecutorMessage { body: Some(body) };
        match timeout(SEND_TIMEOUT, up.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::lost("the connection was closed")),
            Err(_) => Err(End::lost("the connection takes nothing")),
        }
    }

    /// Obeys a message of the leader; refuses one of a leader that has been deposed.
    async fn hear(&mut self, message: Option<v1::ControllerMessage>) -> Result<(), End> {
        let Some(message) = message else { return Err(End::lost("the controller closed the session")) };
        match message.body {
            Some(Down::NotLeader(hint)) => Err(End::NotLeader { leader: hint.leader_address }),
            Some(Down::Welcome(welcome)) => {
                self.recognise(message.term)?;
                self.welcomed = true;
                let (shortest, longest) = HEARTBEAT_BOUNDS;
                if welcome.heartbeat_interval_ms > 0 {
                    self.heartbeat =
                        Duration::from_millis(welcome.heartbeat_interval_ms).clamp(shortest, longest);
                }
                let Some(history) = welcome.history else { return Ok(()) };
                if history != self.history {
                    tracing::info!("these controllers have another history; they are told everything anew");
                }
                self.tell(Message::Welcomed { history }).await
            }
            // Its term says nothing yet: whoever lets us in is obeyed.
            Some(Down::Wait(wait)) => {
                let wait = Duration::from_millis(wait.retry_after_ms).min(LONGEST_WAIT);
                self.told_to_wait = Some(wait);
                Ok(())
            }
            Some(Down::Table(table)) => {
                self.recognise(message.term)?;
                let table = SlotTable::try_from(table).map_err(End::lost)?;
                for UnreadableRow { service, index, problem, .. } in &table.unreadable {
                    tracing::error!(
                        service,
                        index,
                        problem,
                        "a row of the slot table cannot be read; what its slot holds stays as it is"
                    );
                }
                self.tell(Message::Table { term: message.term, table }).await
            }
            Some(Down::Ack(ack)) => {
                self.recognise(message.term)?;
                self.tell(read_ack(ack)).await
            }
            Some(Down::Dial(dial)) => {
                self.recognise(message.term)?;
                self.session.relays.tell(dial);
                Ok(())
            }
            // A kind of message that a later version added.
            None => Ok(()),
        }
    }

    /// Takes note of a leader's term. Only what a leader says tells of one: a controller that does not lead
    /// may be a candidate whom nobody hears, in a term of its own far above the leader's.
    fn recognise(&mut self, term: u64) -> Result<(), End> {
        if term < *self.highest_term {
            let why = format!(
                "its term {term} is older than {}, which this executor obeys; this passes unless the controllers were \
                 built anew: then stop this executor, move journal.redb out of its data directory and start it again",
                self.highest_term
            );
            return Err(End::Lost { why });
        }
        *self.highest_term = term;
        Ok(())
    }

    async fn tell(&self, message: Message) -> Result<(), End> {
        self.supervisor.tell(message).await.map_err(|_| End::SupervisorGone)
    }
}

/// Reads an acknowledgement. Names that are not valid are passed over: they acknowledge nothing.
fn read_ack(ack: v1::Ack) -> Message {
    let instances = ack.instances.into_iter();
    let instances = instances.filter_map(|ack| Some((InstanceId::new(ack.id).ok()?, ack.version)));
    let slots = ack.slots.into_iter().filter_map(|ack| {
        let service = ServiceId::new(ack.service).ok()?;
        Some((SlotKey { service, index: ack.index }, ack.version))
    });
    Message::Acknowledged { instances: instances.collect(), slots: slots.collect() }
}
