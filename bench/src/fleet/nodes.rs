//! The simulated executors. Dropping them ends all of them.

use std::collections::BTreeMap;

use muster_common::executor::{ExecutorRecord, NodeLayout};
use muster_common::id::ExecutorId;
use muster_executor::SimulatedExecutor;
use muster_platform::World;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::group::Group;

/// How many zones they are spread over.
const ZONES: u32 = 3;

/// Executors that do not run yet.
pub(super) struct Nodes(Vec<SimulatedExecutor>);

impl Nodes {
    /// So many, each with a certificate of its own.
    pub(super) fn new(group: &Group, count: u32) -> anyhow::Result<Self> {
        let controllers = group.clusters();
        let node = |number: u32| {
            let mut controllers = controllers.clone();
            // Each begins with another controller.
            let first = usize::try_from(number)? % controllers.len();
            controllers.rotate_left(first);
            let record = record(number)?;
            let tls = group.executor(&record.id)?;
            Ok(SimulatedExecutor { world: World::system(), tls, controllers, record })
        };
        Ok(Self((0..count).map(node).collect::<anyhow::Result<_>>()?))
    }

    /// All of them connect at once, and live until the guard is dropped.
    pub(super) fn start(self) -> DropGuard {
        let ends = CancellationToken::new();
        for node in self.0 {
            tokio::spawn(node.run(ends.clone()));
        }
        ends.drop_guard()
    }
}

/// The id of one of them.
pub(super) fn name(number: u32) -> String {
    format!("node-{number:05}")
}

fn record(number: u32) -> anyhow::Result<ExecutorRecord> {
    let hostname = name(number);
    Ok(ExecutorRecord {
        id: ExecutorId::new(&hostname)?,
        hostname: hostname.clone(),
        api_port: 4200,
        incarnation: 1,
        boot_id: "bench".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        tags: vec![hostname, format!("zone={}", number % ZONES)],
        layout: NodeLayout {
            cores: BTreeMap::from([(0, (0..16).collect())]),
            memory: BTreeMap::from([(0, 65_536)]),
        },
        core_overcommit: 1,
    })
}
