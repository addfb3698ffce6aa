//! A group of one, made of a state: of a backup, or of what one member kept of a group that is lost.
//!
//! Its terms and revisions begin far beyond those of the group that was. What that one committed and nobody
//! here knows of is then never mistaken for what this one commits; and executors, who obey the highest
//! term that they have seen, leave whoever is left of the old group behind. They begin at the time of day, so
//! that even a backup from before an earlier recovery goes on beyond that. The files are a new incarnation:
//! members of the old group can neither join nor disturb.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use muster_common::id::Revision;
use muster_common::time::Timestamp;
use muster_platform::Disk;
use openraft::RaftLogReader as _;
use openraft::storage::RaftLogStorage as _;

use super::config::{Member, Storage};
use super::error::StartError;
use super::machine::Machine;
use super::types::{Addresses, LogId, Membership, Nodes, Payload, SnapshotMeta, StoredMembership, Vote};
use crate::store::{self, Owner, Stores};

/// More elections than a group can have held that nobody knows of, should the clock be wrong.
const TERMS: u64 = 1_000_000;
/// More than it can have committed.
const REVISIONS: u64 = 1_000_000_000;
/// Revisions begin at the time in microseconds: no group commits more than one in each.
const REVISIONS_PER_MS: u64 = 1_000;
/// The files of a member.
const FILES: [&str; 2] = ["state.redb", "log.redb"];
/// Where those are made that will take their place, and where they are once they are whole.
const MAKING: &str = "regrouping";
const MADE: &str = "regrouped";

/// Where a group that was has ended, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its term.
    pub(crate) term: u64,
    /// Its last revision.
    pub(crate) revision: u64,
}

impl Ended {
    /// Where a group that is made `now` begins: a term for each millisecond, since no group elects faster.
    pub(crate) fn next(self, now: Timestamp) -> LogId {
        let term = now.0.max(self.term + TERMS);
        let revision = (now.0 * REVISIONS_PER_MS).max(self.revision + REVISIONS);
        LogId::new_term_index(term, revision)
    }
}

/// What one member kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Survivor {
    /// The end of what it has.
    pub(crate) ended: Ended,
    /// What it knows to have been committed; the entries after it may or may not have been.
    pub(crate) committed: u64,
    /// The members that it knew.
    pub(crate) members: Nodes,
    /// Those of them that had a vote, as far as it knew.
    pub(crate) voters: BTreeSet<u64>,
}

/// Whether `directory` holds no files of a member.
pub(crate) fn is_empty(directory: &Path) -> bool {
    !FILES.iter().any(|name| directory.join(name).exists())
}

/// Brings `machine` to everything that the stopped member in `directory` has, committed or not: what was
/// acknowledged on it must not be lost, and what was not may happen.
pub(crate) async fn read(
    directory: &Path,
    owner: &Owner,
    machine: &mut dyn Machine,
) -> Result<Survivor, StartError> {
    let Stores { mut log, snapshots, closed, .. } =
        store::open(&Storage::Directory(directory.to_owned()), owner, Disk::Inline)?;
    let unreadable = |error: &dyn std::fmt::Display| StartError::Recovery(error.to_string());
    let mut snapshot_ends = None;
    let mut last = None;
    let mut membership = StoredMembership::default();
    if let Some(snapshot) = snapshots.read().await.map_err(|error| unreadable(&error))? {
        machine.restore(&snapshot.snapshot).map_err(|error| unreadable(&error))?;
        snapshot_ends = snapshot.meta.last_log_id;
        last = snapshot_ends;
        membership = snapshot.meta.last_membership;
    }
    let committed = log.read_committed().await.map_err(|error| unreadable(&error))?;
    let mut reader = log.get_log_reader().await;
    let vote = reader.read_vote().await.map_err(|error| unreadable(&error))?;
    loop {
        let from = last.map_or(0, |last: LogId| last.index + 1);
        let entries = reader.limited_get_log_entries(from, u64::MAX).await;
        let entries = entries.map_err(|error| unreadable(&error))?;
        if entries.is_empty() {
            break;
        }
        for entry in entries {
            match &entry.payload {
                Payload::Blank => {}
                Payload::Normal(proposal) => {
                    let revision = Revision(entry.log_id.index);
                    for command in proposal.commands.iter() {
                        machine.apply(revision, command).map_err(|error| unreadable(&error))?;
                    }
                }
                Payload::Membership(changed) => {
                    membership = StoredMembership::new(Some(entry.log_id), changed.clone());
                }
            }
            last = Some(entry.log_id);
        }
    }
    drop((log, reader, snapshots));
    for closed in closed {
        closed.cancelled().await;
    }
    let term = vote.map_or(0, |vote| vote.leader_id.term).max(last.map_or(0, |last| last.leader_id.term));
    Ok(Survivor {
        ended: Ended { term, revision: last.map_or(0, |last| last.index) },
        // Losing what was noted costs nothing else; a snapshot holds only what was committed.
        committed: committed.max(snapshot_ends).map_or(0, |id| id.index),
        members: membership.nodes().map(|(id, at)| (*id, at.clone())).collect(),
        voters: membership.voter_ids().collect(),
    })
}

/// Makes `me`, with the state in `chunks`, a group of one that goes on after `last`. What was in
/// `directory` is set aside; where, is returned.
pub(crate) async fn write(
    directory: &Path,
    owner: &Owner,
    me: &Member,
    last: LogId,
    chunks: Vec<Bytes>,
) -> Result<Option<PathBuf>, StartError> {
    let making = directory.join(MAKING);
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| StartError::Io { path, source }
    };
    if making.exists() {
        fs::remove_dir_all(&making).map_err(io(&making))?; // of an attempt that was cut short
    }
    fs::create_dir(&making).map_err(io(&making))?;
    fill(&making, owner, me, last, chunks).await?;
    let swap = || {
        fs::rename(&making, directory.join(MADE))?;
        File::open(directory)?.sync_all()?;
        finish(directory)
    };
    swap().map_err(io(directory))
}

async fn fill(
    making: &Path,
    owner: &Owner,
    me: &Member,
    last: LogId,
    chunks: Vec<Bytes>,
) -> Result<(), StartError> {
    let Stores { mut log, snapshots, incarnation, closed } =
        store::open(&Storage::Directory(making.to_owned()), owner, Disk::Inline)?;
    let at = Addresses { cluster: me.cluster_addr.clone(), api: me.api_addr.clone(), incarnation };
    let alone = Membership::new(vec![BTreeSet::from([me.id.0])], Nodes::from([(me.id.0, at)]))
        .map_err(|error| StartError::Config(error.to_string()))?;
    let meta =
        SnapshotMeta { last_log_id: Some(last), last_membership: StoredMembership::new(Some(last), alone) };
    let written = async {
        snapshots.replace(meta, chunks).await?;
        log.purge(last).await?;
        log.save_committed(Some(last)).await?;
        // Last, since it is what makes the others durable.
        log.save_vote(&Vote::new(last.leader_id.term, me.id.0)).await
    };
    written.await.map_err(|source| StartError::Io { path: making.to_owned(), source })?;
    drop((log, snapshots));
    for closed in closed {
        closed.cancelled().await;
    }
    Ok(())
}

/// Takes the last step of [`write`], or takes it again if it was cut short: what was made is whole, and takes
/// the place of what is there.
pub(crate) fn finish(directory: &Path) -> io::Result<Option<PathBuf>> {
    let made = directory.join(MADE);
    if !made.exists() {
        return Ok(None);
    }
    let aside = next_aside(directory);
    let mut moved = None;
    for file in FILES {
        // A file that is not there any more has its place already.
        if made.join(file).exists() {
            if set_aside_one(directory, &aside, file)? {
                moved = Some(aside.clone());
            }
            fs::rename(made.join(file), directory.join(file))?;
        }
    }
    fs::remove_dir(made)?;
    File::open(directory)?.sync_all()?;
    Ok(moved)
}

/// Moves the files of the member in `directory` into a directory of their own beside them; returns where
/// they are, if there were any.
pub(crate) fn set_aside(directory: &Path) -> io::Result<Option<PathBuf>> {
    let aside = next_aside(directory);
    let mut moved = None;
    for file in FILES {
        if set_aside_one(directory, &aside, file)? {
            moved = Some(aside.clone());
        }
    }
    File::open(directory)?.sync_all()?;
    Ok(moved)
}

fn set_aside_one(directory: &Path, aside: &Path, file: &str) -> io::Result<bool> {
    let from = directory.join(file);
    if !from.exists() {
        return Ok(false);
    }
    fs::create_dir_all(aside)?;
    fs::rename(from, aside.join(file))?;
    Ok(true)
}

/// A name that is free: nothing that was set aside is ever overwritten.
fn next_aside(directory: &Path) -> PathBuf {
    let mut number = 1_u32;
    loop {
        let aside = directory.join(format!("set-aside-{number}"));
        if !aside.exists() {
            return aside;
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_begins_beyond_all_before_it_whatever_their_order() {
        let backup = Ended { term: 7, revision: 5_000 };
        let first = backup.next(Timestamp(1_800_000_000_000));
        let again = backup.next(Timestamp(1_800_000_001_000));
        assert!(again.leader_id.term > first.leader_id.term && again.index > first.index);
        // A clock that went wrong does not take it back.
        let ended = Ended { term: again.leader_id.term, revision: again.index };
        let next = ended.next(Timestamp(0));
        assert!(next.leader_id.term > ended.term && next.index > ended.revision);
        // Users' programs read revisions as floating point numbers.
        assert!(again.index < 1 << 53);
    }

    #[test]
    fn a_swap_that_was_cut_short_is_finished_and_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for cut in 0..=FILES.len() {
            for file in FILES {
                fs::write(at(file), format!("old {cut}")).unwrap();
            }
            fs::create_dir(at(MADE)).unwrap();
            for file in FILES {
                fs::write(at(MADE).join(file), format!("new {cut}")).unwrap();
            }
            // As far as it came.
            for file in FILES.iter().take(cut) {
                fs::rename(at(MADE).join(file), at(file)).unwrap();
            }
            finish(directory.path()).unwrap();
            for file in FILES {
                assert_eq!(fs::read_to_string(at(file)).unwrap(), format!("new {cut}"));
            }
            assert!(!at(MADE).exists());
            let aside = set_aside(directory.path()).unwrap().unwrap();
            assert_eq!(fs::read_dir(aside).unwrap().count(), FILES.len());
        }
        assert!(finish(directory.path()).unwrap().is_none());
    }
}
