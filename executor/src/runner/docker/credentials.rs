//! The node's credentials for registries, as `docker login` leaves them: read anew at each pull, kept nowhere.
//!
//! A credential helper is asked first, then what the file itself holds, as the `docker` client does. No word of a
//! secret goes into an error: a helper's output is never repeated.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::BollardRequest;
use bollard::auth::DockerCredentials;
use http::HeaderValue;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

/// The largest `config.json` that is read, in bytes. Real ones have a few KiB.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// The longest answer of a helper that is read, in bytes. Tokens have a few KiB.
const MAX_ANSWER_BYTES: u64 = 64 << 10;

/// How long a helper may take: some ask a cloud's API.
const HELPER_LIMIT: Duration = Duration::from_secs(15);

/// Under which name the files and helpers know Docker Hub.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The user name that says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// What a helper says, and ends with a failure, when it has nothing for a registry.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// Where the node's credentials are.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    /// The directory of `config.json`; none at all when the executor has no home.
    dir: Option<PathBuf>,
    /// Where helpers are looked for; the executor's own `PATH` when absent.
    path: Option<OsString>,
}

/// `config.json`, as far as it matters here.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConfigFile {
    auths: BTreeMap<String, Entry>,
    creds_store: String,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

/// A helper's answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl Credentials {
    /// In this directory; when absent, where `DOCKER_CONFIG` says, else in `~/.docker`.
    pub(super) fn new(dir: Option<PathBuf>) -> Self {
        let named = || std::env::var_os("DOCKER_CONFIG").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker"));
        Self { dir: dir.or_else(named).or_else(home), path: None }
    }

    /// What to show the registry of this image; `None` is nobody in particular. In words, what is wrong with what
    /// the node has.
    pub(super) async fn of(&self, image: &str) -> Result<Option<DockerCredentials>, String> {
        let Some(path) = self.dir.as_ref().map(|dir| dir.join("config.json")) else { return Ok(None) };
        let Some(file) = read(&path).await.map_err(|why| format!("{}: {why}", path.display()))? else {
            return Ok(None);
        };
        let registry = registry(image);
        let mut found = None;
        if let Some(helper) = file.helper(registry) {
            found = self.ask(helper, registry).await?;
        }
        if found.is_none() {
            found = file.entry(registry).map_err(|why| format!("{}: {why}", path.display()))?;
        }
        Ok(found)
    }

    async fn ask(&self, helper: &str, registry: &str) -> Result<Option<DockerCredentials>, String> {
        let program = format!("docker-credential-{helper}");
        let failed = |why: String| {
            format!(
                "the credential helper {program} gave nothing for {registry}: {why}; try it as the executor's user: \
                 echo {registry} | {program} get"
            )
        };
        if !helper.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
            return Err(failed("its name has characters that no helper's has".to_owned()));
        }
        let mut command = Command::new(&program);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        let (succeeded, answer) = timeout(HELPER_LIMIT, converse(command, registry))
            .await
            .map_err(|_| failed(format!("it did not answer within {HELPER_LIMIT:?}")))?
            .map_err(|error| failed(error.to_string()))?;
        if !succeeded {
            let nothing = String::from_utf8_lossy(&answer).contains(NOT_FOUND);
            return if nothing { Ok(None) } else { Err(failed("it failed".to_owned())) };
        }
        // Not the parser's words: they could hold a piece of the secret.
        let answer: Answer =
            serde_json::from_slice(&answer).map_err(|_| failed("its answer cannot be read".to_owned()))?;
        let found =
            DockerCredentials { serveraddress: Some(registry.to_owned()), ..DockerCredentials::default() };
        Ok(Some(if answer.username == TOKEN_USER {
            DockerCredentials { identitytoken: Some(answer.secret), ..found }
        } else {
            DockerCredentials { username: Some(answer.username), password: Some(answer.secret), ..found }
        }))
    }
}

impl ConfigFile {
    fn helper(&self, registry: &str) -> Option<&str> {
        let own = self.cred_helpers.iter().find(|(key, _)| is_same(key, registry)).map(|(_, helper)| helper);
        own.or(Some(&self.creds_store)).map(String::as_str).filter(|helper| !helper.is_empty())
    }

    fn entry(&self, registry: &str) -> Result<Option<DockerCredentials>, String> {
        let exact = self.auths.get(registry);
        let like = || self.auths.iter().find(|(key, _)| is_same(key, registry)).map(|(_, entry)| entry);
        let Some(entry) = exact.or_else(like) else { return Ok(None) };
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (mut username, mut password) = (given(&entry.username), given(&entry.password));
        if !entry.auth.is_empty() {
            let decoded = STANDARD.decode(&entry.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let Some((user, secret)) = decoded.as_deref().and_then(|pair| pair.split_once(':')) else {
                return Err(format!(
                    "the auth of {registry} is not base64 of user:password; run docker login"
                ));
            };
            (username, password) = (given(user), given(secret.trim_end_matches('\0')));
        }
        let found = DockerCredentials {
            username,
            password,
            identitytoken: given(&entry.identitytoken),
            registrytoken: given(&entry.registrytoken),
            serveraddress: Some(registry.to_owned()),
            ..DockerCredentials::default()
        };
        // `docker login` with a store leaves an empty entry behind.
        let is_empty =
            found.username.is_none() && found.identitytoken.is_none() && found.registrytoken.is_none();
        Ok((!is_empty).then_some(found))
    }
}

/// Where the credentials of a pull are sent to the engine.
const HEADER: &str = "X-Registry-Auth";

/// The request with its credentials in the letters of base64 for URLs. The engine takes no others and ignores what is
/// none, so that a pull would go out without credentials and be refused for a reason that nobody finds; the client
/// library writes common base64. They differ in two letters.
pub(super) fn in_url_letters(mut request: BollardRequest) -> BollardRequest {
    if let Some(value) = request.headers_mut().get_mut(HEADER) {
        let letters: Vec<u8> = value.as_bytes().iter().map(|&letter| url_letter(letter)).collect();
        // What consists of these letters can always be sent.
        if let Ok(mut translated) = HeaderValue::from_bytes(&letters) {
            translated.set_sensitive(true);
            *value = translated;
        }
    }
    request
}

fn url_letter(letter: u8) -> u8 {
    match letter {
        b'+' => b'-',
        b'/' => b'_',
        other => other,
    }
}

async fn read(path: &Path) -> Result<Option<ConfigFile>, String> {
    let file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut text = Vec::new();
    file.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut text).await.map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_CONFIG_BYTES {
        return Err(format!("it is larger than {MAX_CONFIG_BYTES} bytes"));
    }
    // Line and column, not the parser's words: they could hold a piece of a secret.
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        format!("it is not what docker login writes (line {}, column {})", error.line(), error.column())
    })
}

/// Whether it succeeded, and what it said.
async fn converse(mut command: Command, registry: &str) -> io::Result<(bool, Vec<u8>)> {
    let mut helper = command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = helper.stdin.take() {
        // One that does not read its question may still answer.
        let _ = stdin.write_all(registry.as_bytes()).await;
    }
    let mut answer = Vec::new();
    if let Some(stdout) = helper.stdout.take() {
        stdout.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await?;
    }
    Ok((helper.wait().await?.success(), answer))
}

/// Where an image is pulled from: the reference's first part when it is a host, else Docker Hub.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some(("docker.io" | "index.docker.io", _)) => DOCKER_HUB,
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => DOCKER_HUB,
    }
}

/// Files know a registry by its host, or by an address of it.
fn is_same(key: &str, registry: &str) -> bool {
    host(key) == host(registry)
}

fn host(address: &str) -> &str {
    let bare =
        address.strip_prefix("https://").or_else(|| address.strip_prefix("http://")).unwrap_or(address);
    match bare.split('/').next().unwrap_or(bare) {
        "docker.io" | "registry-1.docker.io" => "index.docker.io",
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A directory with this `config.json`, and with this helper, `docker-credential-test`.
    fn node(config: &str, helper: &str) -> (tempfile::TempDir, Credentials) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        let program = dir.path().join("docker-credential-test");
        std::fs::write(&program, format!("#!/bin/sh\nread registry\n{helper}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = Some(dir.path().as_os_str().to_owned());
        let credentials = Credentials { dir: Some(dir.path().to_owned()), path };
        (dir, credentials)
    }

    fn pair(found: &DockerCredentials) -> (&str, &str) {
        (found.username.as_deref().unwrap_or("-"), found.password.as_deref().unwrap_or("-"))
    }

    #[test]
    fn credentials_are_sent_in_letters_that_the_engine_takes() {
        use base64::engine::general_purpose::URL_SAFE;
        let secret = r#"{"password":"???>>>~~~"}"#;
        let common = STANDARD.encode(secret);
        assert!(common.contains('+') && common.contains('/'), "{common}");
        let request = http::Request::builder().header(HEADER, &common).header("Other", "a+b/c");
        let sent = in_url_letters(request.body(bollard::body_full(bytes::Bytes::new())).unwrap());
        assert_eq!(URL_SAFE.decode(&sent.headers()[HEADER]).unwrap(), secret.as_bytes());
        assert!(sent.headers()[HEADER].is_sensitive());
        assert_eq!(sent.headers()["Other"], "a+b/c");
    }

    #[test]
    fn an_image_names_its_registry() {
        for (image, host) in [
            ("web:1", DOCKER_HUB),
            ("team/web:1", DOCKER_HUB),
            ("docker.io/team/web", DOCKER_HUB),
            ("localhost/web", "localhost"),
            ("node:5000/web", "node:5000"),
            ("registry.example.org/team/web@sha256:abc", "registry.example.org"),
        ] {
            assert_eq!(registry(image), host, "{image}");
        }
    }

    #[tokio::test]
    async fn the_file_holds_names_passwords_and_tokens() {
        let file = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "bWU6aHVzaDpodXNo"},
            "https://a.example.org/v2/": {"username": "u", "password": "p"}, "left.over": {},
            "b.example.org": {"identitytoken": "t"}, "bad.example.org": {"auth": "hush"}}, "other": 1}"#;
        let (_dir, credentials) = node(file, "");
        assert_eq!(pair(&credentials.of("web").await.unwrap().unwrap()), ("me", "hush:hush"));
        assert_eq!(pair(&credentials.of("a.example.org/x").await.unwrap().unwrap()), ("u", "p"));
        let token = credentials.of("b.example.org/x").await.unwrap().unwrap();
        assert_eq!((pair(&token), token.identitytoken.as_deref()), (("-", "-"), Some("t")));
        for unknown in ["left.over/x", "c.example.org/x"] {
            assert_eq!(credentials.of(unknown).await.unwrap(), None);
        }
        let why = credentials.of("bad.example.org/x").await.unwrap_err();
        assert!(
            why.contains("bad.example.org") && why.contains("docker login") && !why.contains("hush"),
            "{why}"
        );
    }

    #[tokio::test]
    async fn a_helper_is_asked_and_never_quoted() {
        let file = r#"{"credHelpers": {"a.example.org": "test"}}"#;
        let says = r#"[ "$1 $registry" = "get a.example.org" ] && echo '{"Username": "u", "Secret": "s"}'"#;
        let (_dir, credentials) = node(file, says);
        assert_eq!(pair(&credentials.of("a.example.org/x").await.unwrap().unwrap()), ("u", "s"));
        assert_eq!(
            credentials.of("b.example.org/x").await.unwrap(),
            None,
            "it is asked for its registry alone"
        );

        let store = r#"{"credsStore": "test", "auths": {"a.example.org": {"auth": "dTpw"}}}"#;
        let (_dir, credentials) = node(store, r#"echo '{"Username": "<token>", "Secret": "t"}'"#);
        let token = credentials.of("web").await.unwrap().unwrap();
        assert_eq!((token.username, token.identitytoken.as_deref()), (None, Some("t")));
        let (_dir, credentials) = node(store, "echo credentials not found in native keychain; exit 1");
        assert_eq!(pair(&credentials.of("a.example.org/x").await.unwrap().unwrap()), ("u", "p"));
        assert_eq!(credentials.of("web").await.unwrap(), None);
        for broken in ["echo hush; exit 1", "echo hush", "yes hush"] {
            let (_dir, credentials) = node(store, broken);
            let why = credentials.of("web").await.unwrap_err();
            assert!(why.contains("docker-credential-test") && !why.contains("hush"), "{why}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_said_without_its_content() {
        let (dir, credentials) = node(r#"{"auths": "hush"}"#, "");
        let why = credentials.of("web").await.unwrap_err();
        assert!(why.contains("config.json") && !why.contains("hush"), "{why}");
        std::fs::remove_file(dir.path().join("config.json")).unwrap();
        assert_eq!(credentials.of("web").await.unwrap(), None);
    }
}
