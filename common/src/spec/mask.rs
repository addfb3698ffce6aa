//! A copy of a spec that may be shown (docs/drove-api.md §2.3).

use std::collections::BTreeMap;

use super::{CheckMode, ConfigSource, HttpCallSpec, LocalServiceSpec};

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
    let checks = copy.readiness.iter_mut().chain(&mut copy.healthcheck).map(|check| &mut check.mode);
    let hooks = copy.pre_shutdown.iter_mut().flat_map(|before| &mut before.hooks);
    for mode in checks.chain(hooks) {
        if let CheckMode::Http { headers, .. } = mode {
            mask_headers(headers.as_map_mut());
        }
    }
    copy
}

fn mask_call(call: &mut HttpCallSpec) {
    mask_headers(&mut call.headers);
    for secret in [&mut call.username, &mut call.password, &mut call.auth_header].into_iter().flatten() {
        MASK.clone_into(secret);
    }
}

fn mask_headers(headers: &mut BTreeMap<String, String>) {
    for (name, value) in headers {
        if SECRET_HEADERS.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
            MASK.clone_into(value);
        }
    }
}
