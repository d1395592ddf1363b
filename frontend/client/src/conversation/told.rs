//! What is told of a conversation: its name and picture, who is there, what its reader may do.

use quorate_proto::frame::{ConversationKind, MemberRole, PresenceState, User};
use quorate_proto::ids::{Sequence, UserId};

use super::Conversation;
use crate::signals::Reach;
use crate::view::{Portrait, portrait_of, portrait_of_group};
use crate::words::{t, tf};

impl Conversation {
    /// What to call it: the title, or the other's name.
    pub fn name(&self, me: UserId) -> String {
        if !self.title.is_empty() {
            return self.title.clone();
        }
        let others: Vec<&str> =
            self.members.iter().filter(|member| member.id != me).map(crate::view::called).collect();
        match (others.as_slice(), self.members.first()) {
            ([], Some(own)) => crate::view::called(own).to_owned(),
            ([], None) => tf("Conversation {}", &[&self.id]),
            (names, _) => names.join(", "),
        }
    }

    /// Its picture: a group's own, or the other's.
    pub fn portrait(&self, me: UserId) -> Option<Portrait> {
        match self.kind {
            ConversationKind::Group => portrait_of_group(self.id, self.avatar),
            ConversationKind::Direct => {
                let other = self.members.iter().find(|member| member.id != me);
                other.or(self.members.first()).and_then(portrait_of)
            }
        }
    }

    /// Somebody as she is known here now: what people are called and look like may be newer than what they wrote.
    pub fn face<'a>(&'a self, user: &'a User) -> &'a User {
        self.members.iter().find(|member| member.id == user.id).unwrap_or(user)
    }

    /// Whether the other of a direct conversation is a program.
    pub fn is_with_bot(&self) -> bool {
        let direct = self.kind == ConversationKind::Direct;
        direct && self.members.iter().any(|member| member.id != self.reader && member.bot)
    }

    /// How present the other of a direct conversation is; `None` in a group.
    pub fn other_presence(&self) -> Option<PresenceState> {
        let direct = self.kind == ConversationKind::Direct;
        let other = self.members.iter().find(|member| member.id != self.reader).filter(|_| direct)?;
        Some(self.signals.presence(other.id))
    }

    /// Who types here, in one line; `None` while nobody does.
    pub fn typing_line(&self) -> Option<String> {
        let names: Vec<&str> = self.signals.typing().map(crate::view::called).collect();
        match names.as_slice() {
            [] => None,
            [one] => Some(tf("{} is typing", &[one])),
            [one, two] => Some(tf("{} and {} are typing", &[one, two])),
            [one, two, rest @ ..] => Some(tf("{}, {} and {} more are typing", &[one, two, &rest.len()])),
        }
    }

    /// How far a message of the reader has come among the other members.
    pub fn reach(&self, sequence: Sequence) -> Reach {
        if self.member_count as usize > self.members.len() {
            // Not all are listed: nobody can say.
            return Reach::Kept;
        }
        let others = self.members.iter().map(|member| member.id).filter(|id| *id != self.reader);
        self.signals.reach(others, sequence)
    }

    /// Whether its reader may change it, its members and the messages of others.
    pub fn manages(&self) -> bool {
        self.kind == ConversationKind::Group && self.role >= MemberRole::Admin
    }

    /// Why nothing can be written here, in words; `None` when it can.
    pub fn closed_because(&self) -> Option<&'static str> {
        if self.announcement && !self.manages() {
            Some(t("Only the owner and the admins of this group write here."))
        } else if self.blocked {
            Some(t("Nothing can be sent here: one of you has blocked the other."))
        } else {
            None
        }
    }

    /// Whether it is silent at this log time.
    pub fn muted(&self, log_time: u64) -> bool {
        self.preferences.muted_until > log_time
    }

    /// Out of the list, until somebody writes: a message that the reader has not read brings it back.
    pub fn folded(&self) -> bool {
        self.preferences.archived && self.unread == 0
    }

    /// Shown as unread, whatever the count says.
    pub fn marked_unread(&self) -> bool {
        self.preferences.unread_from > 0 && self.preferences.unread_from <= self.sequence
    }
}
