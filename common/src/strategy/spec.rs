//! Specs: every member in every form the wire has, valid or not.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::{any_of, text};
use crate::duration::DroveDuration;
use crate::spec::{
    CheckMode, CheckSpec, ConfigSource, ConfigSpec, CpuCount, DevicePermissions, DeviceSpec, DrainPolicy,
    Executable, HttpCallSpec, HttpVerb, JobType, LocalServiceSpec, LoggingSpec, MountMode, MountedVolume,
    PlacementPolicy, PortSpec, PortType, PreShutdownSpec, Protocol, ResourceRequirement, RestartPolicy,
    TagExpression, TagMatch, UserSpec,
};

pub(super) fn duration() -> impl Strategy<Value = DroveDuration> + Clone {
    prop_oneof![
        any::<u64>().prop_map(DroveDuration::from_secs),
        (0..5_000_u64).prop_map(DroveDuration::from_millis)
    ]
}

fn executable() -> impl Strategy<Value = Executable> {
    prop_oneof![
        (text(), duration())
            .prop_map(|(url, docker_pull_timeout)| Executable::Docker { url, docker_pull_timeout }),
        (vec(text(), 0..3), option::of(text()))
            .prop_map(|(command, working_directory)| Executable::Process { command, working_directory }),
    ]
}

fn port() -> impl Strategy<Value = PortSpec> {
    (text(), any::<i64>(), option::of(any_of(PortType::ALL))).prop_map(|(name, port, port_type)| PortSpec {
        name,
        port,
        port_type,
    })
}

fn volume() -> impl Strategy<Value = MountedVolume> {
    (text(), text(), option::of(any_of(MountMode::ALL))).prop_map(
        |(path_in_container, path_on_host, mode)| MountedVolume { path_in_container, path_on_host, mode },
    )
}

fn http_call() -> impl Strategy<Value = HttpCallSpec> {
    let target = (any_of(Protocol::ALL), text(), any::<u16>(), text(), any_of(HttpVerb::ALL));
    let terms = (vec(any::<u16>(), 0..3), duration(), duration(), any::<bool>());
    let secrets = (option::of(text()), option::of(text()), option::of(text()), option::of(text()));
    (target, terms, secrets, btree_map(text(), text(), 0..3)).prop_map(
        |(
            (protocol, hostname, port, path, verb),
            (success_codes, connection_timeout, operation_timeout, insecure),
            (payload, username, password, auth_header),
            headers,
        )| HttpCallSpec {
            protocol,
            hostname,
            port,
            path,
            verb,
            success_codes,
            payload,
            connection_timeout,
            operation_timeout,
            username,
            password,
            auth_header,
            headers,
            insecure,
        },
    )
}

fn config() -> impl Strategy<Value = ConfigSpec> {
    let source = prop_oneof![
        text().prop_map(|data| ConfigSource::Inline { data }),
        text().prop_map(|file_path_on_host| ConfigSource::ExecutorLocalFile { file_path_on_host }),
        http_call().prop_map(|http| ConfigSource::ControllerHttpFetch { http }),
        http_call().prop_map(|http| ConfigSource::ExecutorHttpFetch { http }),
    ];
    (text(), source).prop_map(|(local_filename, source)| ConfigSpec { local_filename, source })
}

fn logging() -> impl Strategy<Value = LoggingSpec> {
    prop_oneof![
        (text(), any::<u32>(), any::<bool>())
            .prop_map(|(max_size, max_files, compress)| LoggingSpec::Local { max_size, max_files, compress }),
        (text(), option::of(text()), option::of(text())).prop_map(|(server, tag_prefix, tag_suffix)| {
            LoggingSpec::Rsyslog { server, tag_prefix, tag_suffix }
        }),
    ]
}

fn resource() -> impl Strategy<Value = ResourceRequirement> {
    prop_oneof![
        (0..1_000_000_u64)
            .prop_map(|millis| ResourceRequirement::Cpu { count: CpuCount::from_millis(millis) }),
        any::<u64>().prop_map(|size_in_mb| ResourceRequirement::Memory { size_in_mb }),
    ]
}

fn check_mode() -> impl Strategy<Value = CheckMode> {
    let http = (any_of(Protocol::ALL), text(), text(), any_of(HttpVerb::ALL), vec(any::<u16>(), 0..3));
    prop_oneof![
        (http, text(), btree_map(text(), text(), 0..2), duration(), any::<bool>()).prop_map(
            |(http, payload, headers, connection_timeout, insecure)| {
                let (protocol, port_name, path, verb, success_codes) = http;
                CheckMode::Http {
                    protocol,
                    port_name,
                    path,
                    verb,
                    success_codes,
                    payload,
                    headers: headers.into(),
                    connection_timeout,
                    insecure,
                }
            }
        ),
        text().prop_map(|port_name| CheckMode::Tcp { port_name }),
        (text(), text(), any::<bool>(), any::<bool>()).prop_map(|(port_name, service, tls, insecure)| {
            CheckMode::Grpc { port_name, service, tls, insecure }
        }),
        (text(), any::<bool>())
            .prop_map(|(command, shell_disabled)| CheckMode::Cmd { command, shell_disabled }),
    ]
}

fn check() -> impl Strategy<Value = CheckSpec> {
    (check_mode(), duration(), duration(), any::<u32>(), duration()).prop_map(
        |(mode, timeout, interval, attempts, initial_delay)| CheckSpec {
            mode,
            timeout,
            interval,
            attempts,
            initial_delay,
        },
    )
}

fn device() -> impl Strategy<Value = DeviceSpec> {
    let permissions = option::of(any_of(DevicePermissions::ALL));
    prop_oneof![
        (text(), option::of(text()), permissions).prop_map(
            |(path_on_host, path_in_container, permissions)| DeviceSpec::Direct {
                path_on_host,
                path_in_container,
                permissions
            }
        ),
        (
            option::of(text()),
            any::<Option<i64>>(),
            vec(text(), 0..2),
            vec(vec(text(), 0..2), 0..2),
            btree_map(text(), text(), 0..2)
        )
            .prop_map(|(driver, count, device_ids, capabilities, options)| DeviceSpec::Detailed {
                driver,
                count,
                device_ids,
                capabilities,
                options
            }),
    ]
}

fn placement() -> impl Strategy<Value = PlacementPolicy> {
    let tags = || vec("[a-z=]{1,8}", 0..3);
    let tags = ([tags(), tags(), tags()], option::of(tag_expression()));
    prop_oneof![
        (any::<bool>(), tags).prop_map(|(host_level, ([all, any, none], matches))| PlacementPolicy::Local {
            host_level,
            tags: TagMatch { all, any, none, matches },
        }),
        Just(PlacementPolicy::Unsupported),
    ]
}

/// Any expression over tags, also such as have to be quoted.
pub fn tag_expression() -> impl Strategy<Value = TagExpression> {
    let tag = prop_oneof![4 => "[a-z=()\"]{1,8}", 1 => "(?i)and|or|not"].prop_map(TagExpression::Tag);
    tag.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| TagExpression::Not(Box::new(inner))),
            vec(inner.clone(), 2..4).prop_map(TagExpression::All),
            vec(inner, 2..4).prop_map(TagExpression::Any),
        ]
    })
}

fn pre_shutdown() -> impl Strategy<Value = PreShutdownSpec> {
    (vec(check_mode(), 0..3), option::of(duration()), duration(), option::of(duration())).prop_map(
        |(hooks, hook_timeout, wait_before_kill, grace)| PreShutdownSpec {
            hooks,
            hook_timeout,
            wait_before_kill,
            grace,
        },
    )
}

fn user() -> impl Strategy<Value = UserSpec> {
    (text(), option::of(text())).prop_map(|(user, group)| UserSpec { user, group })
}

fn restart_policy() -> impl Strategy<Value = RestartPolicy> {
    (vec(duration(), 0..4), any::<u8>(), duration(), any::<Option<u32>>()).prop_map(
        |(backoff, jitter, reset_after, budget)| RestartPolicy { backoff, jitter, reset_after, budget },
    )
}

/// Any spec that can be written, its parts independent of each other: almost never a valid one.
pub fn local_service_spec() -> impl Strategy<Value = LocalServiceSpec> {
    let identity = (text(), text(), option::of(any_of(JobType::ALL)));
    let needs = (option::of(executable()), vec(port(), 0..3), vec(resource(), 0..3), option::of(placement()));
    let files = (vec(volume(), 0..3), vec(config(), 0..3), option::of(logging()), vec(device(), 0..2));
    let life = (
        option::of(check()),
        option::of(check()),
        option::of(pre_shutdown()),
        option::of(duration()),
        option::of(restart_policy()),
        option::of(any_of(DrainPolicy::ALL)),
    );
    let rest = (
        btree_map(text(), text(), 0..3),
        btree_map(text(), text(), 0..3),
        vec(text(), 0..3),
        option::of(user()),
    );
    (identity, needs, files, life, rest).prop_map(
        |(
            (name, version, job_type),
            (executable, exposed_ports, resources, placement_policy),
            (volumes, configs, logging, devices),
            (healthcheck, readiness, pre_shutdown, grace, restart_policy, drain_policy),
            (tags, env, args, user_spec),
        )| LocalServiceSpec {
            name,
            version,
            job_type,
            executable,
            exposed_ports,
            volumes,
            configs,
            logging,
            resources,
            placement_policy,
            healthcheck,
            readiness,
            tags,
            env,
            args,
            devices,
            pre_shutdown,
            user_spec,
            grace,
            restart_policy,
            drain_policy,
        },
    )
}
