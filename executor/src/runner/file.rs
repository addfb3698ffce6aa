//! The files that a spec wants placed before the start: what is in them.

use std::fs::File;
use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_common::spec::{ConfigSource, ConfigSpec};

use super::StartError;

/// The largest file that is placed, in bytes. Config files are small; a mistaken path to a huge file
/// must not fill memory.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// One file to place.
pub(super) struct PlacedFile {
    /// Where the workload expects it.
    pub(super) path: String,
    /// What is in it; may be secret.
    pub(super) content: Vec<u8>,
}

/// Reads what the specs name. Blocks on the node's disk.
pub(super) fn read_all(configs: &[ConfigSpec]) -> Result<Vec<PlacedFile>, StartError> {
    configs
        .iter()
        .map(|config| {
            let failed = |why: String| StartError::Failed {
                step: "place config",
                why: format!("{}: {why}", config.local_filename),
            };
            let content = content(&config.source).map_err(failed)?;
            Ok(PlacedFile { path: config.local_filename.clone(), content })
        })
        .collect()
}

fn content(source: &ConfigSource) -> Result<Vec<u8>, String> {
    match source {
        ConfigSource::Inline { data } => {
            STANDARD.decode(data).map_err(|error| format!("its data is not base64: {error}"))
        }
        ConfigSource::ExecutorLocalFile { file_path_on_host } => read_limited(file_path_on_host)
            .map_err(|error| format!("cannot read {file_path_on_host} on this node: {error}")),
        ConfigSource::ControllerHttpFetch { .. } | ConfigSource::ExecutorHttpFetch { .. } => {
            Err("files fetched over HTTP are not supported yet; use INLINE or EXECUTOR_LOCAL_FILE".to_owned())
        }
    }
}

fn read_limited(path: &str) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a plain file"));
    }
    let mut content = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: ConfigSource) -> Result<Vec<u8>, String> {
        read_all(&[ConfigSpec { local_filename: "/etc/x".to_owned(), source }])
            .map(|mut files| files.remove(0).content)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn contents_come_from_the_spec_or_the_node() {
        let inline = |data: &str| read(ConfigSource::Inline { data: data.to_owned() });
        assert_eq!(inline("RHJvdmUgdGVzdA==").unwrap(), b"Drove test");
        assert!(inline("%").unwrap_err().starts_with("place config failed: /etc/x:"));

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "here").unwrap();
        let local = |path: &std::path::Path| {
            read(ConfigSource::ExecutorLocalFile { file_path_on_host: path.display().to_string() })
        };
        assert_eq!(local(&path).unwrap(), b"here");
        assert!(local(dir.path()).unwrap_err().contains("not a plain file"));
        File::create(&path).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
        assert!(local(&path).unwrap_err().contains("larger than"));
    }
}
