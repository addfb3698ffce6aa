//! Files that are placed before the start.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{call, form};
use crate::problem::Place;
use crate::spec::{ConfigSource, ConfigSpec, FetchRefusal, FetchUrl, HttpCallSpec};

const MAX_CONFIGS: usize = 256;

pub(super) fn check(spec_at: Place<'_>, configs: &[ConfigSpec], allowed: &[FetchUrl]) {
    let place = spec_at.member("configs");
    if !form::at_most(place, configs.len(), MAX_CONFIGS) {
        return;
    }
    let mut taken = BTreeSet::new();
    for (index, config) in configs.iter().enumerate() {
        let at = place.element(index);
        let file = config.local_filename.as_str();
        let file_at = at.member("localFilename");
        if file_name(file_at, file) {
            file_at.require(taken.insert(file), "- Another config is placed there");
        }
        source(at, &config.source, allowed);
    }
}

/// Absolute, or inside the instance's scratch directory.
fn file_name(place: Place<'_>, name: &str) -> bool {
    form::present(place, name, "- Specify where the file is to be placed", form::MAX_PATH_BYTES)
        && form::no_way_up(place, name)
        && place.require(
            name.rsplit('/').next().is_some_and(|last| !matches!(last, "" | ".")),
            "- Must name a file, not a directory",
        )
}

fn source(place: Place<'_>, source: &ConfigSource, allowed: &[FetchUrl]) {
    match source {
        ConfigSource::Inline { data } => {
            if let Err(problem) = STANDARD.decode(data) {
                place.member("data").refuse(format_args!("- Is not Base64: {problem}"));
            }
        }
        ConfigSource::ExecutorLocalFile { file_path_on_host } => {
            form::absolute_path(
                place.member("filePathOnHost"),
                file_path_on_host,
                "- Specify the file to copy",
            );
        }
        ConfigSource::ControllerHttpFetch { http } => {
            let at = place.member("http");
            // Where it goes must be known before it can be judged.
            if call::check(at, http) {
                permission(at, http, allowed);
            }
        }
        ConfigSource::ExecutorHttpFetch { http } => {
            call::check(place.member("http"), http);
        }
    }
}

fn permission(place: Place<'_>, call: &HttpCallSpec, allowed: &[FetchUrl]) {
    match FetchUrl::permitting(allowed, call) {
        Ok(_) => {}
        Err(refusal @ FetchRefusal::NotAllowed { .. }) => place.refuse(format_args!("- {refusal}")),
        Err(FetchRefusal::Header { name }) => {
            let refusal = FetchRefusal::Header { name: name.clone() };
            place.member("headers").entry(&name).refuse(format_args!("- {refusal}"));
        }
    }
}
