//! Sockets, with an error a person can act on.

use std::io;

use muster_common::exit::Exit;

use crate::role_error::RoleError;
use crate::world::{Listener, World};

/// A socket could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {what}: {}", advice(source))]
pub struct BindError {
    address: String,
    what: &'static str,
    source: io::Error,
}

fn advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is taken; stop the program that uses it, or choose another port".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address; use one of its own, or 127.0.0.1".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "not permitted; ports below 1024 need the right CAP_NET_BIND_SERVICE".to_owned()
        }
        _ => error.to_string(),
    }
}

impl From<BindError> for RoleError {
    fn from(error: BindError) -> Self {
        let exit = match error.source.kind() {
            io::ErrorKind::AddrInUse => Exit::Conflict,
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::InvalidInput => Exit::Usage,
            _ => Exit::Failure,
        };
        Self::new(exit, error.to_string())
    }
}

/// Binds `address` for `what` (a noun such as "the REST API", for the error's sentence).
pub async fn bind(world: &World, what: &'static str, address: &str) -> Result<Box<dyn Listener>, BindError> {
    world.network.bind(address).await.map_err(|source| BindError {
        address: address.to_owned(),
        what,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_with_what_to_do() {
        let world = World::system();
        let first = bind(&world, "the REST API", "127.0.0.1:0").await.unwrap();
        let address = first.local_addr().unwrap().to_string();
        let Err(error) = bind(&world, "the REST API", &address).await else {
            panic!("{address} was bound twice");
        };
        let error = RoleError::from(error);
        assert_eq!(error.exit, Exit::Conflict);
        assert_eq!(
            error.sentence,
            format!(
                "cannot listen on {address} for the REST API: the port is taken; stop the program that uses it, \
                 or choose another port"
            )
        );
    }
}
