//! `muster context`: several clusters in the configuration file.

use clap::{Args, Subcommand};
use muster_common::exit::Exit;
use serde::Serialize;

use crate::args::Output;
use crate::client::config::{self, ClientConfig, Context};
use crate::client::screen::{self, Screen};
use crate::client::table::{self, Cell, Column, Listed};
use crate::client::target::servers;
use crate::error::CliError;

#[derive(Debug, Args)]
pub(crate) struct ContextArgs {
    #[command(subcommand)]
    command: ContextCommand,
}

#[derive(Debug, Subcommand)]
enum ContextCommand {
    /// List them.
    List,
    /// Print the name of the one in use.
    Current,
    /// Make one the current one.
    Use {
        /// Its name.
        name: String,
    },
    /// Make one, or change where its cluster is.
    Set {
        /// Its name.
        name: String,
        /// The controllers' REST addresses, separated by commas.
        #[arg(long = "at", value_name = "URL")]
        at: String,
        /// Make it the current one too.
        #[arg(long = "use")]
        is_used: bool,
    },
    /// Forget one, with its token.
    Delete {
        /// Its name.
        name: String,
    },
}

pub(crate) fn context(args: ContextArgs, output: Output, screen: &Screen) -> Result<(), CliError> {
    let path = config::path()?;
    let mut config = ClientConfig::load(&path)?;
    match args.command {
        ContextCommand::List => {
            let rows: Vec<Row> =
                config.contexts.iter().map(|(name, context)| Row::of(name, context, &config)).collect();
            screen::write(&table::list(output, &rows, screen)?)
        }
        ContextCommand::Current => match &config.current_context {
            Some(name) => {
                let row = Row::of(name, config.context(name)?, &config);
                screen::write(&table::answer(output, name, &row, || format!("{name}\n"))?)
            }
            None => Err(CliError::new(
                Exit::NotFound,
                "no context is in use; choose one with 'muster context use NAME'",
            )),
        },
        ContextCommand::Use { name } => {
            config.context(&name)?;
            let line = format!("{name} is in use\n");
            config.current_context = Some(name);
            config.save(&path)?;
            screen::write(&line)
        }
        ContextCommand::Set { name, at, is_used } => {
            let server = servers(&at)?.join(",");
            // A token is for the cluster that it was given for.
            let token = config
                .contexts
                .get(&name)
                .filter(|old| old.server == server)
                .and_then(|old| old.token.clone());
            let line = format!("{name} is the cluster at {server}\n");
            config.contexts.insert(name.clone(), Context { server, token });
            if is_used || config.current_context.is_none() {
                config.current_context = Some(name);
            }
            config.save(&path)?;
            screen::write(&line)
        }
        ContextCommand::Delete { name } => {
            config.contexts.remove(&name).ok_or_else(|| config::unknown(&name, &config))?;
            config.current_context = config.current_context.filter(|current| *current != name);
            config.save(&path)?;
            screen::write(&format!("{name} is forgotten\n"))
        }
    }
}

/// One context as it is listed: without what is secret.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    server: String,
    has_token: bool,
    is_current: bool,
}

impl Row {
    fn of(name: &str, context: &Context, config: &ClientConfig) -> Self {
        Self {
            name: name.to_owned(),
            server: context.server.clone(),
            has_token: context.token.is_some(),
            is_current: config.current_context.as_deref() == Some(name),
        }
    }
}

impl Listed for Row {
    const NONE: &'static str = "no contexts; make one with 'muster context set NAME --at URL'";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("CURRENT", |row, _| Cell::text(if row.is_current { "*" } else { "" })),
        Column::new("NAME", |row, _| Cell::text(&row.name)),
        Column::new("SERVER", |row, _| Cell::text(&row.server)),
        Column::new("TOKEN", |row, _| Cell::text(if row.has_token { "yes" } else { "no" })),
    ];

    fn id(&self) -> String {
        self.name.clone()
    }
}
