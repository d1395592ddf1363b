//! What goes into the rules and what comes out.

use quorate_proto::error::WireError;
use quorate_proto::frame::{Ack, Action, MessageRef, PresenceState, ScheduledItem, User};
use quorate_proto::ids::{ClientMessageId, ConversationId, Sequence};
use quorate_proto::rest::SessionGrant;

use crate::command::Deed;
use crate::drafts::{Draft, StoredDraft};
use crate::outbox::StoredItem;
use crate::upload::{Call, Step, Told, UploadId};

/// Names one socket of this client; later sockets have higher numbers.
pub type SocketId = u64;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A session was granted by sign-up, sign-in or refresh.
    Granted(SessionGrant),
    /// A refresh did not work. `denied`: the session is over; else it is worth another attempt.
    RefreshFailed {
        /// Whether the answer was a clear no.
        denied: bool,
    },
    /// The socket is open.
    Opened(SocketId),
    /// One WebSocket text message.
    Text(SocketId, String),
    /// The socket is closed, or could not be opened (code 1006).
    Closed(SocketId, u16),
    /// The device says it has a network.
    Online,
    /// The device says it has none.
    Offline,
    /// The page became visible, or the machine woke up.
    Visible,
    /// The person asks for an attempt now.
    TryNow,
    /// Time passed: [`Client::deadline_ms`](crate::Client::deadline_ms) is reached.
    Tick,
    /// Items that an earlier life of this client left behind.
    Restore(Vec<StoredItem>),
    /// What an earlier life of this client kept of the conversations: [`Keep`](crate::client::Keep). Before any grant; then `Granted`,
    /// or `RefreshFailed` when nobody answers: the person is inside either way, and the next refresh is asked for.
    Recall {
        /// Whose it is and of when.
        head: String,
        /// One conversation each.
        rows: Vec<String>,
    },
    /// Items that another client on this device is to send: they are shown here, and not sent.
    Elsewhere(Vec<StoredItem>),
    /// Of those: the other client is gone, and this one sends them.
    Adopt(Vec<ClientMessageId>),
    /// The other way round: this client sleeps, and another may send these of its items, which it knows from the store.
    Yield(Vec<ClientMessageId>),
    /// The other client has let go of one: it was committed, or its writer deleted it.
    Gone(ClientMessageId),
    /// Drafts that an earlier life of this client left behind.
    RestoreDrafts(Vec<(ConversationId, StoredDraft)>),
    /// A file was chosen for the next message there.
    Attach {
        /// A name that the caller never used before.
        upload: UploadId,
        /// Where it is to be shown.
        conversation: ConversationId,
        /// As the file is called.
        name: String,
        /// Bytes.
        size: u64,
    },
    /// It is taken back.
    Detach(UploadId),
    /// It is a file by now, and used elsewhere than in a message: see [`NOBODYS`](crate::upload::NOBODYS).
    LetGo(UploadId),
    /// Its upload failed, and is to be tried again.
    Reattach(UploadId),
    /// The message that waits for its files is not sent yet after all.
    Hold(ConversationId),
    /// What came of a step of an upload.
    Uploaded(UploadId, Call, Told),
    /// A new message; with files for it that are not there yet it waits for them, and what was typed stays the draft.
    Send {
        /// Where to.
        conversation: ConversationId,
        /// As typed.
        text: String,
        /// The message answered to.
        reply_to: Option<Sequence>,
    },
    /// A message is handed on.
    Forward {
        /// Where to.
        conversation: ConversationId,
        /// Which message.
        message: MessageRef,
    },
    /// What stands in the composer now.
    Draft(ConversationId, Draft),
    /// A refused edit is let go.
    DropEdit(ConversationId, Sequence),
    /// The reader wants to see a message; history is read until it is here.
    Seek(ConversationId, Sequence),
    /// What is saved, as a list of the server says.
    KnownSaved(Vec<MessageRef>),
    /// What is scheduled, as a list of the server says.
    KnownScheduled(Vec<ScheduledItem>),
    /// Whom the reader has blocked, as a list of the server says.
    KnownBlocked(Vec<User>),
    /// Send a failed or put-aside item after all.
    Retry(ClientMessageId),
    /// Delete an item that was not committed.
    Delete(ClientMessageId),
    /// The conversation in front of the reader, if any.
    Focus(Option<ConversationId>),
    /// An older page of history.
    LoadOlder(ConversationId),
    /// What follows the past that is shown.
    LoadNewer(ConversationId),
    /// To the newest message.
    Latest(ConversationId),
    /// The topmost message in the reader's view; `None`: she is at the end, and follows what arrives.
    Look(ConversationId, Option<Sequence>),
    /// The reader has read up to here.
    MarkRead(ConversationId, Sequence),
    /// Something was typed there.
    Typing(ConversationId),
    /// How present the person at this device is.
    Presence(PresenceState),
    /// A command, under an id that the caller took from [`Moment::client_message_id`](crate::Moment::client_message_id).
    Do(ClientMessageId, Action),
    /// The same for what concerns messages.
    Ask(ClientMessageId, Deed),
    /// The caller no longer cares for that command's answer; what was sent may still take effect.
    Forget(ClientMessageId),
    /// Measure the round trip.
    Measure,
    /// The person signs out. The outbox in storage is the caller's to keep or wipe.
    SignOut,
}

/// Something to be done, in the order given.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Open a socket under this name.
    Connect(SocketId),
    /// Send one text message.
    Transmit(SocketId, String),
    /// Close it, and forget it: nothing it says counts any more.
    Close(SocketId, u16),
    /// Ask for a fresh access token; answer with `Granted` or `RefreshFailed`.
    RefreshToken,
    /// Store the item (insert or replace) before anything later is carried out.
    Store(StoredItem),
    /// Remove the item from the store.
    Unstore(ClientMessageId),
    /// Store the draft (insert or replace; told and empty: remove).
    StoreDraft(ConversationId, StoredDraft),
    /// The draft is another one than what was typed here: what another device wrote, or nothing, since it was sent.
    DraftChanged(ConversationId),
    /// Do this for an upload.
    Upload(UploadId, Call, Step),
    /// The time of a reminder has come.
    Reminded(ScheduledItem),
    /// A scheduled message could not be sent; in words why.
    ScheduleFailed(ScheduledItem, String),
    /// A message or command was committed by a majority.
    Acked(Ack),
    /// A command of `Do` was carried out; the conversation it concerns, if any.
    Done(ClientMessageId, Option<ConversationId>),
    /// A message or command was refused: the composer or dialog keeps what was typed.
    Refused(Option<ClientMessageId>, WireError),
    /// A message that somebody else wrote arrived live, and calls for the reader's attention: it is for her alone or mentions her, nothing
    /// is silent there, and she may be disturbed. [`view::notice`](crate::view::notice) has its words.
    Calls(ConversationId, Sequence),
    /// The session is over: show sign-in. In words why, if not by sign-out.
    SignedOut(Option<String>),
    /// Part of the model changed.
    Changed(Change),
}

/// Changes, each once, in order: a row of them, as [`crate::ordered`] says why.
#[derive(Debug, Default)]
pub(crate) struct Changes(Vec<Change>);

impl Changes {
    /// One more.
    pub(crate) fn insert(&mut self, change: Change) {
        if let Err(at) = self.0.binary_search(&change) {
            self.0.insert(at, change);
        }
    }
}

impl Extend<Change> for Changes {
    fn extend<I: IntoIterator<Item = Change>>(&mut self, changes: I) {
        changes.into_iter().for_each(|change| self.insert(change));
    }
}

impl IntoIterator for Changes {
    type Item = Change;
    type IntoIter = std::vec::IntoIter<Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Parts of the model that a view shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Connection, banner, write state, gateway, position.
    Connection,
    /// The list of conversations.
    List,
    /// A conversation's messages, committed or pending, and how far they have come.
    Timeline(ConversationId),
    /// Who types there and who is there.
    Signals(ConversationId),
    /// Files for the next message there, and whether it waits for them.
    Uploads(ConversationId),
    /// The reader herself: profile, what she saved, scheduled, blocked.
    Own,
}
