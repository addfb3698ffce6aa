//! Where output goes.

use super::form;
use crate::instance::RunnerKind;
use crate::problem::{Place, Quoted};
use crate::size::ByteSize;
use crate::spec::{LocalServiceSpec, LoggingSpec};

/// Below it rotating would cost more than writing.
const MIN_SIZE: u64 = 4 * 1024;
/// A tebibyte per file.
const MAX_SIZE: u64 = 1 << 40;
const MAX_FILES: u64 = 100;
const MAX_TEXT_BYTES: usize = 1024;

pub(super) fn check(spec_at: Place<'_>, spec: &LocalServiceSpec) {
    let place = spec_at.member("logging");
    match &spec.logging {
        None => {}
        Some(LoggingSpec::Local { max_size, max_files, compress: _ }) => {
            size(place.member("maxSize"), max_size);
            form::between(place.member("maxFiles"), u64::from(*max_files), 1, MAX_FILES);
        }
        Some(LoggingSpec::Rsyslog { server, tag_prefix, tag_suffix }) => {
            place.member("type").require(
                spec.runner() == RunnerKind::Docker,
                "- A PROCESS executable logs to files; RSYSLOG needs DOCKER",
            );
            let at = place.member("server");
            if form::present(at, server, "- Specify the syslog server", MAX_TEXT_BYTES) {
                at.require(
                    LoggingSpec::is_syslog_server(server),
                    format_args!(
                        "- '{}' must be udp://HOST:PORT, tcp://HOST:PORT or tcp+tls://HOST:PORT",
                        Quoted(server)
                    ),
                );
            }
            for (name, text) in [("tagPrefix", tag_prefix), ("tagSuffix", tag_suffix)] {
                form::within(place.member(name), text.as_deref().unwrap_or_default(), MAX_TEXT_BYTES);
            }
        }
    }
}

fn size(place: Place<'_>, text: &str) {
    if !place.require(!text.trim().is_empty(), "- Specify max size of logs, such as 10m") {
        return;
    }
    match text.parse::<ByteSize>() {
        Ok(size) => {
            place.require((MIN_SIZE..=MAX_SIZE).contains(&size.as_bytes()), "- Must be between 4k and 1024g");
        }
        Err(problem) => place.refuse(format_args!("- {problem}")),
    }
}
