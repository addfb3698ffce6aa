//! The client: commands on services, instances and executors.
//!
//! | module | noun |
//! |---|---|
//! | `target`, `config` | which controllers, and as whom: options, variables, contexts |
//! | `http`, `sse`, `follow` | the REST API as typed calls, and streams that go on at another controller |
//! | `patience` | waiting that outlives controllers and elections |
//! | `resolve`, `search`, `nearest` | what a name or a prefix means, and what a mistyped one may mean |
//! | `operations` | lists of operations, page by page |
//! | `deploy`, `settle`, `specs` | from specs in files to healthy instances |
//! | `table`, `fit`, `columns`, `screen`, `words` | what is written: lists of things, how they fit, on what they are shown |
//! | `describe`, `diff` | one thing in full, and how two specs differ |
//! | `log_lines`, `terminal` | lines of several logs, keys as they are |
//! | `command` | the commands, one a file: what each takes, and what it does |
//!
//! All that is written is made by pure functions of typed answers and a [`screen::Screen`]; commands ask and print.

mod columns;
mod command;
mod config;
mod deploy;
mod describe;
mod diff;
mod fit;
mod follow;
mod http;
mod log_lines;
mod nearest;
mod operations;
mod patience;
mod resolve;
#[cfg(test)]
mod samples;
mod screen;
mod search;
mod settle;
mod specs;
mod sse;
mod table;
mod target;
mod terminal;
mod words;

pub(crate) use command::{ClientCommand, run};
pub(crate) use deploy::{Deployment, deploy, settled};
pub(crate) use http::Client;
pub(crate) use screen::{ColorChoice, write_bytes};
pub(crate) use settle::Progress;
pub(crate) use specs::read_specs;
pub(crate) use target::Target;
