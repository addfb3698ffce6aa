//! `muster whoami`: as whom the cluster takes the caller.

use muster_common::user::UserInfo;

use super::Caller;
use crate::client::screen;
use crate::error::CliError;

pub(crate) async fn whoami(caller: &Caller) -> Result<(), CliError> {
    let user: UserInfo = caller.client.get("whoami").await?;
    let line = || format!("{} ({}) at {}\n", user.name, user.role, caller.client.server());
    screen::write(&caller.answer(&user.name, &user, line)?)
}
