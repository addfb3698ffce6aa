//! The client's configuration file: contexts (a cluster's address and a token) and which of them is current.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use muster_common::exit::Exit;
use muster_platform::config::read_yaml;
use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// Tokens are in it.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// What anybody but the owner may do with a file.
const OTHERS: u32 = 0o077;

/// What lets a user in. Never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Token(String);

impl Token {
    /// Takes a token as it was typed or read from a file.
    pub(crate) fn new(text: &str) -> Result<Self, CliError> {
        let text = text.trim();
        let is_one = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_one {
            let message = "a token is one word of printable ASCII characters; this is none";
            return Err(CliError::new(Exit::Usage, message));
        }
        Ok(Self(text.to_owned()))
    }

    /// For the one header that carries it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// `config.yaml`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ClientConfig {
    /// Where to go when no context is current.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    /// Which context is used unless another one is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current_context: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// One cluster, and who one is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Context {
    /// The controllers' REST addresses, separated by commas.
    pub(crate) server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<Token>,
}

/// Where the configuration is.
pub(crate) fn path() -> Result<PathBuf, CliError> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    base.map(|base| base.join("muster").join("config.yaml")).ok_or_else(|| {
        let message = "cannot tell where the configuration is: neither XDG_CONFIG_HOME nor HOME is set";
        CliError::new(Exit::Usage, message)
    })
}

impl ClientConfig {
    /// What the file says; nothing where there is none.
    pub(crate) fn load(path: &Path) -> Result<Self, CliError> {
        let Ok(metadata) = path.metadata() else { return Ok(Self::default()) };
        let config: Self = read_yaml(path)?;
        let has_token = config.contexts.values().any(|context| context.token.is_some());
        if has_token && metadata.permissions().mode() & OTHERS != 0 {
            return Err(CliError::new(
                Exit::Usage,
                format!(
                    "others may read or change {0}, which holds tokens; run 'chmod 600 {0}', and get new tokens if \
                     somebody may have read them",
                    path.display()
                ),
            ));
        }
        Ok(config)
    }

    /// Writes it whole or not at all, for its owner only.
    pub(crate) fn save(&self, path: &Path) -> Result<(), CliError> {
        let failed = |error: std::io::Error| {
            CliError::failure(format!("cannot write the configuration {}: {error}", path.display()))
        };
        let text = serde_saphyr::to_string(self)
            .map_err(|error| CliError::failure(format!("cannot write the configuration: {error}")))?;
        let directory = path.parent().unwrap_or(Path::new("."));
        std::fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory).map_err(failed)?;
        let new = path.with_extension(format!("yaml.{}", std::process::id()));
        let written = write_new(&new, text.as_bytes()).and_then(|()| std::fs::rename(&new, path));
        if written.is_err() {
            // What matters is told below; a file that was never made cannot be removed.
            let _ = std::fs::remove_file(&new);
        }
        written.map_err(failed)
    }

    /// The context of this name.
    pub(crate) fn context(&self, name: &str) -> Result<&Context, CliError> {
        self.contexts.get(name).ok_or_else(|| unknown(name, self))
    }
}

pub(crate) fn unknown(name: &str, config: &ClientConfig) -> CliError {
    let known: Vec<&str> = config.contexts.keys().map(String::as_str).collect();
    let known = if known.is_empty() {
        "there are none; make one with 'muster context set NAME --at URL'".to_owned()
    } else {
        format!("there are: {}", known.join(", "))
    };
    CliError::new(Exit::NotFound, format!("there is no context '{name}'; {known}"))
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> ClientConfig {
        let token = Some(Token::new("s3cret\n").unwrap());
        let context = Context { server: "http://127.0.0.1:4000".into(), token };
        ClientConfig { contexts: [("lab".to_owned(), context)].into(), ..ClientConfig::default() }
    }

    #[test]
    fn it_is_kept_for_its_owner_only_and_read_by_nobody_who_lets_others_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("muster").join("config.yaml");
        assert_eq!(ClientConfig::load(&path).unwrap(), ClientConfig::default());
        sample().save(&path).unwrap();
        sample().save(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, FILE_MODE);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(ClientConfig::load(&path).unwrap(), sample());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = ClientConfig::load(&path).unwrap_err();
        assert!(error.message.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_token_is_one_word_and_never_shown() {
        assert!(Token::new("two words").is_err() && Token::new("\n").is_err());
        assert!(!format!("{:?}", sample()).contains("s3cret"));
        assert_eq!(sample().contexts["lab"].token.as_ref().unwrap().reveal(), "s3cret");
    }

    #[test]
    fn an_unknown_context_names_those_that_there_are() {
        let error = sample().context("prod").unwrap_err();
        assert_eq!(error.exit, Exit::NotFound);
        assert!(error.message.contains("lab"), "{error}");
    }
}
