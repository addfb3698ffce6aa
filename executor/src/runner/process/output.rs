//! `output.log`: everything that a workload writes, rotated by size, and its last bytes for evidence.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use muster_common::size::ByteSize;
use muster_common::spec::LoggingSpec;
use serde::{Deserialize, Serialize};

/// When a log is rotated and how much of it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rotation {
    /// The size in bytes that no file exceeds by more than one write.
    pub(super) max_bytes: u64,
    /// Files kept, `output.log` included; at least one.
    pub(super) max_files: u32,
}

impl Rotation {
    /// What a spec asks for, or in words why it cannot be had.
    pub(super) fn of(logging: Option<&LoggingSpec>) -> Result<Self, String> {
        match logging.cloned().unwrap_or_default() {
            LoggingSpec::Local { max_size, max_files, .. } => Ok(Self {
                max_bytes: max_size
                    .parse::<ByteSize>()
                    .map_err(|problem| problem.to_string())?
                    .as_bytes()
                    .max(1),
                max_files: max_files.max(1),
            }),
            LoggingSpec::Rsyslog { .. } => {
                Err("RSYSLOG needs a container; a PROCESS executable logs to files (LOCAL)".to_owned())
            }
        }
    }
}

/// The writing end. A full disk never holds up the workload: what cannot be written is counted, and
/// the count stands in the log once writing works again.
pub(super) struct OutputLog {
    dir: PathBuf,
    rotation: Rotation,
    file: Option<File>,
    size: u64,
    lost: u64,
}

impl OutputLog {
    pub(super) fn open(dir: &Path, rotation: Rotation) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut log = Self { dir: dir.to_owned(), rotation, file: None, size: 0, lost: 0 };
        log.open_file()?;
        Ok(log)
    }

    /// Takes a piece of output.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        if self.try_append(bytes).is_err() {
            self.lost += bytes.len() as u64;
            // Opened anew at the next piece: the file may have been taken away by hand.
            self.file = None;
        }
    }

    fn try_append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.size > 0 && self.size + bytes.len() as u64 > self.rotation.max_bytes {
            self.rotate()?;
        }
        if self.file.is_none() {
            self.open_file()?;
        }
        if self.lost > 0 {
            let note = format!("\n[{} bytes of output could not be written here]\n", self.lost);
            self.write(note.as_bytes())?;
            self.lost = 0;
        }
        self.write(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Err(io::Error::other("the log is not open")) };
        file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn open_file(&mut self) -> io::Result<()> {
        let file = File::options().create(true).append(true).open(name(&self.dir, 0))?;
        self.size = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        for number in (1..self.rotation.max_files).rev() {
            match fs::rename(name(&self.dir, number - 1), name(&self.dir, number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.rotation.max_files <= 1 {
            File::create(name(&self.dir, 0))?;
        }
        self.open_file()
    }
}

/// The last `max_bytes` of what was written, over as many files as it takes.
pub(super) fn tail(dir: &Path, max_bytes: usize) -> io::Result<String> {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    let mut wanted = max_bytes as u64;
    for number in 0.. {
        let mut file = match File::open(name(dir, number)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(wanted)))?;
        let mut piece = Vec::new();
        file.take(wanted).read_to_end(&mut piece)?;
        wanted = wanted.saturating_sub(piece.len() as u64);
        pieces.push(piece);
        if wanted == 0 {
            break;
        }
    }
    pieces.reverse();
    Ok(String::from_utf8_lossy(&pieces.concat()).into_owned())
}

fn name(dir: &Path, number: u32) -> PathBuf {
    if number == 0 { dir.join("output.log") } else { dir.join(format!("output.log.{number}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_keeps_the_newest_files_and_the_tail_crosses_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = OutputLog::open(dir.path(), Rotation { max_bytes: 10, max_files: 3 }).unwrap();
        for number in 0..8 {
            log.append(format!("line {number}\n").as_bytes());
        }
        let mut files: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(files, ["output.log", "output.log.1", "output.log.2"]);
        assert_eq!(tail(dir.path(), 1024).unwrap(), "line 5\nline 6\nline 7\n");
        assert_eq!(tail(dir.path(), 10).unwrap(), " 6\nline 7\n");
        assert_eq!(tail(&dir.path().join("none"), 10).unwrap(), "");
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs");
        let mut log = OutputLog::open(&logs, Rotation { max_bytes: 4, max_files: 2 }).unwrap();
        log.append(b"1234");
        fs::remove_dir_all(&logs).unwrap();
        log.append(b"567");
        fs::create_dir(&logs).unwrap();
        log.append(b"8");
        assert_eq!(tail(&logs, 100).unwrap(), "\n[3 bytes of output could not be written here]\n8");
    }
}
