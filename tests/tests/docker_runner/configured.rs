//! What a container is made with: limits, labels, mounts, files.

use std::collections::BTreeMap;

use muster_common::instance::ResourceAllocation;
use muster_common::spec::{ConfigSource, ConfigSpec, LoggingSpec, MountMode, MountedVolume};
use muster_executor::{DockerConfig, Runner};
use serde_json::json;

use super::{Bench, LONG, remove, start};

#[tokio::test]
async fn docker_limits_and_labels_are_as_asked() {
    let Some(bench) = Bench::new("docker_limits_and_labels_are_as_asked").await else { return };
    let (runner, _events) = bench.open();
    let (volume, secret) = (bench.dir.path().join("volume"), bench.dir.path().join("secret"));
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(&secret, "from the node\n").unwrap();
    let plan = bench.plan_with(&["cat", "/etc/deep/inline"], |spec| {
        spec.user_spec = Some(serde_json::from_value(json!({"user": "1000", "group": "1001"})).unwrap());
        spec.logging = Some(LoggingSpec::Local { max_size: "2m".to_owned(), max_files: 3, compress: true });
        spec.volumes = vec![MountedVolume {
            path_in_container: "/volume".to_owned(),
            path_on_host: volume.display().to_string(),
            mode: Some(MountMode::ReadOnly),
        }];
        spec.configs = vec![
            ConfigSpec {
                local_filename: "/etc/deep/inline".to_owned(),
                source: ConfigSource::Inline { data: "cGxhY2VkIQo=".to_owned() },
            },
            ConfigSpec {
                local_filename: "/etc/local".to_owned(),
                source: ConfigSource::ExecutorLocalFile { file_path_on_host: secret.display().to_string() },
            },
        ];
    });
    let workload = start(&runner, &plan).await;
    let container = bench.inspect(&workload).await;
    let host = container.host_config.unwrap();
    assert_eq!((host.memory, host.memory_swap), (Some(32 << 20), Some(32 << 20)));
    assert_eq!((host.nano_cpus, host.cpuset_cpus.as_deref()), (Some(500_000_000), Some("")));
    assert_eq!(host.cap_drop.unwrap().len(), 4);
    assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
    let log = host.log_config.unwrap();
    assert_eq!(log.typ.as_deref(), Some("json-file"));
    let expected = [
        ("max-size", "2m"),
        ("max-file", "3"),
        ("compress", "true"),
        ("mode", "non-blocking"),
        ("max-buffer-size", "10m"),
    ];
    assert_eq!(log.config.unwrap(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!(container.config.as_ref().unwrap().user.as_deref(), Some("1000:1001"));
    assert_eq!(container.mounts.unwrap()[0].rw, Some(false));
    assert_eq!(container.name.unwrap(), format!("/test-1-{}", plan.instance));
    let labels = format!("{:?}", container.config.unwrap().labels.unwrap());
    assert!(labels.contains(plan.instance.as_str()), "{labels}");
    assert!(!labels.contains("hush") && !labels.contains("cGxhY2VkIQo"), "{labels}");
    Runner::stop(&runner, &plan.instance, &workload, LONG).await.unwrap();
    let log = Runner::log_tail(&runner, &plan.instance, &workload, 1024).await.unwrap().text;
    assert_eq!(log, "placed!\n");
    remove(&runner, &plan).await;
}

#[tokio::test]
async fn docker_pins_whole_cores_with_their_memory_and_limits_open_files() {
    let Some(bench) = Bench::new("docker_pins_whole_cores_with_their_memory_and_limits_open_files").await
    else {
        return;
    };
    let (runner, _events) = bench.open();
    let runner = runner.configured(&DockerConfig { open_files: Some(1000), ..DockerConfig::default() });
    let mut plan = bench.plan(&["sleep"]);
    plan.place.resources = vec![
        ResourceAllocation::Cpu { cores: BTreeMap::from([(0, vec![0])]) },
        ResourceAllocation::Memory { memory_in_mb: BTreeMap::from([(0, 32)]) },
    ];
    let workload = start(&runner, &plan).await;
    let found = bench.inspect(&workload).await;
    let host = found.host_config.unwrap();
    assert_eq!((host.cpuset_cpus.as_deref(), host.cpuset_mems.as_deref()), (Some("0"), Some("0")));
    assert_eq!(host.nano_cpus.unwrap_or_default(), 0);
    // What the kernel says of the process itself.
    let pid = found.state.unwrap().pid.unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().filter(|&word| word == "1000").count(), 2, "{files}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for (name, value) in [("Cpus_allowed_list:", "0"), ("Mems_allowed_list:", "0"), ("NoNewPrivs:", "1")] {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        assert_eq!(line.trim(), value, "{name}");
    }
    remove(&runner, &plan).await;
}
