//! Access tokens: signed by whichever replica is asked, with a replicated key that only the replica tier can unwrap.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use prost::Message as _;
use quorate_proto::limits::ACCESS_TOKEN_MS;
use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::{AddSigningKey, Command, TokenRequest, TokenResponse};
use quorate_proto::token::{Claims, ISSUER};
use tonic::Status;
use uuid::Uuid;

use crate::machine::{Tables as _, join};
use crate::node::Node;
use crate::store::StoreError;

/// Shortest cluster secret accepted.
const SECRET_BYTES_MIN: usize = 32;
/// Longest file read as a cluster secret.
const SECRET_BYTES_MAX: u64 = 4096;
/// How often a leader looks whether a key is there.
const KEY_CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// Bytes of an XChaCha20 nonce, before the wrapped key.
const NONCE_BYTES: usize = 24;

/// Signs access tokens.
pub struct Signer {
    cluster: String,
    wrap: XChaCha20Poly1305,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Signer {
    /// A signer whose keys are wrapped with the secret in a file.
    ///
    /// # Errors
    /// In one line that says what to do, when the file does not serve.
    pub fn new(cluster: &str, secret_file: &Path) -> Result<Self, String> {
        let name = secret_file.display();
        let length = secret_file
            .metadata()
            .map_err(|error| format!("cannot read cluster_secret_file {name}: {error}"))?
            .len();
        if length > SECRET_BYTES_MAX {
            return Err(format!("cluster_secret_file {name} is longer than {SECRET_BYTES_MAX} bytes"));
        }
        let secret = std::fs::read(secret_file)
            .map_err(|error| format!("cannot read cluster_secret_file {name}: {error}"))?;
        if secret.len() < SECRET_BYTES_MIN {
            return Err(format!(
                "cluster_secret_file {name} has {} bytes: it needs at least {SECRET_BYTES_MIN} random ones",
                secret.len()
            ));
        }
        let key = blake3::derive_key("quorate v1 wrap signing keys", &secret);
        Ok(Self { cluster: cluster.to_owned(), wrap: XChaCha20Poly1305::new(&key.into()) })
    }

    fn wrap(&self, private: &[u8]) -> Result<Bytes, String> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| format!("no randomness: {error}"))?;
        let sealed = self
            .wrap
            .encrypt(XNonce::from_slice(&nonce), private)
            .map_err(|_| "cannot wrap a key".to_owned())?;
        Ok(Bytes::from([nonce.as_slice(), &sealed].concat()))
    }

    fn unwrap(&self, wrapped: &[u8]) -> Option<SigningKey> {
        let (nonce, sealed) = wrapped.split_at_checked(NONCE_BYTES)?;
        let private = self.wrap.decrypt(XNonce::from_slice(nonce), sealed).ok()?;
        Some(SigningKey::from_bytes(private.as_slice().try_into().ok()?))
    }

    /// A new key as the command that brings it into the state.
    fn new_key(&self) -> Result<Command, String> {
        let mut private = [0; 32];
        getrandom::fill(&mut private).map_err(|error| format!("no randomness: {error}"))?;
        let key = SigningKey::from_bytes(&private);
        let id = Uuid::new_v4();
        let add = AddSigningKey {
            kid: id.simple().to_string()[..16].to_owned(),
            public_key: Bytes::copy_from_slice(key.verifying_key().as_bytes()),
            wrapped_private_key: self.wrap(&private)?,
        };
        Ok(Command {
            command_id: Bytes::copy_from_slice(id.as_bytes()),
            action: Some(Action::AddSigningKey(add)),
            ..Command::default()
        })
    }

    /// Signs a token for a session whose refresh secret the caller knows.
    pub(super) fn sign(&self, node: &Node, request: &TokenRequest) -> Result<TokenResponse, Status> {
        let broken = |error: StoreError| Status::internal(error.to_string());
        let refused = || Status::unauthenticated("this session has ended: sign in again");
        let state = node.store().read();
        let session = state.session(&request.session_id).map_err(broken)?.ok_or_else(refused)?;
        // BLAKE3's comparison is constant in time.
        let given = blake3::hash(&request.refresh_secret);
        let stored: [u8; 32] = session.refresh_hash.as_ref().try_into().map_err(|_| refused())?;
        if given != blake3::Hash::from(stored) || session.ended_ms != 0 {
            return Err(refused());
        }
        let user = join::user(&state, session.user_id).map_err(broken)?;
        let keys = state.signing_keys().map_err(broken)?;
        drop(state);
        let newest =
            keys.last().ok_or_else(|| Status::unavailable("there is no signing key yet: try again"))?;
        let key = self.unwrap(&newest.wrapped_private_key).ok_or_else(|| {
            Status::internal(
                "the signing key cannot be unwrapped: is cluster_secret_file the same on every replica?",
            )
        })?;
        let session_id = Uuid::from_slice(&request.session_id).map_err(|_| refused())?;
        let issued_ms = node.wall_clock_ms();
        let expires_at_ms = issued_ms + ACCESS_TOKEN_MS;
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: self.cluster.clone(),
            sub: session.user_id.to_string(),
            sid: session_id.to_string(),
            name: user.name.clone(),
            iat: issued_ms / 1_000,
            exp: expires_at_ms / 1_000,
        };
        let header = Header { kid: Some(newest.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        let access_token = key
            .to_pkcs8_der()
            .ok()
            .and_then(|der| {
                jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(der.as_bytes())).ok()
            })
            .ok_or_else(|| Status::internal("cannot sign a token"))?;
        Ok(TokenResponse { access_token, expires_at_ms, user: Some(user) })
    }

    /// While this replica leads and there is no key, proposes one. Runs for the life of the process.
    pub async fn keep_keys(self: Arc<Self>, node: Arc<Node>) {
        let mut check = tokio::time::interval(KEY_CHECK_INTERVAL);
        loop {
            check.tick().await;
            let missing = match node.store().read().signing_keys() {
                Ok(keys) => keys.is_empty(),
                Err(error) => {
                    tracing::error!(%error, "cannot read the signing keys");
                    return;
                }
            };
            if !missing {
                // Keys are never removed; a state that has one keeps one.
                return;
            }
            if !node.is_leader() {
                continue;
            }
            match self.new_key() {
                Ok(command) => propose_and_wait(&node, &command).await,
                Err(error) => tracing::error!(error, "cannot make a signing key"),
            }
        }
    }
}

async fn propose_and_wait(node: &Node, command: &Command) {
    use futures_util::StreamExt as _;
    let Ok(outcomes) = node.propose(vec![Bytes::from(command.encode_to_vec())]).await else { return };
    let mut outcomes = std::pin::pin!(outcomes);
    match outcomes.next().await {
        Some(Ok(outcome)) => tracing::info!(index = outcome.index, "made a signing key"),
        _ => tracing::warn!("the new signing key's fate was not seen, trying again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_key_is_read_with_the_same_secret_only() {
        let dir = tempfile::tempdir().expect("a folder");
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::write(&one, [1; 32]).expect("a file");
        std::fs::write(&two, [2; 32]).expect("a file");
        let signer = Signer::new("c", &one).expect("serves");
        let wrapped = signer.wrap(&[7; 32]).expect("wraps");
        assert_eq!(signer.unwrap(&wrapped).expect("unwraps").to_bytes(), [7; 32]);
        assert!(Signer::new("c", &two).expect("serves").unwrap(&wrapped).is_none());
        std::fs::write(&two, [2; 31]).expect("a file");
        assert!(Signer::new("c", &two).expect_err("too short").contains("31 bytes"));
    }
}
