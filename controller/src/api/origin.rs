//! Calls that a browser was tricked into. The API has no login yet, and listens on loopback: whatever
//! runs on this machine may call it, but a page from elsewhere that is open in a browser on this
//! machine may not. Such a page gives itself away by its origin, by a form's content type, or, when it
//! had its own name point to this machine, by that name.

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use http::uri::Authority;
use http::{HeaderMap, Uri, header};
use std::net::IpAddr;

use super::access::Api;
use super::error::ApiError;

/// Refuses what does not come from a program on behalf of its user.
pub(super) fn checked(router: Router<Api>, api: &Api) -> Router<Api> {
    router.layer(from_fn_with_state(api.clone(), check))
}

async fn check(
    axum::extract::State(api): axum::extract::State<Api>,
    request: Request,
    next: Next,
) -> Response {
    let has_body = !request.body().is_end_stream();
    match judge(request.uri(), request.headers(), has_body, api.hosts()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn judge(uri: &Uri, headers: &HeaderMap, has_body: bool, hosts: &[String]) -> Result<(), ApiError> {
    // It may be in the URI, as for a proxy; then the header does not count.
    let named = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let called: Option<Authority> = uri.authority().cloned().or_else(|| named(header::HOST)?.parse().ok());
    let Some(called) = called.filter(|called| is_ours(called.host(), hosts)) else {
        return Err(ApiError::Forbidden(
            "The Host header names none of this cluster's controllers; call one by its address".to_owned(),
        ));
    };
    if headers.contains_key(header::ORIGIN) {
        let origin: Option<Uri> = named(header::ORIGIN).and_then(|origin| origin.parse().ok());
        if origin.as_ref().and_then(Uri::authority) != Some(&called) {
            return Err(ApiError::Forbidden("Pages of other sites may not call this API".to_owned()));
        }
    }
    if has_body && !named(header::CONTENT_TYPE).is_some_and(is_json) {
        return Err(ApiError::NotJson);
    }
    Ok(())
}

fn is_ours(host: &str, hosts: &[String]) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    is_loopback
        || host.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host))
}

/// Its parameters, such as the character set, do not matter.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(headers: &[(&'static str, &str)], has_body: bool) -> Result<(), ApiError> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        judge(&Uri::from_static("/apis/v1/ping"), &headers.collect(), has_body, &["controller-1".to_owned()])
    }

    #[test]
    fn programs_pass() {
        for host in ["127.0.0.1:4000", "localhost:4000", "[::1]:4000", "controller-1:4000", "127.0.0.1"] {
            assert_eq!(judged(&[("host", host)], false), Ok(()), "{host}");
        }
        let json = [("host", "localhost:4000"), ("content-type", "application/json; charset=utf-8")];
        assert_eq!(judged(&json, true), Ok(()));
    }

    #[test]
    fn pages_of_other_sites_do_not() {
        let is_forbidden =
            |headers: &[(&'static str, &str)]| matches!(judged(headers, false), Err(ApiError::Forbidden(_)));
        assert!(is_forbidden(&[]));
        assert!(is_forbidden(&[("host", "evil.example:4000")]), "a name of theirs that points to us");
        for origin in ["https://evil.example", "null", "http://localhost:8080"] {
            assert!(is_forbidden(&[("host", "localhost:4000"), ("origin", origin)]), "{origin}");
        }
        assert!(!is_forbidden(&[("host", "localhost:4000"), ("origin", "http://localhost:4000")]));
        let form = [("host", "localhost:4000"), ("content-type", "text/plain")];
        assert_eq!(judged(&form, true), Err(ApiError::NotJson));
        assert_eq!(judged(&[("host", "localhost:4000")], true), Err(ApiError::NotJson));
    }
}
