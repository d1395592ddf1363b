//! What was done that concerns others' rights, for admins to read: who, what, to whom, and when.
//!
//! An entry is written by the command that did it, so that nothing is done without one and none tells of what was not done.
//! What owners and admins of a group do there is told by that group's own events and not repeated here; what an admin of the
//! site does to a group that she does not manage is here as well. Texts of messages and reasons never are.

use super::records::AuditEntry;
use super::{Step, Tables as _, VERSION_DOMAIN};
use crate::store::{StoreError, View};

/// What was done. The number is stored and the word is sent: neither is ever used for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Audited {
    /// The operator had a secret made with which somebody becomes an admin.
    AdminOffered = 1,
    /// Somebody became one with it.
    AdminClaimed = 2,
    /// An admin made another.
    AdminMade = 3,
    /// A user is no admin any more.
    AdminUnmade = 4,
    /// A user was shut out.
    UserDisabled = 5,
    /// She no longer is.
    UserEnabled = 6,
    /// An account was deleted, by its user or by an admin.
    UserDeleted = 7,
    /// An admin had a secret made with which somebody sets a user's password.
    ResetOffered = 8,
    /// Somebody set it.
    PasswordReset = 9,
    /// A report was done with.
    ReportResolved = 10,
    /// The machine version rose: the detail is the new one.
    VersionRaised = 11,
    /// An admin who does not manage a group added somebody to it.
    GroupMemberAdded = 12,
    /// Or removed somebody.
    GroupMemberRemoved = 13,
    /// Or changed it.
    GroupChanged = 14,
    /// An admin was given what people wrote to each other, in one conversation or in all.
    MessagesExported = 15,
    /// An admin asked for another leader: the detail says for whom.
    LeaderChangeAsked = 16,
    /// An admin asked for a change of the replicas: the detail says which.
    MembersChangeAsked = 17,
}

/// Every action with its word.
const WORDS: [(Audited, &str); 17] = [
    (Audited::AdminOffered, "admin_offered"),
    (Audited::AdminClaimed, "admin_claimed"),
    (Audited::AdminMade, "admin_made"),
    (Audited::AdminUnmade, "admin_unmade"),
    (Audited::UserDisabled, "user_disabled"),
    (Audited::UserEnabled, "user_enabled"),
    (Audited::UserDeleted, "user_deleted"),
    (Audited::ResetOffered, "reset_offered"),
    (Audited::PasswordReset, "password_reset"),
    (Audited::ReportResolved, "report_resolved"),
    (Audited::VersionRaised, "version_raised"),
    (Audited::GroupMemberAdded, "group_member_added"),
    (Audited::GroupMemberRemoved, "group_member_removed"),
    (Audited::GroupChanged, "group_changed"),
    (Audited::MessagesExported, "messages_exported"),
    (Audited::LeaderChangeAsked, "leader_change_asked"),
    (Audited::MembersChangeAsked, "members_change_asked"),
];

/// The word of a stored number; one from a newer program is `other`.
pub fn word(number: u32) -> &'static str {
    WORDS.iter().find(|(action, _)| *action as u32 == number).map_or("other", |(_, word)| word)
}

/// To whom something was done, where, and more of it.
#[derive(Debug, Default)]
pub(super) struct Concerning {
    /// 0: nobody.
    pub(super) subject: u64,
    /// 0: none.
    pub(super) conversation_id: u64,
    pub(super) detail: String,
}

impl Concerning {
    pub(super) fn user(subject: u64) -> Self {
        Self { subject, ..Self::default() }
    }

    pub(super) fn member(conversation_id: u64, subject: u64) -> Self {
        Self { subject, conversation_id, ..Self::default() }
    }
}

impl<V: View> Step<'_, V> {
    /// Writes an entry. Programs before [`VERSION_DOMAIN`] know of none, so there is none under their rules.
    pub(super) fn audit(&mut self, by: u64, action: Audited, on: Concerning) -> Result<(), StoreError> {
        if self.context.machine_version < VERSION_DOMAIN {
            return Ok(());
        }
        self.write_audit(by, action, on)
    }

    /// The version that brings the log begins it.
    pub(super) fn audit_version(&mut self, version: u32) -> Result<(), StoreError> {
        if version < VERSION_DOMAIN {
            return Ok(());
        }
        let on = Concerning { detail: version.to_string(), ..Concerning::default() };
        self.write_audit(0, Audited::VersionRaised, on)
    }

    fn write_audit(&mut self, by: u64, action: Audited, on: Concerning) -> Result<(), StoreError> {
        let mut counters = self.state.counters()?;
        counters.audit += 1;
        self.state.put_counters(&counters);
        let entry = AuditEntry {
            index: self.context.index,
            log_time_ms: self.context.log_time_ms,
            by,
            action: action as u32,
            subject: on.subject,
            conversation_id: on.conversation_id,
            detail: on.detail,
        };
        self.state.put_audit(counters.audit, &entry);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_action_has_a_number_and_a_word_of_its_own() {
        let numbers: BTreeSet<u32> = WORDS.iter().map(|(action, _)| *action as u32).collect();
        let words: BTreeSet<&str> = WORDS.iter().map(|(_, word)| *word).collect();
        assert_eq!((numbers.len(), words.len()), (WORDS.len(), WORDS.len()));
        assert_eq!(word(5), "user_disabled");
        assert_eq!(word(99), "other");
    }
}
