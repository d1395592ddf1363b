//! A provider of suggestions elsewhere: a server that speaks OpenAI's `chat/completions` and remembers what it was told.

use std::sync::{Arc, Mutex};

use anyhow::Context;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What it suggests, to whatever it is asked.
pub(super) const SUGGESTED: &str = "Just come over to the boathouse.";

/// See the module. Ends with this value.
#[derive(Debug)]
pub(super) struct Provider {
    url: String,
    told: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Provider {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let told = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&told);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let all = Arc::clone(&all);
                tokio::spawn(async move {
                    // A caller that goes away is the caller's affair.
                    let _ = answer(stream, &all).await;
                });
            }
        });
        Ok(Self { url, told, task })
    }

    /// The `[suggestions]` of a gateway that asks it.
    pub(super) fn settings(&self) -> toml::Table {
        let mut settings = toml::Table::new();
        for (key, value) in [("provider", "openai"), ("url", self.url.as_str()), ("model", "small-1")] {
            settings.insert(key.to_owned(), value.into());
        }
        settings
    }

    /// The bodies of what it was asked.
    pub(super) fn told(&self) -> Vec<String> {
        self.told.lock().expect("no holder panics").clone()
    }
}

/// One request of a connection, which is closed then.
async fn answer(mut stream: TcpStream, told: &Mutex<Vec<String>>) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    let body = loop {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await?;
        anyhow::ensure!(read > 0, "the caller has gone");
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
        });
        if body.len() >= length.context("no content-length")?? {
            break body.to_owned();
        }
    };
    told.lock().expect("no holder panics").push(body);
    let list = serde_json::json!([SUGGESTED, "Not today, sorry.", "Let me look."]).to_string();
    let said = serde_json::json!({ "choices": [{ "message": { "content": list } }] }).to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        said.len()
    );
    stream.write_all(format!("{head}{said}").as_bytes()).await?;
    Ok(())
}
