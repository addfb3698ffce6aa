//! One reading of the log that the engine keeps of a container, into the copy of it or for its end alone.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{LogsOptions, LogsOptionsBuilder};
use futures::{Stream, StreamExt};
use tokio::time::{Instant, timeout};

use super::engine::Engine;
use super::log::CopyError;
use super::progress::{Cut, Progress};
use super::stamp;
use crate::limits::LOG_TAIL;
use crate::logs::{Bookmark, Entries, LogCopy, NoRoom, Seek, Sought, Step};
use crate::runner::RunnerError;

/// The lines that are asked for when only the end of a log is read; its bytes are what counts.
const TAIL_LINES: &str = "500";

/// The lines that are asked for first when a copy is brought up to date: the engine finds them from the end.
const RECENT_LINES: u32 = 1000;

/// The most that are asked for before all of them are.
const MOST_LINES: u32 = 1_000_000;

/// How much longer the engine may be silent.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// How long it may give nothing before it is not waited for any more.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);

/// The bytes that are written in one go.
const BATCH_BYTES: usize = 64 << 10;

/// Does what blocks on the disk.
pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, CopyError> {
    // The task itself fails only when the runtime is shutting down.
    Ok(tokio::task::spawn_blocking(work).await.map_err(io::Error::from)??)
}

/// What came of reading.
#[derive(Debug)]
enum Reading {
    ToTheEnd,
    /// The bookmark was not among the lines that were asked for.
    TooFewLines,
    /// The bookmark is not in the log any more, and all entries seem to be older: they are new.
    BookmarkLost,
    /// It does not get on as it must.
    Cut(Cut),
    /// Nothing came for too long.
    Silent,
    Broken(String),
}

/// Brings a copy up to date. What is new is nearly always among the last lines; more and more are asked for when it is
/// not, and all of them the first time.
pub(super) async fn copy(
    engine: &Engine,
    container: &str,
    mut copy: LogCopy,
    no_room: NoRoom,
    mut progress: Progress,
) -> Result<LogCopy, CopyError> {
    let mut range = if copy.bookmark().is_at_start() { Range::All } else { Range::Last(RECENT_LINES) };
    loop {
        let options = options(&range.lines(), true);
        let limit = progress.left(Instant::now()) + ANSWER_MARGIN;
        let poured = engine.call_within("logs", limit, async move |client| {
            let entries = client.logs(container, Some(options));
            pour(entries, copy, no_room, range, progress).await
        });
        let reading;
        (copy, progress, reading) = poured.await??;
        range = match reading {
            Reading::ToTheEnd => return Ok(copy),
            Reading::TooFewLines => range.wider(),
            Reading::BookmarkLost => Range::AllAnew,
            Reading::Cut(Cut::TooLong(limit)) => return Err(CopyError::TooLong(limit)),
            Reading::Cut(Cut::TooSlow { bytes, within }) => {
                return Err(CopyError::TooSlow { bytes, within });
            }
            Reading::Silent => return Err(CopyError::Silent(SILENCE_LIMIT)),
            Reading::Broken(words) => return Err(CopyError::Broken(words)),
        };
    }
}

/// How much of a log is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    /// So many lines of its end.
    Last(u32),
    All,
    /// All, and none of it was copied before.
    AllAnew,
}

impl Range {
    /// The next one to ask for when the bookmark was not in this one.
    fn wider(self) -> Self {
        match self {
            // The engine finds the last ones from the end: reading all of a large log may take longer than a reader has.
            Self::Last(lines) if lines < MOST_LINES => Self::Last(lines * 10),
            Self::Last(_) => Self::All,
            Self::All | Self::AllAnew => Self::AllAnew,
        }
    }

    fn lines(self) -> String {
        match self {
            Self::Last(lines) => lines.to_string(),
            Self::All | Self::AllAnew => "all".to_owned(),
        }
    }

    fn seek(self, bookmark: Bookmark) -> Seek {
        match self {
            Self::Last(_) => Seek::new(bookmark, false),
            Self::All => Seek::new(bookmark, true),
            Self::AllAnew => Seek::lost(),
        }
    }
}

fn options(lines: &str, timestamps: bool) -> LogsOptions {
    LogsOptionsBuilder::default().stdout(true).stderr(true).timestamps(timestamps).tail(lines).build()
}

/// Writes what is new of these entries into the copy, however the reading ends. The engine's errors are told apart from
/// the disk's.
async fn pour(
    entries: impl Stream<Item = Result<LogOutput, Error>> + Send,
    mut copy: LogCopy,
    no_room: NoRoom,
    range: Range,
    mut progress: Progress,
) -> Result<Result<(LogCopy, Progress, Reading), CopyError>, Error> {
    let mut entries = pin!(entries);
    let mut seek = range.seek(copy.bookmark());
    let mut taken = Entries::after(copy.bookmark());
    let reading = loop {
        let Ok(next) = timeout(SILENCE_LIMIT, entries.next()).await else { break Ok(Reading::Silent) };
        let entry = match next {
            None => {
                break Ok(match seek.end() {
                    Sought::Found => Reading::ToTheEnd,
                    Sought::TooFew => Reading::TooFewLines,
                    Sought::Lost => Reading::BookmarkLost,
                });
            }
            Some(Err(error)) => break Err(error),
            Some(Ok(entry)) => entry.into_bytes(),
        };
        // Without a time it is no entry: the engine says what is the matter.
        let Some((time, text)) = stamp::split(&entry) else {
            break Ok(Reading::Broken(String::from_utf8_lossy(&entry).trim_end().to_owned()));
        };
        match seek.next(time) {
            Step::Skip => progress.advance(entry.len() as u64, Instant::now()),
            Step::Widen => break Ok(Reading::TooFewLines),
            Step::Take => taken.push(time, text),
            Step::TakeAfterGap => {
                taken.follow_gap();
                taken.push(time, text);
            }
        }
        if taken.len() >= BATCH_BYTES {
            let kept_bytes;
            (copy, taken, kept_bytes) = match write(copy, taken, no_room).await {
                Ok(written) => written,
                Err(error) => return Ok(Err(error)),
            };
            progress.advance(kept_bytes, Instant::now());
        }
        if let Some(cut) = progress.cut(Instant::now()) {
            break Ok(Reading::Cut(cut));
        }
    };
    let written = write(copy, taken, no_room).await;
    let reading = reading?;
    Ok(written.map(|(copy, ..)| (copy, progress, reading)))
}

/// Writes entries, and hands back where the next ones go, and how many bytes of these there was room for.
async fn write(
    mut copy: LogCopy,
    entries: Entries,
    no_room: NoRoom,
) -> Result<(LogCopy, Entries, u64), CopyError> {
    on_disk(move || {
        let lost_before = copy.lost_bytes();
        copy.append(&entries, no_room)?;
        let lost_bytes = copy.lost_bytes() - lost_before;
        let kept_bytes = (entries.len() as u64).saturating_sub(lost_bytes);
        Ok((copy, Entries::after(entries.bookmark()), kept_bytes))
    })
    .await
}

/// The last `max_bytes` of what a container wrote, without a copy of it.
pub(super) async fn tail(engine: &Engine, container: &str, max_bytes: usize) -> Result<String, RunnerError> {
    let options = options(TAIL_LINES, false);
    let read = engine.call_within("logs", LOG_TAIL, async |client| {
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
    let tail = read.await.map_err(|error| error.at("read log"))?;
    Ok(String::from_utf8_lossy(&tail[tail.len().saturating_sub(max_bytes)..]).into_owned())
}

/// Whether a container wrote anything after an entry of this time. Costs the engine a look at one line.
pub(super) async fn has_news(engine: &Engine, container: &str, copied: Bookmark) -> Result<bool, CopyError> {
    let options = options("1", true);
    let read = engine.call_within("logs", LOG_TAIL, async |client| {
        let mut entries = client.logs(container, Some(options));
        let mut last = None;
        while let Some(entry) = entries.next().await {
            last = Some(entry?.into_bytes());
        }
        Ok(last)
    });
    let last = read.await?;
    Ok(last.is_some_and(|entry| stamp::split(&entry).is_none_or(|(time, _)| !copied.is_at(time))))
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;
    use crate::logs::{LogDir, Rotation};

    #[test]
    fn more_and_more_lines_are_asked_for_and_in_the_end_all() {
        let mut asked = vec![Range::Last(RECENT_LINES)];
        while asked.last() != Some(&Range::All) {
            asked.push(asked[asked.len() - 1].wider());
        }
        let asked: Vec<String> = asked.into_iter().map(Range::lines).collect();
        assert_eq!(asked, ["1000", "10000", "100000", "1000000", "all"]);
    }

    fn entry(number: u64) -> LogOutput {
        let text = format!("2026-11-21T10:00:00.{number:09}Z line {number}\n");
        LogOutput::StdOut { message: text.into() }
    }

    /// Where the entries come from, one every so often, and after the last one nothing more, or silence.
    async fn poured(entries: u64, every: Duration, is_silent: bool, limit: Duration) -> (Reading, Bookmark) {
        let dir = tempfile::tempdir().unwrap();
        let log = LogDir::new(dir.path().to_owned());
        let copy = LogCopy::open(log, Rotation::of_copy(None), 0).unwrap();
        let numbers = stream::iter(0..entries).then(move |number| async move {
            tokio::time::sleep(every).await;
            Ok(entry(number))
        });
        let silence =
            if is_silent { stream::pending().left_stream() } else { stream::empty().right_stream() };
        let now = Instant::now();
        let progress = Progress::since(now, limit, now);
        let poured = pour(numbers.chain(silence), copy, NoRoom::Lost, Range::All, progress).await;
        let (copy, _, reading) = poured.unwrap().unwrap();
        (reading, copy.bookmark())
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_log_is_waited_for_and_a_silent_one_is_not() {
        let (slow, long) = (SILENCE_LIMIT * 9 / 10, Duration::from_secs(3600));
        let (whole, all) = poured(3, slow, false, long).await;
        assert!(matches!(whole, Reading::ToTheEnd), "{whole:?}");
        let (silent, some) = poured(3, slow, true, long).await;
        assert!(matches!(silent, Reading::Silent), "{silent:?}");
        assert_eq!(some, all, "what came before is kept");
        let (cut, some) = poured(3, slow, false, 2 * slow).await;
        assert!(matches!(cut, Reading::Cut(Cut::TooLong(_))), "{cut:?}");
        assert!(!some.is_at_start() && some != all, "what came before is kept");
        let (cut, some) = poured(20, slow, false, long).await;
        assert!(matches!(cut, Reading::Cut(Cut::TooSlow { .. })) && !some.is_at_start(), "{cut:?}");
    }
}
