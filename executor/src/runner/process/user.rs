//! Who a workload runs as: names to numbers, from the node's own files.
//!
//! Without `userSpec.group` it has all groups of its user, as after a login: a log shipper that is in `adm` may read
//! what `adm` may. With it, it has that group and no other. A container engine reads the same two members the same
//! way. The executor's own groups are never handed down to another user.

use std::fs;
use std::io;
use std::os::fd::AsFd;

use muster_common::spec::UserSpec;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde::{Deserialize, Serialize};

/// A user and groups by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Account {
    /// The user.
    pub(super) uid: u32,
    /// Its group.
    pub(super) gid: u32,
    /// Further groups.
    pub(super) groups: Vec<u32>,
}

impl Account {
    /// Makes this process that user's, for good. It must have one thread.
    pub(super) fn assume(&self) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        // In this order: without root's rights the earlier ones are refused.
        let groups: Vec<Gid> = self.groups.iter().map(|&group| Gid::from_raw(group)).collect();
        set_thread_groups(&groups)?;
        set_thread_res_gid(gid, gid, gid)?;
        Ok(set_thread_res_uid(uid, uid, uid)?)
    }

    /// Makes a file that user's.
    pub(super) fn own(&self, file: impl AsFd) -> io::Result<()> {
        Ok(rustix::fs::fchown(file, Some(Uid::from_raw(self.uid)), None)?)
    }
}

/// The account cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccountError {
    /// The node's own files cannot be read now.
    #[error("cannot read {path}: {source}")]
    Unread {
        /// Which.
        path: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// In words why not.
    #[error("{0}")]
    Refused(String),
}

/// The account that a spec asks for: `None` when that is the executor's own.
pub(super) fn account(wanted: Option<&UserSpec>) -> Result<Option<Account>, AccountError> {
    let Some(wanted) = wanted else { return Ok(None) };
    let account =
        resolve(wanted, &read("/etc/passwd")?, &read("/etc/group")?).map_err(AccountError::Refused)?;
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if (account.uid, account.gid) == (uid, gid) {
        Ok(None)
    } else if uid == 0 {
        Ok(Some(account))
    } else {
        Err(AccountError::Refused(format!(
            "the executor runs as user {}, and only root can start a process as user '{}'; \
             run the executor as root or leave userSpec away",
            uid, wanted.user
        )))
    }
}

/// Whether this node lets workloads run as an account, or, where that is `None`, as the executor itself. `users` is
/// `process.users` of its configuration: nobody else, unless it is absent.
pub(super) fn permit(account: Option<&Account>, users: Option<&[String]>) -> Result<(), AccountError> {
    let Some(users) = users else { return Ok(()) };
    let own = || Account {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        groups: Vec::new(),
    };
    let account = account.cloned().unwrap_or_else(own);
    if is_permitted(&account, users, &read("/etc/passwd")?, &read("/etc/group")?) {
        return Ok(());
    }
    let Account { uid, gid, .. } = account;
    Err(AccountError::Refused(format!(
        "user {uid} with group {gid} is none of those as whom PROCESS executables may run on this node ({}); name one of \
         them in userSpec, or this one in process.users of its executor's configuration",
        users.join(", ")
    )))
}

/// With all of its groups: one of them may open more than its user does.
fn is_permitted(account: &Account, permitted: &[String], users: &str, groups: &str) -> bool {
    permitted.iter().any(|entry| {
        let (user, group) = match entry.split_once(':') {
            Some((user, group)) => (user, Some(group.to_owned())),
            None => (entry.as_str(), None),
        };
        let permitted = UserSpec { user: user.to_owned(), group };
        resolve(&permitted, users, groups).is_ok_and(|permitted| {
            let has = |group: &u32| *group == permitted.gid || permitted.groups.contains(group);
            account.uid == permitted.uid && has(&account.gid) && account.groups.iter().all(has)
        })
    })
}

fn read(path: &'static str) -> Result<String, AccountError> {
    fs::read_to_string(path).map_err(|source| AccountError::Unread { path, source })
}

/// The files' lines are `name:password:number:…`; a user's group is its fourth member (passwd(5)).
fn resolve(wanted: &UserSpec, users: &str, groups: &str) -> Result<Account, String> {
    let find = |file: &str, name: &str| {
        file.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>()).find(|line| {
            line.first().is_some_and(|first| first == name) || line.get(2).is_some_and(|id| id == name)
        })
    };
    let number = |line: &Option<Vec<String>>, index: usize| line.as_ref()?.get(index)?.parse::<u32>().ok();

    let user = find(users, &wanted.user);
    let uid = number(&user, 2)
        .or_else(|| wanted.user.parse().ok())
        .ok_or_else(|| format!("there is no user '{}' on this node", wanted.user))?;
    let gid = match &wanted.group {
        Some(group) => number(&find(groups, group), 2)
            .or_else(|| group.parse().ok())
            .ok_or_else(|| format!("there is no group '{group}' on this node"))?,
        None => number(&user, 3).ok_or_else(|| {
            format!("user '{}' has no group of its own on this node; name one in userSpec.group", wanted.user)
        })?,
    };
    let name = user.as_ref().and_then(|line| line.first());
    let further = match (&wanted.group, name) {
        (None, Some(name)) => memberships(groups, name).filter(|&group| group != gid).collect(),
        // Told exactly which one.
        _ => Vec::new(),
    };
    Ok(Account { uid, gid, groups: further })
}

/// The groups that name a user among their members, the fourth member of a line (group(5)).
fn memberships<'a>(groups: &'a str, name: &'a str) -> impl Iterator<Item = u32> + 'a {
    groups.lines().filter_map(move |line| {
        let mut members = line.split(':').skip(2);
        let number = members.next()?.parse().ok()?;
        members.next()?.split(',').any(|member| member.trim() == name).then_some(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_named_and_groups_that_are_not_his_are_not_permitted() {
        let users = "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/false\n";
        let groups = "root:x:0:\nlogs:x:50:web\nadm:x:4:web\nweb:x:34:\ndisk:x:6:\n";
        let account = |uid, gid, groups: &[u32]| Account { uid, gid, groups: groups.to_vec() };
        let may = |account: &Account, permitted: &[&str]| {
            let permitted: Vec<String> = permitted.iter().map(|&entry| entry.to_owned()).collect();
            is_permitted(account, &permitted, users, groups)
        };
        let web = account(33, 34, &[50, 4]);
        assert!(may(&web, &["web"]) && may(&web, &["nobody-here", "33"]));
        assert!(may(&account(33, 50, &[]), &["web"]) && may(&account(33, 50, &[]), &["web:logs"]));
        assert!(!may(&account(33, 6, &[]), &["web"]), "a group that is not its own");
        assert!(may(&account(33, 6, &[]), &["web:disk"]));
        assert!(!may(&web, &["web:web"]), "further groups");
        assert!(!may(&account(0, 0, &[]), &["web"]) && may(&account(0, 0, &[]), &["root"]));
        assert!(!may(&web, &[]));
        assert!(may(&account(1234, 5678, &[]), &["1234:5678"]) && !may(&account(1234, 5678, &[]), &["1234"]));
    }

    #[test]
    fn users_and_groups_may_be_names_or_numbers() {
        let users = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/:/bin/false\n";
        let groups = "root:x:0:\nlogs:x:50:other,web\nadm:x:4:web\nweb:x:34:web\n";
        let ask = |user: &str, group: Option<&str>| {
            let spec = UserSpec { user: user.to_owned(), group: group.map(str::to_owned) };
            resolve(&spec, users, groups)
        };
        let account = |uid, gid, groups: &[u32]| Ok(Account { uid, gid, groups: groups.to_vec() });
        assert_eq!(ask("web", None), account(33, 34, &[50, 4]));
        assert_eq!(ask("33", None), account(33, 34, &[50, 4]));
        assert_eq!(ask("web", Some("logs")), account(33, 50, &[]), "that one and no other");
        assert_eq!(ask("1234", Some("5678")), account(1234, 5678, &[]));
        assert!(ask("1234", None).unwrap_err().contains("userSpec.group"));
        assert!(ask("nobody-here", None).unwrap_err().contains("no user"));
        assert!(ask("web", Some("nothing-here")).unwrap_err().contains("no group"));
    }
}
