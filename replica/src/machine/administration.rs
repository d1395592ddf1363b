//! What admins do to accounts.

use quorate_proto::error::ErrorCode;
use quorate_proto::limits::RESET_MS;
use quorate_proto::rpc::cluster_change::Kind;
use quorate_proto::rpc::{self, outcome};

use super::audit::{Audited, Concerning};
use super::bots::check_person;
use super::records::{Conversation, Member, ROLE_ADMIN, User};
use super::{Decision, Step, Tables as _, VERSION_DOMAIN, done, rejected};
use crate::store::View;

/// Bytes of a BLAKE3 hash.
const HASH_BYTES: usize = 32;
/// Longest address of a replica: a host name has at most 253 characters (RFC 1035), a port five.
const ADDRESS_BYTES_MAX: usize = 260;

/// Whether it may be the address of a replica: what is written down is one short line.
fn check_address(address: &str) -> Decision<()> {
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    let is_port = port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    if is_port && address.len() <= ADDRESS_BYTES_MAX && address.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        rejected(ErrorCode::Invalid, "a replica's address is host:port")
    }
}

impl<V: View> Step<'_, V> {
    /// A user who is there: one who was deleted is not.
    pub(super) fn present_user(&self, id: u64) -> Decision<User> {
        match self.state.user(id)? {
            Some(user) if !user.is_deleted() => Ok(user),
            _ => rejected(ErrorCode::NotFound, "there is no such user"),
        }
    }

    /// Whether a user is an admin of the site.
    pub(super) fn is_admin(&self, id: u64) -> Decision<bool> {
        Ok(self.state.user(id)?.is_some_and(|user| user.is_admin()))
    }

    pub(super) fn must_be_admin(&self, by: u64) -> Decision<()> {
        if !self.is_by_token() && self.is_admin(by)? {
            Ok(())
        } else {
            rejected(ErrorCode::Forbidden, "only an admin may do this")
        }
    }

    /// A group that the caller manages by being an admin of the site alone. What is said there she reads no more than before: for
    /// that she would have to be a member, which the others are told like any other.
    pub(super) fn administered_group(&self, by: u64, id: u64) -> Decision<Option<Conversation>> {
        // By a token nobody administers: by an admin's one does what she could do as a member.
        let is_old = self.context.machine_version < VERSION_DOMAIN;
        if is_old || self.is_by_token() || !self.is_admin(by)? {
            return Ok(None);
        }
        let own = self.state.member(id, by)?.filter(Member::is_present);
        let manages = own.is_some_and(|member| member.manages());
        Ok(self.state.conversation(id)?.filter(|conversation| conversation.is_group() && !manages))
    }

    /// Takes the role from a user who has it; the caller writes her record. Somebody always has it, once anybody has.
    pub(super) fn take_admin(&mut self, user: &mut User) -> Decision<()> {
        if user.role != ROLE_ADMIN {
            return Ok(());
        }
        let mut counters = self.state.counters()?;
        if counters.admins <= 1 {
            return rejected(
                ErrorCode::Invalid,
                "the last admin stays one: make somebody else an admin first",
            );
        }
        counters.admins -= 1;
        self.state.put_counters(&counters);
        user.role = 0;
        Ok(())
    }

    /// Who is disabled is no admin: so the admins that are counted can all act. Who is enabled again is a user like others.
    pub(super) fn set_user_state(&mut self, by: u64, set: &rpc::SetUserState) -> Decision<outcome::Result> {
        self.must_be_admin(by)?;
        let id = set.user_id;
        let mut user = self.present_user(id)?;
        let (was_disabled, was_admin) = (user.disabled_ms != 0, user.role == ROLE_ADMIN);
        let disabled = set.disabled.unwrap_or(was_disabled);
        if set.admin == Some(true) {
            check_person(&user)?;
        }
        if disabled && set.admin == Some(true) {
            return rejected(ErrorCode::Invalid, "who is disabled cannot be an admin: enable her first");
        }
        let admin = set.admin.unwrap_or(was_admin) && !disabled;
        if admin && !was_admin {
            user.role = ROLE_ADMIN;
            let mut counters = self.state.counters()?;
            counters.admins += 1;
            self.state.put_counters(&counters);
        }
        if !admin {
            self.take_admin(&mut user)?;
        }
        if disabled != was_disabled {
            user.disabled_ms = if disabled { self.context.log_time_ms } else { 0 };
            // Whoever has the secret may be why.
            user.forget_offered_reset();
        }
        if (disabled, admin) == (was_disabled, was_admin) {
            return Ok(done());
        }
        self.state.put_user(id, &user);
        if disabled && !was_disabled {
            self.end_all_sessions(id)?;
        }
        let changes = [
            (disabled != was_disabled, if disabled { Audited::UserDisabled } else { Audited::UserEnabled }),
            (admin != was_admin, if admin { Audited::AdminMade } else { Audited::AdminUnmade }),
        ];
        for (_, action) in changes.into_iter().filter(|(changed, _)| *changed) {
            self.audit(by, action, Concerning::user(id))?;
        }
        Ok(done())
    }

    /// Nothing but the entry in the audit log: what is exported is read behind it.
    pub(super) fn record_export(&mut self, by: u64, export: &rpc::RecordExport) -> Decision<outcome::Result> {
        self.must_be_admin(by)?;
        let rpc::RecordExport { conversation_id, direct: with_direct } = *export;
        let has_direct = match conversation_id {
            0 => with_direct,
            id => match self.state.conversation(id)? {
                Some(conversation) => !conversation.is_group(),
                None => return rejected(ErrorCode::NotFound, "there is no such conversation"),
            },
        };
        let detail = if has_direct { "with direct".to_owned() } else { String::new() };
        let on = Concerning { conversation_id, detail, ..Concerning::default() };
        self.audit(by, Audited::MessagesExported, on)?;
        Ok(done())
    }

    /// Nothing but the entry in the audit log: the leader makes the change behind it, or finds that it cannot be made.
    pub(super) fn record_cluster_change(
        &mut self,
        by: u64,
        record: &rpc::RecordClusterChange,
    ) -> Decision<outcome::Result> {
        self.must_be_admin(by)?;
        let (action, detail) = match record.change.as_ref().and_then(|change| change.kind.as_ref()) {
            None => return rejected(ErrorCode::Invalid, "that is no change of the cluster"),
            Some(Kind::HandOver(rpc::HandOverLeadership { to: 0 })) => {
                (Audited::LeaderChangeAsked, String::new())
            }
            Some(Kind::HandOver(rpc::HandOverLeadership { to })) => {
                (Audited::LeaderChangeAsked, format!("to replica {to}"))
            }
            Some(Kind::Add(rpc::AddReplica { id, address, learner })) => {
                check_address(address)?;
                let kind = if *learner { "learner" } else { "voter" };
                (Audited::MembersChangeAsked, format!("add replica {id} at {address} as a {kind}"))
            }
            Some(Kind::Remove(rpc::RemoveReplica { id })) => {
                (Audited::MembersChangeAsked, format!("remove replica {id}"))
            }
            Some(Kind::Replace(rpc::ReplaceReplica { old_id, new_id, address })) => {
                check_address(address)?;
                let detail = format!("replace replica {old_id} by replica {new_id} at {address}");
                (Audited::MembersChangeAsked, detail)
            }
        };
        self.audit(by, action, Concerning { detail, ..Concerning::default() })?;
        Ok(done())
    }

    /// A newer offer takes the place of an older one.
    pub(super) fn offer_reset(&mut self, by: u64, offer: &rpc::OfferReset) -> Decision<outcome::Result> {
        self.must_be_admin(by)?;
        if offer.secret_hash.len() != HASH_BYTES {
            return rejected(ErrorCode::Invalid, "the hash of a secret has 32 bytes");
        }
        let mut user = self.present_user(offer.user_id)?;
        check_person(&user)?;
        user.reset_hash = offer.secret_hash.clone();
        user.reset_ends_ms = self.context.log_time_ms.saturating_add(RESET_MS);
        self.state.put_user(offer.user_id, &user);
        self.audit(by, Audited::ResetOffered, Concerning::user(offer.user_id))?;
        Ok(done())
    }
}
