//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use muster_controller::{ControllerArgs, RestoreArgs};
use muster_executor::ExecutorArgs;

use crate::client::{ClientCommand, ColorChoice};
use crate::dev::DevArgs;

/// Keeps local services running on every machine of a fleet.
#[derive(Debug, Parser)]
#[command(
    name = "muster",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    max_term_width = 110
)]
pub(crate) struct Muster {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// How answers are written.
    #[arg(short, long, value_enum, global = true, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// Whether states are coloured; `auto` is on a terminal, unless `NO_COLOR` is set.
    #[arg(long, value_enum, global = true, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub(crate) color: ColorChoice,
}

/// Which cluster to talk to, and as whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connection {
    /// A controller's REST address, or several with commas between them: the next is asked when one is gone
    /// [default: `MUSTER_SERVER`, else that of the context, else `http://127.0.0.1:4000`].
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// A context of the configuration file [default: `MUSTER_CONTEXT`, else the current one].
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// A file that holds the token to log in with [default: `MUSTER_TOKEN`, else that of the context].
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

impl Connection {
    /// The same, with what the command line leaves open taken of variables; an empty one says nothing. Not left to the
    /// parser: it would show what variables say as if each command needed it.
    pub(crate) fn or_variables(self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let said = |name| variable(name).filter(|value| !value.is_empty());
        Self {
            server: self.server.or_else(|| said("MUSTER_SERVER")),
            context: self.context.or_else(|| said("MUSTER_CONTEXT")),
            token_file: self.token_file,
        }
    }
}

/// How answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// The same with more columns.
    Wide,
    /// The API's own JSON.
    Json,
    /// The same as YAML.
    Yaml,
    /// Ids only, one a line, as other commands take them.
    Name,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole cluster on this machine, each role as a process of its own.
    Dev(DevArgs),
    #[command(flatten)]
    Client(ClientCommand),
    /// Run a controller; or, while it is stopped: recover, restore, rejoin.
    Controller(ControllerArgs),
    /// Make a new cluster of a backup (the same as 'muster controller restore').
    Restore(RestoreArgs),
    /// Make a token for a user of the API, and the SHA-256 that the controllers' configuration names.
    Token,
    /// Run an executor.
    Executor(ExecutorArgs),
    /// Print a script that completes commands in a shell.
    ///
    /// For bash: `muster completions bash > /etc/bash_completion.d/muster`
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Write the man pages, one for each command.
    #[command(hide = true)]
    Man {
        /// The directory to write them to; it is made where it is missing.
        dir: PathBuf,
    },
    /// Stands between an executor and a process; started by executors only.
    #[command(hide = true)]
    Shim,
    /// The service that `muster dev` runs when it is given no spec.
    #[command(hide = true)]
    ExampleServer,
}

impl Output {
    /// Whether people read it, and no program.
    pub(crate) fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

impl Command {
    /// Whether it is one of the long-running roles, which want all cores.
    pub(crate) fn is_role(&self) -> bool {
        matches!(self, Self::Controller(_) | Self::Executor(_))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Muster::command().debug_assert();
    }

    #[test]
    fn variables_say_what_the_command_line_leaves_open_and_empty_ones_nothing() {
        let connection = |server: Option<&str>| Connection {
            server: server.map(str::to_owned),
            context: None,
            token_file: None,
        };
        let variable = |name: &str| match name {
            "MUSTER_SERVER" => Some("http://variable".to_owned()),
            "MUSTER_CONTEXT" => Some(String::new()),
            other => panic!("{other} is no variable of ours"),
        };
        assert_eq!(connection(None).or_variables(variable).server.as_deref(), Some("http://variable"));
        assert_eq!(
            connection(Some("http://own")).or_variables(variable).server.as_deref(),
            Some("http://own")
        );
        assert_eq!(connection(None).or_variables(variable).context, None);
    }

    /// The help of a command and of all below it.
    fn help(command: &mut clap::Command, text: &mut String) {
        let long = command.render_long_help().to_string();
        let lines = long.lines().map(|line| line.trim_end().to_owned() + "\n");
        text.extend(lines);
        text.push_str("\n--------\n\n");
        for below in command.get_subcommands_mut().filter(|below| !below.is_hide_set()) {
            help(below, text);
        }
    }

    #[test]
    fn every_command_has_help() {
        // Those that every command has are shown once.
        // Not wrapped: how wide a terminal is belongs to no command.
        let mut all = Muster::command().term_width(0).render_long_help().to_string() + "\n--------\n\n";
        let mut muster = Muster::command().term_width(0);
        for option in ["server", "context", "token_file", "output", "color"] {
            muster = muster.mut_arg(option, |argument| argument.hide(true));
        }
        muster.build();
        for command in muster.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
            // The roles describe theirs themselves.
            if !["controller", "executor", "restore"].contains(&command.get_name()) {
                help(command, &mut all);
            }
        }
        insta::assert_snapshot!("help", all);
    }
}
