//! HTTP calls: those that fetch files, and the parts that checks have as well.

use std::collections::BTreeMap;

use super::form::{self, HOUR};
use crate::duration::DroveDuration;
use crate::problem::{Place, Quoted};
use crate::spec::HttpCallSpec;

const MAX_CODES: usize = 100;
/// The longest DNS name.
const MAX_HOST_BYTES: usize = 253;
const MAX_SECRET_BYTES: usize = 4096;
const MAX_HEADERS: usize = 64;
/// Of one name or one value.
const MAX_HEADER_BYTES: usize = 8 * 1024;
const MAX_PAYLOAD_BYTES: usize = 64 * 1024;

/// Whether it is known where the call goes.
pub(super) fn check(place: Place<'_>, call: &HttpCallSpec) -> bool {
    const MISSING: &str = "- Specify how long the call may take";
    let has_host = host(place.member("hostname"), &call.hostname);
    let has_path = path(place.member("path"), &call.path);
    success_codes(place.member("successCodes"), &call.success_codes);
    payload(place.member("payload"), call.payload.as_deref().unwrap_or_default());
    connection_timeout(place, call.connection_timeout);
    form::positive(place.member("operationTimeout"), call.operation_timeout, MISSING, HOUR);
    for (name, secret) in
        [("username", &call.username), ("password", &call.password), ("authHeader", &call.auth_header)]
    {
        header_value(place.member(name), secret.as_deref().unwrap_or_default(), MAX_SECRET_BYTES);
    }
    headers(place.member("headers"), &call.headers);
    has_host && has_path
}

fn host(place: Place<'_>, host: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'[' | b']');
    form::present(place, host, "- Specify the host to call", MAX_HOST_BYTES)
        && place.require(
            host.bytes().all(is_plain),
            format_args!("- '{}' is not a host name or address", Quoted(host)),
        )
}

/// A path with an optional query, as it stands in the request line.
pub(super) fn path(place: Place<'_>, path: &str) -> bool {
    form::present(place, path, "- Specify the path", form::MAX_PATH_BYTES)
        && place.require(path.starts_with('/'), format_args!("- '{}' must begin with '/'", Quoted(path)))
        && place.require(
            path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'),
            "- Must be URL-encoded: neither spaces, '#' nor characters outside of ASCII",
        )
}

pub(super) fn success_codes(place: Place<'_>, codes: &[u16]) {
    if place.require(!codes.is_empty(), "- Specify which status codes count as success")
        && form::at_most(place, codes.len(), MAX_CODES)
    {
        for (index, code) in codes.iter().enumerate() {
            form::between(place.element(index), u64::from(*code), 100, 599);
        }
    }
}

pub(super) fn payload(place: Place<'_>, payload: &str) {
    place.require(
        payload.len() <= MAX_PAYLOAD_BYTES,
        format_args!("- Cannot be longer than {MAX_PAYLOAD_BYTES} bytes"),
    );
}

pub(super) fn connection_timeout(place: Place<'_>, timeout: DroveDuration) {
    const MISSING: &str = "- Specify how long the connection may take";
    form::positive(place.member("connectionTimeout"), timeout, MISSING, HOUR);
}

pub(super) fn headers(place: Place<'_>, headers: &BTreeMap<String, String>) {
    if form::at_most(place, headers.len(), MAX_HEADERS) {
        for (name, value) in headers {
            let entry = place.entry(name);
            entry.require(
                is_token(name) && name.len() <= MAX_HEADER_BYTES,
                format_args!("- '{}' is not the name of a header", Quoted(name)),
            );
            header_value(entry, value, MAX_HEADER_BYTES);
        }
    }
}

/// No line breaks: what follows one would be a header of its own. Never quotes the value, which may be secret.
fn header_value(place: Place<'_>, value: &str, max_bytes: usize) {
    if form::within(place, value, max_bytes) {
        place.require(!value.contains(char::is_control), "- Cannot hold control characters");
    }
}

/// RFC 9110 §5.6.2.
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
