//! The client: everything between a person's hands and a socket, as one state machine.
//!
//! Owns: the connection's life, the outbox, the conversations, the position. [`Client::handle`] takes what happened and
//! returns what to do; [`Client::deadline_ms`] says when to call it with [`Input::Tick`]. Must not know: sockets, clocks,
//! storage, browsers.
//!
//! ```text
//!  Input + Moment ──▶ handle ──▶ link (connect, hello, welcome, drain)     ──▶ Effects
//!                        │        sync (events, versions, position)
//!                        │        sending (outbox, commands, read marks)
//!                        │        looking (old messages that may be there already)
//!                        │        uploading (files for messages)
//!                        │        keeping (what a reload without a network shows)
//!                        │        signals (typing, presence, receipts)
//!                        └──▶     asking (history, since)       deadline_ms ──▶ one timer
//! ```

mod asking;
mod keeping;
mod link;
mod looking;
mod sending;
mod signals;
mod sync;
#[cfg(test)]
mod tests;
mod uploading;

use quorate_proto::error::WireError;
use quorate_proto::frame::{User, WriteState};
use quorate_proto::ids::{ClientMessageId, ConversationId, Index, Sequence};
use quorate_proto::limits::SessionLimits;

use crate::backoff::Backoff;
use crate::banner::{Banner, BannerDelay};
use crate::command::{Commands, Deed};
use crate::conversation::Conversation;
use crate::drafts::{Draft, Drafts};
use crate::event::{Change, Changes, Effect, Input, SocketId};
use crate::moment::Moment;
use crate::ordered::OrderedMap;
use crate::outbox::Outbox;
use crate::own::Own;
use crate::position::Position;
use crate::upload::Uploads;
use asking::OwnTopic;
pub use keeping::{KEPT_CONVERSATIONS_MAX, Keep, KeptRow};
use link::{Link, Phase, Token};
use looking::Looking;
use signals::Telling;

/// What a client says of itself in `hello`.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// What the user would call this device.
    pub device: String,
    /// The client's own version.
    pub app: String,
    /// Messages of a conversation that are held and shown at a time, wherever in its history the reader is; `None`: the newest
    /// [`TIMELINE_MESSAGES_MAX`](crate::timeline::TIMELINE_MESSAGES_MAX), and what is further back cannot be seen.
    pub window: Option<usize>,
}

/// What the details drawer shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// Name of the gateway; empty before the first `welcome`.
    pub gateway: String,
    /// The cluster; empty before the first `welcome`.
    pub cluster: String,
    /// This socket's session.
    pub session: String,
    /// What a resume would start from.
    pub position: Index,
    /// The highest index seen.
    pub seen: Index,
    /// Last measured round trip to the gateway, ms.
    pub round_trip_ms: Option<u64>,
    /// The write path.
    pub write: WriteState,
    /// The leading replica, if it is known.
    pub leader: Option<u64>,
    /// Whether a session is live.
    pub live: bool,
    /// Messages that are not committed yet.
    pub outbox: usize,
    /// Sessions opened so far, resumes included.
    pub sockets: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Client {
    config: Config,
    me: Option<User>,
    phase: Phase,
    token: Option<Token>,
    /// The socket that carries the session.
    link: Option<Link>,
    /// The socket that will, once it has resumed (after `drain`).
    next_link: Option<Link>,
    sockets: SocketId,
    backoff: Backoff,
    token_backoff: Backoff,
    offline: bool,
    banner_delay: BannerDelay,

    cluster: Option<String>,
    session: String,
    gateway: String,
    limits: SessionLimits,
    write: WriteState,
    leader: Option<u64>,
    log_time: u64,
    round_trip_ms: Option<u64>,

    position: Position,
    /// Whether `position` may be resumed from.
    resumable: bool,
    /// The index at which a resume is complete: then the summaries' versions must have been reached.
    resume_ends: Option<Index>,
    own: OwnTopic,
    /// Boxed: thousands are possible, and a row of them moves when one comes in between.
    conversations: OrderedMap<ConversationId, Box<Conversation>>,
    focused: Option<ConversationId>,
    seek_later: Option<(ConversationId, Sequence)>,

    outbox: Outbox,
    looking: Looking,
    commands: Commands,
    drafts: Drafts,
    uploads: Uploads,
    mine: Own,
    reads: OrderedMap<ConversationId, Sequence>,
    /// What the device keeps of each, as a mark.
    kept: OrderedMap<ConversationId, u64>,
    /// The conversations are those that were kept then: no server has told of them yet.
    recalled_at: Option<u64>,
    reads_next_ms: u64,
    counts_next_ms: u64,
    /// The conversation whose count was asked for last.
    counted_last: ConversationId,
    telling: Telling,

    out: Vec<Effect>,
    changed: Changes,
}

impl Client {
    /// A client that nobody has signed in to.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            me: None,
            phase: Phase::SignedOut,
            token: None,
            link: None,
            next_link: None,
            sockets: 0,
            backoff: Backoff::default(),
            token_backoff: Backoff::default(),
            offline: false,
            banner_delay: BannerDelay::default(),
            cluster: None,
            session: String::new(),
            gateway: String::new(),
            limits: SessionLimits::default(),
            write: WriteState::Up,
            leader: None,
            log_time: 0,
            round_trip_ms: None,
            position: Position::default(),
            resumable: false,
            resume_ends: None,
            own: OwnTopic::default(),
            conversations: OrderedMap::default(),
            focused: None,
            seek_later: None,
            outbox: Outbox::default(),
            looking: Looking::default(),
            commands: Commands::default(),
            drafts: Drafts::default(),
            uploads: Uploads::default(),
            mine: Own::default(),
            reads: OrderedMap::default(),
            kept: OrderedMap::default(),
            recalled_at: None,
            reads_next_ms: 0,
            counts_next_ms: 0,
            counted_last: 0,
            telling: Telling::default(),
            out: Vec::new(),
            changed: Changes::default(),
        }
    }

    /// Takes what happened, returns what to do, in order.
    pub fn handle(&mut self, moment: Moment, input: Input) -> Vec<Effect> {
        match input {
            Input::Granted(grant) => self.granted(&moment, grant),
            Input::RefreshFailed { denied } => self.refresh_failed(&moment, denied),
            Input::Opened(socket) => self.opened(&moment, socket),
            Input::Text(socket, text) => self.text(&moment, socket, &text),
            Input::Closed(socket, code) => self.closed(&moment, socket, code),
            Input::Online => self.nudged(&moment, true),
            Input::Visible => self.nudged(&moment, false),
            Input::Offline => {
                self.offline = true;
                self.changed.insert(Change::Connection);
            }
            Input::TryNow => self.try_now(&moment),
            Input::Tick => {}
            Input::Restore(items) => {
                let items = self.without_committed(items);
                self.outbox.restore(items);
            }
            Input::Recall { head, rows } => self.recall(&head, &rows),
            Input::Elsewhere(items) => {
                for item in self.without_committed(items) {
                    self.outbox.put_elsewhere(item);
                }
            }
            Input::Adopt(ids) => self.adopt(&ids),
            Input::Yield(ids) => self.yield_items(&ids),
            Input::Gone(id) => self.gone(id),
            Input::Send { conversation, text, reply_to } => {
                self.send(&moment, conversation, text, reply_to);
            }
            Input::Attach { upload, conversation, name, size } => {
                self.attach(&moment, upload, conversation, &name, size);
            }
            Input::Hold(conversation) => self.hold(conversation),
            Input::Detach(upload) => self.detach(&moment, upload),
            Input::LetGo(upload) => self.let_go(upload),
            Input::Reattach(upload) => self.reattach(&moment, upload),
            Input::Uploaded(upload, call, told) => self.uploaded(&moment, upload, call, told),
            Input::Retry(id) => self.retry(&moment, id),
            Input::Delete(id) => self.delete(id),
            Input::Focus(conversation) => self.focus(conversation),
            Input::LoadOlder(conversation) => self.load_older(conversation),
            Input::LoadNewer(conversation) => self.load_newer(conversation),
            Input::Latest(conversation) => self.go_to_latest(conversation),
            Input::Look(id, at) => {
                if self.conversations.get_mut(&id).is_some_and(|conversation| conversation.look(at)) {
                    self.changed.insert(Change::Timeline(id));
                }
            }
            Input::MarkRead(conversation, sequence) => self.mark_read(&moment, conversation, sequence),
            Input::Typing(conversation) => self.typing(&moment, conversation),
            Input::Presence(state) => self.set_presence(state),
            Input::Do(id, action) => self.command(id, Deed::Do(action)),
            Input::Ask(id, deed) => self.command(id, deed),
            Input::Forget(id) => {
                self.commands.remove(id, None);
            }
            Input::RestoreDrafts(stored) => {
                self.drafts.restore(stored);
                self.changed.insert(Change::List);
            }
            Input::Forward { conversation, message } => self.forward(&moment, conversation, message),
            Input::Draft(conversation, draft) => self.typed_draft(&moment, conversation, draft),
            Input::DropEdit(conversation, sequence) => {
                self.commands.drop_refused(conversation, sequence);
                self.changed.insert(Change::Timeline(conversation));
            }
            Input::Seek(conversation, sequence) => self.seek(conversation, sequence),
            Input::KnownSaved(messages) => {
                self.mine.known_saved(&messages);
                self.changed.insert(Change::Own);
                self.changed.extend(self.focused.map(Change::Timeline));
            }
            Input::KnownScheduled(items) => {
                self.mine.known_scheduled(items);
                self.changed.insert(Change::Own);
            }
            Input::KnownBlocked(users) => {
                self.mine.known_blocked(users);
                self.changed.insert(Change::Own);
            }
            Input::Measure => self.measure(&moment),
            Input::SignOut => self.sign_out(None),
        }
        self.pump(&moment);
        let mut effects = std::mem::take(&mut self.out);
        effects.extend(std::mem::take(&mut self.changed).into_iter().map(Effect::Changed));
        effects
    }

    /// Whatever time or a change of state has made possible. Idempotent.
    fn pump(&mut self, moment: &Moment) {
        self.pump_link(moment);
        self.pump_uploads(moment);
        self.pump_sending(moment);
        self.pump_asking(moment);
        self.pump_looking(moment);
        self.pump_signals(moment);
        let trouble = self.trouble();
        self.banner_delay.observe(trouble.as_ref(), moment.now_ms);
        if let Some(trouble) = trouble
            && self.banner_delay.due(&trouble, moment.now_ms)
        {
            // The countdown in it changes by itself.
            self.changed.insert(Change::Connection);
        }
    }

    /// When to call [`handle`](Self::handle) with [`Input::Tick`], on the clock of [`Moment::now_ms`]; `None`: nothing is timed.
    pub fn deadline_ms(&self, now_ms: u64) -> Option<u64> {
        let banner = self.trouble().and_then(|trouble| self.banner_delay.deadline_ms(&trouble, now_ms));
        let parts = [
            self.link_deadline_ms(),
            self.sending_deadline_ms(),
            self.asking_deadline_ms(),
            self.looking_deadline_ms(),
            self.signals_deadline_ms(),
            self.uploads_deadline_ms(),
            banner,
        ];
        parts.into_iter().flatten().min()
    }

    fn trouble(&self) -> Option<Banner> {
        match &self.phase {
            Phase::SignedOut => None,
            Phase::Stopped { code, reason } => Some(Banner::Stopped { code: *code, reason: reason.clone() }),
            _ if self.live().is_some() => crate::banner::of_write(self.write),
            _ if self.offline => Some(Banner::Offline),
            Phase::Waiting { until_ms } => Some(match self.next_attempt_ms(*until_ms) {
                Some(at_ms) => Banner::Reconnecting { at_ms },
                None => Banner::Connecting,
            }),
            Phase::Linked => Some(Banner::Connecting),
        }
    }

    // ---- what views read ----

    /// Who is signed in.
    pub fn me(&self) -> Option<&User> {
        self.me.as_ref()
    }

    /// What to say about the connection, if it has been worth saying for a second.
    pub fn banner(&self, now_ms: u64) -> Option<Banner> {
        self.trouble().filter(|trouble| self.banner_delay.due(trouble, now_ms))
    }

    /// The current access token, for REST calls beside the socket.
    pub fn access_token(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.text.as_str()).filter(|text| !text.is_empty())
    }

    /// What the details drawer shows.
    pub fn details(&self) -> Details {
        Details {
            gateway: self.gateway.clone(),
            cluster: self.cluster.clone().unwrap_or_default(),
            session: self.session.clone(),
            position: self.position.position(),
            seen: self.position.seen(),
            round_trip_ms: self.round_trip_ms,
            write: self.write,
            leader: self.leader,
            live: self.live().is_some(),
            outbox: self.outbox.len(),
            sockets: self.sockets,
        }
    }

    /// Whether a session is live: welcomed, and heard of.
    pub fn is_live(&self) -> bool {
        self.live().is_some()
    }

    /// What this client must keep to.
    pub fn limits(&self) -> &SessionLimits {
        &self.limits
    }

    /// One conversation.
    pub fn conversation(&self, id: ConversationId) -> Option<&Conversation> {
        self.conversations.get(&id).map(AsRef::as_ref)
    }

    /// All conversations, in order of their number. [`view::list`](crate::view::list) orders them for a person.
    pub fn conversations(&self) -> impl Iterator<Item = &Conversation> {
        self.conversations.values().map(AsRef::as_ref)
    }

    /// The conversation in front of the reader.
    pub fn focused(&self) -> Option<ConversationId> {
        self.focused
    }

    /// What was written and is not committed.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Files for messages that are not written yet.
    pub fn uploads(&self) -> &Uploads {
        &self.uploads
    }

    /// What was asked and not seen to be done.
    pub fn commands(&self) -> &Commands {
        &self.commands
    }

    /// What the reader has begun to write there.
    pub fn draft(&self, id: ConversationId) -> Option<&Draft> {
        self.drafts.get(id)
    }

    /// What is the reader's own.
    pub fn mine(&self) -> &Own {
        &self.mine
    }

    /// The newest log time known, ms; what is muted and scheduled goes by it.
    pub fn log_time(&self) -> u64 {
        self.log_time
    }

    /// Messages of others after the read marks, over all conversations.
    pub fn unread(&self) -> u64 {
        self.conversations.values().map(|conversation| conversation.unread).sum()
    }

    /// What the window's title counts: what is unread, of silent conversations only what mentions the reader.
    pub fn badge(&self) -> u64 {
        let of = |conversation: &Conversation| {
            if conversation.muted(self.log_time) {
                conversation.mentions
            } else {
                conversation.unread.max(u64::from(conversation.marked_unread()))
            }
        };
        self.conversations().map(of).sum()
    }

    fn me_id(&self) -> u64 {
        self.me.as_ref().map_or(0, |user| user.id)
    }

    fn focus(&mut self, conversation: Option<ConversationId>) {
        if let Some(left) = self.focused.filter(|left| Some(*left) != conversation) {
            self.drafts.left(left);
            if let Some(left) = self.conversations.get_mut(&left) {
                left.leave();
            }
        }
        self.seek_later.take_if(|(id, _)| Some(*id) != conversation);
        self.focused = conversation;
        let live = self.live().is_some();
        if let Some(id) = conversation {
            self.conversations.get_mut(&id).iter_mut().for_each(|entered| entered.enter(live));
            self.changed.insert(Change::Timeline(id));
        }
    }

    /// Ends the session: sockets go, the model goes. Stored items stay in the store.
    fn sign_out(&mut self, why: Option<String>) {
        self.forget_uploads();
        for link in self.link.take().into_iter().chain(self.next_link.take()) {
            self.out.push(Effect::Close(link.socket, 1000));
        }
        let fresh = Self::new(self.config.clone());
        let former = std::mem::replace(self, fresh);
        // Sockets of the former life may still report; their numbers must not come again.
        self.sockets = former.sockets;
        self.offline = former.offline;
        self.telling.set_as(&former.telling);
        self.out = former.out;
        self.out.push(Effect::SignedOut(why));
        self.changed.extend([Change::Connection, Change::List]);
    }

    fn refuse(&mut self, id: Option<ClientMessageId>, error: WireError) {
        self.out.push(Effect::Refused(id, error));
    }
}
