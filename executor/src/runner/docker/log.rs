//! What a container wrote, as the engine keeps it.

use bollard::query_parameters::LogsOptionsBuilder;
use futures::StreamExt;

use super::engine::Engine;
use crate::runner::RunnerError;

/// The lines that are asked for when the end of a log is read; its bytes are what counts.
const TAIL_LINES: &str = "500";

/// The last `max_bytes` of what a container wrote; nothing when it is gone.
pub(super) async fn tail(engine: &Engine, container: &str, max_bytes: usize) -> Result<String, RunnerError> {
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(TAIL_LINES).build();
    let read = engine.call("logs", async |client| {
        let mut pieces = client.logs(container, Some(options));
        let mut tail = Vec::new();
        while let Some(piece) = pieces.next().await {
            tail.extend_from_slice(&piece?.into_bytes());
            if tail.len() > 2 * max_bytes {
                tail.drain(..tail.len() - max_bytes);
            }
        }
        Ok(tail)
    });
    match read.await {
        Ok(tail) => {
            let tail = &tail[tail.len().saturating_sub(max_bytes)..];
            Ok(String::from_utf8_lossy(tail).into_owned())
        }
        Err(error) if error.is_not_found() => Ok(String::new()),
        Err(error) => Err(error.at("read log")),
    }
}
