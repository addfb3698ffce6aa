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

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;
    use crate::example;

    #[test]
    fn findings_are_lines_with_their_places() {
        let document = |number, value| Document { file: "specs/hello.yaml".into(), number, value: Ok(value) };
        let mut good = example::spec("/bin/true");
        good["preShutdwon"] = json!({"hooks": []});
        let mut bad = example::spec("/bin/true");
        bad["name"] = json!("he llo");
        bad["exposedPorts"] = json!([{"name": "main", "port": 0, "type": "HTTP"}]);
        bad["resources"] = json!("many");
        let found = findings(&[document(1, good), document(2, bad)]);
        let lines: String = found.iter().map(|finding| format!("{finding}\n")).collect();
        assert_snapshot!(lines);
    }
}
