//! Programs from `PyPI`, unmodified, each in a Python environment of a test's own.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

/// Says that nothing from `PyPI` may be missing.
const REQUIRED: &str = "MUSTER_REQUIRE_PYPI";
/// A package index may be far away, and the machine busy.
const INSTALL_WITHIN: Duration = Duration::from_secs(300);
/// Longer than any command takes; those of Drove's client that wait poll every 4 to 10 s.
const COMMAND_WITHIN: Duration = Duration::from_secs(600);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A program that others wrote.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    requirement: &'static str,
    program: &'static str,
}

/// Drove's own client, in the version that docs/drove-api.md was tried with.
pub const DROVE_CLI: Package = Package { requirement: "drove-cli==0.0.14", program: "drove" };
/// An independent judge of what an API says of itself and does.
pub const SCHEMATHESIS: Package = Package { requirement: "schemathesis==4.32.5", program: "schemathesis" };

/// A program, with a home of its own. Dropped, it is gone.
pub struct Installed {
    program: &'static str,
    dir: TempDir,
}

impl Package {
    /// The program for a test that needs it. Where it cannot be had the test is skipped, which is said, unless
    /// `MUSTER_REQUIRE_PYPI=1` says that it must not be: then the test fails.
    #[must_use]
    pub fn install_or_skip(self, test: &str) -> Option<Installed> {
        match self.install() {
            Ok(installed) => Some(installed),
            Err(error) => {
                let requirement = self.requirement;
                assert!(
                    std::env::var(REQUIRED).as_deref() != Ok("1"),
                    "{test} needs {requirement}, which {REQUIRED}=1 promises: {error:#}"
                );
                eprintln!("SKIPPED {test}: it needs {requirement} in a Python environment, and {error:#}");
                None
            }
        }
    }

    fn install(self) -> anyhow::Result<Installed> {
        let dir = TempDir::new().context("there is no temporary directory")?;
        let environment = dir.path().join("environment");
        let made = Command::new("python3").arg("-m").arg("venv").arg(&environment).output();
        let made = made.context("there is no python3")?;
        ensure!(made.status.success(), "it cannot be made: {}", String::from_utf8_lossy(&made.stdout).trim());
        let log = dir.path().join("pip.log");
        let mut pip = Command::new(environment.join("bin/pip"));
        pip.args(["--disable-pip-version-check", "--no-input", "install", "--quiet", self.requirement]);
        let status = ended(&mut pip, &log, INSTALL_WITHIN)?;
        ensure!(status.success(), "pip cannot install it: {}", fs::read_to_string(&log)?.trim());
        fs::create_dir(dir.path().join("home"))?;
        Ok(Installed { program: self.program, dir })
    }
}

impl Installed {
    /// The directory that the program takes for its user's home, and begins in.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// What it prints with these arguments, on either output.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> String {
        self.end(arguments).1
    }

    /// How it ends with these arguments, and what it prints, on either output.
    #[must_use]
    pub fn end(&self, arguments: &[&str]) -> (ExitStatus, String) {
        let log = self.dir.path().join("command.log");
        let mut command = self.command(arguments);
        let status = ended(&mut command, &log, COMMAND_WITHIN);
        let status = status.unwrap_or_else(|error| panic!("{arguments:?}: {error:#}"));
        (status, fs::read_to_string(log).expect("what it printed"))
    }

    /// Starts it with these arguments, with which it goes on until it is ended, and waits until it has printed `text`.
    pub fn follow_until(&self, arguments: &[&str], text: &str) {
        let log = self.dir.path().join("follow.log");
        let output = File::create(&log).expect("a file for what it prints");
        let mut command = self.command(arguments);
        let mut child = command.stdout(output).stderr(Stdio::null()).spawn().expect("it starts");
        let deadline = Instant::now() + COMMAND_WITHIN;
        let mut printed = String::new();
        while !printed.contains(text) && Instant::now() < deadline {
            std::thread::sleep(POLL_INTERVAL);
            printed = fs::read_to_string(&log).unwrap_or_default();
        }
        end(&mut child);
        assert!(printed.contains(text), "{arguments:?} never printed {text:?}: {printed}");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.dir.path().join("environment/bin").join(self.program));
        // The controllers are on this machine, whatever proxy leads out of it.
        command.args(arguments).current_dir(self.home()).env("HOME", self.home()).env("NO_PROXY", "*");
        // What it prints is read while it goes on.
        command.env("PYTHONUNBUFFERED", "1").stdin(Stdio::null());
        command
    }
}

/// Runs `command` to its end, with all that it prints in the file `log`.
fn ended(command: &mut Command, log: &std::path::Path, within: Duration) -> anyhow::Result<ExitStatus> {
    let output = File::create(log)?;
    let errors = output.try_clone()?;
    let mut child = command.stdout(output).stderr(errors).spawn().context("it does not start")?;
    let deadline = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            end(&mut child);
            bail!("it did not end within {} s: {}", within.as_secs(), fs::read_to_string(log)?.trim());
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}
