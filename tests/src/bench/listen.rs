//! One room with many listeners: who hears how much, and how late.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use quorate_proto::frame::{Request, SendMessage};
use quorate_proto::ids::{ClientMessageId, ConversationId};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::clock::{Latencies, Schedule};
use super::peers::nats::client::Connection;
use super::peers::nats::codec;
use super::peers::nats::socket::Subscriber;
use super::thin::Thin;

/// Sockets opened at the same time.
const OPENING_AT_ONCE: usize = 32;
/// One message in this many is looked into for its time.
const TIMED_ONE_IN: u64 = 16;
/// Bytes of a message.
pub const TEXT_BYTES: usize = 100;
/// Digits of a time.
const DIGITS: usize = 20;

/// Microseconds of this program's own clock, which nothing sets.
fn now_us() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(ORIGIN.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// A message that says when it was due.
fn text(due: Instant) -> String {
    let late = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
    format!("{:x<TEXT_BYTES$}", format!("t{:020}", now_us().saturating_sub(late)))
}

/// When a message was due, if it says so.
fn due_us(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"t")?.get(..DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What all listeners have counted.
#[derive(Debug, Default)]
pub struct Heard {
    all: AtomicU64,
    measured: AtomicU64,
    measuring: AtomicBool,
    times: Mutex<Latencies>,
}

impl Heard {
    fn hear(&self, count: u64, text: impl FnOnce() -> Option<u64>) {
        self.all.fetch_add(1, Ordering::Relaxed);
        if !self.measuring.load(Ordering::Relaxed) {
            return;
        }
        self.measured.fetch_add(1, Ordering::Relaxed);
        if count.is_multiple_of(TIMED_ONE_IN)
            && let Some(due) = text()
        {
            let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
            times.record(Duration::from_micros(now_us().saturating_sub(due)));
        }
    }

    /// Messages heard since the last call, whether measured or not.
    pub fn take_all(&self) -> u64 {
        self.all.swap(0, Ordering::Relaxed)
    }

    /// Counts from now on.
    pub fn begin(&self) {
        *self.times.lock().unwrap_or_else(PoisonError::into_inner) = Latencies::default();
        self.measured.store(0, Ordering::Relaxed);
        self.measuring.store(true, Ordering::Relaxed);
    }

    /// Ends the counting: messages heard, and the times of a part of them.
    pub fn end(&self) -> (u64, Latencies) {
        self.measuring.store(false, Ordering::Relaxed);
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.measured.load(Ordering::Relaxed), times)
    }
}

/// A socket that listens.
#[derive(Debug)]
pub enum Listener {
    /// A session of Quorate.
    Quorate(Thin),
    /// A subscription of NATS over WebSocket.
    Nats(Subscriber),
}

/// How to open the socket of a place.
#[derive(Debug, Clone)]
pub enum Door {
    /// At a gateway, with one of these tokens.
    Quorate(SocketAddr, Arc<Vec<String>>),
    /// At a server, subscribed to what the function of the place says.
    Nats(SocketAddr, fn(usize) -> String),
}

impl Door {
    async fn open(self, place: usize) -> anyhow::Result<Listener> {
        Ok(match self {
            Self::Quorate(at, tokens) => {
                Listener::Quorate(Thin::open(at, &tokens[place % tokens.len()]).await?)
            }
            Self::Nats(at, subject) => Listener::Nats(Subscriber::open(at, &subject(place)).await?),
        })
    }

    /// Opens so many, some at a time.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn open_many(&self, count: usize) -> anyhow::Result<Vec<Listener>> {
        let places = Arc::new(Semaphore::new(OPENING_AT_ONCE));
        let mut tasks = JoinSet::new();
        for place in 0..count {
            let (door, places) = (self.clone(), Arc::clone(&places));
            tasks.spawn(async move {
                let _place = places.acquire().await?;
                door.open(place).await
            });
        }
        let mut sockets = Vec::with_capacity(count);
        while let Some(opened) = tasks.join_next().await {
            sockets.push(opened??);
        }
        Ok(sockets)
    }
}

impl Listener {
    /// Listens until the socket ends.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn listen(self, heard: Arc<Heard>) -> anyhow::Result<()> {
        let mut count: u64 = 0;
        match self {
            Self::Quorate(mut socket) => loop {
                let frame = socket.next().await?;
                if frame.starts_with(br#"{"type":"event""#) {
                    count += 1;
                    heard.hear(count, || {
                        let at = frame.windows(8).position(|bytes| bytes == br#""text":""#)?;
                        due_us(&frame[at + 8..])
                    });
                } else {
                    let frame = frame.to_vec();
                    socket.pong(&frame).await?;
                }
            },
            Self::Nats(mut socket) => loop {
                let message = socket.next().await?;
                count += 1;
                heard.hear(count, || due_us(message));
            },
        }
    }
}

/// Somebody who writes into the room and waits for no answer.
#[derive(Debug)]
pub enum Speaker {
    /// A session of Quorate, and the room.
    Quorate(Thin, ConversationId),
    /// A connection to NATS, and the room.
    Nats(Connection, String),
}

impl Speaker {
    async fn say(&mut self, text: String) -> anyhow::Result<()> {
        match self {
            Self::Quorate(socket, room) => {
                let send = SendMessage {
                    conversation: *room,
                    client_message_id: ClientMessageId(Uuid::now_v7()),
                    text,
                    reply_to: None,
                    forward: None,
                    first_sent: 0,
                    attachments: Vec::new(),
                };
                socket.request(Request::Send(send)).await.map(|_| ())
            }
            Self::Nats(connection, room) => {
                let mut out = Vec::new();
                codec::publish(&mut out, room, "", text.as_bytes());
                connection.say(&out).await
            }
        }
    }

    /// Hears what is said to a speaker. Safe to cancel before it has heard something.
    async fn hear(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Quorate(socket, _) => {
                let text = socket.next().await?;
                // Acks, and what everybody says: not looked at.
                if text.starts_with(br#"{"type":"event""#) {
                    return Ok(());
                }
                if text.windows(14).any(|bytes| bytes == br#""type":"error""#) {
                    bail!("a send was refused: {}", String::from_utf8_lossy(text));
                }
                let text = text.to_vec();
                socket.pong(&text).await.map(|_| ())
            }
            Self::Nats(connection, _) => match connection.heard().await? {
                codec::Said::Refused(why) => bail!("refused: {why}"),
                _ => Ok(()),
            },
        }
    }

    /// Speaks at fixed times; how often.
    ///
    /// # Errors
    /// When the socket ends or something is refused.
    pub async fn speak(mut self, times: Schedule) -> anyhow::Result<u64> {
        let mut said = 0;
        for due in times {
            loop {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(due.into()) => break,
                    heard = self.hear() => heard.context("a speaker")?,
                }
            }
            self.say(text(due)).await?;
            said += 1;
        }
        // What is on its way is given the time to be answered.
        let quiet = tokio::time::sleep(Duration::from_millis(500));
        tokio::pin!(quiet);
        loop {
            tokio::select! {
                () = &mut quiet => return Ok(said),
                heard = self.hear() => heard.context("a speaker")?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_tells_when_it_was_due_and_not_when_there_was_time_for_it() {
        let before = now_us();
        let due = Instant::now();
        std::thread::sleep(Duration::from_millis(30));
        let message = text(due);
        assert_eq!(message.len(), TEXT_BYTES);
        let told = due_us(message.as_bytes()).unwrap();
        assert!(told >= before && told < now_us() - 29_000, "{told}");
        assert_eq!(due_us(b"hello"), None);
        assert_eq!(due_us(b"t123"), None);
    }

    #[test]
    fn one_in_sixteen_is_timed_and_all_are_counted() {
        let heard = Heard::default();
        heard.hear(16, || panic!("nothing is measured yet"));
        heard.begin();
        for count in 1..=64 {
            heard.hear(count, || Some(now_us()));
        }
        let (count, times) = heard.end();
        assert_eq!((count, times.count(), heard.take_all(), heard.take_all()), (64, 4, 65, 0));
    }
}
