//! What happened in a run, as it was seen from outside: sends and their fates, deliveries, final pages.
//!
//! Times are microseconds on one monotonic clock, taken before a request leaves and after its answer came, so that
//! "ended before the other began" is certain.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Context;
use quorate_proto::frame::{Event, EventKind};
use quorate_proto::ids::{ConversationId, Index, Sequence, UserId, Version};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Microseconds since the run began.
pub type Micros = u64;

/// A run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct History {
    /// Every send, in order of invocation per sender.
    pub sends: Vec<Sent>,
    /// What each session was given, by reader.
    pub readers: Vec<Reader>,
    /// The final pages, read through every gateway.
    pub finals: Vec<FinalPages>,
    /// What the test did when: kills, restarts, phases.
    pub marks: Vec<(Micros, String)>,
    /// Every end of a socket that the client did not ask for.
    pub closes: Vec<Close>,
}

/// One send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The client message id.
    pub id: Uuid,
    /// Who.
    pub sender: UserId,
    /// Where to.
    pub conversation: ConversationId,
    /// What.
    pub text: String,
    /// When it was first sent.
    pub invoked: Micros,
    /// How it ended.
    pub fate: Fate,
}

/// How a send ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// No answer, or one that leaves the effect open. It may be there once.
    Unknown,
    /// Surely without effect.
    Refused {
        /// The error's word.
        code: String,
    },
    /// Acknowledged: it must be there exactly once, at this place.
    Acked {
        /// When the ack was read.
        at: Micros,
        /// Its sequence.
        sequence: Sequence,
        /// Its version.
        version: Version,
        /// Its log index.
        index: Index,
        /// Under which term.
        term: u64,
    },
}

/// What one reader was given, across all her sockets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reader {
    /// Who.
    pub user: UserId,
    /// For messages: her name and which client of hers.
    pub name: String,
    /// Version of each conversation from which she reads.
    pub starts: Vec<(ConversationId, Version)>,
    /// The events, in the order in which they were applied.
    pub events: Vec<Delivered>,
    /// Whether she was there to the end and must have everything.
    pub complete: bool,
}

/// One event as delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// When.
    pub at: Micros,
    /// Where.
    pub conversation: ConversationId,
    /// Its version.
    pub version: Version,
    /// Its log index.
    pub index: Index,
    /// The message, unless the event is of another kind.
    pub message: Option<Row>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Dense in the conversation.
    pub sequence: Sequence,
    /// Its version.
    pub version: Version,
    /// The client message id.
    pub id: Uuid,
    /// Who wrote it.
    pub from: UserId,
    /// What.
    pub text: String,
}

/// All messages of a conversation, read at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalPages {
    /// Through which gateway and when, for messages.
    pub source: String,
    /// Which conversation.
    pub conversation: ConversationId,
    /// Its newest version.
    pub version: Version,
    /// In the order in which they came.
    pub rows: Vec<Row>,
}

/// The end of a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// When.
    pub at: Micros,
    /// Whose.
    pub name: String,
    /// On which gateway.
    pub gateway: String,
    /// The close code, if a close frame came.
    pub code: Option<u16>,
    /// In words.
    pub reason: String,
}

/// A message event as a row; `None` for other kinds.
pub fn row(event: &Event) -> Option<Row> {
    match &event.kind {
        EventKind::Message(message) => Some(Row {
            sequence: message.sequence,
            version: event.version,
            id: message.client_message_id.0,
            from: message.from.id,
            text: message.text.clone(),
        }),
        EventKind::Edit { .. }
        | EventKind::Delete { .. }
        | EventKind::Reaction { .. }
        | EventKind::Pin { .. }
        | EventKind::Role { .. }
        | EventKind::Member { .. }
        | EventKind::Conversation { .. } => None,
    }
}

/// A history that many tasks write.
#[derive(Debug, Clone)]
pub struct Recorder {
    began: Instant,
    history: Arc<Mutex<History>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { began: Instant::now(), history: Arc::default() }
    }
}

impl Recorder {
    /// Now, on the run's clock.
    pub fn now(&self) -> Micros {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The history, to read or to add to.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what the test does, and prints it.
    pub fn mark(&self, text: impl Into<String>) -> Micros {
        let (at, text) = (self.now(), text.into());
        println!("{:>9.3} s  {text}", at as f64 / 1e6);
        self.history().marks.push((at, text));
        at
    }

    /// A new send; its place is the handle under which its fate is told.
    pub fn sent(&self, id: Uuid, sender: UserId, conversation: ConversationId, text: String) -> usize {
        let invoked = self.now();
        let mut history = self.history();
        history.sends.push(Sent { id, sender, conversation, text, invoked, fate: Fate::Unknown });
        history.sends.len() - 1
    }

    /// The fate of a send.
    pub fn fate(&self, place: usize, fate: Fate) {
        self.history().sends[place].fate = fate;
    }

    /// A new reader; its place is the handle for [`Self::delivered`].
    pub fn reader(&self, user: UserId, name: String, starts: Vec<(ConversationId, Version)>) -> usize {
        let mut history = self.history();
        history.readers.push(Reader { user, name, starts, events: Vec::new(), complete: false });
        history.readers.len() - 1
    }

    /// An event that a reader applied.
    pub fn delivered(&self, reader: usize, event: &Event) {
        let at = self.now();
        let delivered = Delivered {
            at,
            conversation: event.conversation,
            version: event.version,
            index: event.index,
            message: row(event),
        };
        self.history().readers[reader].events.push(delivered);
    }

    /// Acks in a span of the run.
    pub fn acks_between(&self, from: Micros, to: Micros) -> usize {
        let acked = |sent: &&Sent| matches!(sent.fate, Fate::Acked { at, .. } if from <= at && at < to);
        self.history().sends.iter().filter(acked).count()
    }

    /// Acks of what was first sent at or after a moment.
    pub fn acks_of_sends_since(&self, from: Micros) -> usize {
        let acked = |sent: &&Sent| sent.invoked >= from && matches!(sent.fate, Fate::Acked { .. });
        self.history().sends.iter().filter(acked).count()
    }

    /// Writes the raw history, for a red run.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, dir: &Path, name: &str) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let path = dir.join(format!("{name}-{}.json", std::process::id()));
        let file =
            std::fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        serde_json::to_writer(std::io::BufWriter::new(file), &*self.history())?;
        Ok(path)
    }
}
