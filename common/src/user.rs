//! Who calls the API, and what each may do (docs/drove-api.md §1.2).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

wire_enum! {
    /// What a user is for. Drove's own names of them are read as well.
    pub enum UserRole {
        /// Everything.
        Root = "ROOT" | "EXTERNAL_ROOT",
        /// Services, their instances and operations.
        ReadWrite = "READ_WRITE" | "EXTERNAL_READ_WRITE",
        /// Executors and the cluster's maintenance.
        Maintenance = "MAINTENANCE" | "DROVE_EXTERNAL_MAINTENANCE",
        /// Nothing but to look.
        ReadOnly = "READ_ONLY" | "EXTERNAL_READ_ONLY",
    }
}

/// What a call does, as far as it matters who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Shows what is, or judges what could be.
    Read,
    /// Shows what workloads wrote.
    ReadLogs,
    /// Changes services, their instances and operations.
    Operate,
    /// Changes what executors are there for, and whether the cluster is open.
    Maintain,
    /// Runs commands beside workloads.
    Exec,
    /// Changes the group of controllers, or takes all that it knows.
    Administer,
}

impl Verb {
    /// Who may.
    #[must_use]
    pub const fn roles(self) -> &'static [UserRole] {
        use UserRole::{Maintenance, ReadOnly, ReadWrite, Root};
        match self {
            Self::Read => &[Root, ReadWrite, Maintenance, ReadOnly],
            Self::ReadLogs => &[Root, ReadWrite, ReadOnly],
            Self::Operate | Self::Exec => &[Root, ReadWrite],
            Self::Maintain => &[Root, Maintenance],
            Self::Administer => &[Root],
        }
    }

    /// Whether it leaves everything as it was.
    #[must_use]
    pub const fn only_looks(self) -> bool {
        match self {
            Self::Read | Self::ReadLogs => true,
            Self::Operate | Self::Maintain | Self::Exec | Self::Administer => false,
        }
    }
}

impl UserRole {
    /// Whether a user of this role may.
    #[must_use]
    pub fn may(self, verb: Verb) -> bool {
        verb.roles().contains(&self)
    }
}

/// `GET /whoami` (an addition to Drove's API).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserInfo {
    /// The user's name.
    pub name: String,
    /// What the user is for.
    pub role: UserRole,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_droves_may() {
        let all = [Verb::Read, Verb::ReadLogs, Verb::Operate, Verb::Maintain, Verb::Exec, Verb::Administer];
        for (role, may) in [
            (UserRole::Root, &all[..]),
            (UserRole::ReadWrite, &[Verb::Read, Verb::ReadLogs, Verb::Operate, Verb::Exec]),
            (UserRole::Maintenance, &[Verb::Read, Verb::Maintain]),
            (UserRole::ReadOnly, &[Verb::Read, Verb::ReadLogs]),
        ] {
            for verb in all {
                assert_eq!(role.may(verb), may.contains(&verb), "{role} {verb:?}");
            }
        }
        assert_eq!("external_root".parse(), Ok(UserRole::Root));
    }
}
