//! A container: what is asked of the engine for a plan, and what it was given less. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, DeviceMapping, DeviceRequest, HostConfig,
    HostConfigLogConfig, Mount, MountType, PortBinding, ResourcesUlimits,
};
use muster_common::evidence::{MAX_MESSAGE_BYTES, MAX_WARNINGS, head};
use muster_common::instance::ResourceAllocation;
use muster_common::spec::{
    DevicePermissions, DeviceSpec, LocalServiceSpec, LoggingSpec, MountMode, PortType,
};

use super::owner::{Owner, label, labels};
use crate::config::DockerConfig;
use crate::runner::{LaunchPlan, Place};

/// Capabilities that the engine grants by default and services have no use for: forging packets,
/// making device nodes, writing the kernel's audit log, giving files capabilities of their own.
const DROPPED_CAPABILITIES: [&str; 4] = ["NET_RAW", "MKNOD", "AUDIT_WRITE", "SETFCAP"];

/// Output that is kept in memory while the log driver lags, as Drove sets it; then it is dropped, so
/// that logging never blocks the service.
const LOG_BUFFER: &str = "10m";

/// The engine accepts longer names; tools that show them do not.
const MAX_NAME: usize = 200;

/// What the node's configuration holds each container to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    max_pids: u64,
    open_files: Option<u64>,
}

impl From<&DockerConfig> for Limits {
    fn from(config: &DockerConfig) -> Self {
        Self { max_pids: config.max_pids, open_files: config.open_files }
    }
}

/// `<serviceId>-<instanceId>`; the service's id is cut where that gets too long, never the instance's.
pub(super) fn name(plan: &LaunchPlan) -> String {
    let instance = plan.instance.as_str();
    let room = MAX_NAME.saturating_sub(instance.len() + 1);
    let service = plan.place.service.as_str();
    format!("{}-{instance}", &service[..service.len().min(room)])
}

/// Everything that the engine is asked for. In words, what cannot be asked.
pub(super) fn body(
    plan: &LaunchPlan,
    image: &str,
    owner: &Owner,
    limits: Limits,
) -> Result<ContainerCreateBody, String> {
    let spec = &plan.spec;
    Ok(ContainerCreateBody {
        image: Some(image.to_owned()),
        env: Some(plan.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        cmd: (!spec.args.is_empty()).then(|| spec.args.clone()),
        user: spec.user_spec.as_ref().map(|user| match &user.group {
            Some(group) => format!("{}:{group}", user.user),
            None => user.user.clone(),
        }),
        labels: Some(labels(plan, owner)),
        exposed_ports: Some(port_bindings(plan).into_keys().collect()),
        host_config: Some(host_config(plan, limits)?),
        ..ContainerCreateBody::default()
    })
}

/// What the engine said when it made a container, as much as is kept.
pub(super) fn told(warnings: Vec<String>) -> Vec<String> {
    let told = warnings.into_iter().filter(|warning| !warning.is_empty()).take(MAX_WARNINGS);
    told.map(|warning| head(&warning, MAX_MESSAGE_BYTES).to_owned()).collect()
}

/// The same of a container that was made when nobody heard what the engine said: limits that were leased to it, and
/// that the engine left away because its kernel has none of the kind.
pub(super) fn unenforced(found: &ContainerInspectResponse) -> Vec<String> {
    let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
    let place = labels.and_then(|labels| serde_json::from_str::<Place>(labels.get(label::PLACE)?).ok());
    let (Some(place), Some(kept)) = (place, &found.host_config) else { return Vec::new() };
    let is_without = |resource: &ResourceAllocation| match resource {
        ResourceAllocation::Memory { memory_in_mb } => (memory_in_mb.values().any(|&size| size > 0)
            && kept.memory.unwrap_or_default() == 0)
            .then_some("memory limit"),
        ResourceAllocation::Cpu { cores } if cores.is_empty() => {
            (kept.nano_cpus.unwrap_or_default() == 0).then_some("CPU limit")
        }
        ResourceAllocation::Cpu { .. } => {
            kept.cpuset_cpus.as_deref().unwrap_or_default().is_empty().then_some("pinning to cores")
        }
    };
    let without = place.resources.iter().filter_map(is_without);
    without.map(|limit| format!("{limit} not enforced: the engine left it away")).collect()
}

fn host_config(plan: &LaunchPlan, limits: Limits) -> Result<HostConfig, String> {
    let spec = &plan.spec;
    let memory = i64::try_from(spec.memory_mb().saturating_mul(1 << 20)).unwrap_or(i64::MAX);
    let limit = (memory > 0).then_some(memory);
    let pinned = pinned_cores(&plan.place.resources);
    Ok(HostConfig {
        memory: limit,
        // The same limit with swap: a service that swaps is slower than one that is replaced.
        memory_swap: limit,
        nano_cpus: if pinned.is_none() { quota(spec) } else { None },
        cpuset_mems: pinned.as_ref().and_then(|_| memory_nodes(&plan.place.resources)),
        cpuset_cpus: pinned,
        port_bindings: Some(
            port_bindings(plan).into_iter().map(|(port, binding)| (port, Some(vec![binding]))).collect(),
        ),
        mounts: Some(mounts(spec)),
        devices: Some(device_mappings(&spec.devices)),
        device_requests: Some(device_requests(&spec.devices)),
        log_config: Some(log_config(spec)?),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        cap_drop: Some(DROPPED_CAPABILITIES.map(str::to_owned).into()),
        // Also without cores and memory of its own: the node's process numbers are everybody's.
        pids_limit: Some(i64::try_from(limits.max_pids).unwrap_or(i64::MAX)),
        ulimits: limits.open_files.map(|files| vec![open_files_limit(files)]),
        // No restart policy: the executor replaces, the engine never restarts.
        ..HostConfig::default()
    })
}

/// Bound on all of the node's interfaces, as Drove does: who uses a service may be on another node.
fn port_bindings(plan: &LaunchPlan) -> BTreeMap<String, PortBinding> {
    plan.place
        .local_info
        .ports
        .values()
        .map(|port| {
            let transport = if port.port_type == PortType::Udp { "udp" } else { "tcp" };
            let binding = PortBinding { host_ip: None, host_port: Some(port.host_port.to_string()) };
            (format!("{}/{transport}", port.container_port), binding)
        })
        .collect()
}

/// The leased cores, when whole ones were asked for.
fn pinned_cores(resources: &[ResourceAllocation]) -> Option<String> {
    list(resources.iter().flat_map(|resource| match resource {
        ResourceAllocation::Cpu { cores } => cores.values().flatten().collect(),
        ResourceAllocation::Memory { .. } => Vec::new(),
    }))
}

/// The NUMA nodes of the leased memory: those of the leased cores, unless their memory is all leased. Always ones that
/// have memory, which the kernel insists on.
fn memory_nodes(resources: &[ResourceAllocation]) -> Option<String> {
    list(resources.iter().flat_map(|resource| match resource {
        ResourceAllocation::Memory { memory_in_mb } => memory_in_mb.keys().collect(),
        ResourceAllocation::Cpu { .. } => Vec::new(),
    }))
}

/// As the kernel lists cores and nodes; `None` when there are none.
fn list<'a>(numbers: impl Iterator<Item = &'a u32>) -> Option<String> {
    let mut list = String::new();
    for number in numbers {
        let comma = if list.is_empty() { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(list, "{comma}{number}");
    }
    (!list.is_empty()).then_some(list)
}

/// For the first process of the container and all that it starts; the hard limit is the same.
fn open_files_limit(files: u64) -> ResourcesUlimits {
    let files = i64::try_from(files).unwrap_or(i64::MAX);
    ResourcesUlimits { name: Some("nofile".to_owned()), soft: Some(files), hard: Some(files) }
}

/// A share of the node's time, when no whole cores are leased.
fn quota(spec: &LocalServiceSpec) -> Option<i64> {
    let nanos = spec.cpu_count().as_millis().saturating_mul(1_000_000);
    i64::try_from(nanos).ok().filter(|&nanos| nanos > 0)
}

fn mounts(spec: &LocalServiceSpec) -> Vec<Mount> {
    spec.volumes
        .iter()
        .map(|volume| Mount {
            // Unlike a bind, a mount is refused when the host directory is not there.
            typ: Some(MountType::BIND),
            source: Some(volume.path_on_host.clone()),
            target: Some(volume.path_in_container.clone()),
            read_only: Some(volume.mode != Some(MountMode::ReadWrite)),
            ..Mount::default()
        })
        .collect()
}

fn device_mappings(devices: &[DeviceSpec]) -> Vec<DeviceMapping> {
    devices
        .iter()
        .filter_map(|device| {
            let DeviceSpec::Direct { path_on_host, path_in_container, permissions } = device else {
                return None;
            };
            let allowed = match permissions.unwrap_or(DevicePermissions::All) {
                DevicePermissions::ReadOnly => "r",
                DevicePermissions::WriteOnly => "w",
                DevicePermissions::MknodOnly => "m",
                DevicePermissions::ReadWrite => "rw",
                DevicePermissions::All => "rwm",
            };
            Some(DeviceMapping {
                path_on_host: Some(path_on_host.clone()),
                path_in_container: Some(path_in_container.as_ref().unwrap_or(path_on_host).clone()),
                cgroup_permissions: Some(allowed.to_owned()),
            })
        })
        .collect()
}

fn device_requests(devices: &[DeviceSpec]) -> Vec<DeviceRequest> {
    devices
        .iter()
        .filter_map(|device| {
            let DeviceSpec::Detailed { driver, count, device_ids, capabilities, options } = device else {
                return None;
            };
            Some(DeviceRequest {
                driver: driver.clone(),
                count: *count,
                device_ids: (!device_ids.is_empty()).then(|| device_ids.clone()),
                capabilities: Some(capabilities.clone()),
                options: Some(options.clone().into_iter().collect()),
            })
        })
        .collect()
}

fn log_config(spec: &LocalServiceSpec) -> Result<HostConfigLogConfig, String> {
    let (driver, mut options) = match spec.logging.clone().unwrap_or_default() {
        LoggingSpec::Local { max_size, max_files, compress } => {
            let files = max_files.max(1);
            let mut options = BTreeMap::from([("max-size", max_size), ("max-file", files.to_string())]);
            // The engine refuses to compress when there is no rotated file.
            if compress && files > 1 {
                options.insert("compress", "true".to_owned());
            }
            ("json-file", options)
        }
        LoggingSpec::Rsyslog { server, tag_prefix, tag_suffix } => {
            // Asked again here: the spec may be older than this rule, and the engine would open a socket of the node.
            if !LoggingSpec::is_syslog_server(&server) {
                return Err(format!(
                    "logging.server '{server}' must be udp://HOST:PORT, tcp://HOST:PORT or tcp+tls://HOST:PORT"
                ));
            }
            let tag = [tag_prefix.as_deref(), Some(spec.name.as_str()), tag_suffix.as_deref()];
            let tag = tag.into_iter().flatten().collect::<String>();
            ("syslog", BTreeMap::from([("syslog-address", server), ("tag", tag)]))
        }
    };
    options.insert("mode", "non-blocking".to_owned());
    options.insert("max-buffer-size", LOG_BUFFER.to_owned());
    Ok(HostConfigLogConfig {
        typ: Some(driver.to_owned()),
        config: Some(options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
    })
}

/// The reference with a tag: the engine would pull every tag of a name without one.
pub(super) fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || image.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bollard::models::ContainerConfig;
    use muster_common::id::{InstanceId, ServiceId};
    use muster_common::instance::{InstancePort, LocalInfo};

    use super::super::owner::made_elsewhere;
    use super::*;

    fn plan(spec: &str) -> LaunchPlan {
        let port = InstancePort { container_port: 8000, host_port: 31_000, port_type: PortType::Http };
        LaunchPlan {
            instance: InstanceId::new("SI-1").unwrap(),
            place: Place {
                local_info: LocalInfo {
                    hostname: "node".to_owned(),
                    ports: BTreeMap::from([("main".to_owned(), port)]),
                },
                ..crate::testing::place()
            },
            spec: Arc::new(LocalServiceSpec::from_json(spec.as_bytes()).unwrap()),
            env: BTreeMap::from([("SECRET".to_owned(), "hush".to_owned())]),
        }
    }

    fn limits() -> Limits {
        Limits::from(&DockerConfig::default())
    }

    fn owner() -> Owner {
        Owner { executor: "e1".to_owned(), data_dir: "/data".to_owned() }
    }

    #[test]
    fn labels_hold_ids_and_no_secret() {
        let body = body(&plan(r#"{"name": "web", "version": "1"}"#), "web:1", &owner(), limits()).unwrap();
        let labels = body.labels.unwrap();
        assert!(owner().made(&labels, &InstanceId::new("SI-1").unwrap()));
        assert!(!owner().made(&labels, &InstanceId::new("SI-2").unwrap()));
        let moved = Owner { data_dir: "/mnt/data".to_owned(), ..owner() };
        assert_eq!(made_elsewhere(&moved, &labels, &InstanceId::new("SI-1").unwrap()), Some("/data"));
        assert_eq!(made_elsewhere(&moved, &labels, &InstanceId::new("SI-2").unwrap()), None);
        assert_eq!(made_elsewhere(&owner(), &labels, &InstanceId::new("SI-1").unwrap()), None);
        assert!(!format!("{labels:?}").contains("hush"));
        let place: Place = serde_json::from_str(&labels[label::PLACE]).unwrap();
        assert_eq!(place, plan(r#"{"name": "web", "version": "1"}"#).place);
        assert_eq!(body.env.unwrap(), ["SECRET=hush"]);
        let host = body.host_config.unwrap();
        let bound = host.port_bindings.unwrap()["8000/tcp"].clone().unwrap();
        assert_eq!(bound[0].host_port.as_deref(), Some("31000"));
        assert_eq!(host.restart_policy, None);
        assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
    }

    #[test]
    fn whole_cores_are_pinned_and_fractions_are_a_quota() {
        let resources = |count: &str| {
            format!(
                r#"{{"name": "web", "version": "1", "resources":
                [{{"type": "CPU", "count": {count}}}, {{"type": "MEMORY", "sizeInMB": 64}}]}}"#
            )
        };
        let part = host_config(&plan(&resources("0.5")), limits()).unwrap();
        assert_eq!((part.nano_cpus, part.cpuset_cpus), (Some(500_000_000), None));
        assert_eq!((part.memory, part.memory_swap), (Some(64 << 20), Some(64 << 20)));
        let mut plan = plan(&resources("2"));
        let memory = ResourceAllocation::Memory { memory_in_mb: BTreeMap::from([(0, 32), (1, 32)]) };
        plan.place.resources = vec![memory.clone()];
        let counted = host_config(&plan, limits()).unwrap();
        assert_eq!((counted.cpuset_cpus, counted.cpuset_mems), (None, None));
        let cores = ResourceAllocation::Cpu { cores: BTreeMap::from([(0, vec![1]), (1, vec![3])]) };
        plan.place.resources = vec![cores, memory];
        let whole = host_config(&plan, limits()).unwrap();
        assert_eq!((whole.nano_cpus, whole.cpuset_cpus.as_deref()), (None, Some("1,3")));
        assert_eq!(whole.cpuset_mems.as_deref(), Some("0,1"));
    }

    #[test]
    fn limits_that_the_engine_left_away_are_told_although_nobody_heard_it_say_so() {
        let mut plan = plan(r#"{"name": "web", "version": "1"}"#);
        let mut told = |resources: Vec<ResourceAllocation>, host: HostConfig| {
            plan.place.resources = resources;
            let config =
                ContainerConfig { labels: Some(labels(&plan, &owner())), ..ContainerConfig::default() };
            let found = ContainerInspectResponse {
                config: Some(config),
                host_config: Some(host),
                ..ContainerInspectResponse::default()
            };
            unenforced(&found)
        };
        let memory = || ResourceAllocation::Memory { memory_in_mb: BTreeMap::from([(0, 32)]) };
        let share = || ResourceAllocation::Cpu { cores: BTreeMap::new() };
        let core = || ResourceAllocation::Cpu { cores: BTreeMap::from([(0, vec![1])]) };
        let none = HostConfig::default;
        assert_eq!(
            told(vec![memory(), share()], none()),
            [
                "memory limit not enforced: the engine left it away",
                "CPU limit not enforced: the engine left it away"
            ]
        );
        assert_eq!(told(vec![core()], none()), ["pinning to cores not enforced: the engine left it away"]);
        let limits = HostConfig { memory: Some(32 << 20), nano_cpus: Some(1), ..none() };
        assert_eq!(told(vec![memory(), share()], limits), Vec::<String>::new());
        let pinned = HostConfig { cpuset_cpus: Some("1".to_owned()), ..none() };
        assert_eq!(told(vec![core()], pinned), Vec::<String>::new());
        assert_eq!(told(Vec::new(), none()), Vec::<String>::new(), "nothing was leased");
    }

    #[test]
    fn what_the_engine_says_is_bounded() {
        let said = vec!["x".repeat(MAX_MESSAGE_BYTES + 1); MAX_WARNINGS + 1];
        let told = told(said);
        assert_eq!((told.len(), told[0].len()), (MAX_WARNINGS, MAX_MESSAGE_BYTES));
    }

    #[test]
    fn no_container_takes_all_process_numbers_of_the_node() {
        let plan = plan(r#"{"name": "web", "version": "1"}"#);
        assert_eq!(host_config(&plan, limits()).unwrap().pids_limit, Some(8192));
        let config = DockerConfig { max_pids: 100, ..DockerConfig::default() };
        assert_eq!(host_config(&plan, Limits::from(&config)).unwrap().pids_limit, Some(100));
    }

    #[test]
    fn open_files_are_limited_only_where_the_node_says_so() {
        let plan = plan(r#"{"name": "web", "version": "1"}"#);
        assert_eq!(host_config(&plan, limits()).unwrap().ulimits, None);
        let config = DockerConfig { open_files: Some(4096), ..DockerConfig::default() };
        let limits = host_config(&plan, Limits::from(&config)).unwrap().ulimits.unwrap();
        assert_eq!(
            (limits[0].name.as_deref(), limits[0].soft, limits[0].hard),
            (Some("nofile"), Some(4096), Some(4096))
        );
    }

    #[test]
    fn names_stay_short_and_whole_references_stay_as_they_are() {
        let mut plan = plan(r#"{"name": "web", "version": "1"}"#);
        assert_eq!(name(&plan), "web-1-SI-1");
        plan.place.service = ServiceId::new("x".repeat(255)).unwrap();
        assert!(name(&plan).len() <= MAX_NAME && name(&plan).ends_with("-SI-1"));
        for (given, full) in [
            ("web", "web:latest"),
            ("host:5000/web", "host:5000/web:latest"),
            ("host:5000/web:1", "host:5000/web:1"),
            ("web@sha256:abc", "web@sha256:abc"),
        ] {
            assert_eq!(with_tag(given), full);
        }
    }
}
