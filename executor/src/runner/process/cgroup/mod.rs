//! Limits by control groups (cgroup v1, v2 or both), where they are permitted.
//!
//! | module | noun |
//! |---|---|
//! | `hierarchy` | where this process's groups are (pure) |
//! | `plan` | what is written into a group (pure) |
//! | `group` | one instance's groups |
//!
//! Below the executor's own group in each hierarchy: `muster-<id>/<instance>`, the id being that of the data
//! directory, so that several executors can share a machine. A group is there as long as its instance's run
//! directory. Below it are the commands beside the workload (`muster-beside`) and, in the unified hierarchy, the
//! workload itself (`muster-workload`): the limits hold both together, and whom the kernel killed is counted for each.
//!
//! The unified hierarchy gives limits only to groups below one that holds no processes itself. Under systemd the
//! unit says `Delegate=yes` and `DelegateSubgroup=muster-agent`: then the executor is one down from the start, now and
//! whenever it is started again. One that is alone in the group of a container moves itself there. One that shares its
//! group with others (a login shell), or whose unit would not start again once it had moved, moves nobody: its
//! workloads run without limits, and that is said.

mod group;
mod hierarchy;
mod plan;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use muster_common::id::InstanceId;

pub(super) use self::group::Group;
use self::group::{BESIDE, Place, REMOVE_WAIT, WORKLOAD, put, remove_tree};
use self::hierarchy::{Controller, Hierarchy, Version};
pub(super) use self::plan::Limits;
use crate::runner::mark::data_dir_id;
use crate::want::named;

/// Where the executor itself goes, so that the group above has no processes.
const AGENT: &str = "muster-agent";

/// What a group of the unified hierarchy hands down.
const SUBTREE_CONTROL: &str = "cgroup.subtree_control";

/// What is made and removed again at the start, to see what is permitted.
const TRIAL: &str = "trial";

/// The control groups of one executor.
pub(super) struct Cgroups {
    homes: Vec<Home>,
    /// What cannot be limited on this node, and why not.
    missing: BTreeMap<Controller, String>,
    /// Making one instance's group and removing another's directory are no business at once.
    making: Mutex<()>,
}

/// What holds the instances' groups in one hierarchy.
struct Home {
    base: PathBuf,
    dir: PathBuf,
    version: Version,
    controllers: Vec<Controller>,
}

impl Cgroups {
    /// For an executor that is told to leave control groups alone.
    pub(super) fn none() -> Self {
        let why = "control groups are turned off on this node (process.controlGroups)";
        let missing = Controller::ALL.map(|controller| (controller, why.to_owned())).into();
        Self { homes: Vec::new(), missing, making: Mutex::default() }
    }

    /// Finds out what is permitted, says what is not, and removes the groups of instances that are no more
    /// (`is_known` tells). Never fails: what cannot be limited runs without.
    pub(super) fn open(data_dir: &Path, is_known: impl Fn(&str) -> bool) -> Self {
        // Where the kernel shows none there are none, which is said of each controller below.
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let found = hierarchy::hierarchies(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
        let name = format!("muster-{}", data_dir_id(data_dir).simple());
        let mut refusals = BTreeMap::new();
        let homes: Vec<Home> =
            found.into_iter().filter_map(|found| Home::open(found, &name, &mut refusals)).collect();
        let mut missing = BTreeMap::new();
        for controller in Controller::ALL {
            let works = homes.iter().any(|home| home.controllers.contains(&controller));
            metrics::gauge!("muster_executor_process_limits", "controller" => controller.name())
                .set(f64::from(u8::from(works)));
            if !works {
                let why = refusals.remove(&controller).unwrap_or_else(|| "no such control group".to_owned());
                missing.insert(controller, why);
            }
        }
        if !missing.is_empty() {
            let words = missing.iter().map(|(controller, why)| format!("{} ({why})", controller.name()));
            let words: Vec<String> = words.collect();
            tracing::warn!("processes run without these limits here: {}", words.join(", "));
        }
        // For all of them together: one that hangs in the kernel must not hold up the start for each of its groups.
        let deadline = Instant::now() + REMOVE_WAIT;
        for home in &homes {
            home.clear(&is_known, deadline);
        }
        Self { homes, missing, making: Mutex::default() }
    }

    /// What an instance's groups are called; nothing is made yet.
    pub(super) fn group(&self, instance: &InstanceId) -> Group {
        let place = |home: &Home| Place { dir: home.dir.join(instance.as_str()), version: home.version };
        Group { places: self.homes.iter().map(place).collect() }
    }

    /// Makes a group with its limits. What cannot be set is left away, and said in words: to the log, and as what
    /// is returned beside the group.
    pub(super) fn make(&self, instance: &InstanceId, limits: &Limits) -> (Group, Vec<String>) {
        let _alone = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let can_pin = self.homes.iter().any(|home| home.controllers.contains(&Controller::Cpuset));
        let mut group = Group::default();
        let mut unset = self.missing.clone();
        for home in &self.homes {
            let dir = home.dir.join(instance.as_str());
            let mut refused = |controller: Controller, error: &io::Error| {
                let name = controller.name();
                metrics::counter!("muster_executor_process_limit_failures_total", "controller" => name)
                    .increment(1);
                tracing::warn!(%instance, controller = name, %error, "this workload runs without this limit");
                unset.insert(controller, error.to_string());
            };
            if let Err(error) = home.make(&dir) {
                home.controllers.iter().for_each(|&controller| refused(controller, &error));
                // What is there is what the workload is in.
                let _ = remove_tree(&dir);
                continue;
            }
            for setting in plan::settings(home.version, &home.controllers, can_pin, limits) {
                let path = dir.join(setting.file);
                if setting.is_optional && !path.exists() {
                    continue;
                }
                if let Err(error) = put(&path, &setting.value) {
                    refused(setting.controller, &error);
                }
            }
            group.places.push(Place { dir, version: home.version });
        }
        (group, plan::unenforced(limits, can_pin, &unset))
    }

    /// Removes an instance's groups, and what held them when it was the last.
    pub(super) fn remove(&self, group: &Group) -> io::Result<()> {
        group.remove()?;
        let _alone = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        for home in &self.homes {
            // Others are still in it: the usual case.
            let _ = fs::remove_dir(&home.dir);
        }
        Ok(())
    }
}

impl Home {
    /// Tries everything once. `None`: not even an empty group can be made.
    fn open(found: Hierarchy, name: &str, refusals: &mut BTreeMap<Controller, String>) -> Option<Self> {
        let mut base = found.own;
        let mut controllers = found.controllers;
        if found.version == Version::V2 {
            if base.file_name().is_some_and(|name| name == AGENT) {
                base.pop();
            }
            // A group that does not say what it offers offers nothing: its controllers are told to be missing.
            let offered = fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
            controllers = Controller::among(offered.split_ascii_whitespace());
            controllers.retain(|&controller| match enable(&base, controller) {
                Ok(()) => true,
                Err(error) => {
                    refusals.insert(controller, error.to_string());
                    false
                }
            });
        }
        let mut home = Self { dir: base.join(name), base, version: found.version, controllers };
        let trial = home.dir.join(TRIAL);
        let made = home.make(&trial);
        if let Err(error) = &made {
            refusals.extend(home.controllers.iter().map(|&controller| (controller, error.to_string())));
        }
        home.controllers.retain(|controller| {
            let file = trial.join(key_file(home.version, *controller));
            let refused = fs::File::options().write(true).open(&file).err();
            if let Some(error) = &refused {
                refusals.entry(*controller).or_insert_with(|| format!("{}: {error}", file.display()));
            }
            refused.is_none()
        });
        // Whoever it was refused to has nothing to remove; what others are in stays.
        let _ = remove_tree(&trial);
        let _ = fs::remove_dir(&home.dir);
        made.is_ok().then_some(home)
    }

    /// Makes a group, and what holds it.
    fn make(&self, dir: &Path) -> io::Result<()> {
        make_dir(&self.dir)?;
        match self.version {
            Version::V1 => {
                if self.controllers.contains(&Controller::Cpuset) {
                    inherit_cpuset(&self.base, &self.dir)?;
                    make_dir(dir)?;
                    return inherit_cpuset(&self.dir, dir);
                }
            }
            Version::V2 => {
                make_dir(dir)?;
                for &controller in &self.controllers {
                    hand_down(&self.dir, controller)?;
                    hand_down(dir, controller)?;
                }
                let workload = dir.join(WORKLOAD);
                make_dir(&workload)?;
                return habitable(&workload);
            }
        }
        make_dir(dir)
    }

    /// Removes what an earlier executor left, with whoever is in it: the groups of instances that are no more, and
    /// those of commands beside the others. Nobody waits for those commands any more.
    fn clear(&self, is_known: impl Fn(&str) -> bool, deadline: Instant) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let is_known = entry.file_name().to_str().is_some_and(&is_known);
            let dir = if is_known { entry.path().join(BESIDE) } else { entry.path() };
            if !dir.is_dir() {
                continue;
            }
            let path = dir.display().to_string();
            let group = Group { places: vec![Place { dir, version: self.version }] };
            match group.remove_until(deadline) {
                Ok(()) if is_known => tracing::debug!(path, "removed the group of earlier commands"),
                Ok(()) => tracing::info!(path, "removed a group that was left behind"),
                Err(error) => tracing::warn!(%error, "a group that was left behind cannot be removed"),
            }
        }
        // Groups of instances that are known are still in it: the usual case.
        let _ = fs::remove_dir(&self.dir);
    }
}

/// The file that must be writable for a limit to be possible.
fn key_file(version: Version, controller: Controller) -> &'static str {
    match (controller, version) {
        (Controller::Cpu, Version::V1) => "cpu.cfs_quota_us",
        (Controller::Cpu, Version::V2) => "cpu.max",
        (Controller::Cpuset, _) => "cpuset.cpus",
        (Controller::Memory, Version::V1) => "memory.limit_in_bytes",
        (Controller::Memory, Version::V2) => "memory.max",
        (Controller::Pids, _) => "pids.max",
    }
}

/// Hands a controller down to the groups below, stepping out of the way when only this process is in it.
fn enable(base: &Path, controller: Controller) -> io::Result<()> {
    // The root alone has no such file, and may have processes beside groups.
    if base.join("cgroup.type").exists() {
        vacate(base)?;
    }
    // Only to save a write: where it cannot be read, that says what is wrong.
    let enabled = fs::read_to_string(base.join(SUBTREE_CONTROL)).unwrap_or_default();
    if enabled.split_ascii_whitespace().any(|name| name == controller.name()) {
        return Ok(());
    }
    hand_down(base, controller)
}

/// Sees to it that nobody is in a group that is to hand controllers down. It is not left to the kernel to refuse: it takes
/// some of them from a group with processes, too, and then lets nobody into the groups below.
fn vacate(base: &Path) -> io::Result<()> {
    let procs = base.join("cgroup.procs");
    let inside = fs::read_to_string(&procs)
        .map_err(|error| named(format!("cannot see who is in {}", base.display()), error))?;
    if inside.trim().is_empty() {
        return Ok(());
    }
    if is_unit(base) {
        return Err(io::Error::other(format!(
            "add DelegateSubgroup={AGENT} to the unit, and Delegate=yes; that needs systemd 254 or later, older ones \
             ignore the line: upgrade it, or limit such services as DOCKER executables"
        )));
    }
    let me = std::process::id().to_string();
    if inside.trim() != me {
        return Err(io::Error::other(format!(
            "others are in the executor's control group, {}; start it in one of its own, as a systemd unit has it",
            base.display()
        )));
    }
    let agent = base.join(AGENT);
    make_dir(&agent)?;
    put(&agent.join("cgroup.procs"), &me)
}

/// The groups below may limit this, and the kernel counts for each of them.
fn hand_down(group: &Path, controller: Controller) -> io::Result<()> {
    put(&group.join(SUBTREE_CONTROL), &format!("+{}", controller.name()))
}

/// Nobody gets into a group below one that handed controllers down while somebody was in it.
fn habitable(group: &Path) -> io::Result<()> {
    let kind = fs::read_to_string(group.join("cgroup.type"))
        .map_err(|error| named(format!("cannot see of what type {} is", group.display()), error))?;
    if kind.trim() == "domain invalid" {
        let why = format!("the kernel lets nobody into {}: a group above it is threaded", group.display());
        return Err(io::Error::other(why));
    }
    Ok(())
}

/// Whether systemd puts a service there. It could not do so again once the group hands controllers down.
fn is_unit(group: &Path) -> bool {
    group.extension().is_some_and(|kind| kind == "service")
}

/// A v1 group of cores takes nobody in before it has been told its cores and memory nodes.
fn inherit_cpuset(from: &Path, to: &Path) -> io::Result<()> {
    for (file, effective) in
        [("cpuset.cpus", "cpuset.effective_cpus"), ("cpuset.mems", "cpuset.effective_mems")]
    {
        let value =
            fs::read_to_string(from.join(effective)).or_else(|_| fs::read_to_string(from.join(file)))?;
        put(&to.join(file), value.trim())?;
    }
    Ok(())
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(named(format!("cannot make {}", dir.display()), error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_own_group_is_told_from_others() {
        assert!(is_unit(Path::new("/sys/fs/cgroup/system.slice/muster-executor.service")));
        for other in
            ["/sys/fs/cgroup", "/sys/fs/cgroup/docker-abc.scope", "/sys/fs/cgroup/x.service/muster-agent"]
        {
            assert!(!is_unit(Path::new(other)), "{other}");
        }
    }

    #[test]
    fn a_group_that_takes_nobody_in_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        habitable(dir.path()).unwrap_err();
        for (kind, takes) in [("domain\n", true), ("domain invalid\n", false)] {
            fs::write(dir.path().join("cgroup.type"), kind).unwrap();
            assert_eq!(habitable(dir.path()).is_ok(), takes, "{kind}");
        }
    }

    #[test]
    fn a_group_with_others_in_it_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        for (group, advice) in
            [("muster-executor.service", "DelegateSubgroup="), ("session-1.scope", "others")]
        {
            let base = dir.path().join(group);
            fs::create_dir(&base).unwrap();
            for (file, content) in
                [("cgroup.type", "domain\n"), ("cgroup.procs", "1\n2\n"), (SUBTREE_CONTROL, "")]
            {
                fs::write(base.join(file), content).unwrap();
            }
            let refusal = enable(&base, Controller::Cpu).unwrap_err().to_string();
            assert!(refusal.contains(advice), "{refusal}");
            assert_eq!(fs::read_to_string(base.join(SUBTREE_CONTROL)).unwrap(), "");
            fs::write(base.join("cgroup.procs"), "").unwrap();
            enable(&base, Controller::Cpu).unwrap();
            assert_eq!(fs::read_to_string(base.join(SUBTREE_CONTROL)).unwrap(), "+cpu");
        }
    }
}
