//! `muster dev`: a whole cluster on one machine. Every role is an operating-system process of its own
//! with its own directory, certificate and ports, so that what is tried here is what runs in a fleet.
//!
//! `DIR/cluster.json` is the one truth that all subcommands share: who the roles are, and which pid
//! each has. The foreground command watches it, so that `muster dev kill` and `start` from another
//! terminal are seen, not fought.
//!
//! Without `--dir` the cluster lives in a fresh temporary directory that is removed at the end; a
//! directory that was named is kept, and the same command resumes its cluster.

mod args;
mod certificates;
mod cluster_file;
mod layout;
mod process;
mod roles;
mod show;
mod start;
mod stop;

pub(crate) use args::{DevArgs, run};
