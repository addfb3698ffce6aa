//! `output.index`: which byte was written when. The output itself is kept as it came, without times.
//!
//! One line each: `<segment> <offset> <milliseconds since 1970>`; everything from there on was written at that time
//! or later. A line that cannot be read is passed over.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::files::{LogDir, none_if_gone};
use super::reader::LogPosition;

/// How exact a time is while much is written.
const FINE: Duration = Duration::from_secs(1);

/// How exact it is otherwise: so that the index of a service that writes a word a second stays small.
const COARSE: Duration = Duration::from_secs(10);

/// How many bytes are much.
const MUCH_BYTES: u64 = 4096;

/// No more of an index is written or read, in bytes: two weeks of a line every ten seconds, or a day of one every
/// second. Beyond it, times are less exact until a segment is dropped.
const MAX_BYTES: u64 = 4 << 20;

/// Where a moment is in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) at: LogPosition,
    pub(super) unix_ms: u64,
}

impl Moment {
    fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.split(' ').map(str::parse);
        let mut next = || numbers.next()?.ok();
        let at = LogPosition { segment: next()?, offset: next()? };
        Some(Self { at, unix_ms: next()? })
    }

    fn line(self) -> String {
        format!("{} {} {}\n", self.at.segment, self.at.offset, self.unix_ms)
    }
}

/// The writing end.
#[derive(Debug)]
pub(super) struct IndexWriter {
    last: Option<Moment>,
}

impl IndexWriter {
    pub(super) fn new() -> Self {
        Self { last: None }
    }

    /// Notes that something is about to be written at `at`. The index is a help only: one that cannot be written
    /// makes reading since a time less exact.
    pub(super) fn note(&mut self, dir: &LogDir, at: LogPosition, now: SystemTime) {
        let moment = Moment { at, unix_ms: unix_ms(now) };
        if !is_due(self.last, moment) {
            return;
        }
        self.last = Some(moment);
        let file = File::options().create(true).append(true).open(dir.index_file());
        let _ = file.and_then(|mut file| {
            let is_full = file.metadata()?.len() >= MAX_BYTES;
            if is_full { Ok(()) } else { file.write_all(moment.line().as_bytes()) }
        });
    }

    /// Forgets what is before the oldest segment that is kept.
    pub(super) fn prune(dir: &LogDir, oldest: u64) {
        let Ok(moments) = read(&dir.index_file()) else { return };
        let kept: String =
            moments.into_iter().filter(|moment| moment.at.segment >= oldest).map(Moment::line).collect();
        let fresh = dir.file("output.index.new");
        let _ = fs::write(&fresh, kept).and_then(|()| fs::rename(&fresh, dir.index_file()));
    }
}

fn is_due(last: Option<Moment>, now: Moment) -> bool {
    let Some(last) = last else { return true };
    if last.at.segment != now.at.segment || now.unix_ms < last.unix_ms {
        return true;
    }
    let passed = Duration::from_millis(now.unix_ms - last.unix_ms);
    passed >= COARSE || passed >= FINE && now.at.offset.saturating_sub(last.at.offset) >= MUCH_BYTES
}

/// Milliseconds since 1970, as a person's clock says.
pub(super) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Every moment that is legible, in the order of writing. None when there is no index.
pub(super) fn read(path: &Path) -> io::Result<Vec<Moment>> {
    let Some(file) = none_if_gone(File::open(path))? else { return Ok(Vec::new()) };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).lines().filter_map(Moment::parse).collect())
}

/// Where reading must begin so that nothing written at `unix_ms` or later is left out. `None`: at the beginning.
pub(super) fn begin(moments: &[Moment], unix_ms: u64) -> Option<LogPosition> {
    moments.iter().rfind(|moment| moment.unix_ms <= unix_ms).map(|moment| moment.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(segment: u64, offset: u64, unix_ms: u64) -> Moment {
        Moment { at: LogPosition { segment, offset }, unix_ms }
    }

    #[test]
    fn a_line_is_written_when_enough_time_and_bytes_have_passed() {
        let last = Some(moment(1, 0, 1_000));
        assert!(is_due(None, moment(1, 0, 0)));
        assert!(!is_due(last, moment(1, 100_000, 1_500)), "not more often than every second");
        assert!(is_due(last, moment(1, 5_000, 2_000)));
        assert!(!is_due(last, moment(1, 50, 2_000)));
        assert!(is_due(last, moment(1, 50, 11_000)));
        assert!(is_due(last, moment(2, 0, 1_001)), "a new segment");
        assert!(is_due(last, moment(1, 50, 500)), "the clock was set back");
    }

    #[test]
    fn an_index_stops_growing_where_nobody_reads_on() {
        let dir = tempfile::tempdir().unwrap();
        let log = LogDir::new(dir.path().to_owned());
        let at = LogPosition { segment: 1, offset: 0 };
        let note = || IndexWriter::new().note(&log, at, SystemTime::now());
        let size = || fs::metadata(log.index_file()).unwrap().len();
        note();
        assert!(size() > 0);
        File::options().write(true).open(log.index_file()).unwrap().set_len(MAX_BYTES).unwrap();
        note();
        assert_eq!(size(), MAX_BYTES);
    }

    #[test]
    fn reading_since_a_time_begins_before_it() {
        let moments = [moment(1, 0, 1_000), moment(1, 70, 2_000), moment(2, 0, 3_000)];
        let at = |ms| begin(&moments, ms).map(|at| (at.segment, at.offset));
        assert_eq!(
            [at(999), at(1_999), at(2_000), at(9_000)],
            [None, Some((1, 0)), Some((1, 70)), Some((2, 0))]
        );
    }

    #[test]
    fn what_is_illegible_is_passed_over_and_what_is_old_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let log = LogDir::new(dir.path().to_owned());
        fs::write(log.index_file(), "1 0 5\n1 x\n\u{1}\n2 0 6\n3 0").unwrap();
        assert_eq!(read(&log.index_file()).unwrap(), [moment(1, 0, 5), moment(2, 0, 6)]);
        IndexWriter::prune(&log, 2);
        assert_eq!(read(&log.index_file()).unwrap(), [moment(2, 0, 6)]);
    }
}
