//! A controller that begins anew, because its files are damaged or of a cluster that is no more.

use muster_common::exit::Exit;
use muster_platform::{RoleError, World};

use super::args::ConfirmedArgs;
use super::{Stopped, unconfirmed};
use crate::raft::regroup;

pub(super) fn rejoin(args: &ConfirmedArgs, world: &World) -> Result<(), RoleError> {
    let stopped = Stopped::lock(&args.config, world)?;
    let (dir, me) = (stopped.dir.display(), &stopped.me);
    println!(
        "Controller {} will forget everything, and be told it again by the cluster. Do this only while a majority \
         of the others is well.",
        me.id
    );
    if !args.yes {
        return Err(unconfirmed());
    }
    let aside = regroup::set_aside(&stopped.dir).map_err(|error| {
        RoleError::caused_by(Exit::Failure, format!("cannot set the files in {dir} aside"), &error)
    })?;
    match aside {
        Some(aside) => println!("Its files are in {}.", aside.display()),
        None => println!("{dir} holds no files of a controller."),
    }
    println!(
        "Next: start it; then, on another controller: 'muster members remove {id}' and 'muster members add {id} {at}'.",
        id = me.id,
        at = me.cluster_addr
    );
    Ok(())
}
