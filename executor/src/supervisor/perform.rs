//! Performs effects: each effect is a task, which ends with a message to the supervisor.
//!
//! At most one action and one check of an instance are in flight; a new action drops the one before, and
//! dropping cancels.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use muster_common::evidence::{MAX_LOG_TAIL_BYTES, ProbeKind};
use muster_common::id::InstanceId;
use muster_common::instance::{LocalInfo, RunnerKind};
use muster_common::spec::CheckMode;
use muster_platform::World;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::task::Message;
use crate::environment::environment;
use crate::fetched::Fetched;
use crate::lease::check_ports;
use crate::limits::{LISTING, PROBE_CUT};
use crate::machine::{Effect, Event, Instance, Trouble};
use crate::probe::{HookCaller, ProbeOutcome, Prober};
use crate::runner::{
    Exit, Found, LaunchPlan, Listed, LogEnd, Place, ProvisionError, Runner, RunnerError, RunnerSet,
    StartError, Workload,
};

/// What a leftover that runs has between the stop signal and the kill: nobody drains it.
const LEFTOVER_GRACE: Duration = Duration::from_secs(10);

/// The message of a start that was held.
const STOPPED_BEFORE_IT_BEGAN: &str = "it was to stop before its start had begun";

pub(super) struct Performer {
    world: World,
    runners: RunnerSet,
    prober: Arc<dyn Prober>,
    fetched: Arc<Fetched>,
    answers: mpsc::Sender<Message>,
    actions: BTreeMap<InstanceId, AbortOnDropHandle<()>>,
    /// Starts in flight, each with what holds it while its runner has not begun.
    starts: BTreeMap<InstanceId, CancellationToken>,
    probes: BTreeMap<InstanceId, AbortOnDropHandle<()>>,
    listings: BTreeMap<RunnerKind, AbortOnDropHandle<()>>,
}

impl Performer {
    pub(super) fn new(
        world: World,
        runners: RunnerSet,
        prober: Arc<dyn Prober>,
        fetched: Arc<Fetched>,
        answers: mpsc::Sender<Message>,
    ) -> Self {
        Self {
            world,
            runners,
            prober,
            fetched,
            answers,
            actions: BTreeMap::new(),
            starts: BTreeMap::new(),
            probes: BTreeMap::new(),
            listings: BTreeMap::new(),
        }
    }

    /// Drops whatever is in flight for an instance that is over.
    pub(super) fn forget(&mut self, id: &InstanceId) {
        self.actions.remove(id);
        self.starts.remove(id);
        self.probes.remove(id);
    }

    pub(super) fn perform(&mut self, instance: &Instance, effect: &Effect) {
        let id = instance.id().clone();
        // The one before is dropped first: a stop must not race the start that it supersedes.
        if effect.is_action() {
            self.actions.remove(&id);
            self.starts.remove(&id);
        }
        match effect {
            Effect::Start => drop(self.starts.insert(id.clone(), CancellationToken::new())),
            Effect::HoldStart => {
                if let Some(held) = self.starts.get(&id) {
                    held.cancel();
                }
            }
            _ => {}
        }
        let Some(work) = self.work(instance, effect) else { return };
        let task = self.spawn(work);
        let tasks = if effect.is_action() { &mut self.actions } else { &mut self.probes };
        tasks.insert(id, task);
    }

    fn spawn(&self, work: BoxFuture<'static, Message>) -> AbortOnDropHandle<()> {
        let answers = self.answers.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let answer = work.await;
            // An error means that the supervisor is gone; then so is whoever asked.
            let _ = answers.send(answer).await;
        }))
    }

    /// The work that `effect` asks for. It ends with a message to the supervisor; `None` where there is nothing to do.
    fn work(&self, instance: &Instance, effect: &Effect) -> Option<BoxFuture<'static, Message>> {
        let id = instance.id().clone();
        let plan = plan_of(instance);
        let workload = instance.workload.clone();
        let work: BoxFuture<'static, Event> = match effect {
            Effect::Cancel | Effect::HoldStart | Effect::Lease => return None,
            Effect::CheckPorts => {
                let (world, runner) = (self.world.clone(), instance.record.runner);
                return Some(Box::pin(async move {
                    let answer = check_ports(&world, &plan.place.local_info, runner).await;
                    Message::PortsChecked { instance: id, answer }
                }));
            }
            Effect::Probe { kind } => {
                let kind = *kind;
                let check = match kind {
                    ProbeKind::Readiness => instance.spec.readiness.clone(),
                    ProbeKind::Health => instance.spec.healthcheck.clone(),
                }?;
                let prober = Arc::clone(&self.prober);
                let asked = ask(prober, check.mode, check.timeout.as_duration(), plan, workload);
                Box::pin(async move { Event::Probed { kind, outcome: asked.await } })
            }
            Effect::RunHook { index } => {
                let index = *index;
                let before = instance.spec.pre_shutdown.as_ref()?;
                let hook = before.hooks.get(index)?.clone();
                let caller = Arc::new(HookCaller(Arc::clone(&self.prober)));
                let asked = ask(caller, hook, before.hook_limit(), plan, workload);
                let said_of = id.clone();
                Box::pin(async move {
                    let outcome = asked.await;
                    if !outcome.passed {
                        warn_of_hook(&said_of, index, &outcome);
                    }
                    Event::HookDone { index, outcome }
                })
            }
            effect => self.run(instance, plan, effect.clone()),
        };
        Some(Box::pin(async move { Message::Told { instance: id, event: work.await } }))
    }

    /// The work of a runner. Before a start the files are fetched; if a stop comes meanwhile, the start is given up.
    fn run(&self, instance: &Instance, plan: LaunchPlan, effect: Effect) -> BoxFuture<'static, Event> {
        let workload = instance.workload.clone();
        let Some(runner) = self.runners.of(instance.record.runner).cloned() else {
            let untouched = workload.is_none() && instance.record.started.is_none();
            let event = without_runner(plan.spec.runner(), &effect, untouched);
            return Box::pin(std::future::ready(event));
        };
        if effect != Effect::Start {
            return Box::pin(async move { call(runner.as_ref(), &plan, workload.as_ref(), &effect).await });
        }
        let fetched = Arc::clone(&self.fetched);
        // There is one for each start; one that nobody holds is never cancelled.
        let held = self.starts.get(instance.id()).cloned().unwrap_or_default();
        Box::pin(async move {
            match held.run_until_cancelled(fetched.put_into(plan)).await {
                Some(Ok(plan)) => call(runner.as_ref(), &plan, workload.as_ref(), &effect).await,
                Some(Err(error)) => Event::Started(Err(error.into())),
                None => Event::Started(Err(Trouble::Failed(STOPPED_BEFORE_IT_BEGAN.to_owned()))),
            }
        })
    }

    /// Asks every runner what it knows, but for those that were asked before and take their time: asked anew, they
    /// would never come to an end. What a node has no runner for, nothing is known of. How many were asked: each answers.
    pub(super) fn list(&mut self) -> usize {
        self.listings.retain(|_, listing| !listing.is_finished());
        let before = self.listings.len();
        for kind in [RunnerKind::Docker, RunnerKind::Process] {
            if self.listings.contains_key(&kind) {
                continue;
            }
            let runner = self.runners.of(kind).cloned();
            let listing = self.spawn(Box::pin(async move {
                let known = match runner {
                    Some(runner) => known(runner.as_ref()).await,
                    None => Some(Vec::new()),
                };
                Message::Listed { kind, known }
            }));
            self.listings.insert(kind, listing);
        }
        self.listings.len() - before
    }

    /// Takes away what an instance left that is over, or that nothing is known of.
    pub(super) fn clear_leftover(&mut self, kind: RunnerKind, id: InstanceId) {
        let Some(runner) = self.runners.of(kind).cloned() else { return };
        if self.actions.get(&id).is_some_and(|task| !task.is_finished()) {
            return;
        }
        let leftover = id.clone();
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            if let Err(error) = clear_away(runner.as_ref(), &leftover).await {
                tracing::warn!(%error, instance = %leftover, "a leftover could not be cleared away yet");
            }
        }));
        self.actions.insert(id, task);
        self.actions.retain(|_, task| !task.is_finished());
    }
}

/// Does not tell what the hook answered, which may be secret: that stays with the instance.
fn warn_of_hook(instance: &InstanceId, index: usize, outcome: &ProbeOutcome) {
    let (code, answer_bytes) = (outcome.code, outcome.answer.len());
    tracing::warn!(%instance, hook = index + 1, code, answer_bytes, "a pre-shutdown hook failed; the stop goes on");
}

/// Asks a workload something; an asker that overstays its timeout is cut off.
async fn ask(
    prober: Arc<dyn Prober>,
    mode: CheckMode,
    timeout: Duration,
    plan: LaunchPlan,
    workload: Option<Workload>,
) -> ProbeOutcome {
    let failed = |answer: &str| ProbeOutcome {
        passed: false,
        asked: true,
        latency: timeout,
        code: None,
        answer: answer.to_owned(),
    };
    let Some(workload) = workload else { return failed("there is no workload to ask") };
    let asked = prober.probe(&mode, timeout, &plan, &workload);
    let limit = timeout.saturating_add(PROBE_CUT);
    tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| failed("no answer within the timeout"))
}

async fn known(runner: &dyn Runner) -> Option<Vec<Listed>> {
    let kind = runner.kind();
    match tokio::time::timeout(LISTING, runner.list()).await {
        Ok(Ok(known)) => return Some(known),
        // A node without an engine is no news, however often it is asked.
        Ok(Err(RunnerError::Unavailable(error))) => {
            tracing::debug!(error, runner = %kind, "the runner is away");
        }
        Ok(Err(error)) => tracing::warn!(%error, runner = %kind, "the runner cannot be asked what it knows"),
        Err(_) => {
            tracing::warn!(runner = %kind, "the runner has not said what it knows within {LISTING:?}");
        }
    }
    None
}

async fn clear_away(runner: &dyn Runner, leftover: &InstanceId) -> Result<(), RunnerError> {
    let kind = runner.kind();
    let (ran, workload) = match runner.find(leftover, None).await? {
        Found::Running(workload) => {
            runner.stop(leftover, &workload, LEFTOVER_GRACE).await?;
            (true, Some(workload))
        }
        Found::Ended(workload, _) => (false, Some(workload)),
        // Files of an earlier boot are listed, too, and may hold an instance's secrets.
        Found::NeverStarted | Found::Nothing => (false, None),
    };
    if let Some(workload) = &workload
        && let Err(error) = runner.copy_log(leftover, workload, 0).await
    {
        tracing::warn!(%error, instance = %leftover, "the log of a leftover cannot be copied, or not all of it");
    }
    runner.remove(leftover).await?;
    if ran {
        tracing::warn!(instance = %leftover, runner = %kind, "stopped and removed a workload that belonged to no instance");
    } else {
        tracing::info!(instance = %leftover, runner = %kind, "removed what an instance left that is gone");
    }
    metrics::counter!("muster_executor_leftovers_total", "runner" => kind.as_str(), "ran" => ran.to_string())
        .increment(1);
    Ok(())
}

/// What an instance is started with.
pub(super) fn plan_of(instance: &Instance) -> LaunchPlan {
    let record = &instance.record;
    let nowhere = || LocalInfo { hostname: String::new(), ports: BTreeMap::new() };
    LaunchPlan {
        instance: record.id.clone(),
        place: Place {
            service: record.slot.service.clone(),
            service_name: record.service_name.clone(),
            index: record.slot.index,
            epoch: record.epoch,
            generation: record.generation,
            created: record.created,
            local_info: record.local_info.clone().unwrap_or_else(nowhere),
            resources: record.resources.clone(),
        },
        spec: Arc::clone(&instance.spec),
        env: environment(instance),
    }
}

/// Asks the runner, and words its answer for the machine.
async fn call(runner: &dyn Runner, plan: &LaunchPlan, workload: Option<&Workload>, effect: &Effect) -> Event {
    let id = &plan.instance;
    let _timer = Timer { call: name_of(effect), runner: runner.kind(), begun: Instant::now() };
    match effect {
        Effect::Provision => Event::Provisioned(runner.provision(plan).await.map_err(Into::into)),
        Effect::Start => Event::Started(runner.start(plan).await.map_err(Into::into)),
        Effect::Stop { grace } => Event::Stopped(match workload {
            Some(workload) => runner.stop(id, workload, *grace).await.map_err(Into::into),
            None => Ok(Exit::default()),
        }),
        Effect::CollectEvidence => Event::EvidenceCollected(match workload {
            Some(workload) => runner.log_tail(id, workload, MAX_LOG_TAIL_BYTES).await.map_err(Into::into),
            None => Ok(LogEnd::kept("")),
        }),
        Effect::CopyLog => Event::LogCopied(match workload {
            Some(workload) => runner.copy_log(id, workload, MAX_LOG_TAIL_BYTES).await.map_err(Into::into),
            None => Ok(None),
        }),
        Effect::Remove => Event::Removed(runner.remove(id).await.map_err(Into::into)),
        Effect::Find
        | Effect::Lease
        | Effect::CheckPorts
        | Effect::RunHook { .. }
        | Effect::Cancel
        | Effect::HoldStart
        | Effect::Probe { .. } => Event::Found(runner.find(id, workload).await.map_err(Into::into)),
    }
}

/// How long a runner's call took, also one that was let go: a stop is when the workload is seen to end.
struct Timer {
    call: &'static str,
    runner: RunnerKind,
    begun: Instant,
}

impl Drop for Timer {
    fn drop(&mut self) {
        let labels = [("call", self.call), ("runner", self.runner.as_str())];
        metrics::histogram!("muster_executor_runner_call_seconds", &labels)
            .record(self.begun.elapsed().as_secs_f64());
    }
}

const fn name_of(effect: &Effect) -> &'static str {
    match effect {
        Effect::Lease => "lease",
        Effect::CheckPorts => "check_ports",
        Effect::Provision => "provision",
        Effect::Start => "start",
        Effect::Find => "find",
        Effect::RunHook { .. } => "hook",
        Effect::Stop { .. } => "stop",
        Effect::CollectEvidence => "collect_evidence",
        Effect::CopyLog => "copy_log",
        Effect::Remove => "remove",
        Effect::Cancel => "cancel",
        Effect::HoldStart => "hold_start",
        Effect::Probe { .. } => "probe",
    }
}

/// The answers of a runner that this node does not have. What it never touched is gone; whether the rest is,
/// nobody can say.
fn without_runner(kind: RunnerKind, effect: &Effect, untouched: bool) -> Event {
    let message = format!("this executor has no {kind} runner");
    let unavailable = || Trouble::Unavailable(message.clone());
    match effect {
        Effect::Provision => Event::Provisioned(Err(Trouble::Failed(message))),
        Effect::Start => Event::Started(Err(Trouble::Failed(message))),
        Effect::Stop { .. } => Event::Stopped(Err(unavailable())),
        Effect::CollectEvidence => Event::EvidenceCollected(Err(Trouble::Failed(message))),
        Effect::CopyLog => Event::LogCopied(Err(Trouble::Failed(message))),
        Effect::Remove if untouched => Event::Removed(Ok(())),
        Effect::Remove => Event::Removed(Err(unavailable())),
        _ if untouched => Event::Found(Ok(Found::Nothing)),
        _ => Event::Found(Err(unavailable())),
    }
}

impl From<ProvisionError> for Trouble {
    fn from(error: ProvisionError) -> Self {
        match error {
            ProvisionError::Unavailable { .. } => Self::Failed(error.to_string()),
            ProvisionError::RunnerUnavailable(message) => Self::Unavailable(message),
        }
    }
}

impl From<StartError> for Trouble {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Failed { .. } => Self::Failed(error.to_string()),
            StartError::RunnerUnavailable(message) => Self::Unavailable(message),
        }
    }
}

impl From<RunnerError> for Trouble {
    fn from(error: RunnerError) -> Self {
        match error {
            RunnerError::Failed { .. } | RunnerError::NoSuchCommand(_) => Self::Failed(error.to_string()),
            RunnerError::Unavailable(message) => Self::Unavailable(message),
        }
    }
}
