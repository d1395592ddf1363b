//! One file from choosing to commit.

use quorate_proto::error::ErrorCode;
use quorate_proto::files::canonical_file_name;
use quorate_proto::frame::Attachment;
use quorate_proto::ids::{ClientMessageId, ConversationId};
use quorate_proto::rest::{ChunkStored, FileState};
use uuid::Uuid;

use super::{
    CALL_WAIT_MS, CHUNK_WAIT_MS, COMMITS_MAX, Call, Hash, Phase, STALLED_MS, Step, TRIES_MAX, Told, Trouble,
    UploadId, is_hash,
};
use crate::backoff::bound_ms;
use crate::moment::Moment;
use crate::words::t;

/// Least wait before a failed call is made again.
const RETRY_MS_MIN: u64 = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    Missing,
    UnderWay { call: Call, since_ms: u64 },
    There,
}

#[derive(Debug, Clone)]
struct Chunk {
    /// Of what was read when it was sent last: what the server has must be that.
    hash: Option<Hash>,
    state: ChunkState,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Its name in this client.
    pub id: UploadId,
    /// Where it is to be shown.
    pub conversation: ConversationId,
    /// A plain name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// How far it has come.
    pub phase: Phase,
    /// Whether trying again can help: not where the file itself is at fault.
    pub hopeful: bool,
    key: ClientMessageId,
    file: Option<Uuid>,
    chunk_bytes: u64,
    chunks: Vec<Chunk>,
    tries: u32,
    commits: u32,
    /// A chunk came too slowly: one at a time, until one arrives.
    narrow: bool,
}

impl Upload {
    /// One that waits for its turn.
    pub fn new(
        id: UploadId,
        conversation: ConversationId,
        name: &str,
        size: u64,
        key: ClientMessageId,
    ) -> Self {
        Self {
            id,
            conversation,
            name: canonical_file_name(name),
            size,
            phase: Phase::Queued,
            hopeful: true,
            key,
            file: None,
            chunk_bytes: 0,
            chunks: Vec::new(),
            tries: 0,
            commits: 0,
            narrow: false,
        }
    }

    /// Whether it has begun and is neither done nor given up.
    pub fn is_active(&self) -> bool {
        !matches!(self.phase, Phase::Queued | Phase::Committed(_) | Phase::Failed(_))
    }

    /// Whether it is a file by now.
    pub fn committed(&self) -> Option<&Attachment> {
        match &self.phase {
            Phase::Committed(file) => Some(file),
            _ => None,
        }
    }

    /// Bytes that a majority of the replicas has.
    pub fn bytes_there(&self) -> u64 {
        if self.committed().is_some() {
            return self.size;
        }
        let there = (0..).zip(&self.chunks).filter(|(_, chunk)| chunk.state == ChunkState::There);
        there.map(|(number, _)| self.length(number)).sum()
    }

    /// Chunks under way.
    pub fn under_way(&self) -> usize {
        self.chunks.iter().filter(|chunk| matches!(chunk.state, ChunkState::UnderWay { .. })).count()
    }

    /// The file's id, once something may be there under it.
    pub fn file(&self) -> Option<Uuid> {
        self.file
    }

    /// The next step, if there is one now. `may_put`: another chunk may travel.
    pub fn next(&mut self, now_ms: u64, may_put: bool, calls: &mut Call) -> Option<(Call, Step)> {
        let mut call = || {
            *calls += 1;
            *calls
        };
        let is_due = matches!(self.phase, Phase::Cut { until_ms } if until_ms <= now_ms);
        match (&self.phase, self.file) {
            (Phase::Queued, None) => {}
            (Phase::Cut { .. }, None) if is_due => {}
            // What is under way is waited for: then the answer says how it ended.
            (Phase::Queued, Some(file)) | (Phase::Cut { .. }, Some(file))
                if (is_due || self.phase == Phase::Queued) && self.under_way() == 0 =>
            {
                let call = call();
                self.phase = Phase::Asking { call, since_ms: now_ms };
                return Some((call, Step::Ask { file }));
            }
            (Phase::Sending, Some(file)) => {
                let missing = self.chunks.iter().position(|chunk| chunk.state == ChunkState::Missing);
                let Some(at) = missing else {
                    if self.under_way() > 0 {
                        return None;
                    }
                    let call = call();
                    self.phase = Phase::Committing { call, since_ms: now_ms };
                    let (name, size, key) = (self.name.clone(), self.size, self.key);
                    return Some((call, Step::Commit { file, name, size, key }));
                };
                if !may_put || (self.narrow && self.under_way() > 0) {
                    return None;
                }
                let call = call();
                self.chunks[at].state = ChunkState::UnderWay { call, since_ms: now_ms };
                let number = u32::try_from(at).expect("the count of chunks was checked to fit");
                let (begin, length) = (at as u64 * self.chunk_bytes, self.length(at as u64));
                return Some((call, Step::Put { file, number, begin, length }));
            }
            _ => return None,
        }
        let call = call();
        self.phase = Phase::Beginning { call, since_ms: now_ms };
        Some((call, Step::Begin { name: self.name.clone(), size: self.size }))
    }

    /// What came of a step. False if it was given up before.
    pub fn told(&mut self, moment: &Moment, answered: Call, told: Told) -> bool {
        match told {
            Told::Put { hash, outcome } => return self.put(moment, answered, hash, outcome),
            Told::Begun(outcome) if matches!(self.phase, Phase::Beginning { call, .. } if call == answered) => {
                match outcome {
                    Ok(upload) => self.begun(&upload),
                    Err(trouble) => self.trouble(moment, trouble),
                }
            }
            Told::There(outcome) if matches!(self.phase, Phase::Asking { call, .. } if call == answered) => {
                match outcome {
                    Ok(there) => self.there(moment, there),
                    Err(trouble) => self.trouble(moment, trouble),
                }
            }
            Told::Committed(outcome) if matches!(self.phase, Phase::Committing { call, .. } if call == answered) =>
            {
                match outcome {
                    Ok(state) => self.there(moment, Some(state)),
                    // Chunks are missing after all: the next question tells which.
                    Err(Trouble::Refused(error))
                        if error.code == ErrorCode::Invalid && self.commits < COMMITS_MAX =>
                    {
                        self.commits += 1;
                        self.again(moment, None, &error.message);
                    }
                    Err(trouble) => self.trouble(moment, trouble),
                }
            }
            _ => return false,
        }
        true
    }

    fn begun(&mut self, upload: &quorate_proto::rest::Upload) {
        let chunk_bytes = upload.chunk_bytes as u64;
        let fits = chunk_bytes > 0
            && u32::try_from(upload.chunks).is_ok()
            && self.size.div_ceil(chunk_bytes) == upload.chunks;
        if !fits {
            return self.fail(t("the server asks for chunks that the file does not have"), true);
        }
        let missing = Chunk { hash: None, state: ChunkState::Missing };
        self.chunk_bytes = chunk_bytes;
        self.chunks = vec![missing; usize::try_from(upload.chunks).unwrap_or_default()];
        self.file = Some(upload.id);
        self.phase = Phase::Sending;
    }

    /// What the server has. A chunk that is not what was read here last is sent again.
    fn there(&mut self, moment: &Moment, there: Option<FileState>) {
        let stored = match there {
            Some(FileState::Committed { file, .. }) => {
                self.phase = Phase::Committed(file);
                return;
            }
            Some(FileState::Uploading { chunks }) => chunks,
            None => Vec::new(),
        };
        if matches!(self.phase, Phase::Committing { .. }) {
            return self.again(moment, None, t("the server has not made a file of it"));
        }
        for (number, chunk) in (0..).zip(&mut self.chunks) {
            let has =
                |stored: &&ChunkStored| stored.number == number && is_hash(&stored.hash, chunk.hash.as_ref());
            let is_there = stored.iter().any(|stored| has(&stored));
            chunk.state = if is_there { ChunkState::There } else { ChunkState::Missing };
        }
        self.phase = Phase::Sending;
    }

    fn put(
        &mut self,
        moment: &Moment,
        answered: Call,
        hash: Option<Hash>,
        outcome: Result<ChunkStored, Trouble>,
    ) -> bool {
        let of_call =
            |chunk: &&mut Chunk| matches!(chunk.state, ChunkState::UnderWay { call, .. } if call == answered);
        let Some(chunk) = self.chunks.iter_mut().find(of_call) else { return false };
        chunk.hash = hash;
        chunk.state = ChunkState::Missing;
        match outcome {
            Ok(stored) if is_hash(&stored.hash, hash.as_ref()) => {
                chunk.state = ChunkState::There;
                self.tries = 0;
                self.narrow = false;
            }
            Ok(_) => self.again(moment, None, t("what arrived is not what was sent")),
            Err(trouble) => self.trouble(moment, trouble),
        }
        true
    }

    fn trouble(&mut self, moment: &Moment, trouble: Trouble) {
        match trouble {
            Trouble::Unreadable => {
                self.fail(
                    t("the file cannot be read: it is a folder, or was moved or changed. Choose it again"),
                    false,
                );
            }
            Trouble::Cut => self.again(moment, None, t("the server does not answer")),
            Trouble::Refused(error) if error.temporary || error.code == ErrorCode::Unauthenticated => {
                self.again(moment, error.retry_ms, &error.message);
            }
            Trouble::Refused(error) => self.fail(&error.message, true),
        }
    }

    /// Another attempt after a while; too many in a row, and a person decides.
    fn again(&mut self, moment: &Moment, asked_ms: Option<u64>, why: &str) {
        if matches!(self.phase, Phase::Cut { .. } | Phase::Failed(_)) {
            // One of several chunks that were under way: the others have said so.
            return;
        }
        if self.tries >= TRIES_MAX {
            return self.fail(why, true);
        }
        let wait_ms = asked_ms.unwrap_or_else(|| moment.jitter_ms(bound_ms(self.tries)));
        self.tries += 1;
        self.phase = Phase::Cut { until_ms: moment.now_ms + RETRY_MS_MIN + wait_ms };
    }

    /// Nothing more happens by itself.
    pub fn fail(&mut self, why: &str, hopeful: bool) {
        self.hopeful = hopeful;
        self.phase = Phase::Failed(why.to_owned());
    }

    /// A person wants another attempt. What is there stays there; the commit is another one, for the answer to the last is kept.
    pub fn retry(&mut self, key: ClientMessageId) {
        if self.hopeful && matches!(self.phase, Phase::Failed(_)) {
            self.key = key;
            (self.tries, self.commits) = (0, 0);
            self.phase = Phase::Queued;
        }
    }

    /// There is a connection again, so what waits for one goes on. What is under way is given up if the connection is another
    /// one (`is_other`), or if it has been under way for so long that the break may have swallowed it.
    pub fn wake(&mut self, now_ms: u64, is_other: bool) -> Vec<Call> {
        let calls = if is_other || self.is_stalled(now_ms) { self.drop_calls() } else { Vec::new() };
        if matches!(self.phase, Phase::Cut { .. }) || (self.is_active() && !calls.is_empty()) {
            self.phase = Phase::Cut { until_ms: now_ms };
        }
        calls
    }

    /// Calls that have been silent for too long; they are to be broken off.
    pub fn expire(&mut self, moment: &Moment) -> Vec<Call> {
        let now_ms = moment.now_ms;
        let mut calls = Vec::new();
        for chunk in &mut self.chunks {
            if let ChunkState::UnderWay { call, since_ms } = chunk.state
                && now_ms >= since_ms + CHUNK_WAIT_MS
            {
                chunk.state = ChunkState::Missing;
                self.narrow = true;
                calls.push(call);
            }
        }
        if let Some((call, since_ms)) = self.asked()
            && now_ms >= since_ms + CALL_WAIT_MS
        {
            calls.push(call);
        }
        if !calls.is_empty() {
            self.again(moment, None, t("the server does not answer"));
        }
        calls
    }

    /// Gives up every call.
    pub fn drop_calls(&mut self) -> Vec<Call> {
        let mut calls: Vec<Call> = self.asked().map(|(call, _)| call).into_iter().collect();
        for chunk in &mut self.chunks {
            if let ChunkState::UnderWay { call, .. } = chunk.state {
                chunk.state = ChunkState::Missing;
                calls.push(call);
            }
        }
        calls
    }

    /// Whether something has been under way for longer than it should be.
    fn is_stalled(&self, now_ms: u64) -> bool {
        let chunks = self.chunks.iter().filter_map(|chunk| match chunk.state {
            ChunkState::UnderWay { since_ms, .. } => Some(since_ms),
            _ => None,
        });
        let asked = self.asked().map(|(_, since_ms)| since_ms);
        chunks.chain(asked).any(|since_ms| now_ms >= since_ms + STALLED_MS)
    }

    fn asked(&self) -> Option<(Call, u64)> {
        match self.phase {
            Phase::Beginning { call, since_ms }
            | Phase::Asking { call, since_ms }
            | Phase::Committing { call, since_ms } => Some((call, since_ms)),
            _ => None,
        }
    }

    /// When [`Self::expire`] or, if something may begin, [`Self::next`] should be asked again.
    pub fn deadline_ms(&self, may_begin: bool) -> Option<u64> {
        let chunks = self.chunks.iter().filter_map(|chunk| match chunk.state {
            ChunkState::UnderWay { since_ms, .. } => Some(since_ms + CHUNK_WAIT_MS),
            _ => None,
        });
        let phase = match self.phase {
            // With chunks under way the answer to one of them is waited for.
            Phase::Cut { until_ms } => (may_begin && self.under_way() == 0).then_some(until_ms),
            _ => self.asked().map(|(_, since_ms)| since_ms + CALL_WAIT_MS),
        };
        chunks.chain(phase).min()
    }

    fn length(&self, number: u64) -> u64 {
        self.size.saturating_sub(number * self.chunk_bytes).min(self.chunk_bytes)
    }
}
