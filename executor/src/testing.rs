//! For this crate's tests: a node that outlives the supervisor (`node`), the world around both (`world`), and the bench
//! on which they are.

mod node;
/// One home for all tests; in its own crate it is public.
#[path = "../../tests/src/small_disk.rs"]
#[allow(unreachable_pub)]
pub(crate) mod small_disk;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use muster_common::executor::NodeLayout;
use muster_common::id::{Epoch, ExecutorId, Generation, Revision, ServiceId};
use muster_common::instance::{InstanceRecord, InstanceState, LocalInfo};
use muster_common::slot::{ReplaceMode, SlotAssignment, SlotStatus, SlotTable};
use muster_common::spec::LocalServiceSpec;
use muster_common::time::Timestamp;
use muster_platform::{Disk, World};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::fetched::Fetched;
use crate::journal::{CommitError, Journal};
use crate::lease::Room;
use crate::runner::Place;
use crate::supervisor::{Core, Handle, Message, Parts, Task, spawn};

pub(crate) use node::Node;
use world::Alone;
pub(crate) use world::world;

/// The place of an instance that was leased nothing.
pub(crate) fn place() -> Place {
    Place {
        service: ServiceId::new("web-1").unwrap(),
        service_name: "web".to_owned(),
        index: 0,
        epoch: Epoch(1),
        generation: Generation(1),
        created: Timestamp(0),
        local_info: LocalInfo { hostname: "node".to_owned(), ports: BTreeMap::new() },
        resources: Vec::new(),
    }
}

pub(crate) fn spec() -> LocalServiceSpec {
    serde_json::from_str(
        r#"{
          "name": "web", "version": "1", "executable": {"type": "PROCESS", "command": ["/bin/web"]},
          "exposedPorts": [{"name": "http", "port": 8080, "type": "HTTP"}],
          "resources": [{"type": "CPU", "count": 1}, {"type": "MEMORY", "sizeInMB": 64}],
          "placementPolicy": {"type": "LOCAL"},
          "readiness": {"mode": {"type": "TCP", "portName": "http"}, "timeout": "1s", "interval": "1s"},
          "healthcheck": {"mode": {"type": "TCP", "portName": "http"}, "timeout": "1s", "interval": "1s"},
          "preShutdown": {"hooks": [{"type": "CMD", "command": "drain"}]},
          "grace": "5s"
        }"#,
    )
    .unwrap()
}

/// One row per slot of the one service.
pub(crate) fn table(revision: u64, epoch: u64, slots: u32) -> SlotTable {
    let spec = Arc::new(spec());
    let row = |index| SlotAssignment {
        service: ServiceId::new("web-1").unwrap(),
        index,
        epoch: Epoch(epoch),
        generation: Generation(epoch),
        mode: ReplaceMode::StartFirst,
        spec: Arc::clone(&spec),
    };
    SlotTable { revision: Revision(revision), rows: (0..slots).map(row).collect(), unreadable: Vec::new() }
}

/// A supervisor that can be killed and started again on what it left behind.
pub(crate) struct Bench {
    pub(crate) node: Node,
    world: World,
    dir: tempfile::TempDir,
    boot_id: String,
    running: Option<(Handle, Task, CancellationToken)>,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let world = world();
        let dir = tempfile::tempdir().unwrap();
        let mut bench =
            Self { node: Node::default(), world, dir, boot_id: "boot-1".to_owned(), running: None };
        bench.start().await;
        bench
    }

    pub(crate) async fn start(&mut self) {
        let id = ExecutorId::new("e1").unwrap();
        let (journal, incarnation, contents) =
            Journal::open(self.dir.path(), Disk::Inline, &id, &self.boot_id, self.world.clock.now())
                .await
                .unwrap();
        let room = Room {
            hostname: "node".to_owned(),
            layout: NodeLayout {
                cores: BTreeMap::from([(0, (0..8).collect())]),
                memory: BTreeMap::from([(0, 4096)]),
            },
            core_overcommit: 1,
            ports: 5000..=5999,
        };
        let core = Core::new(id, room, contents, incarnation.rebooted);
        let parts = Parts {
            world: self.world.clone(),
            core,
            journal,
            runners: self.node.runners(),
            prober: Arc::new(self.node.clone()),
            fetched: Arc::new(Fetched::new(self.world.clone(), self.dir.path(), Arc::new(Alone))),
        };
        let shutdown = CancellationToken::new();
        let (handle, task) = spawn(parts, shutdown.clone());
        self.running = Some((handle, task, shutdown));
    }

    /// As SIGKILL does: whatever was in flight is no more.
    pub(crate) async fn kill(&mut self) {
        let (handle, task, _) = self.running.take().unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        drop(handle);
        self.node.unheard();
    }

    /// Waits until the supervisor ends by itself.
    pub(crate) async fn ended(&mut self) -> Result<(), CommitError> {
        let (_, task, _) = self.running.take().unwrap();
        task.await.unwrap()
    }

    /// Its data directory.
    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Somebody removes the journal, or its disk does not hold it any more.
    pub(crate) fn lose_journal(&mut self) {
        assert!(self.running.is_none());
        std::fs::remove_file(self.dir.path().join("journal.redb")).unwrap();
    }

    /// The machine boots.
    pub(crate) fn reboot(&mut self) {
        assert!(self.running.is_none());
        "boot-2".clone_into(&mut self.boot_id);
        self.node.reboot();
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.running.as_ref().unwrap().0
    }

    pub(crate) async fn table(&self, table: SlotTable) {
        self.handle().tell(Message::Table { term: 1, table }).await.unwrap();
    }

    pub(crate) async fn inspect(&self) -> (Vec<InstanceRecord>, Vec<SlotStatus>) {
        self.handle().inspect().await.unwrap()
    }

    /// Waits until `wanted` holds of all records and statuses, for at most ten (virtual) minutes.
    pub(crate) async fn until(
        &self,
        what: &str,
        wanted: impl Fn(&[InstanceRecord], &[SlotStatus]) -> bool,
    ) -> (Vec<InstanceRecord>, Vec<SlotStatus>) {
        let deadline = Instant::now() + Duration::from_secs(600);
        loop {
            let (records, slots) = self.inspect().await;
            if wanted(&records, &slots) {
                return (records, slots);
            }
            assert!(Instant::now() < deadline, "never: {what}: {:#?}", summary(&records));
            sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) async fn until_state(&self, state: InstanceState) -> InstanceRecord {
        let is = |record: &InstanceRecord| record.state == state;
        let (records, _) = self.until(state.as_str(), |records, _| records.iter().any(is)).await;
        records.into_iter().find(is).unwrap()
    }
}

fn summary(records: &[InstanceRecord]) -> Vec<String> {
    records.iter().map(|record| format!("{} {} {}", record.id, record.state, record.error_message)).collect()
}
