//! What belongs to groups, counted again: who owns them, who is banned, invites, and how many conversations a user is in.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use super::{Report, decode, number};
use crate::machine::records::{Ban, Conversation, Invite, Member, ROLE_GROUP_ADMIN, ROLE_OWNER, User};
use crate::store::{Key, Space, StoreError};

/// One conversation as its record has it, and what was found.
#[derive(Debug, Default)]
struct Group {
    is_group: bool,
    owner: u64,
    admins: BTreeSet<u64>,
    public: bool,
    bans: u32,
    invites: u32,
    owners_found: u64,
    owner_found: u64,
    admins_found: BTreeSet<u64>,
    public_found: bool,
    bans_found: u32,
    invites_found: u32,
}

/// What is remembered of groups while the rest goes by. Keys come in order: users, conversations, members, then the rest.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: HashMap<u64, Group>,
    /// How many conversations a user is in as her record says, and in how many that count she is.
    joined: HashMap<u64, (u32, u32)>,
    /// Invites, crossed out by the list of their group.
    invites: BTreeSet<(u64, [u8; 16])>,
}

impl Groups {
    pub(super) fn user(&mut self, id: u64, user: &User) {
        if user.conversations != 0 {
            self.joined.entry(id).or_default().0 = user.conversations;
        }
    }

    pub(super) fn conversation(&mut self, id: u64, it: &Conversation, report: &mut Report) {
        let admins: BTreeSet<u64> = it.admins.iter().copied().collect();
        if admins.len() != it.admins.len() {
            report.problem(format!("conversation {id} names an admin twice"));
        }
        if it.is_group() {
            if it.open_version > it.version || it.open_sequence > it.sequence {
                report
                    .problem(format!("conversation {id} is open from a version on that it has not reached"));
            }
        } else if it.public
            || it.owner != 0
            || !it.admins.is_empty()
            || it.bans != 0
            || it.invites != 0
            || !it.avatar.is_empty()
        {
            report.problem(format!("conversation {id} is direct and has what groups have"));
        }
        let group = Group {
            is_group: it.is_group(),
            owner: it.owner,
            admins,
            public: it.public,
            bans: it.bans,
            invites: it.invites,
            ..Group::default()
        };
        self.groups.insert(id, group);
    }

    pub(super) fn member(&mut self, id: u64, user_id: u64, member: &Member, report: &mut Report) {
        if !member.is_present() {
            return;
        }
        if member.joined_ms != 0 {
            self.joined.entry(user_id).or_default().1 += 1;
        }
        let group = self.groups.entry(id).or_default();
        match member.role {
            ROLE_OWNER => {
                group.owners_found += 1;
                group.owner_found = user_id;
            }
            ROLE_GROUP_ADMIN => {
                group.admins_found.insert(user_id);
            }
            _ => {}
        }
        if member.joined_version != 0 && member.base_version > member.joined_version {
            report.problem(format!("user {user_id} sees less of conversation {id} than what came to her"));
        }
    }

    /// The kind to count a record as.
    pub(super) fn record(
        &mut self,
        key: &Key,
        value: Bytes,
        report: &mut Report,
    ) -> Result<Option<&'static str>, StoreError> {
        const INVITE: u8 = Space::Invite as u8;
        const INVITE_OF: u8 = Space::InviteOf as u8;
        const BAN: u8 = Space::Ban as u8;
        let raw = key.as_bytes();
        let id = number(&raw[1..]);
        Ok(match raw[0] {
            INVITE => {
                let invite: Invite = decode(key, value)?;
                match raw[1..].try_into() {
                    Ok(code) => self.invites.insert((invite.conversation_id, code)),
                    Err(_) => return Err(StoreError::damaged("an invite's code has not 16 bytes")),
                };
                if invite.uses_max != 0 && invite.uses >= invite.uses_max {
                    report.problem(format!(
                        "an invite to conversation {} is used up and there",
                        invite.conversation_id
                    ));
                }
                Some("invites")
            }
            INVITE_OF => {
                let is_there =
                    raw[9..].try_into().is_ok_and(|code: [u8; 16]| self.invites.remove(&(id, code)));
                if !is_there {
                    report.problem(format!("conversation {id} has an invite listed that is not there"));
                }
                self.groups.entry(id).or_default().invites_found += 1;
                None
            }
            BAN => {
                let _: Ban = decode(key, value)?;
                self.groups.entry(id).or_default().bans_found += 1;
                Some("bans")
            }
            _ => {
                self.groups.entry(id).or_default().public_found = true;
                Some("public groups")
            }
        })
    }

    /// A group has one owner while somebody is in it, unless she left under a program before machine version 4: such a program wrote
    /// no owner down, and nobody followed her. So where none is written down there may be one or none.
    pub(super) fn finish(self, problems: &mut Vec<String>) {
        for (id, group) in self.groups {
            let Group { owner, owner_found, owners_found, .. } = group;
            if owners_found > u64::from(group.is_group) {
                problems.push(format!("conversation {id} has {owners_found} owners"));
            }
            if owner != 0 && (owner, 1) != (owner_found, owners_found) {
                problems.push(format!(
                    "conversation {id} says that user {owner} owns it, and user {owner_found} does"
                ));
            }
            if group.admins != group.admins_found {
                problems.push(format!(
                    "conversation {id} names the admins {:?} and has {:?}",
                    group.admins, group.admins_found
                ));
            }
            if group.public != group.public_found {
                problems.push(format!("conversation {id} is public, or listed as public, and not both"));
            }
            let counted =
                [("bans", group.bans, group.bans_found), ("invites", group.invites, group.invites_found)];
            for (what, said, found) in counted.into_iter().filter(|(_, said, found)| said != found) {
                problems.push(format!("conversation {id} says {said} {what} and has {found}"));
            }
        }
        for (id, _) in self.invites {
            problems.push(format!("an invite to conversation {id} is not listed there"));
        }
        for (user, (said, found)) in self.joined.into_iter().filter(|(_, (said, found))| said != found) {
            problems.push(format!("user {user} says that she is in {said} conversations and is in {found}"));
        }
    }
}
