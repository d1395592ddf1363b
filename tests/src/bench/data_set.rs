//! A data set of many messages, people and conversations, and what it costs to work on top of it: the same rows at 1x and 10x
//! show what grows with stored history.
//!
//! Texts are drawn from a vocabulary by a seeded generator, the frequent words as frequent as in a language (Zipf), so that a search
//! has rare and common words to look for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use quorate_cluster::http::Call;
use quorate_proto::frame::{Body, Request, SendMessage};
use quorate_proto::ids::{ClientMessageId, ConversationId, Sequence};
use quorate_proto::rest::SessionGrant;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::clock::Latencies;
use super::record::Figure;
use super::table::number;
use crate::client::Socket;
use crate::load;

/// People.
const USERS: usize = 500;
/// Groups; the first has everybody.
const GROUPS: usize = 200;
/// Members of each other group.
const MEMBERS: usize = 12;
/// Sockets that write the data set, each to one group at a time.
const WRITERS: usize = 128;
/// Of this many messages one goes to the group of everybody.
const TO_EVERYBODY: u64 = 4;
/// Different words.
const VOCABULARY: u64 = 5_000;
/// Words of a message.
const WORDS: u64 = 12;
/// How often each thing is done for its figure.
const REPEATS: u64 = 200;
/// One call.
const CALL_WAIT: Duration = Duration::from_secs(30);
/// A refused send is tried again after this, when the answer names no time.
const RETRY_MS: u64 = 50;

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, and good enough for texts.
#[derive(Debug, Clone)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A word's number: low ones are frequent.
    fn word(&mut self) -> u64 {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        // The inverse of a Zipf distribution's cumulated weight, near enough.
        (VOCABULARY as f64).powf(unit) as u64 % VOCABULARY
    }

    fn text(&mut self) -> String {
        let words: Vec<String> = (0..WORDS).map(|_| word(self.word())).collect();
        words.join(" ")
    }
}

/// A word that can be said, by number.
fn word(number: u64) -> String {
    const SYLLABLES: [&str; 20] = [
        "ka", "lo", "mi", "ren", "tu", "sa", "vel", "dor", "pi", "nas", "gri", "tol", "be", "fan", "mur",
        "shi", "ola", "eck", "wu", "zan",
    ];
    let mut text = String::new();
    let mut left = number + 20;
    while left > 0 {
        text.push_str(SYLLABLES[(left % 20) as usize]);
        left /= 20;
    }
    text
}

/// The data set on a running cluster.
#[derive(Debug)]
pub struct DataSet {
    front: SocketAddr,
    grants: Vec<SessionGrant>,
    groups: Vec<ConversationId>,
    messages: u64,
}

impl DataSet {
    /// Makes the people, whose names begin with `tag`, and the groups.
    ///
    /// # Errors
    /// When one of them cannot be made.
    pub async fn new(front: SocketAddr, tag: &str) -> anyhow::Result<Self> {
        let grants = load::sign_up_many(front, tag, USERS).await?;
        let mut groups = Vec::new();
        for number in 0..GROUPS {
            let members: Vec<&SessionGrant> = match number {
                0 => grants.iter().collect(),
                _ => (0..MEMBERS).map(|member| &grants[(number * 7 + member * 31) % USERS]).collect(),
            };
            groups.push(load::make_group(front, &format!("Group {number}"), &members).await?);
        }
        Ok(Self { front, grants, groups, messages: 0 })
    }

    /// Writes until there are so many messages.
    ///
    /// # Errors
    /// When a message is refused.
    pub async fn fill(&mut self, messages: u64) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let missing = messages.saturating_sub(self.messages);
        let set = Arc::new((self.groups.clone(), self.grants.clone()));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS as u64 {
            let share = missing / WRITERS as u64 + u64::from(writer < missing % WRITERS as u64);
            let (front, set, seed) = (self.front, Arc::clone(&set), self.messages ^ (writer << 40));
            writers.spawn(async move { write(front, &set.0, &set.1, writer, share, seed).await });
        }
        while let Some(done) = writers.join_next().await {
            done??;
        }
        self.messages = self.messages.max(messages);
        Ok(began.elapsed())
    }

    /// What things cost now.
    ///
    /// # Errors
    /// When something fails.
    pub async fn figures(&self) -> anyhow::Result<Vec<Figure>> {
        let front = self.front;
        // The writer of the small group is a member of the large one as well.
        let (large, small) = (self.groups[0], self.groups[1]);
        let reader = &self.grants[7 % USERS];
        let last = newest(front, reader, large).await?;
        let mut chance = Chance(last);
        let sent_large = sends(front, reader, large, &mut chance).await?;
        let sent_small = sends(front, reader, small, &mut chance).await?;
        let newest_page =
            reads(front, reader, |_| format!("/api/v1/conversations/{large}/messages?limit=50")).await?;
        let middle_page = reads(front, reader, |turn| {
            let around = 1 + (turn * 7_919) % last;
            format!("/api/v1/conversations/{large}/messages?around={around}&limit=50")
        })
        .await?;
        let open = reads(front, reader, |_| "/api/v1/conversations".to_owned()).await?;
        let rare =
            reads(front, reader, |turn| format!("/api/v1/search?q={}", word(VOCABULARY - 1 - turn))).await?;
        let common = reads(front, reader, |turn| {
            format!("/api/v1/search?q={}%20{}", word(turn % 5), word(5 + turn % 20))
        })
        .await?;
        let case = format!("{} messages", number(self.messages as f64));
        Ok([
            ("send, large group", sent_large),
            ("send, small group", sent_small),
            ("newest page", newest_page),
            ("page somewhere", middle_page),
            ("list of conversations", open),
            ("search, rare word", rare),
            ("search, two common words", common),
        ]
        .into_iter()
        .flat_map(|(what, times)| both(&format!("{case}: {what}"), &times))
        .collect())
    }
}

/// Median and 99th percentile of some times.
pub fn both(case: &str, times: &Latencies) -> [Figure; 2] {
    [Figure::less(case, "p50", "ms", times.ms(0.5)), Figure::less(case, "p99", "ms", times.ms(0.99))]
}

async fn open(front: SocketAddr, grant: &SessionGrant) -> anyhow::Result<Socket> {
    let mut socket = Socket::open(front, None).await?;
    socket.hello(&grant.access_token, None).await?;
    Ok(socket)
}

async fn send(socket: &mut Socket, conversation: ConversationId, text: String) -> anyhow::Result<Sequence> {
    let message = SendMessage {
        conversation,
        client_message_id: ClientMessageId(Uuid::now_v7()),
        text,
        reply_to: None,
        forward: None,
        first_sent: 0,
        attachments: Vec::new(),
    };
    loop {
        let id = socket.request(Request::Send(message.clone())).await?;
        match socket.answer(id).await? {
            Body::Ack(ack) => return ack.sequence.context("a send without a sequence"),
            Body::Error { error } if error.temporary => {
                tokio::time::sleep(Duration::from_millis(error.retry_ms.unwrap_or(RETRY_MS))).await;
            }
            other => bail!("a send was refused: {other:?}"),
        }
    }
}

async fn write(
    front: SocketAddr,
    groups: &[ConversationId],
    grants: &[SessionGrant],
    writer: u64,
    share: u64,
    seed: u64,
) -> anyhow::Result<()> {
    let small = 1 + writer as usize % (GROUPS - 1);
    // Somebody who is in both: the first member of the small group.
    let mut socket = open(front, &grants[(small * 7) % USERS]).await?;
    let mut chance = Chance(seed);
    for number in 0..share {
        let group = if number % TO_EVERYBODY == 0 { 0 } else { small };
        send(&mut socket, groups[group], chance.text()).await?;
    }
    socket.close().await;
    Ok(())
}

async fn newest(
    front: SocketAddr,
    grant: &SessionGrant,
    conversation: ConversationId,
) -> anyhow::Result<Sequence> {
    let mut socket = open(front, grant).await?;
    let sequence = send(&mut socket, conversation, "how many are we".to_owned()).await?;
    socket.close().await;
    Ok(sequence)
}

async fn sends(
    front: SocketAddr,
    grant: &SessionGrant,
    conversation: ConversationId,
    chance: &mut Chance,
) -> anyhow::Result<Latencies> {
    let mut socket = open(front, grant).await?;
    let mut figure = Latencies::default();
    for _ in 0..REPEATS {
        let text = chance.text();
        let began = Instant::now();
        send(&mut socket, conversation, text).await?;
        figure.record(began.elapsed());
    }
    socket.close().await;
    Ok(figure)
}

async fn reads(
    front: SocketAddr,
    grant: &SessionGrant,
    path: impl Fn(u64) -> String,
) -> anyhow::Result<Latencies> {
    let mut figure = Latencies::default();
    for turn in 0..REPEATS {
        let call = Call::get(path(turn)).header("authorization", format!("Bearer {}", grant.access_token));
        let began = Instant::now();
        let answer = call.deadline(CALL_WAIT).send(front).await?;
        figure.record(began.elapsed());
        let text = String::from_utf8_lossy(answer.body());
        ensure!(answer.status() == 200, "{}: {} {text}", path(turn), answer.status());
    }
    Ok(figure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_drawn_alike_each_time_and_have_common_and_rare_words() {
        let (mut one, mut two) = (Chance(7), Chance(7));
        assert_eq!(one.text(), two.text());
        let mut counts = std::collections::HashMap::new();
        for _ in 0..2_000 {
            for word in one.text().split(' ') {
                *counts.entry(word.to_owned()).or_insert(0u32) += 1;
            }
        }
        assert!(counts[&word(1)] > 500, "{:?}", counts.get(&word(1)));
        assert!(counts.len() > 1_000, "only {} words", counts.len());
    }

    #[test]
    fn no_two_numbers_are_one_word() {
        let words: std::collections::BTreeSet<String> = (0..VOCABULARY).map(word).collect();
        assert_eq!(words.len() as u64, VOCABULARY);
    }
}
