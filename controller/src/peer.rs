//! The caller at the cluster port, as its certificate names it.

use muster_common::id::{ControllerId, ExecutorId};
use muster_common::identity::Role;
use muster_platform::PeerIdentity;
use tonic::{Request, Status};

/// The executor that makes this call. A call of a controller is refused.
#[allow(clippy::result_large_err)] // what tonic's handlers return
pub(crate) fn executor_of<T>(request: &Request<T>) -> Result<ExecutorId, Status> {
    match role_of(request)? {
        Role::Executor(id) => Ok(id.clone()),
        Role::Controller(id) => {
            Err(Status::permission_denied(format!("{id} is a controller; only executors may call")))
        }
    }
}

/// The controller that makes this call. A call of an executor is refused.
#[allow(clippy::result_large_err)] // what tonic's handlers return
pub(crate) fn controller_of<T>(request: &Request<T>) -> Result<ControllerId, Status> {
    match role_of(request)? {
        Role::Controller(id) => Ok(*id),
        Role::Executor(id) => {
            Err(Status::permission_denied(format!("{id} is an executor; only controllers may call")))
        }
    }
}

#[allow(clippy::result_large_err)] // what tonic's handlers return
fn role_of<T>(request: &Request<T>) -> Result<&Role, Status> {
    let peer = request.extensions().get::<PeerIdentity>();
    peer.map(|peer| &peer.0.role).ok_or_else(|| Status::unauthenticated("a call needs a client certificate"))
}
