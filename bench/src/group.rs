//! Three real controllers, each a process of its own, with fresh certificates and real files in a
//! temporary directory. Dropping the group ends the processes and removes the directory.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use muster_common::duration::DroveDuration;
use muster_common::id::{ClusterId, ControllerId};
use muster_common::identity::{Identity, Role};
use muster_common::spec::SpecLimits;
use muster_controller::ControllerConfig;
use muster_controller::{ListenConfig, LivenessConfig, MemberConfig, RetentionConfig};
use muster_platform::{Authority, ExpectedPeer, TlsFiles, TlsIdentity, World, channel};
use muster_proto::v1::ReadIndexRequest;
use muster_proto::v1::control_client::ControlClient;
use tonic::transport::Channel;

const CONTROLLERS: u64 = 3;
/// Whom the clients speak as: the control service takes calls of controllers only.
const CLIENT: ControllerId = ControllerId(1000);
/// Much longer than an election.
const LEADER_WITHIN: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The executors that clients register never open a session. With the usual patience the leader would
/// record twice a second that they are silent, and be measured doing so.
const PATIENCE: LivenessConfig = LivenessConfig {
    unknown_after: DroveDuration::from_secs(86_400),
    lost_after: DroveDuration::from_secs(2 * 86_400),
};

/// Running controllers.
pub(crate) struct Group {
    processes: Vec<Child>,
    members: Vec<MemberConfig>,
    tls: TlsIdentity,
    dir: tempfile::TempDir,
}

impl Group {
    /// Starts them in a directory under `parent`.
    pub(crate) fn start(parent: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir_in(parent)
            .with_context(|| format!("making a directory in {}", parent.display()))?;
        let cluster = ClusterId::new("bench")?;
        let authority = Authority::new(&cluster)?;
        let identity = Identity { cluster: cluster.clone(), role: Role::Controller(CLIENT) };
        let own = authority.issue(&identity)?;
        let tls = TlsIdentity::from_pem(&authority.ca_pem(), &own.cert_pem, &own.key_pem, &identity)?;
        let members = members()?;
        let mut group = Self { processes: Vec::new(), members: members.clone(), tls, dir };
        for member in &members {
            let config = write_config(group.dir.path(), &authority, &cluster, member, &members)?;
            group.processes.push(spawn(&config)?);
        }
        Ok(group)
    }

    /// Where the controllers' files are.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Waits for a leader, and gives its address.
    pub(crate) async fn leader(&mut self) -> anyhow::Result<String> {
        let search = async {
            loop {
                self.check_alive()?;
                for member in &self.members {
                    if self.leads(&member.cluster).await {
                        return Ok(member.cluster.clone());
                    }
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        match tokio::time::timeout(LEADER_WITHIN, search).await {
            Ok(found) => found,
            Err(_) => bail!("no controller leads after {LEADER_WITHIN:?}{}", logs(self.dir.path())),
        }
    }

    /// A connection of its own to `address`.
    pub(crate) fn connect(&self, address: &str) -> anyhow::Result<ControlClient<Channel>> {
        let channel = channel(&World::system(), &self.tls, address, ExpectedPeer::AnyController)?;
        Ok(ControlClient::new(channel))
    }

    /// Fails with what they said if a controller has ended.
    pub(crate) fn check_alive(&mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            if let Some(status) = process.try_wait().context("looking after a controller")? {
                bail!("a controller ended: {status}{}", logs(self.dir.path()));
            }
        }
        Ok(())
    }

    async fn leads(&self, address: &str) -> bool {
        use muster_proto::v1::read_index_response::Outcome;
        let Ok(mut client) = self.connect(address) else { return false };
        let answer = client.read_index(ReadIndexRequest {}).await;
        answer.is_ok_and(|answer| matches!(answer.into_inner().outcome, Some(Outcome::Revision(_))))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // Nothing of what it holds is wanted any more. An error means that it has ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Ports that were free a moment ago.
fn members() -> anyhow::Result<Vec<MemberConfig>> {
    let sockets: Vec<TcpListener> = (0..2 * CONTROLLERS)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()
        .context("looking for free ports")?;
    let addresses: Vec<String> = sockets
        .iter()
        .map(|socket| socket.local_addr().map(|address| address.to_string()))
        .collect::<Result<_, _>>()
        .context("looking for free ports")?;
    let member = |(id, ports): (u64, &[String])| match ports {
        [cluster, api] => {
            Some(MemberConfig { id: ControllerId(id), cluster: cluster.clone(), api: api.clone() })
        }
        _ => None,
    };
    Ok((1..).zip(addresses.chunks(2)).filter_map(member).collect())
}

fn write_config(
    dir: &Path,
    authority: &Authority,
    cluster: &ClusterId,
    member: &MemberConfig,
    members: &[MemberConfig],
) -> anyhow::Result<PathBuf> {
    let dir = dir.join(format!("controller-{}", member.id));
    std::fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
    let identity = Identity { cluster: cluster.clone(), role: Role::Controller(member.id) };
    let issued = authority.issue(&identity)?;
    let tls = TlsFiles { ca: dir.join("ca.pem"), cert: dir.join("cert.pem"), key: dir.join("key.pem") };
    let config = ControllerConfig {
        cluster: cluster.clone(),
        id: member.id,
        data_dir: Some(dir.join("data")),
        listen: ListenConfig { cluster: member.cluster.clone(), api: member.api.clone() },
        members: members.to_vec(),
        tls: Some(tls.clone()),
        liveness: PATIENCE,
        retention: RetentionConfig::default(),
        spec_limits: SpecLimits::default(),
    };
    let path = dir.join("config.yaml");
    let text = serde_saphyr::to_string(&config).context("writing a controller's configuration")?;
    for (path, text) in [
        (&tls.ca, &authority.ca_pem()),
        (&tls.cert, &issued.cert_pem),
        (&tls.key, &issued.key_pem),
        (&path, &text),
    ] {
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(path)
}

/// Starts a controller, out of reach of the terminal's Ctrl-C: the group ends it.
fn spawn(config: &Path) -> anyhow::Result<Child> {
    let log = config.with_file_name("role.log");
    let log = std::fs::File::create(&log).with_context(|| format!("making {}", log.display()))?;
    let own = std::env::current_exe().context("looking for this program")?;
    Command::new(own)
        .arg("controller")
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("sharing the log")?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("starting a controller")
}

/// What the controllers said, for an error's message.
fn logs(dir: &Path) -> String {
    (1..=CONTROLLERS)
        .filter_map(|id| std::fs::read_to_string(dir.join(format!("controller-{id}/role.log"))).ok())
        .map(|log| format!("\n{log}"))
        .collect()
}
