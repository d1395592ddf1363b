//! Access tokens: signed by whichever replica is asked, with a replicated key that only the replica tier can unwrap.
//!
//! Keys follow each other. A key is published (in the state, for every gateway to read) some time before it signs, and removed
//! some time after its successor has begun to, when no token of its own can be alive.

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
use quorate_proto::limits::{ACCESS_TOKEN_MS, PREVIOUS_SECRET_MS, READ_ONLY_TOKEN_MS};
use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::{
    AddSigningKey, Command, ReadResponse, RemoveSigningKey, TokenRequest, TokenResponse, outcome,
    read_response,
};
use quorate_proto::token::{Claims, ISSUER};
use tonic::Status;
use uuid::Uuid;

use crate::config::KeyTimes;
use crate::machine::records::{self, Session};
use crate::machine::{self, Tables as _, join, scopes};
use crate::node::Node;
use crate::store::StoreError;

/// Shortest cluster secret accepted.
const SECRET_BYTES_MIN: usize = 32;
/// Longest file read as a cluster secret.
const SECRET_BYTES_MAX: u64 = 4096;
/// How often a leader looks whether a key is due.
const KEY_CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// How long an access token is good that was given for a token: whoever ends that one waits no longer for it to be worth nothing.
const TOKEN_ACCESS_MS: u64 = 60 * 1_000;
/// Least life of an access token.
const LASTS_MS_LEAST: u64 = 1_000;
/// Bytes of an XChaCha20 nonce, before the wrapped key.
const NONCE_BYTES: usize = 24;

/// Signs access tokens.
pub struct Signer {
    cluster: String,
    wrap: XChaCha20Poly1305,
    /// Hides names in the log.
    names: [u8; 32],
    /// What the secrets of webhooks are made from.
    hooks: [u8; 32],
    times: KeyTimes,
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
    pub fn new(cluster: &str, secret_file: &Path, times: KeyTimes) -> Result<Self, String> {
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
        let names = blake3::derive_key("quorate v1 hide names", &secret);
        let hooks = blake3::derive_key("quorate v1 sign webhooks", &secret);
        let wrap = XChaCha20Poly1305::new(&key.into());
        Ok(Self { cluster: cluster.to_owned(), wrap, names, hooks, times })
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

    /// What stands for a name in the log: the same on every replica, and nothing to whoever has not the cluster's secret.
    pub(super) fn name_key(&self, name: &str) -> Bytes {
        Bytes::copy_from_slice(&blake3::keyed_hash(&self.names, name.as_bytes()).as_bytes()[..16])
    }

    /// The secret with which a webhook's calls are signed: the same on every replica, and stored nowhere.
    fn hook_secret(&self, bot_id: u64, generation: &[u8]) -> Bytes {
        let which = [bot_id.to_be_bytes().as_slice(), generation].concat();
        Bytes::copy_from_slice(blake3::keyed_hash(&self.hooks, &which).as_bytes())
    }

    /// Puts the secrets of webhooks where an answer says which they are.
    pub(super) fn fill_hook_secrets(&self, answer: &mut ReadResponse) {
        match &mut answer.result {
            Some(read_response::Result::Bots(found)) => {
                for bot in found.bots.iter_mut().filter(|bot| !bot.hook_secret.is_empty()) {
                    let id = bot.user.as_ref().map_or(0, |user| user.id);
                    bot.hook_secret = self.hook_secret(id, &bot.hook_secret);
                }
            }
            Some(read_response::Result::Hook(found)) if !found.secret.is_empty() => {
                let id = found.bot.as_ref().map_or(0, |bot| bot.id);
                found.secret = self.hook_secret(id, &found.secret);
            }
            _ => {}
        }
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

    /// Signs a token for a session whose refresh secret the caller knows, or that is a token itself whose secret she knows.
    pub(super) fn sign(&self, node: &Node, request: &TokenRequest) -> Result<TokenResponse, Status> {
        let broken = |error: StoreError| Status::internal(error.to_string());
        let refused = || Status::unauthenticated("this session has ended: sign in again");
        let state = node.store().read();
        let session = state.session(&request.session_id).map_err(broken)?.ok_or_else(refused)?;
        let now_ms = state.applied().log_time_ms;
        if !is_good(&session, request, now_ms) || !scopes::can_act(&state, session.user_id).map_err(broken)? {
            return Err(refused());
        }
        let shown = join::user(&state, session.user_id).map_err(broken)?;
        // By a token nobody administers anything.
        let record = state.user(session.user_id).map_err(broken)?;
        let admin = !request.of_token && record.is_some_and(|user| user.is_admin());
        let keys = state.signing_keys().map_err(broken)?;
        drop(state);
        let issued_ms = node.wall_clock_ms();
        let present = signing_now(&keys, issued_ms, &self.times)
            .ok_or_else(|| Status::unavailable("there is no signing key yet: try again"))?;
        let key = self.unwrap(&present.wrapped_private_key).ok_or_else(|| {
            Status::internal(
                "the signing key cannot be unwrapped: is cluster_secret_file the same on every replica?",
            )
        })?;
        let session_id = Uuid::from_slice(&request.session_id).map_err(|_| refused())?;
        // Not beyond the session's own end, where it has one; and not at once, where the log's time is behind this clock.
        let ends_ms = if session.ends_ms == 0 { u64::MAX } else { session.ends_ms };
        let expires_at_ms = (issued_ms + lasts_ms(request)).min(ends_ms.max(issued_ms + LASTS_MS_LEAST));
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: self.cluster.clone(),
            sub: session.user_id.to_string(),
            sid: session_id.to_string(),
            name: shown.name.clone(),
            iat: issued_ms / 1_000,
            exp: expires_at_ms / 1_000,
            ro: request.read_only,
            scope: session.scopes,
            conv: session.only_conversation,
        };
        let header = Header { kid: Some(present.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        let access_token = key
            .to_pkcs8_der()
            .ok()
            .and_then(|der| {
                jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(der.as_bytes())).ok()
            })
            .ok_or_else(|| Status::internal("cannot sign a token"))?;
        Ok(TokenResponse { access_token, expires_at_ms, user: Some(shown), admin })
    }

    /// While this replica leads, proposes the keys that are due and the end of those that are not needed any more. Runs for the
    /// life of the process.
    pub async fn keep_keys(self: Arc<Self>, node: Arc<Node>) {
        let mut check = tokio::time::interval(KEY_CHECK_INTERVAL);
        loop {
            check.tick().await;
            if !node.is_leader() {
                continue;
            }
            let (keys, version) = {
                let state = node.store().read();
                (state.signing_keys(), state.applied().machine_version)
            };
            let due = match keys {
                Ok(keys) => due(&keys, node.wall_clock_ms(), &self.times),
                Err(error) => {
                    tracing::error!(%error, "cannot read the signing keys");
                    return;
                }
            };
            let command = match due {
                Some(Due::New) => self.new_key(),
                Some(Due::Remove(kid)) if version >= machine::VERSION_ACCOUNTS => Ok(removal(kid)),
                Some(Due::Remove(_)) | None => continue,
            };
            match command {
                Ok(command) => propose_and_wait(&node, &command).await,
                Err(error) => tracing::error!(error, "cannot make a signing key"),
            }
        }
    }
}

/// Whether this is the session's present refresh secret, or the one before while it is good: another window may have been
/// faster by one refresh.
fn is_secret_of(session: &Session, secret: &[u8], log_time_ms: u64) -> bool {
    let given = blake3::hash(secret);
    // BLAKE3's comparison is constant in time.
    let is = |stored: &Bytes| <[u8; 32]>::try_from(stored.as_ref()).is_ok_and(|stored| given == stored);
    let previous_is_good = log_time_ms <= session.refreshed_ms.saturating_add(PREVIOUS_SECRET_MS);
    is(&session.refresh_hash) || (previous_is_good && is(&session.previous_hash))
}

/// Whether a session is what is asked for, lasts, and its secret is shown.
fn is_good(session: &Session, request: &TokenRequest, log_time_ms: u64) -> bool {
    session.is_token() == request.of_token
        && session.lasts(log_time_ms)
        && is_secret_of(session, &request.refresh_secret, log_time_ms)
}

/// How long an access token is good.
fn lasts_ms(request: &TokenRequest) -> u64 {
    match (request.of_token, request.read_only) {
        (true, _) => TOKEN_ACCESS_MS,
        (false, true) => READ_ONLY_TOKEN_MS,
        (false, false) => ACCESS_TOKEN_MS,
    }
}

/// What a leader has to propose.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    New,
    Remove(String),
}

/// The newest key that has been published for long enough; a cluster's first needs not wait. Keys are in order of time.
fn signing_now<'a>(
    keys: &'a [records::SigningKey],
    now_ms: u64,
    times: &KeyTimes,
) -> Option<&'a records::SigningKey> {
    let published = |key: &&records::SigningKey| key.created_ms.saturating_add(times.publish_ms) <= now_ms;
    keys.iter().rfind(published).or(keys.first())
}

fn due(keys: &[records::SigningKey], now_ms: u64, times: &KeyTimes) -> Option<Due> {
    let Some(newest) = keys.last() else { return Some(Due::New) };
    // Each begins to sign when it has been published for long enough, so they follow each other at this distance.
    if newest.created_ms.saturating_add(times.period_ms) <= now_ms {
        return Some(Due::New);
    }
    let replaced_ms = keys.get(1)?.created_ms.saturating_add(times.publish_ms);
    (replaced_ms.saturating_add(times.keep_ms) <= now_ms).then(|| Due::Remove(keys[0].kid.clone()))
}

fn removal(kid: String) -> Command {
    Command {
        command_id: Bytes::copy_from_slice(Uuid::new_v4().as_bytes()),
        action: Some(Action::RemoveSigningKey(RemoveSigningKey { kid })),
        ..Command::default()
    }
}

async fn propose_and_wait(node: &Node, command: &Command) {
    use futures_util::StreamExt as _;
    let made = matches!(command.action, Some(Action::AddSigningKey(_)));
    let Ok(outcomes) = node.propose(vec![Bytes::from(command.encode_to_vec())]).await else { return };
    let mut outcomes = std::pin::pin!(outcomes);
    match outcomes.next().await {
        Some(Ok(outcome)) if matches!(outcome.result, Some(outcome::Result::Done(_))) => {
            tracing::info!(index = outcome.index, made, "the signing keys have changed");
        }
        other => tracing::warn!(?other, "a change of the signing keys was not seen to be made, trying again"),
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
        let signer = Signer::new("c", &one, KeyTimes::default()).expect("serves");
        let wrapped = signer.wrap(&[7; 32]).expect("wraps");
        assert_eq!(signer.unwrap(&wrapped).expect("unwraps").to_bytes(), [7; 32]);
        assert!(Signer::new("c", &two, KeyTimes::default()).expect("serves").unwrap(&wrapped).is_none());
        std::fs::write(&two, [2; 31]).expect("a file");
        assert!(Signer::new("c", &two, KeyTimes::default()).expect_err("too short").contains("31 bytes"));
    }

    fn key(kid: &str, created_ms: u64) -> records::SigningKey {
        records::SigningKey { kid: kid.to_owned(), created_ms, ..records::SigningKey::default() }
    }

    #[test]
    fn a_key_is_published_before_it_signs_and_kept_after() {
        const MIN: u64 = 60_000;
        let times = KeyTimes::default();
        assert_eq!(due(&[], 0, &times), Some(Due::New), "a cluster begins with one");
        let keys = [key("a", 0), key("b", 24 * 60 * MIN)];
        let signs =
            |keys: &[records::SigningKey], now| signing_now(keys, now, &times).map(|key| key.kid.clone());
        assert_eq!(signs(&keys[..1], 0).as_deref(), Some("a"), "the first at once");
        assert_eq!(due(&keys[..1], keys[1].created_ms - 1, &times), None);
        assert_eq!(due(&keys[..1], keys[1].created_ms, &times), Some(Due::New));
        let turn = 24 * 60 * MIN + 15 * MIN;
        assert_eq!(signs(&keys, turn - 1).as_deref(), Some("a"));
        assert_eq!(signs(&keys, turn).as_deref(), Some("b"));
        assert_eq!(due(&keys, turn + 20 * MIN - 1, &times), None, "its tokens live for 15 minutes");
        assert_eq!(due(&keys, turn + 20 * MIN, &times), Some(Due::Remove("a".to_owned())));
        assert_eq!(due(&keys[1..], turn + 20 * MIN, &times), None);
    }

    #[test]
    fn the_secret_before_is_good_for_a_minute() {
        let hash = |secret: &[u8]| Bytes::copy_from_slice(blake3::hash(secret).as_bytes());
        let session = Session {
            refresh_hash: hash(b"new"),
            previous_hash: hash(b"old"),
            refreshed_ms: 1_000,
            ..Session::default()
        };
        assert!(is_secret_of(&session, b"new", 1_000_000));
        assert!(is_secret_of(&session, b"old", 61_000));
        assert!(!is_secret_of(&session, b"old", 61_001));
        assert!(!is_secret_of(&session, b"", 1_000));
        assert!(!is_secret_of(&Session::default(), b"", 0), "an empty hash is the hash of nothing");
    }

    #[test]
    fn a_token_is_taken_as_such_only_and_for_a_minute() {
        let hash = Bytes::copy_from_slice(blake3::hash(b"secret").as_bytes());
        let token = Session { refresh_hash: hash.clone(), scopes: 1, ends_ms: 2_000, ..Session::default() };
        let sign_in = Session { refresh_hash: hash, ..Session::default() };
        let ended = Session { ended_ms: 1, ..token.clone() };
        let ask = |of_token, secret: &'static [u8]| TokenRequest {
            of_token,
            refresh_secret: Bytes::from_static(secret),
            ..TokenRequest::default()
        };
        assert!(is_good(&token, &ask(true, b"secret"), 1_999));
        assert!(!is_good(&token, &ask(true, b"secret"), 2_000), "its time is over");
        assert!(!is_good(&token, &ask(true, b"guess"), 1_000));
        assert!(!is_good(&token, &ask(true, b""), 1_000));
        assert!(!is_good(&token, &ask(false, b"secret"), 1_000), "it is not refreshed");
        assert!(!is_good(&ended, &ask(true, b"secret"), 1_000));
        assert!(is_good(&sign_in, &ask(false, b"secret"), 9_000));
        assert!(!is_good(&sign_in, &ask(true, b"secret"), 9_000));
        let of =
            |of_token, read_only| lasts_ms(&TokenRequest { of_token, read_only, ..TokenRequest::default() });
        assert_eq!([of(true, false), of(true, true)], [60_000; 2]);
        assert_eq!([of(false, false), of(false, true)], [ACCESS_TOKEN_MS, READ_ONLY_TOKEN_MS]);
    }

    #[test]
    fn a_webhooks_secret_is_the_same_wherever_it_is_asked_for_and_another_for_each() {
        let dir = tempfile::tempdir().expect("a folder");
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::write(&one, [1; 32]).expect("a file");
        std::fs::write(&two, [2; 32]).expect("a file");
        let signer = |file: &Path| Signer::new("c", file, KeyTimes::default()).expect("serves");
        let secret = |signer: &Signer, bot, generation: u64| {
            let place = Bytes::copy_from_slice(&generation.to_be_bytes());
            let bot = Some(quorate_proto::rpc::UserRef { id: bot, ..Default::default() });
            let hook = quorate_proto::rpc::HookResult { bot, secret: place, ..Default::default() };
            let mut answer =
                ReadResponse { result: Some(read_response::Result::Hook(hook)), ..Default::default() };
            signer.fill_hook_secrets(&mut answer);
            match answer.result {
                Some(read_response::Result::Hook(hook)) => hook.secret,
                other => panic!("no webhook: {other:?}"),
            }
        };
        let first = secret(&signer(&one), 7, 1);
        assert_eq!(first.len(), 32);
        assert_eq!(first, secret(&signer(&one), 7, 1), "on every replica");
        for other in [secret(&signer(&one), 8, 1), secret(&signer(&one), 7, 2), secret(&signer(&two), 7, 1)] {
            assert_ne!(first, other);
        }
    }
}
