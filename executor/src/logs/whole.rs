//! A log as one: where each of its files lies in all that the instance ever wrote. Rotation moves nothing there, so a
//! byte keeps its offset, be it gone by now.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::time::SystemTime;

use super::files::{Full, LogDir, none_if_gone};
use super::reader::{LogPosition, LogReader};

/// How often a log is looked at again that was rotated meanwhile. Each time somebody else got on.
const ATTEMPTS: usize = 100;

/// What a compressed file's last bytes say: the length of what it holds, in four bytes (RFC 1952). Of a segment
/// of 4 GiB or more the rest of it; then older ones seem to begin later than they do.
const LENGTH_BYTES: i64 = 4;

/// A part of a log that is a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSegment {
    /// Its number; they grow from 1.
    pub number: u64,
    /// Where it begins in the whole output, in bytes.
    pub begin: u64,
    /// What it holds uncompressed, in bytes.
    pub bytes: u64,
    /// When it was last written.
    pub modified: SystemTime,
    /// Whether it is the one that is being written.
    pub is_current: bool,
}

impl LogSegment {
    /// Where the next one begins.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.begin.saturating_add(self.bytes)
    }
}

/// The files of a log, in their order; the one that is being written last. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSegments(Vec<LogSegment>);

impl LogSegments {
    /// The oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &LogSegment> {
        self.0.iter()
    }

    /// Where an offset in the whole output is. What is gone by now is at the beginning of what is left, what is not
    /// written yet at its end.
    #[must_use]
    pub fn place_of(&self, offset: u64) -> LogPosition {
        let holder = self.0.iter().find(|segment| offset < segment.end()).or(self.0.last());
        holder.map_or_else(LogPosition::default, |segment| LogPosition {
            segment: segment.number,
            offset: offset.saturating_sub(segment.begin).min(segment.bytes),
        })
    }

    /// Where a place is in the whole output; of one that is gone, where what is left begins.
    #[must_use]
    pub fn offset_of(&self, at: LogPosition) -> u64 {
        let holder = self.0.iter().find(|segment| segment.number >= at.segment);
        holder.map_or(0, |segment| {
            let within = if segment.number == at.segment { at.offset } else { 0 };
            segment.begin.saturating_add(within)
        })
    }
}

impl LogReader {
    /// Its files as they are now.
    pub fn segments(&self) -> io::Result<LogSegments> {
        segments(self.dir())
    }
}

/// The files of a log.
pub(super) fn segments(dir: &LogDir) -> io::Result<LogSegments> {
    for _ in 0..ATTEMPTS {
        let fulls = dir.fulls()?;
        let (state, current) = (dir.state()?, dir.current_number(&fulls)?);
        let mut segments = Vec::new();
        let mut numbers: Vec<u64> = fulls.iter().map(|full| full.number).collect();
        numbers.dedup();
        for number in numbers {
            // Gone: retention has just removed it.
            if let Some((bytes, modified)) = measure_full(dir, number)? {
                segments.push(LogSegment { number, begin: 0, bytes, modified, is_current: false });
            }
        }
        let written = none_if_gone(fs::metadata(dir.current()))?;
        if dir.current_number(&dir.fulls()?)? != current {
            continue;
        }
        let (bytes, modified) = match written {
            Some(written) => (written.len(), written.modified()?),
            None => (0, SystemTime::UNIX_EPOCH),
        };
        segments.push(LogSegment { number: current, begin: 0, bytes, modified, is_current: true });
        // Where the one begins that the state speaks of is written down; a log of an earlier version begins
        // with what is left of it.
        let before: u64 = segments.iter().filter(|one| one.number < state.segment).map(|one| one.bytes).sum();
        let mut begin = state.begin.map_or(0, |begin| begin.saturating_sub(before));
        for segment in &mut segments {
            segment.begin = begin;
            begin = segment.end();
        }
        return Ok(LogSegments(segments));
    }
    Err(io::Error::other(format!("{} is rotated faster than it can be read", dir.path().display())))
}

fn measure_full(dir: &LogDir, number: u64) -> io::Result<Option<(u64, SystemTime)>> {
    let open = |is_compressed| none_if_gone(File::open(dir.full(&Full { number, is_compressed })));
    if let Some(file) = open(false)? {
        let data = file.metadata()?;
        return Ok(Some((data.len(), data.modified()?)));
    }
    let Some(mut file) = open(true)? else { return Ok(None) };
    let mut length = [0; 4];
    // One that is too short to say it holds nothing that can be read either.
    if file.metadata()?.len() >= LENGTH_BYTES.unsigned_abs() {
        file.seek(SeekFrom::End(-LENGTH_BYTES))?;
        file.read_exact(&mut length)?;
    }
    Ok(Some((u64::from(u32::from_le_bytes(length)), file.metadata()?.modified()?)))
}

#[cfg(test)]
mod tests {
    use super::super::compress::compress;
    use super::super::rotation::Rotation;
    use super::super::writer::OutputLog;
    use super::*;

    #[test]
    fn a_byte_keeps_its_offset_through_rotation_compression_and_retention() {
        let dir = tempfile::tempdir().unwrap();
        let log_dir = LogDir::new(dir.path().to_owned());
        let rotation = Rotation { max_bytes: 20, max_files: 4, compress: true };
        let mut log = OutputLog::open(log_dir.clone(), rotation).unwrap();
        let reader = LogReader::new(log_dir.clone());
        let mut whole = Vec::new();
        for number in 0..100_usize {
            let line = format!("line {number}\n");
            log.append(line.as_bytes());
            whole.extend_from_slice(line.as_bytes());
            if number % 5 == 0 {
                for full in log_dir.fulls().unwrap().iter().filter(|full| !full.is_compressed) {
                    compress(&log_dir, full.number).unwrap();
                }
            }
            if number == 50 {
                // The next shim, or copier, goes on counting.
                log = OutputLog::open(log_dir.clone(), rotation).unwrap();
            }
            let segments = reader.segments().unwrap();
            let last = segments.iter().last().unwrap();
            assert_eq!((last.end(), last.is_current), (whole.len() as u64, true));
            for segment in segments.iter() {
                let at = segments.place_of(segment.begin + 1);
                assert_eq!((at.segment, segments.offset_of(at)), (segment.number, segment.begin + 1));
                let piece = reader.read(at, 1000).unwrap();
                let begin = usize::try_from(segment.begin).unwrap();
                let end = begin + usize::try_from(segment.bytes).unwrap();
                assert_eq!(piece.bytes, whole[begin + 1..end]);
            }
        }
        let segments = reader.segments().unwrap();
        let first = segments.iter().next().unwrap();
        assert!(first.begin > 0 && segments.iter().count() == 4);
        assert_eq!(segments.place_of(0), LogPosition { segment: first.number, offset: 0 });
        assert_eq!(segments.offset_of(LogPosition::default()), first.begin);
        let end = whole.len() as u64;
        assert_eq!(segments.offset_of(segments.place_of(end + 100)), end);
    }

    #[test]
    fn a_log_whose_state_does_not_say_where_it_began_begins_with_what_is_left() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("output.log.7", "seven\n"),
            ("output.log", "eight\n"),
            ("output.state", "00000000000000000008 00000000000000000000\n"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let log_dir = LogDir::new(dir.path().to_owned());
        let begins = || {
            let segments = segments(&log_dir).unwrap();
            segments.iter().map(|segment| (segment.number, segment.begin)).collect::<Vec<_>>()
        };
        assert_eq!(begins(), [(7, 0), (8, 6)]);
        let rotation = Rotation { max_bytes: 100, max_files: 2, compress: false };
        drop(OutputLog::open(log_dir.clone(), rotation).unwrap());
        fs::remove_file(dir.path().join("output.log.7")).unwrap();
        assert_eq!(begins(), [(8, 6)], "from then on it is written down");
    }
}
