//! A small file system that a test can fill.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A file system of its own in memory; gone when dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of `size` (`8m`, say); `None` where it may not be mounted, which is said. Where CI promises all that
    /// tests need, it must be.
    #[must_use]
    pub fn mount(at: &Path, size: &str) -> Option<Self> {
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "muster-test"])
            .arg(at)
            .stdin(Stdio::null())
            .output();
        let why = match output {
            Ok(output) if output.status.success() => return Some(Self(at.to_owned())),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        assert!(std::env::var("MUSTER_REQUIRE_DOCKER").as_deref() != Ok("1"), "{why}");
        eprintln!("skipped: {} may not be a disk of its own: {why}", at.display());
        None
    }

    /// Takes all the room that is left; the file whose removal gives it back.
    #[must_use]
    pub fn fill(&self) -> PathBuf {
        let filler = self.0.join("filler");
        let mut file = std::fs::File::create(&filler).unwrap();
        let full = std::io::copy(&mut std::io::repeat(0), &mut file).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what a test that failed left running may still have a file open in it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
