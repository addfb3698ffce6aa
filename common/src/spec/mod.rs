//! What to run: Drove's `LocalServiceSpec` (docs/drove-api.md §2.2) with Muster's additions
//! (`PROCESS` executables, `TCP` and `GRPC` checks, headers of `HTTP` checks, `restartPolicy`, decimal CPU counts).
//!
//! Reading is lenient where the wire is (see [`crate::read`]): what is missing becomes empty or zero, and
//! [`validate`] then names every problem with the path of its field. [`masked`] hides what must not be shown.

mod check;
mod config;
mod device;
mod drain;
mod executable;
mod fetch;
mod header;
mod logging;
mod mask;
mod patience;
mod placement;
mod port;
mod resource;
mod restart;
mod shutdown;
mod tag_expression;
mod validate;
mod volume;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::duration::DroveDuration;
use crate::id::{InvalidId, ServiceId};
use crate::instance::RunnerKind;
use crate::read::{Node, Read};

pub use crate::problem::FieldError;
pub use check::{CheckMode, CheckSpec, HttpVerb, Protocol};
pub use config::{ConfigSource, ConfigSpec, HttpCallSpec, MAX_CONTROLLER_FETCH_BYTES};
pub use device::{DevicePermissions, DeviceSpec};
pub use drain::DrainPolicy;
pub use executable::Executable;
pub use fetch::{FetchRefusal, FetchUrl, InvalidFetchUrl};
pub use header::Headers;
pub use logging::LoggingSpec;
pub use mask::masked;
pub use placement::{PlacementPolicy, TagMatch};
pub use port::{PortSpec, PortType};
pub use resource::{CpuCount, ResourceRequirement};
pub use restart::RestartPolicy;
pub use shutdown::PreShutdownSpec;
pub use tag_expression::{InvalidTagExpression, TagExpression};
pub use validate::{MAX_SPEC_BYTES, SpecLimits, validate};
pub use volume::{MountMode, MountedVolume};

wire_enum! {
    /// What kind of job a spec describes; only checked for presence (docs/drove-api.md §2.2).
    pub enum JobType {
        /// Also accepted for local services.
        Service = "SERVICE",
        /// A job that ends.
        Computation = "COMPUTATION",
        /// What Muster runs.
        LocalService = "LOCAL_SERVICE",
    }
}

/// Who the workload runs as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UserSpec {
    /// Name or numeric id.
    pub user: String,
    /// Name or numeric id; the user's own group when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// How long after its start an instance may fail its checks when the spec does not say.
const DEFAULT_START_GRACE: DroveDuration = DroveDuration::from_secs(60);

/// One service's spec. By default it says nothing at all, which is not valid.
#[derive(Debug, Default, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalServiceSpec {
    /// `[a-zA-Z\d\-_]+`.
    pub name: String,
    /// `[a-zA-Z\d\-_]+`.
    pub version: String,
    /// Must be there.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub job_type: Option<JobType>,
    /// What to start. Must be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub executable: Option<Executable>,
    /// At least one.
    pub exposed_ports: Vec<PortSpec>,
    /// Host directories to mount.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub volumes: Vec<MountedVolume>,
    /// Files to place before the start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub configs: Vec<ConfigSpec>,
    /// Absent means [`LoggingSpec::default`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging: Option<LoggingSpec>,
    /// Must hold CPU and MEMORY.
    pub resources: Vec<ResourceRequirement>,
    /// Must be `LOCAL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub placement_policy: Option<PlacementPolicy>,
    /// Does it still work? Must be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub healthcheck: Option<CheckSpec>,
    /// Can it be used for the first time? Must be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub readiness: Option<CheckSpec>,
    /// Free-form.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(default)]
    pub tags: BTreeMap<String, String>,
    /// An empty value copies the executor's own variable, or drops it when unset.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(default)]
    pub env: BTreeMap<String, String>,
    /// Arguments to the container's entry point, or after a PROCESS executable's command.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub args: Vec<String>,
    /// Devices to pass in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub devices: Vec<DeviceSpec>,
    /// What to do before the stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_shutdown: Option<PreShutdownSpec>,
    /// Who it runs as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_spec: Option<UserSpec>,
    /// Addition: how long after its start an instance may fail its checks before that counts
    /// against it; 60 s when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<DroveDuration>,
    /// Addition: when and how often a failed instance is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
    /// Addition: when a drain takes its instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_policy: Option<DrainPolicy>,
}

impl LocalServiceSpec {
    /// Its JSON, as it is stored and sent between the roles.
    #[must_use]
    // All keys are strings and all numbers finite: writing to memory cannot fail.
    #[allow(clippy::expect_used, clippy::missing_panics_doc)]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a spec is always JSON")
    }

    /// The spec that [`Self::to_json`] wrote. What users send is read by [`crate::read::accept`], which
    /// names every problem.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// `<name>-<version>`.
    pub fn service_id(&self) -> Result<ServiceId, InvalidId> {
        ServiceId::from_parts(&self.name, &self.version)
    }

    /// The runner that its executable needs; DOCKER while there is no executable.
    #[must_use]
    pub fn runner(&self) -> RunnerKind {
        match self.executable {
            Some(Executable::Process { .. }) => RunnerKind::Process,
            Some(Executable::Docker { .. }) | None => RunnerKind::Docker,
        }
    }

    /// The CPU requirement; zero when there is none (validation refuses that).
    #[must_use]
    pub fn cpu_count(&self) -> CpuCount {
        self.resources
            .iter()
            .find_map(|resource| match resource {
                ResourceRequirement::Cpu { count } => Some(*count),
                ResourceRequirement::Memory { .. } => None,
            })
            .unwrap_or_default()
    }

    /// The memory requirement in MB; zero when there is none (validation refuses that).
    #[must_use]
    pub fn memory_mb(&self) -> u64 {
        self.resources
            .iter()
            .find_map(|resource| match resource {
                ResourceRequirement::Memory { size_in_mb } => Some(*size_in_mb),
                ResourceRequirement::Cpu { .. } => None,
            })
            .unwrap_or_default()
    }

    /// Whether it is for an executor with these tags.
    pub fn matches(&self, has_tag: impl Fn(&str) -> bool) -> bool {
        match &self.placement_policy {
            Some(PlacementPolicy::Local { tags, .. }) => tags.matches(has_tag),
            Some(PlacementPolicy::Unsupported) | None => true,
        }
    }

    /// Why it is not for an executor with these tags, in words; `None`: it is.
    pub fn mismatch(&self, has_tag: impl Fn(&str) -> bool) -> Option<String> {
        match &self.placement_policy {
            Some(PlacementPolicy::Local { tags, .. }) => tags.mismatch(has_tag),
            Some(PlacementPolicy::Unsupported) | None => None,
        }
    }

    /// Whether host ports are the declared ports; then there is one instance per host and a
    /// replacement must stop the old one first.
    #[must_use]
    pub fn is_host_level(&self) -> bool {
        matches!(self.placement_policy, Some(PlacementPolicy::Local { host_level: true, .. }))
    }

    /// How long after its start an instance may fail its checks.
    #[must_use]
    pub fn start_grace(&self) -> Duration {
        self.grace.unwrap_or(DEFAULT_START_GRACE).as_duration()
    }

    /// What an instance has between the stop signal and the kill.
    #[must_use]
    pub fn stop_grace(&self) -> Duration {
        self.pre_shutdown
            .as_ref()
            .and_then(|before| before.grace)
            .unwrap_or(shutdown::DEFAULT_STOP_GRACE)
            .as_duration()
    }

    /// The restart policy, or the default one.
    #[must_use]
    pub fn restart_policy(&self) -> RestartPolicy {
        self.restart_policy.clone().unwrap_or_default()
    }

    /// When a drain takes its instances.
    #[must_use]
    pub fn drain_policy(&self) -> DrainPolicy {
        self.drain_policy.unwrap_or(DrainPolicy::Normal)
    }
}

impl Read for UserSpec {
    fn read(node: &Node<'_>) -> Self {
        let user = node.object();
        Self { user: user.get_or_default("user"), group: user.get("group") }
    }
}

impl Read for LocalServiceSpec {
    fn read(node: &Node<'_>) -> Self {
        let spec = node.object();
        Self {
            name: spec.get_or_default("name"),
            version: spec.get_or_default("version"),
            job_type: spec.get("type"),
            executable: spec.get("executable"),
            exposed_ports: spec.get_or_default("exposedPorts"),
            volumes: spec.get_or_default("volumes"),
            configs: spec.get_or_default("configs"),
            logging: spec.get("logging"),
            resources: spec.get_or_default("resources"),
            placement_policy: spec.get("placementPolicy"),
            healthcheck: spec.get("healthcheck"),
            readiness: spec.get("readiness"),
            tags: spec.get_or_default("tags"),
            env: spec.get_or_default("env"),
            args: spec.get_or_default("args"),
            devices: spec.get_or_default("devices"),
            pre_shutdown: spec.get("preShutdown"),
            user_spec: spec.get("userSpec"),
            grace: spec.get("grace"),
            restart_policy: spec.get("restartPolicy"),
            drain_policy: spec.get("drainPolicy"),
        }
    }
}

deserialize_by_reading!(UserSpec, LocalServiceSpec);

#[cfg(test)]
pub(crate) mod tests;
