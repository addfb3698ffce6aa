//! `muster login`: a token into the configuration file. It comes from a terminal without echo, or from standard input;
//! never from the command line, which every process of the machine can read.

use std::io::{IsTerminal as _, Read as _, Write as _};

use clap::Args;
use futures::FutureExt as _;
use muster_common::cluster::ClusterSummary;
use muster_common::exit::Exit;
use tokio::sync::oneshot;

use crate::args::Connection;
use crate::client::config::{self, ClientConfig, Context, Token};
use crate::client::http::Client;
use crate::client::patience::{interrupted, unless_interrupted};
use crate::client::screen;
use crate::client::target::{Target, servers, token_in};
use crate::client::terminal::Quiet;
use crate::error::CliError;

/// The context that is made where none is named.
const DEFAULT_CONTEXT: &str = "default";
/// More than any token has.
const MAX_TOKEN_BYTES: u64 = 64 * 1024;

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// Keep the token without asking the cluster whether it takes it.
    #[arg(long)]
    unchecked: bool,
}

pub(crate) async fn login(args: &LoginArgs, connection: &Connection) -> Result<(), CliError> {
    let path = config::path()?;
    let mut config = ClientConfig::load(&path)?;
    let name = connection.context.clone().or(config.current_context.clone());
    let name = name.unwrap_or_else(|| DEFAULT_CONTEXT.to_owned());
    let named = connection.context.as_ref().map(|name| format!(" --context {name}")).unwrap_or_default();
    let server = match (&connection.server, config.contexts.get(&name)) {
        (Some(server), _) => servers(server)?.join(","),
        (None, Some(context)) => context.server.clone(),
        (None, None) => {
            return Err(CliError::new(
                Exit::Usage,
                format!(
                    "there is no context '{name}' yet; say where its cluster is: 'muster login{named} --server URL'"
                ),
            ));
        }
    };
    let token = match &connection.token_file {
        Some(file) => token_in(file)?,
        None => ask(&server).await?,
    };
    if !args.unchecked {
        let target = Target { servers: servers(&server)?, token: Some(token.clone()) };
        let client = Client::new(target)?;
        let _: ClusterSummary = unless_interrupted("no token is kept", client.get("cluster")).await?;
    }
    if is_in_the_open(&server) {
        eprintln!(
            "muster: {server} is plain HTTP: on the way there everybody can read the token; use a tunnel"
        );
    }
    let line = format!("the token for {server} is kept in context {name}, in {}\n", path.display());
    config.contexts.insert(name.clone(), Context { server, token: Some(token) });
    config.current_context = Some(name);
    config.save(&path)?;
    screen::write(&line)
}

async fn ask(server: &str) -> Result<Token, CliError> {
    let stdin = std::io::stdin();
    let mut text = String::new();
    let read = if stdin.is_terminal() {
        eprint!("Token for {server}: ");
        // A prompt that cannot be shown costs nothing else.
        let _ = std::io::stderr().flush();
        typed().await?.map(|line| text = line)
    } else {
        stdin.take(MAX_TOKEN_BYTES).read_to_string(&mut text).map(drop)
    };
    read.map_err(|error| CliError::new(Exit::Usage, format!("cannot read the token: {error}")))?;
    Token::new(&text)
}

/// A line that is typed without echo. Whoever ends the program meanwhile finds the terminal as it was.
async fn typed() -> Result<std::io::Result<String>, CliError> {
    let unusable =
        |error: std::io::Error| CliError::failure(format!("cannot turn off the terminal's echo: {error}"));
    // Listens from here on: no signal may end the program between the two.
    let mut ended = std::pin::pin!(interrupted());
    if let Some(number) = ended.as_mut().now_or_never() {
        return Err(CliError::interrupted(number.map_err(unusable)?, ""));
    }
    let quiet = Quiet::begin().map_err(unusable)?;
    let (sender, line) = oneshot::channel();
    // A thread of its own, which ends with the program: nothing else ends a read of a terminal.
    std::thread::spawn(move || {
        let mut text = String::new();
        // Nobody waits for it when the program is about to end.
        let _ = sender.send(std::io::stdin().read_line(&mut text).map(|_| text));
    });
    let read = tokio::select! {
        line = line => Ok(line.unwrap_or_else(|_| Err(std::io::Error::other("nobody reads it")))),
        number = ended => match number {
            Ok(number) => Err(CliError::interrupted(number, "")),
            Err(error) => Err(unusable(error)),
        },
    };
    drop(quiet);
    eprintln!();
    read
}

/// Whether some address leads away from this machine; nothing is encrypted.
fn is_in_the_open(server: &str) -> bool {
    server.split(',').any(|address| {
        let host = address.trim_start_matches("http://");
        !["127.", "localhost", "[::1]"].iter().any(|local| host.starts_with(local))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_on_this_machine_is_not_in_the_open() {
        assert!(!is_in_the_open("http://127.0.0.1:4000,http://localhost:4001,http://[::1]:4002"));
        assert!(is_in_the_open("http://127.0.0.1:4000,http://c2.example.net:4000"));
    }
}
