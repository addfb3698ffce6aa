//! A stream of messages that goes on where it was when its controller goes: each message has an id, and the next
//! controller is asked for what came after it.

use std::time::Duration;

use muster_common::exit::Exit;
use tokio::time::{Instant, sleep, timeout};

use super::http::Client;
use super::sse::{Message, Parser};
use crate::error::CliError;

/// A stream that says nothing for so long, not even that it lives, is broken: heartbeats come three times as often.
const SILENCE: Duration = Duration::from_secs(30);
/// For so long controllers are tried one after the other before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// One stream, over as many connections as it takes.
pub(crate) struct Follow<'a> {
    client: &'a Client,
    path: String,
    last_id: Option<String>,
    open: Option<Open>,
}

struct Open {
    answer: reqwest::Response,
    parser: Parser,
    ready: std::collections::VecDeque<Message>,
}

impl<'a> Follow<'a> {
    /// `path` with its query; nothing is sent before it is opened.
    pub(crate) fn new(client: &'a Client, path: String) -> Self {
        Self { client, path, last_id: None, open: None }
    }

    /// After which message it would go on.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Opens it, so that whatever happens from now on will be told. A refusal is an error; a controller that does not
    /// answer is one only when no other one answers for some time either.
    pub(crate) async fn open(&mut self) -> Result<(), CliError> {
        let deadline = Instant::now() + PATIENCE;
        while self.open.is_none() {
            match self.client.listen(&self.path, self.last_id.as_deref()).await {
                Ok(answer) => {
                    self.open = Some(Open {
                        answer,
                        parser: Parser::default(),
                        ready: std::collections::VecDeque::new(),
                    });
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
            let Some(open) = &mut self.open else { continue };
            if let Some(message) = open.ready.pop_front() {
                if let Some(id) = &message.id {
                    self.last_id = Some(id.clone());
                }
                return Ok(message);
            }
            match timeout(SILENCE, open.answer.chunk()).await {
                Ok(Ok(Some(bytes))) => match open.parser.feed(&bytes) {
                    Ok(messages) => open.ready.extend(messages),
                    Err(_) => {
                        let message = format!("{} sent a message that is larger than any of ours", self.path);
                        return Err(CliError::new(Exit::Failure, message));
                    }
                },
                // Its end, an error, or silence: another connection goes on from the same place.
                Ok(Ok(None) | Err(_)) | Err(_) => self.elsewhere().await,
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
