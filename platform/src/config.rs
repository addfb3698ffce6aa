//! Configuration files: YAML, read whole or refused with the file and the place.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use muster_common::exit::Exit;
use serde::de::DeserializeOwned;

use crate::role_error::RoleError;

/// A configuration larger than this is not a configuration.
const MAX_CONFIG_BYTES: u64 = 1024 * 1024;

/// Reads `path` as a `T`.
pub fn read_yaml<T: DeserializeOwned>(path: &Path) -> Result<T, RoleError> {
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(MAX_CONFIG_BYTES + 1).read_to_string(&mut text)).map_err(
        |error| {
            RoleError::caused_by(
                Exit::Usage,
                format!("cannot read the configuration file {}", path.display()),
                &error,
            )
        },
    )?;
    if text.len() as u64 > MAX_CONFIG_BYTES {
        return Err(RoleError::new(
            Exit::Usage,
            format!("the configuration file {} is larger than {MAX_CONFIG_BYTES} bytes", path.display()),
        ));
    }
    serde_saphyr::from_str(&text).map_err(|error| {
        RoleError::caused_by(
            Exit::Validation,
            format!("the configuration file {} is not valid", path.display()),
            &error.without_snippet(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Sample {
        data_dir: String,
    }

    #[test]
    fn a_wrong_field_is_named_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("role.yaml");
        std::fs::write(&path, "dataDir: /x\nlisten: y\n").unwrap();
        let error = read_yaml::<Sample>(&path).unwrap_err();
        assert_eq!(error.exit, Exit::Validation);
        assert!(error.sentence.contains("role.yaml") && error.sentence.contains("listen"), "{error}");
        assert!(!error.sentence.contains('\n'), "{error}");

        std::fs::write(&path, "dataDir: /x\n").unwrap();
        assert_eq!(read_yaml::<Sample>(&path).unwrap().data_dir, "/x");
        assert_eq!(read_yaml::<Sample>(&dir.path().join("none")).unwrap_err().exit, Exit::Usage);
    }
}
