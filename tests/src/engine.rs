//! A Docker Engine of a test's own, to be stopped, killed and frozen: nobody else's containers are on it.
//!
//! It has its own directories, its own containerd (dockerd starts one), its own bridge and its own control
//! groups. The bridge is not only for the network: a dockerd that is told to have none (`--bridge=none`)
//! deletes `docker0`, which is the system's engine's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bollard::{API_DEFAULT_VERSION, Docker};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use uuid::Uuid;

/// A dockerd on a busy machine takes a few seconds to answer, and up to 15 s to stop what runs.
const BOUND: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Seconds that one call of a test may take.
const CALL_SECONDS: u64 = 60;
/// How many networks are tried until one is free.
const NETWORKS: u8 = 16;
/// The programs without which there is no engine of one's own.
const PROGRAMS: [&str; 3] = ["dockerd", "containerd", "ip"];

/// A running engine. Dropped, it takes everything with it: containers, shims, mounts, bridge.
pub struct PrivateEngine {
    dir: TempDir,
    bridge: String,
    groups: String,
    live_restore: bool,
    process: Option<Child>,
}

impl PrivateEngine {
    /// An engine for a test that needs one. Where none can be had the test is skipped, which is said, unless
    /// `MUSTER_REQUIRE_DOCKER=1` says that it must not be: then the test fails. With `live_restore` its
    /// containers go on while it is away.
    pub fn start_or_skip(test: &str, live_restore: bool) -> Option<Self> {
        let Some(why) = missing() else {
            return Some(Self::new(live_restore).expect("an engine of the test's own"));
        };
        assert!(
            std::env::var("MUSTER_REQUIRE_DOCKER").as_deref() != Ok("1"),
            "{test} needs a Docker engine of its own, which MUSTER_REQUIRE_DOCKER=1 promises: {why}"
        );
        eprintln!("SKIPPED {test}: it needs a Docker engine of its own, and {why}");
        None
    }

    fn new(live_restore: bool) -> anyhow::Result<Self> {
        let id = Uuid::new_v4().simple().to_string();
        // Short: a socket's path has at most 107 bytes, and containerd makes long ones below this.
        let dir = tempfile::Builder::new().prefix("mue-").tempdir_in("/tmp")?;
        // Explicit and empty: the system's engine's configuration is not for this one.
        fs::write(dir.path().join("config.json"), "{}")?;
        let bridge = make_bridge(&id)?;
        let groups = format!("/mue-{}", &id[..8]);
        let mut engine = Self { dir, bridge, groups, live_restore, process: None };
        engine.start()?;
        Ok(engine)
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path("s")
    }

    /// A client of its own.
    pub fn client(&self) -> anyhow::Result<Docker> {
        let socket = self.socket().display().to_string();
        Ok(Docker::connect_with_unix(&socket, CALL_SECONDS, API_DEFAULT_VERSION)?)
    }

    /// Starts it, and returns when it answers.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let log = fs::File::options().create(true).append(true).open(self.path("log"))?;
        let mut command = Command::new("dockerd");
        command
            .arg("--config-file")
            .arg(self.path("config.json"))
            .arg("--data-root")
            .arg(self.path("d"))
            .arg("--exec-root")
            .arg(self.path("x"))
            .arg("--pidfile")
            .arg(self.path("pid"))
            .arg(format!("--host=unix://{}", self.socket().display()))
            .arg(format!("--bridge={}", self.bridge))
            .arg(format!("--cgroup-parent={}", self.groups))
            // vfs works on every file system; the test image is one small file.
            .args(["--iptables=false", "--ip6tables=false", "--storage-driver=vfs", "--log-level=warn"])
            .args(self.live_restore.then_some("--live-restore"))
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.process = Some(command.spawn().context("start dockerd")?);
        let answers = || std::os::unix::net::UnixStream::connect(self.socket()).is_ok_and(|s| pings(&s));
        ensure!(wait_until(answers), "dockerd does not answer: {}", self.log());
        Ok(())
    }

    /// SIGTERM, and its end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        self.await_end()
    }

    /// SIGKILL, and its end.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.await_end()
    }

    /// Stops it and starts it again.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        self.start()
    }

    /// It hangs: takes connections, answers nothing.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// It goes on.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// What it wrote about itself.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let process = self.process.as_ref().context("dockerd does not run")?;
        send(process.id(), signal).context("signal dockerd")
    }

    fn await_end(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("dockerd does not run")?;
        // Its containerd ends with it, a moment later. A dockerd that is started in that moment, or while nobody
        // has reaped it, takes the dead one for its own and waits for it in vain.
        let pid_file = self.path("x/containerd/containerd.pid");
        let containerd = fs::read_to_string(&pid_file).unwrap_or_default().trim().parse().unwrap_or_default();
        if wait_until(|| !matches!(process.try_wait(), Ok(None)) && !crate::cluster::is_alive(containerd)) {
            // Where it ended in order the file is gone.
            let _ = fs::remove_file(pid_file);
            return Ok(());
        }
        self.process = Some(process);
        bail!("dockerd does not end: {}", self.log())
    }

    /// Whoever was started with a path below this engine's directory, and all below them: dockerd, containerd,
    /// the shims and what runs in the containers.
    fn processes(&self) -> BTreeSet<i32> {
        let dir = self.dir.path().display().to_string();
        let all: Vec<(i32, i32, bool)> = procfs::process::all_processes()
            .into_iter()
            .flatten()
            .filter_map(|process| {
                let process = process.ok()?;
                let own = process.cmdline().is_ok_and(|words| words.iter().any(|word| word.contains(&dir)));
                Some((process.pid(), process.stat().ok()?.ppid, own))
            })
            .collect();
        let me = i32::try_from(std::process::id()).unwrap_or_default();
        let mut found: BTreeSet<i32> =
            all.iter().filter(|(pid, _, own)| *own && *pid != me).map(|(pid, ..)| *pid).collect();
        loop {
            let below = all.iter().filter(|(pid, parent, _)| found.contains(parent) && !found.contains(pid));
            let below: Vec<i32> = below.map(|(pid, ..)| *pid).collect();
            if below.is_empty() {
                return found;
            }
            found.extend(below);
        }
    }

    /// The control group above its containers, in every hierarchy.
    fn groups(&self) -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        let groups = hierarchies.chain([root.to_owned()]);
        groups.map(|dir| dir.join(self.groups.trim_start_matches('/'))).filter(|dir| dir.is_dir()).collect()
    }

    fn end(&mut self) -> anyhow::Result<()> {
        // Again, as long as somebody is left: who is killed may just have started another.
        let all_dead = wait_until(|| {
            let left = self.processes();
            // A paused container takes a kill only once it goes on.
            for group in self.groups() {
                thaw(&group);
            }
            for pid in &left {
                // It may be gone by now.
                let _ = u32::try_from(*pid).map(|pid| send(pid, Signal::KILL));
            }
            if let Some(process) = &mut self.process {
                let _ = process.try_wait();
            }
            left.is_empty()
        });
        ensure!(all_dead, "processes are left: {:?}", self.processes());
        for mount in mounts_below(self.dir.path())? {
            rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH)
                .with_context(|| format!("unmount {}", mount.display()))?;
        }
        remove_groups(&self.groups());
        ip(&["link", "delete", &self.bridge])
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- dockerd\n{}", self.log());
        }
        if let Err(error) = self.end() {
            eprintln!(
                "something is left of a test's Docker engine at {}: {error:#}",
                self.dir.path().display()
            );
        }
    }
}

/// What this machine lacks for an engine of one's own.
fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root may start one".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &&&str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    let lacks = PROGRAMS.iter().find(|name| !is_there(name))?;
    Some(format!("{lacks} is not on the PATH"))
}

/// A bridge with a network that nobody on this machine has.
fn make_bridge(id: &str) -> anyhow::Result<String> {
    let bridge = format!("mue{}", &id[..8]);
    ip(&["link", "add", "name", &bridge, "type", "bridge"])?;
    let [first, second, ..] = *Uuid::new_v4().as_bytes();
    for attempt in 0..NETWORKS {
        let network = format!("10.{}.{}", 200 + first % 50, second.wrapping_add(attempt));
        let others = Command::new("ip").args(["-4", "-o", "address"]).output()?.stdout;
        if String::from_utf8_lossy(&others).contains(&format!(" {network}.")) {
            continue;
        }
        ip(&["address", "add", &format!("{network}.1/24"), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        return Ok(bridge);
    }
    ip(&["link", "delete", &bridge])?;
    bail!("no network is free for a bridge")
}

fn ip(words: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(words).output().context("run ip")?;
    ensure!(output.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Whether an engine answers at this connection, in time for the next try.
fn pings(stream: &std::os::unix::net::UnixStream) -> bool {
    use std::io::{Read, Write};
    let mut answer = [0; 15];
    let asked = stream.set_read_timeout(Some(BOUND)).is_ok()
        && (&*stream).write_all(b"GET /_ping HTTP/1.0\r\n\r\n").is_ok()
        && (&*stream).read_exact(&mut answer).is_ok();
    asked && answer.ends_with(b" 200 OK")
}

/// The deepest first.
fn mounts_below(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut mounts: Vec<PathBuf> = procfs::process::Process::myself()?
        .mountinfo()?
        .into_iter()
        .map(|mount| mount.mount_point)
        .filter(|point| point.starts_with(dir))
        .collect();
    mounts.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    Ok(mounts)
}

/// What goes on in a group's children goes on again, by either version of control groups.
fn thaw(group: &Path) {
    for child in fs::read_dir(group).into_iter().flatten().flatten() {
        for (file, word) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
            // Only the freezer's hierarchy has such a file, and only a container has children here.
            let path = child.path().join(file);
            if path.is_file() {
                let _ = fs::write(path, word);
            }
        }
    }
}

/// The groups and their children. Those who were in them are dead.
fn remove_groups(groups: &[PathBuf]) {
    for group in groups {
        for child in fs::read_dir(group).into_iter().flatten().flatten() {
            // Its files are the kernel's, and are no directories.
            let _ = fs::remove_dir(child.path());
        }
        if let Err(error) = fs::remove_dir(group) {
            eprintln!("a control group is left behind: {}: {error}", group.display());
        }
    }
}

fn send(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("a pid")?;
    Ok(kill_process(pid, signal)?)
}

fn wait_until(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + BOUND;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    true
}
