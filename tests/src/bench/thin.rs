//! A WebSocket that costs its client next to nothing (RFC 6455, only what a server sends that keeps to it), because thousands of the
//! library's cost more than what is measured.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use quorate_proto::SUBPROTOCOL;
use quorate_proto::frame::{Body, ClientFrame, Hello, Request, ServerFrame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes read at once; a frame that is longer grows the buffer for as long as it is there.
const READ_BYTES: usize = 16 << 10;
/// Longest wait for one socket to open.
const OPEN_WAIT: Duration = Duration::from_secs(30);

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text = 1,
    /// Bytes.
    Binary = 2,
}

/// A socket that reads frames and writes little.
#[derive(Debug)]
pub struct Thin {
    tcp: TcpStream,
    buffer: Vec<u8>,
    at: usize,
    /// Of the last request.
    id: u64,
    /// Kept, so that a frame costs no memory of its own.
    out: Vec<u8>,
}

impl Thin {
    /// Connects, upgrades, says hello and waits for the welcome.
    ///
    /// # Errors
    /// When any of it fails.
    pub async fn open(at: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let mut socket = Self::upgrade(at, "/ws", Some(SUBPROTOCOL)).await?;
        let enter = async {
            socket.request(Request::Hello(Hello { token: token.to_owned(), ..Hello::default() })).await?;
            let frame: ServerFrame = serde_json::from_slice(socket.next().await?)?;
            match frame.body {
                Body::Welcome(_) => Ok(()),
                other => bail!("instead of welcome: {other:?}"),
            }
        };
        tokio::time::timeout(OPEN_WAIT, enter).await.context("no welcome in time")??;
        Ok(socket)
    }

    /// Connects and upgrades.
    ///
    /// # Errors
    /// When any of it fails.
    pub async fn upgrade(at: SocketAddr, path: &str, protocol: Option<&str>) -> anyhow::Result<Self> {
        tokio::time::timeout(OPEN_WAIT, Self::enter(at, path, protocol))
            .await
            .context("no upgrade in time")?
    }

    async fn enter(at: SocketAddr, path: &str, protocol: Option<&str>) -> anyhow::Result<Self> {
        let tcp = TcpStream::connect(at).await.with_context(|| format!("cannot connect to {at}"))?;
        tcp.set_nodelay(true)?;
        let mut socket = Self { tcp, buffer: Vec::new(), at: 0, id: 0, out: Vec::new() };
        let protocol = protocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {at}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n"
        );
        socket.tcp.write_all(request.as_bytes()).await?;
        loop {
            if let Some(end) = socket.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&socket.buffer[..end]).into_owned();
                ensure!(head.starts_with("HTTP/1.1 101"), "no upgrade: {head}");
                socket.at = end + 4;
                return Ok(socket);
            }
            socket.fill().await?;
        }
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        self.buffer.reserve(READ_BYTES);
        ensure!(self.tcp.read_buf(&mut self.buffer).await? > 0, "the socket ended");
        Ok(())
    }

    /// Sends a message; the mask is zero, which is one.
    ///
    /// # Errors
    /// When the socket is closed.
    pub async fn send(&mut self, kind: Kind, bytes: &[u8]) -> anyhow::Result<()> {
        head(&mut self.out, kind, bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(self.tcp.write_all(&self.out).await?)
    }

    /// Asks for something; the number that the answer carries.
    ///
    /// # Errors
    /// When the socket is closed.
    pub async fn request(&mut self, request: Request) -> anyhow::Result<u64> {
        self.id += 1;
        let text = serde_json::to_vec(&ClientFrame { id: self.id, request })?;
        self.send(Kind::Text, &text).await?;
        Ok(self.id)
    }

    /// The connection, with nothing left to read of what came so far.
    pub fn into_inner(self) -> TcpStream {
        self.tcp
    }

    /// The next frame, if all of it is here: where its payload is, its kind, and where the next begins.
    fn frame(&self) -> Option<(Range<usize>, u8, usize)> {
        let rest = &self.buffer[self.at..];
        let (head, length) = match rest {
            [_, length, ..] if *length < 126 => (2, usize::from(*length)),
            [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([*a, *b]))),
            [_, 127, bytes @ ..] if bytes.len() >= 8 => {
                let length: [u8; 8] = bytes[..8].try_into().ok()?;
                (10, usize::try_from(u64::from_be_bytes(length)).ok()?)
            }
            _ => return None,
        };
        let begin = self.at + head;
        (rest.len() >= head + length).then_some((begin..begin + length, rest[0] & 0x0f, begin + length))
    }

    /// The next text or bytes; parts of a message come as they are. An idle socket keeps no buffer. Safe to cancel.
    ///
    /// # Errors
    /// When the socket ends.
    pub async fn next(&mut self) -> anyhow::Result<&[u8]> {
        loop {
            match self.frame() {
                Some((payload, 0..=2, end)) => {
                    self.at = end;
                    return Ok(&self.buffer[payload]);
                }
                Some((payload, 8, _)) => {
                    bail!("closed: {:?}", String::from_utf8_lossy(&self.buffer[payload]))
                }
                Some((_, _, end)) => self.at = end,
                None => {
                    if self.at == self.buffer.len() {
                        self.buffer = Vec::new();
                        self.at = 0;
                        self.tcp.readable().await?;
                    }
                    self.fill().await?;
                }
            }
        }
    }

    /// Answers one of Quorate's pings; whether it was one.
    ///
    /// # Errors
    /// When the socket is closed.
    pub async fn pong(&mut self, text: &[u8]) -> anyhow::Result<bool> {
        if !text.starts_with(br#"{"type":"ping""#) {
            return Ok(false);
        }
        if let Body::Ping { n, .. } = serde_json::from_slice::<ServerFrame>(text)?.body {
            self.request(Request::Pong { n }).await?;
        }
        Ok(true)
    }
}

/// A whole frame's head with a mask of zero, in place of what was there.
fn head(out: &mut Vec<u8>, kind: Kind, length: usize) -> anyhow::Result<()> {
    out.clear();
    out.push(0x80 | kind as u8);
    match u8::try_from(length) {
        Ok(length) if length < 126 => out.push(0x80 | length),
        _ => {
            out.push(0x80 | 126);
            out.extend(u16::try_from(length).context("a frame of 64 KiB at most")?.to_be_bytes());
        }
    }
    out.extend([0; 4]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn heads_say_how_long_a_frame_is() {
        let mut out = Vec::new();
        head(&mut out, Kind::Text, 125).unwrap();
        assert_eq!(out, [0x81, 0x80 | 125, 0, 0, 0, 0]);
        head(&mut out, Kind::Binary, 300).unwrap();
        assert_eq!(out, [0x82, 0x80 | 126, 1, 44, 0, 0, 0, 0]);
        assert!(head(&mut out, Kind::Text, 1 << 16).is_err());
    }

    #[tokio::test]
    async fn frames_of_all_lengths_are_read_however_they_come() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let lengths = [0_usize, 5, 125, 126, 70_000];
        let served = tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut out = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
            for length in lengths {
                out.push(0x82);
                match length {
                    0..126 => out.push(length as u8),
                    126..65_536 => {
                        out.push(126);
                        out.extend((length as u16).to_be_bytes());
                    }
                    _ => {
                        out.push(127);
                        out.extend((length as u64).to_be_bytes());
                    }
                }
                out.extend(vec![7; length]);
            }
            // A ping of the protocol below, and the end.
            out.extend([0x89, 0, 0x88, 2, b'n', b'o']);
            for piece in out.chunks(1_000) {
                tcp.write_all(piece).await.unwrap();
            }
            tcp
        });
        let mut socket = Thin::upgrade(at, "/", Some("x")).await.unwrap();
        for length in lengths {
            assert_eq!(socket.next().await.unwrap().len(), length);
        }
        assert!(socket.next().await.unwrap_err().to_string().contains("no"));
        served.await.unwrap();
    }
}
