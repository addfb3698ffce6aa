//! Where controllers may fetch files from: their network is not that of who writes specs.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::HttpCallSpec;
use super::check::Protocol;
use crate::problem::Quoted;

/// Headers that would lead a call elsewhere than its URL says, or that frame it.
const RESERVED_HEADERS: [&str; 5] = ["host", "connection", "content-length", "transfer-encoding", "upgrade"];

/// What a server could take for a `.`, a `/`, a `\` or another `%`, written otherwise.
const AMBIGUOUS: [&str; 4] = ["%2e", "%2f", "%5c", "%25"];

/// The beginning of URLs that controllers may fetch: `https://config.example.net/muster/`. Without a path it is the
/// whole server; the port `*` is any. A path ends where a name in it ends: `/a` covers `/a` and `/a/b`, not `/ab`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FetchUrl {
    protocol: Protocol,
    /// Lower case, without brackets.
    host: String,
    /// Absent: any.
    port: Option<u16>,
    /// Begins with `/`.
    path: String,
}

/// A text that is not the beginning of a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is not the beginning of a URL ({problem}); write such as https://config.example.net/muster/"
)]
pub struct InvalidFetchUrl {
    text: String,
    problem: &'static str,
}

/// Why controllers do not make a call. Says nothing of its query, its headers' values or its body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchRefusal {
    /// Nothing in the controllers' configuration allows it.
    #[error(
        "controllers may not fetch from {url}: no entry of specLimits.allowedFetchUrls in their configuration \
         begins so; add one, or use EXECUTOR_HTTP_FETCH"
    )]
    NotAllowed {
        /// What was to be called.
        url: String,
    },
    /// A header says otherwise than the URL.
    #[error("controllers do not send a header '{name}' of a spec")]
    Header {
        /// Its name.
        name: String,
    },
}

impl FetchUrl {
    /// The first of `allowed` that covers `call`.
    pub fn permitting<'a>(allowed: &'a [Self], call: &HttpCallSpec) -> Result<&'a Self, FetchRefusal> {
        let reserved =
            |name: &&String| RESERVED_HEADERS.iter().any(|header| name.eq_ignore_ascii_case(header));
        if let Some(name) = call.headers.keys().find(reserved) {
            return Err(FetchRefusal::Header { name: name.clone() });
        }
        allowed
            .iter()
            .find(|allowed| allowed.covers(call))
            .ok_or_else(|| FetchRefusal::NotAllowed { url: call.shown_url() })
    }

    fn covers(&self, call: &HttpCallSpec) -> bool {
        self.protocol == call.protocol
            && self.host.eq_ignore_ascii_case(call.host())
            && self.port.is_none_or(|port| port == call.effective_port())
            && self.covers_path(call.path_without_query())
    }

    fn covers_path(&self, path: &str) -> bool {
        if self.path == "/" {
            return true;
        }
        let below = path.strip_prefix(self.path.as_str());
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || self.path.ends_with('/'))
            && is_plain_path(path)
    }

    /// The host, when it is an address.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whether it names this very machine, which a name that only leads there does not.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.address().is_some_and(|address| address.is_loopback())
    }
}

/// Whether every server reads it as the same path.
fn is_plain_path(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    // Some servers take what follows a `;` for parameters of the name before it.
    let is_dots = |name: &str| matches!(name.split(';').next(), Some("." | ".."));
    !path.contains('\\')
        && !AMBIGUOUS.iter().any(|code| lower.contains(code))
        && !path.split('/').any(is_dots)
}

impl FromStr for FetchUrl {
    type Err = InvalidFetchUrl;

    fn from_str(text: &str) -> Result<Self, InvalidFetchUrl> {
        let refuse = |problem| InvalidFetchUrl { text: Quoted(text).to_string(), problem };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| refuse("it has no https://"))?;
        let protocol = match scheme.to_ascii_lowercase().as_str() {
            "http" => Protocol::Http,
            "https" => Protocol::Https,
            _ => return Err(refuse("it begins with neither http:// nor https://")),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.is_empty() { "/" } else { path };
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%".contains(&byte))
            || !is_plain_path(path)
        {
            return Err(refuse("its path must be plain: no query, no '%', neither '.' nor '..'"));
        }
        let (host, port) = split_port(authority);
        let port = match port {
            None => Some(protocol.default_port()),
            Some("*") => None,
            Some(port) => Some(port.parse().map_err(|_| refuse("its port is neither a number nor *"))?),
        };
        let host = bare_host(host).ok_or_else(|| refuse("its host is neither a name nor an address"))?;
        Ok(Self { protocol, host, port, path: path.to_owned() })
    }
}

/// The host and, when there is one, what stands for its port.
pub(super) fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // The colon may be one of an address in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// A name, or an address in brackets.
pub(super) fn bare_host(host: &str) -> Option<String> {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok().then(|| address.to_ascii_lowercase());
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (!host.is_empty() && host.bytes().all(is_name)).then(|| host.to_ascii_lowercase())
}

impl TryFrom<String> for FetchUrl {
    type Error = InvalidFetchUrl;

    fn try_from(text: String) -> Result<Self, InvalidFetchUrl> {
        text.parse()
    }
}

impl From<FetchUrl> for String {
    fn from(url: FetchUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for FetchUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, host, port, path } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        match port {
            None => write!(f, "{}://{host}:*{path}", protocol.scheme()),
            Some(port) if *port == protocol.default_port() => {
                write!(f, "{}://{host}{path}", protocol.scheme())
            }
            Some(port) => write!(f, "{}://{host}:{port}{path}", protocol.scheme()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(url: &str) -> HttpCallSpec {
        let (protocol, rest) = url.split_once("://").unwrap();
        let (authority, path) = rest.split_at(rest.find('/').unwrap());
        let (hostname, port) = split_port(authority);
        let port: u16 = port.map_or(0, |port| port.parse().unwrap());
        let call = json!({"protocol": protocol, "hostname": hostname, "port": port, "path": path});
        serde_json::from_value(call).unwrap()
    }

    fn permits(allowed: &str, url: &str) -> bool {
        FetchUrl::permitting(&[allowed.parse().unwrap()], &call(url)).is_ok()
    }

    #[test]
    fn an_entry_covers_what_begins_so_and_nothing_else() {
        for (allowed, url, expected) in [
            ("https://config.example.net", "https://config.example.net/any/thing", true),
            ("https://config.example.net/", "https://CONFIG.example.net:443/", true),
            ("https://config.example.net/", "http://config.example.net/", false),
            ("https://config.example.net/", "https://config.example.net:8443/", false),
            ("https://config.example.net/", "https://config.example.net.evil.org/", false),
            ("https://config.example.net/", "https://a.config.example.net/", false),
            ("http://10.1.2.3:8080/", "http://10.1.2.3:8080/x", true),
            ("http://10.1.2.3:8080/", "http://10.1.2.3/x", false),
            ("http://[FD00::1]/", "http://[fd00::1]/", true),
            ("http://localhost:*/", "http://localhost:5900/x", true),
            ("http://localhost:*/", "https://localhost:5900/x", false),
            ("https://c.net/muster", "https://c.net/muster", true),
            ("https://c.net/muster", "https://c.net/muster?for=edge", true),
            ("https://c.net/muster", "https://c.net/muster/routes", true),
            ("https://c.net/muster", "https://c.net/musters", false),
            ("https://c.net/muster/", "https://c.net/muster/a/b.json", true),
            ("https://c.net/muster/", "https://c.net/muster", false),
            ("https://c.net/muster/", "https://c.net/", false),
        ] {
            assert_eq!(permits(allowed, url), expected, "{allowed} {url}");
        }
    }

    #[test]
    fn no_path_leads_out_of_what_is_allowed() {
        for path in [
            "/muster/../secret",
            "/muster/..",
            "/muster/./../secret",
            "/muster/%2e%2E/secret",
            "/muster/..%2fsecret",
            "/muster/..%5Csecret",
            "/muster/%252e%252e/secret",
            "/muster/..\\secret",
            "/muster/..;/secret",
        ] {
            assert!(!permits("https://c.net/muster/", &format!("https://c.net{path}")), "{path}");
        }
        assert!(permits("https://c.net/muster/", "https://c.net/muster/..a/b%20c?d=../e"));
    }

    #[test]
    fn a_refusal_names_the_url_without_its_query_and_what_to_do() {
        let refusal = FetchUrl::permitting(&[], &call("http://169.254.169.254/a?token=hush")).unwrap_err();
        let said = refusal.to_string();
        assert!(
            said.contains("http://169.254.169.254/a:") && said.contains("specLimits.allowedFetchUrls"),
            "{said}"
        );
        assert!(said.contains("EXECUTOR_HTTP_FETCH") && !said.contains("hush"), "{said}");
    }

    #[test]
    fn a_header_cannot_say_otherwise_than_the_url() {
        let allowed = ["https://c.net/".parse().unwrap()];
        let mut call = call("https://c.net/");
        for (name, expected) in [("hOsT", false), ("Transfer-Encoding", false), ("X-Team", true)] {
            call.headers = [(name.to_owned(), "hush".to_owned())].into();
            let permitted = FetchUrl::permitting(&allowed, &call);
            assert_eq!(permitted.is_ok(), expected, "{name}");
            assert!(permitted.err().is_none_or(|refusal| !refusal.to_string().contains("hush")));
        }
    }

    #[test]
    fn entries_are_written_as_they_are_read() {
        for (text, written) in [
            ("https://Config.Example.net", "https://config.example.net/"),
            ("http://10.0.0.1:80/a", "http://10.0.0.1/a"),
            ("http://[::1]:*", "http://[::1]:*/"),
        ] {
            let url: FetchUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), written);
            assert_eq!(written.parse::<FetchUrl>().unwrap(), url);
        }
        for text in [
            "",
            "config.example.net",
            "ftp://a/",
            "https://",
            "https:///a",
            "https://a b/",
            "https://u@h/",
            "https://a:b/",
            "https://a:/",
            "https://a:70000/",
            "https://a/?q",
            "https://a/%41",
            "https://a/../b",
            "https://[a]/",
            "https://*/",
        ] {
            assert!(text.parse::<FetchUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_a_loopback_name_or_address_is_loopback() {
        for (text, expected) in [
            ("http://localhost/", true),
            ("http://127.0.0.9:*/", true),
            ("http://[::1]/", true),
            ("http://localhost.example.net/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(text.parse::<FetchUrl>().unwrap().is_loopback(), expected, "{text}");
        }
    }
}
