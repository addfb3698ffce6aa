//! What an executor starts and asks in a simulation: workloads that are entries in a map.
//!
//! A [`SimulatedNode`] is the machine under an executor: it outlives the executor's crashes, as
//! containers and processes do, and counts every start, so that a test can say "restarted nothing".

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use muster_common::id::InstanceId;
use muster_common::instance::RunnerKind;
use muster_common::spec::CheckMode;
use muster_executor::{
    CommandOutput, Exit, Found, LaunchPlan, Listed, LogEnd, Place, ProvisionError, Runner, RunnerError,
    RunnerEvent, Runners, StartError, Workload,
};
use muster_executor::{ProbeOutcome, Prober};
use tokio::sync::mpsc;

/// How long a simulated program takes to start.
const START_TIME: Duration = Duration::from_millis(20);
/// Room for announcements that the executor has not read yet.
const EVENT_ROOM: usize = 64;

/// The machine under one executor.
#[derive(Clone, Default)]
pub struct SimulatedNode(Arc<Mutex<NodeState>>);

#[derive(Default)]
struct NodeState {
    workloads: BTreeMap<InstanceId, (Workload, Option<Exit>)>,
    places: BTreeMap<InstanceId, Place>,
    starts: u32,
    announce: Option<mpsc::Sender<RunnerEvent>>,
}

impl SimulatedNode {
    /// The runners for an executor that starts on this node.
    #[must_use]
    pub fn runners(&self) -> Runners {
        let (announce, events) = mpsc::channel(EVENT_ROOM);
        self.state().announce = Some(announce);
        Runners { docker: None, process: Some(Arc::new(self.clone())), events }
    }

    /// How many workloads were ever started here.
    #[must_use]
    pub fn starts(&self) -> u32 {
        self.state().starts
    }

    /// Which instances run now.
    #[must_use]
    pub fn running(&self) -> Vec<InstanceId> {
        let state = self.state();
        state.workloads.iter().filter(|(_, (_, exit))| exit.is_none()).map(|(id, _)| id.clone()).collect()
    }

    fn state(&self) -> MutexGuard<'_, NodeState> {
        // The simulation has one thread; a panic elsewhere leaves plain data behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_running(&self, instance: &InstanceId) -> bool {
        matches!(self.state().workloads.get(instance), Some((_, None)))
    }

    fn end(&self, instance: &InstanceId, exit: Exit) -> Exit {
        let mut state = self.state();
        match state.workloads.get_mut(instance) {
            Some((_, ended)) => ended.get_or_insert(exit).clone(),
            None => exit,
        }
    }
}

impl Runner for SimulatedNode {
    fn kind(&self) -> RunnerKind {
        RunnerKind::Process
    }

    fn provision<'a>(&'a self, _plan: &'a LaunchPlan) -> BoxFuture<'a, Result<(), ProvisionError>> {
        Box::pin(async { Ok(()) })
    }

    fn start<'a>(&'a self, plan: &'a LaunchPlan) -> BoxFuture<'a, Result<Workload, StartError>> {
        Box::pin(async move {
            tokio::time::sleep(START_TIME).await;
            let mut state = self.state();
            if let Some((workload, _)) = state.workloads.get(&plan.instance) {
                return Ok(workload.clone());
            }
            state.starts += 1;
            state.places.insert(plan.instance.clone(), plan.place.clone());
            let pid = state.starts;
            let workload = Workload::Process {
                shim_pid: pid,
                shim_start_ticks: 0,
                pid,
                start_ticks: 0,
                warnings: Vec::new(),
            };
            state.workloads.insert(plan.instance.clone(), (workload.clone(), None));
            Ok(workload)
        })
    }

    fn stop<'a>(
        &'a self,
        instance: &'a InstanceId,
        _workload: &'a Workload,
        _grace: Duration,
    ) -> BoxFuture<'a, Result<Exit, RunnerError>> {
        Box::pin(async move { Ok(self.end(instance, Exit { code: Some(0), ..Exit::default() })) })
    }

    fn remove<'a>(&'a self, instance: &'a InstanceId) -> BoxFuture<'a, Result<(), RunnerError>> {
        Box::pin(async move {
            self.state().workloads.remove(instance);
            Ok(())
        })
    }

    fn find<'a>(
        &'a self,
        instance: &'a InstanceId,
        _workload: Option<&'a Workload>,
    ) -> BoxFuture<'a, Result<Found, RunnerError>> {
        Box::pin(async move {
            Ok(match self.state().workloads.get(instance) {
                Some((workload, None)) => Found::Running(workload.clone()),
                Some((workload, Some(exit))) => Found::Ended(workload.clone(), exit.clone()),
                None => Found::Nothing,
            })
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, RunnerError>> {
        Box::pin(async move {
            let state = self.state();
            let listed = |(instance, (_, exit)): (&InstanceId, &(Workload, Option<Exit>))| Listed {
                instance: instance.clone(),
                place: state.places.get(instance).cloned(),
                runs: exit.is_none(),
            };
            Ok(state.workloads.iter().map(listed).collect())
        })
    }

    fn command<'a>(
        &'a self,
        _plan: &'a LaunchPlan,
        _workload: &'a Workload,
        _argv: &'a [String],
        _timeout: Duration,
    ) -> BoxFuture<'a, Result<CommandOutput, RunnerError>> {
        Box::pin(async { Ok(CommandOutput { code: 0, output: String::new() }) })
    }

    fn log_tail<'a>(
        &'a self,
        instance: &'a InstanceId,
        _workload: &'a Workload,
        _max_bytes: usize,
    ) -> BoxFuture<'a, Result<LogEnd, RunnerError>> {
        Box::pin(async move { Ok(LogEnd::kept(format!("simulated log of {instance}\n"))) })
    }
}

impl Prober for SimulatedNode {
    fn probe<'a>(
        &'a self,
        _mode: &'a CheckMode,
        _timeout: Duration,
        plan: &'a LaunchPlan,
        _workload: &'a Workload,
    ) -> BoxFuture<'a, ProbeOutcome> {
        Box::pin(async move {
            let passed = self.is_running(&plan.instance);
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
