//! Bodies that are taken as they stand, for people to begin from and for programs that try the API.

use serde_json::{Value, json};

/// A body's name, and the body.
pub(super) type Example = (&'static str, fn() -> Value);

pub(super) const SPECS: &[Example] = &[("container", container), ("process", process)];
pub(super) const OPERATIONS: &[Example] = &[
    ("create", create),
    ("activate", || json!({"type": "ACTIVATE", "serviceId": "edge-cache-7"})),
    (
        "restart",
        || json!({"type": "RESTART", "serviceId": "edge-cache-7", "stopFirst": false, "clusterOpSpec": pace()}),
    ),
    (
        "updateSpec",
        || json!({"type": "UPDATE_SPEC", "spec": container(), "stopFirst": false, "opSpec": pace()}),
    ),
];
pub(super) const SIMULATIONS: &[Example] =
    &[("container", || json!({"spec": container(), "numInstances": 2}))];
pub(super) const DRAINS: &[Example] = &[("patient", || json!({"timeout": "15 minutes"}))];
pub(super) const TAGS: &[Example] = &[
    ("disks", || json!({"tags": ["ssd", "zone=a"]})),
    ("move", || json!({"remove": ["gpu"], "add": ["zone=b"]})),
];
pub(super) const COMMANDS: &[Example] =
    &[("uptime", || json!({"command": ["uptime"], "stdin": "", "env": {"LC_ALL": "C"}, "timeout": "10s"}))];
pub(super) const CONTROLLERS: &[Example] = &[("fourth", || json!({"id": 4, "cluster": "10.0.0.4:4100"}))];

fn pace() -> Value {
    json!({"timeout": "5 minutes", "parallelism": "25%", "failureStrategy": "ROLLBACK", "settle": "10 seconds"})
}

fn create() -> Value {
    json!({"type": "CREATE", "spec": container(), "instancesPerHost": 1})
}

fn check(mode: &Value) -> Value {
    json!({"mode": mode, "timeout": "1 second", "interval": "5 seconds", "attempts": 3, "initialDelay": "0 seconds"})
}

/// A container that uses most of what a spec can say.
fn container() -> Value {
    let call = json!({
        "type": "HTTP", "protocol": "HTTP", "portName": "main", "path": "/health", "verb": "GET", "successCodes": [200],
        "payload": "", "connectionTimeout": "1 second", "insecure": false
    });
    json!({
        "name": "edge-cache", "version": "7", "type": "LOCAL_SERVICE",
        "executable": {
            "type": "DOCKER", "url": "registry.example.org/team/edge-cache:7.0", "dockerPullTimeout": "5 minutes"
        },
        "exposedPorts": [{"name": "main", "port": 8080, "type": "HTTP"}],
        "volumes": [{"pathInContainer": "/cache", "pathOnHost": "/srv/cache", "mode": "READ_WRITE"}],
        "configs": [{"type": "INLINE", "localFilename": "/etc/edge.conf", "data": "d29ya2VycyA0Cg=="}],
        "logging": {"type": "LOCAL", "maxSize": "10m", "maxFiles": 3, "compress": true},
        "resources": [{"type": "CPU", "count": 1}, {"type": "MEMORY", "sizeInMB": 128}],
        "placementPolicy": {
            "type": "LOCAL", "hostLevel": false, "tags": {"all": ["ssd"], "any": ["zone=a", "zone=b"], "none": ["gpu"]}
        },
        "healthcheck": check(&call),
        "readiness": check(&json!({"type": "CMD", "command": "/app/ready", "shellDisabled": false})),
        "tags": {"team": "delivery"}, "env": {"LOG_LEVEL": "INFO"}, "args": ["--verbose"],
        "preShutdown": {
            "hooks": [{"type": "CMD", "command": "/app/drain", "shellDisabled": false}], "hookTimeout": "10 seconds",
            "waitBeforeKill": "3 seconds", "grace": "10 seconds"
        },
        "userSpec": {"user": "1000", "group": "1000"},
        "grace": "1 minute",
        "restartPolicy": {"backoff": ["1s", "5s"], "jitter": 10, "resetAfter": "10 minutes", "budget": "UNLIMITED"}
    })
}

/// A program of the node.
fn process() -> Value {
    let check = check(&json!({"type": "TCP", "portName": "main"}));
    json!({
        "name": "metrics", "version": "1", "type": "LOCAL_SERVICE",
        "executable": {"type": "PROCESS", "command": ["/usr/bin/metrics", "--port", "9100"], "workingDirectory": "/tmp"},
        "exposedPorts": [{"name": "main", "port": 9100, "type": "TCP"}],
        "resources": [{"type": "CPU", "count": 1}, {"type": "MEMORY", "sizeInMB": 64}],
        "placementPolicy": {"type": "LOCAL", "hostLevel": true},
        "healthcheck": check, "readiness": check
    })
}
