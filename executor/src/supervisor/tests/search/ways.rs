//! What may happen on the way from one condition to the next, and what it is made of.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use muster_common::id::{Epoch, ExecutorId, Generation, InstanceId};
use muster_common::slot::{ReplaceMode, SlotTable};
use muster_common::spec::LocalServiceSpec;

use crate::journal::{Contents, Drawers};
use crate::machine::Effect;
use crate::probe::ProbeOutcome;
use crate::runner::{Exit, Place, Workload};
use crate::supervisor::Core;
use crate::supervisor::tests::room;

/// What a runner has of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Made {
    Created,
    Running,
    /// With its exit status, and whether that was heard.
    Ended(i32),
}

/// How an effect turns out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turnout {
    /// As it should.
    Done,
    /// It fails, and nothing comes of it.
    Fails,
    /// A start that fails after the workload was created.
    FailsHalfway,
    /// The runner is away.
    Away,
    /// It is done, but the runner's answer is that it is away.
    DoneUnheard,
    /// It is done, and no answer ever comes.
    DoneInSilence,
    /// Nothing happens, and no answer ever comes.
    Hangs,
}

impl Turnout {
    pub(super) const fn is_trouble(self) -> bool {
        !matches!(self, Self::Done)
    }

    pub(super) fn all(effect: &Effect) -> &'static [Self] {
        use Turnout::{Away, Done, DoneInSilence, DoneUnheard, Fails, FailsHalfway, Hangs};
        match effect {
            Effect::Lease | Effect::Cancel | Effect::HoldStart => &[Done],
            Effect::CheckPorts => &[Done, Fails, Hangs],
            Effect::Provision
            | Effect::CollectEvidence
            | Effect::CopyLog
            | Effect::RunHook { .. }
            | Effect::Probe { .. } => &[Done, Fails, Away, Hangs],
            Effect::Start => &[Done, Fails, FailsHalfway, Away, DoneUnheard, DoneInSilence, Hangs],
            Effect::Find => &[Done, Away, Hangs],
            Effect::Stop { .. } | Effect::Remove => &[Done, Away, DoneUnheard, DoneInSilence, Hangs],
        }
    }
}

/// What may happen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Wish {
    StartFirst,
    StopFirst,
    Empty,
    Drain,
}

/// How an executor dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crash {
    Kill,
    Reboot,
    LostJournal,
}

/// What a path may still hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) crashes: u8,
    pub(super) reboots: u8,
    /// Crashes that cost the journal as well.
    pub(super) losses: u8,
    pub(super) troubles: u8,
    pub(super) wishes: u8,
    pub(super) exits: u8,
}

/// How one got here, for whoever has to understand a failure.
pub(super) struct Path {
    pub(super) step: String,
    pub(super) before: Option<Rc<Path>>,
}

pub(super) fn boot(disk: &Drawers, rebooted: bool) -> Core {
    let (contents, aside) = Contents::read(disk.clone());
    assert!(aside.is_undamaged());
    Core::new(ExecutorId::new("e1").unwrap(), room(), contents, rebooted)
}

pub(super) fn place(epoch: Epoch) -> Place {
    Place { epoch, generation: Generation(epoch.0), ..crate::testing::place() }
}

pub(super) fn workload(id: &InstanceId) -> Workload {
    Workload::container(id.as_str())
}

pub(super) fn exit(code: i32) -> Exit {
    Exit { code: Some(code), ..Exit::default() }
}

pub(super) fn outcome(passed: bool, asked: bool) -> ProbeOutcome {
    ProbeOutcome { passed, asked, latency: Duration::from_millis(1), code: None, answer: String::new() }
}

pub(super) fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// A service whose every wait is short and whose every count is low.
pub(super) fn with_spec(mut table: SlotTable, mode: ReplaceMode) -> SlotTable {
    let spec: LocalServiceSpec = serde_json::from_str(
        r#"{
          "name": "web", "version": "1", "executable": {"type": "PROCESS", "command": ["/bin/web"]},
          "exposedPorts": [{"name": "http", "port": 8080, "type": "HTTP"}],
          "resources": [{"type": "CPU", "count": 1}, {"type": "MEMORY", "sizeInMB": 64}],
          "placementPolicy": {"type": "LOCAL"},
          "readiness": {"mode": {"type": "TCP", "portName": "http"}, "timeout": "1s", "interval": "1s", "attempts": 1},
          "healthcheck": {"mode": {"type": "TCP", "portName": "http"}, "timeout": "1s", "interval": "1s", "attempts": 1},
          "preShutdown": {"hooks": [{"type": "CMD", "command": "drain"}], "waitBeforeKill": "1s"},
          "grace": "1s", "restartPolicy": {"backoff": ["1s"], "jitter": 0, "resetAfter": "10m", "budget": 1}
        }"#,
    )
    .unwrap();
    let spec = Arc::new(spec);
    for row in &mut table.rows {
        row.mode = mode;
        row.spec = Arc::clone(&spec);
    }
    table
}
