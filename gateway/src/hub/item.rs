//! One durable event, or one signal, encoded once for everybody.

use std::time::Instant;

use bytes::Bytes;
use quorate_proto::frame::{Body, ServerFrame, Signal, SignalKind};
use quorate_proto::rpc::{self, Topic, event, signal};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::convert;

/// What a session must do beside handing the frame on.
#[derive(Debug, Clone, PartialEq)]
pub enum ItemKind {
    /// Nothing.
    Plain,
    /// Subscribe, fill, and only then tell. The frame is made by the session, for only it can read the summary.
    Added {
        /// The event as the replica sent it.
        event: Box<rpc::Event>,
        /// Which conversation.
        conversation: u64,
        /// What came up to this version is not hers to see.
        base_version: u64,
    },
    /// Tell, then forget the conversation.
    Removed {
        /// Which conversation.
        conversation: u64,
    },
    /// Events from this version up to the item's own were let go: say so.
    Gap {
        /// The first of them.
        from_version: u64,
        /// Its log index: the gap stands there, before anything that came after it.
        first_index: u64,
    },
    /// Of a message whose text is not for those who see the conversation only from a later version on.
    Edited {
        /// Version at which the message was sent.
        sent_version: u64,
        /// The frame without the text, for them.
        bare: Option<Utf8Bytes>,
    },
    /// Close, if it is this session.
    SessionEnded {
        /// 16 bytes.
        session: Bytes,
    },
}

/// What a signal is about: of two with the same key only the later counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignalKey {
    /// A conversation and who types there.
    Typing(u64, u64),
    /// A conversation and whose presence it is told.
    Presence(u64, u64),
    /// A conversation and who has read there.
    Read(u64, u64),
    /// A conversation and whom messages there have reached.
    Delivered(u64, u64),
    /// A conversation and how many replicas have its messages: nobody's, so that everybody is told.
    Durability(u64, u32),
}

impl SignalKey {
    /// Which conversation and whose; nobody is 0.
    pub fn place(self) -> (u64, u64) {
        match self {
            Self::Typing(room, user)
            | Self::Presence(room, user)
            | Self::Read(room, user)
            | Self::Delivered(room, user) => (room, user),
            Self::Durability(room, _) => (room, 0),
        }
    }

    /// Whether it is kept for longer than other signals.
    pub fn is_receipt(self) -> bool {
        matches!(self, Self::Read(..) | Self::Delivered(..))
    }
}

/// A signal, encoded once for everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalItem {
    /// What it is about.
    pub key: SignalKey,
    /// The frame.
    pub frame: Utf8Bytes,
}

impl SignalItem {
    /// Encodes a signal; `None` for a kind that this version does not know.
    pub fn new(signal: rpc::Signal) -> Option<Self> {
        let conversation = signal.conversation_id;
        let user = convert::user(signal.user);
        let (key, kind) = match signal.kind? {
            signal::Kind::Typing(_) => {
                (SignalKey::Typing(conversation, user.id), SignalKind::Typing { user })
            }
            signal::Kind::Presence(presence) => {
                let state = convert::presence(presence.state());
                (SignalKey::Presence(conversation, user.id), SignalKind::Presence { user: user.id, state })
            }
            signal::Kind::Receipt(receipt) => {
                let rpc::Receipt { read, delivered } = receipt;
                let key = if read > 0 { SignalKey::Read } else { SignalKey::Delivered };
                (key(conversation, user.id), SignalKind::Receipt { user: user.id, read, delivered })
            }
        };
        let body = Body::Signal(Signal { conversation, kind });
        Some(Self { key, frame: convert::encode(&ServerFrame::push(body)) })
    }

    /// Messages up to one are on so many disks.
    pub fn durability(conversation: u64, sequence: u64, replicas: u32, of: u32) -> Self {
        let kind = SignalKind::Durability { sequence, replicas, of };
        let body = Body::Signal(Signal { conversation, kind });
        let frame = convert::encode(&ServerFrame::push(body));
        Self { key: SignalKey::Durability(conversation, replicas), frame }
    }
}

fn frame_of_conversation(event: rpc::Event) -> Option<Utf8Bytes> {
    let event = convert::conversation_event(event)?;
    Some(convert::encode(&ServerFrame::push(Body::Event(event))))
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Of which topic.
    pub topic: Topic,
    /// Dense within the topic.
    pub version: u64,
    /// Log index.
    pub index: u64,
    /// The frame; `None` where the session makes it, or for a kind that this version cannot say.
    pub frame: Option<Utf8Bytes>,
    /// What else is to be done.
    pub kind: ItemKind,
    /// When it came from the feed.
    pub born: Instant,
}

impl Item {
    /// Encodes an event.
    pub fn new(event: rpc::Event) -> Self {
        let topic = event.topic.unwrap_or_default();
        let (version, index) = (event.version, event.index);
        let kind = match &event.kind {
            Some(event::Kind::MeAdded(added)) => ItemKind::Added {
                conversation: added.conversation_id,
                base_version: added.base_version,
                event: Box::new(event.clone()),
            },
            Some(event::Kind::MeRemoved(removed)) => {
                ItemKind::Removed { conversation: removed.conversation_id }
            }
            Some(event::Kind::MeSessionEnded(ended)) => {
                ItemKind::SessionEnded { session: ended.session_id.clone() }
            }
            Some(event::Kind::Edited(edited)) if edited.sent_version != 0 => {
                let bare = rpc::EditedMessage { text: String::new(), ..edited.clone() };
                let bare = rpc::Event { kind: Some(event::Kind::Edited(bare)), ..event.clone() };
                ItemKind::Edited { sent_version: edited.sent_version, bare: frame_of_conversation(bare) }
            }
            _ => ItemKind::Plain,
        };
        let frame = if matches!(kind, ItemKind::Added { .. }) {
            None
        } else if topic.kind() == rpc::topic::Kind::Me {
            let me = convert::me_event(&event, |_| None);
            me.map(|me| convert::encode(&ServerFrame::push(Body::Me(me))))
        } else {
            frame_of_conversation(event)
        };
        Self { topic, version, index, frame, kind, born: Instant::now() }
    }

    /// Where it stands among others in log order.
    pub fn place(&self) -> u64 {
        match self.kind {
            ItemKind::Gap { first_index, .. } => first_index,
            _ => self.index,
        }
    }

    /// The frame for a reader who sees the conversation from after this version on.
    pub fn frame_after(&self, base_version: u64) -> Option<&Utf8Bytes> {
        match &self.kind {
            ItemKind::Edited { sent_version, bare } if *sent_version <= base_version => bare.as_ref(),
            _ => self.frame.as_ref(),
        }
    }

    /// What it weighs in an outbox.
    pub fn bytes(&self) -> usize {
        self.frame.as_ref().map_or(0, |frame| frame.len())
    }

    /// A plain event of a conversation.
    #[cfg(test)]
    pub fn for_test(conversation: u64, version: u64, index: u64) -> Self {
        Self {
            topic: convert::conversation_topic(conversation),
            version,
            index,
            frame: Some(format!("{conversation}:{version}@{index}").into()),
            kind: ItemKind::Plain,
            born: Instant::now(),
        }
    }
}
