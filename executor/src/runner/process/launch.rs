//! What the executor tells a shim, and what the shim answers: one JSON document each way, over the
//! shim's stdin and stdout, so that no secret is ever in an argument or on the disk.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::entry::Entry;
use crate::logs::Rotation;
use crate::runner::Exit;
use crate::runner::kin::ProcessId;

/// The largest description that a shim reads, in bytes. Far above any valid spec.
pub(super) const MAX_LAUNCH_BYTES: u64 = 4 << 20;

/// The largest answer that the executor reads, in bytes.
pub(super) const MAX_REPLY_BYTES: u64 = 16 << 10;

/// Everything that a shim needs to know. Has no `Debug`: the environment holds secrets.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Launch {
    /// Where `pid.json` and `exit.json` go.
    pub(super) run_dir: PathBuf,
    /// Where `output.log` goes.
    pub(super) log_dir: PathBuf,
    /// When `output.log` is rotated.
    pub(super) rotation: Rotation,
    /// What becomes the workload.
    pub(super) entry: Entry,
    /// What the workload runs without, in words; for `pid.json`.
    pub(super) warnings: Vec<String>,
    /// Names the boot in `pid.json`: numbers and start times repeat after a reboot.
    pub(super) boot_id: String,
}

/// A shim's answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Reply {
    /// The workload runs and `pid.json` says so.
    Started(Pids),
    /// It does not, and nothing is left of it: the words for a person.
    Failed(String),
    /// The same, because the node was short of what a start takes.
    InWant(String),
}

/// `pid.json`: who runs for an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pids {
    /// The boot that the others belong to.
    pub(super) boot_id: String,
    /// The shim.
    pub(super) shim: ProcessId,
    /// The workload's first process, which leads its process group.
    pub(super) workload: ProcessId,
    /// What it runs without although it was asked for, in words.
    #[serde(default)]
    pub(super) warnings: Vec<String>,
}

/// `exit.json`: how the workload ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ended {
    /// How its first process ended.
    pub(super) exit: Exit,
    /// Whether everything below the shim is gone too; until then it is being killed.
    pub(super) alone: bool,
}
