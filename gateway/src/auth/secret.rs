//! Refresh secrets: what the cookie holds, and how one follows another. Pure.
//!
//! A secret has two parts. The family is the same for the life of a session: who shows it with a secret that has long been
//! replaced has, or had, a copy of the cookie. The other part changes with each refresh: it is made of the one before and a
//! salt that the replicas keep, so that whoever asks twice, the first answer lost, is given the same, and nobody who sees only
//! the state can make it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// Bytes of the family.
const FAMILY_BYTES: usize = 16;
/// Bytes of the part that changes.
const SECRET_BYTES: usize = 32;

/// See the module. Its `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct RefreshSecret {
    session: Uuid,
    family: [u8; FAMILY_BYTES],
    secret: [u8; SECRET_BYTES],
}

impl std::fmt::Debug for RefreshSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefreshSecret").field("session", &self.session).finish_non_exhaustive()
    }
}

impl RefreshSecret {
    /// Of random parts.
    pub(super) fn new(session: Uuid, family: [u8; FAMILY_BYTES], secret: [u8; SECRET_BYTES]) -> Self {
        Self { session, family, secret }
    }

    /// From a cookie's value. One of an earlier program has no family: it is made of the secret, once and for all.
    pub(super) fn parse(cookie: &str) -> Option<Self> {
        let (session, rest) = cookie.split_once('.')?;
        let session = session.parse().ok()?;
        let bytes = URL_SAFE_NO_PAD.decode(rest).ok()?;
        if let Ok(secret) = <[u8; SECRET_BYTES]>::try_from(bytes.as_slice()) {
            let family = blake3::derive_key("quorate v1 family of a refresh secret", &secret);
            let family = family[..FAMILY_BYTES].try_into().ok()?;
            return Some(Self { session, family, secret });
        }
        let (family, secret) = bytes.split_at_checked(FAMILY_BYTES)?;
        Some(Self { session, family: family.try_into().ok()?, secret: secret.try_into().ok()? })
    }

    /// A cookie's value.
    pub(super) fn cookie(&self) -> String {
        format!("{}.{}", self.session, URL_SAFE_NO_PAD.encode([&self.family[..], &self.secret].concat()))
    }

    /// Whose it is.
    pub(super) fn session(&self) -> Uuid {
        self.session
    }

    /// The part that a replica is shown for a token.
    pub(super) fn secret(&self) -> &[u8; SECRET_BYTES] {
        &self.secret
    }

    /// What replicas know of the family.
    pub(super) fn family_hash(&self) -> [u8; 32] {
        *blake3::hash(&self.family).as_bytes()
    }

    /// What replicas know of the part that changes.
    pub(super) fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.secret).as_bytes()
    }

    /// The one that follows.
    pub(super) fn next(&self, salt: &[u8]) -> Self {
        let secret = *blake3::keyed_hash(&self.secret, salt).as_bytes();
        Self { secret, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_survives_the_cookie_and_its_successor_keeps_the_family() {
        let first = RefreshSecret::new(Uuid::from_u128(5), [1; 16], [2; 32]);
        assert_eq!(RefreshSecret::parse(&first.cookie()), Some(first.clone()));
        let next = first.next(&[3; 32]);
        assert_eq!(next, first.next(&[3; 32]), "the same for the same salt");
        assert_ne!(next.hash(), first.next(&[4; 32]).hash());
        assert_ne!(next.hash(), first.hash());
        assert_eq!((next.session(), next.family_hash()), (first.session(), first.family_hash()));
        assert!(!format!("{first:?}").contains('2'), "{first:?}");
    }

    #[test]
    fn a_cookie_of_an_earlier_program_has_one_family_and_nonsense_none() {
        let old = format!("{}.{}", Uuid::from_u128(5), URL_SAFE_NO_PAD.encode([7; 32]));
        let (one, two) = (RefreshSecret::parse(&old).unwrap(), RefreshSecret::parse(&old).unwrap());
        assert_eq!(one, two);
        assert_eq!(one.secret(), &[7; 32]);
        for bad in [
            "",
            "x",
            "x.y",
            "00000000-0000-0000-0000-000000000005.",
            "00000000-0000-0000-0000-000000000005.AA",
        ] {
            assert_eq!(RefreshSecret::parse(bad), None, "{bad}");
        }
    }
}
