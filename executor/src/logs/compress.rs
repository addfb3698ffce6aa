//! One full segment made smaller. A crash at any moment leaves the plain file, or the whole compressed one.

use std::fs::{self, File};
use std::io;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::files::{Full, LogDir};

/// Compresses a full segment; one that is compressed or gone by now is as good.
pub(super) fn compress(dir: &LogDir, number: u64) -> io::Result<()> {
    let plain = dir.full(&Full { number, is_compressed: false });
    let compressed = dir.full(&Full { number, is_compressed: true });
    if !compressed.exists() {
        let fresh = compressed.with_extension("gz.new");
        let outcome = write(&plain, &fresh).and_then(|()| fs::rename(&fresh, &compressed));
        if let Err(error) = outcome {
            // A disk without room for both: the plain one stays.
            let _ = fs::remove_file(&fresh);
            return if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) };
        }
        File::open(dir.path())?.sync_all()?;
    }
    match fs::remove_file(&plain) {
        // The shim removed it meanwhile as too old; then so is this.
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_file(&compressed),
        outcome => outcome,
    }
}

fn write(plain: &std::path::Path, fresh: &std::path::Path) -> io::Result<()> {
    let mut from = File::open(plain)?;
    let mut to = GzEncoder::new(File::create(fresh)?, Compression::fast());
    io::copy(&mut from, &mut to)?;
    to.finish()?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_compression_that_was_cut_short_is_done_again() {
        let dir = tempfile::tempdir().unwrap();
        let log = LogDir::new(dir.path().to_owned());
        let path = |name: &str| dir.path().join(name);
        fs::write(path("output.log.1"), "hello").unwrap();
        // Killed while it wrote.
        fs::write(path("output.log.1.gz.new"), "hal").unwrap();
        compress(&log, 1).unwrap();
        let mut text = String::new();
        let file = File::open(path("output.log.1.gz")).unwrap();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        assert!(!path("output.log.1").exists() && !path("output.log.1.gz.new").exists());
        // Killed before it removed the plain one.
        fs::write(path("output.log.1"), "hello").unwrap();
        compress(&log, 1).unwrap();
        assert!(!path("output.log.1").exists() && path("output.log.1.gz").exists());
        compress(&log, 7).unwrap();
    }
}
