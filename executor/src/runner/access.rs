//! What of the node a spec may have: its volumes, its files, its devices, its executor's variables. Both runners ask here
//! before a start.
//!
//! Paths are resolved on the node's disk, so that neither a symlink nor `..` leaves an allowed directory, and the
//! workload is given the resolved path. Who may write into an allowed directory could still put a symlink there in
//! the moment between this look and the mount: allow directories whose owners you trust.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_common::spec::{ConfigSource, DeviceSpec, LocalServiceSpec};

use super::look::Looks;
use super::{LaunchPlan, StartError};
use crate::config::HostAccessConfig;

/// What a spec may have of the node. The default is nothing.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct HostAccess {
    /// Directories that may be mounted, with all that is below them, files below which may be placed, and variables.
    pub paths: HostAccessConfig,
    /// Whether devices may be passed through.
    pub devices: bool,
}

impl HostAccess {
    /// The plan with its paths resolved; refused when it asks for something that is not allowed here.
    pub(super) async fn admit(&self, plan: &LaunchPlan, looks: &Looks) -> Result<LaunchPlan, StartError> {
        self.refuse_variables(&plan.spec)?;
        let mut plan = LaunchPlan { env: self.environment(plan), ..plan.clone() };
        if asks_nothing(&plan.spec) {
            return Ok(plan);
        }
        let access = self.clone();
        let service = plan.place.service.clone();
        let question = format!("where the volumes and files of {service} are");
        looks
            .look(&service, question, move || {
                plan.spec = Arc::new(access.resolve(LocalServiceSpec::clone(&plan.spec))?);
                Ok(plan)
            })
            .await?
    }

    /// The environment of a workload, and of a command beside it: the plan's, and what is copied from the executor's own.
    pub(super) fn environment(&self, plan: &LaunchPlan) -> BTreeMap<String, String> {
        self.environment_from(plan, &|name| std::env::var(name).ok())
    }

    fn environment_from(
        &self,
        plan: &LaunchPlan,
        own_variable: &dyn Fn(&str) -> Option<String>,
    ) -> BTreeMap<String, String> {
        let mut env = plan.env.clone();
        for name in copied(&plan.spec).filter(|name| self.opens(name) && !plan.env.contains_key(*name)) {
            env.extend(own_variable(name).map(|value| (name.clone(), value)));
        }
        env
    }

    fn opens(&self, variable: &str) -> bool {
        self.paths.env.iter().any(|open| open == variable || open == "*")
    }

    fn refuse_variables(&self, spec: &LocalServiceSpec) -> Result<(), StartError> {
        let Some(name) = copied(spec).find(|name| !self.opens(name)) else { return Ok(()) };
        let why = format!(
            "env.{name} has no value, which copies the executor's own variable, and that is not allowed on this node; \
             give it a value, take it away, or name it in hostAccess.env of its executor's configuration"
        );
        Err(StartError::Failed { step: "copy variable", why })
    }

    /// Blocks on the node's disk.
    fn resolve(&self, mut spec: LocalServiceSpec) -> Result<LocalServiceSpec, StartError> {
        if !self.devices && !spec.devices.is_empty() {
            let why = format!(
                "devices[0]{} is not allowed on this node; its executor's configuration must say \
                 docker.allowDevices: true",
                named(&spec.devices[0])
            );
            return Err(StartError::Failed { step: "give device", why });
        }
        for (index, volume) in spec.volumes.iter_mut().enumerate() {
            let field = format!("volumes[{index}].pathOnHost");
            volume.path_on_host =
                inside(&volume.path_on_host, &field, &self.paths.volumes, "hostAccess.volumes")
                    .map_err(|why| StartError::Failed { step: "mount volume", why })?;
        }
        for (index, config) in spec.configs.iter_mut().enumerate() {
            if let ConfigSource::ExecutorLocalFile { file_path_on_host } = &mut config.source {
                let field = format!("configs[{index}].filePathOnHost");
                *file_path_on_host = inside(file_path_on_host, &field, &self.paths.files, "hostAccess.files")
                    .map_err(|why| StartError::Failed { step: "place config", why })?;
            }
        }
        Ok(spec)
    }
}

/// The variables whose value is left to the executor's own.
fn copied(spec: &LocalServiceSpec) -> impl Iterator<Item = &String> {
    spec.env.iter().filter(|(_, value)| value.is_empty()).map(|(name, _)| name)
}

fn asks_nothing(spec: &LocalServiceSpec) -> bool {
    let local = |source: &ConfigSource| matches!(source, ConfigSource::ExecutorLocalFile { .. });
    spec.volumes.is_empty()
        && spec.devices.is_empty()
        && !spec.configs.iter().any(|config| local(&config.source))
}

fn named(device: &DeviceSpec) -> String {
    match device {
        DeviceSpec::Direct { path_on_host, .. } => format!(" ({path_on_host})"),
        DeviceSpec::Detailed { .. } => String::new(),
    }
}

/// The real path, when it is below one of the allowed directories or is one of them.
fn inside(path: &str, field: &str, allowed: &[PathBuf], setting: &str) -> Result<String, String> {
    let refused = |real: &str| {
        format!(
            "{field} {path}{real} is not below a directory that this node allows; change the spec, or name a \
             directory above it in {setting} of its executor's configuration"
        )
    };
    // Nothing is said about what is on the disk to who may not have any of it.
    if allowed.is_empty() {
        return Err(refused(""));
    }
    let real = Path::new(path)
        .canonicalize()
        .map_err(|error| format!("{field} {path} cannot be found on this node: {error}"))?;
    // An allowed directory that is not there now allows nothing.
    let is_inside = allowed.iter().filter_map(|dir| dir.canonicalize().ok()).any(|dir| real.starts_with(dir));
    if !is_inside {
        let is_elsewhere = real != Path::new(path);
        return Err(refused(&if is_elsewhere {
            format!(" (in truth {})", real.display())
        } else {
            String::new()
        }));
    }
    real.into_os_string()
        .into_string()
        .map_err(|_| format!("{field} {path} leads to a path that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use muster_common::id::InstanceId;

    use super::*;

    fn why(result: Result<LocalServiceSpec, StartError>) -> String {
        result.unwrap_err().to_string()
    }

    fn spec(more: &str) -> LocalServiceSpec {
        LocalServiceSpec::from_json(format!(r#"{{"name": "a", "version": "1", {more}}}"#).as_bytes()).unwrap()
    }

    fn volume(path: &Path) -> LocalServiceSpec {
        spec(&format!(r#""volumes": [{{"pathInContainer": "/x", "pathOnHost": {path:?}}}]"#))
    }

    #[test]
    fn nothing_is_allowed_unless_it_is_named() {
        let access = HostAccess::default();
        let refusal = why(access.resolve(volume(Path::new("/etc"))));
        assert!(
            refusal.contains("volumes[0].pathOnHost /etc") && refusal.contains("hostAccess.volumes"),
            "{refusal}"
        );
        let file = r#""configs": [{"localFilename": "/x", "type": "EXECUTOR_LOCAL_FILE", "filePathOnHost": "/etc/passwd"}]"#;
        let refusal = why(access.resolve(spec(file)));
        assert!(refusal.contains("/etc/passwd") && refusal.contains("hostAccess.files"), "{refusal}");
        let device = r#""devices": [{"type": "DIRECT", "pathOnHost": "/dev/fuse"}]"#;
        let refusal = why(access.resolve(spec(device)));
        assert!(refusal.contains("/dev/fuse") && refusal.contains("docker.allowDevices"), "{refusal}");
        HostAccess { devices: true, ..HostAccess::default() }.resolve(spec(device)).unwrap();
    }

    #[tokio::test]
    async fn variables_of_the_executor_are_copied_only_where_they_are_named() {
        let plan = LaunchPlan {
            instance: InstanceId::new("SI-1").unwrap(),
            place: crate::testing::place(),
            spec: Arc::new(spec(r#""env": {"A": "1", "COPIED": "", "UNSET": "", "SET": ""}"#)),
            env: [("A", "1"), ("SET", "before")].map(|(name, value)| (name.into(), value.into())).into(),
        };
        let opening = |names: &[&str]| {
            let env = names.iter().map(|&name| name.to_owned()).collect();
            HostAccess { paths: HostAccessConfig { env, ..HostAccessConfig::default() }, devices: false }
        };
        let own = |name: &str| (name != "UNSET").then(|| "own".to_owned());
        let copied = |names: &[&str]| opening(names).environment_from(&plan, &own).remove("COPIED");
        assert_eq!((copied(&[]), copied(&["OTHER"])), (None, None));
        for names in [["COPIED"], ["*"]] {
            assert_eq!(copied(&names).as_deref(), Some("own"));
        }
        let all = opening(&["*"]).environment_from(&plan, &own);
        assert_eq!((all["SET"].as_str(), all.get("UNSET")), ("before", None));

        let refusal =
            opening(&["COPIED", "SET"]).admit(&plan, &Looks::default()).await.unwrap_err().to_string();
        assert!(refusal.contains("env.UNSET") && refusal.contains("hostAccess.env"), "{refusal}");
        opening(&["*"]).admit(&plan, &Looks::default()).await.unwrap();
    }

    #[test]
    fn neither_symlinks_nor_dots_nor_like_names_leave_an_allowed_directory() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        for name in ["open", "open/sub", "open-not", "shut"] {
            std::fs::create_dir(base.join(name)).unwrap();
        }
        symlink(base.join("shut"), base.join("open/out")).unwrap();
        symlink(base.join("open/sub"), base.join("open/in")).unwrap();
        symlink(base.join("open"), base.join("alias")).unwrap();
        let volumes = vec![base.join("alias"), base.join("missing")];
        let paths = HostAccessConfig { volumes, ..HostAccessConfig::default() };
        let access = HostAccess { paths, devices: false };
        let given = |path: &str| {
            access.resolve(volume(&base.join(path))).map(|spec| PathBuf::from(&spec.volumes[0].path_on_host))
        };
        for (asked, real) in
            [("open", "open"), ("open/sub", "open/sub"), ("open/in", "open/sub"), ("alias/sub", "open/sub")]
        {
            assert_eq!(given(asked).unwrap(), base.join(real), "{asked}");
        }
        for asked in ["shut", "open/out", "open/../shut", "open-not", "open/missing"] {
            assert!(given(asked).is_err(), "{asked}");
        }
        assert!(given("open/out").unwrap_err().to_string().contains("in truth"));
    }
}
