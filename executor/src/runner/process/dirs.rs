//! Who may enter the runner's directories. A workload with an account of its own has to get to its scratch
//! directory, and sees nothing else of what the executor keeps: specs, environments and logs hold secrets.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

/// For the owner alone.
pub(super) const PRIVATE: u32 = 0o700;
/// Others may pass on to a name that they know; they may not look around.
const PASSAGE: u32 = 0o711;
const PERMISSIONS: u32 = 0o777;

/// Makes the runner's directories under `data_dir`, or mends the modes of those that are there.
pub(super) fn make_all(data_dir: &Path) -> io::Result<()> {
    for name in ["run", "logs"] {
        make_private(&data_dir.join(name))?;
    }
    let scratch = data_dir.join("scratch");
    make_private(&scratch)?;
    // Nobody but root can start a workload as somebody else.
    if rustix::process::geteuid().is_root() {
        open_passage(data_dir)?;
        open_passage(&scratch)?;
    }
    Ok(())
}

/// Makes a directory for its owner alone, or makes it so.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE).create(path)?;
    set_mode(path, |_| PRIVATE)
}

/// What an administrator opened wider stays so.
fn open_passage(path: &Path) -> io::Result<()> {
    set_mode(path, |mode| mode | PASSAGE)
}

fn set_mode(path: &Path, wanted: impl FnOnce(u32) -> u32) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode() & PERMISSIONS;
    let wanted = wanted(mode);
    if mode == wanted { Ok(()) } else { fs::set_permissions(path, Permissions::from_mode(wanted)) }
}
