//! One connection to a NATS server, and a writer whose messages are acknowledged by a stream.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::codec::{self, Said};
use crate::bench::shape::Write;

/// Connecting, until the server answers.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// An answer that has not come within this is asked for again, as the clients of NATS do.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Before something that was refused is tried again.
const RETRY: Duration = Duration::from_millis(10);
/// A write is tried for so long.
const WRITE_WAIT: Duration = Duration::from_secs(60);
/// Read at once.
const READ_BYTES: usize = 16 << 10;

/// A connection.
#[derive(Debug)]
pub struct Connection {
    tcp: TcpStream,
    buffer: Vec<u8>,
    at: usize,
}

/// What `CONNECT` says: headers, or the answer that nobody listens would never come.
pub(super) const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"name\":\"quorate-bench\",\"lang\":\"rust\",\
     \"version\":\"1\",\"protocol\":1,\"headers\":true,\"no_responders\":true}\r\nPING\r\n";

impl Connection {
    /// Connects and waits for the server's first answer.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn open(to: SocketAddr) -> anyhow::Result<Self> {
        let open = async {
            let tcp = TcpStream::connect(to).await.with_context(|| format!("cannot connect to {to}"))?;
            tcp.set_nodelay(true)?;
            let mut own = Self { tcp, buffer: Vec::with_capacity(READ_BYTES), at: 0 };
            own.say(CONNECT.as_bytes()).await?;
            loop {
                match own.heard().await? {
                    Said::Pong => return Ok(own),
                    Said::Refused(why) => bail!("refused: {why}"),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(CONNECT_WAIT, open).await.context("no answer in time")?
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn say(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.tcp.write_all(bytes).await.context("cannot send")
    }

    /// The next thing said; pings are answered. Ranges are places in [`Self::bytes`]. Safe to cancel: what was read stays.
    ///
    /// # Errors
    /// When the connection ends, or something else is spoken there.
    pub async fn heard(&mut self) -> anyhow::Result<Said> {
        loop {
            if self.at == self.buffer.len() {
                self.buffer.clear();
                self.at = 0;
            }
            if let Some((said, next)) = codec::first(&self.buffer[self.at..])? {
                let begins = self.at;
                self.at += next;
                let said = match said {
                    Said::Ping => {
                        self.say(b"PONG\r\n").await?;
                        continue;
                    }
                    Said::Message { subject, header, payload } => Said::Message {
                        subject: subject.start + begins..subject.end + begins,
                        header: header.start + begins..header.end + begins,
                        payload: payload.start + begins..payload.end + begins,
                    },
                    other => other,
                };
                return Ok(said);
            }
            if self.at > 0 {
                self.buffer.drain(..self.at);
                self.at = 0;
            }
            self.buffer.reserve(READ_BYTES);
            ensure!(self.tcp.read_buf(&mut self.buffer).await? > 0, "the server closed the connection");
        }
    }

    /// What was read, for the ranges of the last [`Said`].
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }
}

/// Asks and waits for the answer, on a connection of its own.
///
/// # Errors
/// When there is none in time, or nobody answers such questions.
pub async fn ask(to: SocketAddr, subject: &str, question: &[u8]) -> anyhow::Result<Value> {
    let asked = async {
        let mut connection = Connection::open(to).await?;
        let mut out = b"SUB _INBOX.ask 1\r\n".to_vec();
        codec::publish(&mut out, subject, "_INBOX.ask", question);
        connection.say(&out).await?;
        loop {
            match connection.heard().await? {
                Said::Message { header, payload, .. } => {
                    ensure!(!codec::is_nobody(&connection.bytes()[header]), "nobody answers {subject}");
                    return serde_json::from_slice(&connection.bytes()[payload]).context("no JSON");
                }
                Said::Refused(why) => bail!("refused: {why}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(CONNECT_WAIT, asked).await.context("no answer in time")?
}

/// Publishes into a stream, one message at a time, each until the stream has acknowledged it. Goes to the next server when one is
/// gone.
#[derive(Debug)]
pub struct Writer {
    servers: Vec<SocketAddr>,
    /// Which of them is tried next.
    turn: usize,
    connection: Option<Connection>,
    inbox: String,
    subject: String,
    payload: Vec<u8>,
    number: u64,
    out: Vec<u8>,
    patience: Duration,
}

impl Writer {
    /// Somebody who writes `bytes` bytes to a subject, through the server at `turn` as long as it lives.
    pub fn new(servers: Vec<SocketAddr>, turn: usize, place: usize, subject: String, bytes: usize) -> Self {
        let payload = vec![b'x'; bytes];
        let inbox = format!("_INBOX.{place}.");
        Self {
            servers,
            turn,
            connection: None,
            inbox,
            subject,
            payload,
            number: 0,
            out: Vec::new(),
            patience: PATIENCE,
        }
    }

    /// The same, but asking again after another time than [`PATIENCE`].
    #[must_use]
    pub fn patient_for(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Connects beforehand, so that no figure has it in it.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn connect(&mut self) -> anyhow::Result<()> {
        if self.connection.is_none() {
            let to = self.servers[self.turn % self.servers.len()];
            let mut connection = Connection::open(to).await?;
            connection.say(format!("SUB {}* 1\r\n", self.inbox).as_bytes()).await?;
            self.connection = Some(connection);
        }
        Ok(())
    }

    /// One attempt; whether the stream acknowledged it.
    async fn attempt(&mut self) -> anyhow::Result<bool> {
        self.connect().await?;
        let connection = self.connection.as_mut().context("not connected")?;
        self.number += 1;
        let answer_to = format!("{}{}", self.inbox, self.number);
        self.out.clear();
        codec::publish(&mut self.out, &self.subject, &answer_to, &self.payload);
        connection.say(&self.out).await?;
        loop {
            match connection.heard().await? {
                Said::Message { subject, header, payload } => {
                    let bytes = connection.bytes();
                    // An answer that was given up may still come.
                    if bytes[subject] != *answer_to.as_bytes() {
                        continue;
                    }
                    return Ok(!codec::is_nobody(&bytes[header]) && is_ack(&bytes[payload]));
                }
                Said::Refused(why) => bail!("refused: {why}"),
                _ => {}
            }
        }
    }
}

/// `{"stream":"bench","seq":7}`; refusals have an `error`.
fn is_ack(payload: &[u8]) -> bool {
    let has = |part: &[u8]| payload.windows(part.len()).any(|window| window == part);
    has(b"\"seq\":") && !has(b"\"error\":")
}

impl Write for Writer {
    async fn write(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + WRITE_WAIT;
        loop {
            let why = match tokio::time::timeout(self.patience, self.attempt()).await {
                Ok(Ok(true)) => return Ok(()),
                Ok(Ok(false)) => "nobody leads the stream".to_owned(),
                Ok(Err(error)) => {
                    self.connection = None;
                    self.turn += 1;
                    format!("{error:#}")
                }
                Err(_) => {
                    // Given up while something was half sent, the connection could not be used again.
                    self.connection = None;
                    self.turn += 1;
                    "no answer".to_owned()
                }
            };
            ensure!(Instant::now() < until, "not acknowledged within {WRITE_WAIT:?}: {why}");
            tokio::time::sleep(RETRY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_is_no_refusal() {
        assert!(is_ack(br#"{"stream":"bench","seq":7}"#));
        assert!(!is_ack(
            br#"{"error":{"code":503,"description":"jetstream not available"},"stream":"bench","seq":0}"#
        ));
        assert!(!is_ack(b"{}"));
    }

    #[tokio::test]
    async fn a_writer_goes_to_the_next_server_and_hears_only_its_own_answer() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        // Nobody listens at the first.
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let served = tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut heard = String::new();
            tcp.write_all(b"INFO {}\r\nPONG\r\n").await.unwrap();
            while !heard.contains("PUB bench.1 _INBOX.4.2 3\r\nxxx\r\n") {
                let mut bytes = [0; 1_024];
                let count = tcp.read(&mut bytes).await.unwrap();
                assert!(count > 0, "{heard}");
                heard.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
            }
            let answers: [&[u8]; 4] = [
                b"PING\r\nMSG _INBOX.4.1 1 27\r\n{\"stream\":\"bench\",\"seq\":1} \r\n",
                b"MSG _INBO",
                b"X.4.2 1 26\r\n{\"stream\":\"bench\",",
                b"\"seq\":2}\r\n",
            ];
            for answer in answers {
                tcp.write_all(answer).await.unwrap();
                tcp.flush().await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tcp
        });
        let mut writer = Writer::new(vec![gone, at], 0, 4, "bench.1".to_owned(), 3);
        // The first attempt found nobody; numbers go on.
        writer.number = 1;
        writer.write().await.unwrap();
        assert_eq!((writer.turn, writer.number), (1, 2));
        served.await.unwrap();
    }
}
