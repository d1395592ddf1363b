//! What signals hold: the shapes that components draw.

use std::collections::HashMap;

use quorate_client::proto::frame::{MemberRole, MessageRef, Preferences, PresenceState, User};
use quorate_client::proto::ids::{ConversationId, Revision, Sequence};
use quorate_client::view::{MessageRow, Portrait, Row, UploadRow};

/// Where the page stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Asking whether a former session goes on; in words what hinders it.
    Starting(Option<String>),
    /// Nobody is signed in; in words why, if there is a reason.
    Door(Option<String>),
    /// Signed in.
    Inside,
}

/// The open conversation, without its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Heading {
    pub(crate) id: ConversationId,
    pub(crate) name: String,
    /// Its picture.
    pub(crate) portrait: Option<Portrait>,
    pub(crate) group: bool,
    /// The other is a program.
    pub(crate) bot: bool,
    pub(crate) members: Vec<User>,
    pub(crate) member_count: u32,
    /// The other of a direct conversation.
    pub(crate) presence: Option<PresenceState>,
    /// Who types, in one line.
    pub(crate) typing: Option<String>,
    pub(crate) topic: String,
    pub(crate) public: bool,
    pub(crate) announcement: bool,
    pub(crate) retention_ms: u64,
    pub(crate) role: MemberRole,
    /// The reader may change the group and its members.
    pub(crate) manages: bool,
    pub(crate) preferences: Preferences,
    pub(crate) muted: bool,
    pub(crate) pin_count: u32,
    /// What was missed here is being read: the newest message shown is not the newest there is.
    pub(crate) filling: bool,
    /// Why nothing can be written here.
    pub(crate) closed: Option<&'static str>,
}

/// What stands at the right side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Panel {
    /// Pinned messages of the open conversation.
    Pins,
    /// What the reader saved.
    Saved,
    /// What mentions her.
    Mentions,
    /// What she has scheduled.
    Scheduled,
    /// What she looks for.
    Search,
}

/// A dialog with one thing to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sheet {
    /// Hand messages on.
    Forward(Vec<MessageRef>),
    /// Be reminded of it.
    Remind(MessageRef),
    /// Tell the admins of it.
    Report(MessageRef),
    /// Take some back, given in order; whether for everybody.
    Delete(ConversationId, Vec<Sequence>, bool),
    /// The texts that it has had.
    Revisions(MessageRef),
    /// Send what is in the composer later.
    Later(ConversationId, String, Option<Sequence>),
    /// Somebody.
    Person(User),
    /// Public groups.
    Channels,
    /// What an invite leads to.
    Invite(String),
    /// Make an invite to a group.
    MakeInvite(ConversationId),
    /// Add somebody to a group.
    AddMember(ConversationId),
    /// All keys.
    Keys,
    /// Sign out although so many messages wait to be sent, or, where that is so, files that no message shows.
    Leave(usize, bool),
}

/// An edit that stands in the composer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Editing {
    pub(crate) sequence: Sequence,
    pub(crate) revision: Revision,
    pub(crate) text: String,
}

/// The open conversation's rows, by key for the rows that watch themselves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    pub(crate) of: ConversationId,
    pub(crate) keys: Vec<String>,
    pub(crate) by_key: HashMap<String, Row>,
    pub(crate) loaded: bool,
    pub(crate) loading: bool,
    pub(crate) more_before: bool,
    /// The newest run is not what is shown: messages follow.
    pub(crate) more_after: bool,
    /// How often the reader went to the newest message.
    pub(crate) jumps: u32,
    /// What others wrote after the read mark.
    pub(crate) unread: u64,
    pub(crate) refused: Option<String>,
    /// The newest message known.
    pub(crate) last: Sequence,
    /// The newest message that somebody else wrote.
    pub(crate) others: Vec<Sequence>,
}

impl Rows {
    /// Messages that can be chosen among several, in order.
    pub(crate) fn selectable(&self) -> impl Iterator<Item = &MessageRow> {
        self.keys.iter().filter_map(|key| match self.by_key.get(key) {
            Some(Row::Message(row)) if row.may.touch => Some(row),
            _ => None,
        })
    }
}

/// What the banner shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BannerLine {
    pub(crate) text: String,
    pub(crate) can_try: bool,
    /// Its words count down.
    pub(crate) counts: bool,
    pub(crate) stopped: bool,
}

/// A message that shows a file.
pub(crate) type ShownBy = (ConversationId, Sequence);

/// The files for the next message of the open conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tray {
    pub(crate) rows: Vec<UploadRow>,
    /// The message goes when they are there.
    pub(crate) waits: bool,
}

/// A line for the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) text: String,
    /// It stays until it is dismissed.
    pub(crate) stays: bool,
    /// Where it leads, if anywhere.
    pub(crate) leads: Option<MessageRef>,
}

/// What became of a command: the conversation it concerns, or why not.
pub(crate) type Answer = Result<Option<ConversationId>, String>;
