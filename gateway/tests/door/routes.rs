//! The table of routes from outside: what is served is described, what is described is served, and every answer carries
//! what every answer must.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;

/// One answer, taken apart.
struct Parts {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

fn parts(answer: &str) -> Parts {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Parts { status, headers, body: body.to_owned() }
}

/// What every answer has, and a refusal besides.
fn check(what: &str, answer: &Parts) {
    for (name, begins) in [
        ("content-security-policy", "default-src 'none'"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", ""),
        ("x-frame-options", "DENY"),
    ] {
        let value = answer.headers.get(name).unwrap_or_else(|| panic!("{what}: no {name}"));
        assert!(value.starts_with(begins), "{what}: {name}: {value}");
    }
    if (400..500).contains(&answer.status) {
        let kind = answer.headers.get("content-type").map(String::as_str);
        assert_eq!(kind, Some("application/problem+json"), "{what}");
        assert_eq!(answer.headers.get("cache-control").map(String::as_str), Some("no-store"), "{what}");
    }
}

impl Gateway {
    async fn call(&self, method: &str, path: &str) -> Parts {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            self.address
        );
        parts(&self.http(&request).await)
    }
}

/// Described, and not there for who has no right to know better.
const HIDDEN: [&str; 4] = ["/api/v1/hooks/{token}", "/api/v1/demo/entries", "/demo", "/demo.js"];
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];

/// A path of this pattern.
fn fill(pattern: &str) -> String {
    let fill = |part: &str| match part {
        "{session}" | "{file}" => "6f9619ff-8b86-4d01-b42d-00cf4fc964ff".to_owned(),
        "{user}" => "ana".to_owned(),
        part if part.starts_with('{') => "1".to_owned(),
        part => part.to_owned(),
    };
    pattern.split('/').map(fill).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn what_is_described_is_served_and_what_is_not_described_is_refused() {
    let gateway = Gateway::start(|_| {}).await;
    let document: Value = serde_json::from_str(&gateway.call("GET", "/openapi.json").await.body).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 18, "only {} paths", paths.len());
    for (pattern, item) in paths {
        let described: BTreeSet<String> =
            item.as_object().unwrap().keys().map(|method| method.to_ascii_uppercase()).collect();
        for method in METHODS {
            let what = format!("{method} {pattern}");
            let answer = gateway.call(method, &fill(pattern)).await;
            check(&what, &answer);
            let reads_head = method == "HEAD" && described.contains("GET") && pattern != "/ws";
            if described.contains(method) || reads_head {
                let verb = if reads_head { "get" } else { &method.to_ascii_lowercase() };
                let documented = &item[verb]["responses"];
                assert!(documented.get(answer.status.to_string()).is_some(), "{what}: {}", answer.status);
                // A wrong token of a webhook is answered as if there were nothing; so is a stranger of a demo that there is not.
                let is_nothing = HIDDEN.contains(&pattern.as_str());
                assert_eq!(answer.status == 404, is_nothing, "{what}");
                assert!(!reads_head || answer.body.is_empty(), "{what} has a body");
            } else {
                assert_eq!(answer.status, 405, "{what}");
                let allow = answer.headers.get("allow").unwrap_or_else(|| panic!("{what}: no Allow"));
                let mut allowed: BTreeSet<String> = allow.split(", ").map(str::to_owned).collect();
                allowed.remove("HEAD");
                assert_eq!(allowed, described, "{what}");
            }
        }
    }
    for stranger in
        ["/api", "/api/v1", "/api/v2/me", "/api/v1/me/", "/api/v1/conversations/1/nothing", "/debug/echo"]
    {
        for method in METHODS {
            let answer = gateway.call(method, stranger).await;
            check(stranger, &answer);
            assert_eq!(answer.status, 404, "{method} {stranger}");
        }
    }
}

#[tokio::test]
async fn head_says_what_get_would() {
    let gateway = Gateway::start(|_| {}).await;
    for path in ["/openapi.json", "/healthz", "/"] {
        let (get, head) = (gateway.call("GET", path).await, gateway.call("HEAD", path).await);
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        for name in ["content-length", "content-type"] {
            assert_eq!(head.headers.get(name), get.headers.get(name), "{path}");
        }
    }
}

#[tokio::test]
async fn strict_transport_is_asked_for_where_browsers_come_by_tls_and_nowhere_else() {
    let name = "strict-transport-security";
    let plain = Gateway::start(|_| {}).await;
    assert!(!plain.call("GET", "/healthz").await.headers.contains_key(name));
    let secure = Gateway::start(|config| config.secure_cookies = true).await;
    for path in ["/healthz", "/nothing", "/ws"] {
        assert!(secure.call("GET", path).await.headers[name].starts_with("max-age=63072000"), "{path}");
    }
}

#[tokio::test]
async fn what_is_too_long_or_no_http_is_refused_in_the_words_of_all_answers() {
    let gateway = Gateway::start(|_| {}).await;
    let long = |bytes: usize| format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(bytes));
    let path = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "p".repeat(17 * 1024));
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(200));
    let body = "POST /api/v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    for (what, request, status) in [
        ("a header of 17 KiB", long(17 * 1024), 431),
        ("a header of 100 KiB", long(100 * 1024), 431),
        ("200 fields", many, 431),
        ("a path of 17 KiB", path, 431),
        ("no HTTP", "dance with me\r\n\r\n".to_owned(), 400),
        ("another version", "GET / HTTP/7.1\r\nhost: x\r\n\r\n".to_owned(), 400),
        ("a field without a name", "GET / HTTP/1.1\r\n: x\r\n\r\n".to_owned(), 400),
        ("a body of 2^62 bytes", format!("{body}content-length: 4611686018427387904\r\n\r\n"), 413),
        ("two lengths", format!("{body}content-length: 1\r\ncontent-length: 2\r\n\r\nxx"), 400),
        ("a chunk that is none", format!("{body}transfer-encoding: chunked\r\n\r\nzz\r\n"), 400),
    ] {
        let answer = parts(&gateway.http(&request).await);
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        check(what, &answer);
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(problem["status"], status, "{what}");
    }
    // A header just within the bound is served.
    let fits = long(15 * 1024).replace("host: x", "host: x\r\nconnection: close");
    assert_eq!(parts(&gateway.http(&fits).await).status, 200);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_408_and_the_connection_closed() {
    let gateway = Gateway::start(|_| {}).await;
    let request = "POST /api/v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    let answer = parts(&gateway.http(request).await);
    assert_eq!(answer.status, 408);
    check("half a body", &answer);
}

#[tokio::test]
async fn an_address_has_so_many_places_for_those_who_did_not_say_who_they_are() {
    let gateway = Gateway::start(|config| {
        config.strangers_per_address_max = 3;
        config.trusted_balancers.clear();
        // Nobody's place is freed by time.
        config.hello_wait_ms = 60_000;
    })
    .await;
    let mut first = gateway.socket().await;
    let (_second, _third) = (gateway.socket().await, gateway.socket().await);
    // The fourth connection is closed without a word, or reset.
    let mut fourth = TcpStream::connect(gateway.address).await.unwrap();
    let mut answer = [0; 1];
    let ended = timeout(WAIT, fourth.read(&mut answer)).await.expect("closed at once");
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    // Whoever leaves makes room.
    first.say("{").await;
    Socket::expect_bye(first.ending().await, 4400);
    drop(first);
    let deadline = tokio::time::Instant::now() + WAIT;
    while gateway.dial(&[]).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "no room after one has left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A request that is no handshake is answered and its connection kept open: it keeps its place.
#[tokio::test]
async fn a_request_that_is_no_handshake_gives_no_place_away() {
    let gateway = Gateway::start(|config| {
        config.strangers_per_address_max = 1;
        config.trusted_balancers.clear();
        config.hello_wait_ms = 60_000;
    })
    .await;
    let mut first = TcpStream::connect(gateway.address).await.unwrap();
    first.write_all(b"GET /ws HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 1024];
    let read = timeout(WAIT, first.read(&mut answer)).await.expect("answered").unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 400 "));
    let mut second = TcpStream::connect(gateway.address).await.unwrap();
    let ended = timeout(WAIT, second.read(&mut [0; 1])).await.expect("closed at once");
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    drop(first);
    let deadline = tokio::time::Instant::now() + WAIT;
    while gateway.dial(&[]).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "no room after the first has left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn behind_a_trusted_balancer_the_address_that_it_names_counts() {
    let gateway = Gateway::start(|config| {
        config.strangers_per_address_max = 2;
        config.hello_wait_ms = 60_000;
    })
    .await;
    let dial = async |from: &str| gateway.dial(&[("x-forwarded-for", from)]).await.unwrap();
    let (_one, _two) = (dial("192.0.2.1").await, dial("198.51.100.1, 192.0.2.1").await);
    let mut third = dial("192.0.2.1").await;
    Socket::expect_bye(third.ending().await, 4105);
    let mut other = dial("192.0.2.2").await;
    other.say("{").await;
    Socket::expect_bye(other.ending().await, 4400);
    // The balancer itself, and whatever runs on this machine, is not limited.
    let _own = [gateway.socket().await, gateway.socket().await, gateway.socket().await];
    assert!(gateway.get("/healthz").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_balancer_is_known_by_its_network_as_well() {
    for (network, is_balancers) in [("127.0.0.0/8", true), ("10.0.0.0/8", false)] {
        let gateway = Gateway::start(|config| {
            config.trusted_balancers = serde_json::from_value(serde_json::json!([network])).unwrap();
            config.strangers_per_address_max = 1;
            config.hello_wait_ms = 60_000;
        })
        .await;
        let _first = gateway.dial(&[("x-forwarded-for", "192.0.2.1")]).await.unwrap();
        let second = gateway.dial(&[("x-forwarded-for", "192.0.2.2")]).await;
        assert_eq!(second.is_ok(), is_balancers, "{network}");
        if is_balancers {
            let mut third = gateway.dial(&[("x-forwarded-for", "192.0.2.1")]).await.unwrap();
            Socket::expect_bye(third.ending().await, 4105);
        }
    }
}

#[tokio::test]
async fn an_address_asks_for_accounts_and_sessions_so_often_and_is_told_when_to_come_back() {
    let gateway = Gateway::start(|config| config.account_calls_per_minute = 3).await;
    let call = async |method: &str, path: &str, from: &str| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{from}\
             content-type: application/json\r\ncontent-length: 0\r\n\r\n",
            gateway.address
        );
        parts(&gateway.http(&request).await)
    };
    let calls = [
        ("POST", "/api/v1/accounts", 400),
        ("POST", "/api/v1/sessions", 400),
        ("POST", "/api/v1/sessions/refresh", 401),
        ("PUT", "/api/v1/password", 401),
    ];
    // All four draw on one budget, whichever comes last.
    for last in 0..calls.len() {
        let from = format!("x-forwarded-for: 10.0.0.1, 192.0.2.{last}\r\n");
        for step in 1..=calls.len() {
            let (method, path, status) = calls[(last + step) % calls.len()];
            let answer = call(method, path, &from).await;
            check(path, &answer);
            if step < calls.len() {
                assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
                continue;
            }
            assert_eq!(answer.status, 429, "{method} {path}: {}", answer.body);
            let wait: u64 = answer.headers["retry-after"].parse().unwrap();
            assert!((1..=20).contains(&wait), "{wait} s");
            let problem: Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(problem["error"]["code"], "rate_limited");
        }
        // What costs nothing is not counted, and this machine's own calls are not.
        assert_eq!(call("GET", "/openapi.json", &from).await.status, 200);
    }
    for _ in 0..5 {
        assert_eq!(call("POST", "/api/v1/sessions/refresh", "").await.status, 401);
    }
}
