//! NATS over WebSocket: a subscriber that costs its client next to nothing.

use std::net::SocketAddr;

use anyhow::bail;

use super::client::CONNECT;
use super::codec::{self, Said};
use crate::bench::thin::{Kind, Thin};

/// A subscriber of one subject.
#[derive(Debug)]
pub struct Subscriber {
    socket: Thin,
    /// Said, and not taken apart yet: messages may lie across frames.
    rest: Vec<u8>,
    at: usize,
}

impl Subscriber {
    /// Connects and subscribes.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn open(to: SocketAddr, subject: &str) -> anyhow::Result<Self> {
        let socket = Thin::upgrade(to, "/", None).await?;
        let mut own = Self { socket, rest: Vec::new(), at: 0 };
        let hello = format!("{}SUB {subject} 1\r\nPING\r\n", CONNECT.trim_end_matches("PING\r\n"));
        own.socket.send(Kind::Binary, hello.as_bytes()).await?;
        loop {
            match own.said().await? {
                Said::Pong => return Ok(own),
                Said::Refused(why) => bail!("refused: {why}"),
                _ => {}
            }
        }
    }

    async fn said(&mut self) -> anyhow::Result<Said> {
        loop {
            if let Some((said, next)) = codec::first(&self.rest[self.at..])? {
                let begins = self.at;
                self.at += next;
                match said {
                    Said::Ping => self.socket.send(Kind::Binary, b"PONG\r\n").await?,
                    Said::Message { payload, .. } => {
                        let payload = payload.start + begins..payload.end + begins;
                        return Ok(Said::Message { subject: 0..0, header: 0..0, payload });
                    }
                    other => return Ok(other),
                }
                continue;
            }
            self.rest.drain(..self.at);
            self.at = 0;
            if self.rest.is_empty() {
                // An idle one keeps no buffer.
                self.rest = Vec::new();
            }
            let bytes = self.socket.next().await?;
            self.rest.extend_from_slice(bytes);
        }
    }

    /// The next message.
    ///
    /// # Errors
    /// When the socket ends.
    pub async fn next(&mut self) -> anyhow::Result<&[u8]> {
        loop {
            match self.said().await? {
                Said::Message { payload, .. } => return Ok(&self.rest[payload]),
                Said::Refused(why) => bail!("refused: {why}"),
                _ => {}
            }
        }
    }
}
