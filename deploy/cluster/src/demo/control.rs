//! The door by which the gateways ask the runner: HTTP on a loopback port, opened by a token that a file holds which only its
//! owner can read. Owns who may ask and the form of what is asked; one task after the other carries it out ([`super`]).

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::rest::{DemoControl, DemoEntry, NewFault, NewProbe, Problem};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::book::random_hex;
use super::entries::same_secret;
use crate::error::{Attempt, Result};
use crate::layout::write_atomically;

/// Longest body that is read.
const BODY_BYTES_MAX: usize = 4 << 10;
/// Connections at a time: some panels on some gateways.
const CONNECTIONS_MAX: usize = 64;
/// Questions that wait for the one before.
const QUESTIONS_MAX: usize = 64;
/// A request's head and body are there within this.
const READ_WAIT: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// How everything is.
    Show,
    /// Hurt or heal.
    Fault(NewFault),
    /// Start or stop the probe.
    Probe(NewProbe),
    /// Whom a link's code signs in.
    Enter(DemoEntry),
    /// That came to nothing: the code is good again.
    GiveBack(DemoEntry),
    /// New links.
    Links,
}

/// What is answered: JSON.
pub(crate) type Answer = std::result::Result<Value, WireError>;

/// An order and where its answer goes.
#[derive(Debug)]
pub struct Question {
    pub(crate) order: Order,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// The open door. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct Control {
    questions: mpsc::Receiver<Question>,
    file: PathBuf,
}

impl Control {
    /// Opens it on a free port and writes the file.
    ///
    /// # Errors
    /// When there is no port, no randomness, or the file cannot be written.
    pub(crate) async fn open(file: &Path) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.attempt(|| "open the demo's control".to_owned())?;
        let address = listener.local_addr().attempt(|| "open the demo's control".to_owned())?;
        let token = random_hex()?;
        let control = DemoControl { address, token: token.clone() };
        write_atomically(file, &serde_json::to_vec_pretty(&control).expect("plain fields serialize"))?;
        let (sender, questions) = mpsc::channel(QUESTIONS_MAX);
        tokio::spawn(serve(listener, token.into(), sender));
        Ok(Self { questions, file: file.to_owned() })
    }

    /// The next question. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Question {
        match self.questions.recv().await {
            Some(question) => question,
            // The listener's task holds a sender for as long as the process lives.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Best effort: what is left names a port where nobody listens, and a token that nobody takes.
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Where a demo's control is, for the commands of a person; `None` where no demo runs.
pub(crate) fn read_file(file: &Path) -> Option<DemoControl> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

async fn serve(listener: TcpListener, token: Arc<str>, questions: mpsc::Sender<Question>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, peer)) if is_near(peer) => stream,
            Ok(_) => continue,
            Err(_) => {
                // Out of descriptors, for instance: passes, and must not spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (token, questions) = (Arc::clone(&token), questions.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &token, &questions));
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(READ_WAIT);
            // A peer that breaks off is its own matter.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
            drop(place);
        });
    }
}

fn is_near(peer: SocketAddr) -> bool {
    peer.ip().is_loopback()
}

async fn answer(
    request: Request<Incoming>,
    token: &str,
    questions: &mpsc::Sender<Question>,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let shown = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let method = head.method.as_str().to_owned();
    let path = head.uri.path().to_owned();
    let answered = async {
        check_token(shown, token)?;
        let collected = tokio::time::timeout(READ_WAIT, Limited::new(body, BODY_BYTES_MAX).collect()).await;
        let unread =
            |_| WireError::new(ErrorCode::Malformed, "the body is too long, or did not come in time");
        let body = collected.map_err(|_| unread(()))?.map_err(|_| unread(()))?.to_bytes();
        ask(questions, order(&method, &path, &body)?).await
    };
    let (status, body) = match answered.await {
        Ok(value) => (StatusCode::OK, value.to_string()),
        Err(error) => {
            let problem = Problem::from(error);
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, serde_json::to_string(&problem).expect("plain fields serialize"))
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    Ok(response)
}

async fn ask(questions: &mpsc::Sender<Question>, order: Order) -> Answer {
    let (answer, answered) = oneshot::channel();
    let busy = || WireError::new(ErrorCode::Overloaded, "the demo's runner has too many questions: wait");
    questions.try_send(Question { order, answer }).map_err(|_| busy())?;
    answered.await.unwrap_or_else(|_| Err(WireError::new(ErrorCode::Unavailable, "the demo is stopping")))
}

/// Whether what was shown as `Authorization` is the token.
fn check_token(shown: Option<&str>, token: &str) -> std::result::Result<(), WireError> {
    let shown = shown.and_then(|value| value.strip_prefix("Bearer "));
    match shown {
        Some(shown) if same_secret(shown, token) => Ok(()),
        Some(_) => Err(WireError::new(ErrorCode::Unauthenticated, "this is not the token of this demo")),
        None => {
            let text = "send Authorization: Bearer with the token of the demo's control file";
            Err(WireError::new(ErrorCode::Unauthenticated, text))
        }
    }
}

fn order(method: &str, path: &str, body: &[u8]) -> std::result::Result<Order, WireError> {
    fn read<T: DeserializeOwned>(body: &[u8]) -> std::result::Result<T, WireError> {
        serde_json::from_slice(body).map_err(|error| {
            WireError::new(ErrorCode::Malformed, format!("the body is not as expected: {error}"))
        })
    }
    match (method, path) {
        ("GET", "/demo") => Ok(Order::Show),
        ("POST", "/faults") => Ok(Order::Fault(read(body)?)),
        ("POST", "/probe") => Ok(Order::Probe(read(body)?)),
        ("POST", "/entries") => Ok(Order::Enter(read(body)?)),
        ("POST", "/entries/back") => Ok(Order::GiveBack(read(body)?)),
        ("POST", "/links") => Ok(Order::Links),
        _ => {
            let text =
                format!("there is no {method} {path}: GET /demo, POST /faults, /probe, /entries, /links");
            Err(WireError::new(ErrorCode::NotFound, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use quorate_proto::rest::Fault;

    use super::*;
    use crate::http::Call;

    #[test]
    fn what_is_asked_is_read_and_nonsense_is_told_in_words() {
        let fault = order("POST", "/faults", br#"{"fault":"kill","target":"leader"}"#);
        let asked = NewFault { fault: Fault::Kill, target: "leader".into() };
        assert_eq!(fault, Ok(Order::Fault(asked)));
        assert_eq!(order("GET", "/demo", b""), Ok(Order::Show));
        let wrong = order("POST", "/faults", br#"{"fault":"melt","target":"leader"}"#).unwrap_err();
        assert_eq!(wrong.code, ErrorCode::Malformed);
        assert!(wrong.message.contains("melt") && wrong.message.contains("pause"), "{}", wrong.message);
        assert_eq!(order("POST", "/demo", b"").unwrap_err().code, ErrorCode::NotFound);
    }

    #[tokio::test]
    async fn only_who_shows_the_token_of_the_file_is_listened_to() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("control.json");
        let mut control = Control::open(&file).await.unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let told = read_file(&file).unwrap();
        assert!(told.address.ip().is_loopback() && !format!("{told:?}").contains(&told.token));
        let post = |token: Option<String>| {
            let call = Call::new("POST", "/probe").json(&NewProbe { run: true });
            match token {
                Some(token) => call.header("authorization", format!("Bearer {token}")),
                None => call,
            }
        };
        let wrong = told.token.chars().rev().collect::<String>();
        for refused in [None, Some(String::new()), Some(wrong), Some(told.token[1..].to_owned())] {
            let answer = post(refused).send(told.address).await.unwrap();
            assert_eq!(answer.status(), 401);
            let problem: Problem = serde_json::from_slice(answer.body()).unwrap();
            assert_eq!(problem.error.code, ErrorCode::Unauthenticated);
        }
        let asked = tokio::spawn(post(Some(told.token.clone())).send(told.address));
        // The first that comes through is the one with the token: the others asked nothing.
        let question = control.next().await;
        assert_eq!(question.order, Order::Probe(NewProbe { run: true }));
        question.answer.send(Ok(Value::from(7))).unwrap();
        let answer = asked.await.unwrap().unwrap();
        assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (200, b"7".as_slice()));
        drop(control);
        assert!(read_file(&file).is_none());
    }
}
