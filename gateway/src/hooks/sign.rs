//! Signatures by the rules of Standard Webhooks 1.0, symmetric. Pure.
//!
//! `webhook-id`, `webhook-timestamp` (seconds since the Unix epoch) and `webhook-signature`: `v1,` and the base64 of the
//! HMAC-SHA256 of `id.timestamp.body`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// With this a secret begins where people see it.
const SECRET_PREFIX: &str = "whsec_";

/// The value of `webhook-signature`.
pub(super) fn signature(secret: &[u8], id: &str, timestamp_s: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of every length");
    mac.update(format!("{id}.{timestamp_s}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// A secret as its owner is shown it.
pub(crate) fn shown_secret(secret: &[u8]) -> String {
    format!("{SECRET_PREFIX}{}", STANDARD.encode(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As published with the specification, where libraries for it are tested.
    #[test]
    fn the_published_example_has_the_published_signature() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let told =
            signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(told, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(shown_secret(&secret), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    }

    #[test]
    fn whatever_is_changed_changes_the_signature() {
        let first = signature(&[1; 32], "a", 5, b"x");
        for other in [
            signature(&[2; 32], "a", 5, b"x"),
            signature(&[1; 32], "b", 5, b"x"),
            signature(&[1; 32], "a", 6, b"x"),
            signature(&[1; 32], "a", 5, b"y"),
        ] {
            assert_ne!(first, other);
        }
        assert_eq!(first, signature(&[1; 32], "a", 5, b"x"));
    }
}
