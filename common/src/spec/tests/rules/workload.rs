//! What a service is called and what it starts.

use serde_json::{Value, json};

use super::{assert_refusals, damage, generous, judged, sent};

#[test]
fn who_and_what_a_service_is() {
    const CHARACTERS: &str = "name - Only characters, numbers, hyphen and underscore is allowed";
    assert_refusals(
        &generous(),
        &[
            ("/name", Value::Null, &["name - Service name is mandatory"]),
            ("/name", json!(""), &["name - Service name is mandatory"]),
            ("/name", json!("edge cache"), &[CHARACTERS]),
            ("/name", json!("../up"), &[CHARACTERS]),
            ("/name", json!("kanté"), &[CHARACTERS]),
            ("/name", json!("x".repeat(161)), &["name - Cannot be longer than 160 bytes"]),
            ("/name", json!(["x"]), &["name - must be a text, not a list"]),
            ("/version", Value::Null, &["version - Service version is mandatory"]),
            (
                "/version",
                json!("1.0"),
                &["version - Only characters, numbers, hyphen and underscore is allowed"],
            ),
            ("/version", json!(1.1), &["version - must be a text; write \"1.1\" in quotes"]),
            ("/type", Value::Null, &["type - Specify if job is a computation or a service"]),
            ("/type", json!("CRON"), &["type - 'CRON' is not one of [SERVICE, COMPUTATION, LOCAL_SERVICE]"]),
            ("/userSpec/user", json!(""), &["userSpec.user - Specify the user"]),
            (
                "/userSpec/group",
                json!("a b"),
                &["userSpec.group - Must be a name or a numeric id: letters, digits, '.', '_' and '-'"],
            ),
            ("/tags", json!({"": "x"}), &["tags[] - Specify a name"]),
            ("/tags", json!([1]), &["tags - must be an object, not a list"]),
        ],
    );
}

#[test]
fn what_is_started() {
    assert_refusals(
        &generous(),
        &[
            ("/executable", Value::Null, &["executable - Executable details is required"]),
            ("/executable/url", json!(" "), &["executable.url - Specify url for container"]),
            (
                "/executable/url",
                json!("Not an image"),
                &[
                    "executable.url - 'Not an image' is not an image reference; write [registry[:port]/]name[:tag][@digest]",
                ],
            ),
            (
                "/executable/dockerPullTimeout",
                Value::Null,
                &["executable.dockerPullTimeout - Specify container fetch (docker pull) timeout"],
            ),
            (
                "/executable/dockerPullTimeout",
                json!("25h"),
                &["executable.dockerPullTimeout - Cannot be more than 1 day"],
            ),
            (
                "/executable/dockerPullTimeout",
                json!("soon"),
                &["executable.dockerPullTimeout - 'soon' is not a duration; \
                   write a whole number and a unit, such as '30s', '5 minutes' or '1h'"],
            ),
            ("/executable/type", json!("JAR"), &["executable.type - 'JAR' is not one of [DOCKER, PROCESS]"]),
            ("/args", json!(["a\u{0}b"]), &["args[0] - Cannot hold a NUL character"]),
            (
                "/args",
                json!(["x".repeat(1500), "y".repeat(600)]),
                &["Maximum combined length of command line arguments can be 2048"],
            ),
            (
                "/env",
                json!({"9LIVES": "x"}),
                &["env[9LIVES] - Is not the name of a variable: \
                   letters, digits, '_', '.' and '-', not beginning with a digit"],
            ),
            ("/env", json!({"A": ["x"]}), &["env[A] - must be a text, not a list"]),
        ],
    );
}

#[test]
fn processes_have_neither_volumes_nor_devices() {
    let process = json!({"type": "process", "command": ["/usr/bin/edge", "-v"], "workingDirectory": "/srv"});
    assert_refusals(
        &generous(),
        &[(
            "/executable",
            process.clone(),
            &[
                "volumes - A PROCESS executable sees the node's own directories; volumes need DOCKER",
                "devices - A PROCESS executable sees the node's own devices; devices need DOCKER",
            ],
        )],
    );
    let mut document = sent();
    for (pointer, value) in [("/executable", process), ("/volumes", json!([])), ("/devices", Value::Null)] {
        damage(&mut document, pointer, value);
    }
    assert_eq!(judged(&document, &generous()), [""; 0]);
    for (pointer, value, expected) in [
        (
            "/logging",
            json!({"type": "RSYSLOG", "server": "udp://logs:514"}),
            "logging.type - A PROCESS executable logs to files; RSYSLOG needs DOCKER",
        ),
        (
            "/executable/command",
            json!([]),
            "executable.command - Specify the program to start and its arguments",
        ),
        (
            "/executable/command",
            json!([""]),
            "executable.command - Specify the program to start and its arguments",
        ),
        ("/executable/command", json!("ls"), "executable.command - must be a list, not a text"),
        (
            "/executable/command",
            json!(["ls", "\u{0}"]),
            "executable.command[1] - Cannot hold a NUL character",
        ),
        (
            "/executable/workingDirectory",
            json!("srv"),
            "executable.workingDirectory - 'srv' must be an absolute path",
        ),
        (
            "/executable/workingDirectory",
            json!("/srv/../etc"),
            "executable.workingDirectory - Cannot hold '..'",
        ),
    ] {
        let mut document = document.clone();
        damage(&mut document, pointer, value);
        assert_eq!(judged(&document, &generous()), [expected]);
    }
}
