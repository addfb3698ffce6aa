//! Bringing a cluster up, and staying with it until it is told to end.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_common::cluster::ClusterSummary;
use muster_common::executor::{ExecutorState, ExecutorSummary};
use muster_common::exit::Exit;
use muster_platform::World;
use muster_platform::shutdown::shutdown_signal;
use tokio::time::Instant;

use super::args::StartArgs;
use super::cluster_file::{ClusterFile, RoleKind};
use super::layout::{Layout, loopback};
use super::{certificates, process, show, stop};
use crate::client::{self, Client, Deployment, Progress, Target};
use crate::error::CliError;
use crate::example;

/// How long a leader and all executors may take.
const START_BOUND: Duration = Duration::from_secs(30);
/// How long a deployed service may take to be healthy.
const HEALTHY_BOUND: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How often the foreground command looks whether a role has ended.
const WATCH_INTERVAL: Duration = Duration::from_millis(300);

/// `muster dev`.
pub(crate) async fn start(args: StartArgs) -> Result<(), CliError> {
    let mut interrupted = shutdown_signal().map_err(|error| CliError::failure(error.to_string()))?;
    let detached = args.detach;
    // Specs are read first: a typo must not cost a cluster's start.
    let deployments = deployments(&args.specs)?;
    let dir = prepare(&args)?;

    let outcome = tokio::select! {
        outcome = bring_up(&dir, deployments, detached) => outcome,
        () = interrupted.cancelled() => Err(Stage::Roles(CliError::failure("interrupted"))),
    };
    match outcome {
        Ok(()) if detached => return Ok(()),
        Ok(()) => {}
        Err(Stage::Roles(error)) => {
            end(&dir, &mut interrupted).await?;
            return Err(error);
        }
        // The cluster itself is fine: it stays, so that one can look why.
        Err(Stage::Services(error)) if detached => {
            return Err(CliError::new(
                error.exit,
                format!(
                    "{}\nthe cluster runs on; 'muster dev stop --dir {}' ends it",
                    error.message,
                    dir.display()
                ),
            ));
        }
        Err(Stage::Services(error)) => eprintln!("muster: {error}\nthe cluster runs on; Ctrl-C ends it"),
    }
    watch(&dir, &interrupted).await;
    end(&dir, &mut interrupted).await
}

/// How far a start came before it failed.
enum Stage {
    /// The roles are not up; there is nothing to look at.
    Roles(CliError),
    /// The cluster is up; a service is not.
    Services(CliError),
}

fn deployments(specs: &[PathBuf]) -> Result<Vec<Deployment>, CliError> {
    let mut found = Vec::new();
    for path in specs {
        found.extend(client::read_specs(path)?);
    }
    if found.is_empty() {
        let program = std::env::current_exe()
            .map_err(|error| CliError::failure(format!("cannot find this program: {error}")))?;
        let spec = serde_json::from_value(example::spec(&program.to_string_lossy()))
            .map_err(|error| CliError::failure(format!("the built-in example is not a spec: {error}")))?;
        found.push(spec);
    }
    Ok(found.into_iter().map(Deployment::as_it_is).collect())
}

/// The cluster's directory, with everything in it that the roles need.
fn prepare(args: &StartArgs) -> Result<PathBuf, CliError> {
    let layout = Layout::new(args.port_base, args.controllers, args.executors)?;
    if let Some(dir) = &args.dir
        && ClusterFile::exists(dir)
    {
        return resume(dir, layout);
    }
    check_ports(layout)?;
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => std::env::temp_dir().join(format!("muster-dev-{}", World::system().uuid().simple())),
    };
    let made = fs::create_dir_all(&dir).and_then(|()| fs::canonicalize(&dir));
    let dir = made.map_err(|error| CliError::failure(format!("cannot make {}: {error}", dir.display())))?;
    if let Err(error) = certificates::prepare(&dir, layout, args.dir.is_none()) {
        if args.dir.is_none() {
            // What failed is said below; a leftover in the temporary directory is the lesser news.
            let _ = fs::remove_dir_all(&dir);
        }
        return Err(error);
    }
    Ok(dir)
}

/// A directory that holds a cluster already: it is started again on its old data.
fn resume(dir: &Path, layout: Layout) -> Result<PathBuf, CliError> {
    let file = ClusterFile::read(dir)?;
    if let Some(role) = file.roles.iter().find(|role| role.process().is_some()) {
        return Err(CliError::new(
            Exit::Conflict,
            format!(
                "a cluster runs in {0} already ({1}); 'muster dev status --dir {0}' shows it, 'muster dev stop --dir \
                 {0}' stops it",
                dir.display(),
                role.id
            ),
        ));
    }
    let count = |kind| file.roles.iter().filter(|role| role.role == kind).count();
    let same = file.port_base == layout.port_base
        && count(RoleKind::Controller) == usize::from(layout.controllers)
        && count(RoleKind::Executor) == usize::from(layout.executors);
    if !same {
        return Err(CliError::new(
            Exit::Conflict,
            format!(
                "{} holds a cluster of {} controllers and {} executors at port base {}; start it with the same, or \
                 choose another --dir",
                dir.display(),
                count(RoleKind::Controller),
                count(RoleKind::Executor),
                file.port_base
            ),
        ));
    }
    check_ports(layout)?;
    fs::canonicalize(dir).map_err(|error| CliError::failure(format!("cannot use {}: {error}", dir.display())))
}

fn check_ports(layout: Layout) -> Result<(), CliError> {
    for port in layout.listening() {
        if let Err(error) = TcpListener::bind(loopback(port)) {
            return Err(CliError::new(
                Exit::Conflict,
                format!(
                    "port {port} cannot be used: {error}; stop what uses it, or choose other ports with --port-base"
                ),
            ));
        }
    }
    Ok(())
}

async fn bring_up(dir: &Path, deployments: Vec<Deployment>, detached: bool) -> Result<(), Stage> {
    let mut progress = Progress::new();
    let client = start_roles(dir, &mut progress).await.map_err(Stage::Roles)?;
    let mut deployed = Vec::new();
    for deployment in deployments {
        deployed.push(client::deploy(&client, deployment).await.map_err(Stage::Services)?);
    }
    let mut services = Vec::new();
    for service in deployed {
        client::settled(&client, &service, Some(HEALTHY_BOUND), &mut progress)
            .await
            .map_err(Stage::Services)?;
        services.push(service.id);
    }
    let file = ClusterFile::read(dir).map_err(Stage::Roles)?;
    progress.done(&format!("{} is healthy\n", services.join(", "))).map_err(Stage::Services)?;
    print!("\n{}{}", show::roles(&file), show::next_steps(&file, dir, &services, detached));
    Ok(())
}

/// Starts every role and waits for a leader and all executors.
async fn start_roles(dir: &Path, progress: &mut Progress) -> Result<Client, CliError> {
    // Each is noted before the next one starts: whatever goes wrong, it is known what runs.
    for role in ClusterFile::read(dir)?.roles {
        ClusterFile::update(dir, |file| {
            file.set_process(&role.id, Some(process::spawn(&role)?));
            Ok(())
        })?;
    }
    let file = ClusterFile::read(dir)?;
    let servers = file.servers().map(str::to_owned).collect();
    let client = Client::new(Target { servers, token: None })?;
    let executors = file.roles.iter().filter(|role| role.role == RoleKind::Executor).count();
    let deadline = Instant::now() + START_BOUND;
    loop {
        if let Some(role) = file.roles.iter().find(|role| role.process().is_none()) {
            return Err(CliError::failure(format!(
                "{} ended while it was starting: {}",
                role.id,
                process::last_words(&role.log())
            )));
        }
        let (leader, ready) = readiness(&client).await;
        let leader = if leader { "leader elected" } else { "no leader yet" };
        progress.say(&format!("{leader}, {ready} of {executors} executors in"));
        if ready >= executors {
            return Ok(client);
        }
        if Instant::now() >= deadline {
            return Err(CliError::new(
                Exit::Timeout,
                format!(
                    "the cluster was not complete after {}s ({leader}, {ready} of {executors} executors in); the \
                     roles' logs are in {}/*/role.log",
                    START_BOUND.as_secs(),
                    dir.display()
                ),
            ));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Whether there is a leader, and how many executors are in. Errors mean "not yet".
async fn readiness(client: &Client) -> (bool, usize) {
    if client.get::<ClusterSummary>("cluster").await.is_err() {
        return (false, 0);
    }
    let executors: Vec<ExecutorSummary> = client.get("cluster/executors").await.unwrap_or_default();
    (true, executors.iter().filter(|executor| executor.state == ExecutorState::Active).count())
}

/// Says when a role ends or comes back, until the command is told to end.
async fn watch(dir: &Path, interrupted: &tokio_util::sync::CancellationToken) {
    let mut known: BTreeMap<String, Option<u32>> = BTreeMap::new();
    loop {
        // Unless somebody stopped the cluster, and perhaps removed its directory.
        if let Ok(file) = ClusterFile::read(dir)
            && !file.stopped
        {
            for role in &file.roles {
                let pid = role.process().map(|process| process.pid);
                match known.insert(role.id.clone(), pid) {
                    Some(Some(before)) if pid.is_none() => println!(
                        "{0} (pid {before}) has ended; 'muster dev start {0} --dir {1}' starts it again",
                        role.id,
                        dir.display()
                    ),
                    Some(before) if before != pid => {
                        println!("{} runs as pid {}", role.id, pid.unwrap_or_default());
                    }
                    _ => {}
                }
            }
        } else {
            println!("the cluster was stopped");
            return;
        }
        tokio::select! {
            () = interrupted.cancelled() => return,
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
        }
    }
}

/// Stops everything; a second Ctrl-C does so without waiting.
async fn end(dir: &Path, interrupted: &mut tokio_util::sync::CancellationToken) -> Result<(), CliError> {
    if !ClusterFile::exists(dir) || ClusterFile::read(dir)?.stopped {
        return Ok(());
    }
    eprintln!("stopping the cluster; press Ctrl-C again to kill it");
    *interrupted = shutdown_signal().map_err(|error| CliError::failure(error.to_string()))?;
    tokio::select! {
        stopped = stop::stop(dir) => stopped,
        () = interrupted.cancelled() => {
            stop::kill_all(dir).await?;
            stop::stop(dir).await
        }
    }
}
