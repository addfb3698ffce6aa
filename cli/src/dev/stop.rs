//! The end of a cluster: executors drain what they run, then the controllers stop, then what was only
//! temporary is removed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use muster_executor::DRAINED;
use rustix::process::Signal;
use tokio::time::Instant;

use super::cluster_file::{ClusterFile, RoleEntry, RoleKind};
use super::process::{self, Pid};
use super::roles::kill_hard;
use crate::error::CliError;

/// What an executor is given for its drain: hooks, grace and kill of everything that it runs.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);
/// The same, and the end of the executor itself.
const DRAIN_BOUND: Duration = Duration::from_secs(70);
/// Covers a controller handing over its leadership.
const STOP_BOUND: Duration = Duration::from_secs(8);
/// How long an executor may take to find its workloads again.
const RECOVERY_BOUND: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Stops every role and everything that it runs.
pub(crate) async fn stop(dir: &Path) -> Result<(), CliError> {
    // Before the look at the file: whoever stops it already knows better than the file does.
    let _stopping = ClusterFile::lock_for_stop(dir).await?;
    if !ClusterFile::exists(dir) {
        return Ok(());
    }
    let mut file = ClusterFile::read(dir)?;
    if !file.stopped {
        resume_ended_executors(&mut file, dir).await?;
    }
    end_all(&file, RoleKind::Executor, DRAIN_BOUND).await?;
    end_all(&file, RoleKind::Controller, STOP_BOUND).await?;
    nothing_is_left(&file)?;
    if file.ephemeral {
        return fs::remove_dir_all(dir)
            .map_err(|error| CliError::failure(format!("cannot remove {}: {error}", dir.display())));
    }
    ClusterFile::update(dir, |file| {
        file.set_stopped();
        Ok(())
    })
}

/// What an executor could not end still needs its files: they are not removed under it.
fn nothing_is_left(file: &ClusterFile) -> Result<(), CliError> {
    for role in file.roles.iter().filter(|role| role.role == RoleKind::Executor) {
        let data = role.dir.join("data");
        if data.exists() && !data.join(DRAINED).exists() {
            return Err(CliError::failure(format!(
                "{} could not end all of its instances (see {}); 'muster dev stop' tries once more, and {} stays \
                 until then",
                role.id,
                role.log().display(),
                role.dir.display()
            )));
        }
    }
    Ok(())
}

/// An executor that was killed has left its workloads running, as it must. Nobody can stop them better
/// than itself: it is started once more, finds them, and drains like the others.
async fn resume_ended_executors(file: &mut ClusterFile, dir: &Path) -> Result<(), CliError> {
    let mut resumed = Vec::new();
    let ended: Vec<RoleEntry> = file
        .roles
        .iter()
        .filter(|role| role.role == RoleKind::Executor && role.process().is_none())
        .filter(|role| role.dir.join("data").exists())
        .cloned()
        .collect();
    for role in ended {
        let process = process::spawn(&role)?;
        file.set_process(&role.id, Some(process));
        file.write(dir)?;
        resumed.push((role, process));
    }
    for (role, process) in resumed {
        if !answers(&role.rest, process).await {
            eprintln!("{} did not come back: {}", role.id, process::last_words(&role.log()));
        }
    }
    Ok(())
}

/// Whether a role's API answers within its bound.
async fn answers(rest: &str, process: Pid) -> bool {
    let address = rest.trim_start_matches("http://");
    let deadline = Instant::now() + RECOVERY_BOUND;
    while process.is_alive() && Instant::now() < deadline {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return true;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    false
}

/// Tells all roles of a kind to end, and ends those that do not.
async fn end_all(file: &ClusterFile, kind: RoleKind, bound: Duration) -> Result<(), CliError> {
    let running: Vec<(&RoleEntry, Pid)> = file
        .roles
        .iter()
        .filter(|role| role.role == kind)
        .filter_map(|role| Some((role, role.process()?)))
        .collect();
    for (_, process) in &running {
        process.signal(Signal::TERM);
    }
    let deadline = Instant::now() + bound;
    for (role, process) in running {
        if !process.ended_within(deadline.saturating_duration_since(Instant::now())).await {
            eprintln!("{} did not end within {}s; it is killed", role.id, bound.as_secs());
            kill_hard(process).await?;
        }
    }
    Ok(())
}

/// Ends every role at once, without asking.
pub(crate) async fn kill_all(dir: &Path) -> Result<(), CliError> {
    for process in ClusterFile::read(dir)?.roles.iter().filter_map(RoleEntry::process) {
        kill_hard(process).await?;
    }
    Ok(())
}
