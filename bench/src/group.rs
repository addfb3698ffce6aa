//! Three real controllers, each a process of its own, with fresh certificates and real files in a
//! temporary directory. Dropping the group ends the processes and removes the directory.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use muster_common::duration::DroveDuration;
use muster_common::id::{ClusterId, ControllerId, ExecutorId};
use muster_common::identity::{Identity, Role};
use muster_common::spec::SpecLimits;
use muster_controller::ControllerConfig;
use muster_controller::{ListenConfig, LivenessConfig, MemberConfig, RetentionConfig};
use muster_platform::{Authority, ExpectedPeer, TlsFiles, TlsIdentity, World, channel};
use muster_proto::v1::ReadIndexRequest;
use muster_proto::v1::control_client::ControlClient;
use muster_tests::ports::free_port;
use tonic::transport::Channel;

use crate::process::cpu_seconds;

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
    remove_after: DroveDuration::from_secs(7 * 86_400),
};

/// Where controllers are started, and what they are.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Place {
    /// Where files are put, in directories that are removed afterwards
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    pub(crate) dir: PathBuf,
    /// The program that is a controller when it is given `--config FILE`; this one's own when absent
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Running controllers.
pub(crate) struct Group {
    program: Option<PathBuf>,
    controllers: Vec<Running>,
    cluster: ClusterId,
    authority: Authority,
    tls: TlsIdentity,
    dir: tempfile::TempDir,
}

/// One of them.
struct Running {
    /// Absent between its death and its next start.
    process: Option<Child>,
    config: PathBuf,
    member: MemberConfig,
}

impl Group {
    /// Starts them for executors that have no sessions.
    pub(crate) fn start(place: &Place) -> anyhow::Result<Self> {
        Self::start_with(place, PATIENCE)
    }

    /// The same with their own patience.
    pub(crate) fn start_with(place: &Place, liveness: LivenessConfig) -> anyhow::Result<Self> {
        let parent = &place.dir;
        let dir = tempfile::tempdir_in(parent)
            .with_context(|| format!("making a directory in {}", parent.display()))?;
        let cluster = ClusterId::new("bench")?;
        let authority = Authority::new(&cluster)?;
        let tls = issue(&authority, &cluster, Role::Controller(CLIENT))?;
        let mut group =
            Self { program: place.program.clone(), controllers: Vec::new(), cluster, authority, tls, dir };
        let members = members();
        for member in &members {
            let (dir, authority, cluster) = (group.dir.path(), &group.authority, &group.cluster);
            let config = write_config(dir, authority, cluster, member, &members, liveness)?;
            let process = Some(spawn(group.program.as_deref(), &config)?);
            group.controllers.push(Running { process, config, member: member.clone() });
        }
        Ok(group)
    }

    /// Where the controllers' files are.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Waits for a leader, and gives its address.
    pub(crate) async fn leader(&mut self) -> anyhow::Result<String> {
        let leader = self.leading().await?;
        Ok(self.controllers[leader].member.cluster.clone())
    }

    /// Waits for a leader, and says which it is.
    pub(crate) async fn leading(&mut self) -> anyhow::Result<usize> {
        let search = async {
            loop {
                self.check_alive()?;
                for (number, controller) in self.controllers.iter().enumerate() {
                    if self.leads(&controller.member.cluster).await {
                        return Ok(number);
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

    /// `host:port` of each controller's cluster port.
    pub(crate) fn clusters(&self) -> Vec<String> {
        self.controllers.iter().map(|controller| controller.member.cluster.clone()).collect()
    }

    /// `host:port` of each controller's REST API.
    pub(crate) fn apis(&self) -> Vec<String> {
        self.controllers.iter().map(|controller| controller.member.api.clone()).collect()
    }

    /// The processes, for looking after what they take.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.controllers.iter().filter_map(|controller| Some(controller.process.as_ref()?.id())).collect()
    }

    /// The processor time that was taken so far, in seconds: of each controller, then of this process.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<Vec<f64>> {
        self.pids().into_iter().chain([std::process::id()]).map(cpu_seconds).collect()
    }

    /// Kills a controller (SIGKILL); when this returns, it is dead.
    pub(crate) fn kill(&mut self, number: usize) -> anyhow::Result<()> {
        let Some(mut process) = self.controllers[number].process.take() else { return Ok(()) };
        process.kill().and_then(|()| process.wait()).context("killing a controller")?;
        Ok(())
    }

    /// Starts a controller again that was killed.
    pub(crate) fn restart(&mut self, number: usize) -> anyhow::Result<()> {
        let controller = &mut self.controllers[number];
        controller.process = Some(spawn(self.program.as_deref(), &controller.config)?);
        Ok(())
    }

    /// A connection of its own to `address`.
    pub(crate) fn connect(&self, address: &str) -> anyhow::Result<ControlClient<Channel>> {
        let channel = channel(&World::system(), &self.tls, address, ExpectedPeer::AnyController)?;
        Ok(ControlClient::new(channel))
    }

    /// A certificate of the executor `id`.
    pub(crate) fn executor(&self, id: &ExecutorId) -> anyhow::Result<TlsIdentity> {
        issue(&self.authority, &self.cluster, Role::Executor(id.clone()))
    }

    /// Fails with what they said if a controller has ended that was not killed.
    pub(crate) fn check_alive(&mut self) -> anyhow::Result<()> {
        for process in self.controllers.iter_mut().filter_map(|controller| controller.process.as_mut()) {
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
        for mut process in self.controllers.drain(..).filter_map(|controller| controller.process) {
            // Nothing of what it holds is wanted any more. An error means that it has ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn issue(authority: &Authority, cluster: &ClusterId, role: Role) -> anyhow::Result<TlsIdentity> {
    let identity = Identity { cluster: cluster.clone(), role };
    let issued = authority.issue(&identity)?;
    Ok(TlsIdentity::from_pem(&authority.ca_pem(), &issued.cert_pem, &issued.key_pem, &identity)?)
}

fn members() -> Vec<MemberConfig> {
    let address = || format!("127.0.0.1:{}", free_port());
    let member = |id| MemberConfig { id: ControllerId(id), cluster: address(), api: address() };
    (1..=CONTROLLERS).map(member).collect()
}

fn write_config(
    dir: &Path,
    authority: &Authority,
    cluster: &ClusterId,
    member: &MemberConfig,
    members: &[MemberConfig],
    liveness: LivenessConfig,
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
        listen: ListenConfig {
            cluster: member.cluster.clone(),
            api: member.api.clone(),
            allow_plain_http: false,
        },
        members: members.to_vec(),
        tls: Some(tls.clone()),
        liveness,
        retention: RetentionConfig::default(),
        spec_limits: SpecLimits::default(),
        users: Vec::new(),
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
fn spawn(program: Option<&Path>, config: &Path) -> anyhow::Result<Child> {
    let log = config.with_file_name("role.log");
    let log = std::fs::File::create(&log).with_context(|| format!("making {}", log.display()))?;
    let mut command = match program {
        Some(program) => Command::new(program),
        None => Command::new(std::env::current_exe().context("looking for this program")?),
    };
    command
        .args(program.is_none().then_some("controller"))
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
