//! The files that a spec wants placed before the start: what is in them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_common::id::ServiceId;
use muster_common::spec::{ConfigSource, ConfigSpec};
use rustix::fs::OFlags;

use super::StartError;
use super::look::Looks;

/// The largest file that is placed, in bytes. Config files are small; a mistaken path to a huge file
/// must not fill memory.
pub(crate) const MAX_FILE_BYTES: usize = 8 << 20;

/// The most that all files of one instance may have together, in bytes: they are in memory at once.
pub(crate) const MAX_FILES_BYTES: usize = 64 << 20;

/// One file to place.
pub(super) struct PlacedFile {
    /// Where the workload expects it.
    pub(super) path: String,
    /// What is in it; may be secret.
    pub(super) content: Vec<u8>,
}

/// Reads what the specs name, one after the other. What a server has was fetched before.
pub(super) async fn read_all(
    configs: &[ConfigSpec],
    service: &ServiceId,
    looks: &Looks,
) -> Result<Vec<PlacedFile>, StartError> {
    let mut files = Vec::with_capacity(configs.len());
    let mut room = MAX_FILES_BYTES;
    for config in configs {
        let name = &config.local_filename;
        let failed = |why: String| StartError::Failed { step: "place config", why: format!("{name}: {why}") };
        let content = match &config.source {
            ConfigSource::Inline { data } => decode(data).map_err(failed)?,
            ConfigSource::ExecutorLocalFile { file_path_on_host: path } => {
                let (file, question) = (path.clone(), format!("what is in {path}"));
                let read = looks.look(service, question, move || read_limited(&file)).await?;
                read.map_err(|error| {
                    let why = format!("{name}: cannot read {path} on this node: {error}");
                    StartError::told("place config", &error, why)
                })?
            }
            ConfigSource::ExecutorHttpFetch { .. } | ConfigSource::ControllerHttpFetch { .. } => {
                return Err(failed("it was to be fetched before the start, and was not".to_owned()));
            }
        };
        room = room.checked_sub(content.len()).ok_or_else(|| {
            failed(format!("with the files before it, it is larger than {MAX_FILES_BYTES} bytes"))
        })?;
        files.push(PlacedFile { path: config.local_filename.clone(), content });
    }
    Ok(files)
}

fn decode(data: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(data).map_err(|error| format!("its data is not base64: {error}"))
}

/// Blocks on the node's disk, but not on who is at the other end of a FIFO.
fn read_limited(path: &str) -> io::Result<Vec<u8>> {
    // Looked at before it is opened: to open a device can do something. Opened without waiting, and looked at
    // again: it may have been replaced by something else meanwhile.
    expect_plain(&fs::metadata(path)?)?;
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    expect_plain(&file.metadata()?)?;
    let mut content = Vec::new();
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut content)?;
    if content.len() > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(content)
}

fn expect_plain(found: &fs::Metadata) -> io::Result<()> {
    let kind = found.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () if kind.is_block_device() || kind.is_char_device() => "a device",
        () => "something else",
    };
    Err(io::Error::other(format!("it is {what}, not a plain file")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::fs::Mode;

    use super::*;

    async fn place(configs: &[ConfigSpec]) -> Result<Vec<PlacedFile>, StartError> {
        read_all(configs, &ServiceId::new("web-1").unwrap(), &Looks::default()).await
    }

    async fn read(source: ConfigSource) -> Result<Vec<u8>, String> {
        place(&[ConfigSpec { local_filename: "/etc/x".to_owned(), source }])
            .await
            .map(|mut files| files.remove(0).content)
            .map_err(|error| error.to_string())
    }

    fn local(path: &std::path::Path) -> ConfigSource {
        ConfigSource::ExecutorLocalFile { file_path_on_host: path.display().to_string() }
    }

    #[tokio::test]
    async fn contents_come_from_the_spec_or_the_node() {
        let inline = |data: &str| read(ConfigSource::Inline { data: data.to_owned() });
        assert_eq!(inline("RHJvdmUgdGVzdA==").await.unwrap(), b"Drove test");
        assert!(inline("%").await.unwrap_err().starts_with("place config failed: /etc/x:"));

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "here").unwrap();
        assert_eq!(read(local(&path)).await.unwrap(), b"here");
        let fifo = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RUSR).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        for (path, what) in [
            (dir.path(), "a directory"),
            (&fifo, "a FIFO"),
            (&dir.path().join("socket"), "a socket"),
            (Path::new("/dev/zero"), "a device"),
        ] {
            let refusal = read(local(path)).await.unwrap_err();
            assert!(refusal.contains(&format!("it is {what}, not a plain file")), "{refusal}");
        }
        File::create(&path).unwrap().set_len(MAX_FILE_BYTES as u64 + 1).unwrap();
        assert!(read(local(&path)).await.unwrap_err().contains("larger than"));
    }

    #[tokio::test]
    async fn all_files_together_have_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        File::create(&path).unwrap().set_len(MAX_FILE_BYTES as u64).unwrap();
        let many = |count: usize| -> Vec<ConfigSpec> {
            (0..count)
                .map(|at| ConfigSpec { local_filename: format!("/f{at}"), source: local(&path) })
                .collect()
        };
        let most = MAX_FILES_BYTES / MAX_FILE_BYTES;
        assert_eq!(place(&many(most)).await.map_err(|error| error.to_string()).unwrap().len(), most);
        let refusal = place(&many(most + 1)).await.err().unwrap().to_string();
        assert!(refusal.contains(&format!("/f{most}: with the files before it")), "{refusal}");
    }

    #[tokio::test]
    async fn what_was_not_fetched_before_is_not_fetched_here() {
        let http = || serde_json::from_str(r#"{"hostname": "example.org"}"#).unwrap();
        for source in [
            ConfigSource::ControllerHttpFetch { http: http() },
            ConfigSource::ExecutorHttpFetch { http: http() },
        ] {
            let refusal = read(source).await.unwrap_err();
            assert!(refusal.contains("it was to be fetched before the start"), "{refusal}");
        }
    }
}
