//! Conversations as their reader has them.

use quorate_proto::frame::{ConversationKind, ConversationSummary, Preferences, SequenceRange};
use quorate_proto::rpc;

use super::{avatar, conversation_event, role, some, user};

/// A conversation's summary.
pub fn summary(summary: rpc::ConversationSummary) -> ConversationSummary {
    let kind = match summary.kind() {
        rpc::conversation_summary::Kind::Group => ConversationKind::Group,
        rpc::conversation_summary::Kind::Direct | rpc::conversation_summary::Kind::Unspecified => {
            ConversationKind::Direct
        }
    };
    let draft = summary.draft.unwrap_or_default();
    let range = |range: rpc::SequenceRange| SequenceRange { first: range.first, last: range.last };
    ConversationSummary {
        id: summary.id,
        kind,
        title: summary.title,
        version: summary.version,
        sequence: summary.sequence,
        read: summary.read,
        unread: summary.unread,
        mentions: summary.mentions,
        member_count: summary.member_count,
        members: summary.members.into_iter().map(|member| user(Some(member))).collect(),
        last_message: summary.last_message.and_then(conversation_event),
        topic: summary.topic,
        public: summary.public,
        announcement: summary.announcement,
        retention_ms: summary.retention_ms,
        role: role(summary.role),
        preferences: preferences(summary.preferences.unwrap_or_default()),
        hidden: summary.hidden.into_iter().map(range).collect(),
        draft: draft.text,
        draft_reply_to: some(draft.reply_to),
        pin_count: summary.pin_count,
        blocked: summary.blocked,
        avatar: avatar(&summary.avatar),
    }
}

/// How a reader has one conversation.
pub fn preferences(preferences: rpc::Preferences) -> Preferences {
    Preferences {
        muted_until: preferences.muted_until_ms,
        favourite: preferences.favourite,
        archived: preferences.archived,
        unread_from: preferences.unread_from,
        no_receipts: preferences.no_receipts,
        suggestions: preferences.suggestions,
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::frame::MemberRole;

    use super::*;

    #[test]
    fn a_summary_says_how_its_reader_has_the_conversation() {
        let draft = rpc::MeDraft { conversation_id: 3, text: "hal".into(), reply_to: 2 };
        let told = summary(rpc::ConversationSummary {
            id: 3,
            kind: rpc::conversation_summary::Kind::Group.into(),
            topic: "food".into(),
            public: true,
            announcement: true,
            retention_ms: 7,
            role: 3,
            preferences: Some(rpc::Preferences { archived: true, unread_from: 4, ..Default::default() }),
            hidden: vec![rpc::SequenceRange { first: 1, last: 2 }],
            draft: Some(draft),
            pin_count: 5,
            blocked: true,
            avatar: vec![6; 16].into(),
            ..rpc::ConversationSummary::default()
        });
        assert_eq!((told.kind, told.role), (ConversationKind::Group, MemberRole::Admin));
        assert_eq!((told.topic.as_str(), told.public, told.announcement), ("food", true, true));
        assert_eq!((told.retention_ms, told.pin_count, told.blocked), (7, 5, true));
        assert_eq!((told.draft.as_str(), told.draft_reply_to), ("hal", Some(2)));
        assert_eq!(told.hidden, [SequenceRange { first: 1, last: 2 }]);
        assert!(told.preferences.archived && told.preferences.unread_from == 4);
        assert_eq!(told.avatar, Some(uuid::Uuid::from_bytes([6; 16])));
        // Of a replica of the version before.
        let plain = summary(rpc::ConversationSummary::default());
        assert_eq!(plain.role, MemberRole::Member);
        assert!(plain.preferences.is_default() && plain.draft.is_empty() && plain.draft_reply_to.is_none());
        assert_eq!(plain.avatar, None);
    }
}
