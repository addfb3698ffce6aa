//! A disk in memory, for simulations: it outlives the member that uses it, and forgets what was not
//! synced when it is crashed.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// A disk that a simulated member can be crashed on and started on again. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    pub(super) log: MemoryFile,
    pub(super) state: MemoryFile,
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it has no room from now on: nothing can be written.
    pub fn set_full(&self, is_full: bool) {
        self.log.content().is_full = is_full;
        self.set_full_for_snapshots(is_full);
    }

    /// Whether it has no room for snapshots from now on: they are far larger than the next entry.
    pub fn set_full_for_snapshots(&self, is_full: bool) {
        self.state.content().is_full = is_full;
    }

    /// Loses what was not synced. Whoever still has the disk open can use it no more.
    pub fn crash(&self) {
        self.log.crash();
        self.state.crash();
    }
}

/// One file on it.
#[derive(Debug, Clone, Default)]
pub(super) struct MemoryFile(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// What the writes since the last sync replaced, oldest first.
    undo: Vec<Undo>,
    /// Counts the openings; only the newest may use the file.
    opened: u64,
    is_full: bool,
}

#[derive(Debug)]
enum Undo {
    Bytes { offset: usize, old: Vec<u8> },
    Length { old: Vec<u8>, at: usize },
}

impl Content {
    fn check_room(&self) -> io::Result<()> {
        if self.is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn set_len(&mut self, len: usize) {
        let at = self.bytes.len();
        let old = if len < at { self.bytes.split_off(len) } else { Vec::new() };
        self.undo.push(Undo::Length { old, at });
        self.bytes.resize(len, 0);
    }

    fn roll_back(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Bytes { offset, old } => self.bytes[offset..offset + old.len()].copy_from_slice(&old),
                Undo::Length { old, at } => {
                    self.bytes.truncate(at - old.len());
                    self.bytes.extend_from_slice(&old);
                    self.bytes.resize(at, 0);
                }
            }
        }
    }
}

impl MemoryFile {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn crash(&self) {
        let mut content = self.content();
        content.roll_back();
        content.opened += 1;
    }

    /// Opens the file; who had it open before loses it.
    pub(super) fn open(&self) -> Backend {
        let mut content = self.content();
        content.opened += 1;
        Backend { file: self.clone(), opening: content.opened }
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct Backend {
    file: MemoryFile,
    opening: u64,
}

impl Backend {
    fn with<T>(&self, work: impl FnOnce(&mut Content) -> io::Result<T>) -> io::Result<T> {
        let mut content = self.file.content();
        if content.opened != self.opening {
            return Err(io::Error::other("the simulated disk was crashed, or opened again"));
        }
        work(&mut content)
    }
}

fn range(offset: u64, len: usize, limit: usize) -> io::Result<std::ops::Range<usize>> {
    let start = usize::try_from(offset).map_err(io::Error::other)?;
    match start.checked_add(len) {
        Some(end) if end <= limit => Ok(start..end),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.with(|content| Ok(content.bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|content| {
            let range = range(offset, out.len(), content.bytes.len())?;
            out.copy_from_slice(&content.bytes[range]);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.with(|content| {
            content.check_room()?;
            content.set_len(len);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|content| {
            content.undo.clear();
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|content| {
            content.check_room()?;
            let range = range(offset, data.len(), content.bytes.len())?;
            let undo = Undo::Bytes { offset: range.start, old: content.bytes[range.clone()].to_vec() };
            content.undo.push(undo);
            content.bytes[range].copy_from_slice(data);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_forgets_what_was_not_synced_and_shuts_out_who_wrote_it() {
        let disk = MemoryDisk::new();
        let backend = disk.log.open();
        backend.set_len(4).unwrap();
        backend.write(0, b"kept").unwrap();
        backend.sync_data().unwrap();
        backend.write(1, b"o").unwrap();
        backend.set_len(2).unwrap();
        backend.set_len(8).unwrap();
        backend.write(2, b"gone").unwrap();
        disk.crash();
        backend.write(0, b"x").unwrap_err();
        let backend = disk.log.open();
        assert_eq!(backend.len().unwrap(), 4);
        let mut bytes = [0; 4];
        backend.read(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"kept");
        backend.read(1, &mut bytes).unwrap_err();
    }
}
