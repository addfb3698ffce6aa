//! The supervisor's task and its handle. The loop: gather, decide, write, publish, act.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use muster_common::id::InstanceId;
use muster_common::instance::{InstanceRecord, InstanceState, RunnerKind};
use muster_common::slot::{SlotStatus, SlotTable};
use muster_common::spec::DrainPolicy;
use muster_platform::World;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::core::{Core, Output, TransitionMade};
use super::perform::{Performer, plan_of};
use super::standing::Standing;
use crate::fetched::Fetched;
use crate::journal::{Batch, CommitError, Journal};
use crate::lease::PortError;
use crate::machine::{Event, Instance, Now};
use crate::probe::Prober;
use crate::runner::{LaunchPlan, Listed, RunnerEvent, Runners, Workload};
use crate::slots::SlotKey;

/// How many messages may wait for the supervisor. One instance has at most one action and one check in flight,
/// so this is far more than a node's worth; a sender waits beyond it.
const QUEUE: usize = 1024;
/// How many messages are taken into one turn: bounds its transaction, and how long others wait.
const TURN: usize = 256;
/// How often the runners are asked what they know, to find what no record stands for. The first time is at the
/// start.
const LISTING_INTERVAL: Duration = Duration::from_secs(60);
/// The same while slots wait for the answer.
const LISTING_RETRY: Duration = Duration::from_secs(5);
/// Between two tries to write while the disk does not take it.
const COMMIT_RETRY: Duration = Duration::from_secs(1);
/// The longest sleep; a timer further away is looked at again after it.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// Who wakes so late did not run meanwhile: stopped by a signal, say, or its virtual machine was.
const STANDSTILL: Duration = Duration::from_secs(3);

/// A message to the supervisor.
#[derive(Debug)]
pub(crate) enum Message {
    /// An effect came to its end.
    Told {
        /// The instance.
        instance: InstanceId,
        /// The event that tells its outcome.
        event: Event,
    },
    /// A bind check came to its end.
    PortsChecked {
        /// The instance.
        instance: InstanceId,
        /// The outcome; the error names the port that cannot be had.
        answer: Result<(), PortError>,
    },
    /// A runner listed what it knows.
    Listed {
        /// The runner.
        kind: RunnerKind,
        /// All that it knows; `None` when it could not be asked.
        known: Option<Vec<Listed>>,
    },
    /// The leader has let this executor in.
    Welcomed {
        /// The history of the cluster to which the leader belongs.
        history: String,
    },
    /// A slot table: what must be.
    Table {
        /// The sender's term.
        term: u64,
        /// The rows.
        table: SlotTable,
    },
    /// These versions are committed upstream.
    Acknowledged {
        /// Of instances.
        instances: Vec<(InstanceId, u64)>,
        /// Of slots.
        slots: Vec<(SlotKey, u64)>,
    },
    /// Slots are to be emptied, up to those of this policy.
    Drain(DrainPolicy),
    /// Does the loop still turn?
    Beat(oneshot::Sender<()>),
    /// What runs for an instance?
    Running {
        /// The instance.
        instance: InstanceId,
        /// Answers with what runs; `None` when nothing does.
        reply: oneshot::Sender<Option<Running>>,
    },
    /// How does everything stand?
    Inspect(oneshot::Sender<(Vec<InstanceRecord>, Vec<SlotStatus>)>),
}

/// What runs for an instance: what a relay needs to know of it.
#[derive(Debug)]
pub(crate) struct Running {
    /// What it was started with.
    pub plan: LaunchPlan,
    /// The workload.
    pub workload: Workload,
    /// The runner that started it.
    pub runner: RunnerKind,
}

/// What a supervisor is made of.
pub(crate) struct Parts {
    /// The machine.
    pub world: World,
    /// The decisions.
    pub core: Core,
    /// The journal.
    pub journal: Journal,
    /// The runners, which start workloads.
    pub runners: Runners,
    /// The prober, which checks workloads.
    pub prober: Arc<dyn Prober>,
    /// The files that are fetched for workloads.
    pub fetched: Arc<Fetched>,
}

/// How others speak to the supervisor.
#[derive(Clone)]
pub(crate) struct Handle {
    messages: mpsc::Sender<Message>,
    standing: watch::Receiver<Standing>,
}

impl Handle {
    /// Speaks to whoever reads `messages` and shows how things stand.
    #[must_use]
    pub(crate) const fn new(messages: mpsc::Sender<Message>, standing: watch::Receiver<Standing>) -> Self {
        Self { messages, standing }
    }

    /// Tells it something; waits while it has too much to do. An error means that it is gone.
    pub(crate) async fn tell(&self, message: Message) -> Result<(), SupervisorGone> {
        self.messages.send(message).await.map_err(|_| SupervisorGone)
    }

    /// How things stand, now and later.
    #[must_use]
    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// How many messages wait for it.
    pub(crate) fn queue_depth(&self) -> usize {
        self.messages.max_capacity() - self.messages.capacity()
    }

    /// Answers once its loop has come round.
    pub(crate) async fn beat(&self) -> Result<(), SupervisorGone> {
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Beat(reply)).await?;
        answer.await.map_err(|_| SupervisorGone)
    }

    /// What runs for an instance; none when nothing does.
    pub(crate) async fn running(&self, instance: InstanceId) -> Result<Option<Running>, SupervisorGone> {
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Running { instance, reply }).await?;
        answer.await.map_err(|_| SupervisorGone)
    }

    /// Every instance and slot, as they are now.
    pub(crate) async fn inspect(&self) -> Result<(Vec<InstanceRecord>, Vec<SlotStatus>), SupervisorGone> {
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Inspect(reply)).await?;
        answer.await.map_err(|_| SupervisorGone)
    }
}

/// The supervisor's task has ended: the executor is shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the executor is shutting down")]
pub struct SupervisorGone;

/// What goes on until it is told to end; an error is that the journal is damaged.
pub(crate) type Task = JoinHandle<Result<(), CommitError>>;

/// Starts the supervisor; it ends when `shutdown` is cancelled, or with an error when its journal is damaged, and drops
/// every effect in flight.
pub(crate) fn spawn(parts: Parts, shutdown: CancellationToken) -> (Handle, Task) {
    let (sender, messages) = mpsc::channel(QUEUE);
    let (standing, watching) = watch::channel(parts.core.standing().clone());
    let epoch = Instant::now();
    let supervisor = Supervisor {
        performer: Performer::new(
            parts.world.clone(),
            parts.runners.set(),
            parts.prober,
            Arc::clone(&parts.fetched),
            sender.clone(),
        ),
        fetched: parts.fetched,
        world: parts.world,
        core: parts.core,
        journal: parts.journal,
        messages,
        runner_events: parts.runners.events,
        standing,
        epoch,
        looked_at: epoch,
        held_up_since: None,
        leftovers: Vec::new(),
        next_listing: epoch,
    };
    metrics::gauge!("muster_executor_journal_writable").set(1.0);
    let task = tokio::spawn(async move {
        tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            damage = supervisor.run() => Err(damage),
        }
    });
    (Handle { messages: sender, standing: watching }, task)
}

/// What runs for an instance: not before it was started, and not once it is being taken away.
fn running(instance: &Instance) -> Option<Running> {
    let runs = instance.state().is_running()
        || matches!(instance.state(), InstanceState::Unhealthy | InstanceState::Stopping);
    let workload = instance.workload.clone().filter(|_| runs && instance.exit.is_none())?;
    Some(Running { plan: plan_of(instance), workload, runner: instance.record.runner })
}

/// The task's own state.
struct Supervisor {
    world: World,
    core: Core,
    journal: Journal,
    performer: Performer,
    fetched: Arc<Fetched>,
    messages: mpsc::Receiver<Message>,
    runner_events: mpsc::Receiver<RunnerEvent>,
    standing: watch::Sender<Standing>,
    /// [`Now::mono`] counts from here.
    epoch: Instant,
    /// When the last turn began.
    looked_at: Instant,
    /// Since when the journal cannot be written. No time passes for what waits until it can.
    held_up_since: Option<Instant>,
    /// To be cleared away after the next turn. At most what two listings name.
    leftovers: Vec<(RunnerKind, InstanceId)>,
    next_listing: Instant,
}

/// What ended a wait.
enum First {
    Message(Message),
    Announcement(RunnerEvent),
    Timer,
}

impl Supervisor {
    /// Until its journal is damaged.
    async fn run(mut self) -> CommitError {
        loop {
            if let Err(damage) = self.turn().await {
                return damage;
            }
            self.gather().await;
        }
    }

    fn now(&self) -> Now {
        let mono = self.held_up_since.unwrap_or_else(Instant::now).duration_since(self.epoch);
        Now { wall: self.world.clock.now(), mono }
    }

    /// Waits for something to happen, or for the moment that anything asked for.
    async fn gather(&mut self) {
        let longest = Instant::now() + LONGEST_SLEEP;
        let asked = self.core.next_wake().and_then(|wake| self.epoch.checked_add(wake));
        let wake = asked.unwrap_or(longest).min(longest).min(self.next_listing);
        // Only a wait can be late: what came due while the turn before was written down is no standstill.
        self.take_in(wake.max(Instant::now())).await;
    }

    /// Waits until `wake` for something to happen, and takes in all that is at hand.
    async fn take_in(&mut self, wake: Instant) {
        let waiting = u32::try_from(self.runner_events.len()).unwrap_or(u32::MAX);
        metrics::gauge!("muster_executor_queue_depth", "queue" => "runner_events").set(f64::from(waiting));
        let first = tokio::select! {
            Some(message) = self.messages.recv() => First::Message(message),
            Some(event) = self.runner_events.recv() => First::Announcement(event),
            () = tokio::time::sleep_until(wake) => First::Timer,
        };
        self.notice_standstill(wake);
        match first {
            First::Message(message) => self.take(message),
            First::Announcement(event) => self.take_announcement(event),
            First::Timer => {}
        }
        for _ in 0..TURN {
            if let Ok(message) = self.messages.try_recv() {
                self.take(message);
            } else if let Ok(event) = self.runner_events.try_recv() {
                self.take_announcement(event);
            } else {
                break;
            }
        }
    }

    /// A wake that is late by seconds means that this program stood still. Since when nobody can say, so no time has
    /// passed since the last turn: what waits has all that was left of its time, and its answers are heard first.
    fn notice_standstill(&mut self, wake: Instant) {
        let now = Instant::now();
        if self.held_up_since.is_some() || now.duration_since(wake) < STANDSTILL {
            return;
        }
        self.epoch += now.duration_since(self.looked_at);
        tracing::warn!(late = ?now.duration_since(wake), "this program did not run for a while; that time counts for nothing");
        self.core.stood_still();
    }

    fn take_announcement(&mut self, event: RunnerEvent) {
        let RunnerEvent::Exited { instance, exit } = event;
        self.core.tell(instance, Event::Exited(exit));
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Told { instance, event } => {
                if let Event::Probed { kind, outcome } = &event {
                    metrics::histogram!("muster_executor_probe_seconds", "kind" => kind.as_str())
                        .record(outcome.latency.as_secs_f64());
                }
                self.core.tell(instance, event);
            }
            Message::PortsChecked { instance, answer } => {
                let now = self.now();
                self.core.ports_checked(instance, answer, now);
            }
            Message::Listed { kind, known: None } => self.core.listing_failed(kind),
            Message::Listed { kind, known: Some(known) } => {
                let leftovers = self.core.take_listing(kind, known);
                self.leftovers.extend(leftovers.into_iter().map(|leftover| (kind, leftover)));
            }
            Message::Welcomed { history } => self.core.enter_history(history),
            Message::Table { term, table } => self.core.take_table(term, table),
            Message::Acknowledged { instances, slots } => self.core.acknowledge(instances, slots),
            Message::Drain(last) => self.core.drain(last),
            Message::Beat(reply) => {
                // An error means that nobody waits for the answer any more.
                let _ = reply.send(());
            }
            Message::Running { instance, reply } => {
                // An error means that nobody waits for the answer any more.
                let _ = reply.send(self.core.instance(&instance).and_then(running));
            }
            Message::Inspect(reply) => {
                // An error means that nobody waits for the answer any more.
                let _ = reply.send((self.core.records(), self.core.slots().cloned().collect()));
            }
        }
    }

    /// Decides, writes, publishes, and lets the effects happen: in this order.
    async fn turn(&mut self) -> Result<(), CommitError> {
        self.looked_at = Instant::now();
        let now = self.now();
        self.core.wake(now);
        let entropy = self.world.entropy.clone();
        let Output { batch, effects, transitions, strays, over } =
            self.core.decide(now, &mut || entropy.next_u64());
        if !batch.is_empty() {
            let begun = Instant::now();
            self.write(batch).await?;
            metrics::histogram!("muster_executor_journal_commit_seconds")
                .record(begun.elapsed().as_secs_f64());
        }
        self.publish();
        for (kind, leftover) in std::mem::take(&mut self.leftovers) {
            self.performer.clear_leftover(kind, leftover);
        }
        for (id, effect) in effects {
            if let Some(instance) = self.core.instance(&id) {
                self.performer.perform(instance, &effect);
            }
        }
        for id in &over {
            self.performer.forget(id);
        }
        if !transitions.is_empty() {
            self.count(&transitions);
        }
        for (kind, fate) in strays {
            let labels = [("runner", kind.as_str()), ("fate", fate.as_str())];
            metrics::counter!("muster_executor_strays_total", &labels).increment(1);
        }
        if self.next_listing <= Instant::now() {
            let soon = if self.core.awaits_listing() { LISTING_RETRY } else { LISTING_INTERVAL };
            self.next_listing = Instant::now() + soon;
            self.core.listings_begin(self.performer.list());
            // Waited for here, where neither a slot nor an instance comes meanwhile: what starts write is among these.
            if let Some(calls) = self.core.fetching_calls() {
                self.fetched.retain(calls).await;
            }
        }
        Ok(())
    }

    /// Writes what was decided. While the disk does not take it, nothing new is decided and nothing takes effect,
    /// but the loop turns: it says what is wrong, answers, takes in what happens, and tries again. A file that is damaged
    /// takes nothing, however often it is tried.
    async fn write(&mut self, batch: Batch) -> Result<(), CommitError> {
        let batch = Arc::new(batch);
        while let Err(error) = self.journal.commit(Arc::clone(&batch)).await {
            if error.is_damage() {
                return Err(error);
            }
            self.held_up_by(&error);
            let retry = Instant::now() + COMMIT_RETRY;
            while Instant::now() < retry {
                self.take_in(retry).await;
            }
        }
        if let Some(since) = self.held_up_since.take() {
            let lasted = since.elapsed();
            self.epoch += lasted;
            self.looked_at += lasted;
            tracing::info!(?lasted, "the journal can be written again");
            metrics::gauge!("muster_executor_journal_writable").set(1.0);
            self.standing.send_modify(|standing| standing.journal_trouble = None);
        }
        Ok(())
    }

    fn held_up_by(&mut self, error: &CommitError) {
        self.held_up_since.get_or_insert_with(Instant::now);
        metrics::counter!("muster_executor_journal_errors_total", "kind" => error.kind()).increment(1);
        metrics::gauge!("muster_executor_journal_writable").set(0.0);
        let trouble = Some(error.to_string());
        // Said once, not with every try.
        let is_news = self.standing.send_if_modified(|standing| {
            let is_news = standing.journal_trouble != trouble;
            standing.journal_trouble = trouble;
            is_news
        });
        if is_news {
            tracing::error!(%error, "the journal cannot be written; what runs goes on, and nothing new begins until it can");
        }
    }

    fn publish(&mut self) {
        if let Some(news) = self.core.news() {
            let unacked = u32::try_from(news.unacked_instances.len()).unwrap_or(u32::MAX);
            metrics::gauge!("muster_executor_unacknowledged_reports").set(f64::from(unacked));
            let unreadable = u32::try_from(news.unreadable_rows).unwrap_or(u32::MAX);
            metrics::gauge!("muster_executor_unreadable_rows").set(f64::from(unreadable));
            self.standing.send_replace(news.clone());
        }
    }

    fn count(&self, transitions: &[TransitionMade]) {
        for TransitionMade { from, to, reason, lasted } in transitions {
            let reason = reason.map_or("", |reason| reason.as_str());
            let labels = [("from", from.as_str()), ("to", to.as_str()), ("reason", reason)];
            metrics::counter!("muster_executor_transitions_total", &labels).increment(1);
            // PROVISIONING is the pull, STARTING the create and start, UNREADY and READY the way to HEALTHY.
            metrics::histogram!("muster_executor_state_seconds", "state" => from.as_str())
                .record(lasted.as_secs_f64());
        }
        let mut counts: BTreeMap<InstanceState, u32> = BTreeMap::new();
        for instance in self.core.live() {
            *counts.entry(instance.state()).or_default() += 1;
        }
        for state in InstanceState::ALL.iter().filter(|state| !state.is_terminal()) {
            let count = counts.get(state).copied().unwrap_or_default();
            metrics::gauge!("muster_executor_instances", "state" => state.as_str()).set(f64::from(count));
        }
    }
}
