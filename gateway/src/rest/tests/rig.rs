//! A gateway before a replica that says what a test tells it to, and who asks it.

use super::*;

/// A gateway before one replica, and Ana's token.
pub(super) struct Site {
    pub(super) rest: BoxedFilter<(Response,)>,
    pub(super) fake: Fake,
    pub(super) gateway: Arc<Gateway>,
    pub(super) token: String,
    _feeds: mpsc::Receiver<Feed>,
    _drain: watch::Sender<DrainPhase>,
}

pub(super) fn token(key: &SigningKey) -> String {
    let now = crate::clock::wall_ms() / 1_000;
    let claims = json!({"iss": ISSUER, "aud": "test", "sub": "7", "sid": uuid::Uuid::from_u128(9).to_string(),
                        "name": "ana", "iat": now, "exp": now + 900});
    signed(key, &claims)
}

pub(super) fn signed(key: &SigningKey, claims: &Value) -> String {
    let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": "k1"});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes());
    format!("{signed}.{signature}")
}

/// What every replica of the tests knows: the keys, a user `bob` (8), and Ana's password.
fn known(asked: &ReadRequest, key: &rpc::PublicKey, phc: &str) -> Option<Found> {
    let bob = rpc::UserRef { id: 8, name: "bob".into(), ..Default::default() };
    Some(match asked.query.as_ref()? {
        Query::Keys(_) => Found::Keys(rpc::KeysResult { keys: vec![key.clone()] }),
        Query::Directory(query) => {
            let users = if query.pattern == "bob" { vec![bob] } else { Vec::new() };
            Found::Directory(rpc::DirectoryResult { users })
        }
        Query::Password(_) => {
            Found::Password(rpc::CredentialsResult { password_phc: phc.to_owned(), ..Default::default() })
        }
        _ => return None,
    })
}

pub(super) async fn site(read: impl Fn(&ReadRequest) -> Option<Found> + Send + Sync + 'static) -> Site {
    site_with(read, |_| {}).await
}

pub(super) async fn site_with(
    read: impl Fn(&ReadRequest) -> Option<Found> + Send + Sync + 'static,
    change: impl FnOnce(&mut Config),
) -> Site {
    let key = SigningKey::from_bytes(&[1; 32]);
    let public_key = key.verifying_key().to_bytes().to_vec().into();
    let public = rpc::PublicKey { kid: "k1".into(), public_key };
    let (fake, feeds) = Fake::start(1).await;
    let passwords = crate::auth::phc_for_tests(PASSWORD);
    fake.set(|state| {
        state.role = "leader";
        state.submits = Submits::Apply;
        state.read = Box::new(move |asked| {
            let nothing = || rpc::Rejected { code: "not_found".into(), ..Default::default() };
            let found = read(&asked).or_else(|| known(&asked, &public, &passwords));
            let result = Some(found.unwrap_or_else(|| Found::Rejected(nothing())));
            Ok::<_, Status>(ReadResponse { as_of_index: 5, result, ..Default::default() })
        });
    });
    let mut config = Config {
        cluster: "test".into(),
        name: "a".into(),
        replicas: vec![fake.address.clone()],
        account_calls_per_minute: 30,
        limits: quorate_proto::limits::SessionLimits {
            frames_per_second: 0,
            sends_per_window_max: 0,
            ..Default::default()
        },
        ..Config::default()
    };
    change(&mut config);
    let (drain, phase) = watch::channel(DrainPhase::Serving);
    let gateway = Gateway::start(config, None, phase).expect("a gateway");
    let origins = Arc::new(OriginPolicy::new(&[]));
    let rest = routes(Arc::clone(&gateway), origins);
    Site { rest, fake, gateway, token: token(&key), _feeds: feeds, _drain: drain }
}

impl Site {
    pub(super) async fn call(&self, method: &Method, path: &str, body: Option<Value>) -> (u16, String) {
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
            .header("idempotency-key", uuid::Uuid::from_u128(5).to_string());
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = Bytes::from(body.map(|body| body.to_string()).unwrap_or_default());
        let mut request = request.body(Full::new(body)).expect("a request");
        request.extensions_mut().insert(Sent { client: Client(None), stream: None });
        let answered: Result<_, Infallible> = warp::service(self.rest.clone()).call(request).await;
        let Ok(response) = answered;
        let status = response.status().as_u16();
        let read = tokio::time::timeout(Duration::from_secs(20), response.into_body().collect());
        let body = read.await.expect("an answer in time").expect("a whole answer").to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    pub(super) async fn json(&self, path: &str) -> Value {
        let (status, body) = self.call(&Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Commands so far, without those that count attempts.
    pub(super) fn commands(&self) -> Vec<Command> {
        let commands =
            self.fake.commands().into_iter().map(|bytes| Command::decode(bytes).expect("a command"));
        commands.filter(|it| !matches!(it.action, Some(Action::CountAttempt(_)))).collect()
    }
}

pub(super) fn hash(secret: &str) -> Bytes {
    Bytes::copy_from_slice(blake3::hash(secret.as_bytes()).as_bytes())
}

pub(super) fn person(id: u64) -> Option<rpc::UserRef> {
    Some(rpc::UserRef { id, name: format!("user{id}"), ..Default::default() })
}

pub(super) fn message(sequence: u64) -> rpc::Event {
    let message =
        rpc::Message { sequence, from: person(8), text: format!("<b>{sequence}</b>"), ..Default::default() };
    rpc::Event {
        topic: Some(crate::convert::conversation_topic(3)),
        version: sequence,
        log_time_ms: sequence,
        kind: Some(rpc::event::Kind::Message(message)),
        ..Default::default()
    }
}
