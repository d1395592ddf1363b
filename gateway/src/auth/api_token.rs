//! Tokens of programs: what their text holds. Pure.
//!
//! `qbt_` and 64 characters of base64url: the session's id (16 bytes) and its secret (32 bytes). The prefix lets people and
//! scanners of source code know one when they see it. The replicas keep the secret's BLAKE3, nobody keeps the text.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// With this every token of this kind begins; no access token does, which begin with `ey`.
const PREFIX: &str = "qbt_";
/// Bytes of the session's id.
const SESSION_BYTES: usize = 16;
/// Bytes of the secret.
const SECRET_BYTES: usize = 32;

/// See the module. Its `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiToken {
    session: Uuid,
    secret: [u8; SECRET_BYTES],
}

impl std::fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiToken").field("session", &self.session).finish_non_exhaustive()
    }
}

impl ApiToken {
    /// Of random parts.
    pub fn new(session: Uuid, secret: [u8; SECRET_BYTES]) -> Self {
        Self { session, secret }
    }

    /// Whether a text says of itself that it is one.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// From its text.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (session, secret) = bytes.split_at_checked(SESSION_BYTES)?;
        Some(Self { session: Uuid::from_slice(session).ok()?, secret: secret.try_into().ok()? })
    }

    /// Its text.
    pub fn text(&self) -> String {
        let bytes = [&self.session.as_bytes()[..], &self.secret].concat();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The session that it is.
    pub fn session(&self) -> Uuid {
        self.session
    }

    /// What a replica is shown for an access token.
    pub fn secret(&self) -> &[u8; SECRET_BYTES] {
        &self.secret
    }

    /// What replicas know of the secret.
    pub fn secret_hash(&self) -> [u8; 32] {
        *blake3::hash(&self.secret).as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_text_and_shows_its_secret_nowhere_else() {
        let token = ApiToken::new(Uuid::from_u128(5), [0xab; 32]);
        let text = token.text();
        assert_eq!((text.len(), ApiToken::is_meant(&text)), (68, true));
        assert_eq!(ApiToken::parse(&text), Some(token.clone()));
        let shown = format!("{token:?}");
        assert!(!shown.contains("171") && !shown.contains("ab, "), "{shown}");
        assert_eq!(token.secret_hash(), *blake3::hash(&[0xab; 32]).as_bytes());
    }

    #[test]
    fn what_is_no_token_is_none() {
        let text = ApiToken::new(Uuid::from_u128(5), [7; 32]).text();
        let longer = format!("{text}AA");
        for bad in ["", "qbt_", "qbt_AAAA", &text[1..], &text[..67], &longer, "ey.a.b"] {
            assert_eq!(ApiToken::parse(bad), None, "{bad}");
        }
        assert!(!ApiToken::is_meant("eyJhbGciOiJFZERTQSJ9.e30.c2ln"));
    }
}
