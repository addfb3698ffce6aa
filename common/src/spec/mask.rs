//! A copy of a spec that may be shown (drove-wire.md §2.3).

use super::{ConfigSource, HttpCallSpec, LocalServiceSpec};

/// What a sensitive text becomes.
const MASK: &str = "***";

/// Headers that carry credentials; Drove masks none, but its `authHeader` is one of them.
const SECRET_HEADERS: [&str; 5] =
    ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"];

/// A copy with everything sensitive masked: inline configs become empty, credentials `***`.
#[must_use]
pub fn masked(spec: &LocalServiceSpec) -> LocalServiceSpec {
    let mut copy = spec.clone();
    for config in &mut copy.configs {
        match &mut config.source {
            ConfigSource::Inline { data } => data.clear(),
            ConfigSource::ExecutorLocalFile { .. } => {}
            ConfigSource::ControllerHttpFetch { http } | ConfigSource::ExecutorHttpFetch { http } => {
                mask_call(http);
            }
        }
    }
    copy
}

fn mask_call(call: &mut HttpCallSpec) {
    for (name, value) in &mut call.headers {
        if SECRET_HEADERS.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
            MASK.clone_into(value);
        }
    }
    for secret in [&mut call.username, &mut call.password, &mut call.auth_header].into_iter().flatten() {
        MASK.clone_into(secret);
    }
}
