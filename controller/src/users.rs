//! The users that the configuration names, and how one is recognised. What each may do is said in
//! [`muster_common::user`]; how a call carries its credentials is for the API to know.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use muster_common::user::UserRole;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

/// The most users that can be configured: each call is compared with all of them.
const MAX_USERS: usize = 1_000;
/// The longest name of a user, in bytes.
const MAX_NAME_BYTES: usize = 255;
/// Who calls while nobody is configured (docs/drove-api.md §1.2).
const DEFAULT_USER: &str = "default-user";

/// A user in the configuration. The token itself is known to its owner only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserConfig {
    /// The name under which it is shown, and with which it logs in by Basic.
    pub name: String,
    /// What it is for.
    pub role: UserRole,
    /// The SHA-256 of its token, in hexadecimal; `muster token` makes both.
    pub token_sha256: TokenDigest,
}

/// The SHA-256 of a token. Tokens are drawn, not thought up, so that nobody finds one by trying and a salt would add
/// nothing.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenDigest([u8; 32]);

/// A text that is no SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 has 64 hexadecimal digits; 'muster token' makes a token and prints its own")]
pub struct NoDigest;

impl TokenDigest {
    /// The digest of `token`.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

impl PartialEq for TokenDigest {
    /// Takes as long whether they differ early, late or not at all.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenDigest {}

impl FromStr for TokenDigest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(NoDigest);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| NoDigest)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NoDigest)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for TokenDigest {
    type Error = NoDigest;

    fn try_from(text: String) -> Result<Self, NoDigest> {
        text.parse()
    }
}

impl From<TokenDigest> for String {
    fn from(digest: TokenDigest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenDigest {
    /// Enough to tell two apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenDigest({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// Whom the log and operations name.
    pub(crate) name: Arc<str>,
    /// What it is for.
    pub(crate) role: UserRole,
}

/// The credentials that a call brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// A token, which says by itself whose it is.
    Token(TokenDigest),
    /// A name, and the token of that user.
    Named(String, TokenDigest),
}

/// All users.
#[derive(Debug, Clone)]
pub(crate) struct Users(Arc<[(User, TokenDigest)]>);

impl Users {
    pub(crate) fn new(configured: Vec<UserConfig>) -> Self {
        let user =
            |config: UserConfig| (User { name: config.name.into(), role: config.role }, config.token_sha256);
        Self(configured.into_iter().map(user).collect())
    }

    /// Who makes a call with these credentials; nobody without any. While no users are configured everybody is the
    /// same one, who may do everything (docs/drove-api.md §1.2).
    ///
    /// Every user is looked at, so that the time it takes does not tell how many come before the right one.
    pub(crate) fn identify(&self, credentials: Option<&Credentials>) -> Option<User> {
        if self.0.is_empty() {
            return Some(User { name: DEFAULT_USER.into(), role: UserRole::Root });
        }
        let mut found = None;
        for (user, digest) in self.0.iter() {
            let is_its = match credentials? {
                Credentials::Token(given) => given.0.ct_eq(&digest.0),
                Credentials::Named(name, given) => {
                    let is_named = Choice::from(u8::from(*name == *user.name));
                    is_named & given.0.ct_eq(&digest.0)
                }
            };
            if bool::from(is_its) {
                found = Some(user);
            }
        }
        found.cloned()
    }
}

/// What is wrong with the configured users.
pub(crate) fn problem(users: &[UserConfig]) -> Option<String> {
    if users.len() > MAX_USERS {
        return Some(format!("users has {} entries; at most {MAX_USERS} are allowed", users.len()));
    }
    let mut names = BTreeSet::new();
    for (n, user) in users.iter().enumerate() {
        let name = &user.name;
        let is_name = (1..=MAX_NAME_BYTES).contains(&name.len())
            && name.chars().all(|c| c != ':' && !c.is_control() && !c.is_whitespace());
        if !is_name {
            return Some(format!(
                "users[{n}].name is '{}'; write 1 to {MAX_NAME_BYTES} bytes without spaces and colons",
                name.escape_debug()
            ));
        }
        if !names.insert(name) {
            return Some(format!("users[{n}].name is {name}, which an earlier user has too"));
        }
        if users[..n].iter().any(|earlier| earlier.token_sha256 == user.token_sha256) {
            return Some(format!(
                "users[{n}].tokenSha256 is that of an earlier user too; make each a token of its own ('muster token')"
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, role: UserRole, token: &str) -> UserConfig {
        UserConfig { name: name.to_owned(), role, token_sha256: TokenDigest::of(token) }
    }

    fn token(text: &str) -> Credentials {
        Credentials::Token(TokenDigest::of(text))
    }

    fn named(name: &str, text: &str) -> Credentials {
        Credentials::Named(name.to_owned(), TokenDigest::of(text))
    }

    #[test]
    fn users_are_recognised_by_their_token_and_by_name_and_token() {
        let users = Users::new(vec![
            user("ann", UserRole::Root, "a-token"),
            user("bob", UserRole::ReadOnly, "b-token"),
        ]);
        let name =
            |credentials: Credentials| users.identify(Some(&credentials)).map(|user| user.name.to_string());
        assert_eq!(name(token("a-token")).as_deref(), Some("ann"));
        assert_eq!(name(token("b-token")).as_deref(), Some("bob"));
        assert_eq!(name(named("bob", "b-token")).as_deref(), Some("bob"));
        for stranger in
            [token(""), token("c"), named("bob", "a-token"), named("", "b-token"), named("eve", "c")]
        {
            assert_eq!(name(stranger.clone()), None, "{stranger:?}");
        }
        assert_eq!(users.identify(None), None);
    }

    #[test]
    fn without_users_everybody_is_the_default_one() {
        let users = Users::new(Vec::new());
        for credentials in [None, Some(token("whatever")), Some(named("ann", "x"))] {
            let user = users.identify(credentials.as_ref()).unwrap();
            assert_eq!((&*user.name, user.role), (DEFAULT_USER, UserRole::Root));
        }
    }

    #[test]
    fn a_digest_is_written_as_it_is_read() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(TokenDigest::of("abc").to_string(), text);
        assert_eq!(text.parse(), Ok(TokenDigest::of("abc")));
        assert_eq!(text.to_uppercase().parse(), Ok(TokenDigest::of("abc")));
        for bad in ["", "abc", &text[1..], &format!("{text}0"), &text.replace('b', "+"), &"é".repeat(32)] {
            assert_eq!(bad.parse::<TokenDigest>(), Err(NoDigest), "{bad}");
        }
    }

    #[test]
    fn users_that_cannot_be_told_apart_are_refused() {
        let (ann, bob) = (user("ann", UserRole::Root, "a"), user("bob", UserRole::Root, "b"));
        assert_eq!(problem(&[ann.clone(), bob.clone()]), None);
        for (users, part) in [
            (vec![ann.clone(), user("ann", UserRole::ReadOnly, "c")], "users[1].name is ann"),
            (vec![ann.clone(), user("eve", UserRole::ReadOnly, "a")], "users[1].tokenSha256"),
            (vec![user("", UserRole::Root, "a")], "users[0].name is ''"),
            (vec![bob, user("a:b", UserRole::Root, "c")], "users[1].name is 'a:b'"),
        ] {
            let problem = problem(&users).unwrap();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
