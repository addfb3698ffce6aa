//! What was fetched last, on the disk: `fetched/<service>/<generation>-<file>-<call>`, for the executor's eyes only, as
//! it may be secret.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use muster_common::id::{Generation, ServiceId};
use muster_platform::Disk;

use super::WantedFile;

const DIR: &str = "fetched";
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

pub(super) struct Kept {
    dir: PathBuf,
    disk: Disk,
}

impl Kept {
    pub(super) fn new(data_dir: &Path, disk: Disk) -> Self {
        Self { dir: data_dir.join(DIR), disk }
    }

    fn path(&self, wanted: &WantedFile) -> PathBuf {
        let name = format!("{}-{}-{}", wanted.generation.0, wanted.file, wanted.call.simple());
        self.dir.join(wanted.service.as_str()).join(name)
    }

    /// Keeps `content`, all of it or what was there before. Most of the time it is the same: nothing is written then.
    pub(super) async fn keep(&self, wanted: &WantedFile, content: Vec<u8>) -> io::Result<()> {
        let path = self.path(wanted);
        // Slots of one service share what is kept, and may be filled at the same time.
        let fresh = path.with_extension(format!("{}.new", wanted.index));
        self.disk.run(move || write(&path, &fresh, &content)).await?
    }

    /// What was fetched last.
    pub(super) async fn get(&self, wanted: &WantedFile) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(wanted);
        self.disk.run(move || read(&path)).await?
    }

    /// Removes what is of no generation in `wanted`.
    pub(super) async fn retain(&self, wanted: BTreeSet<(ServiceId, Generation)>) -> io::Result<()> {
        let dir = self.dir.clone();
        self.disk.run(move || retain(&dir, &wanted)).await?
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(path: &Path, fresh: &Path, content: &[u8]) -> io::Result<()> {
    if read(path)?.is_some_and(|kept| kept == content) {
        return Ok(());
    }
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)?;
    }
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(FILE_MODE).open(fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(fresh, path)
}

fn retain(dir: &Path, wanted: &BTreeSet<(ServiceId, Generation)>) -> io::Result<()> {
    let services = match fs::read_dir(dir) {
        Ok(services) => services,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for service in services {
        let service = service?;
        let id = ServiceId::new(service.file_name().to_string_lossy()).ok();
        let mut left = 0;
        for file in fs::read_dir(service.path())? {
            let file = file?;
            let name = file.file_name();
            let generation =
                name.to_str().and_then(|name| name.split_once('-')?.0.parse().ok()).map(Generation);
            if id.clone().zip(generation).is_some_and(|place| wanted.contains(&place)) {
                left += 1;
            } else {
                fs::remove_file(file.path())?;
            }
        }
        if left == 0 {
            fs::remove_dir(service.path())?;
        }
    }
    Ok(())
}
