//! One durable event, encoded once for everybody.

use bytes::Bytes;
use quorate_proto::frame::{Body, ServerFrame};
use quorate_proto::rpc::{self, Topic, event};
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
    /// Close, if it is this session.
    SessionEnded {
        /// 16 bytes.
        session: Bytes,
    },
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
            _ => ItemKind::Plain,
        };
        let body = if matches!(kind, ItemKind::Added { .. }) {
            None
        } else if topic.kind() == rpc::topic::Kind::Me {
            convert::me_event(&event, |_| None).map(Body::Me)
        } else {
            convert::conversation_event(event).map(Body::Event)
        };
        let frame = body.map(|body| convert::encode(&ServerFrame::push(body)));
        Self { topic, version, index, frame, kind }
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
        }
    }
}
