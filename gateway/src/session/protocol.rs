//! The rules of a session: frames and time in, effects out. Pure: no socket, no clock, no replica.
//!
//! Owns what a client may say when, how fast, and in which order its commands go. Must not know how an effect is
//! carried out.
//!
//! ```text
//!  waiting ──hello──▶ opening ──opened──▶ live ──▶ closed
//!     └── anything else, or 10 s ───────────────────▲
//! ```

use std::collections::{HashMap, HashSet, VecDeque};

use quorate_proto::error::{CloseCode, ErrorCode, WireError};
use quorate_proto::frame::{Ack, Action, Body, ClientFrame, PresenceState, Request, ServerFrame};
use quorate_proto::ids::ConversationId;
use quorate_proto::limits::{SessionLimits, TOKEN_LEEWAY_MS};

use super::check::{check_action, check_send, check_text};
use super::codec::Parsed;
use super::effect::{Effect, Farewell, Lane, Query, Task};
use super::marks::Marks;
use super::presence::Presence;
use super::rates::{Bucket, Rate};

/// Commands of one session that wait or are under way; a client that pipelines more is told to slow down.
const COMMANDS_QUEUED_MAX: usize = 256;
/// Reads of one session under way.
const READS_MAX: usize = 16;
/// A read mark goes out at most once in this time per conversation, ms.
const READ_MARK_INTERVAL_MS: u64 = 2_000;
/// The same of what has reached the device, ms.
const DELIVERED_MARK_INTERVAL_MS: u64 = 1_000;
/// Typing in one conversation goes on its way at most once in this time, ms: it lasts for six times as long.
const TYPING_INTERVAL_MS: u64 = 1_000;
/// A program's token that nobody can say anything about is looked at again after this, ms.
const RECHECK_RETRY_MS: u64 = 2_000;
/// What a client is told to wait when its queue is full, ms.
const BUSY_RETRY_MS: u64 = 250;

/// Times of a session, ms.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Until `hello`.
    pub hello_wait_ms: u64,
    /// Between pings.
    pub ping_interval_ms: u64,
    /// Until a pong.
    pub pong_wait_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Opening,
    Live,
    Closed,
}

#[derive(Debug)]
struct Queued {
    id: u64,
    asked_ms: u64,
    task: Task,
}

/// See the module. All times are ms of the caller's monotonic clock, but for the token's end.
#[derive(Debug)]
pub struct Protocol {
    phase: Phase,
    limits: SessionLimits,
    times: Times,
    frames: Bucket,
    hello_until_ms: u64,
    ping_at_ms: u64,
    ping_number: u64,
    pong_until_ms: Option<u64>,
    /// Wall clock.
    token_ends_ms: u64,
    /// When a program's token is to be looked at again, if the session is one's.
    recheck_at_ms: Option<u64>,
    /// Why no signals are taken, if none are: the token's missing scope.
    mute: Option<WireError>,
    lanes: HashMap<Lane, VecDeque<Queued>>,
    commands: usize,
    reads: usize,
    reads_told: Marks,
    delivered_told: Marks,
    /// Conversations whose signals are wanted.
    rooms: HashSet<ConversationId>,
    /// Where the user typed and when that was said last.
    typing: HashMap<ConversationId, u64>,
    presence: Presence,
    /// Questions after gaps that cost nothing: what was let go was not the client's choice.
    since_free: u32,
}

impl Protocol {
    /// A socket was accepted.
    pub fn new(limits: SessionLimits, times: Times, now_ms: u64) -> Self {
        Self {
            phase: Phase::Waiting,
            limits,
            times,
            frames: Bucket::default(),
            hello_until_ms: now_ms + times.hello_wait_ms,
            ping_at_ms: u64::MAX,
            ping_number: 0,
            pong_until_ms: None,
            token_ends_ms: u64::MAX,
            recheck_at_ms: None,
            mute: None,
            lanes: HashMap::new(),
            commands: 0,
            reads: 0,
            reads_told: Marks::new(READ_MARK_INTERVAL_MS),
            delivered_told: Marks::new(DELIVERED_MARK_INTERVAL_MS),
            rooms: HashSet::new(),
            typing: HashMap::new(),
            presence: Presence::default(),
            since_free: 0,
        }
    }

    /// Whether frames are taken from the socket: not while the session opens, which holds a hasty client back.
    pub fn reads_frames(&self) -> bool {
        matches!(self.phase, Phase::Waiting | Phase::Live)
    }

    /// Whether `welcome` was said.
    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// Whether no command is under way.
    pub fn is_settled(&self) -> bool {
        self.commands == 0
    }

    /// When [`Self::tick`] has something to do.
    pub fn wake_at_ms(&self) -> u64 {
        match self.phase {
            Phase::Waiting => self.hello_until_ms,
            Phase::Opening | Phase::Closed => u64::MAX,
            Phase::Live => {
                let told = [
                    self.recheck_at_ms,
                    self.reads_told.wake_at_ms(),
                    self.delivered_told.wake_at_ms(),
                    self.presence.wake_at_ms(),
                ];
                let told = told.into_iter().flatten().min().unwrap_or(u64::MAX);
                self.ping_at_ms.min(self.pong_until_ms.unwrap_or(u64::MAX)).min(told)
            }
        }
    }

    /// A message that is no frame.
    pub fn malformed(&mut self, reason: String) -> Effect {
        self.close(Farewell::new(CloseCode::Malformed, reason))
    }

    fn close(&mut self, farewell: Farewell) -> Effect {
        self.phase = Phase::Closed;
        Effect::Close(farewell)
    }

    /// A frame. `admit_send` takes one from the user's rate into a conversation, or says after how many ms.
    pub fn frame(
        &mut self,
        now_ms: u64,
        parsed: Parsed,
        admit_send: impl FnOnce(ConversationId) -> Result<(), u64>,
    ) -> Option<Effect> {
        match self.phase {
            Phase::Closed => return None,
            Phase::Opening => {
                return Some(self.malformed("wait for `welcome` before the next frame".to_owned()));
            }
            Phase::Waiting => {
                return Some(match parsed {
                    Parsed::Frame(ClientFrame { id, request: Request::Hello(hello) }) => {
                        self.phase = Phase::Opening;
                        Effect::Open { id, hello: Box::new(hello) }
                    }
                    Parsed::Invalid { what, .. } => self.malformed(what),
                    _ => self.malformed("the first frame must be `hello`".to_owned()),
                });
            }
            Phase::Live => {}
        }
        let after_gap = self.since_free > 0
            && matches!(&parsed, Parsed::Frame(ClientFrame { request: Request::Since { .. }, .. }));
        self.since_free -= u32::from(after_gap);
        let free = after_gap
            || matches!(
                &parsed,
                Parsed::Frame(ClientFrame {
                    request: Request::Send(_) | Request::Edit(_) | Request::Pong { .. },
                    ..
                })
            );
        if !free
            && let Some(rate) = Rate::per_second(self.limits.frames_per_second, self.limits.frames_burst)
            && let Err(retry_ms) = self.frames.take(rate, now_ms)
        {
            let id = match &parsed {
                Parsed::Frame(frame) => frame.id,
                Parsed::Unsupported { id, .. } | Parsed::Invalid { id, .. } => *id,
            };
            return Some(error(id, ErrorCode::RateLimited, "too many frames", Some(retry_ms)));
        }
        match parsed {
            Parsed::Frame(frame) => self.request(now_ms, frame, admit_send),
            Parsed::Unsupported { id, name } => {
                Some(error(id, ErrorCode::Unsupported, &format!("no frame of type {name:?} is known"), None))
            }
            Parsed::Invalid { id, what } => Some(error(id, ErrorCode::Malformed, &what, None)),
        }
    }

    fn request(
        &mut self,
        now_ms: u64,
        frame: ClientFrame,
        admit_send: impl FnOnce(ConversationId) -> Result<(), u64>,
    ) -> Option<Effect> {
        let id = frame.id;
        if let Some(error) = &self.mute
            && matches!(
                frame.request,
                Request::Typing { .. } | Request::Presence { .. } | Request::Delivered { .. }
            )
        {
            return Some(write(ServerFrame::error(id, error.clone())));
        }
        match frame.request {
            Request::Hello(_) => Some(self.malformed("`hello` was said already".to_owned())),
            Request::Auth { token } => Some(Effect::Renew { id, token }),
            Request::Send(send) => self.written(now_ms, id, send.conversation, Task::Send(send), admit_send),
            // A text like any other: it counts as a send, and goes in the same lane.
            Request::Edit(edit) => self.written(now_ms, id, edit.conversation, Task::Edit(edit), admit_send),
            Request::Delete(asked) => {
                self.asked(now_ms, Lane::Conversation(asked.conversation), id, Task::Delete(asked))
            }
            Request::React(asked) => {
                self.asked(now_ms, Lane::Conversation(asked.conversation), id, Task::React(asked))
            }
            Request::Pin(asked) => {
                self.asked(now_ms, Lane::Conversation(asked.conversation), id, Task::Pin(asked))
            }
            Request::Do(asked) => {
                if let Err(error) = check_action(&asked.command, self.limits.text_bytes_max) {
                    return Some(write(ServerFrame::error(id, error)));
                }
                let lane = match asked.command {
                    Action::Draft { .. } => Lane::Drafts,
                    _ => Lane::Commands,
                };
                self.asked(now_ms, lane, id, Task::Do(asked))
            }
            Request::Read { conversation, sequence } => {
                let now = self.reads_told.offer(now_ms, conversation, sequence);
                now.then_some(Effect::MarkRead { conversation, sequence })
            }
            Request::Delivered { conversation, sequence } => {
                let now = self.delivered_told.offer(now_ms, conversation, sequence);
                now.then_some(Effect::Delivered { conversation, sequence })
            }
            Request::Typing { conversation } => self.typing(now_ms, conversation),
            Request::Presence { state: PresenceState::Offline | PresenceState::Unknown } => {
                Some(error(id, ErrorCode::Invalid, "say active, idle, dnd or invisible", None))
            }
            Request::Presence { state } => {
                // Said again it is no news.
                self.presence.offer(now_ms, state).map(Effect::Presence)
            }
            Request::Close { conversation } => {
                self.rooms.remove(&conversation).then_some(Effect::Unwatch(conversation))
            }
            Request::History(mut history) => {
                let ways = [history.before, history.after, history.around].into_iter().flatten().count();
                if ways > 1 {
                    return Some(error(id, ErrorCode::Invalid, "give one of before, after, around", None));
                }
                let max = self.limits.history_messages_max;
                history.limit = if history.limit == 0 { max.min(50) } else { history.limit.min(max) };
                self.read(id, Query::History(history))
            }
            Request::Since { pairs, limit } => {
                let pairs_max = self.limits.since_pairs_max;
                if pairs.len() > pairs_max {
                    let message = format!("at most {pairs_max} pairs");
                    return Some(error(id, ErrorCode::TooLarge, &message, None));
                }
                let max = self.limits.since_events_max;
                let limit = if limit == 0 { max } else { limit.min(max) };
                self.read(id, Query::Since { pairs, limit })
            }
            Request::Open { conversation, signals } => {
                let rooms_max = self.limits.open_rooms_max;
                if signals && self.rooms.len() >= rooms_max && !self.rooms.contains(&conversation) {
                    let message = format!("at most {rooms_max} conversations are open: close one");
                    return Some(error(id, ErrorCode::TooLarge, &message, None));
                }
                let effect = self.read(id, Query::Open { conversation, signals });
                if signals && matches!(effect, Some(Effect::Read { .. })) {
                    self.rooms.insert(conversation);
                }
                effect
            }
            Request::Pong { n } => {
                if n == self.ping_number {
                    self.pong_until_ms = None;
                }
                None
            }
        }
    }

    // ---- commands ----

    /// A text for a conversation.
    fn written(
        &mut self,
        now_ms: u64,
        id: u64,
        conversation: ConversationId,
        task: Task,
        admit_send: impl FnOnce(ConversationId) -> Result<(), u64>,
    ) -> Option<Effect> {
        let bytes_max = self.limits.text_bytes_max;
        let checked = match &task {
            Task::Send(send) => check_send(send, bytes_max),
            Task::Edit(edit) => check_text(&edit.text, bytes_max),
            Task::Delete(_) | Task::React(_) | Task::Pin(_) | Task::Do(_) => Ok(()),
        };
        if let Err(error) = checked {
            return Some(write(ServerFrame::error(id, error)));
        }
        if self.commands >= COMMANDS_QUEUED_MAX {
            return Some(too_many_commands(id));
        }
        if let Err(retry_ms) = admit_send(conversation) {
            return Some(error(id, ErrorCode::RateLimited, "too many messages", Some(retry_ms)));
        }
        self.enqueue(now_ms, Lane::Conversation(conversation), id, task)
    }

    /// A command that is no text for a conversation.
    fn asked(&mut self, now_ms: u64, lane: Lane, id: u64, task: Task) -> Option<Effect> {
        if self.commands >= COMMANDS_QUEUED_MAX {
            return Some(too_many_commands(id));
        }
        self.enqueue(now_ms, lane, id, task)
    }

    fn enqueue(&mut self, now_ms: u64, lane: Lane, id: u64, task: Task) -> Option<Effect> {
        self.commands += 1;
        let queue = self.lanes.entry(lane).or_default();
        queue.push_back(Queued { id, asked_ms: now_ms, task });
        // One unacknowledged command a lane: a retry then never overtakes what came before it.
        (queue.len() == 1).then(|| submit(lane, &queue[0]))
    }

    /// The command at the head of a lane has its answer.
    pub fn settled(&mut self, lane: Lane, result: Result<Ack, WireError>) -> Vec<Effect> {
        let Some(queue) = self.lanes.get_mut(&lane) else { return Vec::new() };
        let Some(head) = queue.pop_front() else { return Vec::new() };
        self.commands -= 1;
        let mut effects = Vec::new();
        match result {
            Ok(ack) => effects.push(write(ServerFrame::reply(head.id, Body::Ack(ack)))),
            Err(problem) => {
                if problem.temporary {
                    // The client will try this one again: what was queued behind it must not be applied before.
                    for behind in queue.drain(..) {
                        self.commands -= 1;
                        effects.push(write(ServerFrame::error(behind.id, problem.clone())));
                    }
                }
                effects.insert(0, write(ServerFrame::error(head.id, problem)));
            }
        }
        match queue.front() {
            Some(next) => effects.push(submit(lane, next)),
            None => {
                self.lanes.remove(&lane);
            }
        }
        effects
    }

    // ---- signals ----

    fn typing(&mut self, now_ms: u64, conversation: ConversationId) -> Option<Effect> {
        self.typing.retain(|_, said_ms| *said_ms + TYPING_INTERVAL_MS > now_ms);
        if self.typing.len() >= self.limits.open_rooms_max || self.typing.contains_key(&conversation) {
            return None;
        }
        self.typing.insert(conversation, now_ms);
        Some(Effect::Typing(conversation))
    }

    /// Whether the client wants a conversation's signals.
    pub fn wants(&self, conversation: ConversationId) -> bool {
        self.rooms.contains(&conversation)
    }

    /// The reader was told that a conversation is hers: what she opened before she was told begins now.
    pub fn added(&self, conversation: ConversationId) -> Option<Effect> {
        self.wants(conversation).then_some(Effect::Watch(conversation))
    }

    /// A conversation could not be opened, or is no longer the reader's.
    pub fn closed_room(&mut self, conversation: ConversationId) {
        self.rooms.remove(&conversation);
    }

    /// A `gap` was told: one question after it is free.
    pub fn gap_told(&mut self) {
        self.since_free = self.since_free.saturating_add(1);
    }

    // ---- reads ----

    fn read(&mut self, id: u64, query: Query) -> Option<Effect> {
        if self.reads >= READS_MAX {
            return Some(error(id, ErrorCode::RateLimited, "too many reads at once", Some(BUSY_RETRY_MS)));
        }
        self.reads += 1;
        Some(Effect::Read { id, query })
    }

    /// A read was answered.
    pub fn answered(&mut self) {
        self.reads = self.reads.saturating_sub(1);
    }

    // ---- life ----

    /// `welcome` was written. `token_ends_ms` is by the wall clock.
    pub fn opened(&mut self, now_ms: u64, token_ends_ms: u64) {
        self.phase = Phase::Live;
        self.ping_at_ms = now_ms + self.times.ping_interval_ms;
        self.token_ends_ms = token_ends_ms;
    }

    /// The session is a program's: its token lasts until it is ended, and is looked at again and again. `mute` says why signals are
    /// not taken from it.
    pub fn programmed(&mut self, now_ms: u64, recheck_ms: u64, mute: Option<WireError>) {
        self.token_ends_ms = u64::MAX;
        self.recheck_at_ms = Some(now_ms + recheck_ms);
        self.mute = mute;
    }

    /// A program's token was looked at again: when next, or why it is good no more. While nobody can say, the session goes on: the
    /// replicas look at whatever it does.
    pub fn rechecked(&mut self, now_ms: u64, result: Result<u64, WireError>) -> Option<Effect> {
        match result {
            Ok(recheck_ms) => self.recheck_at_ms = Some(now_ms + recheck_ms),
            Err(problem) if problem.temporary => self.recheck_at_ms = Some(now_ms + RECHECK_RETRY_MS),
            Err(problem) => return Some(self.close(Farewell::new(CloseCode::BadToken, problem.message))),
        }
        None
    }

    /// A fresh token was checked.
    pub fn renewed(&mut self, id: u64, result: Result<u64, WireError>) -> Effect {
        match result {
            Ok(token_ends_ms) => {
                // A program's, shown again, is looked at as before.
                if self.token_ends_ms != u64::MAX {
                    self.token_ends_ms = token_ends_ms;
                }
                write(ServerFrame::reply(id, Body::Ok))
            }
            Err(problem) => write(ServerFrame::error(id, problem)),
        }
    }

    /// Time passed. `writable`: a fresh token can be had, so an expired one ends the session.
    pub fn tick(&mut self, now_ms: u64, wall_ms: u64, writable: bool) -> Vec<Effect> {
        match self.phase {
            Phase::Waiting if now_ms >= self.hello_until_ms => {
                return vec![self.close(Farewell::new(CloseCode::NoHello, "no `hello` in time"))];
            }
            Phase::Live => {}
            _ => return Vec::new(),
        }
        if self.pong_until_ms.is_some_and(|until| now_ms >= until) {
            return vec![self.close(Farewell::new(CloseCode::NoPong, "a ping was not answered"))];
        }
        if writable && wall_ms >= self.token_ends_ms.saturating_add(TOKEN_LEEWAY_MS) {
            let reason = "the access token has expired: refresh it and resume";
            return vec![self.close(Farewell::new(CloseCode::TokenExpired, reason))];
        }
        let mut effects = Vec::new();
        if self.recheck_at_ms.take_if(|at_ms| now_ms >= *at_ms).is_some() {
            effects.push(Effect::Recheck);
        }
        if now_ms >= self.ping_at_ms {
            self.ping_at_ms = now_ms + self.times.ping_interval_ms;
            self.ping_number += 1;
            self.pong_until_ms = Some(now_ms + self.times.pong_wait_ms);
            effects.push(Effect::Ping { n: self.ping_number });
        }
        for (conversation, sequence) in self.reads_told.due(now_ms) {
            effects.push(Effect::MarkRead { conversation, sequence });
        }
        for (conversation, sequence) in self.delivered_told.due(now_ms) {
            effects.push(Effect::Delivered { conversation, sequence });
        }
        effects.extend(self.presence.due(now_ms).map(Effect::Presence));
        effects
    }
}

fn write(frame: ServerFrame) -> Effect {
    Effect::Write(Box::new(frame))
}

fn too_many_commands(id: u64) -> Effect {
    error(id, ErrorCode::RateLimited, "too many commands wait", Some(BUSY_RETRY_MS))
}

fn error(id: u64, code: ErrorCode, message: &str, retry_ms: Option<u64>) -> Effect {
    let mut error = WireError::new(code, message);
    error.retry_ms = retry_ms;
    write(ServerFrame::error(id, error))
}

fn submit(lane: Lane, queued: &Queued) -> Effect {
    Effect::Submit { lane, task: Box::new(queued.task.clone()), asked_ms: queued.asked_ms }
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
