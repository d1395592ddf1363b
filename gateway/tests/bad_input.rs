//! Bad input over real sockets, without any replica behind: each mistake gets the answer that the protocol names.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "door/routes.rs"]
mod routes;
#[path = "door/sockets.rs"]
mod sockets;
#[path = "door/tls.rs"]
mod tls;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use quorate_gateway::config::Config;
use quorate_gateway::server::Signals;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// For what comes after five seconds at the latest, on a machine that may be busy with something else.
const WAIT: Duration = Duration::from_secs(30);

struct Gateway {
    address: SocketAddr,
    signal: watch::Sender<u32>,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Gateway {
    async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            cluster: "test".into(),
            name: "a".into(),
            // Nothing listens there.
            replicas: vec!["127.0.0.1:9".into()],
            drain_grace_ms: 300,
            drain_spread_ms: 50,
            ..Config::default()
        };
        change(&mut config);
        config.check().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (signal, signals) = watch::channel(0);
        let running = tokio::spawn(quorate_gateway::run(config, listener, Signals::Test(signals)));
        Self { address, signal, running }
    }

    async fn dial_at(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Socket, Error> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "quorate.v1.json".parse().unwrap());
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(self.address).await?;
        client_async(request, stream).await.map(|(socket, _)| Socket(socket))
    }

    async fn dial(&self, headers: &[(&'static str, &str)]) -> Result<Socket, Error> {
        self.dial_at("/ws", headers).await
    }

    async fn socket(&self) -> Socket {
        self.dial(&[]).await.unwrap()
    }

    /// One request on a connection of its own: the whole answer as text.
    async fn http(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(WAIT, stream.read_to_end(&mut answer)).await.expect("an answer in time").unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(&self, path: &str) -> String {
        self.http(&format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address))
            .await
    }

    async fn post(&self, path: &str, headers: &str, body: &str) -> String {
        self.http(&format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            self.address,
            body.len()
        ))
        .await
    }
}

struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn say(&mut self, text: &str) {
        // The other end may be closing already; what it answers is what counts.
        let _ = self.0.send(Message::text(text.to_owned())).await;
    }

    /// Everything up to the close: the frames, and the close code.
    async fn ending(&mut self) -> (Vec<Value>, Option<u16>) {
        let mut frames = Vec::new();
        let mut code = None;
        while let Some(message) = timeout(WAIT, self.0.next()).await.expect("an end in time") {
            match message {
                Ok(Message::Text(text)) => frames.push(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(frame)) => code = frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        (frames, code)
    }

    #[track_caller]
    fn expect_bye(ending: (Vec<Value>, Option<u16>), code: u16) {
        let (frames, closed) = ending;
        assert_eq!(closed, Some(code), "{frames:?}");
        let bye = frames.last().expect("a bye before the close");
        assert_eq!((bye["type"].as_str(), bye["code"].as_u64()), (Some("bye"), Some(u64::from(code))));
        assert!(!bye["reason"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_frame_before_hello_is_told_bye_4400() {
    let gateway = Gateway::start(|_| {}).await;
    for text in
        [r#"{"type":"pong","n":1}"#, r#"{"type":"dance"}"#, r#"{"type":"open","id":1,"conversation":2}"#]
    {
        let mut socket = gateway.socket().await;
        socket.say(text).await;
        Socket::expect_bye(socket.ending().await, 4400);
    }
}

#[tokio::test]
async fn a_malformed_frame_is_told_bye_4400() {
    let gateway = Gateway::start(|_| {}).await;
    for text in ["{", "hello", "[]]", "7", "{}", r#"{"type":"hello"}"#] {
        let mut socket = gateway.socket().await;
        socket.say(text).await;
        Socket::expect_bye(socket.ending().await, 4400);
    }
    let mut socket = gateway.socket().await;
    socket.0.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    Socket::expect_bye(socket.ending().await, 4400);
}

#[tokio::test]
async fn a_frame_of_the_largest_size_passes_and_a_larger_one_is_closed_1009() {
    let gateway = Gateway::start(|_| {}).await;
    let frame = |bytes: usize| {
        let empty = r#"{"type":"hello","token":"x","pad":""}"#;
        format!(r#"{{"type":"hello","token":"x","pad":"{}"}}"#, "p".repeat(bytes - empty.len()))
    };
    let mut socket = gateway.socket().await;
    socket.say(&frame(64 * 1024)).await;
    Socket::expect_bye(socket.ending().await, 4401);
    for bytes in [64 * 1024 + 1, 1024 * 1024] {
        let mut socket = gateway.socket().await;
        socket.say(&frame(bytes)).await;
        assert_eq!(socket.ending().await.1, Some(1009), "{bytes}");
    }
}

#[tokio::test]
async fn a_bad_token_is_told_bye_4401() {
    let gateway = Gateway::start(|_| {}).await;
    let mut socket = gateway.socket().await;
    socket.say(r#"{"type":"hello","id":1,"token":"eyJhbGciOiJub25lIn0.e30."}"#).await;
    Socket::expect_bye(socket.ending().await, 4401);
}

#[tokio::test]
async fn a_silent_socket_is_told_bye_4408() {
    let gateway = Gateway::start(|config| config.hello_wait_ms = 200).await;
    let mut socket = gateway.socket().await;
    Socket::expect_bye(socket.ending().await, 4408);
}

#[tokio::test]
async fn an_unknown_version_is_accepted_and_told_bye_4426() {
    let gateway = Gateway::start(|_| {}).await;
    let mut socket = gateway.dial(&[("sec-websocket-protocol", "quorate.v9.json")]).await.unwrap();
    Socket::expect_bye(socket.ending().await, 4426);
}

#[tokio::test]
async fn a_foreign_origin_is_refused_before_the_upgrade() {
    let gateway = Gateway::start(|config| config.origins = vec!["https://chat.example.org".into()]).await;
    for origin in ["https://evil.example", "null", "https://chat.example.org.evil.example"] {
        match gateway.dial(&[("origin", origin)]).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 403, "{origin}"),
            other => panic!("{origin}: {:?}", other.err()),
        }
    }
    assert!(gateway.dial(&[("origin", "https://chat.example.org")]).await.is_ok());
    assert!(gateway.dial(&[]).await.is_ok(), "an absent origin is no browser");
    let posted = gateway
        .post(
            "/api/v1/sessions",
            "origin: https://evil.example\r\ncontent-type: application/json\r\n",
            r#"{"name":"ana","password":"long enough"}"#,
        )
        .await;
    assert!(posted.starts_with("HTTP/1.1 403 "), "{posted}");
}

#[tokio::test]
async fn a_gateway_is_full_at_its_bound_and_says_when_to_come_back() {
    let gateway = Gateway::start(|config| config.sockets_max = 1).await;
    let _first = gateway.socket().await;
    let mut second = gateway.socket().await;
    let ending = second.ending().await;
    assert!(ending.0[0]["retry_ms"].as_u64().unwrap() > 0);
    Socket::expect_bye(ending, 4105);
}

#[tokio::test]
async fn every_http_answer_says_what_is_wrong_and_carries_the_security_headers() {
    let gateway = Gateway::start(|_| {}).await;
    let json = "content-type: application/json\r\n";
    let body = r#"{"name":"ana","password":"long enough"}"#;
    let long = format!(r#"{{"name":"{}"}}"#, "a".repeat(20_000));
    let own = format!("origin: http://{}\r\n", gateway.address);
    let answers = [
        (gateway.get("/healthz").await, "200"),
        (gateway.get("/").await, "200"),
        (gateway.get("/metrics").await, "200"),
        (gateway.get("/statusz").await, "200"),
        (gateway.get("/readyz").await, "503"),
        (gateway.get("/nothing").await, "404"),
        (gateway.get("/ws").await, "400"),
        (gateway.get("/api/v1/users").await, "401"),
        (gateway.get("/api/v1/accounts").await, "405"),
        (gateway.post("/api/v1/accounts", "content-type: text/plain\r\n", body).await, "415"),
        (gateway.post("/api/v1/accounts", json, "{").await, "400"),
        (gateway.post("/api/v1/accounts", json, &long).await, "413"),
        (gateway.post("/api/v1/accounts", json, r#"{"name":"ana","password":"short"}"#).await, "422"),
        (gateway.post("/api/v1/accounts", &format!("{json}idempotency-key: 7\r\n"), body).await, "400"),
        (gateway.post("/api/v1/sessions/refresh", "", "").await, "401"),
        (
            gateway
                .post("/api/v1/sessions/refresh", &format!("{own}cookie: quorate_refresh=x\r\n"), "")
                .await,
            "401",
        ),
        // A cookie counts for pages of our own only, and no browser leaves out where it comes from.
        (gateway.post("/api/v1/sessions/refresh", "cookie: quorate_refresh=x\r\n", "").await, "403"),
        (
            gateway.post("/api/v1/sessions", &format!("{json}cookie: quorate_refresh=x\r\n"), body).await,
            "403",
        ),
    ];
    for (answer, status) in answers {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
        let lower = answer.to_lowercase();
        for header in [
            "content-security-policy: default-src 'none'",
            "; manifest-src 'self'; worker-src 'self';",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cross-origin-opener-policy: same-origin",
            "cross-origin-resource-policy: same-origin",
            "permissions-policy: ",
        ] {
            assert!(lower.contains(header), "{status} lacks {header}: {answer}");
        }
        if status.starts_with(['4', '5']) {
            assert!(lower.contains("content-type: application/problem+json"), "{answer}");
        }
    }
}

#[tokio::test]
async fn half_a_header_does_not_hold_a_connection() {
    let gateway = Gateway::start(|_| {}).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ").await.unwrap();
    let mut answer = Vec::new();
    timeout(WAIT, stream.read_to_end(&mut answer)).await.expect("closed within the header's wait").unwrap();
}

#[tokio::test]
async fn a_drained_gateway_is_not_ready_then_closes_its_sockets_and_ends() {
    // Time enough to be asked whether it is ready; the socket is not told that it was silent meanwhile.
    let gateway =
        Gateway::start(|config| (config.drain_grace_ms, config.hello_wait_ms) = (4_000, 60_000)).await;
    let mut socket = gateway.socket().await;
    gateway.signal.send_replace(1);
    let ready = gateway.get("/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("draining"), "{ready}");
    Socket::expect_bye(socket.ending().await, 4100);
    timeout(WAIT, gateway.running).await.expect("ends in time").unwrap().unwrap();
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let gateway = Gateway::start(|config| config.drain_grace_ms = 60_000).await;
    let _socket = gateway.socket().await;
    gateway.signal.send_replace(1);
    gateway.get("/readyz").await;
    gateway.signal.send_replace(2);
    timeout(WAIT, gateway.running).await.expect("ends at once").unwrap().unwrap();
}

fn binary(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_gateway")).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_users_mistake_is_one_line_and_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = "cluster = \"c\"\nname = \"a\"\nreplicas = [\"127.0.0.1:7101\"]\n";
    let good_file = file("good.toml", good);
    let key_file = file("key.toml", &format!("{good}colour = 1\n"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_address = taken.local_addr().unwrap().to_string();
    let cases: [(&[&str], &str); 7] = [
        (&["run", "--colour", "red"], "--colour"),
        (&["run", "--config", "/nonexistent/x.toml"], "/nonexistent/x.toml"),
        (&["run", "--config", &key_file], "colour"),
        (&["run", "--config", &good_file, "--replica", "10.0.0.1:7101"], "loopback"),
        (&["run", "--config", &good_file, "--listen", &taken_address], "--listen"),
        (&["run"], "--cluster"),
        (&[], "gateway run"),
    ];
    for (args, says) in cases {
        let (code, _, stderr) = binary(args);
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(says), "{args:?}: {stderr}");
        assert_eq!(stderr.trim_end().lines().count(), 1, "{args:?}: {stderr}");
    }
}

#[test]
fn print_config_prints_what_a_file_would_say() {
    let (code, stdout, _) =
        binary(&["run", "--cluster", "c", "--name", "a", "--replica", "127.0.0.1:7101", "--print-config"]);
    assert_eq!(code, Some(0));
    let table: toml::Table = toml::from_str(&stdout).unwrap();
    assert_eq!(table["cluster"].as_str(), Some("c"));
    assert_eq!(table["limits"]["frame_bytes_max"].as_integer(), Some(65_536));
}
