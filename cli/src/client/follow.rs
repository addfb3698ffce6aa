//! A stream of messages that goes on where it was when its controller goes: each message has an id, and the next
//! controller is asked for what came after it.

use std::collections::VecDeque;
use std::time::Duration;

use muster_common::rest::SILENCE;
use tokio::time::{Instant, sleep, timeout};

use super::http::Client;
use super::patience::PATIENCE;
use super::sse::{Message, Parser, TooLarge};
use crate::error::CliError;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// One stream, over as many connections as it takes.
pub(crate) struct Follow {
    client: Client,
    path: String,
    patience: Duration,
    last_id: Option<String>,
    open: Option<Open>,
}

struct Open {
    answer: reqwest::Response,
    parser: Parser,
    ready: VecDeque<Message>,
}

impl Follow {
    /// `path` with its query; nothing is sent before it is opened.
    pub(crate) fn new(client: &Client, path: String) -> Self {
        Self::patient(client, path, PATIENCE)
    }

    /// The same with another patience.
    pub(crate) fn patient(client: &Client, path: String, patience: Duration) -> Self {
        Self { client: client.apart(), path, patience, last_id: None, open: None }
    }

    /// After which message it would go on.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Opens it, so that whatever happens from now on will be told. A refusal is an error; a controller that does not
    /// answer is one only when no other one answers for some time either.
    pub(crate) async fn open(&mut self) -> Result<(), CliError> {
        let deadline = Instant::now() + self.patience;
        while self.open.is_none() {
            match self.client.listen(&self.path, self.last_id.as_deref()).await {
                Ok(answer) => {
                    self.open = Some(Open { answer, parser: Parser::default(), ready: VecDeque::new() });
                }
                Err(error) if error.is_passing() && Instant::now() < deadline => {
                    self.client.try_another();
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next message, from this connection or from one that goes on where it broke.
    pub(crate) async fn next(&mut self) -> Result<Message, CliError> {
        loop {
            self.open().await?;
            match self.next_of_one_connection().await? {
                Some(message) => return Ok(message),
                None => self.elsewhere().await,
            }
        }
    }

    /// The next message of the first connection; `None` when that is over.
    pub(crate) async fn next_of_one_connection(&mut self) -> Result<Option<Message>, CliError> {
        self.open().await?;
        loop {
            let Some(open) = &mut self.open else { return Ok(None) };
            if let Some(message) = open.ready.pop_front() {
                if let Some(id) = &message.id {
                    self.last_id = Some(id.clone());
                }
                return Ok(Some(message));
            }
            match timeout(SILENCE, open.answer.chunk()).await {
                Ok(Ok(Some(bytes))) => {
                    let messages = open.parser.feed(&bytes).map_err(|TooLarge| {
                        CliError::failure(format!(
                            "{} sent a message that is larger than any of ours",
                            self.path
                        ))
                    })?;
                    open.ready.extend(messages);
                }
                // Its end, an error, or silence.
                Ok(Ok(None) | Err(_)) | Err(_) => return Ok(None),
            }
        }
    }

    /// Goes on at another controller.
    pub(crate) async fn elsewhere(&mut self) {
        self.open = None;
        self.client.try_another();
        sleep(PAUSE).await;
    }

    /// Forgets where it was and begins with what happens from now on.
    pub(crate) fn begin_anew(&mut self) {
        (self.open, self.last_id) = (None, None);
    }
}
