//! The demo over HTTP: nothing where there is none, nothing for who is no admin, and the runner asked with its own token.

use std::path::Path;

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::rest::{DemoControl, Problem};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const TOKEN: &str = "the runner's own token";
const DEMO: &str = "/api/v1/admin/demo";

fn admin(asked: &ReadRequest) -> Option<Found> {
    matches!(asked.query, Some(Query::Audit(_))).then(|| Found::Audit(rpc::AuditResult::default()))
}

fn nobody(asked: &ReadRequest) -> Option<Found> {
    let refused = rpc::Rejected { code: "forbidden".into(), ..Default::default() };
    matches!(asked.query, Some(Query::Audit(_))).then_some(Found::Rejected(refused))
}

async fn site_of(read: fn(&ReadRequest) -> Option<Found>, file: &Path) -> Site {
    site_with(read, |config| config.demo_control_file = Some(file.to_owned())).await
}

/// A runner that says this to everybody who comes, one after the other; what they asked arrives on the channel.
async fn runner(file: &Path, status: u16, body: String) -> mpsc::Receiver<String> {
    runner_by(file, move |_| (status, body.clone())).await
}

/// The same, whose answer depends on what it is asked.
async fn runner_by(
    file: &Path,
    says: impl Fn(&str) -> (u16, String) + Send + 'static,
) -> mpsc::Receiver<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let control =
        DemoControl { address: listener.local_addr().expect("an address"), token: TOKEN.to_owned() };
    std::fs::write(file, serde_json::to_vec(&control).expect("JSON")).expect("a file");
    let (sender, asked) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            let mut part = [0; 4_096];
            // A request without a body ends with its head; one with a body is short enough to come with it or right after.
            loop {
                let count = stream.read(&mut part).await.expect("bytes");
                request.extend_from_slice(&part[..count]);
                let text = String::from_utf8_lossy(&request);
                let is_whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                    let head = head.to_ascii_lowercase();
                    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                    body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0)
                });
                if is_whole || count == 0 {
                    break;
                }
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let (status, body) = says(&request);
            let answer = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.expect("written");
            if sender.send(request).await.is_err() {
                return;
            }
        }
    });
    asked
}

fn demo() -> String {
    json!({"processes": [{"name": "replica-1", "kind": "replica", "state": "paused", "pid": 7}], "leader": "replica-2",
           "unavailable": [{"fault": "cut", "reason": "no network of its own"}],
           "probe": {"running": true, "settled": false, "sent": 3, "acknowledged": 2, "read": 2, "lost": 0, "doubled": 0,
                     "reordered": 0, "write_gap_ms": 40, "write_gap_max_ms": 310}})
    .to_string()
}

#[tokio::test]
async fn where_there_is_no_demo_there_is_nothing_at_its_addresses() {
    let site = site(admin).await;
    let (get, post) = (Method::GET, Method::POST);
    let fault = json!({"fault": "kill", "target": "leader"});
    for (method, path, body) in [
        (&get, DEMO, None),
        (&post, "/api/v1/admin/demo/faults", Some(fault)),
        (&post, "/api/v1/admin/demo/probe", Some(json!({"run": true}))),
        (&post, "/api/v1/demo/entries", Some(json!({"code": "x"}))),
        (&get, "/demo", None),
        (&get, "/demo.js", None),
    ] {
        let (status, answer) = site.call(method, path, body).await;
        assert_eq!(status, 404, "{method} {path}: {answer}");
    }
}

#[tokio::test]
async fn who_is_no_admin_does_not_reach_the_runner() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("control.json");
    let mut asked = runner(&file, 200, demo()).await;
    let site = site_of(nobody, &file).await;
    let fault = json!({"fault": "kill", "target": "leader"});
    for (path, body) in [
        (DEMO, None),
        ("/api/v1/admin/demo/faults", Some(fault)),
        ("/api/v1/admin/demo/probe", Some(json!({"run": true}))),
    ] {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        assert_eq!(site.call(&method, path, body).await.0, 403, "{path}");
    }
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn an_admin_is_served_by_the_runner_also_while_no_replica_answers() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("control.json");
    let mut asked = runner(&file, 200, demo()).await;
    let site = site_of(admin, &file).await;
    assert_eq!(site.json(DEMO).await, serde_json::from_str::<Value>(&demo()).unwrap());
    let request = asked.recv().await.unwrap();
    assert!(request.starts_with("GET /demo "), "{request}");
    assert!(request.to_ascii_lowercase().contains(&format!("authorization: bearer {TOKEN}")), "{request}");
    let fault = json!({"fault": "pause", "target": "replica-3"});
    let (status, body) = site.call(&Method::POST, "/api/v1/admin/demo/faults", Some(fault.clone())).await;
    assert_eq!(status, 200, "{body}");
    let request = asked.recv().await.unwrap();
    assert!(request.starts_with("POST /faults ") && request.ends_with(&fault.to_string()), "{request}");
    // All replicas are gone, and somebody must be able to bring them back.
    site.fake.set(|state| state.read = Box::new(|_| Err(Status::unavailable("gone"))));
    let heal = json!({"fault": "heal", "target": "replica-3"});
    let (status, body) = site.call(&Method::POST, "/api/v1/admin/demo/faults", Some(heal)).await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test]
async fn who_was_an_admin_a_moment_ago_does_not_wait_for_replicas_that_hang() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("control.json");
    let _asked = runner(&file, 200, demo()).await;
    let site = site_of(admin, &file).await;
    site.json(DEMO).await;
    site.fake.set(|state| state.reads_hang = true);
    let (status, body) = site.call(&Method::GET, DEMO, None).await;
    assert_eq!(status, 200, "{body}");
    // It was given up before any replica was given up.
    let kind = crate::metrics::Kind { kind: "unreachable".to_owned() };
    assert_eq!(site.gateway.metrics.reads.get_or_create(&kind).get(), 0);
    // Of whom nobody has said it no memory is enough.
    site.gateway.demo.as_ref().expect("a demo").doubt(uuid::Uuid::from_u128(9));
    site.fake.set(|state| {
        state.reads_hang = false;
        state.read = Box::new(|_| Err(Status::unavailable("gone")));
    });
    assert_eq!(site.call(&Method::GET, DEMO, None).await.0, 503);
}

/// A gateway of a demo whose replicas know Ada, and a runner that gives these words for a code.
async fn door(file: &Path, password: &'static str) -> (Site, mpsc::Receiver<String>) {
    let phc = crate::auth::phc_for_tests(PASSWORD);
    let read = move |asked: &ReadRequest| match asked.query {
        Some(Query::Credentials(_)) => Some(Found::Credentials(rpc::CredentialsResult {
            user_id: 8,
            name: "ada".into(),
            password_phc: phc.clone(),
            ..Default::default()
        })),
        _ => None,
    };
    let asked = runner_by(file, move |request| {
        let known = json!({"name": "ada", "password": password, "device": "Quorate demo"}).to_string();
        (200, if request.starts_with("POST /entries ") { known } else { "null".to_owned() })
    });
    let asked = asked.await;
    let site = site_with(read, |config| config.demo_control_file = Some(file.to_owned())).await;
    site.fake.set(|state| {
        state.token = Box::new(|_| {
            let user = Some(rpc::UserRef { id: 8, name: "ada".into(), ..Default::default() });
            let access_token = "a fresh token".to_owned();
            Ok(rpc::TokenResponse { access_token, expires_at_ms: 9, user, admin: true })
        });
    });
    (site, asked)
}

/// Opens a link: the status, the cookie that is set, and the answer.
async fn enter(site: &Site) -> (u16, Option<String>, String) {
    let mut request = hyper::Request::builder()
        .method(Method::POST)
        .uri("/api/v1/demo/entries")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(json!({"code": "a code"}).to_string())))
        .expect("a request");
    request.extensions_mut().insert(Sent { client: Client(None), stream: None });
    let answered: Result<_, Infallible> = warp::service(site.rest.clone()).call(request).await;
    let Ok(response) = answered;
    let cookie = response.headers().get("set-cookie").map(|value| value.to_str().expect("text").to_owned());
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a whole answer").to_bytes();
    (status, cookie, String::from_utf8(body.to_vec()).expect("text"))
}

#[tokio::test]
async fn a_link_signs_in_as_anybody_would_and_its_password_stays_here() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("control.json");
    let (site, mut asked) = door(&file, PASSWORD).await;
    let (status, cookie, answer) = enter(&site).await;
    assert_eq!(status, 201, "{answer}");
    let grant: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!((&grant["access_token"], &grant["admin"]), (&json!("a fresh token"), &json!(true)));
    assert_eq!((&grant["user"]["id"], &grant["user"]["name"]), (&json!(8), &json!("ada")));
    let cookie = cookie.expect("a browser stays signed in");
    assert!(cookie.starts_with("quorate_refresh=") && cookie.contains("HttpOnly"), "{cookie}");
    assert!(!answer.contains(PASSWORD), "{answer}");
    let request = asked.recv().await.expect("the runner was asked");
    let words = json!({"code": "a code"}).to_string();
    assert!(request.starts_with("POST /entries ") && request.ends_with(&words), "{request}");
    assert!(request.to_ascii_lowercase().contains(&format!("authorization: bearer {TOKEN}")), "{request}");
    assert!(asked.try_recv().is_err(), "a link that was used is not given back");
    let begun = site.commands();
    assert!(
        matches!(&begun[..], [Command { user_id: 8, action: Some(Action::CreateSession(_)), .. }]),
        "{begun:?}"
    );
}

#[tokio::test]
async fn a_link_is_given_back_where_the_cluster_could_not_decide_and_not_where_it_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("control.json");
    let (site, mut asked) = door(&file, PASSWORD).await;
    site.fake.set(|state| state.read = Box::new(|_| Err(Status::unavailable("gone"))));
    let (status, cookie, answer) = enter(&site).await;
    assert_eq!((status, cookie), (503, None), "{answer}");
    let words = json!({"code": "a code"}).to_string();
    for path in ["/entries", "/entries/back"] {
        let request = asked.recv().await.expect("the runner was asked");
        assert!(request.starts_with(&format!("POST {path} ")) && request.ends_with(&words), "{request}");
    }
    // A password that is not hers any more: the same link would be refused again.
    let (site, mut asked) = door(&file, "another horse altogether").await;
    let (status, cookie, answer) = enter(&site).await;
    assert_eq!((status, cookie), (401, None), "{answer}");
    let request = asked.recv().await.expect("the runner was asked");
    assert!(request.starts_with("POST /entries "), "{request}");
    assert!(asked.try_recv().is_err(), "it was given back");
    assert!(site.commands().is_empty(), "and nobody is signed in");
}

#[tokio::test]
async fn what_the_runner_refuses_is_told_and_a_runner_that_is_gone_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("control.json");
    let refusal = Problem::from(WireError::new(ErrorCode::NotFound, "there is no replica-9"));
    let _asked = runner(&file, 404, serde_json::to_string(&refusal).unwrap()).await;
    let site = site_of(admin, &file).await;
    let fault = json!({"fault": "kill", "target": "replica-9"});
    let (status, body) = site.call(&Method::POST, "/api/v1/admin/demo/faults", Some(fault)).await;
    assert!(status == 404 && body.contains("there is no replica-9"), "{status} {body}");
    let (status, body) =
        site.call(&Method::POST, "/api/v1/demo/entries", Some(json!({"code": "spent"}))).await;
    assert_eq!(status, 404, "{body}");
    // The token of a runner that was started anew since the file was read: nothing the person can mend.
    let foreign = Problem::from(WireError::new(ErrorCode::Unauthenticated, "another token"));
    let _asked = runner(&file, 401, serde_json::to_string(&foreign).unwrap()).await;
    assert_eq!(site.call(&Method::GET, DEMO, None).await.0, 503);
    std::fs::remove_file(&file).unwrap();
    let (status, body) = site.call(&Method::GET, DEMO, None).await;
    assert!(status == 503 && body.contains("deploy/up --demo"), "{status} {body}");
}

#[tokio::test]
async fn the_links_page_is_there_and_takes_no_script_from_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let site = site_of(nobody, &dir.path().join("control.json")).await;
    let (status, page) = site.call(&Method::GET, "/demo", None).await;
    assert!(status == 200 && page.contains("src=\"/demo.js\""), "{page}");
    let (status, script) = site.call(&Method::GET, "/demo.js", None).await;
    assert!(status == 200 && script.contains("/api/v1/demo/entries"), "{script}");
}
