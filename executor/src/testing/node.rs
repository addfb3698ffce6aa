//! A node that outlives the supervisor, as containers and processes do: what starts and probes workloads, which are
//! entries in a map.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::future::BoxFuture;
use muster_common::id::InstanceId;
use muster_common::instance::RunnerKind;
use muster_common::spec::CheckMode;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::probe::{ProbeOutcome, Prober};
use crate::runner::{
    CommandOutput, Exit, Found, LaunchPlan, Listed, LogEnd, Place, ProvisionError, Runner, RunnerError,
    RunnerEvent, Runners, StartError, Workload,
};

/// The machine under a supervisor.
#[derive(Clone, Default)]
pub(crate) struct Node(Arc<Mutex<NodeState>>);

#[derive(Default)]
struct NodeState {
    workloads: BTreeMap<InstanceId, (String, Option<Exit>)>,
    places: BTreeMap<InstanceId, Place>,
    /// Of instances of an earlier boot, there are only files.
    files: BTreeSet<InstanceId>,
    starts: usize,
    hooks: usize,
    removed: usize,
    announce: Option<mpsc::Sender<RunnerEvent>>,
    unwell: bool,
    checks_take: Duration,
    never_provisions: bool,
    unlistable: bool,
    listing_takes: Duration,
    log_trouble: Option<String>,
    most_at_once: BTreeMap<String, usize>,
}

impl Node {
    fn state(&self) -> MutexGuard<'_, NodeState> {
        self.0.lock().unwrap()
    }

    pub(crate) fn runners(&self) -> Runners {
        let (announce, events) = mpsc::channel(64);
        self.state().announce = Some(announce);
        Runners { docker: None, process: Some(Arc::new(self.clone())), events }
    }

    pub(crate) fn starts(&self) -> usize {
        self.state().starts
    }

    pub(crate) fn hooks(&self) -> usize {
        self.state().hooks
    }

    /// How many workloads of one slot ever ran at the same time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.state().most_at_once.values().copied().max().unwrap_or(0)
    }

    pub(crate) fn running(&self) -> Vec<InstanceId> {
        let state = self.state();
        state.workloads.iter().filter(|(_, (_, exit))| exit.is_none()).map(|(id, _)| id.clone()).collect()
    }

    pub(crate) fn known(&self) -> usize {
        let state = self.state();
        state.workloads.len() + state.files.len()
    }

    /// Checks fail from now on, or pass again.
    pub(crate) fn set_unwell(&self, unwell: bool) {
        self.state().unwell = unwell;
    }

    /// How long each of the two ways of a check takes.
    pub(crate) fn set_checks_take(&self, takes: Duration) {
        self.state().checks_take = takes;
    }

    pub(crate) fn set_never_provisions(&self, never: bool) {
        self.state().never_provisions = never;
    }

    /// Something runs that no journal knows.
    pub(crate) fn plant_orphan(&self, id: &str) {
        let id = InstanceId::new(id).unwrap();
        self.state().workloads.insert(id, ("orphan".to_owned(), None));
    }

    /// Whether the runner says what it knows.
    pub(crate) fn set_listable(&self, listable: bool) {
        self.state().unlistable = !listable;
    }

    /// How long the runner takes to say what it knows.
    pub(crate) fn set_listing_takes(&self, takes: Duration) {
        self.state().listing_takes = takes;
    }

    /// Why logs are not up to date from now on; none: they are.
    pub(crate) fn set_log_trouble(&self, trouble: Option<&str>) {
        self.state().log_trouble = trouble.map(str::to_owned);
    }

    /// Nobody hears what happens here any more.
    pub(super) fn unheard(&self) {
        self.state().announce = None;
    }

    /// Of every workload only its files are left.
    pub(super) fn reboot(&self) {
        let mut state = self.state();
        let gone = std::mem::take(&mut state.workloads);
        state.files.extend(gone.into_keys());
    }

    /// The workload ends by itself; announced when a supervisor listens.
    pub(crate) fn crash(&self, id: &InstanceId, code: i32) {
        let exit = Exit { code: Some(code), ..Exit::default() };
        let mut state = self.state();
        state.workloads.get_mut(id).unwrap().1 = Some(exit.clone());
        if let Some(announce) = &state.announce {
            // Nobody may be listening: then `find` tells it later.
            let _ = announce.try_send(RunnerEvent::Exited { instance: id.clone(), exit });
        }
    }
}

fn workload() -> Workload {
    Workload::Process { shim_pid: 1, shim_start_ticks: 0, pid: 2, start_ticks: 0, warnings: Vec::new() }
}

impl Runner for Node {
    fn kind(&self) -> RunnerKind {
        RunnerKind::Process
    }

    fn provision<'a>(&'a self, _: &'a LaunchPlan) -> BoxFuture<'a, Result<(), ProvisionError>> {
        Box::pin(async {
            sleep(Duration::from_millis(5)).await;
            if self.state().never_provisions {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    fn start<'a>(&'a self, plan: &'a LaunchPlan) -> BoxFuture<'a, Result<Workload, StartError>> {
        Box::pin(async move {
            sleep(Duration::from_millis(10)).await;
            let mut state = self.state();
            let slot = format!("{}/{}", plan.place.service, plan.place.index);
            state.places.insert(plan.instance.clone(), plan.place.clone());
            if !state.workloads.contains_key(&plan.instance) {
                state.starts += 1;
                state.workloads.insert(plan.instance.clone(), (slot.clone(), None));
                let at_once =
                    state.workloads.values().filter(|(of, exit)| *of == slot && exit.is_none()).count();
                let most = state.most_at_once.entry(slot).or_default();
                *most = at_once.max(*most);
            }
            Ok(workload())
        })
    }

    fn stop<'a>(
        &'a self,
        instance: &'a InstanceId,
        _: &'a Workload,
        _: Duration,
    ) -> BoxFuture<'a, Result<Exit, RunnerError>> {
        Box::pin(async move {
            sleep(Duration::from_millis(10)).await;
            let mut state = self.state();
            let term = Exit { signal: Some(15), ..Exit::default() };
            Ok(match state.workloads.get_mut(instance) {
                Some((_, exit)) => exit.get_or_insert(term).clone(),
                None => term,
            })
        })
    }

    fn remove<'a>(&'a self, instance: &'a InstanceId) -> BoxFuture<'a, Result<(), RunnerError>> {
        Box::pin(async move {
            sleep(Duration::from_millis(5)).await;
            let mut state = self.state();
            state.files.remove(instance);
            let gone = state.workloads.remove(instance);
            assert!(!matches!(gone, Some((_, None))), "a running workload was removed");
            state.removed += 1;
            Ok(())
        })
    }

    fn find<'a>(
        &'a self,
        instance: &'a InstanceId,
        _: Option<&'a Workload>,
    ) -> BoxFuture<'a, Result<Found, RunnerError>> {
        Box::pin(async move {
            sleep(Duration::from_millis(3)).await;
            Ok(match self.state().workloads.get(instance) {
                Some((_, None)) => Found::Running(workload()),
                Some((_, Some(exit))) => Found::Ended(workload(), exit.clone()),
                None => Found::Nothing,
            })
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, RunnerError>> {
        Box::pin(async move {
            let takes = self.state().listing_takes;
            sleep(takes).await;
            let state = self.state();
            if state.unlistable {
                return Err(RunnerError::Unavailable("nobody answers".to_owned()));
            }
            let listed = |instance: &InstanceId| Listed {
                instance: instance.clone(),
                place: state.places.get(instance).cloned(),
                runs: matches!(state.workloads.get(instance), Some((_, None))),
            };
            Ok(state.workloads.keys().chain(&state.files).map(listed).collect())
        })
    }

    fn command<'a>(
        &'a self,
        _: &'a LaunchPlan,
        _: &'a Workload,
        _: &'a [String],
        _: Duration,
    ) -> BoxFuture<'a, Result<CommandOutput, RunnerError>> {
        Box::pin(async { Ok(CommandOutput { code: 0, output: String::new() }) })
    }

    fn freshen_log<'a>(&'a self, _: &'a InstanceId) -> BoxFuture<'a, Result<bool, RunnerError>> {
        let trouble = self.state().log_trouble.clone();
        Box::pin(async move { trouble.map_or(Ok(false), |why| Err(RunnerError::Unavailable(why))) })
    }

    fn log_tail<'a>(
        &'a self,
        instance: &'a InstanceId,
        _: &'a Workload,
        _: usize,
    ) -> BoxFuture<'a, Result<LogEnd, RunnerError>> {
        Box::pin(async move { Ok(LogEnd::kept(format!("last words of {instance}"))) })
    }
}

impl Prober for Node {
    fn probe<'a>(
        &'a self,
        mode: &'a CheckMode,
        _: Duration,
        plan: &'a LaunchPlan,
        _: &'a Workload,
    ) -> BoxFuture<'a, ProbeOutcome> {
        Box::pin(async move {
            sleep(Duration::from_millis(1)).await;
            let takes = self.state().checks_take;
            if !takes.is_zero() {
                sleep(takes).await;
                sleep(takes).await;
            }
            let mut state = self.state();
            if matches!(mode, CheckMode::Cmd { .. }) {
                state.hooks += 1;
            }
            let passed = !state.unwell && matches!(state.workloads.get(&plan.instance), Some((_, None)));
            let answer = if passed { "ok" } else { "connection refused" };
            ProbeOutcome {
                passed,
                asked: true,
                latency: Duration::from_millis(1),
                code: None,
                answer: answer.to_owned(),
            }
        })
    }
}
