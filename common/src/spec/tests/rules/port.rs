//! Ports.

use serde_json::{Value, json};

use super::{assert_refusals, generous};

#[test]
fn which_ports_are_opened() {
    const UNKNOWN: &str = "Invalid port name for health check: web. Available ports:";
    assert_refusals(
        &generous(),
        &[
            (
                "/exposedPorts",
                json!([]),
                &[
                    "exposedPorts - Port specifications are needed",
                    &format!("{UNKNOWN} []"),
                    &format!("{UNKNOWN} []"),
                    &format!("preShutdown.hooks[1].portName - {UNKNOWN} []"),
                ],
            ),
            ("/exposedPorts/1/port", json!(0), &["exposedPorts[1].port - Port cannot be negative or 0"]),
            ("/exposedPorts/1/port", json!(-1), &["exposedPorts[1].port - Port cannot be negative or 0"]),
            ("/exposedPorts/1/port", json!(65536), &["exposedPorts[1].port - Port cannot be more than 65K"]),
            ("/exposedPorts/1/port", json!("x"), &["exposedPorts[1].port - must be a whole number"]),
            ("/exposedPorts/1/port", json!(1.5), &["exposedPorts[1].port - must be a whole number"]),
            (
                "/exposedPorts/1/type",
                Value::Null,
                &["exposedPorts[1].type - Please specify port type [HTTP/TCP/UDP]"],
            ),
            (
                "/exposedPorts/1/type",
                json!("SCTP"),
                &["exposedPorts[1].type - 'SCTP' is not one of [HTTP, HTTPS, TCP, UDP]"],
            ),
            ("/exposedPorts/1/name", json!(""), &["exposedPorts[1].name - Specify a name for the port"]),
            (
                "/exposedPorts/1/name",
                json!("a.b"),
                &["exposedPorts[1].name - Only characters, numbers, hyphen and underscore is allowed"],
            ),
            (
                "/exposedPorts/1/name",
                json!("web"),
                &["exposedPorts[1].name - Port name 'web' is given twice"],
            ),
            (
                "/exposedPorts/-",
                json!({"name": "stats_udp", "port": 1, "type": "TCP"}),
                &[
                    "exposedPorts[2].name - 'stats-udp' and 'stats_udp' would share the variable PORT_stats_udp",
                ],
            ),
            (
                "/exposedPorts/-",
                json!({"name": "again", "port": 8080, "type": "TCP"}),
                &["exposedPorts[2].port - Port 8080 is already exposed as 'web'"],
            ),
            ("/exposedPorts/-", json!({"name": "dns", "port": 8080, "type": "UDP"}), &[]),
            ("/exposedPorts/1", json!(53), &["exposedPorts[1] - must be an object, not a number"]),
        ],
    );
}
