//! Server-sent events (the HTML standard, §9.2), read from a stream of bytes as they come.

/// A message larger than this is none of ours; a whole one holds a page of log lines at most.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// One message.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Empty: a message without a name.
    pub(crate) event: String,
    /// After which one can go on.
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

/// The message grew beyond what is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// What has been read of the message that is not over yet.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    message: Message,
    has_data: bool,
}

impl Parser {
    /// The messages that `bytes` end. Comments, which keep a silent stream alive, are passed over.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Message>, TooLarge> {
        let mut messages = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() + self.message.data.len() > MAX_MESSAGE_BYTES {
                    return Err(TooLarge);
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned();
            messages.extend(self.take(&line));
        }
        Ok(messages)
    }

    fn take(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            return std::mem::take(&mut self.has_data).then_some(message);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.message.event),
            "id" => self.message.id = Some(value.to_owned()),
            "data" => {
                if self.has_data {
                    self.message.data.push('\n');
                }
                self.has_data = true;
                self.message.data.push_str(value);
            }
            _ => {} // a comment, or what later versions say
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_the_same_however_their_bytes_come() {
        let text = ": heartbeat\n\nevent: lines\nid: 7.1\ndata: {\"a\"\ndata: 1}\n\ndata:x\r\n\r\nid: 9\n\n";
        let expected = [
            Message { event: "lines".into(), id: Some("7.1".into()), data: "{\"a\"\n1}".into() },
            Message { data: "x".into(), ..Message::default() },
        ];
        for size in [1, 3, text.len()] {
            let mut parser = Parser::default();
            let messages: Vec<Message> =
                text.as_bytes().chunks(size).flat_map(|bytes| parser.feed(bytes).unwrap()).collect();
            assert_eq!(messages, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_message_without_an_end_is_not_gathered_for_ever() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; MAX_MESSAGE_BYTES];
        assert_eq!(parser.feed(&piece), Ok(Vec::new()));
        assert_eq!(parser.feed(b"x"), Err(TooLarge));
    }
}
