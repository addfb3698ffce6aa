//! Three etcd servers on loopback without TLS, each a process of its own with files in a temporary directory.
//! Dropping them ends the processes and removes the directory.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use muster_tests::ports::free_port;
use tonic::transport::{Channel, Endpoint};

use super::message::{StatusRequest, StatusResponse};
use super::put::call;

const SERVERS: usize = 3;
/// Much longer than an election.
const LEADER_WITHIN: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The program: the one that is named, or else the one on the path, if there is any.
pub(crate) fn find(named: Option<&Path>) -> Option<PathBuf> {
    if let Some(named) = named {
        return Some(named.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("etcd")).find(|program| program.is_file())
}

/// Running servers.
pub(crate) struct Servers {
    processes: Vec<Child>,
    /// `host:port` for clients.
    addresses: Vec<String>,
    dir: tempfile::TempDir,
}

impl Servers {
    /// Starts them in a directory under `parent`.
    pub(crate) fn start(program: &Path, parent: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir_in(parent)
            .with_context(|| format!("making a directory in {}", parent.display()))?;
        let address = || format!("127.0.0.1:{}", free_port());
        let addresses: Vec<String> = (0..SERVERS).map(|_| address()).collect();
        let peers: Vec<String> = (0..SERVERS).map(|_| address()).collect();
        let named = peers.iter().enumerate().map(|(number, peer)| format!("etcd-{number}=http://{peer}"));
        let cluster = named.collect::<Vec<_>>().join(",");
        let mut servers = Self { processes: Vec::new(), addresses: addresses.clone(), dir };
        for (number, (address, peer)) in addresses.iter().zip(&peers).enumerate() {
            let (client, peer) = (format!("http://{address}"), format!("http://{peer}"));
            let log = File::create(servers.log(number)).context("making a log file for etcd")?;
            let data = servers.dir.path().join(format!("etcd-{number}"));
            let process = Command::new(program)
                .args(["--name", &format!("etcd-{number}"), "--logger", "zap", "--log-level", "warn"])
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster", &cluster, "--initial-cluster-state", "new", "--data-dir"])
                .arg(data)
                .stdin(Stdio::null())
                .stdout(log.try_clone().context("sharing etcd's log")?)
                .stderr(log)
                // Out of reach of the terminal's Ctrl-C: whoever holds them ends them.
                .process_group(0)
                .spawn()
                .with_context(|| format!("starting {}", program.display()))?;
            servers.processes.push(process);
        }
        Ok(servers)
    }

    fn log(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("etcd-{number}.log"))
    }

    /// The processes, for looking after what they take.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Child::id).collect()
    }

    /// Waits for a leader, and gives its address.
    pub(crate) async fn leader(&mut self) -> anyhow::Result<String> {
        let search = async {
            loop {
                self.check_alive()?;
                for address in &self.addresses {
                    if leads(address).await {
                        return Ok(address.clone());
                    }
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        match tokio::time::timeout(LEADER_WITHIN, search).await {
            Ok(found) => found,
            Err(_) => bail!("no etcd server leads after {LEADER_WITHIN:?}{}", self.logs()),
        }
    }

    /// Fails with what they said if a server has ended.
    pub(crate) fn check_alive(&mut self) -> anyhow::Result<()> {
        for number in 0..self.processes.len() {
            if let Some(status) = self.processes[number].try_wait().context("looking after etcd")? {
                bail!("an etcd server ended: {status}{}", self.logs());
            }
        }
        Ok(())
    }

    /// What they said, for an error's message.
    fn logs(&self) -> String {
        let logs = (0..SERVERS).filter_map(|number| std::fs::read_to_string(self.log(number)).ok());
        logs.map(|log| format!("\n{log}")).collect()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // Nothing of what it holds is wanted any more. An error means that it has ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A connection of its own to `address`.
pub(crate) fn connect(address: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).context("reading etcd's address")?;
    Ok(endpoint.connect_lazy())
}

async fn leads(address: &str) -> bool {
    let Ok(channel) = connect(address) else { return false };
    let answer = call::<_, StatusResponse>(&channel, "/etcdserverpb.Maintenance/Status", StatusRequest {});
    // A server that does not answer yet does not lead yet.
    let Ok(status) = answer.await else { return false };
    status.header.is_some_and(|header| header.member_id == status.leader)
}
