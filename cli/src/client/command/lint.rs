//! `muster lint`: what is wrong with specs, told without a cluster.

use std::path::PathBuf;

use clap::Args;
use muster_common::exit::Exit;

use crate::args::Output;
use crate::client::specs::{Document, Finding, documents};
use crate::client::words::counted;
use crate::client::{screen, table};
use crate::error::CliError;

#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// Specs as JSON or YAML, or directories of them; `-` is standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Take warnings for errors.
    #[arg(long)]
    strict: bool,
}

pub(crate) fn lint(args: &LintArgs, output: Output) -> Result<(), CliError> {
    let documents = documents(&args.files)?;
    let found = findings(&documents);
    let bad = found.iter().filter(|finding| finding.is_error || args.strict).count();
    let lines = || {
        let good = format!("{} checked, nothing is wrong\n", counted(documents.len(), "spec"));
        let lines: String = found.iter().map(|finding| format!("{finding}\n")).collect();
        if found.is_empty() { good } else { lines }
    };
    let text = match output {
        Output::Name => found.iter().map(|finding| format!("{}\n", finding.place)).collect(),
        Output::Table | Output::Wide | Output::Json | Output::Yaml => {
            table::answer(output, "", &found, lines)?
        }
    };
    screen::write(&text)?;
    if bad == 0 {
        return Ok(());
    }
    Err(CliError::new(
        Exit::Validation,
        format!("{} in {}", counted(bad, "problem"), counted(documents.len(), "spec")),
    ))
}

fn findings(documents: &[Document]) -> Vec<Finding> {
    documents
        .iter()
        .flat_map(|document| document.spec().map_or_else(|errors| errors, |(_, warnings)| warnings))
        .collect()
}
