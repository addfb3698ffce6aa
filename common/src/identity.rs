//! Who a certificate speaks for: the URI SAN `muster://<cluster>/<role>/<id>`.

use std::fmt;
use std::str::FromStr;

use crate::id::{ClusterId, ControllerId, ExecutorId, InvalidId};
use crate::problem::printable;

/// A peer, as its certificate names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// What it is.
    pub role: Role,
}

/// What a peer is, with its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Role {
    /// A controller.
    Controller(ControllerId),
    /// An executor.
    Executor(ExecutorId),
}

/// A URI that names no peer of Muster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// Not of the form.
    #[error("'{0}' is not of the form muster://<cluster>/<controller|executor>/<id>")]
    Form(String),
    /// One of its ids is not an id.
    #[error(transparent)]
    Id(#[from] InvalidId),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "muster://{}/{}", self.cluster, self.role)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Controller(id) => write!(f, "controller/{id}"),
            Self::Executor(id) => write!(f, "executor/{id}"),
        }
    }
}

impl FromStr for Identity {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let form = || InvalidIdentity::Form(printable(text, 256));
        let rest = text.strip_prefix("muster://").ok_or_else(form)?;
        let mut parts = rest.split('/');
        let (Some(cluster), Some(role), Some(id), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(form());
        };
        let role = match role {
            "controller" => Role::Controller(ControllerId(id.parse().map_err(|_| form())?)),
            "executor" => Role::Executor(ExecutorId::new(id)?),
            _ => return Err(form()),
        };
        let identity = Self { cluster: ClusterId::new(cluster)?, role };
        // One name, one way to write it: `+3` and `03` are not the controller 3.
        if identity.to_string() == text { Ok(identity) } else { Err(form()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_survive_the_uri() {
        for uri in ["muster://dev/controller/3", "muster://dev/executor/ex-1"] {
            assert_eq!(uri.parse::<Identity>().unwrap().to_string(), uri);
        }
        for bad in [
            "muster://dev/user/x",
            "muster://dev/controller/x",
            "muster://dev/controller/03",
            "muster://dev/controller/+3",
            "https://dev/executor/a",
            "muster://dev/executor/a/b",
        ] {
            assert!(bad.parse::<Identity>().is_err(), "{bad}");
        }
    }
}
