//! A backup: the cluster's state, written to a file and checked there.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use muster_common::exit::Exit;
use muster_controller::backup::check;
use serde_json::json;

use super::Caller;
use crate::client::http::Client;
use crate::client::screen;
use crate::error::CliError;

/// Specs can hold secrets.
const FILE_MODE: u32 = 0o600;

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Where to write it; must not exist. Only its owner may read it: specs can hold secrets.
    pub(crate) file: PathBuf,
    /// Take what the controller that is asked has, also while there is no leader.
    #[arg(long)]
    pub(crate) stale: bool,
}

pub(crate) async fn backup(caller: &Caller, args: &BackupArgs) -> Result<(), CliError> {
    let failed = |what: &str, error: &io::Error| {
        let exit = if error.kind() == io::ErrorKind::AlreadyExists { Exit::Conflict } else { Exit::Failure };
        CliError::new(exit, format!("cannot {what} {}: {error}", args.file.display()))
    };
    let create = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&args.file);
    let file = create.map_err(|error| failed("make", &error))?;
    let written = write(&caller.client, args, file).await;
    if written.is_err()
        && let Err(error) = std::fs::remove_file(&args.file)
    {
        eprintln!("muster: {}; it is not a whole backup", failed("remove", &error));
    }
    let revision = written?;
    let file = args.file.display().to_string();
    let line = format!("{file} holds the cluster's state as of revision {revision}\n");
    screen::write(&caller.answer(&file, &json!({"file": file, "revision": revision}), || line)?)
}

/// Writes and checks it; says of which revision it is.
async fn write(client: &Client, args: &BackupArgs, mut file: File) -> Result<u64, CliError> {
    let path = if args.stale { "cluster/backup?stale=true" } else { "cluster/backup" };
    client.stream(path, |piece| file.write_all(piece)).await?;
    let bad = |cause: String| {
        CliError::failure(format!("the backup in {} is not whole: {cause}", args.file.display()))
    };
    file.sync_all().map_err(|error| bad(error.to_string()))?;
    sync_directory(&args.file).map_err(|error| bad(error.to_string()))?;
    let written = File::open(&args.file).map_err(|error| bad(error.to_string()))?;
    let header = check(BufReader::new(written)).map_err(|error| bad(error.to_string()))?;
    Ok(header.revision)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
