//! Every rule of a spec (docs/drove-api.md §3.3, with Drove's sentences where it has them); all problems are
//! named, each with its field's path. One file per noun of the spec; [`form`] holds the rules that many
//! members share.

mod call;
mod check;
mod command;
mod config;
mod device;
mod executable;
mod form;
mod identity;
mod image;
mod logging;
mod port;
mod resource;
mod restart;
mod volume;

use serde::{Deserialize, Serialize};

use super::{FetchUrl, LocalServiceSpec};
use crate::problem::{FieldError, Problems};

/// How many bytes of JSON a spec may have: it travels in Raft entries and in slot tables.
pub const MAX_SPEC_BYTES: usize = 512 * 1024;

/// What the cluster allows; the same spec can be valid on one cluster and not on another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SpecLimits {
    /// When set, only host directories under one of these may be mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_mount_dirs: Option<Vec<String>>,
    /// Whether arguments are refused.
    pub disable_cmdl_args: bool,
    /// Whether devices are allowed.
    pub enable_raw_device_access: bool,
    /// Where controllers may fetch files of type `CONTROLLER_HTTP_FETCH` from. Nowhere unless it is named: who writes
    /// specs could otherwise call whatever the controllers reach.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_fetch_urls: Vec<FetchUrl>,
}

/// Every problem of `spec`; none means it can be stored.
#[must_use]
pub fn validate(spec: &LocalServiceSpec, limits: &SpecLimits) -> Vec<FieldError> {
    let problems = Problems::default();
    let root = problems.root();
    identity::check(root, spec);
    executable::check(root, spec);
    port::check(root, &spec.exposed_ports);
    volume::check(root, spec, limits.allowed_mount_dirs.as_deref());
    config::check(root, &spec.configs, &limits.allowed_fetch_urls);
    logging::check(root, spec);
    resource::check(root, spec);
    check::check(root, spec);
    command::check(root, spec, limits.disable_cmdl_args);
    device::check(root, spec, limits.enable_raw_device_access);
    restart::check(root, spec);
    let size = spec.to_json().len();
    root.require(
        size <= MAX_SPEC_BYTES,
        format_args!("- The spec has {size} bytes of JSON; at most {MAX_SPEC_BYTES} are allowed"),
    );
    problems.into_errors()
}
