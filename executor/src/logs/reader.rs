//! The reading end of a log: the last lines, since a time, and following it. Reads files only; whether anybody
//! writes them makes no difference. Blocks on the disk, [`LogFollower`] excepted.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, SystemTime};

use flate2::read::MultiGzDecoder;
use muster_common::id::InstanceId;
use serde::{Deserialize, Serialize};

use super::files::{Full, LogDir, none_if_gone};
use super::index;

/// How often a reader looks again when what it looked for was renamed meanwhile. Each time somebody else got on.
const ATTEMPTS: usize = 100;

/// How soon a follower looks again at a log in which there was nothing new. It looks, and is not woken by the kernel: a
/// look costs some 30 µs, which for a hundred followers is a few percent of a core, and logs that nobody follows cost
/// nothing. Inotify would wake each of them for every line of a busy log, gives a user few instances, may lose events, so
/// that somebody has to look all the same, and sees nothing of what an engine keeps. Nobody who reads along notices so
/// short a time.
pub(crate) const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

/// The bytes that are taken in one go.
const CHUNK_BYTES: usize = 64 << 10;

/// A place in a log. It stays the same place when files are rotated, compressed, or programs restarted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogPosition {
    /// The segment's number; they grow from 1.
    pub segment: u64,
    /// The offset in bytes in what the segment holds.
    pub offset: u64,
}

/// A piece of a log.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LogPiece {
    /// The output as it came. Empty: there is no more for now.
    pub bytes: Vec<u8>,
    /// Where the next piece begins.
    pub next: LogPosition,
    /// Whether something before this piece was asked for that is not there any more: retention has removed it, or the
    /// whole log was made anew.
    pub is_after_gap: bool,
    /// Why there may be more than could be read, in words: who keeps the log did not give the newest.
    pub trouble: Option<String>,
}

/// Reads one instance's log.
#[derive(Debug, Clone)]
pub struct LogReader(LogDir);

impl LogReader {
    pub(crate) fn new(dir: LogDir) -> Self {
        Self(dir)
    }

    pub(super) const fn dir(&self) -> &LogDir {
        &self.0
    }

    /// The log of an instance, below an executor's data directory; of a container that still runs, as much as was copied
    /// of it. `None` when there is none, or none any more.
    pub fn find(data_dir: &Path, instance: &InstanceId) -> io::Result<Option<Self>> {
        Ok(LogDir::find(data_dir, instance)?.map(Self))
    }

    /// The next piece from `at` on, at most `max_bytes`. Following is asking again with the piece's `next`.
    pub fn read(&self, at: LogPosition, max_bytes: usize) -> io::Result<LogPiece> {
        self.read_on(at, max_bytes, &mut None)
    }

    /// The same; what was being unpacked at `at` is read on, and left for the next call.
    fn read_on(
        &self,
        at: LogPosition,
        max_bytes: usize,
        open: &mut Option<Unpacking>,
    ) -> io::Result<LogPiece> {
        let mut piece = LogPiece { next: at, ..LogPiece::default() };
        for _ in 0..ATTEMPTS {
            let fulls = self.0.fulls()?;
            let current = self.0.current_number(&fulls)?;
            let at = piece.next;
            let oldest = || start_of(fulls.first().map_or(current, |full| full.number));
            if at.segment > current {
                // No such place was ever given by this log: it was lost and begun again.
                (piece.next, piece.is_after_gap) = (oldest(), true);
                continue;
            }
            if at.segment == current {
                let Some(file) = none_if_gone(File::open(self.0.current()))? else { return Ok(piece) };
                let is_beyond = file.metadata()?.len() < at.offset;
                // Only when the number is the same after as before is the opened file that segment.
                if self.0.current_number(&self.0.fulls()?)? == current {
                    if is_beyond {
                        (piece.next, piece.is_after_gap) = (oldest(), true);
                        continue;
                    }
                    piece.bytes = read_at(file, at.offset, max_bytes)?;
                    piece.next.offset += piece.bytes.len() as u64;
                    return Ok(piece);
                }
                continue;
            }
            match self.read_full(at, max_bytes, open)? {
                Some(bytes) if bytes.is_empty() => piece.next = start_of(at.segment + 1),
                Some(bytes) => {
                    piece.next.offset += bytes.len() as u64;
                    piece.bytes = bytes;
                    return Ok(piece);
                }
                None => {
                    let oldest = fulls.iter().map(|full| full.number).find(|&number| number > at.segment);
                    // Segment 0 never was: it stands for the beginning.
                    piece.is_after_gap |= at.segment > 0 || oldest.unwrap_or(current) > 1;
                    piece.next = start_of(oldest.unwrap_or(current));
                }
            }
        }
        Err(io::Error::other(format!("{} is rotated faster than it can be read", self.0.path().display())))
    }

    /// The last `lines` lines, as far as they are within the last `max_bytes`, and where following them begins.
    pub fn tail(&self, lines: usize, max_bytes: usize) -> io::Result<LogPiece> {
        for _ in 0..ATTEMPTS {
            let fulls = self.0.fulls()?;
            let current = self.0.current_number(&fulls)?;
            let mut kept = Vec::new();
            let mut end = 0;
            if let Some(mut file) = none_if_gone(File::open(self.0.current()))? {
                end = file.metadata()?.len();
                let begin = end.saturating_sub(max_bytes as u64);
                file.seek(SeekFrom::Start(begin))?;
                file.take(end - begin).read_to_end(&mut kept)?;
            }
            if self.0.current_number(&self.0.fulls()?)? != current {
                continue;
            }
            let mut numbers: Vec<u64> = fulls.iter().map(|full| full.number).collect();
            numbers.dedup();
            while kept.len() < max_bytes
                // As long as they begin no later than what is at hand.
                && lines > 0
                && last_lines(&kept, lines) == 0
                && let Some(number) = numbers.pop()
            {
                let older = self.full_tail(number, max_bytes - kept.len())?;
                kept.splice(0..0, older);
            }
            kept.drain(..last_lines(&kept, lines));
            let next = LogPosition { segment: current, offset: end };
            return Ok(LogPiece { bytes: kept, next, ..LogPiece::default() });
        }
        Err(io::Error::other(format!("{} is rotated faster than it can be read", self.0.path().display())))
    }

    /// Where to read from so that nothing written at `time` or later is left out. Begins up to ten seconds earlier.
    pub fn since(&self, time: SystemTime) -> io::Result<LogPosition> {
        let moments = index::read(&self.0.index_file())?;
        Ok(index::begin(&moments, index::unix_ms(time)).unwrap_or_default())
    }

    /// Whether nothing will be added to it any more, as far as is known by now; a log that is gone is over, too.
    pub fn is_over(&self) -> io::Result<bool> {
        Ok(self.0.ended_mark().try_exists()? || !self.0.path().try_exists()?)
    }

    /// Bytes of output that could not be written, ever.
    pub fn lost_bytes(&self) -> io::Result<u64> {
        Ok(self.0.state()?.lost_bytes)
    }

    /// `None`: retention has removed it.
    fn read_full(
        &self,
        at: LogPosition,
        max_bytes: usize,
        open: &mut Option<Unpacking>,
    ) -> io::Result<Option<Vec<u8>>> {
        let mut unpacking = match open.take().filter(|open| open.at == at) {
            Some(open) => open,
            None => match self.open_full(at.segment)? {
                None => return Ok(None),
                Some(Segment::Plain(file)) => return Ok(Some(read_at(file, at.offset, max_bytes)?)),
                Some(Segment::Compressed(decoder)) => Unpacking::begin(decoder, at)?,
            },
        };
        let bytes = unpacking.read(max_bytes)?;
        *open = Some(unpacking).filter(|_| !bytes.is_empty());
        Ok(Some(bytes))
    }

    fn full_tail(&self, number: u64, max_bytes: usize) -> io::Result<Vec<u8>> {
        match self.open_full(number)? {
            None => Ok(Vec::new()),
            Some(Segment::Plain(file)) => {
                let begin = file.metadata()?.len().saturating_sub(max_bytes as u64);
                read_at(file, begin, max_bytes)
            }
            Some(Segment::Compressed(decoder)) => last_bytes(*decoder, max_bytes),
        }
    }

    /// The plain file is removed only after the compressed one is complete, so one of the two is found, unless both
    /// are gone.
    fn open_full(&self, number: u64) -> io::Result<Option<Segment>> {
        let open = |is_compressed| none_if_gone(File::open(self.0.full(&Full { number, is_compressed })));
        if let Some(file) = open(false)? {
            return Ok(Some(Segment::Plain(file)));
        }
        Ok(open(true)?.map(|file| Segment::Compressed(Box::new(MultiGzDecoder::new(file)))))
    }
}

enum Segment {
    Plain(File),
    Compressed(Box<MultiGzDecoder<File>>),
}

/// A compressed segment, and how far it is unpacked: a place in it can only be reached from its beginning.
struct Unpacking {
    at: LogPosition,
    decoder: Box<MultiGzDecoder<File>>,
}

impl Unpacking {
    fn begin(mut decoder: Box<MultiGzDecoder<File>>, at: LogPosition) -> io::Result<Self> {
        io::copy(&mut decoder.by_ref().take(at.offset), &mut io::sink())?;
        Ok(Self { at, decoder })
    }

    fn read(&mut self, max_bytes: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.decoder.by_ref().take(max_bytes as u64).read_to_end(&mut bytes)?;
        self.at.offset += bytes.len() as u64;
        Ok(bytes)
    }
}

fn start_of(segment: u64) -> LogPosition {
    LogPosition { segment, offset: 0 }
}

fn read_at(mut file: File, offset: u64, max_bytes: usize) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(max_bytes as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn last_bytes(mut from: impl Read, max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut kept = VecDeque::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(kept.into()),
            count => kept.extend(&chunk[..count]),
        }
        kept.drain(..kept.len().saturating_sub(max_bytes));
    }
}

/// Where the last `lines` lines begin; a last line without an end counts.
fn last_lines(bytes: &[u8], lines: usize) -> usize {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    match lines.checked_sub(1) {
        None => bytes.len(),
        Some(skipped) => ends.nth(skipped).unwrap_or(0),
    }
}

/// Follows one log, from any position, for as long as it is asked.
pub struct LogFollower {
    reader: LogReader,
    next: LogPosition,
    /// What the next piece is read on from, if that is in a compressed segment.
    open: Option<Unpacking>,
}

impl LogFollower {
    /// Follows from a position on.
    #[must_use]
    pub fn new(reader: LogReader, from: LogPosition) -> Self {
        Self { reader, next: from, open: None }
    }

    /// Where the next piece begins: what to go on from after a restart.
    #[must_use]
    pub fn position(&self) -> LogPosition {
        self.next
    }

    /// Waits for the next piece. Dropping the future loses nothing. Needs a Tokio runtime.
    pub async fn next(&mut self) -> io::Result<LogPiece> {
        loop {
            if let Some(piece) = self.look().await? {
                return Ok(piece);
            }
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
    }

    /// The next piece, if there is one by now.
    pub(crate) async fn look(&mut self) -> io::Result<Option<LogPiece>> {
        // Who is dropped meanwhile begins the segment anew.
        let (reader, at, mut open) = (self.reader.clone(), self.next, self.open.take());
        let read = move || Ok::<_, io::Error>((reader.read_on(at, CHUNK_BYTES, &mut open)?, open));
        // The task itself fails only when the runtime is shutting down.
        let piece;
        (piece, self.open) = tokio::task::spawn_blocking(read).await??;
        if piece.bytes.is_empty() {
            return Ok(None);
        }
        self.next = piece.next;
        Ok(Some(piece))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::compress::compress;
    use super::super::rotation::Rotation;
    use super::super::writer::OutputLog;
    use super::*;

    fn log(dir: &Path, max_bytes: u64, max_files: u32) -> (OutputLog, LogReader) {
        let dir = LogDir::new(dir.to_owned());
        let rotation = Rotation { max_bytes, max_files, compress: true };
        (OutputLog::open(dir.clone(), rotation).unwrap(), LogReader::new(dir))
    }

    fn text(piece: &LogPiece) -> &str {
        std::str::from_utf8(&piece.bytes).unwrap()
    }

    #[test]
    fn a_reader_neither_loses_nor_repeats_a_byte() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, reader) = log(dir.path(), 50, 1000);
        let (mut written, mut seen) = (Vec::new(), Vec::new());
        let mut at = LogPosition::default();
        for number in 0..500_usize {
            let line = format!("line {number}\n");
            log.append(line.as_bytes());
            written.extend_from_slice(line.as_bytes());
            if number % 7 == 0 {
                // Full segments are compressed under the reader's hands.
                for full in reader.0.fulls().unwrap().iter().filter(|full| !full.is_compressed) {
                    compress(&reader.0, full.number).unwrap();
                }
            }
            if number % 3 == 0 {
                // Odd sizes end in the middle of segments.
                let piece = reader.read(at, 1 + number % 90).unwrap();
                assert!(!piece.is_after_gap);
                seen.extend_from_slice(&piece.bytes);
                at = piece.next;
            }
        }
        loop {
            let piece = reader.read(at, 64).unwrap();
            if piece.bytes.is_empty() {
                break;
            }
            seen.extend_from_slice(&piece.bytes);
            at = piece.next;
        }
        assert_eq!(String::from_utf8(seen).unwrap(), String::from_utf8(written).unwrap());
    }

    #[tokio::test]
    async fn who_follows_unpacks_nothing_twice() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = CHUNK_BYTES * 3;
        let (mut log, reader) = log(dir.path(), bytes as u64, 10);
        let lines = |from: usize| (from..).flat_map(|number| format!("line {number}\n").into_bytes());
        let written: Vec<u8> = lines(0).take(bytes).collect();
        log.append(&written);
        log.append(b"the next segment\n");
        compress(&reader.0, 1).unwrap();
        let mut follower = LogFollower::new(reader, LogPosition::default());
        let mut seen = follower.look().await.unwrap().unwrap().bytes;
        // Who began anew would find it gone, and say that there is a gap.
        fs::remove_file(dir.path().join("output.log.1.gz")).unwrap();
        while let Some(piece) = follower.look().await.unwrap() {
            assert!(!piece.is_after_gap);
            seen.extend(piece.bytes);
        }
        assert!(seen == [&written[..], &b"the next segment\n"[..]].concat(), "{} bytes", seen.len());
    }

    #[test]
    fn what_retention_removed_is_a_gap_and_said() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, reader) = log(dir.path(), 4, 2);
        log.append(b"aaaa");
        let first = reader.read(LogPosition::default(), 2).unwrap();
        assert_eq!((text(&first), first.is_after_gap), ("aa", false));
        for piece in [b"bbbb", b"cccc", b"dddd"] {
            log.append(piece);
        }
        let second = reader.read(first.next, 100).unwrap();
        assert_eq!((text(&second), second.is_after_gap), ("cccc", true));
        let third = reader.read(second.next, 100).unwrap();
        assert_eq!((text(&third), third.is_after_gap), ("dddd", false));
        assert!(reader.read(third.next, 100).unwrap().bytes.is_empty());
        assert!(reader.read(LogPosition::default(), 100).unwrap().is_after_gap);
    }

    #[test]
    fn a_place_that_is_not_in_the_log_is_a_gap_before_its_oldest() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, reader) = log(dir.path(), 4, 10);
        log.append(b"aaaa");
        log.append(b"bb");
        let end = reader.tail(1, 100).unwrap().next;
        assert!(!reader.read(end, 100).unwrap().is_after_gap, "its end is in it");
        for (segment, offset) in [(2, 3), (3, 0), (9, 100)] {
            let piece = reader.read(LogPosition { segment, offset }, 100).unwrap();
            assert_eq!((text(&piece), piece.is_after_gap), ("aaaa", true), "{segment} {offset}");
            let piece = reader.read(piece.next, 100).unwrap();
            assert_eq!((text(&piece), piece.is_after_gap), ("bb", false), "{segment} {offset}");
        }
    }

    #[test]
    fn the_last_lines_cross_segments_and_compression() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, reader) = log(dir.path(), 10, 10);
        for number in 0..8 {
            log.append(format!("line {number}\n").as_bytes());
        }
        compress(&reader.0, 6).unwrap();
        assert_eq!(text(&reader.tail(3, 1024).unwrap()), "line 5\nline 6\nline 7\n");
        assert_eq!(text(&reader.tail(1, 1024).unwrap()), "line 7\n");
        assert_eq!(text(&reader.tail(0, 1024).unwrap()), "");
        assert_eq!(text(&reader.tail(9, 10).unwrap()), " 6\nline 7\n");
        let end = reader.tail(1, 1024).unwrap().next;
        log.append(b"line 8\n");
        assert_eq!(text(&reader.read(end, 1024).unwrap()), "line 8\n");
    }

    #[test]
    fn reading_since_a_time_leaves_nothing_out() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, reader) = log(dir.path(), 10, 10);
        let before = SystemTime::now();
        log.append(b"first\n");
        log.append(b"second\n");
        let all = reader.since(before - Duration::from_secs(1)).unwrap();
        assert_eq!(text(&reader.read(all, 100).unwrap()), "first\n");
        let later = reader.since(SystemTime::now() + Duration::from_secs(60)).unwrap();
        assert_eq!(text(&reader.read(later, 100).unwrap()), "second\n");
    }

    #[test]
    fn a_damaged_segment_is_an_error_and_not_silence() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, reader) = log(dir.path(), 4, 10);
        log.append(b"aaaa");
        log.append(b"bbbb");
        compress(&reader.0, 1).unwrap();
        fs::write(dir.path().join("output.log.1.gz"), "not gzip").unwrap();
        assert!(reader.read(LogPosition::default(), 10).is_err());
    }
}
