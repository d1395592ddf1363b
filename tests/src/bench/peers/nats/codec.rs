//! What a NATS server says, taken apart: lines, and messages with their bytes. Pure.
//!
//! Written from the public description of the client protocol; only what servers say, and no more than the benchmark needs.

use std::ops::Range;

use anyhow::{Context as _, bail, ensure};

/// A longer line is no line.
const LINE_BYTES_MAX: usize = 64 << 10;

/// One thing a server said. Ranges are places in the buffer that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// `INFO`: who it is.
    Info,
    /// `PING`: wants a `PONG`.
    Ping,
    /// `PONG`.
    Pong,
    /// `+OK`.
    Fine,
    /// `-ERR`.
    Refused(String),
    /// `MSG` or `HMSG`.
    Message {
        /// To whom.
        subject: Range<usize>,
        /// Its header block, empty for `MSG`.
        header: Range<usize>,
        /// What is said.
        payload: Range<usize>,
    },
}

/// The first thing in `bytes` that is whole, and where the next begins; `None` while it is not whole.
///
/// # Errors
/// When it is nothing a server says.
pub fn first(bytes: &[u8]) -> anyhow::Result<Option<(Said, usize)>> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        ensure!(bytes.len() < LINE_BYTES_MAX, "a line without an end");
        return Ok(None);
    };
    let (line, next) = (&bytes[..end], end + 2);
    let word = line.split(|byte| matches!(byte, b' ' | b'\t')).next().unwrap_or_default();
    Ok(Some(match word {
        b"MSG" => return message(bytes, line, next, false),
        b"HMSG" => return message(bytes, line, next, true),
        b"INFO" => (Said::Info, next),
        b"PING" => (Said::Ping, next),
        b"PONG" => (Said::Pong, next),
        b"+OK" => (Said::Fine, next),
        b"-ERR" => (Said::Refused(String::from_utf8_lossy(&line[4..]).trim().to_owned()), next),
        _ => bail!("not of this protocol: {:?}", String::from_utf8_lossy(&line[..line.len().min(80)])),
    }))
}

/// `MSG subject sid [reply] bytes`, `HMSG subject sid [reply] header-bytes bytes`.
fn message(
    bytes: &[u8],
    line: &[u8],
    begins: usize,
    has_header: bool,
) -> anyhow::Result<Option<(Said, usize)>> {
    let text = std::str::from_utf8(line).context("a message's line is no text")?;
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let least = if has_header { 5 } else { 4 };
    ensure!((least..=least + 1).contains(&words.len()), "a message of other words: {text:?}");
    let number = |word: &str| word.parse::<usize>().with_context(|| format!("no length: {text:?}"));
    let length = number(words[words.len() - 1])?;
    let header = if has_header { number(words[words.len() - 2])? } else { 0 };
    ensure!(header <= length, "a header longer than its message: {text:?}");
    let ends = begins.checked_add(length).context("a message without an end")?;
    let Some(after) = bytes.get(ends..ends.saturating_add(2)) else { return Ok(None) };
    ensure!(after == b"\r\n", "a message of another length: {text:?}");
    let subject = words[1].as_ptr() as usize - text.as_ptr() as usize;
    let said = Said::Message {
        subject: subject..subject + words[1].len(),
        header: begins..begins + header,
        payload: begins + header..ends,
    };
    Ok(Some((said, ends + 2)))
}

/// Whether a header block is the answer that nobody listens there (`NATS/1.0 503`).
pub fn is_nobody(header: &[u8]) -> bool {
    header.starts_with(b"NATS/1.0 503")
}

/// Appends a message to be published, with where the answer shall go, if there shall be one.
pub fn publish(out: &mut Vec<u8>, subject: &str, answer_to: &str, payload: &[u8]) {
    out.extend_from_slice(b"PUB ");
    out.extend_from_slice(subject.as_bytes());
    if !answer_to.is_empty() {
        out.push(b' ');
        out.extend_from_slice(answer_to.as_bytes());
    }
    out.extend_from_slice(format!(" {}\r\n", payload.len()).as_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut bytes: &[u8]) -> anyhow::Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        while let Some((said, next)) = first(bytes)? {
            let text = |range: &Range<usize>| String::from_utf8_lossy(&bytes[range.clone()]).into_owned();
            found.push(match &said {
                Said::Message { subject, header, payload } => {
                    (format!("{} {:?}", text(subject), text(header)), text(payload))
                }
                other => (format!("{other:?}"), String::new()),
            });
            bytes = &bytes[next..];
        }
        Ok(found)
    }

    const STREAM: &[u8] = b"INFO {\"server_id\":\"x\"}\r\nPING\r\n+OK\r\n-ERR 'Unknown'\r\nMSG a.b 1 5\r\nhe\r\no\r\n\
        MSG a 12 _INBOX.1 0\r\n\r\nHMSG in.7 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\nHMSG in.7 1 r 12 17\r\nNATS/1.0\r\n\r\nhello\r\nPONG\r\n";

    #[test]
    fn what_a_server_says_is_taken_apart() {
        let found = all(STREAM).unwrap();
        let heads: Vec<&str> = found.iter().map(|(head, _)| head.as_str()).collect();
        assert_eq!(
            heads,
            [
                "Info",
                "Ping",
                "Fine",
                "Refused(\"'Unknown'\")",
                "a.b \"\"",
                "a \"\"",
                "in.7 \"NATS/1.0 503\\r\\n\\r\\n\"",
                "in.7 \"NATS/1.0\\r\\n\\r\\n\"",
                "Pong"
            ]
        );
        assert_eq!(found[4].1, "he\r\no");
        assert_eq!((found[6].1.as_str(), found[7].1.as_str()), ("", "hello"));
        assert!(is_nobody(b"NATS/1.0 503\r\n\r\n") && !is_nobody(b"NATS/1.0\r\n\r\n"));
    }

    #[test]
    fn half_of_something_is_waited_for() {
        for cut in 0..STREAM.len() {
            let (head, tail) = STREAM.split_at(cut);
            let before = all(head).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
            assert!(before.len() <= 9, "{cut}");
            // Whatever was whole before the cut stays the same, and the rest is found once it is there.
            assert_eq!(all(&[head, tail].concat()).unwrap()[..before.len()], before);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"MSG a 1\r\n",
            b"MSG a 1 x\r\n",
            b"MSG a 1 2\r\nabcd",
            b"HMSG a 1 9 2\r\nab\r\n",
            b"MSG a 1 18446744073709551615\r\n",
        ] {
            assert!(first(text).is_err(), "{:?}", String::from_utf8_lossy(text));
        }
        assert!(first(&vec![b'x'; LINE_BYTES_MAX]).is_err());
    }

    #[test]
    fn a_publication_says_how_long_it_is() {
        let mut out = Vec::new();
        publish(&mut out, "bench.3", "_INBOX.a.7", b"hello");
        publish(&mut out, "room", "", b"");
        assert_eq!(out, b"PUB bench.3 _INBOX.a.7 5\r\nhello\r\nPUB room 0\r\n\r\n");
    }
}
