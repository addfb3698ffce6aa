//! Which controllers to talk to, and as whom: options, then variables, then the configuration file, then the default.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use muster_common::exit::Exit;

use super::config::{self, ClientConfig, Token};
use crate::args::Connection;
use crate::error::CliError;

const DEFAULT_SERVER: &str = "http://127.0.0.1:4000";
const TOKEN_VARIABLE: &str = "MUSTER_TOKEN";
/// More than any token has.
const MAX_TOKEN_BYTES: u64 = 64 * 1024;

/// The controllers of a cluster, and what lets one in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// REST addresses without a slash at their end; never empty.
    pub(crate) servers: Vec<String>,
    pub(crate) token: Option<Token>,
}

impl Target {
    pub(crate) fn of(connection: &Connection) -> Result<Self, CliError> {
        let config = match config::path() {
            Ok(path) => ClientConfig::load(&path)?,
            // Whoever says where to go needs no configuration.
            Err(_) if connection.server.is_some() => ClientConfig::default(),
            Err(error) => return Err(error),
        };
        let variable = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
        let token = match (&connection.token_file, variable) {
            (Some(file), _) => Some(token_in(file)?),
            (None, Some(token)) => Some(Token::new(&token)?),
            (None, None) => None,
        };
        Self::chosen(connection, &config, token)
    }

    /// A context's token goes to the context's server, or where it was named together with another one; never to a
    /// server that was named alone.
    fn chosen(
        connection: &Connection,
        config: &ClientConfig,
        token: Option<Token>,
    ) -> Result<Self, CliError> {
        let named = connection.context.as_deref();
        let current = if connection.server.is_some() { None } else { config.current_context.as_deref() };
        let context = named.or(current).map(|name| config.context(name)).transpose()?;
        let server = connection
            .server
            .as_deref()
            .or(context.map(|context| context.server.as_str()))
            .or(config.server.as_deref())
            .unwrap_or(DEFAULT_SERVER);
        let token = token.or_else(|| context.and_then(|context| context.token.clone()));
        Ok(Self { servers: servers(server)?, token })
    }
}

/// The addresses in `text`, separated by commas.
pub(crate) fn servers(text: &str) -> Result<Vec<String>, CliError> {
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err(CliError::new(
            Exit::Usage,
            "the server's address is empty; write such as http://host:4000",
        ));
    }
    parts.into_iter().map(server).collect()
}

fn server(text: &str) -> Result<String, CliError> {
    let bad = |why: String| Err(CliError::new(Exit::Usage, why));
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // Processes, histories and errors show an address; what is in it is not repeated here either.
    if host.contains('@') {
        return bad("a server's address must not hold a user or a token, since anybody may see it; put the token into \
                    MUSTER_TOKEN or a file (--token-file), or run 'muster login'"
            .to_owned());
    }
    match scheme {
        "http" => Ok(format!("http://{}", rest.trim_end_matches('/'))),
        "https" => bad(format!(
            "'{text}': this program speaks plain HTTP only. Where a proxy in front of the controllers speaks TLS, or the \
             way there is open to others, make a tunnel that begins on this machine, such as 'ssh -N -L \
             4000:127.0.0.1:4000 HOST', and use --server http://127.0.0.1:4000"
        )),
        _ => bad(format!("the server's address '{text}' must start with http://")),
    }
}

pub(crate) fn token_in(path: &Path) -> Result<Token, CliError> {
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(MAX_TOKEN_BYTES).read_to_string(&mut text)).map_err(
        |error| CliError::new(Exit::Usage, format!("cannot read the token in {}: {error}", path.display())),
    )?;
    Token::new(&text)
}

#[cfg(test)]
mod tests {
    use super::super::config::Context;
    use super::*;

    fn connection(server: Option<&str>, context: Option<&str>) -> Connection {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Connection { server: text(server), context: text(context), token_file: None }
    }

    fn config() -> ClientConfig {
        let context = |port: u16, token: &str| Context {
            server: format!("http://c:{port}/, c2:{port}"),
            token: Some(Token::new(token).unwrap()),
        };
        ClientConfig {
            server: Some("http://plain:1".into()),
            current_context: Some("a".into()),
            contexts: [("a".to_owned(), context(1, "for-a")), ("b".to_owned(), context(2, "for-b"))].into(),
        }
    }

    #[test]
    fn what_is_said_nearest_wins_and_a_token_goes_nowhere_else() {
        let chosen = |server, context, config: &ClientConfig| {
            let target = Target::chosen(&connection(server, context), config, None).unwrap();
            (target.servers.join(" "), target.token.map(|token| token.reveal().to_owned()))
        };
        let none = ClientConfig::default();
        assert_eq!(chosen(None, None, &none), (DEFAULT_SERVER.into(), None));
        assert_eq!(chosen(None, None, &config()), ("http://c:1 http://c2:1".into(), Some("for-a".into())));
        assert_eq!(chosen(None, Some("b"), &config()).1, Some("for-b".into()));
        assert_eq!(chosen(Some("x:9"), None, &config()), ("http://x:9".into(), None));
        assert_eq!(chosen(Some("x:9"), Some("b"), &config()), ("http://x:9".into(), Some("for-b".into())));
        let own = Token::new("own").unwrap();
        let target = Target::chosen(&connection(None, None), &config(), Some(own.clone())).unwrap();
        assert_eq!(target.token, Some(own));
        assert_eq!(
            Target::chosen(&connection(None, Some("z")), &config(), None).unwrap_err().exit,
            Exit::NotFound
        );
    }

    #[test]
    fn only_plain_http_is_spoken_and_an_empty_address_is_none() {
        for text in ["https://x", "ftp://x", "", " , "] {
            assert_eq!(servers(text).unwrap_err().exit, Exit::Usage, "{text:?}");
        }
        let encrypted = servers("https://x:4000").unwrap_err();
        assert!(encrypted.message.contains("ssh -N -L"), "it is said what to do: {encrypted}");
        assert_eq!(servers("http://x:4000/, y").unwrap(), ["http://x:4000", "http://y"]);
    }

    #[test]
    fn an_address_with_a_token_in_it_is_refused_and_not_repeated() {
        for text in
            ["http://ann:s3cret@x:4000", "ann:s3cret@x", "http://ok, http://:s3cret@x/", "https://s3cret@x"]
        {
            let error = servers(text).unwrap_err();
            assert!(error.exit == Exit::Usage && error.message.contains("MUSTER_TOKEN"), "{error}");
            assert!(!error.message.contains("s3cret"), "{error}");
        }
        assert!(servers("http://x/@y").is_ok(), "only before the path is it a user");
    }
}
