//! What to start.

use super::form::{self, DAY};
use super::image;
use crate::duration::DroveDuration;
use crate::problem::{Place, Quoted};
use crate::spec::{Executable, LocalServiceSpec};

const MAX_WORDS: usize = 2048;
/// What Linux takes for one argument (`MAX_ARG_STRLEN`, 32 pages).
const MAX_WORD_BYTES: usize = 128 * 1024;

pub(super) fn check(spec_at: Place<'_>, spec: &LocalServiceSpec) {
    let place = spec_at.member("executable");
    match &spec.executable {
        None => place.refuse("- Executable details is required"),
        Some(Executable::Docker { url, docker_pull_timeout }) => docker(place, url, *docker_pull_timeout),
        Some(Executable::Process { command, working_directory }) => {
            process(place, command, working_directory.as_deref());
        }
    }
}

fn docker(place: Place<'_>, url: &str, pull_timeout: DroveDuration) {
    const MISSING: &str = "- Specify container fetch (docker pull) timeout";
    let url_at = place.member("url");
    if url_at.require(!url.trim().is_empty(), "- Specify url for container") {
        url_at.require(
            image::is_reference(url),
            format_args!(
                "- '{}' is not an image reference; write [registry[:port]/]name[:tag][@digest]",
                Quoted(url)
            ),
        );
    }
    form::positive(place.member("dockerPullTimeout"), pull_timeout, MISSING, DAY);
}

fn process(place: Place<'_>, command: &[String], working_directory: Option<&str>) {
    let command_at = place.member("command");
    let program = command.first().map_or("", String::as_str);
    command_at.require(!program.trim().is_empty(), "- Specify the program to start and its arguments");
    form::texts(command_at, command, MAX_WORDS, MAX_WORD_BYTES);
    if let Some(directory) = working_directory {
        form::absolute_path(place.member("workingDirectory"), directory, "- Specify the directory");
    }
}
