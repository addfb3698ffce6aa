//! One role at a time: end it, start it again, see that it has ended.

use std::path::Path;
use std::time::Duration;

use muster_common::exit::Exit;
use rustix::process::Signal;

use super::cluster_file::ClusterFile;
use super::process::{self, Pid};
use crate::error::CliError;

/// The kernel needs a moment to end a process even with SIGKILL.
const KILL_BOUND: Duration = Duration::from_secs(5);

/// `muster dev kill ID`.
pub(crate) async fn kill(dir: &Path, id: &str) -> Result<(), CliError> {
    let file = ClusterFile::read(dir)?;
    let Some(process) = file.role(id)?.process() else {
        return Err(CliError::new(
            Exit::Conflict,
            format!("{id} does not run; 'muster dev start {id} --dir {}' starts it", dir.display()),
        ));
    };
    kill_hard(process).await?;
    ClusterFile::update(dir, |file| {
        file.set_process(id, None);
        Ok(())
    })?;
    println!("{id} (pid {}) was killed", process.pid);
    Ok(())
}

/// `muster dev start ID`.
pub(crate) fn restart(dir: &Path, id: &str) -> Result<(), CliError> {
    let process = ClusterFile::update(dir, |file| {
        let role = file.role(id)?;
        if let Some(process) = role.process() {
            return Err(CliError::new(Exit::Conflict, format!("{id} runs already (pid {})", process.pid)));
        }
        let process = process::spawn(role)?;
        file.set_process(id, Some(process));
        Ok(process)
    })?;
    println!("{id} started (pid {})", process.pid);
    Ok(())
}

/// Ends a process with SIGKILL and waits until it has.
pub(crate) async fn kill_hard(process: Pid) -> Result<(), CliError> {
    process.signal(Signal::KILL);
    if process.ended_within(KILL_BOUND).await {
        return Ok(());
    }
    Err(CliError::new(
        Exit::Timeout,
        format!("process {} does not end within {}s of SIGKILL", process.pid, KILL_BOUND.as_secs()),
    ))
}
