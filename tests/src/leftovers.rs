//! What an executor's process workloads leave when the test that started them fails.

use std::path::Path;
use std::time::{Duration, Instant};

use muster_common::id::InstanceId;
use rustix::process::{Pid, Signal, kill_process};

/// How long those who were killed may take to vanish.
const PATIENCE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(10);

/// Ends every process of the instances in a data directory, whose executor runs no more, and takes their control groups
/// away. After a test that passed there are none.
pub fn clear(data_dir: &Path) {
    let Ok(runs) = std::fs::read_dir(data_dir.join("run")) else { return };
    let deadline = Instant::now() + PATIENCE;
    for run in runs.flatten() {
        let Ok(instance) = InstanceId::new(run.file_name().to_string_lossy()) else { continue };
        // Who is killed may have started somebody just before.
        while Instant::now() < deadline && kill_all(&instance) {
            std::thread::sleep(INTERVAL);
        }
        remove_groups(&run.path().join("cgroup.json"), deadline);
    }
}

/// Whether there were any.
fn kill_all(instance: &InstanceId) -> bool {
    let pids = processes_of(instance);
    for pid in pids.iter().filter_map(|&pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
        // It may be gone by now.
        let _ = kill_process(pid, Signal::KILL);
    }
    !pids.is_empty()
}

fn remove_groups(list: &Path, deadline: Instant) {
    let Ok(text) = std::fs::read(list) else { return };
    let list: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    for place in list["places"].as_array().into_iter().flatten() {
        let dir = Path::new(place["dir"].as_str().unwrap_or_default());
        let remove = || {
            for below in ["muster-beside", "muster-workload"] {
                // It need not be there.
                let _ = std::fs::remove_dir(dir.join(below));
            }
            std::fs::remove_dir(dir)
        };
        // Those who were just killed leave it a moment later.
        while dir.is_dir() && remove().is_err() && Instant::now() < deadline {
            std::thread::sleep(INTERVAL);
        }
        // Others may have theirs beside it.
        let _ = dir.parent().map(std::fs::remove_dir);
    }
}

/// The processes that carry the instance's id in their environment or are named after it: the shim and all that it
/// started.
#[must_use]
pub fn processes_of(instance: &InstanceId) -> Vec<u32> {
    let mark = format!("MUSTER_INSTANCE_ID={instance}");
    let name = format!("muster-shim[{instance}]");
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let has = |file: &str, wanted: &str| {
                std::fs::read(format!("/proc/{pid}/{file}"))
                    .is_ok_and(|bytes| bytes.split(|&byte| byte == 0).any(|part| part == wanted.as_bytes()))
            };
            has("environ", &mark) || has("cmdline", &name)
        })
        .collect()
}
