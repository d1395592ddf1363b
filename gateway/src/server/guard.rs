//! The bytes of one connection, with two things that hyper leaves open: a reader that takes nothing is let go, and an
//! answer that hyper gives by itself (to what is no HTTP) says and carries what every other answer does.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::http::raw_problem;

/// A peer that takes no byte for this long is let go. Above the time in which a session lets a slow reader go, so that this
/// one says so itself.
const STALL_WAIT: Duration = Duration::from_secs(15);
/// How an answer begins that refuses a request.
const REFUSAL: &[u8] = b"HTTP/1.1 4";
/// How the answer begins after which the connection is a socket.
const UPGRADED: &[u8] = b"HTTP/1.1 101 ";
/// How a head ends, and what no JSON has in it: there line breaks are escaped.
const HEAD_END: &[u8] = b"\r\n\r\n";
/// In every answer of ours, in none of hyper's own.
const OURS: &[u8] = b"\r\nx-content-type-options: ";

/// See the module.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    inner: S,
    stall_wait: Duration,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// What is left of an answer put in the place of hyper's.
    pending: Vec<u8>,
    strict_transport: Option<HeaderValue>,
    /// From here on people's frames are written, and hyper says nothing more.
    upgraded: bool,
    /// The bytes of somebody's file are written, which may look like anything.
    streaming: Streaming,
}

/// Whether the answer under way is somebody's bytes: set by who answers, until the next request of the connection. What hyper
/// says by itself in between goes out in its own words.
pub(super) type Streaming = Arc<AtomicBool>;

impl<S> Guarded<S> {
    /// With what `Strict-Transport-Security` says, if anything.
    pub(super) fn new(inner: S, strict_transport: Option<HeaderValue>) -> Self {
        let pending = Vec::new();
        Self {
            inner,
            stall_wait: STALL_WAIT,
            stalled: None,
            pending,
            strict_transport,
            upgraded: false,
            streaming: Streaming::default(),
        }
    }

    /// The same, told by `streaming` when nothing is to be looked at.
    pub(super) fn unless(self, streaming: Streaming) -> Self {
        Self { streaming, ..self }
    }

    /// Our answer in the place of hyper's own, if these bytes are one: then they are not written.
    fn replaces(&mut self, bytes: &[u8]) -> bool {
        if self.upgraded || self.streaming.load(Ordering::Relaxed) {
            return false;
        }
        self.upgraded = bytes.starts_with(UPGRADED);
        let Some(status) = of_hyper(bytes) else { return false };
        self.pending = raw_problem(status, self.strict_transport.as_ref());
        true
    }
}

/// The status of an answer that is hyper's own: a whole head and nothing else, which lacks what ours have. A write may also
/// begin in the middle of a body, with what somebody wrote: hence the whole status line and the end.
fn of_hyper(bytes: &[u8]) -> Option<StatusCode> {
    if !bytes.starts_with(REFUSAL) || !bytes.ends_with(HEAD_END) {
        return None;
    }
    let status = StatusCode::from_bytes(bytes.get(9..12)?).ok()?;
    let line = format!(" {}\r\n", status.canonical_reason()?);
    let is_whole_line = bytes.get(12..)?.starts_with(line.as_bytes());
    let is_ours = || bytes.windows(OURS.len()).any(|window| window == OURS);
    (is_whole_line && !is_ours()).then_some(status)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guarded<S> {
    /// Passes on what a write came to, unless nothing moves for too long.
    fn watched<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let wait = self.stall_wait;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(wait)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }

    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let polled = Pin::new(&mut self.inner).poll_write(cx, &self.pending);
            let written = ready!(self.watched(cx, polled))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(cx, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_pending(cx))?;
        if this.replaces(from) {
            return Poll::Ready(Ok(from.len()));
        }
        let polled = Pin::new(&mut this.inner).poll_write(cx, from);
        this.watched(cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_pending(cx))?;
        if from.first().is_some_and(|first| this.replaces(first)) {
            return Poll::Ready(Ok(from.iter().map(|part| part.len()).sum()));
        }
        let polled = Pin::new(&mut this.inner).poll_write_vectored(cx, from);
        this.watched(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_pending(cx))?;
        let polled = Pin::new(&mut this.inner).poll_flush(cx);
        this.watched(cx, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_pending(cx))?;
        let polled = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.watched(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn an_answer_of_hypers_own_is_said_in_our_words() {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let mut near = Guarded::new(near, Some(HeaderValue::from_static("max-age=1")));
        near.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        near.flush().await.unwrap();
        near.shutdown().await.unwrap();
        let mut text = String::new();
        far.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{text}");
        assert!(text.contains("x-content-type-options: nosniff\r\n"), "{text}");
        assert!(text.contains("strict-transport-security: max-age=1\r\n"), "{text}");
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{text}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["status"], 400);
    }

    #[test]
    fn nothing_else_is_taken_for_hypers_own() {
        for bytes in [
            &b"HTTP/1.1 404 Not Found\r\nx-content-type-options: nosniff\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"\x81\x0cHTTP/1.1 400 ",
            b"HTTP/1.1 404 Not Found, she said",
            b"HTTP/1.1 404 Not Found\r\nwithout an end",
            b"HTTP/1.1 404 nonsense\r\n\r\n",
            b"",
        ] {
            assert_eq!(of_hyper(bytes), None);
        }
    }

    #[tokio::test]
    async fn a_file_may_look_like_an_answer() {
        let (near, mut far) = tokio::io::duplex(4_096);
        let streaming = Streaming::default();
        let mut near = Guarded::new(near, None).unless(Arc::clone(&streaming));
        let file = b"HTTP/1.1 404 Not Found\r\n\r\n";
        streaming.store(true, Ordering::Relaxed);
        near.write_all(file).await.unwrap();
        streaming.store(false, Ordering::Relaxed);
        near.write_all(file).await.unwrap();
        near.shutdown().await.unwrap();
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        let text = String::from_utf8(read).unwrap();
        let (first, second) = text.split_at(file.len());
        assert_eq!(first.as_bytes(), file);
        assert!(second.contains("x-content-type-options: nosniff"), "{second}");
    }

    /// A slow reader's stream is written in pieces, and a piece may begin anywhere.
    #[tokio::test]
    async fn what_people_wrote_goes_through_a_slow_reader_as_it_is() {
        let (near, mut far) = tokio::io::duplex(7);
        let mut near = Guarded::new(near, None);
        let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
        bytes.extend(answer.repeat(50));
        let expected = bytes.clone();
        let writing = tokio::spawn(async move {
            // Each piece begins as hyper's own answer does.
            near.write_all(&bytes[..36]).await.unwrap();
            for piece in bytes[36..].chunks(answer.len()) {
                near.write_all(piece).await.unwrap();
            }
            near.shutdown().await.unwrap();
        });
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        writing.await.unwrap();
        assert_eq!(String::from_utf8(read).unwrap(), String::from_utf8(expected).unwrap());
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_let_go() {
        let (near, _far) = tokio::io::duplex(16);
        let mut near = Guarded { stall_wait: Duration::from_millis(50), ..Guarded::new(near, None) };
        let error = near.write_all(&[0x81; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
