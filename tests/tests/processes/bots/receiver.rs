//! A server that is told by webhooks, and checks what it is told by the published rules of Standard Webhooks: with a code of its own,
//! not with that of the gateway.

use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A clock that differs by more is refused, as the rules recommend, in seconds.
const TOLERANCE_S: u64 = 300;

/// One telling.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) id: String,
    pub(super) body: Value,
    pub(super) at: Instant,
    /// What is wrong with it.
    pub(super) fault: Option<String>,
    /// It was answered with a yes.
    pub(super) taken: bool,
}

impl Told {
    /// The version of the event in its conversation.
    pub(super) fn version(&self) -> u64 {
        self.body["data"]["event"]["version"].as_u64().unwrap_or(0)
    }

    pub(super) fn text(&self) -> &str {
        self.body["data"]["event"]["text"].as_str().unwrap_or("")
    }
}

/// See the module. Ends with this value.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) url: String,
    told: Arc<Mutex<Vec<Told>>>,
    secret: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// Refuses the n-th telling (from 0) where `refuses` says so.
    pub(super) async fn start(
        refuses: impl Fn(usize) -> bool + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/robin", listener.local_addr()?);
        let (told, secret) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(String::new())));
        let (all, key, refuses) = (Arc::clone(&told), Arc::clone(&secret), Arc::new(refuses));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (all, key, refuses) = (Arc::clone(&all), Arc::clone(&key), Arc::clone(&refuses));
                tokio::spawn(async move {
                    let _ = serve(stream, &all, &key, &*refuses).await;
                });
            }
        });
        Ok(Self { url, told, secret, task })
    }

    /// What the webhook's owner was shown.
    pub(super) fn learn(&self, secret: &str) {
        secret.clone_into(&mut self.secret.lock().expect("no holder panics"));
    }

    pub(super) fn told(&self) -> Vec<Told> {
        self.told.lock().expect("no holder panics").clone()
    }
}

/// Requests of one connection.
async fn serve(
    mut stream: TcpStream,
    all: &Mutex<Vec<Told>>,
    secret: &Mutex<String>,
    refuses: &(dyn Fn(usize) -> bool + Send + Sync),
) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let (head, body) = loop {
            if let Some(whole) = request(&mut bytes)? {
                break whole;
            }
            let mut piece = [0; 16 * 1_024];
            let read = stream.read(&mut piece).await?;
            if read == 0 {
                return Ok(());
            }
            bytes.extend_from_slice(&piece[..read]);
        };
        let secret = secret.lock().expect("no holder panics").clone();
        let checked = check(&head, &body, &secret);
        let taken = {
            let mut all = all.lock().expect("no holder panics");
            let taken = !refuses(all.len());
            let (id, fault) = match checked {
                Ok(id) => (id, None),
                Err(error) => (String::new(), Some(format!("{error:#}: {head}"))),
            };
            let body = serde_json::from_slice(&body).unwrap_or_default();
            all.push(Told { id, body, at: Instant::now(), fault, taken });
            taken
        };
        let status = if taken { "204 No Content" } else { "503 Service Unavailable" };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// The first whole request, taken out of what came.
fn request(bytes: &mut Vec<u8>) -> anyhow::Result<Option<(String, Vec<u8>)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8(bytes[..end].to_vec())?;
    let length: usize = header(&head, "content-length").context("no content-length")?.parse()?;
    if bytes.len() < end + 4 + length {
        return Ok(None);
    }
    let body = bytes[end + 4..end + 4 + length].to_vec();
    bytes.drain(..end + 4 + length);
    Ok(Some((head, body)))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// The rules: the three headers, a timestamp near now, and one of the signatures that fits.
fn check(head: &str, body: &[u8], secret: &str) -> anyhow::Result<String> {
    let field = |name| header(head, name).with_context(|| format!("no {name}"));
    let (id, timestamp, signatures) =
        (field("webhook-id")?, field("webhook-timestamp")?, field("webhook-signature")?);
    ensure!(field("content-type")? == "application/json", "another type of content");
    let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    ensure!(timestamp.parse::<u64>()?.abs_diff(now_s) <= TOLERANCE_S, "an old timestamp");
    let key = STANDARD.decode(secret.strip_prefix("whsec_").context("no secret of the expected form")?)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key)?;
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    let wanted = mac.finalize().into_bytes();
    let fits = |signature: &str| {
        let signature = signature.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
        signature.is_some_and(|signature| signature == wanted[..])
    };
    ensure!(signatures.split(' ').any(fits), "no signature fits");
    let json: Value = serde_json::from_slice(body)?;
    ensure!(json["id"] == id, "the body has another id");
    Ok(id.to_owned())
}
