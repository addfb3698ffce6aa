//! The copy of a log that somebody else keeps, in the form in which processes' logs are kept: brought up to date as
//! often as somebody reads it, and completed when its instance has ended.
//!
//! `output.copied` says up to which entry it goes and where in the copy that is. It is written after what it speaks of.
//! Who was killed in between left more in the copy than it says; the entries are the same when they come again, so as
//! many bytes of them are passed over.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::anchor::{ANCHOR_BYTES, Anchor};
use super::bookmark::Bookmark;
use super::entries::Entries;
use super::files::{LogDir, none_if_gone};
use super::reader::LogReader;
use super::rotation::Rotation;
use super::writer::OutputLog;

/// What stands where entries are missing.
const GAP: &str = "muster: output is missing here: it was removed before it was copied\n";

/// What stands at the end of a copy that is not whole, before the reason.
const NOT_KEPT: &str = "muster: the rest of the output was not kept: ";

/// How often a copy that is removed while its lock is waited for is made anew.
const LOCK_ATTEMPTS: usize = 10;

/// The bytes that are read in one go.
const CHUNK_BYTES: usize = 64 << 10;

/// What becomes of entries that there is no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// They stay where they are, and come again.
    ComeAgain,
    /// They are lost, counted and said, as for processes: nobody keeps them much longer.
    Lost,
}

/// A copy, open for writing, by one at a time. Blocks on the disk.
#[derive(Debug)]
pub(crate) struct LogCopy {
    dir: LogDir,
    log: OutputLog,
    /// `output.copied`, locked.
    file: File,
    bookmark: Bookmark,
    /// How many bytes of the next entries are in the copy already.
    repeated: u64,
    tail: VecDeque<u8>,
    tail_bytes: usize,
}

impl LogCopy {
    /// Opens the copy in `dir`, of whose end `tail_bytes` are asked for; waits until nobody else writes it.
    pub(crate) fn open(dir: LogDir, rotation: Rotation, tail_bytes: usize) -> io::Result<Self> {
        for _ in 0..LOCK_ATTEMPTS {
            let file = anchor_file(&dir)?;
            flock(&file, FlockOperation::LockExclusive)?;
            if is_in_place(&file, &dir)? {
                return Self::in_file(file, dir, rotation, tail_bytes);
            }
        }
        Err(io::Error::other("it is removed again and again"))
    }

    /// The same, unless somebody else is writing it.
    pub(crate) fn try_open(dir: LogDir, rotation: Rotation) -> io::Result<Option<Self>> {
        let file = anchor_file(&dir)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Ok(None),
            locked => {
                locked?;
                if is_in_place(&file, &dir)? {
                    Self::in_file(file, dir, rotation, 0).map(Some)
                } else {
                    Ok(None)
                }
            }
        }
    }

    fn in_file(file: File, dir: LogDir, rotation: Rotation, tail_bytes: usize) -> io::Result<Self> {
        let mut text = String::new();
        // One that is illegible stands for none: then everything is copied again.
        let read = (&file).take(ANCHOR_BYTES).read_to_string(&mut text);
        let anchor = read.ok().and_then(|_| Anchor::parse(&text));
        let reader = LogReader::new(dir.clone());
        let mut log = OutputLog::open(dir.clone(), rotation)?;
        // After a power cut it may speak of what never reached the disk. Then nothing it says holds, and everything is
        // copied again.
        let is_torn = anchor.is_some_and(|anchor| anchor.at > log.end());
        let anchor = anchor.filter(|_| !is_torn);
        if is_torn {
            say(&mut log, &reader, GAP)?;
        }
        let repeated = match anchor {
            Some(anchor) => beyond(&reader, anchor)?,
            None => 0,
        };
        let tail = if tail_bytes > 0 { reader.tail(usize::MAX, tail_bytes)?.bytes } else { Vec::new() };
        let bookmark = anchor.unwrap_or_default().bookmark;
        let copy = Self { dir, log, file, bookmark, repeated, tail: tail.into(), tail_bytes };
        copy.write_anchor()?;
        Ok(copy)
    }

    /// Which entry was copied last.
    pub(crate) fn bookmark(&self) -> Bookmark {
        self.bookmark
    }

    /// How many bytes there was no room for, ever.
    pub(crate) fn lost_bytes(&self) -> u64 {
        self.log.lost_bytes()
    }

    /// Takes the next entries. After an error the copy has to be opened again.
    pub(crate) fn append(&mut self, entries: &Entries, no_room: NoRoom) -> io::Result<()> {
        if entries.is_after_gap() {
            self.repeated = 0;
            say(&mut self.log, &LogReader::new(self.dir.clone()), GAP)?;
        }
        for (time, piece) in entries.pieces() {
            let known = usize::try_from(self.repeated).unwrap_or(usize::MAX).min(piece.len());
            self.repeated -= known as u64;
            let fresh = &piece[known..];
            if !fresh.is_empty() {
                // It was not over after all.
                none_if_gone(fs::remove_file(self.dir.ended_mark()))?;
            }
            let time = UNIX_EPOCH + Duration::from_nanos(time);
            match no_room {
                NoRoom::ComeAgain => self.log.offer_at(fresh, time)?,
                NoRoom::Lost => self.log.append_at(fresh, time),
            }
            self.tail.extend(fresh);
            self.tail.drain(..self.tail.len().saturating_sub(self.tail_bytes));
        }
        self.bookmark = entries.bookmark();
        self.write_anchor()
    }

    /// As far as it goes for now.
    pub(crate) fn pause(mut self) -> io::Result<()> {
        self.log.say_loss();
        self.write_anchor()
    }

    /// The log is whole, its instance over: from now on it is kept for as long as those of processes that ended.
    /// Answers with its end.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.log.say_loss();
        // On a full disk there may be no mark; then it is among the first to go.
        let _ = File::create(self.dir.ended_mark());
        self.tail.into()
    }

    /// The instance is over, and the rest of its log cannot be had: said at the end of what there is, unless it ended
    /// before and is whole. Whether that had to be said.
    pub(crate) fn give_up(mut self, why: &str) -> io::Result<bool> {
        if self.dir.ended_mark().try_exists()? {
            return Ok(false);
        }
        say(&mut self.log, &LogReader::new(self.dir.clone()), &format!("{NOT_KEPT}{why}\n"))?;
        self.finish();
        Ok(true)
    }

    /// Overwrites the file in its place, which a full disk allows. Not before what was copied already has come again.
    fn write_anchor(&self) -> io::Result<()> {
        if self.repeated > 0 {
            return Ok(());
        }
        let anchor =
            Anchor { bookmark: self.bookmark, at: self.log.end(), lost_bytes: self.log.lost_bytes() };
        self.file.write_all_at(anchor.line().as_bytes(), 0)
    }
}

/// Logs hold secrets: nobody else looks into their directories.
fn anchor_file(dir: &LogDir) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir.path())?;
    File::options().create(true).read(true).write(true).truncate(false).open(dir.copied_file())
}

/// Writes what is no output on a line of its own.
fn say(log: &mut OutputLog, reader: &LogReader, line: &str) -> io::Result<()> {
    let last = reader.tail(usize::MAX, 1)?.bytes;
    let start = if matches!(last[..], [] | [b'\n']) { "" } else { "\n" };
    log.append(format!("{start}{line}").as_bytes());
    Ok(())
}

/// Whether a file that was locked is still the one that others will lock: the sweep may have removed it before.
fn is_in_place(file: &File, dir: &LogDir) -> io::Result<bool> {
    let Some(present) = none_if_gone(fs::metadata(dir.copied_file()))? else { return Ok(false) };
    let locked = file.metadata()?;
    Ok((present.dev(), present.ino()) == (locked.dev(), locked.ino()))
}

/// Removes the files of a copy, unless somebody is writing it; or those of another log. Whether they are gone.
pub(super) fn remove(dir: &LogDir) -> io::Result<bool> {
    let lock = none_if_gone(File::open(dir.copied_file()))?;
    if let Some(lock) = &lock {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(false),
            locked => locked?,
        }
    }
    fs::remove_dir_all(dir.path())?;
    Ok(true)
}

/// How many bytes went into the copy, or were lost, after its anchor was written. Where rotation took the anchor's
/// place away that cannot be told, and nothing is passed over.
fn beyond(reader: &LogReader, anchor: Anchor) -> io::Result<u64> {
    let mut at = anchor.at;
    let mut count = reader.lost_bytes()?.saturating_sub(anchor.lost_bytes);
    loop {
        let piece = reader.read(at, CHUNK_BYTES)?;
        if piece.is_after_gap {
            return Ok(0);
        }
        if piece.bytes.is_empty() {
            return Ok(count);
        }
        count += piece.bytes.len() as u64;
        at = piece.next;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::bookmark::{Seek, Step};
    use super::*;

    const ROTATION: Rotation = Rotation { max_bytes: 40, max_files: 100, compress: false };

    fn open(dir: &Path) -> LogCopy {
        LogCopy::open(LogDir::new(dir.to_owned()), ROTATION, 16).unwrap()
    }

    /// The log that is copied: the time of an entry, and its text.
    fn entry(number: u64) -> (u64, String) {
        (1_000_000_000_000 + number / 3, format!("line {number}\n"))
    }

    /// The next entries, up to `end`.
    fn next(copy: &LogCopy, end: u64) -> Entries {
        let mut seek = Seek::new(copy.bookmark(), true);
        let mut entries = Entries::after(copy.bookmark());
        for (time, text) in (0..end).map(entry) {
            if seek.next(time) == Step::Take {
                entries.push(time, text.as_bytes());
            }
        }
        entries
    }

    fn append(copy: &mut LogCopy, end: u64) {
        let entries = next(copy, end);
        copy.append(&entries, NoRoom::Lost).unwrap();
    }

    fn all(dir: &Path) -> String {
        let reader = LogReader::new(LogDir::new(dir.to_owned()));
        String::from_utf8(reader.tail(usize::MAX, 1 << 20).unwrap().bytes).unwrap()
    }

    fn lines(end: u64) -> String {
        (0..end).map(|number| entry(number).1).collect()
    }

    #[test]
    fn a_copy_is_continued_where_it_was_left() {
        let dir = tempfile::tempdir().unwrap();
        for end in [0, 4, 5, 17, 17, 40] {
            let mut copy = open(dir.path());
            let entries = next(&copy, end);
            copy.append(&entries, NoRoom::Lost).unwrap();
            copy.pause().unwrap();
            assert_eq!(all(dir.path()), lines(end));
        }
        let log = LogDir::new(dir.path().to_owned());
        assert!(!log.ended_mark().exists());
        assert_eq!(open(dir.path()).finish(), b"line 38\nline 39\n");
        assert!(log.ended_mark().exists());
    }

    #[test]
    fn a_copy_that_ended_is_so_until_something_new_comes() {
        let dir = tempfile::tempdir().unwrap();
        let mark = LogDir::new(dir.path().to_owned()).ended_mark();
        let mut copy = open(dir.path());
        append(&mut copy, 3);
        copy.finish();
        // Somebody who reads it had begun before it ended.
        let mut copy = open(dir.path());
        append(&mut copy, 3);
        copy.pause().unwrap();
        assert!(mark.exists());
        let mut copy = open(dir.path());
        append(&mut copy, 4);
        assert!(!mark.exists());
    }

    #[test]
    fn entries_without_text_are_passed_and_add_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut copy = open(dir.path());
        append(&mut copy, 3);
        copy.finish();
        let mark = LogDir::new(dir.path().to_owned()).ended_mark();
        let mut copy = open(dir.path());
        let before = copy.bookmark();
        copy.append(&Entries::after(before), NoRoom::ComeAgain).unwrap();
        assert_eq!(copy.bookmark(), before, "none at all");
        let mut entries = Entries::after(before);
        entries.push(2_000_000_000_000, b"");
        copy.append(&entries, NoRoom::ComeAgain).unwrap();
        assert_ne!(copy.bookmark(), before);
        copy.pause().unwrap();
        assert!(mark.exists(), "nothing was added to what had ended");
        let mut copy = open(dir.path());
        let mut entries = Entries::after(copy.bookmark());
        entries.push(2_000_000_000_001, b"more\n");
        copy.append(&entries, NoRoom::ComeAgain).unwrap();
        assert_eq!(all(dir.path()), format!("{}more\n", lines(3)));
    }

    #[test]
    fn a_copy_that_is_not_whole_says_so_and_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let mut copy = open(dir.path());
        let mut entries = Entries::after(copy.bookmark());
        entries.push(1, b"half a li");
        copy.append(&entries, NoRoom::Lost).unwrap();
        copy.pause().unwrap();
        assert!(open(dir.path()).give_up("it is gone").unwrap());
        assert!(!open(dir.path()).give_up("it is gone again").unwrap());
        assert_eq!(all(dir.path()), format!("half a li\n{NOT_KEPT}it is gone\n"));
        assert!(LogDir::new(dir.path().to_owned()).ended_mark().exists());
    }

    #[test]
    fn what_a_killed_copy_left_is_neither_lost_nor_doubled() {
        for written in 0..60 {
            let dir = tempfile::tempdir().unwrap();
            let mut copy = open(dir.path());
            let entries = next(&copy, 5);
            copy.append(&entries, NoRoom::Lost).unwrap();
            // Killed in the middle of the next piece: so much of it is there, and the anchor knows nothing of it.
            let rest = lines(20).split_off(lines(5).len());
            copy.log.append(&rest.as_bytes()[..written]);
            drop(copy);
            for end in [7, 20] {
                let mut copy = open(dir.path());
                let entries = next(&copy, end);
                copy.append(&entries, NoRoom::Lost).unwrap();
            }
            assert_eq!(all(dir.path()), lines(20), "{written}");
        }
    }

    #[test]
    fn what_a_full_disk_has_no_room_for_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut copy = open(dir.path());
        append(&mut copy, 2);
        // The file cannot be rotated: after some of it nothing more can be written.
        let in_the_way = dir.path().join("output.log.1");
        fs::create_dir_all(in_the_way.join("something")).unwrap();
        let entries = next(&copy, 9);
        copy.append(&entries, NoRoom::ComeAgain).unwrap_err();
        drop(copy);
        fs::remove_dir_all(in_the_way).unwrap();
        assert!(all(dir.path()).len() > lines(2).len());
        let mut copy = open(dir.path());
        append(&mut copy, 9);
        assert_eq!((all(dir.path()), copy.log.lost_bytes()), (lines(9), 0));
    }

    #[test]
    fn a_copy_that_is_shorter_than_was_written_down_is_made_anew_after_a_gap() {
        let dir = tempfile::tempdir().unwrap();
        let mut copy = open(dir.path());
        append(&mut copy, 4);
        let current = copy.dir.current();
        drop(copy);
        // The power was cut: the end of the file is gone.
        File::options().write(true).open(current).unwrap().set_len(10).unwrap();
        for end in [6, 7] {
            let mut copy = open(dir.path());
            append(&mut copy, end);
        }
        assert_eq!(all(dir.path()), format!("line 0\nlin\n{GAP}{}", lines(7)));
    }

    #[test]
    fn a_copy_that_is_being_written_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("copy");
        let copy = open(&path);
        let log = LogDir::new(path.clone());
        assert!(!remove(&log).unwrap() && path.exists());
        // Who waits for it meanwhile, and gets it when it is gone, makes it anew.
        let stale = File::open(log.copied_file()).unwrap();
        drop(copy);
        assert!(remove(&log).unwrap() && !path.exists());
        assert!(!is_in_place(&stale, &log).unwrap());
        append(&mut open(&path), 2);
        assert_eq!(all(&path), lines(2));
    }

    #[test]
    fn a_gap_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut copy = open(dir.path());
        let mut entries = next(&copy, 1);
        copy.append(&entries, NoRoom::Lost).unwrap();
        entries = Entries::after(copy.bookmark());
        entries.follow_gap();
        entries.push(7, entry(9).1.as_bytes());
        copy.append(&entries, NoRoom::Lost).unwrap();
        assert_eq!(all(dir.path()), format!("line 0\n{GAP}line 9\n"));
        let mut seek = Seek::new(copy.bookmark(), true);
        assert_eq!((seek.next(7), seek.next(8)), (Step::Skip, Step::Take), "also after a clock was set back");
    }

    #[test]
    fn one_writes_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let log = LogDir::new(dir.path().to_owned());
        let copy = open(dir.path());
        assert!(LogCopy::try_open(log.clone(), ROTATION).unwrap().is_none());
        drop(copy);
        assert!(LogCopy::try_open(log, ROTATION).unwrap().is_some());
    }
}
