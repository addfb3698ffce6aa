//! `muster placement`: where a service runs, or would run, and why not elsewhere.

use std::path::PathBuf;

use clap::Args;
use muster_common::placement::ExecutorPlacement;

use super::Caller;
use crate::client::http::segment;
use crate::client::{resolve, specs};
use crate::error::CliError;

#[derive(Debug, Args)]
pub(crate) struct PlacementArgs {
    /// The service.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    service: Option<String>,
    /// A spec of which there is no service yet; `-` is standard input.
    #[arg(short, long)]
    file: Option<PathBuf>,
    /// How many instances of it each executor would hold.
    #[arg(short, long, value_name = "N", default_value_t = 1, requires = "file")]
    instances_per_host: u32,
}

pub(crate) async fn placement(caller: &Caller, args: &PlacementArgs) -> Result<(), CliError> {
    let client = &caller.client;
    let mut places: Vec<ExecutorPlacement> = Vec::new();
    if let Some(service) = &args.service {
        let id = resolve::service(client, service).await?.id;
        places = client.get(&format!("localservices/{}/placement", segment(&id))).await?;
    }
    if let Some(file) = &args.file {
        let path = format!("localservices/placement?instancesPerHost={}", args.instances_per_host);
        for spec in specs::read_specs(file)? {
            places.extend(client.post::<Vec<ExecutorPlacement>>(&path, &spec).await?);
        }
    }
    caller.list(&places)
}
