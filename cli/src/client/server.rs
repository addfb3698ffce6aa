//! Which controller to talk to: `--server`, `MUSTER_SERVER`, the configuration file, the default.

use std::path::PathBuf;

use muster_common::exit::Exit;
use muster_platform::config::read_yaml;
use serde::Deserialize;

use crate::args::Connection;
use crate::error::CliError;

const DEFAULT_SERVER: &str = "http://127.0.0.1:4000";

/// `~/.config/muster/config.yaml`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClientConfig {
    server: Option<String>,
}

/// The REST address, without a slash at its end.
pub(crate) fn server(connection: &Connection) -> Result<String, CliError> {
    let chosen = match &connection.server {
        Some(server) => server.clone(),
        None => from_file()?.unwrap_or_else(|| DEFAULT_SERVER.to_owned()),
    };
    let with_scheme = if chosen.contains("://") { chosen } else { format!("http://{chosen}") };
    if !with_scheme.starts_with("http://") {
        return Err(CliError::new(
            Exit::Usage,
            format!("the server's address '{with_scheme}' must start with http://"),
        ));
    }
    Ok(with_scheme.trim_end_matches('/').to_owned())
}

fn from_file() -> Result<Option<String>, CliError> {
    let base = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    let Some(path) = base.map(|base| base.join("muster").join("config.yaml")) else {
        return Ok(None);
    };
    if !path.exists() {
        return Ok(None);
    }
    Ok(read_yaml::<ClientConfig>(&path)?.server)
}
