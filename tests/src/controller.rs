//! A controller of one: welcomes whoever comes, sends the table, acknowledges everything, and keeps the newest
//! of what was reported.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use muster_common::id::{ClusterId, ControllerId, ExecutorId};
use muster_common::identity::{Identity, Role};
use muster_common::instance::InstanceRecord;
use muster_common::slot::SlotTable;
use muster_common::time::Timestamp;
use muster_platform::{
    Authority, Crowd, IssuedCertificate, TlsIdentity, Validity, World, bind, serve_cluster,
};
use muster_proto::v1;
use muster_proto::v1::controller_message::Body as Down;
use muster_proto::v1::executor_message::Body as Up;
use muster_proto::v1::sessions_server::{Sessions, SessionsServer};
use tokio::sync::{Notify, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming};

/// The longest that any condition may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that was ever reported, the newest version of each.
pub type Records = BTreeMap<String, InstanceRecord>;

#[derive(Clone)]
struct Desk {
    table: watch::Receiver<SlotTable>,
    records: Arc<Mutex<Records>>,
    news: Arc<Notify>,
}

impl Desk {
    /// Takes a report and acknowledges it.
    fn take(&self, report: v1::Report) -> v1::Ack {
        let ack = self.file(report);
        self.news.notify_waiters();
        ack
    }

    fn file(&self, report: v1::Report) -> v1::Ack {
        let mut ack = v1::Ack::default();
        for slot in report.slots {
            ack.slots.push(v1::SlotAck { service: slot.service, index: slot.index, version: slot.version });
        }
        let mut records = self.records.lock().unwrap();
        for message in report.instances {
            let record = InstanceRecord::try_from(message).unwrap();
            ack.instances.push(v1::InstanceAck { id: record.id.to_string(), version: record.version });
            let known = records.entry(record.id.to_string()).or_insert_with(|| record.clone());
            if known.version <= record.version {
                *known = record;
            }
        }
        ack
    }
}

impl Sessions for Desk {
    type OpenStream = ReceiverStream<Result<v1::ControllerMessage, Status>>;

    fn open<'a, 'async_trait>(
        &'a self,
        request: Request<Streaming<v1::ExecutorMessage>>,
    ) -> BoxFuture<'async_trait, Result<Response<Self::OpenStream>, Status>>
    where
        'a: 'async_trait,
        Self: 'async_trait,
    {
        let mut desk = self.clone();
        Box::pin(async move {
            let (down, stream) = mpsc::channel(16);
            let mut up = request.into_inner();
            tokio::spawn(async move {
                let say = |body| Ok(v1::ControllerMessage { term: 1, body: Some(body) });
                let welcome = v1::Welcome { heartbeat_interval_ms: 500, history: None };
                down.send(say(Down::Welcome(welcome))).await.ok()?;
                desk.table.mark_changed();
                loop {
                    let answer = tokio::select! {
                        changed = desk.table.changed() => {
                            changed.ok()?;
                            Down::Table((&*desk.table.borrow_and_update()).into())
                        }
                        message = up.message() => match message.ok()??.body? {
                            Up::Report(report) => Down::Ack(desk.take(report)),
                            Up::Register(_) | Up::Heartbeat(_) => continue,
                        },
                    };
                    down.send(say(answer)).await.ok()?;
                }
                #[allow(unreachable_code)] // names the block's type, so that `?` ends it
                Some(())
            });
            Ok(Response::new(ReceiverStream::new(stream)))
        })
    }
}

/// The controller, as a test handles it.
pub struct Controller {
    /// Where it listens.
    pub address: String,
    /// Who issues the certificates of its cluster.
    pub authority: Authority,
    table: watch::Sender<SlotTable>,
    records: Arc<Mutex<Records>>,
    news: Arc<Notify>,
    _ends: DropGuard,
}

impl Controller {
    /// Listens on a free port of loopback.
    pub async fn start() -> Self {
        let authority = Authority::new(&cluster()).unwrap();
        let (table, watching) = watch::channel(SlotTable::default());
        let records = Arc::new(Mutex::new(Records::new()));
        let tls = {
            let identity = Identity { cluster: cluster(), role: Role::Controller(ControllerId(1)) };
            let issued = authority.issue(&identity).unwrap();
            TlsIdentity::from_pem(&authority.ca_pem(), &issued.cert_pem, &issued.key_pem, &identity).unwrap()
        };
        let listener = bind(&World::system(), "a test", "127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let news = Arc::new(Notify::new());
        let desk = Desk { table: watching, records: Arc::clone(&records), news: Arc::clone(&news) };
        let router = tonic::service::Routes::new(SessionsServer::new(desk)).prepare().into_axum_router();
        let ends = CancellationToken::new();
        tokio::spawn(serve_cluster(listener, tls, Crowd::default(), router, ends.clone()));
        Self { address, authority, table, records, news, _ends: ends.drop_guard() }
    }

    /// What executors are told from now on.
    pub fn set_table(&self, table: SlotTable) {
        self.table.send_replace(table);
    }

    /// What was reported so far.
    #[must_use]
    pub fn records(&self) -> Records {
        self.records.lock().unwrap().clone()
    }

    /// Waits until `wanted` holds of what was reported; fails after [`PATIENCE`].
    pub async fn until(&self, what: &str, wanted: impl Fn(&Records) -> bool) -> Records {
        self.try_until(what, wanted).await.unwrap_or_else(|in_vain| panic!("{in_vain}"))
    }

    /// The same for who has something to clean up.
    pub async fn try_until(&self, what: &str, wanted: impl Fn(&Records) -> bool) -> Result<Records, InVain> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            let records = self.records();
            if wanted(&records) {
                return Ok(records);
            }
            if Instant::now() >= deadline {
                return Err(InVain { what: what.to_owned(), seen: summary(&records) });
            }
            // Time passes for the bound even when nobody says anything.
            let _ = tokio::time::timeout(Duration::from_millis(100), news).await;
        }
    }
}

/// What was waited for did not come.
#[derive(Debug, thiserror::Error)]
#[error("waited {PATIENCE:?} in vain until {what}: {seen:#?}")]
pub struct InVain {
    what: String,
    /// What was reported instead, a line for each instance.
    seen: Vec<String>,
}

fn summary(records: &Records) -> Vec<String> {
    let line = |record: &InstanceRecord| {
        format!("{} {} {:?} {}", record.id, record.state, record.reason, record.error_message)
    };
    records.values().map(line).collect()
}

fn cluster() -> ClusterId {
    ClusterId::new("test").unwrap()
}

/// Writes a certificate of `cluster_name` for `executor` into `dir`, and its three paths as YAML.
pub fn write_certificate(authority: &Authority, cluster_name: &str, dir: &Path) -> String {
    write_issued(authority, &authority.issue(&executor_in(cluster_name)).unwrap(), dir)
}

/// The same, one that nobody takes any more.
pub fn write_expired_certificate(authority: &Authority, cluster_name: &str, dir: &Path) -> String {
    let long_ago = Validity { not_before: Timestamp(1_000_000), not_after: Timestamp(2_000_000) };
    write_issued(authority, &authority.issue_within(&executor_in(cluster_name), long_ago).unwrap(), dir)
}

fn executor_in(cluster_name: &str) -> Identity {
    let role = Role::Executor(ExecutorId::new("e1").unwrap());
    Identity { cluster: ClusterId::new(cluster_name).unwrap(), role }
}

fn write_issued(authority: &Authority, issued: &IssuedCertificate, dir: &Path) -> String {
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    format!(
        "{{ca: {}, cert: {}, key: {}}}",
        write("ca.pem", &authority.ca_pem()),
        write("cert.pem", &issued.cert_pem),
        write("key.pem", &issued.key_pem)
    )
}
