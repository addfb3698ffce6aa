//! `muster whoami`: as whom the cluster takes the caller.

use serde::{Deserialize, Serialize};

use super::Caller;
use crate::client::screen;
use crate::error::CliError;

/// A user, as the cluster shows him.
#[derive(Debug, Serialize, Deserialize)]
struct User {
    name: String,
    role: String,
}

pub(crate) async fn whoami(caller: &Caller) -> Result<(), CliError> {
    let user: User = caller.client.get("whoami").await?;
    let line = || format!("{} ({}) at {}\n", user.name, user.role, caller.client.server());
    screen::write(&caller.answer(&user.name, &user, line)?)
}
