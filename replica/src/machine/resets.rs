//! Another password for who has forgotten hers: an admin's secret or a recovery code. And when users were seen.
//!
//! What is compared are BLAKE3 hashes of secrets with at least 128 bits of chance, which say nothing about each other: how long a
//! comparison takes teaches nobody anything, so it need not be constant in time. Guesses are counted before, as for a sign-in
//! (`CountAttempt`, by the gateway).

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate_proto::error::ErrorCode;
use quorate_proto::limits::{RECOVERY_CODES_MAX, SEEN_USERS_MAX};
use quorate_proto::rpc::{self, Command, outcome};

use super::accounts::check_phc;
use super::audit::{Audited, Concerning};
use super::records::{LastReset, User};
use super::{Decision, PeopleTables as _, Step, Tables as _, done, rejected};
use crate::store::View;

/// Bytes of a BLAKE3 hash.
const HASH_BYTES: usize = 32;
/// When somebody was seen is told to within this.
const SEEN_STEP_MS: u64 = 60 * 1_000;

impl<V: View> Step<'_, V> {
    /// Whoever has the secret sets the password. There is no session and no memory of command ids behind it (anybody could fill
    /// that one), so the user's record keeps the last one: the same command again is answered as the first, though its secret
    /// is used up, with whatever salt its password was hashed anew.
    pub(super) fn reset_password(
        &mut self,
        command: &Command,
        reset: &rpc::ResetPassword,
    ) -> Decision<outcome::Result> {
        check_phc(&reset.password_phc)?;
        if reset.secret_hash.len() != HASH_BYTES {
            return rejected(ErrorCode::Invalid, "the hash of a secret has 32 bytes");
        }
        let id = reset.user_id;
        let found = self.state.user(id)?.filter(User::is_active);
        let Some(mut user) = found else { return not_good() };
        let this =
            LastReset { secret_hash: reset.secret_hash.clone(), command_id: command.command_id.clone() };
        if user.last_reset.as_ref() == Some(&this) {
            return Ok(done());
        }
        let is_offered =
            user.reset_hash == reset.secret_hash && self.context.log_time_ms < user.reset_ends_ms;
        if is_offered {
            // Who asked an admin may have lost the account to somebody, who may have made codes for coming back.
            user.recovery_hashes.clear();
        } else {
            let code = user.recovery_hashes.iter().position(|hash| *hash == reset.secret_hash);
            let Some(code) = code else { return not_good() };
            user.recovery_hashes.remove(code);
        }
        user.password_phc.clone_from(&reset.password_phc);
        user.forget_offered_reset();
        user.last_reset = Some(this);
        self.state.put_user(id, &user);
        self.end_all_sessions(id)?;
        // She will sign in now, and not wait for those who guess.
        let none = Bytes::new();
        let strangers = self.counter_of(id, &[], (&none, &none))?;
        self.forget_attempts(strangers);
        if is_offered {
            self.audit(id, Audited::PasswordReset, Concerning::user(id))?;
        }
        Ok(done())
    }

    pub(super) fn set_recovery_codes(
        &mut self,
        by: u64,
        set: &rpc::SetRecoveryCodes,
    ) -> Decision<outcome::Result> {
        let hashes = &set.code_hashes;
        if hashes.len() > RECOVERY_CODES_MAX {
            return rejected(ErrorCode::TooLarge, "too many recovery codes");
        }
        let different: BTreeSet<&Bytes> = hashes.iter().collect();
        if different.len() != hashes.len() || hashes.iter().any(|hash| hash.len() != HASH_BYTES) {
            return rejected(ErrorCode::Invalid, "recovery codes differ, and their hashes have 32 bytes");
        }
        let mut user = self.present_user(by)?;
        user.recovery_hashes.clone_from(hashes);
        self.state.put_user(by, &user);
        Ok(done())
    }

    /// A maximum, taken twice as once; nobody waits for it.
    pub(super) fn record_seen(&mut self, seen: &rpc::RecordSeen) -> Decision<outcome::Result> {
        if seen.user_ids.len() > SEEN_USERS_MAX {
            return rejected(ErrorCode::TooLarge, "too many users at once");
        }
        let now_ms = self.context.log_time_ms / SEEN_STEP_MS * SEEN_STEP_MS;
        for id in &seen.user_ids {
            let is_newer = now_ms > self.state.seen_ms(*id)?;
            if is_newer && self.state.user(*id)?.is_some_and(|user| user.is_active()) {
                self.state.put_seen(*id, now_ms);
            }
        }
        Ok(done())
    }
}

/// Alike for a wrong secret, one that was used or is too old, and a user who is not there.
fn not_good<T>() -> Decision<T> {
    rejected(ErrorCode::Unauthenticated, "this secret is not good, or not any more")
}

impl User {
    /// What an admin offered is void once the password was set anew.
    pub(super) fn forget_offered_reset(&mut self) {
        self.reset_hash = Bytes::new();
        self.reset_ends_ms = 0;
    }
}
