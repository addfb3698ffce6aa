//! The writing end of a log. A full disk never holds up the workload: what cannot be written is counted at once in
//! `output.state`, and said in the log as soon as writing works again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::time::SystemTime;

use rustix::io::Errno;

use super::files::{LogDir, State};
use super::index::IndexWriter;
use super::reader::LogPosition;
use super::rotation::Rotation;
use super::whole;

/// How often making the directory is tried: the executor may be removing its parent, which it took for empty.
const OPEN_ATTEMPTS: usize = 3;

/// One instance's log, open for writing.
#[derive(Debug)]
pub(crate) struct OutputLog {
    dir: LogDir,
    rotation: Rotation,
    file: Option<File>,
    size: u64,
    state: State,
    state_file: File,
    index: IndexWriter,
    /// What has been lost and not been said in the log yet.
    unsaid: Option<Loss>,
    is_line_open: bool,
}

#[derive(Debug)]
struct Loss {
    bytes: u64,
    why: String,
}

impl OutputLog {
    pub(crate) fn open(dir: LogDir, rotation: Rotation) -> io::Result<Self> {
        let mut made = fs::create_dir_all(dir.path());
        for _ in 1..OPEN_ATTEMPTS {
            if made.is_err() {
                made = fs::create_dir_all(dir.path());
            }
        }
        made?;
        if rotation.compress {
            File::create(dir.compress_mark())?;
        }
        // A help only: a log is written also where this cannot be told.
        let begin = whole::segments(&dir).ok().and_then(|all| all.iter().last().map(|current| current.begin));
        let state = State { segment: dir.current_number(&dir.fulls()?)?, begin, ..dir.state()? };
        let state_file = File::options().create(true).write(true).truncate(false).open(dir.state_file())?;
        state.write(&state_file)?;
        let mut log = Self {
            dir,
            rotation,
            file: None,
            size: 0,
            state,
            state_file,
            index: IndexWriter::new(),
            unsaid: None,
            is_line_open: false,
        };
        log.open_file()?;
        Ok(log)
    }

    /// Takes a piece of output.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.append_at(bytes, SystemTime::now());
    }

    /// Takes a piece of output that was written at `time`.
    pub(super) fn append_at(&mut self, bytes: &[u8], time: SystemTime) {
        let mut written = 0;
        if let Err(error) = self.try_append(bytes, time, &mut written) {
            self.lose((bytes.len() - written) as u64, &error);
        }
    }

    /// The same, but what cannot be written is not lost: it will come again.
    pub(super) fn offer_at(&mut self, bytes: &[u8], time: SystemTime) -> io::Result<()> {
        let outcome = self.try_append(bytes, time, &mut 0);
        if outcome.is_err() {
            self.file = None;
        }
        outcome
    }

    /// Where the next piece begins.
    pub(super) fn end(&self) -> LogPosition {
        LogPosition { segment: self.state.segment, offset: self.size }
    }

    /// Bytes of output that could not be written, ever.
    pub(super) fn lost_bytes(&self) -> u64 {
        self.state.lost_bytes
    }

    /// Whether something was lost that the log does not say yet.
    pub(crate) fn has_unsaid_loss(&self) -> bool {
        self.unsaid.is_some()
    }

    /// Tries to say in the log what was lost.
    pub(crate) fn say_loss(&mut self) {
        if self.has_unsaid_loss() {
            self.append(&[]);
        }
    }

    fn lose(&mut self, bytes: u64, error: &io::Error) {
        let is_full = matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT));
        let why = if is_full { "disk full".to_owned() } else { error.to_string() };
        let before = self.unsaid.take().map_or(0, |loss| loss.bytes);
        self.unsaid = Some(Loss { bytes: before + bytes, why });
        self.state.lost_bytes = self.state.lost_bytes.saturating_add(bytes);
        // It has its place on the disk; on one that is broken there is nothing left to do.
        let _ = self.state.write(&self.state_file);
        // Opened anew at the next piece: the file may have been taken away by hand.
        self.file = None;
    }

    /// Counts in `written` what was written even when not all of it could be.
    fn try_append(&mut self, bytes: &[u8], time: SystemTime, written: &mut usize) -> io::Result<()> {
        loop {
            if self.file.is_none() {
                self.open_file()?;
            }
            let rest = &bytes[*written..];
            let fits = fitting(rest, self.size, self.rotation.max_bytes);
            if fits == 0 && !rest.is_empty() {
                self.rotate()?;
                continue;
            }
            self.index.note(&self.dir, self.end(), time);
            if let Some(loss) = &self.unsaid {
                let start = if self.is_line_open { "\n" } else { "" };
                let note = format!("{start}muster: {} bytes of output were lost: {}\n", loss.bytes, loss.why);
                self.write(note.as_bytes(), &mut 0)?;
                self.unsaid = None;
            }
            self.write(&rest[..fits], written)?;
            if *written == bytes.len() {
                return Ok(());
            }
        }
    }

    fn write(&mut self, mut bytes: &[u8], written: &mut usize) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Err(io::Error::other("the log is not open")) };
        while !bytes.is_empty() {
            match file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    *written += count;
                    self.size += count as u64;
                    self.is_line_open = bytes[count - 1] != b'\n';
                    bytes = &bytes[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn open_file(&mut self) -> io::Result<()> {
        let file = File::options().create(true).append(true).open(self.dir.current())?;
        self.size = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    /// The order matters to readers: the number is given away before the next segment begins, and is known from
    /// elsewhere before the file that bears it is removed.
    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        let full = super::files::Full { number: self.state.segment, is_compressed: false };
        match fs::rename(self.dir.current(), self.dir.full(&full)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.state.segment += 1;
        self.state.begin = self.state.begin.map(|begin| begin.saturating_add(self.size));
        self.size = 0;
        self.state.write(&self.state_file)?;
        let opened = self.open_file();
        // Also when it could not be opened: this is what makes room.
        for full in self.dir.fulls()? {
            if !self.rotation.keeps(full.number, self.state.segment) {
                // Gone already: as good.
                let _ = fs::remove_file(self.dir.full(&full));
            }
        }
        let oldest = (self.state.segment + 1).saturating_sub(u64::from(self.rotation.max_files));
        IndexWriter::prune(&self.dir, oldest);
        opened
    }
}

/// How much of a piece goes into a file of `size` bytes: all of it, or as many whole lines as there is room for. A line
/// that is longer than a file is cut. Zero: the next file.
fn fitting(piece: &[u8], size: u64, max_bytes: u64) -> usize {
    let room = usize::try_from(max_bytes.saturating_sub(size)).unwrap_or(usize::MAX);
    if piece.len() <= room {
        return piece.len();
    }
    match piece[..room].iter().rposition(|&byte| byte == b'\n') {
        Some(end) => end + 1,
        None if size == 0 => room,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::reader::LogReader;
    use super::*;

    fn open(dir: &Path, max_bytes: u64, max_files: u32) -> OutputLog {
        let rotation = Rotation { max_bytes, max_files, compress: false };
        OutputLog::open(LogDir::new(dir.to_owned()), rotation).unwrap()
    }

    fn tail(dir: &Path, max_bytes: usize) -> String {
        let reader = LogReader::new(LogDir::new(dir.to_owned()));
        String::from_utf8(reader.tail(usize::MAX, max_bytes).unwrap().bytes).unwrap()
    }

    fn logs(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.starts_with("output.log")).collect();
        names.sort();
        names
    }

    #[test]
    fn rotation_keeps_the_newest_files_and_the_tail_crosses_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), 10, 3);
        for number in 0..8 {
            log.append(format!("line {number}\n").as_bytes());
        }
        assert_eq!(logs(dir.path()), ["output.log", "output.log.6", "output.log.7"]);
        assert_eq!(tail(dir.path(), 1024), "line 5\nline 6\nline 7\n");
        assert_eq!(tail(dir.path(), 10), " 6\nline 7\n");
        assert_eq!(tail(&dir.path().join("none"), 10), "");
        drop(log);
        open(dir.path(), 10, 3).append(b"opened\n");
        assert_eq!(logs(dir.path()), ["output.log", "output.log.7", "output.log.8"]);
    }

    #[test]
    fn no_file_is_larger_than_it_may_be_and_lines_stay_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), 10, 100);
        log.append(b"one\ntwo\nthree\nfour\nmuch too long for a file\nend\n");
        let files: Vec<String> = logs(dir.path())
            .iter()
            .skip(1)
            .chain(["output.log".to_owned()].iter())
            .map(|name| fs::read_to_string(dir.path().join(name)).unwrap())
            .collect();
        assert_eq!(files, ["one\ntwo\n", "three\n", "four\n", "much too l", "ong for a ", "file\nend\n"]);
    }

    #[test]
    fn one_file_keeps_counting() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), 4, 1);
        for piece in [b"aaaa", b"bbbb", b"cccc"] {
            log.append(piece);
        }
        assert_eq!(
            (logs(dir.path()), tail(dir.path(), 100)),
            (vec!["output.log".to_owned()], "cccc".to_owned())
        );
        assert_eq!(log.dir.current_number(&[]).unwrap(), 3);
    }

    #[test]
    fn what_is_lost_is_counted_at_once_and_said_later() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), 1 << 20, 2);
        log.append(b"1234");
        let current = log.dir.current();
        fs::rename(&current, dir.path().join("aside")).unwrap();
        // A device that is always full.
        std::os::unix::fs::symlink("/dev/full", &current).unwrap();
        log.file = None;
        log.append(b"567");
        log.append(b"89");
        assert_eq!(log.dir.state().unwrap().lost_bytes, 5);
        log.say_loss();
        assert!(log.has_unsaid_loss());
        fs::rename(dir.path().join("aside"), &current).unwrap();
        log.say_loss();
        log.append(b"more");
        assert_eq!(tail(dir.path(), 100), "1234\nmuster: 5 bytes of output were lost: disk full\nmore");
        assert_eq!(log.dir.state().unwrap().lost_bytes, 5, "the count stays");
        assert!(!log.has_unsaid_loss());
    }
}
