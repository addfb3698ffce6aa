//! Logs for users: which files there are, and what is in them, from any place on.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muster_common::id::InstanceId;
use muster_proto::v1;
use muster_proto::v1::read_log::From;
use muster_proto::v1::relay_up::Body as Up;

use super::characters;
use super::line::{Line, Refusal};
use crate::logs::{LogPiece, LogPosition, LogSegment};
use crate::runner::{Following, InstanceLog, LogError, Logs};

/// How far back the last lines are looked for.
const MAX_TAIL_BYTES: usize = 4 << 20;

/// The files of a log.
pub(super) async fn list(logs: &Logs, ask: &v1::ListLogFiles) -> Result<Up, Refusal> {
    let log = find(logs, &ask.instance).await?;
    let segments = log.segments().await.map_err(unread)?;
    let files = segments.iter().map(|segment| v1::LogFile {
        segment: segment.number,
        begin: segment.begin,
        bytes: segment.bytes,
        modified_ms: unix_ms(segment.modified),
        is_current: segment.is_current,
    });
    Ok(Up::LogFiles(v1::LogFiles { files: files.collect() }))
}

/// What is in a log, piece by piece.
pub(super) async fn read(logs: &Logs, ask: &v1::ReadLog, line: Line) -> Result<Up, Refusal> {
    let log = find(logs, &ask.instance).await?;
    let mut reading = Reading::begin(&log, ask).await?;
    // Before anything was written, too, whoever asked knows that the log is there, and from where to go on.
    let at = reading.following.position();
    let next = Some(v1::LogPlace { segment: at.segment, offset: at.offset });
    line.say(0, Up::LogText(v1::LogText { next, begin: reading.begin, ..v1::LogText::default() })).await;
    while let Some(text) = reading.next().await? {
        line.say(text.text.len(), Up::LogText(text)).await;
    }
    Ok(Up::Done(v1::RelayDone {}))
}

/// What names no instance whose log is here finds nothing: an id can name no other directory.
async fn find(logs: &Logs, instance: &str) -> Result<InstanceLog, Refusal> {
    let none =
        || Refusal::NotFound(format!("there is no log of instance {instance} on its node, or none any more"));
    let id = InstanceId::new(instance).map_err(|_| none())?;
    logs.of(&id).await.map_err(unread)?.ok_or_else(none)
}

#[allow(clippy::needless_pass_by_value)] // as map_err hands it over
fn unread(error: LogError) -> Refusal {
    Refusal::Failed(error.to_string())
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// One log being read for one user.
struct Reading {
    log: InstanceLog,
    following: Following,
    /// What is wanted.
    ask: v1::ReadLog,
    /// The only segment that is wanted.
    only: Option<u64>,
    /// What may still be said.
    left: Option<u64>,
    /// Where in the whole output it ends, unless it is followed: who writes faster than is read would make it endless.
    end: Option<u64>,
    /// Whether anything was said: the first piece may begin inside of a character.
    has_begun: bool,
    /// Where what comes next begins in the whole output.
    begin: u64,
    /// Read, and kept back as the beginning of a character.
    kept: VecDeque<u8>,
    is_over: bool,
}

impl Reading {
    async fn begin(log: &InstanceLog, ask: &v1::ReadLog) -> Result<Self, Refusal> {
        let (at, end) = place(log, ask.from.as_ref()).await.map_err(unread)?;
        let segments = log.segments().await.map_err(unread)?;
        if ask.within_segment && !segments.iter().any(|segment| segment.number == at.segment) {
            let number = at.segment;
            return Err(Refusal::NotFound(format!("there is no output.log-{number}, or not any more")));
        }
        let end = end.or_else(|| segments.iter().map(LogSegment::end).max());
        Ok(Self {
            log: log.clone(),
            following: log.follow(at),
            only: ask.within_segment.then_some(at.segment),
            left: (ask.max_bytes > 0).then_some(ask.max_bytes),
            end: end.filter(|_| !ask.follow),
            ask: ask.clone(),
            has_begun: false,
            begin: segments.offset_of(at),
            kept: VecDeque::new(),
            is_over: false,
        })
    }

    /// The next piece; none when there is no more.
    async fn next(&mut self) -> Result<Option<v1::LogText>, Refusal> {
        while !self.is_over && self.left != Some(0) {
            let piece =
                if self.ask.follow { self.following.next().await } else { self.following.available().await };
            let piece = piece.map_err(unread)?;
            let beyond = |piece: &LogPiece| self.only.is_some_and(|only| piece.next.segment != only);
            self.is_over =
                piece.as_ref().is_none_or(|piece| beyond(piece) || is_last(piece, self.ask.follow));
            let piece = piece.filter(|piece| !beyond(piece));
            if let Some(piece) = piece.as_ref().filter(|piece| piece.is_after_gap) {
                // What was kept back belongs to what is gone.
                self.kept.clear();
                self.has_begun = false;
                let end = self.log.segments().await.map_err(unread)?.offset_of(piece.next);
                self.begin = end.saturating_sub(piece.bytes.len() as u64);
            }
            if let Some(text) = self.cut(piece.unwrap_or_else(|| self.nothing())) {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// Stands for the end: what was kept back is said as it is.
    fn nothing(&self) -> LogPiece {
        LogPiece { next: self.following.position(), ..LogPiece::default() }
    }

    /// What is said of a piece; none where that is nothing.
    fn cut(&mut self, piece: LogPiece) -> Option<v1::LogText> {
        let LogPiece { bytes, next, is_after_gap, trouble } = piece;
        let kept = self.kept.len();
        let mut text: Vec<u8> = self.kept.drain(..).chain(bytes).collect();
        let mut begin = self.begin;
        if self.ask.whole_characters && !self.has_begun {
            let rest = characters::rest(&text);
            text.drain(..rest);
            begin += rest as u64;
        }
        let read = text.len();
        if let Some(end) = self.end {
            let room = usize::try_from(end.saturating_sub(begin)).unwrap_or(usize::MAX);
            // A piece of which nothing is wanted: all before it was said, with what was the matter.
            self.is_over |= room <= kept;
            text.truncate(room);
        }
        if let Some(left) = self.left {
            text.truncate(usize::try_from(left).unwrap_or(usize::MAX).min(text.len()));
            self.is_over |= text.len() as u64 >= left;
        }
        // At the end nothing is kept back; but who asked for so many bytes goes on with the rest by himself.
        if self.ask.whole_characters && (!self.is_over || self.left.is_some()) {
            let whole = text.len() - characters::begun(&text);
            if whole > 0 || !self.is_over {
                self.kept = text.split_off(whole).into();
            }
        }
        if text.is_empty() && trouble.is_none() && !is_after_gap {
            self.begin = begin;
            return None;
        }
        self.has_begun |= !text.is_empty();
        self.begin = begin + text.len() as u64;
        self.left = self.left.map(|left| left.saturating_sub(text.len() as u64));
        // What was not said was the end of this piece; whoever goes on from here reads it again.
        let offset = next.offset.saturating_sub((read - text.len()) as u64);
        Some(v1::LogText {
            text: text.into(),
            next: Some(v1::LogPlace { segment: next.segment, offset }),
            begin,
            is_after_gap,
            trouble: trouble.unwrap_or_default(),
        })
    }
}

/// Trouble is told with the last that can be read for now.
fn is_last(piece: &LogPiece, follow: bool) -> bool {
    !follow && piece.bytes.is_empty()
}

/// Where reading begins; of the last lines also where they end.
async fn place(log: &InstanceLog, from: Option<&From>) -> Result<(LogPosition, Option<u64>), LogError> {
    let at = match from {
        Some(From::Place(v1::LogPlace { segment, offset })) => {
            LogPosition { segment: *segment, offset: *offset }
        }
        Some(From::TailLines(lines)) => {
            let lines = usize::try_from(*lines).unwrap_or(usize::MAX);
            let tail = log.tail(lines, MAX_TAIL_BYTES).await?;
            let segments = log.segments().await?;
            let end = segments.offset_of(tail.next);
            return Ok((segments.place_of(end.saturating_sub(tail.bytes.len() as u64)), Some(end)));
        }
        Some(From::SinceMs(since)) => log.since(UNIX_EPOCH + Duration::from_millis(*since)).await?,
        Some(From::Offset(offset)) => log.segments().await?.place_of(*offset),
        None => LogPosition::default(),
    };
    Ok((at, None))
}

#[cfg(test)]
mod tests {
    use muster_common::id::ServiceId;

    use super::*;
    use crate::logs::{LogDir, OutputLog, Rotation};
    use crate::testing::Node;

    /// A log of so many numbered lines, of which the last ones are kept.
    async fn log(dir: &std::path::Path, lines: usize, max_files: u32) -> (InstanceLog, String) {
        let instance = InstanceId::new("SI-1").unwrap();
        let log_dir = LogDir::of(dir, &ServiceId::new("web-1").unwrap(), &instance);
        let rotation = Rotation { max_bytes: 100, max_files, compress: false };
        let mut log = OutputLog::open(log_dir.clone(), rotation).unwrap();
        let mut whole = String::new();
        for line in 0..lines {
            let line = format!("line é {line}\n");
            log.append(line.as_bytes());
            whole.push_str(&line);
        }
        std::fs::write(dir.join("logs/web-1/SI-1/output.ended"), "").unwrap();
        let logs = Logs::new(dir.to_owned(), &Node::default().runners());
        (logs.of(&instance).await.unwrap().unwrap(), whole)
    }

    fn ask(from: From) -> v1::ReadLog {
        v1::ReadLog {
            instance: "SI-1".to_owned(),
            from: Some(from),
            whole_characters: true,
            ..v1::ReadLog::default()
        }
    }

    async fn all(log: &InstanceLog, ask: &v1::ReadLog) -> Vec<v1::LogText> {
        let mut reading = Reading::begin(log, ask).await.unwrap();
        let mut texts = Vec::new();
        while let Some(text) = reading.next().await.unwrap() {
            texts.push(text);
        }
        texts
    }

    fn joined(texts: &[v1::LogText]) -> String {
        texts.iter().map(|text| std::str::from_utf8(&text.text).unwrap()).collect()
    }

    #[tokio::test]
    async fn an_offset_in_the_whole_output_is_true_wherever_it_is_and_each_piece_is_text() {
        let dir = tempfile::tempdir().unwrap();
        let (log, whole) = log(dir.path(), 50, 100).await;
        for offset in 0..whole.len() {
            for max_bytes in [0, 1, 2, 7, 250] {
                let texts = all(&log, &v1::ReadLog { max_bytes, ..ask(From::Offset(offset as u64)) }).await;
                let Some(first) = texts.first() else {
                    assert!(max_bytes == 1, "one byte of two is none");
                    continue;
                };
                let begin = usize::try_from(first.begin).unwrap();
                let next = (offset..=whole.len()).find(|&at| whole.is_char_boundary(at)).unwrap();
                assert_eq!(begin, next);
                let text: Vec<u8> = texts.iter().flat_map(|text| text.text.to_vec()).collect();
                assert!(whole.as_bytes()[begin..].starts_with(&text));
                match max_bytes {
                    0 => assert_eq!(text.len(), whole.len() - begin),
                    max => assert!(text.len() as u64 <= max && !text.is_empty()),
                }
            }
        }
    }

    #[tokio::test]
    async fn what_is_gone_is_passed_over_and_the_rest_keeps_its_offsets() {
        let dir = tempfile::tempdir().unwrap();
        let (log, whole) = log(dir.path(), 50, 3).await;
        let texts = all(&log, &ask(From::Offset(0))).await;
        let begin = usize::try_from(texts[0].begin).unwrap();
        assert!(begin > 0);
        assert_eq!(joined(&texts), whole[begin..]);
        let last = all(&log, &ask(From::TailLines(2))).await;
        assert_eq!(joined(&last), "line é 48\nline é 49\n");
        let follow = v1::ReadLog { follow: true, ..ask(From::TailLines(20)) };
        assert_eq!(joined(&all(&log, &follow).await).lines().count(), 20, "across files");
    }

    #[tokio::test]
    async fn a_read_that_does_not_follow_ends_where_the_log_ended_when_it_was_opened() {
        for (from, lines) in [(From::TailLines(1), 1), (From::TailLines(7), 7), (From::Offset(0), 50)] {
            let dir = tempfile::tempdir().unwrap();
            let (log, whole) = log(dir.path(), 50, 100).await;
            let log_dir =
                LogDir::of(dir.path(), &ServiceId::new("web-1").unwrap(), &InstanceId::new("SI-1").unwrap());
            let rotation = Rotation { max_bytes: 100, max_files: 100, compress: false };
            let mut writer = OutputLog::open(log_dir, rotation).unwrap();
            let mut reading = Reading::begin(&log, &ask(from)).await.unwrap();
            let mut said = String::new();
            // At each look there is more.
            for _ in 0..whole.len() {
                writer.append(b"later\n");
                let Some(text) = reading.next().await.unwrap() else { break };
                said.push_str(std::str::from_utf8(&text.text).unwrap());
            }
            assert_eq!(said.lines().count(), lines, "{said}");
            assert!(whole.ends_with(&said));
        }
    }

    #[tokio::test]
    async fn whoever_goes_on_from_any_piece_misses_and_repeats_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (log, whole) = log(dir.path(), 50, 100).await;
        let mut seen = String::new();
        let mut from = From::Place(v1::LogPlace::default());
        // Five bytes at a time, each by a relay of its own.
        for _ in 0..whole.len() {
            let texts = all(&log, &v1::ReadLog { max_bytes: 5, ..ask(from) }).await;
            seen.push_str(&joined(&texts));
            let Some(last) = texts.last() else { break };
            from = From::Place(last.next.unwrap());
        }
        assert_eq!(seen, whole);
    }

    #[tokio::test]
    async fn one_file_is_read_to_its_end_and_not_further() {
        let dir = tempfile::tempdir().unwrap();
        let (log, whole) = log(dir.path(), 50, 100).await;
        let segments = log.segments().await.unwrap();
        for segment in segments.iter() {
            let place = From::Place(v1::LogPlace { segment: segment.number, offset: 0 });
            let texts = all(&log, &v1::ReadLog { within_segment: true, ..ask(place) }).await;
            let (begin, end) = (segment.begin.try_into().unwrap(), segment.end().try_into().unwrap());
            let wanted: &str = &whole[begin..end];
            assert_eq!(joined(&texts), wanted);
        }
        let absent = From::Place(v1::LogPlace { segment: 9_999, offset: 0 });
        let ask = v1::ReadLog { within_segment: true, ..ask(absent) };
        let refusal = Reading::begin(&log, &ask).await.err().unwrap();
        assert_eq!(refusal, Refusal::NotFound("there is no output.log-9999, or not any more".to_owned()));
    }

    #[tokio::test]
    async fn what_is_no_instance_s_name_finds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = log(dir.path(), 1, 1).await;
        drop(log);
        let logs = Logs::new(dir.path().to_owned(), &Node::default().runners());
        for name in ["..", "../SI-1", "SI-1/..", "/etc", "", "SI-2", "web-1"] {
            let refusal = find(&logs, name).await.err().unwrap();
            assert!(matches!(refusal, Refusal::NotFound(_)), "{name}: {refusal}");
        }
    }
}
