//! What is in an instance's log directory.
//!
//! | file | written | holds |
//! |---|---|---|
//! | `output.log` | by the shim | the segment that is being written |
//! | `output.log.<number>` | by the shim, by renaming | a full one; the higher the number, the newer |
//! | `output.log.<number>.gz` | by the executor | the same, compressed |
//! | `output.state` | by the shim, in place | the number of the segment being written, the bytes lost so far, and where in the whole output the segment begins |
//! | `output.index` | by the shim | which byte was written when |
//! | `output.compress` | by the shim, empty | that full segments are to be compressed |
//! | `output.ended` | by the executor, empty | since when the instance is over; of a copy: nothing more will come |
//! | `output.copied` | by the executor, in place | of a container's log: up to which entry the engine's was copied |
//!
//! A container's log is written by the executor alone, in the shim's stead.
//!
//! The state has a fixed length and is overwritten in place, so that it can be written on a full disk too.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use muster_common::id::{InstanceId, ServiceId};

/// What the names of all files begin with.
const CURRENT: &str = "output.log";

/// For how long after it was brought up to date a copy is taken for one that still grows.
const COPY_IDLE: Duration = Duration::from_secs(3600);

/// The length of `output.state` in bytes: three numbers of twenty digits, each with a blank or line end behind it. One
/// of an earlier version has two.
const STATE_BYTES: u64 = 63;

/// One instance's log directory, which may not exist.
#[derive(Debug, Clone)]
pub(crate) struct LogDir(PathBuf);

/// What `output.state` says.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// The number of the segment that is being written.
    pub(super) segment: u64,
    /// Bytes of output that could not be written, ever.
    pub(super) lost_bytes: u64,
    /// Where the segment begins in all that was ever written; none where an earlier version did not count.
    pub(super) begin: Option<u64>,
}

impl State {
    /// Overwrites the file.
    pub(super) fn write(self, file: &File) -> io::Result<()> {
        let begin = self.begin.map_or_else(String::new, |begin| format!(" {begin:020}"));
        file.write_all_at(format!("{:020} {:020}{begin}\n", self.segment, self.lost_bytes).as_bytes(), 0)
    }

    fn parse(text: &str) -> Option<Self> {
        let (segment, rest) = text.trim_end().split_once(' ')?;
        let (lost_bytes, begin) = match rest.split_once(' ') {
            Some((lost_bytes, begin)) => (lost_bytes, Some(begin.parse().ok()?)),
            None => (rest, None),
        };
        Some(Self { segment: segment.parse().ok()?, lost_bytes: lost_bytes.parse().ok()?, begin })
    }
}

/// A full segment on the disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Full {
    /// Its number.
    pub(super) number: u64,
    /// Whether this file is the compressed one.
    pub(super) is_compressed: bool,
}

impl LogDir {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The log directory of an instance.
    pub(crate) fn of(data_dir: &Path, service: &ServiceId, instance: &InstanceId) -> Self {
        Self(data_dir.join("logs").join(service.as_str()).join(instance.as_str()))
    }

    /// The log directory of an instance whose service is not at hand.
    pub(crate) fn find(data_dir: &Path, instance: &InstanceId) -> io::Result<Option<Self>> {
        for service in none_if_gone(fs::read_dir(data_dir.join("logs")))?.into_iter().flatten() {
            let path = service?.path().join(instance.as_str());
            if path.is_dir() {
                return Ok(Some(Self(path)));
            }
        }
        Ok(None)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn current(&self) -> PathBuf {
        self.file(CURRENT)
    }

    pub(super) fn state_file(&self) -> PathBuf {
        self.file("output.state")
    }

    pub(super) fn index_file(&self) -> PathBuf {
        self.file("output.index")
    }

    pub(super) fn compress_mark(&self) -> PathBuf {
        self.file("output.compress")
    }

    pub(super) fn ended_mark(&self) -> PathBuf {
        self.file("output.ended")
    }

    pub(super) fn copied_file(&self) -> PathBuf {
        self.file("output.copied")
    }

    pub(super) fn full(&self, full: &Full) -> PathBuf {
        let ending = if full.is_compressed { ".gz" } else { "" };
        self.file(&format!("{CURRENT}.{}{ending}", full.number))
    }

    /// Whether it is a copy of a log that still grows, as far as can be told: not marked as complete, and brought up to
    /// date not long ago.
    pub(super) fn is_being_copied(&self, now: SystemTime) -> bool {
        // One from the future, by a clock that was set back, is young.
        let is_recent = |at: SystemTime| now.duration_since(at).unwrap_or_default() < COPY_IDLE;
        self.is_unfinished_copy() && self.copied_at().is_ok_and(is_recent)
    }

    /// Whether it is a copy to which the engine may still have something to add.
    pub(super) fn is_unfinished_copy(&self) -> bool {
        self.copied_file().exists() && !self.ended_mark().exists()
    }

    /// When it was brought up to date last.
    pub(super) fn copied_at(&self) -> io::Result<SystemTime> {
        fs::metadata(self.copied_file())?.modified()
    }

    /// Every full segment there is, the oldest first; one that is there in both forms stands there twice, the plain
    /// one first.
    pub(super) fn fulls(&self) -> io::Result<Vec<Full>> {
        let mut fulls = Vec::new();
        for entry in none_if_gone(fs::read_dir(&self.0))?.into_iter().flatten() {
            let name = entry?.file_name();
            let Some(rest) = name.to_str().and_then(|name| name.strip_prefix("output.log.")) else {
                continue;
            };
            let (number, is_compressed) = match rest.strip_suffix(".gz") {
                Some(number) => (number, true),
                None => (rest, false),
            };
            if let Ok(number) = number.parse() {
                fulls.push(Full { number, is_compressed });
            }
        }
        fulls.sort_unstable();
        Ok(fulls)
    }

    /// What the shim last wrote down; the beginning when it wrote nothing, or nothing legible.
    pub(super) fn state(&self) -> io::Result<State> {
        let mut text = String::new();
        let file = none_if_gone(File::open(self.state_file()))?;
        if let Some(file) = file
            && file.take(STATE_BYTES).read_to_string(&mut text).is_err()
        {
            text.clear();
        }
        Ok(State::parse(&text).unwrap_or_default())
    }

    /// The number of the segment that is being written. Right after a rotation the state may lag behind.
    pub(super) fn current_number(&self, fulls: &[Full]) -> io::Result<u64> {
        let after_full = fulls.last().map_or(1, |full| full.number.saturating_add(1));
        Ok(self.state()?.segment.max(after_full))
    }
}

/// A file that is not there is no error.
pub(super) fn none_if_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_always_the_same_length() {
        let dir = tempfile::tempdir().unwrap();
        let log = LogDir::new(dir.path().to_owned());
        assert_eq!(log.state().unwrap(), State::default());
        let file = File::create(log.state_file()).unwrap();
        let most = State { segment: u64::MAX, lost_bytes: u64::MAX, begin: Some(u64::MAX) };
        for state in [State { segment: 1, lost_bytes: 0, begin: Some(0) }, most] {
            state.write(&file).unwrap();
            assert_eq!((log.state().unwrap(), file.metadata().unwrap().len()), (state, STATE_BYTES));
        }
        fs::write(log.state_file(), "torn").unwrap();
        assert_eq!(log.state().unwrap(), State::default());
    }

    #[test]
    fn full_segments_are_told_from_other_files() {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["output.log", "output.log.10", "output.log.9.gz", "output.log.9", "output.log.8.gz.new", "x"]
        {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let log = LogDir::new(dir.path().to_owned());
        let fulls = log.fulls().unwrap();
        let names: Vec<_> = fulls.iter().map(|full| log.full(full)).collect();
        let wanted = ["output.log.9", "output.log.9.gz", "output.log.10"].map(|name| dir.path().join(name));
        assert_eq!((names, log.current_number(&fulls).unwrap()), (wanted.to_vec(), 11));
    }
}
