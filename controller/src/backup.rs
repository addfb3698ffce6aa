//! A backup: the state as of one revision in one file, with a checksum over all of it. Written piece by
//! piece, and read the same way, so that a large one needs no memory of its own.
//!
//! It must not know what a chunk holds, nor where the bytes come from or go to.

use std::io::{self, Read};

use bytes::Bytes;
use muster_proto::v1;
use muster_proto::v1::backup_part::Part;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

/// What the file begins with.
const MAGIC: &[u8; 8] = b"MUSTERB\n";
/// Raised when an older version could not read it any more.
const FORMAT: u32 = 1;
/// The longest part: a chunk of the state takes little more than 1 MiB, unless one record alone does.
const MAX_PART: u32 = 64 * 1024 * 1024;
/// The largest backup, as the largest snapshot.
const MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupHeader {
    /// The version of the controller that wrote it.
    pub version: String,
    /// The cluster that was backed up.
    pub cluster: String,
    /// The revision of its state.
    pub revision: u64,
    /// The leader's term at the time.
    pub term: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// A backup cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("it is no backup of a Muster cluster")]
    NoBackup,
    /// A newer version wrote it.
    #[error("it has format {found}, and this version reads format {FORMAT}; use muster {version} or later")]
    Format {
        /// Its format.
        found: u32,
        /// The version of the controller that wrote it.
        version: String,
    },
    /// Something is missing, or was changed since.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

/// The bytes of a backup of the state in `chunks`, piece by piece.
pub(crate) fn write(header: &BackupHeader, chunks: Vec<Bytes>) -> impl Iterator<Item = Bytes> + use<> {
    let header = Part::Header(v1::BackupHeader {
        format: FORMAT,
        version: header.version.clone(),
        cluster: header.cluster.clone(),
        revision: header.revision,
        term: header.term,
        at_ms: header.at_ms,
    });
    let count = chunks.len() as u64;
    let mut digest = Sha256::new();
    let mut parts = std::iter::once(header).chain(chunks.into_iter().map(Part::Chunk));
    let mut is_begun = false;
    let mut is_ended = false;
    std::iter::from_fn(move || {
        let mut piece = if is_begun { Vec::new() } else { MAGIC.to_vec() };
        is_begun = true;
        if is_ended {
            return None;
        }
        if let Some(part) = parts.next() {
            frame(&mut piece, part);
            digest.update(&piece);
        } else {
            let sha256 = Bytes::copy_from_slice(&digest.clone().finalize());
            frame(&mut piece, Part::End(v1::BackupEnd { chunks: count, sha256 }));
            is_ended = true;
        }
        Some(piece.into())
    })
}

fn frame(piece: &mut Vec<u8>, part: Part) {
    let part = v1::BackupPart { part: Some(part) };
    // A part is far smaller than 4 GiB: the largest command takes 1 MiB.
    let length = u32::try_from(part.encoded_len()).unwrap_or(u32::MAX);
    piece.extend_from_slice(&length.to_le_bytes());
    // Encoding into a Vec cannot fail: it grows.
    let _ = part.encode(piece);
}

/// Reads a whole backup and checks that nothing of it is missing or changed. The pieces of the state are not decoded.
pub fn check(from: impl Read) -> Result<BackupHeader, BackupError> {
    read(from, |_| {})
}

/// Reads a whole backup and gives each piece of the state to `chunk`. The pieces can be trusted only once this
/// function has returned without an error: the checksum is at the end.
pub(crate) fn read(from: impl Read, mut chunk: impl FnMut(Bytes)) -> Result<BackupHeader, BackupError> {
    let damaged = |what: &str| Err(BackupError::Damaged(what.to_owned()));
    let mut input = Input { from, digest: Sha256::new(), bytes: 0 };
    let mut magic = [0; MAGIC.len()];
    match input.fill(&mut magic) {
        Ok(()) if magic == *MAGIC => {}
        Ok(()) | Err(BackupError::Damaged(_)) => return Err(BackupError::NoBackup),
        Err(error) => return Err(error),
    }
    let (first, _) = input.part()?;
    let Part::Header(header) = first else { return damaged("it does not begin with its header") };
    if header.format != FORMAT {
        return Err(BackupError::Format { found: header.format, version: header.version });
    }
    let mut count = 0;
    loop {
        match input.part()? {
            (Part::Header(_), _) => return damaged("it has two headers"),
            (Part::Chunk(bytes), _) => {
                count += 1;
                chunk(bytes);
            }
            (Part::End(end), before) => {
                if end.chunks != count || end.sha256[..] != before[..] {
                    return damaged("its checksum does not match");
                }
                if input.from.read(&mut [0])? != 0 {
                    return damaged("it goes on after its end");
                }
                return Ok(BackupHeader {
                    version: header.version,
                    cluster: header.cluster,
                    revision: header.revision,
                    term: header.term,
                    at_ms: header.at_ms,
                });
            }
        }
    }
}

struct Input<R> {
    from: R,
    digest: Sha256,
    bytes: u64,
}

impl<R: Read> Input<R> {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), BackupError> {
        self.bytes += buffer.len() as u64;
        if self.bytes > MAX_BYTES {
            return Err(BackupError::Damaged(format!("it takes more than {MAX_BYTES} bytes")));
        }
        match self.from.read_exact(buffer) {
            Ok(()) => {
                self.digest.update(&buffer);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(BackupError::Damaged("its end is missing".to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The next part, and the checksum of all before it.
    fn part(&mut self) -> Result<(Part, Vec<u8>), BackupError> {
        let before = self.digest.clone().finalize().to_vec();
        let mut length = [0; 4];
        self.fill(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length > MAX_PART {
            return Err(BackupError::Damaged(format!("a part of it takes {length} bytes")));
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.fill(&mut bytes)?;
        let part = v1::BackupPart::decode(Bytes::from(bytes));
        match part.map(|part| part.part) {
            Ok(Some(part)) => Ok((part, before)),
            Ok(None) => Err(BackupError::Damaged("a part of it is unknown".to_owned())),
            Err(error) => Err(BackupError::Damaged(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKS: [&str; 3] = ["one", "two", ""];

    fn header() -> BackupHeader {
        let (version, cluster) = ("1.2.3".to_owned(), "prod".to_owned());
        BackupHeader { version, cluster, revision: 7, term: 3, at_ms: 1_800_000_000_000 }
    }

    fn written() -> Vec<u8> {
        write(&header(), CHUNKS.map(Bytes::from).to_vec()).flatten().collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let mut chunks = Vec::new();
        let read = read(&written()[..], |chunk| chunks.push(chunk)).unwrap();
        assert_eq!(read, header());
        assert_eq!(chunks, CHUNKS);
    }

    #[test]
    fn a_backup_that_was_cut_or_changed_anywhere_is_refused() {
        let whole = written();
        for length in 0..whole.len() {
            assert!(check(&whole[..length]).is_err(), "cut to {length} of {} bytes", whole.len());
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(check(&changed[..]).is_err(), "byte {at} was changed");
        }
        let longer = [whole, vec![0]].concat();
        assert!(matches!(check(&longer[..]), Err(BackupError::Damaged(_))));
        assert!(matches!(check(&b"something else"[..]), Err(BackupError::NoBackup)));
    }
}
