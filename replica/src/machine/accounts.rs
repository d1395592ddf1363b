//! Users: their passwords and roles, and the keys that sign their tokens.

use bytes::Bytes;
use quorate_proto::error::ErrorCode;
use quorate_proto::rpc::{self, outcome};
use quorate_proto::text;

use super::audit::{Audited, Concerning};
use super::bots::check_person;
use super::records::{AdminOffer, ROLE_ADMIN, SigningKey, User};
use super::{Decision, Step, Tables as _, done, rejected};
use crate::store::View;

/// Longest PHC string kept; argon2id's are about 100 bytes.
const PHC_BYTES_MAX: usize = 512;
/// How long somebody may become an admin with an operator's secret, of log time.
const ADMIN_OFFER_MS: u64 = 24 * 3_600 * 1_000;

impl<V: View> Step<'_, V> {
    pub(super) fn create_user(&mut self, create: &rpc::CreateUser) -> Decision<outcome::Result> {
        let name = text::canonical_name(&create.name)?;
        let display_name = text::canonical_title(&create.display_name)?;
        check_phc(&create.password_phc)?;
        if self.state.user_id(&name)?.is_some() {
            return rejected(ErrorCode::NameTaken, "this user name is taken: choose another");
        }
        let mut counters = self.state.counters()?;
        counters.users += 1;
        let user_id = counters.users;
        self.state.put_counters(&counters);
        let user = User {
            name,
            display_name,
            password_phc: create.password_phc.clone(),
            created_ms: self.context.log_time_ms,
            role: 0,
            ..User::default()
        };
        self.state.put_user(user_id, &user);
        Ok(outcome::Result::User(rpc::UserCreated { user_id }))
    }

    /// Another password; whoever signed in with the old one elsewhere must sign in again, and tokens that were made with it end.
    pub(super) fn set_password(
        &mut self,
        by: u64,
        session_id: &Bytes,
        set: &rpc::SetPassword,
    ) -> Decision<outcome::Result> {
        check_phc(&set.password_phc)?;
        let Some(mut user) = self.state.user(by)? else {
            return rejected(ErrorCode::NotFound, "there is no such user");
        };
        if set.replaces != phc_mark(&user.password_phc) {
            return rejected(ErrorCode::Conflict, "the password was changed meanwhile");
        }
        user.password_phc.clone_from(&set.password_phc);
        user.forget_offered_reset();
        self.state.put_user(by, &user);
        let counter = self.counter_of_session(session_id)?;
        self.forget_attempts(counter);
        self.end_all_but(by, session_id)?;
        Ok(done())
    }

    pub(super) fn offer_admin(&mut self, offer: &rpc::OfferAdmin) -> Decision<outcome::Result> {
        if offer.secret_hash.len() != 32 {
            return rejected(ErrorCode::Invalid, "the hash of a secret has 32 bytes");
        }
        if offer.only_first && self.state.counters()?.admins > 0 {
            return rejected(ErrorCode::Conflict, "there is an admin already");
        }
        let ends_ms = self.context.log_time_ms.saturating_add(ADMIN_OFFER_MS);
        self.state.put_admin_offer(Some(&AdminOffer { secret_hash: offer.secret_hash.clone(), ends_ms }));
        self.audit(0, Audited::AdminOffered, Concerning::default())?;
        Ok(done())
    }

    /// A user who has the secret that an operator was given becomes an admin.
    pub(super) fn claim_admin(&mut self, by: u64, claim: &rpc::ClaimAdmin) -> Decision<outcome::Result> {
        let now_ms = self.context.log_time_ms;
        let good = |offer: &AdminOffer| offer.secret_hash == claim.secret_hash && now_ms < offer.ends_ms;
        if !self.state.admin_offer()?.as_ref().is_some_and(good) {
            let message = "this secret is not good, or not any more: ask the operator for a new one";
            return rejected(ErrorCode::Forbidden, message);
        }
        let Some(mut user) = self.state.user(by)? else {
            return rejected(ErrorCode::NotFound, "there is no such user");
        };
        check_person(&user)?;
        self.state.put_admin_offer(None);
        if user.role != ROLE_ADMIN {
            user.role = ROLE_ADMIN;
            self.state.put_user(by, &user);
            let mut counters = self.state.counters()?;
            counters.admins += 1;
            self.state.put_counters(&counters);
            self.audit(by, Audited::AdminClaimed, Concerning::user(by))?;
        }
        Ok(done())
    }

    pub(super) fn add_signing_key(&mut self, add: &rpc::AddSigningKey) -> Decision<outcome::Result> {
        if add.kid.is_empty() || add.kid.len() > 16 || add.public_key.len() != 32 {
            return rejected(
                ErrorCode::Invalid,
                "a signing key has a short name and a public half of 32 bytes",
            );
        }
        if self.state.signing_keys()?.iter().any(|key| key.kid == add.kid) {
            return rejected(ErrorCode::IdConflict, "there is a signing key of this name");
        }
        self.state.put_signing_key(&SigningKey {
            kid: add.kid.clone(),
            public_key: add.public_key.clone(),
            wrapped_private_key: Bytes::clone(&add.wrapped_private_key),
            created_ms: self.context.log_time_ms,
        });
        Ok(done())
    }

    pub(super) fn remove_signing_key(&mut self, remove: &rpc::RemoveSigningKey) -> Decision<outcome::Result> {
        let keys = self.state.signing_keys()?;
        let Some(key) = keys.iter().find(|key| key.kid == remove.kid) else {
            return rejected(ErrorCode::NotFound, "there is no signing key of this name");
        };
        if keys.len() == 1 {
            return rejected(ErrorCode::Invalid, "the last signing key stays");
        }
        self.state.delete_signing_key(key);
        Ok(done())
    }
}

pub(super) fn check_phc(phc: &str) -> Decision<()> {
    if phc.is_empty() || phc.len() > PHC_BYTES_MAX {
        return rejected(ErrorCode::Invalid, "an account needs a password hash in PHC format");
    }
    Ok(())
}

/// What a gateway names a PHC string by.
pub(super) fn phc_mark(phc: &str) -> Bytes {
    Bytes::copy_from_slice(&blake3::hash(phc.as_bytes()).as_bytes()[..16])
}
