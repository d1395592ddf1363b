//! Against a server on a real socket that speaks the providers' wire formats.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// What a request was: its first line with its headers, and its body.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// Answers every request alike, after a while.
async fn server(status: &'static str, answer: String, wait_ms: u64) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (seen, answer) = (Arc::clone(&seen), answer.clone());
            tokio::spawn(async move {
                let mut read = Vec::new();
                let mut piece = [0; 4096];
                loop {
                    let length = socket.read(&mut piece).await.unwrap();
                    if length == 0 {
                        return;
                    }
                    read.extend_from_slice(&piece[..length]);
                    let text = String::from_utf8_lossy(&read).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length: usize = head
                        .lines()
                        .find_map(|line| {
                            line.to_lowercase()
                                .strip_prefix("content-length:")
                                .map(|n| n.trim().parse().unwrap())
                        })
                        .unwrap();
                    if body.len() >= length {
                        seen.lock().unwrap().push((head.to_owned(), serde_json::from_str(body).unwrap()));
                        break;
                    }
                }
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    answer.len()
                );
                let _ = socket.write_all(format!("{head}{answer}").as_bytes()).await;
            });
        }
    });
    (url, asked)
}

/// Time for an answer that comes.
const TIMEOUT_MS: u64 = 20_000;

fn external(provider: Provider, url: &str, key_file: &std::path::Path, timeout_ms: u64) -> External {
    let settings = Settings {
        provider,
        url: url.to_owned(),
        model: "small-1".to_owned(),
        key_file: Some(key_file.to_owned()),
        timeout_ms,
    };
    settings.check().unwrap();
    External::new(&settings).unwrap().unwrap()
}

fn key() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "k-123\n").unwrap();
    file
}

fn lines() -> Vec<Line> {
    vec![
        Line { from: "Ann".into(), mine: true, text: "hi".into() },
        Line { from: "Bob".into(), mine: false, text: "are you\ncoming?".into() },
    ]
}

#[tokio::test]
async fn gemini_is_asked_and_read_as_its_interface_says() {
    let said = "[\"Yes\", \"No\", \"Maybe later\", \"a fourth\"]";
    let answer = json!({ "candidates": [{ "content": { "parts": [{ "text": said }], "role": "model" }, "finishReason": "STOP" }] });
    let (url, asked) = server("200 OK", answer.to_string(), 0).await;
    let key = key();
    let found = external(Provider::Gemini, &url, key.path(), TIMEOUT_MS).ask(&lines()).await.unwrap();
    assert_eq!(found, ["Yes", "No", "Maybe later"]);
    let (head, body) = asked.lock().unwrap().pop().unwrap();
    assert!(head.starts_with("POST /v1beta/models/small-1:generateContent HTTP/1.1"), "{head}");
    assert!(head.to_lowercase().contains("x-goog-api-key: k-123"), "{head}");
    assert_eq!(body["contents"][0]["parts"][0]["text"], "ME: hi\nBob: are you coming?");
    assert_eq!(body["generationConfig"]["responseMimeType"], "application/json");
    assert!(body["system_instruction"]["parts"][0]["text"].as_str().unwrap().contains("JSON array"));
}

#[tokio::test]
async fn a_server_of_the_other_kind_is_asked_and_read_as_its_interface_says() {
    let said = "```json\n[\"Yes\", \"No\"]\n```";
    let answer = json!({ "choices": [{ "index": 0, "message": { "role": "assistant", "content": said } }] });
    let (url, asked) = server("200 OK", answer.to_string(), 0).await;
    let key = key();
    let found = external(Provider::Openai, &url, key.path(), TIMEOUT_MS).ask(&lines()).await.unwrap();
    assert_eq!(found, ["Yes", "No"]);
    let (head, body) = asked.lock().unwrap().pop().unwrap();
    assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1"), "{head}");
    assert!(head.to_lowercase().contains("authorization: bearer k-123"), "{head}");
    assert_eq!(
        (body["model"].as_str(), body["messages"][0]["role"].as_str()),
        (Some("small-1"), Some("system"))
    );
    assert_eq!(body["messages"][1]["content"], "ME: hi\nBob: are you coming?");
}

#[tokio::test]
async fn what_is_no_answer_is_an_error_without_what_was_sent() {
    let key = key();
    let cases = [
        ("503 Service Unavailable", "{}".to_owned(), 0),
        ("302 Found", "{}".to_owned(), 0),
        ("200 OK", "nothing".to_owned(), 0),
        ("200 OK", json!({ "choices": [{ "message": { "content": "no list" } }] }).to_string(), 0),
        ("200 OK", json!({ "choices": [] }).to_string(), 0),
        ("200 OK", format!("\"{}\"", "x".repeat(ANSWER_BYTES_MAX)), 0),
        ("200 OK", json!({ "choices": [{ "message": { "content": "[\"Yes\"]" } }] }).to_string(), 60_000),
    ];
    for (status, answer, wait_ms) in cases {
        let (url, _) = server(status, answer, wait_ms).await;
        let timeout_ms = if wait_ms == 0 { TIMEOUT_MS } else { 400 };
        let error = external(Provider::Openai, &url, key.path(), timeout_ms).ask(&lines()).await.unwrap_err();
        let told = format!("{error:#}");
        assert!(!told.contains("coming") && !told.contains("k-123"), "{told}");
    }
}
