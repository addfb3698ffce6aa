//! The command line as shell completions and man pages.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Muster;
use crate::client::write_bytes;
use crate::error::CliError;

const PROGRAM: &str = "muster";

/// Prints the script that completes commands in `shell`.
pub(crate) fn completions(shell: Shell) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Muster::command(), PROGRAM, &mut script);
    write_bytes(&script)
}

/// Writes `muster.1`, `muster-get.1` and so on.
pub(crate) fn pages(dir: &Path) -> Result<(), CliError> {
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Muster::command(), dir))
        .map_err(|error| CliError::failure(format!("cannot write man pages to {}: {error}", dir.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        pages(&dir.path().join("man")).unwrap();
        let page = |name: &str| std::fs::read_to_string(dir.path().join("man").join(name)).unwrap();
        assert!(page("muster.1").contains("muster\\-get"));
        for name in ["muster-apply.1", "muster-rollout-undo.1", "muster-get-instances.1"] {
            assert!(!page(name).is_empty());
        }
    }
}
