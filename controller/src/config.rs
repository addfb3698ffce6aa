//! A controller's configuration: what the file says, and the checks that refuse values which cannot work.
//!
//! Reading never touches the network or the data directory; [`ControllerConfig::check`] is pure.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use muster_common::duration::DroveDuration;
use muster_common::exit::Exit;
use muster_common::id::{ClusterId, ControllerId};
use muster_common::identity::{Identity, Role};
use muster_common::spec::SpecLimits;
use muster_platform::call::Reach;
use muster_platform::{RoleError, TlsFiles};
use serde::{Deserialize, Serialize};

use crate::address::split;
use crate::state::Retention;
use crate::users::{self, UserConfig};

/// More controllers than this only make every write slower.
const MAX_MEMBERS: usize = 9;
/// How many ended instances of each service may be kept: all of them are in memory.
const OLD_INSTANCES: RangeInclusive<u32> = 1..=10_000;
/// How many ended instances of all services may be kept.
const OLD_INSTANCES_IN_ALL: RangeInclusive<u32> = 1..=100_000;
/// How many events may be kept. Fewer than the least would not outlast one busy second.
const EVENTS: RangeInclusive<u32> = 1_000..=500_000;
/// For how long either may be kept.
const KEPT_FOR: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(366 * 86_400);
/// How many places files may be fetched from.
const MAX_FETCH_URLS: usize = 64;

/// The configuration file of a controller (YAML).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControllerConfig {
    /// The cluster's name. Every certificate names it, too.
    pub cluster: ClusterId,
    /// This controller's id. Its certificate names it, too.
    pub id: ControllerId,
    /// Where log and state are kept. Absent: in memory, for a simulation; [`crate::run`] wants one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub data_dir: Option<PathBuf>,
    /// Where it listens.
    pub listen: ListenConfig,
    /// All controllers of the cluster, this one among them; the same on each. With an empty data directory it founds
    /// a group with them once all have answered, or waits to be added to the one that there is.
    pub members: Vec<MemberConfig>,
    /// The files of its certificate. Absent where the caller hands the identity in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tls: Option<TlsFiles>,
    /// After how long a silent executor is shown as UNKNOWN, given up as LOST, and removed.
    #[serde(default)]
    pub liveness: LivenessConfig,
    /// How much history is kept. The leader's setting applies to all controllers.
    #[serde(default)]
    pub retention: RetentionConfig,
    /// What specs may ask for on this cluster; must be the same on all controllers.
    #[serde(default)]
    pub spec_limits: SpecLimits,
    /// Who may call the API; must be the same on all controllers. None: everybody may do everything, as in Drove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserConfig>,
}

/// Addresses to bind, `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenConfig {
    /// gRPC for controllers and executors; client certificates required.
    pub cluster: String,
    /// REST and metrics, over plain HTTP: on loopback, unless `allow_plain_http` opens it.
    pub api: String,
    /// That the API may listen beyond loopback, where tokens and answers can be read by whoever is on the way: say so only
    /// of a network that is trusted, or behind something that speaks TLS. It needs `users`.
    #[serde(default)]
    pub allow_plain_http: bool,
}

/// One controller, as the others reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemberConfig {
    /// Its id.
    pub id: ControllerId,
    /// Its cluster port, `host:port`.
    pub cluster: String,
    /// Its API, `host:port`.
    pub api: String,
}

/// How long silence of an executor is tolerated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LivenessConfig {
    /// After this much silence its instances are shown as UNKNOWN; after a change of leader not before 12 s.
    pub unknown_after: DroveDuration,
    /// After this much silence they are given up as LOST.
    pub lost_after: DroveDuration,
    /// So long after that the executor is removed with everything that is known of it, duty and tags included. Should it
    /// come back, it is a newcomer. 0 means never. The leader's setting applies to all controllers.
    pub remove_after: DroveDuration,
}

impl Default for LivenessConfig {
    /// 10 s, 10 min, and 7 days.
    fn default() -> Self {
        Self {
            unknown_after: DroveDuration::from_secs(10),
            lost_after: DroveDuration::from_secs(600),
            remove_after: DroveDuration::from_secs(7 * 86_400),
        }
    }
}

/// How much history is kept: ended instances, finished operations, events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// How many ended instances of each service are kept.
    pub old_instances: u32,
    /// How many ended instances of all services together are kept, each with up to 64 KiB of its log.
    pub old_instances_in_all: u32,
    /// For how long ended instances and finished operations are kept.
    pub records_for: DroveDuration,
    /// How many events are kept.
    pub events: u32,
    /// For how long events are kept.
    pub events_for: DroveDuration,
}

impl Default for RetentionConfig {
    /// 100, and 10000 of all services, for 7 days; 20000 for 1 hour (docs/drove-api.md §4.4).
    fn default() -> Self {
        let Retention { old_instances, old_instances_in_all, records_for, events, events_for, .. } =
            Retention::default();
        Self {
            old_instances,
            old_instances_in_all,
            records_for: DroveDuration::from_secs(records_for.as_secs()),
            events,
            events_for: DroveDuration::from_secs(events_for.as_secs()),
        }
    }
}

impl RetentionConfig {
    fn problem(self) -> Option<String> {
        for (field, count, range) in [
            ("oldInstances", self.old_instances, OLD_INSTANCES),
            ("oldInstancesInAll", self.old_instances_in_all, OLD_INSTANCES_IN_ALL),
            ("events", self.events, EVENTS),
        ] {
            if !range.contains(&count) {
                let (least, most) = (range.start(), range.end());
                return Some(format!("retention.{field} is {count}; write {least} to {most}"));
            }
        }
        let fields = [("recordsFor", self.records_for), ("eventsFor", self.events_for)];
        let (field, time) = fields.into_iter().find(|(_, time)| !KEPT_FOR.contains(&time.as_duration()))?;
        Some(format!("retention.{field} is {time}; write 1 minute to 366 days"))
    }
}

impl ControllerConfig {
    /// The identity that this controller's certificate must have.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity { cluster: self.cluster.clone(), role: Role::Controller(self.id) }
    }

    /// How much history is kept, and for how long absent executors are.
    pub(crate) fn kept(&self) -> Retention {
        let RetentionConfig { old_instances, old_instances_in_all, records_for, events, events_for } =
            self.retention;
        let LivenessConfig { lost_after, remove_after, .. } = self.liveness;
        let remove_after = remove_after.as_duration();
        Retention {
            old_instances,
            old_instances_in_all,
            records_for: records_for.as_duration(),
            events,
            events_for: events_for.as_duration(),
            lost_after: lost_after.as_duration(),
            lost_executors_for: (!remove_after.is_zero()).then_some(remove_after),
        }
    }

    /// Refuses what cannot work, with the field and what to write instead.
    pub fn check(&self) -> Result<(), RoleError> {
        self.problem().map_or(Ok(()), |problem| {
            Err(RoleError::new(
                Exit::Validation,
                format!("the controller's configuration is not valid: {problem}"),
            ))
        })
    }

    fn problem(&self) -> Option<String> {
        self.listen_problem()
            .or_else(|| self.members_problem())
            .or_else(|| self.liveness.problem())
            .or_else(|| self.retention.problem())
            .or_else(|| self.fetch_problem())
            .or_else(|| users::problem(&self.users))
    }

    fn listen_problem(&self) -> Option<String> {
        for (field, address) in [("listen.cluster", &self.listen.cluster), ("listen.api", &self.listen.api)] {
            if split(address).is_none() {
                return Some(format!("{field} is '{address}'; write host:port"));
            }
        }
        let (host, _) = split(&self.listen.api)?;
        let address = &self.listen.api;
        match (is_loopback(host), self.users.is_empty(), self.listen.allow_plain_http) {
            (true, ..) | (false, false, true) => None,
            (false, true, _) => Some(format!(
                "listen.api is '{address}', but without users everybody may do everything, so it listens on loopback \
                 only; write 127.0.0.1:<port>, or name users"
            )),
            (false, false, false) => Some(format!(
                "listen.api is '{address}', but it is plain HTTP, on which tokens can be read on their way; write \
                 127.0.0.1:<port>, or listen.allowPlainHttp: true where the network is trusted or something in front of \
                 it speaks TLS"
            )),
        }
    }

    fn fetch_problem(&self) -> Option<String> {
        let urls = &self.spec_limits.allowed_fetch_urls;
        if urls.len() > MAX_FETCH_URLS {
            let field = "specLimits.allowedFetchUrls";
            return Some(format!("{field} has {} entries; at most {MAX_FETCH_URLS} are allowed", urls.len()));
        }
        let reach = Reach::Others { loopback: true };
        let is_closed = |address| !reach.admits(address);
        let (n, url) = urls.iter().enumerate().find(|(_, url)| url.address().is_some_and(is_closed))?;
        Some(format!(
            "specLimits.allowedFetchUrls[{n}] is '{url}', where nothing is ever fetched from: link-local and metadata \
             addresses tell this machine its credentials"
        ))
    }

    fn members_problem(&self) -> Option<String> {
        if self.members.len() > MAX_MEMBERS {
            return Some(format!(
                "members has {} entries; at most {MAX_MEMBERS} make sense",
                self.members.len()
            ));
        }
        for (n, member) in self.members.iter().enumerate() {
            for (field, address) in [("cluster", &member.cluster), ("api", &member.api)] {
                if split(address).is_none_or(|(_, port)| port == 0) {
                    return Some(format!("members[{n}].{field} is '{address}'; write host:port"));
                }
            }
            let earlier = &self.members[..n];
            if earlier.iter().any(|other| other.id == member.id) {
                return Some(format!("members[{n}].id is {}, which an earlier member has too", member.id));
            }
            if earlier.iter().any(|other| other.cluster == member.cluster) {
                return Some(format!(
                    "members[{n}].cluster is {}, which an earlier member has too",
                    member.cluster
                ));
            }
        }
        (!self.members.iter().any(|member| member.id == self.id))
            .then(|| format!("members does not hold this controller, whose id is {}", self.id))
    }
}

impl LivenessConfig {
    fn problem(self) -> Option<String> {
        let (unknown, lost) = (self.unknown_after.as_duration(), self.lost_after.as_duration());
        if unknown < Duration::from_millis(100) {
            return Some(format!("liveness.unknownAfter is {}; write 100ms or more", self.unknown_after));
        }
        if lost <= unknown {
            return Some(format!(
                "liveness.lostAfter is {}; write more than unknownAfter, which is {}",
                self.lost_after, self.unknown_after
            ));
        }
        let remove = self.remove_after.as_duration();
        (!remove.is_zero() && !KEPT_FOR.contains(&remove)).then(|| {
            format!(
                "liveness.removeAfter is {}; write 1 minute to 366 days, or 0s for never",
                self.remove_after
            )
        })
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ControllerConfig {
        serde_saphyr::from_str(
            "
cluster: dev
id: 1
dataDir: /var/lib/muster
listen: {cluster: '127.0.0.1:4100', api: '127.0.0.1:4000'}
members:
  - {id: 1, cluster: '127.0.0.1:4100', api: '127.0.0.1:4000'}
  - {id: 2, cluster: '127.0.0.1:4101', api: '127.0.0.1:4001'}
tls: {ca: ca.pem, cert: cert.pem, key: key.pem}
liveness: {unknownAfter: 10s}
",
        )
        .unwrap()
    }

    #[test]
    fn a_whole_file_is_read_and_accepted() {
        let config = config();
        config.check().unwrap();
        assert_eq!(config.identity().to_string(), "muster://dev/controller/1");
        assert_eq!(config.liveness.lost_after.as_duration(), Duration::from_secs(600));
        assert_eq!(config.kept(), Retention::default());
        let liveness = LivenessConfig { remove_after: "0s".parse().unwrap(), ..config.liveness };
        let never = ControllerConfig { liveness, ..config };
        never.check().unwrap();
        assert_eq!(never.kept().lost_executors_for, None);
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_field() {
        type Spoil = fn(&mut ControllerConfig);
        let table: &[(Spoil, &str)] = &[
            (|c| c.listen.api = "0.0.0.0:4000".into(), "listen.api is '0.0.0.0:4000'"),
            (|c| c.listen.api = "controller.example.org:4000".into(), "loopback only"),
            (
                |c| {
                    c.listen.api = "0.0.0.0:4000".into();
                    c.listen.allow_plain_http = true;
                },
                "without users everybody may do everything",
            ),
            (
                |c| {
                    c.listen.api = "0.0.0.0:4000".into();
                    c.users = vec![user("ann")];
                },
                "listen.allowPlainHttp: true",
            ),
            (|c| c.users = vec![user("ann"), user("ann")], "users[1].name is ann"),
            (|c| c.listen.api = "4000".into(), "write host:port"),
            (|c| c.listen.cluster = ":4100".into(), "listen.cluster is ':4100'"),
            (|c| c.id = ControllerId(3), "members does not hold this controller"),
            (|c| c.members[1].id = ControllerId(1), "members[1].id is 1"),
            (|c| c.members[1].cluster = "127.0.0.1:4100".into(), "members[1].cluster is 127.0.0.1:4100"),
            (|c| c.members[1].api = "127.0.0.1:0".into(), "members[1].api"),
            (|c| c.liveness.unknown_after = DroveDuration::from_millis(5), "liveness.unknownAfter"),
            (|c| c.retention.old_instances = 0, "retention.oldInstances is 0; write 1 to 10000"),
            (|c| c.retention.old_instances_in_all = 0, "retention.oldInstancesInAll is 0; write 1 to 100000"),
            (|c| c.retention.events = 10, "retention.events is 10"),
            (|c| c.retention.events_for = DroveDuration::from_secs(1), "retention.eventsFor"),
            (|c| c.liveness.lost_after = DroveDuration::from_secs(10), "liveness.lostAfter"),
            (|c| c.liveness.remove_after = DroveDuration::from_secs(1), "liveness.removeAfter is 1 second"),
            (
                |c| {
                    c.spec_limits.allowed_fetch_urls =
                        vec!["http://10.0.0.1/".parse().unwrap(), "http://169.254.169.254/".parse().unwrap()];
                },
                "specLimits.allowedFetchUrls[1] is 'http://169.254.169.254/'",
            ),
        ];
        for (spoil, part) in table {
            let mut config = config();
            spoil(&mut config);
            let error = config.check().unwrap_err();
            assert_eq!(error.exit, Exit::Validation);
            assert!(error.sentence.contains(part), "{error}");
        }
    }

    fn user(name: &str) -> UserConfig {
        let yaml = format!("{{name: {name}, role: READ_ONLY, tokenSha256: '{}'}}", "0a".repeat(32));
        serde_saphyr::from_str(&yaml).unwrap()
    }

    #[test]
    fn with_users_the_api_may_be_opened_knowingly() {
        let mut open = config();
        open.listen.api = "0.0.0.0:4000".into();
        open.listen.allow_plain_http = true;
        open.users = vec![user("ann")];
        open.check().unwrap();
        let text = serde_saphyr::to_string(&open).unwrap();
        assert_eq!(serde_saphyr::from_str::<ControllerConfig>(&text).unwrap(), open);
    }

    #[test]
    fn loopback_is_recognised_in_all_its_forms() {
        for (host, loopback) in [
            ("127.0.0.1", true),
            ("127.8.8.8", true),
            ("[::1]", true),
            ("localhost", true),
            ("0.0.0.0", false),
            ("[::]", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(host), loopback, "{host}");
        }
    }
}
