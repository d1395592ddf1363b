//! All uploads, by conversation, and the messages that wait for them.

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::Attachment;
use quorate_proto::ids::{ClientMessageId, ConversationId, Sequence};
use quorate_proto::limits::SessionLimits;

use super::{
    CHUNKS_UNDER_WAY_MAX, Call, Phase, Step, Told, UPLOADS_ACTIVE_MAX, UPLOADS_MAX, Upload, UploadId,
};
use crate::moment::Moment;
use crate::outbox::refused_here;
use crate::view::size_words;
use crate::words::tf;

/// A message that goes when its files are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// As typed.
    pub text: String,
    /// The message answered to.
    pub reply_to: Option<Sequence>,
}

/// Whether a message can show what was chosen for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// Nothing was chosen.
    None,
    /// Not all of it is there yet.
    NotYet,
    /// One cannot be had; a person decides.
    Failed,
    /// All of it, in the order in which it was chosen.
    Files(Vec<Attachment>),
}

/// A step of an upload, and the call that it is.
pub type Turn = (UploadId, Call, Step);

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Uploads {
    uploads: Vec<Upload>,
    waiting: Vec<(ConversationId, Waiting)>,
    calls: Call,
}

impl Uploads {
    /// Takes a file that was chosen.
    ///
    /// # Errors
    /// When there are too many. One that is too large is taken, as failed: it is seen among the others.
    pub fn add(
        &mut self,
        id: UploadId,
        conversation: ConversationId,
        (name, size): (&str, u64),
        key: ClientMessageId,
        limits: &SessionLimits,
    ) -> Result<(), WireError> {
        let max = limits.attachments_max;
        if self.of(conversation).count() >= max {
            let message = tf("a message shows at most {} files: send these first", &[&max]);
            return Err(refused_here(ErrorCode::TooLarge, &message));
        }
        if self.uploads.len() >= UPLOADS_MAX {
            let message = tf("at most {} files can be on their way at a time", &[&UPLOADS_MAX]);
            return Err(refused_here(ErrorCode::TooLarge, &message));
        }
        let mut upload = Upload::new(id, conversation, name, size, key);
        if size > limits.file_bytes_max {
            let most = size_words(limits.file_bytes_max);
            upload.fail(&tf("the file is too large: {} of at most {}", &[&size_words(size), &most]), false);
        }
        self.uploads.push(upload);
        Ok(())
    }

    /// What was chosen for a conversation, in that order.
    pub fn of(&self, conversation: ConversationId) -> impl Iterator<Item = &Upload> {
        self.uploads.iter().filter(move |upload| upload.conversation == conversation)
    }

    /// Whether something would be lost if the page were closed.
    pub fn has_any(&self) -> bool {
        !self.uploads.is_empty()
    }

    /// What a message can show now.
    pub fn ready(&self, conversation: ConversationId) -> Ready {
        let mut files = Vec::new();
        let mut ready = Ready::None;
        for upload in self.of(conversation) {
            match &upload.phase {
                Phase::Failed(_) => return Ready::Failed,
                Phase::Committed(file) => files.push(file.clone()),
                _ => ready = Ready::NotYet,
            }
        }
        if ready == Ready::None && !files.is_empty() { Ready::Files(files) } else { ready }
    }

    /// A message waits for the files of its conversation.
    pub fn wait(&mut self, conversation: ConversationId, waiting: Waiting) {
        self.stop_waiting(conversation);
        self.waiting.push((conversation, waiting));
    }

    /// The message that waits there.
    pub fn waiting(&self, conversation: ConversationId) -> Option<&Waiting> {
        self.waiting.iter().find(|(of, _)| *of == conversation).map(|(_, waiting)| waiting)
    }

    /// It waits no longer. True if one did.
    pub fn stop_waiting(&mut self, conversation: ConversationId) -> bool {
        let waited = self.waiting.len();
        self.waiting.retain(|(of, _)| *of != conversation);
        waited > self.waiting.len()
    }

    /// Something else stands in the composer than what waits: then its writer says again when it is to go. True if so.
    pub fn typed(&mut self, conversation: ConversationId, text: &str, reply_to: Option<Sequence>) -> bool {
        let waits = self.waiting(conversation);
        let is_other = waits.is_some_and(|waits| waits.text != text.trim_end() || waits.reply_to != reply_to);
        is_other && self.stop_waiting(conversation)
    }

    /// Messages whose files are there by now.
    pub fn take_waiting(&mut self) -> Vec<(ConversationId, Waiting)> {
        let waiting = std::mem::take(&mut self.waiting);
        let (still, done) =
            waiting.into_iter().partition(|(conversation, _)| self.ready(*conversation) == Ready::NotYet);
        self.waiting = still;
        done
    }

    /// A message has taken the files of its conversation: they are let go here.
    pub fn taken(&mut self, conversation: ConversationId) -> Vec<Turn> {
        self.stop_waiting(conversation);
        let (gone, kept) = std::mem::take(&mut self.uploads)
            .into_iter()
            .partition(|upload: &Upload| upload.conversation == conversation);
        self.uploads = kept;
        gone.into_iter().flat_map(|upload: Upload| let_go(upload, None)).collect()
    }

    /// A person takes a file back.
    pub fn remove(&mut self, id: UploadId, key: ClientMessageId) -> (Option<ConversationId>, Vec<Turn>) {
        let Some(at) = self.uploads.iter().position(|upload| upload.id == id) else {
            return (None, Vec::new());
        };
        let upload = self.uploads.remove(at);
        (Some(upload.conversation), let_go(upload, Some(key)))
    }

    /// A file is let go here; the server keeps what it has of it.
    pub fn let_go(&mut self, id: UploadId) -> (Option<ConversationId>, Vec<Turn>) {
        let Some(at) = self.uploads.iter().position(|upload| upload.id == id) else {
            return (None, Vec::new());
        };
        let upload = self.uploads.remove(at);
        (Some(upload.conversation), let_go(upload, None))
    }

    /// Nobody is signed in any more.
    pub fn clear(&mut self) -> Vec<Turn> {
        self.waiting.clear();
        std::mem::take(&mut self.uploads).into_iter().flat_map(|upload| let_go(upload, None)).collect()
    }

    /// A person wants another attempt, and now.
    pub fn retry(
        &mut self,
        now_ms: u64,
        id: UploadId,
        key: ClientMessageId,
    ) -> (Option<ConversationId>, Vec<Turn>) {
        let Some(upload) = self.uploads.iter_mut().find(|upload| upload.id == id) else {
            return (None, Vec::new());
        };
        upload.retry(key);
        let calls =
            if matches!(upload.phase, Phase::Cut { .. }) { upload.wake(now_ms, true) } else { Vec::new() };
        (Some(upload.conversation), aborts(id, calls).collect())
    }

    /// There is a connection again; with `is_other` another one than before.
    pub fn wake(&mut self, now_ms: u64, is_other: bool) -> Vec<Turn> {
        let mut turns = Vec::new();
        for upload in &mut self.uploads {
            turns.extend(aborts(upload.id, upload.wake(now_ms, is_other)));
        }
        turns
    }

    /// What came of a step; the conversation, if it counts, and what is to be broken off.
    pub fn told(
        &mut self,
        moment: &Moment,
        id: UploadId,
        call: Call,
        told: Told,
    ) -> (Option<ConversationId>, Vec<Turn>) {
        let Some(upload) = self.uploads.iter_mut().find(|upload| upload.id == id) else {
            return (None, Vec::new());
        };
        if !upload.told(moment, call, told) {
            return (None, Vec::new());
        }
        let conversation = upload.conversation;
        let failed = matches!(upload.phase, Phase::Failed(_));
        let calls = if failed { upload.drop_calls() } else { Vec::new() };
        let mut turns: Vec<Turn> = aborts(id, calls).collect();
        if upload.committed().is_some() {
            turns.push((id, 0, Step::Release));
        }
        if failed {
            // The text stays in the box with what is there, and its writer decides.
            self.stop_waiting(conversation);
        }
        (Some(conversation), turns)
    }

    /// What is to be done now; `may_begin`: there is a network, and a token. Chunks go in turn where several uploads have some.
    pub fn take_turns(&mut self, moment: &Moment, may_begin: bool) -> (Vec<ConversationId>, Vec<Turn>) {
        let (mut changed, mut turns, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for upload in &mut self.uploads {
            let calls = upload.expire(moment);
            if !calls.is_empty() {
                changed.push(upload.conversation);
                turns.extend(aborts(upload.id, calls));
            }
            if matches!(upload.phase, Phase::Failed(_)) {
                turns.extend(aborts(upload.id, upload.drop_calls()));
                failed.push(upload.conversation);
            }
        }
        self.waiting.retain(|(conversation, _)| !failed.contains(conversation));
        if !may_begin {
            return (changed, turns);
        }
        loop {
            let active = self.uploads.iter().filter(|upload| upload.is_active()).count();
            let room = self.uploads.iter().map(Upload::under_way).sum::<usize>() < CHUNKS_UNDER_WAY_MAX;
            // Who has the fewest chunks under way comes first, then who was chosen first.
            let mut turn = None;
            for under_way in 0..=CHUNKS_UNDER_WAY_MAX {
                let calls = &mut self.calls;
                let even = self.uploads.iter_mut().filter(|upload| upload.under_way() == under_way);
                turn = even
                    .filter(|upload| upload.phase != Phase::Queued || active < UPLOADS_ACTIVE_MAX)
                    .find_map(|upload| {
                        let (call, step) = upload.next(moment.now_ms, room, calls)?;
                        Some((upload.conversation, (upload.id, call, step)))
                    });
                if turn.is_some() {
                    break;
                }
            }
            let Some((conversation, turn)) = turn else { break };
            changed.push(conversation);
            turns.push(turn);
        }
        (changed, turns)
    }

    /// When [`Self::take_turns`] should be asked again.
    pub fn deadline_ms(&self, may_begin: bool) -> Option<u64> {
        self.uploads.iter().filter_map(|upload| upload.deadline_ms(may_begin)).min()
    }
}

fn aborts(id: UploadId, calls: Vec<Call>) -> impl Iterator<Item = Turn> {
    calls.into_iter().map(move |call| (id, 0, Step::Abort(call)))
}

/// Its calls are broken off and its bytes let go; with a key, what the server has of it as well.
fn let_go(mut upload: Upload, key: Option<ClientMessageId>) -> Vec<Turn> {
    let id = upload.id;
    let mut turns: Vec<Turn> = aborts(id, upload.drop_calls()).collect();
    if let (Some(key), Some(file), Some(_)) = (key, upload.file(), upload.committed()) {
        turns.push((id, 0, Step::Delete { file, key }));
    }
    turns.push((id, 0, Step::Release));
    turns
}
