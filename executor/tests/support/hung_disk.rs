//! A file system that never answers, as one whose server is gone.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whoever looks into it waits until it is dropped.
pub(crate) struct HungDisk {
    at: PathBuf,
    _server: File,
}

impl HungDisk {
    /// `None` where it may not be mounted, which is said. Where CI promises all that tests need, it must be.
    pub(crate) fn mount(at: &Path) -> Option<Self> {
        match Self::try_mount(at) {
            Ok(disk) => Some(disk),
            Err(why) => {
                assert!(std::env::var("MUSTER_REQUIRE_DOCKER").as_deref() != Ok("1"), "{why}");
                eprintln!("skipped: {} may not be a disk that hangs: {why}", at.display());
                None
            }
        }
    }

    fn try_mount(at: &Path) -> Result<Self, String> {
        let said = |error: std::io::Error| error.to_string();
        // Its server is this very process, which never reads what it is asked.
        let server = File::options().read(true).write(true).open("/dev/fuse").map_err(said)?;
        let mount = Command::new("mount")
            .args(["-i", "-t", "fuse", "-o", "fd=0,rootmode=40000,user_id=0,group_id=0", "muster-hung"])
            .arg(at)
            .stdin(Stdio::from(server.try_clone().map_err(said)?))
            .output()
            .map_err(said)?;
        if mount.status.success() {
            Ok(Self { at: at.to_owned(), _server: server })
        } else {
            Err(String::from_utf8_lossy(&mount.stderr).into_owned())
        }
    }
}

/// Whoever waits is let go with an error once the server is closed.
impl Drop for HungDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}
