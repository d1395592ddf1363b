//! Access tokens: JWTs signed by the replica tier with Ed25519, checked here with its public keys. A program's token is shown to the
//! replicas, who give an access token of a minute for it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::limits::TOKEN_LEEWAY_MS;
use quorate_proto::rpc::{
    KeysQuery, PublicKey, ReadRequest, TokenRequest, TokenScope, read_request, read_response,
};
use quorate_proto::token::{Claims, ISSUER};
use thiserror::Error;
use tokio::sync::{Mutex, RwLock};
use uuid::Uuid;

use super::api_token::ApiToken;
use super::exchange::{Exchanges, Known, UNKNOWN};
use crate::reads::{ReadError, Reader, request};

/// A token with an unknown key makes the gateway ask for the keys, at most this often.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// Longest token that is looked at; ours are under 600 bytes.
const TOKEN_BYTES_MAX: usize = 4 * 1024;
/// Keys that are known are asked for again after this, so that those which were removed go: a fraction of the time that a key
/// is published before it signs.
const KEEP_CURRENT_INTERVAL: Duration = Duration::from_secs(10);
/// An Ed25519 public key.
const KEY_BYTES: usize = 32;

/// For whom this gateway vouches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user_id: u64,
    /// Her canonical name.
    pub name: String,
    /// The session, as the replicas know it.
    pub session: Uuid,
    /// When the token ends by the wall clock, ms. One that reads only has ended already for whoever wants to write: the session
    /// goes on until writes are possible, and is then told to get another.
    pub ends_ms: u64,
    /// No commands are taken with it.
    pub read_only: bool,
    /// What a program's token is good for, of [`TokenScope`]; 0: a person who signed in, whom nothing holds back.
    pub scopes: u32,
    /// The one conversation that the token is for; 0: all of the user's.
    pub only_conversation: u64,
}

impl Identity {
    /// Whether this may be done, for what the replicas do not decide (signals, bytes of files) or would decide later.
    ///
    /// # Errors
    /// [`ErrorCode::Forbidden`], with the scope that is missing.
    pub fn check(&self, scope: TokenScope) -> Result<(), WireError> {
        let forbidden = |message: String| Err(WireError::new(ErrorCode::Forbidden, message));
        if self.only_conversation != 0 {
            return forbidden(
                "this token is for sending messages into one conversation, and for nothing else".to_owned(),
            );
        }
        if self.scopes != 0 && self.scopes & scope as u32 == 0 {
            return forbidden(format!(
                "this token is not good for it: it lacks the scope `{}`",
                scope_word(scope)
            ));
        }
        Ok(())
    }
}

/// What a scope is called outside.
fn scope_word(scope: TokenScope) -> &'static str {
    match scope {
        TokenScope::Read => "read",
        TokenScope::Send => "send",
        TokenScope::Manage => "manage",
        TokenScope::Unspecified => "of a newer version",
    }
}

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It was good once.
    #[error("the access token has expired")]
    Expired,
    /// It is not ours.
    #[error("the access token is not valid: {0}")]
    Invalid(&'static str),
    /// The keys cannot be had, or nobody can say what a program's token is worth.
    #[error("no replica can say now what the token is worth")]
    Unavailable,
}

/// Checks tokens.
#[derive(Debug)]
pub struct TokenVerifier {
    reader: Reader,
    validation: Validation,
    keys: RwLock<HashMap<String, DecodingKey>>,
    /// When the keys were last asked for; the lock makes one question of many.
    asked: Mutex<Option<Instant>>,
    exchanges: Exchanges,
    /// When somebody began to ask for the newest index, and what it was; the lock makes one question of many.
    newest: Mutex<Option<(Instant, u64)>>,
}

impl TokenVerifier {
    /// A verifier for tokens of `cluster`.
    pub fn new(cluster: &str, reader: Reader) -> Self {
        // The algorithm is ours to say, never the token's.
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[cluster]);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.leeway = TOKEN_LEEWAY_MS / 1_000;
        Self {
            reader,
            validation,
            keys: RwLock::new(HashMap::new()),
            asked: Mutex::new(None),
            exchanges: Exchanges::new(),
            newest: Mutex::new(None),
        }
    }

    /// Checks a token, by this gateway's clock or with the replicas.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        self.verify_asking(token).await.0
    }

    /// The same, and whether the replicas were asked what a program's token is worth.
    pub async fn verify_asking(&self, token: &str) -> (Result<Identity, TokenError>, bool) {
        if ApiToken::is_meant(token) {
            self.of_program(token).await
        } else {
            (self.of_session(token).await, false)
        }
    }

    /// Whether somebody who shows this program's token need not be held back: it was good when it was last asked about, or costs no
    /// question now.
    pub fn costs_nothing(&self, token: &str) -> bool {
        ApiToken::parse(token).is_none() || self.exchanges.costs_nothing(token)
    }

    /// What a program's token is worth, and whether the replicas were asked.
    async fn of_program(&self, text: &str) -> (Result<Identity, TokenError>, bool) {
        let Some(token) = ApiToken::parse(text) else {
            return (Err(TokenError::Invalid("not of the expected form")), false);
        };
        let slot = self.exchanges.slot(text);
        let mut known = slot.lock().await;
        if let Some(result) = known.as_ref().and_then(Known::current) {
            return (result, false);
        }
        let Some(_turn) = self.exchanges.turn().await else {
            return (Err(TokenError::Unavailable), false);
        };
        let result = self.exchange(&token).await;
        *known = Some(Known::new(result.clone()));
        (result, true)
    }

    /// A refusal is believed only of a replica that has applied everything there is: others do not know a young token yet.
    async fn exchange(&self, token: &ApiToken) -> Result<Identity, TokenError> {
        let begun = Instant::now();
        let mut answer = self.access_token(token, 0).await;
        if answer == Err(ReadError::Unauthenticated) {
            let newest = self.newest_index(begun).await?;
            answer = self.access_token(token, newest).await;
        }
        let access_token = answer.map_err(|error| match error {
            ReadError::Unauthenticated => UNKNOWN,
            _ => TokenError::Unavailable,
        })?;
        let identity = self.of_session(&access_token).await?;
        if identity.session != token.session() || identity.scopes == 0 {
            return Err(TokenError::Invalid("a replica gave another's access token"));
        }
        Ok(identity)
    }

    async fn access_token(&self, token: &ApiToken, min_index: u64) -> Result<String, ReadError> {
        let asked = TokenRequest {
            session_id: token.session().as_bytes().to_vec().into(),
            refresh_secret: token.secret().to_vec().into(),
            min_index,
            read_only: false,
            of_token: true,
        };
        Ok(self.reader.token(asked).await?.access_token)
    }

    /// An index that is not older than `since`.
    async fn newest_index(&self, since: Instant) -> Result<u64, TokenError> {
        let mut newest = self.newest.lock().await;
        if let Some((_, index)) = newest.filter(|(begun, _)| *begun >= since) {
            return Ok(index);
        }
        let begun = Instant::now();
        let near = request(0, 0, &[], read_request::Query::Keys(KeysQuery {}));
        let response = self.reader.read(ReadRequest { linearizable: true, ..near }).await;
        let index = response.map_err(|_| TokenError::Unavailable)?.as_of_index;
        *newest = Some((begun, index));
        Ok(index)
    }

    async fn of_session(&self, token: &str) -> Result<Identity, TokenError> {
        let kid = self.key_id(token)?;
        if let Some(identity) = self.try_known(token, &kid).await {
            return identity;
        }
        self.refresh(&kid).await?;
        match self.try_known(token, &kid).await {
            Some(identity) => identity,
            None => Err(TokenError::Invalid("unknown key")),
        }
    }

    fn key_id(&self, token: &str) -> Result<String, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid("too long"));
        }
        let header = decode_header(token).map_err(|_| TokenError::Invalid("no JWT"))?;
        if header.alg != Algorithm::EdDSA {
            return Err(TokenError::Invalid("wrong algorithm"));
        }
        header.kid.ok_or(TokenError::Invalid("no key id"))
    }

    async fn try_known(&self, token: &str, kid: &str) -> Option<Result<Identity, TokenError>> {
        let keys = self.keys.read().await;
        let key = keys.get(kid)?;
        Some(check(token, key, &self.validation))
    }

    /// Asks for the keys until `kid` is among them, or a replica that is sure to know all of them does not know it.
    ///
    /// # Errors
    /// [`TokenError::Unavailable`] when nobody can say, or somebody asked in vain a moment ago: forged tokens must not make
    /// a call each, and a key that is younger than that question is not "unknown".
    async fn refresh(&self, kid: &str) -> Result<(), TokenError> {
        let mut asked = self.asked.lock().await;
        if self.keys.read().await.contains_key(kid) {
            return Ok(());
        }
        if asked.is_some_and(|at| at.elapsed() < REFRESH_INTERVAL) {
            return Err(TokenError::Unavailable);
        }
        for linearizable in [false, true] {
            let query = read_request::Query::Keys(KeysQuery {});
            let near = request(self.reader.known_index(), 0, &[], query);
            let response = self.reader.read(ReadRequest { linearizable, ..near }).await;
            let Ok(Some(read_response::Result::Keys(found))) = response.map(|response| response.result)
            else {
                *asked = Some(Instant::now());
                return Err(TokenError::Unavailable);
            };
            self.learn(found.keys).await;
            if self.keys.read().await.contains_key(kid) {
                return Ok(());
            }
        }
        // Only in vain: a key that was found makes no later question wrong.
        *asked = Some(Instant::now());
        Ok(())
    }

    /// Reads the keys now and then, for the life of the gateway. Without an answer the old ones stay: an outage of the replicas
    /// signs nobody out.
    pub async fn keep_current(gateway: std::sync::Weak<crate::context::Gateway>) {
        loop {
            tokio::time::sleep(KEEP_CURRENT_INTERVAL).await;
            let Some(gateway) = gateway.upgrade() else { return };
            let verifier = &gateway.tokens;
            let asked =
                request(verifier.reader.known_index(), 0, &[], read_request::Query::Keys(KeysQuery {}));
            if let Ok(Some(read_response::Result::Keys(found))) =
                verifier.reader.read(asked).await.map(|response| response.result)
            {
                verifier.learn(found.keys).await;
            }
        }
    }

    async fn learn(&self, found: Vec<PublicKey>) {
        let known = found
            .into_iter()
            .filter(|key| key.public_key.len() == KEY_BYTES)
            .map(|key| (key.kid, DecodingKey::from_ed_der(&key.public_key)))
            .collect();
        *self.keys.write().await = known;
    }
}

fn check(token: &str, key: &DecodingKey, validation: &Validation) -> Result<Identity, TokenError> {
    let claims = decode::<Claims>(token, key, validation)
        .map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => TokenError::Expired,
            ErrorKind::InvalidSignature => TokenError::Invalid("wrong signature"),
            ErrorKind::InvalidAudience => TokenError::Invalid("of another cluster"),
            ErrorKind::InvalidIssuer => TokenError::Invalid("of another issuer"),
            _ => TokenError::Invalid("not of the expected form"),
        })?
        .claims;
    Ok(Identity {
        user_id: claims.sub.parse().map_err(|_| TokenError::Invalid("no user id"))?,
        name: claims.name,
        session: claims.sid.parse().map_err(|_| TokenError::Invalid("no session id"))?,
        ends_ms: if claims.ro { 0 } else { claims.exp.saturating_mul(1_000) },
        read_only: claims.ro,
        scopes: claims.scope,
        only_conversation: claims.conv,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ed25519_dalek::pkcs8::EncodePrivateKey as _;
    use ed25519_dalek::{Signer as _, SigningKey};
    use quorate_proto::rpc::{KeysResult, ReadResponse};
    use serde_json::{Value, json};

    use super::*;
    use crate::metrics::Metrics;
    use crate::replicas::Replicas;
    use crate::testing::{Fake, tier};

    const CLUSTER: &str = "c1";

    async fn verifier(key: &SigningKey) -> TokenVerifier {
        // Nothing listens there: a test that needs the keys refreshed would say `Unavailable`.
        let replicas = Arc::new(Replicas::new(CLUSTER, &["127.0.0.1:9".to_owned()], 0, None).unwrap());
        let verifier = TokenVerifier::new(CLUSTER, Reader::new(replicas, Arc::new(Metrics::default())));
        let public_key = key.verifying_key().to_bytes().to_vec().into();
        verifier.learn(vec![PublicKey { kid: "k1".into(), public_key }]).await;
        verifier
    }

    fn claims() -> Value {
        let now = crate::clock::wall_ms() / 1_000;
        json!({"iss": ISSUER, "aud": CLUSTER, "sub": "7", "sid": Uuid::from_u128(9).to_string(),
               "name": "ana", "iat": now, "exp": now + 900})
    }

    fn sign(header: &Value, claims: &Value, key: &SigningKey) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes());
        format!("{signed}.{signature}")
    }

    fn header() -> Value {
        json!({"alg": "EdDSA", "typ": "JWT", "kid": "k1"})
    }

    fn with(mut value: Value, key: &str, to: Value) -> Value {
        value[key] = to;
        value
    }

    #[tokio::test]
    async fn an_honest_token_says_who_it_is() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let identity = verifier(&key).await.verify(&sign(&header(), &claims(), &key)).await.unwrap();
        assert_eq!((identity.user_id, identity.name.as_str()), (7, "ana"));
        assert_eq!(identity.session, Uuid::from_u128(9));
    }

    #[tokio::test]
    async fn a_key_that_a_lagging_replica_does_not_know_is_asked_for_again() {
        let (key, stranger) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
        let public = PublicKey {
            kid: header()["kid"].as_str().unwrap().into(),
            public_key: key.verifying_key().to_bytes().to_vec().into(),
        };
        let (fake, _feeds) = Fake::start(1).await;
        fake.set(|state| {
            state.read = Box::new(move |asked| {
                let keys = if asked.linearizable { vec![public.clone()] } else { Vec::new() };
                let result = read_response::Result::Keys(KeysResult { keys });
                Ok(ReadResponse { result: Some(result), ..ReadResponse::default() })
            });
        });
        let (_, reader, _) = tier(&[&fake]);
        let verifier = TokenVerifier::new(CLUSTER, reader);
        verifier.verify(&sign(&header(), &claims(), &key)).await.unwrap();
        let other = with(header(), "kid", "nobody's".into());
        let forged = sign(&other, &claims(), &stranger);
        assert_eq!(verifier.verify(&forged).await, Err(TokenError::Invalid("unknown key")));
        // Asked a moment ago; after a longer one, which a busy machine may make of it, it is asked again.
        let mut said = verifier.verify(&forged).await;
        for _ in 0..10 {
            if said == Err(TokenError::Unavailable) {
                break;
            }
            assert_eq!(said, Err(TokenError::Invalid("unknown key")));
            said = verifier.verify(&forged).await;
        }
        assert_eq!(said, Err(TokenError::Unavailable), "asked a moment ago");
    }

    #[tokio::test]
    async fn forged_tokens_are_refused() {
        let (key, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let verifier = verifier(&key).await;
        let good = sign(&header(), &claims(), &key);
        let unsigned = good.rsplit_once('.').unwrap().0.to_owned();
        let swapped = {
            let mut parts: Vec<String> = good.split('.').map(str::to_owned).collect();
            parts[1] = URL_SAFE_NO_PAD.encode(with(claims(), "sub", json!("1")).to_string());
            parts.join(".")
        };
        let now = crate::clock::wall_ms() / 1_000;
        // An HMAC keyed with the public key: the classic confusion of algorithms.
        let confused = jsonwebtoken::encode(
            &jsonwebtoken::Header { kid: Some("k1".into()), ..Default::default() },
            &claims(),
            &jsonwebtoken::EncodingKey::from_secret(&key.verifying_key().to_bytes()),
        )
        .unwrap();
        let forged = [
            ("empty", String::new()),
            ("no JWT", "a.b.c".to_owned()),
            ("another's signature", sign(&header(), &claims(), &other)),
            ("no signature", format!("{unsigned}.")),
            ("two parts", unsigned),
            ("changed claims", swapped),
            ("alg none", sign(&with(header(), "alg", json!("none")), &claims(), &key)),
            ("alg HS256", sign(&with(header(), "alg", json!("HS256")), &claims(), &key)),
            ("HMAC with the public key", confused),
            ("no key id", sign(&json!({"alg": "EdDSA"}), &claims(), &key)),
            ("another cluster", sign(&header(), &with(claims(), "aud", json!("c2")), &key)),
            ("another issuer", sign(&header(), &with(claims(), "iss", json!("x")), &key)),
            ("no audience", sign(&header(), &with(claims(), "aud", Value::Null), &key)),
            ("exp as text", sign(&header(), &with(claims(), "exp", json!((now + 900).to_string())), &key)),
            ("no exp", sign(&header(), &with(claims(), "exp", Value::Null), &key)),
            ("negative exp", sign(&header(), &with(claims(), "exp", json!(-1)), &key)),
            ("sub is no number", sign(&header(), &with(claims(), "sub", json!("root")), &key)),
            ("sid is no UUID", sign(&header(), &with(claims(), "sid", json!("x")), &key)),
            ("no issuer", sign(&header(), &with(claims(), "iss", Value::Null), &key)),
            ("reads only, as text", sign(&header(), &with(claims(), "ro", json!("no")), &key)),
            (
                "a key of its own",
                sign(
                    &with(header(), "jwk", json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"})),
                    &claims(),
                    &other,
                ),
            ),
            ("too long", "x".repeat(TOKEN_BYTES_MAX + 1)),
        ];
        for (what, token) in forged {
            let result = verifier.verify(&token).await;
            assert!(matches!(result, Err(TokenError::Invalid(_))), "{what}: {result:?}");
        }
    }

    #[tokio::test]
    async fn an_expired_token_is_told_from_a_forged_one_and_has_leeway() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let verifier = verifier(&key).await;
        let now = crate::clock::wall_ms() / 1_000;
        let at = |exp: u64| sign(&header(), &with(claims(), "exp", json!(exp)), &key);
        assert_eq!(verifier.verify(&at(now - 40)).await, Err(TokenError::Expired));
        assert!(verifier.verify(&at(now - 20)).await.is_ok());
    }

    #[tokio::test]
    async fn a_token_made_by_the_library_is_accepted_too() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let der = key.to_pkcs8_der().unwrap();
        let header =
            jsonwebtoken::Header { kid: Some("k1".into()), ..jsonwebtoken::Header::new(Algorithm::EdDSA) };
        let token =
            jsonwebtoken::encode(&header, &claims(), &jsonwebtoken::EncodingKey::from_ed_der(der.as_bytes()))
                .unwrap();
        assert!(verifier(&key).await.verify(&token).await.is_ok());
    }
}
