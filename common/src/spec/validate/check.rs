//! Readiness check, health check and the hooks before the stop.

use std::time::Duration;

use super::form::{self, DAY, HOUR};
use super::{call, command};
use crate::problem::{Place, Quoted};
use crate::spec::{CheckMode, CheckSpec, Headers, LocalServiceSpec, PortSpec, PortType, PreShutdownSpec};

const MAX_ATTEMPTS: u64 = 100;
const MAX_HOOKS: usize = 32;
/// A hook holds up the stop for so long at most.
const MAX_HOOK_TIMEOUT: Duration = Duration::from_secs(600);
/// Of a full name such as `shop.v1.Basket`.
const MAX_GRPC_SERVICE_BYTES: usize = 1024;
/// Headers that say where a call ends and what becomes of its connection.
const FRAMING: [&str; 7] =
    ["connection", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade"];

pub(super) fn check(spec_at: Place<'_>, spec: &LocalServiceSpec) {
    let ports = &spec.exposed_ports;
    let (health, readiness) = (spec_at.member("healthcheck"), spec_at.member("readiness"));
    required(health, spec.healthcheck.as_ref(), ports, "- Health check is mandatory");
    required(readiness, spec.readiness.as_ref(), ports, "- Readiness check is mandatory");
    if let Some(before) = &spec.pre_shutdown {
        pre_shutdown(spec_at.member("preShutdown"), before, ports);
    }
}

fn required(place: Place<'_>, check: Option<&CheckSpec>, ports: &[PortSpec], missing: &str) {
    let Some(check) = check else { return place.refuse(missing) };
    let mode_at = place.member("mode");
    if let Some(name) = check.mode.port_name() {
        let port_at = mode_at.member("portName");
        port(port_at, name, ports, |unknown| port_at.refuse_with_sentence(unknown));
    }
    mode(mode_at, &check.mode);
    form::positive(place.member("timeout"), check.timeout, "- Specify how long a check may take", HOUR);
    form::positive(place.member("interval"), check.interval, "- Specify the time between two checks", DAY);
    form::between(place.member("attempts"), u64::from(check.attempts), 1, MAX_ATTEMPTS);
    form::capped(place.member("initialDelay"), check.initial_delay, DAY);
}

fn pre_shutdown(place: Place<'_>, before: &PreShutdownSpec, ports: &[PortSpec]) {
    let hooks = place.member("hooks");
    if form::at_most(hooks, before.hooks.len(), MAX_HOOKS) {
        for (index, hook) in before.hooks.iter().enumerate() {
            let hook_at = hooks.element(index);
            if let Some(name) = hook.port_name() {
                let port_at = hook_at.member("portName");
                // Drove's sentence does not say whose port it is, which may be that of any hook.
                port(port_at, name, ports, |unknown| port_at.refuse(format_args!("- {unknown}")));
            }
            mode(hook_at, hook);
        }
    }
    if let Some(limit) = before.hook_timeout {
        const MISSING: &str = "- Specify how long a hook may take";
        form::positive(place.member("hookTimeout"), limit, MISSING, MAX_HOOK_TIMEOUT);
    }
    form::capped(place.member("waitBeforeKill"), before.wait_before_kill, HOUR);
    if let Some(grace) = before.grace {
        form::capped(place.member("grace"), grace, HOUR);
    }
}

fn mode(place: Place<'_>, mode: &CheckMode) {
    match mode {
        CheckMode::Http {
            protocol: _,
            port_name: _,
            path,
            verb: _,
            success_codes,
            payload,
            headers,
            connection_timeout,
            insecure: _,
        } => {
            call::path(place.member("path"), path);
            call::success_codes(place.member("successCodes"), success_codes);
            call::payload(place.member("payload"), payload);
            check_headers(place.member("headers"), headers);
            call::connection_timeout(place, *connection_timeout);
        }
        CheckMode::Tcp { port_name: _ } => {}
        CheckMode::Grpc { port_name: _, service, tls: _, insecure: _ } => {
            let place = place.member("service");
            if form::within(place, service, MAX_GRPC_SERVICE_BYTES) {
                place.require(!service.contains(char::is_control), "- Cannot hold control characters");
            }
        }
        CheckMode::Cmd { command, shell_disabled: _ } => {
            command::single(place.member("command"), command);
        }
    }
}

/// What frames the call is the check's own business: a second length or a kept connection would break it.
fn check_headers(place: Place<'_>, headers: &Headers) {
    call::headers(place, headers.as_map());
    for name in headers.as_map().keys() {
        place.entry(name).require(
            !FRAMING.iter().any(|framing| name.eq_ignore_ascii_case(framing)),
            "- Is set by the check itself",
        );
    }
}

/// All kinds of checks that use a port speak over TCP.
fn port(place: Place<'_>, name: &str, ports: &[PortSpec], refuse: impl FnOnce(&str)) {
    match ports.iter().find(|port| port.name == name) {
        None => {
            let available: Vec<_> = ports.iter().map(|port| Quoted(&port.name).to_string()).collect();
            refuse(&format!(
                "Invalid port name for health check: {}. Available ports: [{}]",
                Quoted(name),
                available.join(", ")
            ));
        }
        Some(port) => {
            place.require(
                port.port_type != Some(PortType::Udp),
                format_args!(
                    "- Port '{}' is UDP, which cannot be checked by HTTP, TCP or GRPC",
                    Quoted(name)
                ),
            );
        }
    }
}
