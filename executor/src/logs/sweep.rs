//! What becomes of logs over time: full segments are compressed, and the logs of instances that are over are kept
//! for a time and up to a size, together. An instance is over when it has no run directory: that is made before its
//! log and removed when its workload is gone for good. The log of one that is not over is never removed. A container
//! has no run directory; the copy of its log is marked when it is complete. One that is not, and that nobody has read
//! for long, may go too: the engine has it all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use tokio_util::task::AbortOnDropHandle;

use super::files::{Full, LogDir, none_if_gone};

/// How often logs are looked after. Compression saves room, not time; a log may be larger for so long.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// The lowest priority: a sweep takes only time that nobody else wants.
const NICENESS: i32 = 19;

/// What is kept of logs of instances that are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retention {
    /// For how long.
    pub(crate) max_age: Duration,
    /// How much of all of them together, in bytes.
    pub(crate) max_total_bytes: u64,
}

/// The log of one that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ended {
    dir: PathBuf,
    at: SystemTime,
    bytes: u64,
}

/// Those that are to be removed: too old, or beyond what is kept, the newest being kept first.
fn expired(mut ended: Vec<Ended>, now: SystemTime, retention: Retention) -> Vec<PathBuf> {
    ended.sort_by(|one, other| other.at.cmp(&one.at).then_with(|| one.dir.cmp(&other.dir)));
    let mut total = 0_u64;
    ended.retain(|log| {
        // One from the future, by a clock that was set back, is young.
        let age = now.duration_since(log.at).unwrap_or_default();
        let with_it = total.saturating_add(log.bytes);
        let is_kept = age <= retention.max_age && with_it <= retention.max_total_bytes;
        // What goes takes no room from what is older and smaller.
        if is_kept {
            total = with_it;
        }
        !is_kept
    });
    ended.into_iter().map(|log| log.dir).collect()
}

/// Looks after the logs below a data directory for as long as the handle lives.
pub(crate) fn keep_swept(data_dir: PathBuf, retention: Retention) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut lost = BTreeMap::new();
        loop {
            let (done, finished) = tokio::sync::oneshot::channel();
            let (dir, mut known) = (data_dir.clone(), std::mem::take(&mut lost));
            // A thread of its own: the priority is the thread's, and it does not come back from it.
            let thread = std::thread::Builder::new().name("log-sweep".to_owned()).spawn(move || {
                let _ = rustix::process::setpriority_process(None, NICENESS);
                if let Err(error) = sweep(&dir, retention, SystemTime::now(), &mut known) {
                    tracing::warn!(%error, "the logs could not be looked after; trying again later");
                }
                let _ = done.send(known);
            });
            if let Err(error) = thread {
                tracing::warn!(%error, "no thread to look after the logs; trying again later");
            }
            lost = finished.await.unwrap_or_default();
            tokio::time::sleep(SWEEP_INTERVAL).await;
        }
    }))
}

/// Once through all logs. One sweep waits for another: a runner that was closed may still be at its last one.
/// `lost` is what was lost by the last look, for each log.
fn sweep(
    data_dir: &Path,
    retention: Retention,
    now: SystemTime,
    lost: &mut BTreeMap<PathBuf, u64>,
) -> io::Result<()> {
    let Some(logs) = none_if_gone(File::open(data_dir.join("logs")))? else { return Ok(()) };
    flock(&logs, FlockOperation::LockExclusive)?;
    let mut ended = Vec::new();
    let mut seen = BTreeMap::new();
    for path in directories(&data_dir.join("logs"))? {
        // Nobody's log: removed meanwhile.
        for path in directories(&path).unwrap_or_default() {
            let log = LogDir::new(path.clone());
            let runs = path.file_name().is_none_or(|name| data_dir.join("run").join(name).exists());
            if !runs && !log.is_being_copied(now) {
                ended.push(Ended { dir: path.clone(), at: ended_since(&log, now), bytes: size(&path) });
            }
            let bytes = log.state().map_or(0, |state| state.lost_bytes);
            count_lost(bytes.saturating_sub(lost.get(&path).copied().unwrap_or(0)));
            seen.insert(path, bytes);
        }
    }
    // First what makes room: compression needs some.
    for dir in expired(ended, now, retention) {
        match fs::remove_dir_all(&dir) {
            Ok(()) => tracing::debug!(path = %dir.display(), "removed an old log"),
            Err(error) => tracing::warn!(%error, path = %dir.display(), "an old log cannot be removed"),
        }
        seen.remove(&dir);
        // Logs of the service's other instances are still in it: the usual case.
        let _ = dir.parent().map(fs::remove_dir);
    }
    for path in seen.keys() {
        // One log that cannot be compressed does not keep the others from it.
        if let Err(error) = compress_full(&LogDir::new(path.clone())) {
            tracing::warn!(%error, path = %path.display(), "a log cannot be compressed; trying again later");
        }
    }
    *lost = seen;
    Ok(())
}

fn count_lost(bytes: u64) {
    metrics::counter!("muster_executor_log_lost_bytes_total").increment(bytes);
}

/// Compresses what is full, where the spec asks for it.
fn compress_full(log: &LogDir) -> io::Result<()> {
    if log.compress_mark().exists() {
        for Full { number, .. } in log.fulls()?.into_iter().filter(|full| !full.is_compressed) {
            super::compress::compress(log, number)?;
        }
    }
    Ok(())
}

/// The first sweep that finds it over leaves a mark: the last write may have been long before the end.
fn ended_since(log: &LogDir, now: SystemTime) -> SystemTime {
    let mark = log.ended_mark();
    let since = fs::metadata(&mark).and_then(|mark| mark.modified());
    // On a full disk there is no mark: then it ended just now, and only the total size counts.
    since.or_else(|_| File::create(&mark)?.metadata()?.modified()).unwrap_or(now)
}

fn directories(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// What the files of a log take together; what cannot be seen takes nothing.
fn size(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.map(|file| file.metadata().map_or(0, |data| data.len())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn log(data: &Path, instance: &str, bytes: usize) -> PathBuf {
        let dir = data.join("logs/web-1").join(instance);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("output.log"), vec![b'x'; bytes]).unwrap();
        dir
    }

    fn run(data: &Path, max_total_bytes: u64, now: SystemTime) {
        let retention = Retention { max_age: 7 * DAY, max_total_bytes };
        sweep(data, retention, now, &mut BTreeMap::new()).unwrap();
    }

    #[test]
    fn the_oldest_go_first_and_the_too_old_in_any_case() {
        let now = SystemTime::now();
        let ended = |name: &str, days: u32, bytes| Ended { dir: name.into(), at: now - days * DAY, bytes };
        let all = vec![ended("a", 8, 1), ended("b", 3, 50), ended("c", 2, 60), ended("d", 1, 40)];
        let retention = |max_total_bytes| Retention { max_age: 7 * DAY, max_total_bytes };
        assert_eq!(expired(all.clone(), now, retention(1000)), [PathBuf::from("a")]);
        assert_eq!(expired(all.clone(), now, retention(100)), ["b", "a"].map(PathBuf::from));
        assert_eq!(expired(all, now - 30 * DAY, retention(1000)), Vec::<PathBuf>::new());
    }

    #[test]
    fn one_that_is_too_large_takes_no_other_along() {
        let log = |name: &str, age: u32, bytes| Ended {
            dir: name.into(),
            at: SystemTime::UNIX_EPOCH + 100 * DAY - age * DAY,
            bytes,
        };
        let retention = Retention { max_age: 7 * DAY, max_total_bytes: 100 };
        let logs =
            vec![log("small", 2, 40), log("huge", 1, 500), log("medium", 3, 50), log("too much", 4, 20)];
        let gone = expired(logs, SystemTime::UNIX_EPOCH + 100 * DAY, retention);
        assert_eq!(gone, [PathBuf::from("huge"), PathBuf::from("too much")]);
    }

    #[test]
    fn only_logs_of_who_is_over_are_removed() {
        let data = tempfile::tempdir().unwrap();
        let (living, over) = (log(data.path(), "SI-1", 1000), log(data.path(), "SI-2", 1000));
        fs::create_dir_all(data.path().join("run/SI-1")).unwrap();
        let now = SystemTime::now();
        run(data.path(), 5000, now);
        assert!(living.exists() && over.exists() && !living.join("output.ended").exists());
        run(data.path(), 5000, now + 6 * DAY);
        assert!(over.exists());
        run(data.path(), 5000, now + 8 * DAY);
        assert!(living.exists() && !over.exists(), "too old");
        let over = log(data.path(), "SI-3", 1000);
        run(data.path(), 500, now);
        assert!(living.exists() && !over.exists(), "too large");
        fs::remove_dir_all(data.path().join("run/SI-1")).unwrap();
        run(data.path(), 500, now);
        assert!(!data.path().join("logs/web-1").exists(), "an empty directory of a service");
    }

    #[test]
    fn full_segments_are_compressed_where_that_is_asked() {
        let data = tempfile::tempdir().unwrap();
        let (asked, not_asked) = (log(data.path(), "SI-1", 10), log(data.path(), "SI-2", 10));
        for dir in [&asked, &not_asked] {
            fs::write(dir.join("output.log.1"), "full").unwrap();
        }
        fs::write(asked.join("output.compress"), "").unwrap();
        run(data.path(), 1 << 20, SystemTime::now());
        assert!(asked.join("output.log.1.gz").exists() && !asked.join("output.log.1").exists());
        assert!(!not_asked.join("output.log.1.gz").exists() && not_asked.join("output.log.1").exists());
        assert!(asked.join("output.log").exists(), "what is being written stays as it is");
    }
}
