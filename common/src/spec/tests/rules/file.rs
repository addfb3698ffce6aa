//! Volumes, configs, devices and logs.

use serde_json::{Value, json};

use super::{assert_refusals, generous};

#[test]
fn which_files_and_devices_it_gets() {
    assert_refusals(
        &generous(),
        &[
            (
                "/volumes/0/pathInContainer",
                json!(""),
                &["volumes[0].pathInContainer - Provide mount path inside container"],
            ),
            (
                "/volumes/0/pathOnHost",
                Value::Null,
                &["volumes[0].pathOnHost - Provide host directory to mount"],
            ),
            (
                "/volumes/0/pathOnHost",
                json!("srv"),
                &["volumes[0].pathOnHost - 'srv' must be an absolute path"],
            ),
            ("/volumes/0/pathOnHost", json!("/srv/../etc"), &["volumes[0].pathOnHost - Cannot hold '..'"]),
            (
                "/volumes/0/mode",
                Value::Null,
                &["volumes[0].mode - Specify whether mount is read-only or read-write"],
            ),
            (
                "/volumes/-",
                json!({"pathInContainer": "/var/cache", "pathOnHost": "/b", "mode": "READ_ONLY"}),
                &["volumes[1].pathInContainer - Another volume is mounted there"],
            ),
            ("/configs/0/type", Value::Null, &["configs[0].type - Specify where the file comes from"]),
            (
                "/configs/0/localFilename",
                json!(""),
                &["configs[0].localFilename - Specify where the file is to be placed"],
            ),
            ("/configs/0/localFilename", json!("../motd"), &["configs[0].localFilename - Cannot hold '..'"]),
            (
                "/configs/0/localFilename",
                json!("/etc/"),
                &["configs[0].localFilename - Must name a file, not a directory"],
            ),
            ("/configs/0/localFilename", json!("etc/motd"), &[]),
            (
                "/configs/0/localFilename",
                json!("/etc/edge/resolv.conf"),
                &["configs[1].localFilename - Another config is placed there"],
            ),
            (
                "/configs/0/data",
                json!("%"),
                &["configs[0].data - Is not Base64: Invalid symbol 37, offset 0."],
            ),
            (
                "/configs/1/filePathOnHost",
                json!("hosts"),
                &["configs[1].filePathOnHost - 'hosts' must be an absolute path"],
            ),
            ("/configs/2/http", Value::Null, &["configs[2].http - Specify the call that fetches the file"]),
            ("/configs/2/http/hostname", json!(""), &["configs[2].http.hostname - Specify the host to call"]),
            (
                "/configs/2/http/hostname",
                json!("a/b"),
                &["configs[2].http.hostname - 'a/b' is not a host name or address"],
            ),
            ("/configs/2/http/port", json!(-1), &["configs[2].http.port must be between 0 and 65535"]),
            ("/configs/2/http/path", json!(""), &["configs[2].http.path - Specify the path"]),
            (
                "/configs/2/http/protocol",
                json!("FTP"),
                &["configs[2].http.protocol - 'FTP' is not one of [HTTP, HTTPS]"],
            ),
            (
                "/configs/2/http/password",
                json!("a\nb"),
                &["configs[2].http.password - Cannot hold control characters"],
            ),
            (
                "/configs/2/http/headers",
                json!({"a b": "c"}),
                &["configs[2].http.headers[a b] - 'a b' is not the name of a header"],
            ),
            (
                "/configs/2/http/headers",
                json!({"a": "b\r\nc: d"}),
                &["configs[2].http.headers[a] - Cannot hold control characters"],
            ),
            (
                "/configs/2/http/headers",
                json!({"Host": "elsewhere"}),
                &["configs[2].http.headers[Host] - controllers do not send a header 'Host' of a spec"],
            ),
            ("/devices/0/pathOnHost", json!(""), &["devices[0].pathOnHost - Specify the device on the host"]),
            (
                "/devices/1/count",
                json!(-2),
                &["devices[1].count - Must be a number of devices, or -1 for all of them"],
            ),
            ("/devices/1/deviceIds", json!(["0"]), &["devices[1].count - Give either a count or deviceIds"]),
            ("/logging/maxSize", json!(""), &["logging.maxSize - Specify max size of logs, such as 10m"]),
            (
                "/logging/maxSize",
                json!("big"),
                &[
                    "logging.maxSize - 'big' is not a size; write a whole number and k, m or g, such as '512k' or '10m'",
                ],
            ),
            ("/logging/maxSize", json!(1), &["logging.maxSize - Must be between 4k and 1024g"]),
            ("/logging/maxFiles", json!(0), &["logging.maxFiles must be between 1 and 100"]),
            ("/logging/maxFiles", json!(101), &["logging.maxFiles must be between 1 and 100"]),
            ("/logging", json!({"type": "rsyslog"}), &["logging.server - Specify the syslog server"]),
            ("/logging", json!({"type": "RSYSLOG", "server": "udp://logs.example.org:514"}), &[]),
            ("/logging", json!({"type": "RSYSLOG", "server": "tcp+tls://[2001:db8::1]:6514"}), &[]),
            (
                "/logging",
                json!({"type": "RSYSLOG", "server": "unix:///run/docker.sock"}),
                &[
                    "logging.server - 'unix:///run/docker.sock' must be udp://HOST:PORT, tcp://HOST:PORT or tcp+tls://HOST:PORT",
                ],
            ),
        ],
    );
}
