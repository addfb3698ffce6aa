//! Fresh certificates and configuration files for every role.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use muster_common::duration::DroveDuration;
use muster_common::id::{ClusterId, ControllerId, ExecutorId};
use muster_common::identity::{Identity, Role};
use muster_platform::Authority;
use serde_json::{Value, json};

use super::cluster_file::{ClusterFile, RoleEntry, RoleKind};
use super::layout::{Layout, loopback};
use super::stop::DRAIN_TIMEOUT;
use crate::error::CliError;

const CLUSTER: &str = "dev";
/// So that specs asking whole cores fit a laptop.
const CORE_OVERCOMMIT: u32 = 16;
/// Where controllers may fetch files from.
const FETCH_URLS: [&str; 6] = [
    "http://localhost:*/",
    "http://127.0.0.1:*/",
    "http://[::1]:*/",
    "https://localhost:*/",
    "https://127.0.0.1:*/",
    "https://[::1]:*/",
];

/// Writes every role's directory, certificate and configuration; nothing runs yet.
pub(crate) fn prepare(dir: &Path, layout: Layout, ephemeral: bool) -> Result<ClusterFile, CliError> {
    let fail = |error: &dyn std::fmt::Display| {
        CliError::failure(format!("cannot prepare the cluster in {}: {error}", dir.display()))
    };
    let cluster = ClusterId::new(CLUSTER).map_err(|error| fail(&error))?;
    let authority = Authority::new(&cluster).map_err(|error| fail(&error))?;
    let file = ClusterFile {
        cluster: CLUSTER.to_owned(),
        port_base: layout.port_base,
        ephemeral,
        stopped: false,
        roles: roles(dir, layout),
    };
    for (number, role) in numbered(&file.roles) {
        let identity = match role.role {
            RoleKind::Controller => Role::Controller(ControllerId(number.into())),
            RoleKind::Executor => Role::Executor(ExecutorId::new(&role.id).map_err(|error| fail(&error))?),
        };
        let issued = authority
            .issue(&Identity { cluster: cluster.clone(), role: identity })
            .map_err(|error| fail(&error))?;
        let config = match role.role {
            RoleKind::Controller => controller_config(layout, number, role),
            RoleKind::Executor => executor_config(layout, number, role),
        };
        let config = serde_saphyr::to_string(&config).map_err(|error| fail(&error))?;
        let written = make_dir(&role.dir)
            .and_then(|()| write_private(&role.dir.join("ca.pem"), &authority.ca_pem()))
            .and_then(|()| write_private(&role.dir.join("cert.pem"), &issued.cert_pem))
            .and_then(|()| write_private(&role.dir.join("key.pem"), &issued.key_pem))
            .and_then(|()| write_private(&role.config(), &config));
        written.map_err(|error| fail(&error))?;
    }
    file.write(dir)?;
    Ok(file)
}

fn roles(dir: &Path, layout: Layout) -> Vec<RoleEntry> {
    let entry = |role: RoleKind, number: u16, rest: u16, grpc: Option<u16>| {
        let id = format!("{}-{number}", role.subcommand());
        RoleEntry {
            role,
            dir: dir.join(&id),
            id,
            pid: None,
            start_ticks: None,
            rest: format!("http://{}", loopback(rest)),
            grpc: grpc.map(loopback),
        }
    };
    let controllers = (1..=layout.controllers).map(|i| {
        entry(RoleKind::Controller, i, layout.controller_api(i), Some(layout.controller_cluster(i)))
    });
    let executors =
        (1..=layout.executors).map(|j| entry(RoleKind::Executor, j, layout.executor_api(j), None));
    controllers.chain(executors).collect()
}

/// Each role with its number among its kind, counted from 1.
fn numbered(roles: &[RoleEntry]) -> impl Iterator<Item = (u16, &RoleEntry)> {
    let of = |kind| roles.iter().filter(move |role| role.role == kind);
    (1..).zip(of(RoleKind::Controller)).chain((1..).zip(of(RoleKind::Executor)))
}

fn controller_config(layout: Layout, number: u16, role: &RoleEntry) -> Value {
    let members: Vec<Value> = (1..=layout.controllers)
        .map(|i| {
            json!({
                "id": i,
                "cluster": loopback(layout.controller_cluster(i)),
                "api": loopback(layout.controller_api(i)),
            })
        })
        .collect();
    json!({
        "cluster": CLUSTER,
        "id": number,
        "dataDir": role.dir.join("data"),
        "listen": {
            "cluster": loopback(layout.controller_cluster(number)),
            "api": loopback(layout.controller_api(number)),
        },
        "members": members,
        "tls": tls(role),
        // Whoever runs specs here reaches loopback anyway; other machines are not for an experiment to call.
        "specLimits": {"allowedFetchUrls": FETCH_URLS},
    })
}

fn executor_config(layout: Layout, number: u16, role: &RoleEntry) -> Value {
    let controllers: Vec<String> =
        (1..=layout.controllers).map(|i| loopback(layout.controller_cluster(i))).collect();
    let ports = layout.instance_ports(number);
    json!({
        "cluster": CLUSTER,
        "id": role.id,
        "dataDir": role.dir.join("data"),
        "listen": {"api": loopback(layout.executor_api(number))},
        "controllers": controllers,
        "tls": tls(role),
        "runner": "auto",
        "coreOvercommit": CORE_OVERCOMMIT,
        // Who may start processes as this user has the user's files and variables anyway.
        "hostAccess": {"volumes": ["/"], "files": ["/"], "env": ["*"]},
        "ports": {"from": ports.start(), "to": ports.end()},
        "onTerminate": "empty",
        "drainTimeout": DroveDuration::from_secs(DRAIN_TIMEOUT.as_secs()),
    })
}

fn tls(role: &RoleEntry) -> Value {
    json!({
        "ca": role.dir.join("ca.pem"),
        "cert": role.dir.join("cert.pem"),
        "key": role.dir.join("key.pem"),
    })
}

fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
