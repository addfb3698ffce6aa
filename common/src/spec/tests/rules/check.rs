//! Checks and hooks.

use serde_json::{Value, json};

use super::{assert_refusals, generous};

#[test]
fn how_a_service_is_checked() {
    assert_refusals(
        &generous(),
        &[
            ("/healthcheck", Value::Null, &["healthcheck - Health check is mandatory"]),
            ("/readiness", Value::Null, &["readiness - Readiness check is mandatory"]),
            (
                "/readiness/mode",
                Value::Null,
                &["readiness.mode - Specify what to check, by HTTP, TCP, GRPC or CMD"],
            ),
            (
                "/readiness/mode",
                json!({}),
                &["readiness.mode.type - Specify what to do: HTTP, TCP, GRPC or CMD"],
            ),
            (
                "/readiness/mode/type",
                json!("ICMP"),
                &["readiness.mode.type - 'ICMP' is not one of [HTTP, TCP, GRPC, CMD]"],
            ),
            (
                "/readiness/mode/portName",
                json!("nope"),
                &["Invalid port name for health check: nope. Available ports: [web, stats-udp]"],
            ),
            (
                "/readiness/mode/portName",
                json!("stats-udp"),
                &[
                    "readiness.mode.portName - Port 'stats-udp' is UDP, which cannot be checked by HTTP, TCP or GRPC",
                ],
            ),
            (
                "/readiness/mode",
                json!({"type": "grpc", "portName": "stats-udp", "service": "a\nb"}),
                &[
                    "readiness.mode.portName - Port 'stats-udp' is UDP, which cannot be checked by HTTP, TCP or GRPC",
                    "readiness.mode.service - Cannot hold control characters",
                ],
            ),
            (
                "/readiness/mode",
                json!({"type": "GRPC", "portName": "web", "service": "s".repeat(1025)}),
                &["readiness.mode.service - Cannot be longer than 1024 bytes"],
            ),
            (
                "/readiness/mode",
                json!({"type": "cmd"}),
                &["readiness.mode.command - Specify the command to run"],
            ),
            ("/readiness/timeout", Value::Null, &["readiness.timeout - Specify how long a check may take"]),
            ("/readiness/timeout", json!("0s"), &["readiness.timeout - Specify how long a check may take"]),
            ("/readiness/timeout", json!("61m"), &["readiness.timeout - Cannot be more than 1 hour"]),
            (
                "/readiness/interval",
                Value::Null,
                &["readiness.interval - Specify the time between two checks"],
            ),
            ("/readiness/initialDelay", json!("2d"), &["readiness.initialDelay - Cannot be more than 1 day"]),
            ("/readiness/attempts", json!(0), &["readiness.attempts must be between 1 and 100"]),
            ("/readiness/attempts", json!(-3), &["readiness.attempts must be between 1 and 100"]),
            ("/readiness/attempts", json!(101), &["readiness.attempts must be between 1 and 100"]),
            (
                "/healthcheck/mode/path",
                json!("alive"),
                &["healthcheck.mode.path - 'alive' must begin with '/'"],
            ),
            (
                "/healthcheck/mode/path",
                json!("/a b"),
                &[
                    "healthcheck.mode.path - Must be URL-encoded: neither spaces, '#' nor characters outside of ASCII",
                ],
            ),
            (
                "/healthcheck/mode/successCodes",
                json!([]),
                &["healthcheck.mode.successCodes - Specify which status codes count as success"],
            ),
            (
                "/healthcheck/mode/successCodes",
                json!([200, 99]),
                &["healthcheck.mode.successCodes[1] must be between 100 and 599"],
            ),
            (
                "/healthcheck/mode/verb",
                json!("PATCH"),
                &["healthcheck.mode.verb - 'PATCH' is not one of [GET, POST, PUT]"],
            ),
            (
                "/healthcheck/mode/connectionTimeout",
                json!("0s"),
                &["healthcheck.mode.connectionTimeout - Specify how long the connection may take"],
            ),
            (
                "/healthcheck/mode/headers",
                json!({"Bad Name": "x", "X-A": "two\nlines", "Content-Length": "1"}),
                &[
                    "healthcheck.mode.headers[Bad Name] - 'Bad Name' is not the name of a header",
                    "healthcheck.mode.headers[X-A] - Cannot hold control characters",
                    "healthcheck.mode.headers[Content-Length] - Is set by the check itself",
                ],
            ),
            (
                "/healthcheck/mode/headers",
                json!({"X-A": "x".repeat(8 * 1024 + 1)}),
                &["healthcheck.mode.headers[X-A] - Cannot be longer than 8192 bytes"],
            ),
            (
                "/preShutdown/hooks/1/headers",
                (0..65).map(|n| (format!("X-{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into(),
                &["preShutdown.hooks[1].headers - Cannot have more than 64 entries"],
            ),
            (
                "/preShutdown/hooks/0/command",
                json!(""),
                &["preShutdown.hooks[0].command - Specify the command to run"],
            ),
            (
                "/preShutdown/hookTimeout",
                json!("0s"),
                &["preShutdown.hookTimeout - Specify how long a hook may take"],
            ),
            (
                "/preShutdown/hookTimeout",
                json!("601s"),
                &["preShutdown.hookTimeout - Cannot be more than 10 minutes"],
            ),
            (
                "/preShutdown/waitBeforeKill",
                json!("2h"),
                &["preShutdown.waitBeforeKill - Cannot be more than 1 hour"],
            ),
            ("/preShutdown/grace", json!("61m"), &["preShutdown.grace - Cannot be more than 1 hour"]),
        ],
    );
}
