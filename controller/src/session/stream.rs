//! One task per stream: who speaks is read from its certificate, what it says is checked and handed
//! to the hub. It knows the wire's messages and limits; it must not know the state or who leads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::counter;
use muster_common::id::{ExecutorId, Revision};
use muster_common::time::Timestamp;
use muster_proto::v1;
use muster_proto::v1::executor_message::Body;
use muster_proto::v1::sessions_server::{Sessions, SessionsServer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::gather::Gathered;
use super::message::{self, Message, Registration, Unreadable};
use super::roster::{Outgoing, SessionKey};
use super::threshold::{Threshold, Unregistered};
use crate::peer::executor_of;

/// How many streams are open at once: one for each connection that the accept path takes.
const MAX_STREAMS: usize = 40_000;
/// How many reports of all executors together are on their way to the log.
const MAX_REPORTS: usize = 2_048;
/// How many messages wait for one executor before it counts as too slow.
const OUTGOING: usize = 64;
/// The largest message that is taken from an executor, in bytes. Executors split their reports.
const MAX_MESSAGE_UP: usize = 4 * 1024 * 1024;
/// The largest message that is sent: a slot table carries the specs of all its services.
const MAX_MESSAGE_DOWN: usize = 64 * 1024 * 1024;
/// How many records that cannot be read are named in one session.
const MAX_NOTED: usize = 256;
/// How long a stream may take to say who it is.
const REGISTER_WITHIN: Duration = Duration::from_secs(5);

/// The gRPC service.
#[derive(Debug)]
pub(crate) struct Streams {
    hub: mpsc::Sender<Message>,
    last_key: AtomicU64,
    places: Arc<Semaphore>,
    threshold: Threshold,
    reports: Arc<Semaphore>,
}

impl Streams {
    pub(super) fn server(hub: mpsc::Sender<Message>) -> SessionsServer<Self> {
        let service = Self {
            hub,
            last_key: AtomicU64::new(0),
            places: Arc::new(Semaphore::new(MAX_STREAMS)),
            threshold: Threshold::default(),
            reports: Arc::new(Semaphore::new(MAX_REPORTS)),
        };
        SessionsServer::new(service)
            .max_decoding_message_size(MAX_MESSAGE_UP)
            .max_encoding_message_size(MAX_MESSAGE_DOWN)
    }
}

#[tonic::async_trait]
impl Sessions for Streams {
    type OpenStream = ReceiverStream<Result<v1::ControllerMessage, Status>>;

    async fn open(
        &self,
        request: Request<Streaming<v1::ExecutorMessage>>,
    ) -> Result<Response<Self::OpenStream>, Status> {
        let executor = executor_of(&request)?;
        let unregistered = self.threshold.enter(&executor).ok_or_else(|| {
            Status::resource_exhausted(format!(
                "executor {executor} has too many streams that did not register"
            ))
        })?;
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Status::resource_exhausted("this controller has no room for another session"))?;
        let (outgoing, down) = mpsc::channel(OUTGOING);
        let reader = Reader {
            executor: executor.clone(),
            key: SessionKey(self.last_key.fetch_add(1, Ordering::Relaxed) + 1),
            up: request.into_inner(),
            hub: self.hub.clone(),
            reports: Arc::clone(&self.reports),
            noted: BTreeSet::new(),
            unregistered: Some(unregistered),
            _place: place,
        };
        // The answer's head goes out before the first message comes in, so that the executor may
        // wait for it; whatever is wrong is told on the stream.
        tokio::spawn(async move {
            if let Err(status) = reader.run(outgoing.clone()).await {
                tracing::info!(%executor, %status, "a stream ended with an error");
                // A full channel or an ended stream: the executor notices the end all the same.
                let _ = outgoing.try_send(Err(status));
            }
        });
        Ok(Response::new(ReceiverStream::new(down)))
    }
}

/// Reads one stream.
struct Reader {
    executor: ExecutorId,
    key: SessionKey,
    up: Streaming<v1::ExecutorMessage>,
    hub: mpsc::Sender<Message>,
    reports: Arc<Semaphore>,
    /// Whose records could not be read: executors repeat themselves.
    noted: BTreeSet<String>,
    /// Until it has registered.
    unregistered: Option<Unregistered>,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    /// Reads until the stream, the session or the hub ends.
    async fn run(mut self, outgoing: Outgoing) -> Result<(), Status> {
        let registration = tokio::time::timeout(REGISTER_WITHIN, self.registration())
            .await
            .map_err(|_| Status::deadline_exceeded("the stream did not register in time"))??;
        self.unregistered = None;
        let ended = CancellationToken::new();
        let reader = ended.clone().drop_guard();
        self.tell(Message::Open { registration, key: self.key, outgoing, reader }).await?;
        let outcome = tokio::select! {
            biased;
            () = ended.cancelled() => Ok(()),
            outcome = self.read() => outcome,
        };
        // When the hub is gone, so is the session.
        let _ = self.tell(Message::Closed { executor: self.executor.clone(), key: self.key }).await;
        outcome
    }

    async fn registration(&mut self) -> Result<Registration, Status> {
        let first = self.up.message().await?.and_then(|message| message.body);
        let Some(Body::Register(register)) = first else {
            return Err(Status::invalid_argument("a session begins with register"));
        };
        let registration = Registration::try_from(register).map_err(Status::invalid_argument)?;
        if registration.record.id != self.executor {
            return Err(Status::permission_denied(format!(
                "the certificate is that of executor {}, so it cannot register as {}",
                self.executor, registration.record.id
            )));
        }
        Ok(registration)
    }

    async fn read(&mut self) -> Result<(), Status> {
        while let Some(message) = self.up.message().await? {
            match message.body {
                Some(Body::Report(report)) => self.report(report).await?,
                Some(Body::Heartbeat(heartbeat)) => self.heartbeat(heartbeat).await?,
                Some(Body::Register(_)) => {
                    return Err(Status::invalid_argument("a session registers once"));
                }
                // A newer executor may say what this version does not know; it is passed over.
                None => {}
            }
        }
        Ok(())
    }

    async fn report(&mut self, report: v1::Report) -> Result<(), Status> {
        for (part, bytes) in message::parts(report) {
            let (report, unreadable) = message::report(&self.executor, part);
            self.note(unreadable);
            if report.instances.is_empty() && report.slots.is_empty() {
                continue;
            }
            // Until its share is free nothing more is read, so the executor is slowed down, not cut off. (The semaphore is
            // never closed, so there always is one.)
            let share = Arc::clone(&self.reports).acquire_owned().await.ok();
            self.tell(Message::Report(Gathered { key: self.key, report, bytes, share })).await?;
        }
        Ok(())
    }

    /// Names what cannot be read, each once.
    fn note(&mut self, unreadable: Vec<Unreadable>) {
        counter!("muster_session_unreadable_records_total").increment(unreadable.len() as u64);
        for Unreadable { of, problem } in unreadable {
            if self.noted.len() < MAX_NOTED && self.noted.insert(of.clone()) {
                tracing::error!(executor = %self.executor, ?of, %problem, "a reported record cannot be read; it is not stored");
            }
        }
    }

    async fn heartbeat(&self, heartbeat: v1::Heartbeat) -> Result<(), Status> {
        let executor = self.executor.clone();
        let table = Revision(heartbeat.table_revision);
        let now = Some(Timestamp(heartbeat.now_ms)).filter(|now| now.0 > 0);
        self.tell(Message::Heartbeat { executor, key: self.key, table, now }).await
    }

    async fn tell(&self, message: Message) -> Result<(), Status> {
        self.hub.send(message).await.map_err(|_| Status::unavailable("this controller is stopping"))
    }
}
