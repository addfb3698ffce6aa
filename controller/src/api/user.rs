//! Who makes a call, and whether that user may (docs/drove-api.md §1.2): by `Authorization: Bearer <token>`, by
//! `O-Bearer <token>`, which drove-cli can be told to send, or by `Basic` with the token as the password.

use axum::extract::{FromRequestParts, Request, State as Context};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, header};
use muster_common::user::{UserInfo, Verb};

use super::access::Api;
use super::answer::Data;
use super::error::ApiError;
use crate::users::{Credentials, TokenDigest, User};

/// Lets calls of `methods` through whose user may do what they do, and writes down those that change something.
pub(super) fn admitted(api: &Api, verb: Verb, methods: MethodRouter<Api>) -> MethodRouter<Api> {
    let admit = move |Context(api): Context<Api>, mut request: Request, next: Next| async move {
        let user = match admit(&api, request.headers(), verb) {
            Ok(user) => user,
            Err(error) => return error.into_response(),
        };
        if verb.only_looks() {
            request.extensions_mut().insert(user);
            return next.run(request).await;
        }
        // Never the query: what it holds may be somebody's secret.
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        request.extensions_mut().insert(user.clone());
        let response: Response = next.run(request).await;
        let status = response.status().as_u16();
        tracing::info!(target: "muster::audit", user = %user.name, role = %user.role, %method, path, status);
        response
    };
    methods.route_layer(from_fn_with_state(api.clone(), admit))
}

fn admit(api: &Api, headers: &HeaderMap, verb: Verb) -> Result<User, ApiError> {
    let user = api.users().identify(credentials(headers).as_ref()).ok_or(ApiError::Unauthenticated)?;
    if user.role.may(verb) {
        return Ok(user);
    }
    let roles: Vec<&str> = verb.roles().iter().map(|role| role.as_str()).collect();
    Err(ApiError::Forbidden(format!(
        "User {} has the role {}; this call needs one of {}",
        user.name,
        user.role,
        roles.join(", ")
    )))
}

/// What the one `Authorization` header says. Several would leave it open whose word counts.
pub(super) fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let mut given = headers.get_all(header::AUTHORIZATION).into_iter();
    let (Some(value), None) = (given.next(), given.next()) else { return None };
    let (scheme, secret) = value.to_str().ok()?.trim().split_once(' ')?;
    let secret = secret.trim();
    if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("o-bearer") {
        return Some(Credentials::Token(TokenDigest::of(secret)));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(secret).ok()?).ok()?;
    let (name, token) = pair.split_once(':')?;
    Some(Credentials::Named(name.to_owned(), TokenDigest::of(token)))
}

impl<S: Send + Sync> FromRequestParts<S> for User {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let nobody = || ApiError::Internal("a call came in past the look at its user".to_owned());
        parts.extensions.get::<Self>().cloned().ok_or_else(nobody)
    }
}

/// `GET /whoami` (an addition to Drove's API).
pub(super) async fn whoami(user: User) -> Data<UserInfo> {
    Data(UserInfo { name: user.name.to_string(), role: user.role })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<Credentials> {
        let header = |value: &&str| (header::AUTHORIZATION, value.parse().unwrap());
        credentials(&values.iter().map(header).collect())
    }

    #[test]
    fn every_scheme_is_read() {
        let token = Some(Credentials::Token(TokenDigest::of("secret")));
        for value in ["Bearer secret", "bearer  secret", "O-Bearer secret", "o-bearer secret "] {
            assert_eq!(read(&[value]), token, "{value}");
        }
        // ann:se:cret
        let named = Credentials::Named("ann".to_owned(), TokenDigest::of("se:cret"));
        assert_eq!(read(&["Basic YW5uOnNlOmNyZXQ="]), Some(named));
    }

    #[test]
    fn what_cannot_be_read_is_nobody() {
        for values in
            [&[][..], &["secret"], &["Digest x"], &["Basic %"], &["Basic YW5u"], &["Bearer a", "Bearer a"]]
        {
            assert_eq!(read(values), None, "{values:?}");
        }
    }
}
