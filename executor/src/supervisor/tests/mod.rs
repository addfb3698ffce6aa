//! The supervisor on a real journal with a node whose workloads are entries in a map, in paused time (`life`,
//! `drain`); and its mind alone, step by step, without any clock or task (`crash`, `search`).

mod crash;
mod drain;
mod life;
mod search;

use std::collections::BTreeMap;

use muster_common::executor::NodeLayout;

use crate::journal::{Drawer, Drawers, META_EXECUTOR, META_INCOMPLETE};
use crate::lease::Room;

fn room() -> Room {
    Room {
        hostname: "node".to_owned(),
        layout: NodeLayout {
            cores: BTreeMap::from([(0, (0..8).collect())]),
            memory: BTreeMap::from([(0, 4096)]),
        },
        core_overcommit: 1,
        ports: 5000..=5999,
    }
}

/// What a journal holds that was begun long ago.
fn whole_disk() -> Drawers {
    Drawers::from([(Drawer::Meta, BTreeMap::from([(META_EXECUTOR.to_owned(), Vec::new())]))])
}

/// What a journal holds that has just been begun.
fn new_disk() -> Drawers {
    let mut drawers = whole_disk();
    drawers.entry(Drawer::Meta).or_default().insert(META_INCOMPLETE.to_owned(), Vec::new());
    drawers
}
