//! The bytes of one connection, with two things that hyper leaves open: a reader that takes nothing is let go, and an
//! answer that hyper gives by itself (to what is no HTTP) says and carries what every other answer does.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::http::raw_problem;

/// A peer that takes no byte for this long is let go. Above the time in which a session lets a slow reader go, so that this
/// one says so itself.
const STALL_WAIT: Duration = Duration::from_secs(15);
/// How an answer begins that refuses a request.
const REFUSAL: &[u8] = b"HTTP/1.1 4";
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
}

impl<S> Guarded<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, stall_wait: STALL_WAIT, stalled: None, pending: Vec::new() }
    }
}

/// The status of an answer that is hyper's own: a head alone, which lacks what ours have. A frame of a socket begins with
/// a byte above 127.
fn of_hyper(bytes: &[u8]) -> Option<StatusCode> {
    if !bytes.starts_with(REFUSAL) || bytes.windows(OURS.len()).any(|window| window == OURS) {
        return None;
    }
    StatusCode::from_bytes(bytes.get(9..12)?).ok()
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
        if let Some(status) = of_hyper(from) {
            this.pending = raw_problem(status);
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
        if let Some(status) = from.first().and_then(|first| of_hyper(first)) {
            this.pending = raw_problem(status);
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
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn an_answer_of_hypers_own_is_said_in_our_words() {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let mut near = Guarded::new(near);
        near.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        near.flush().await.unwrap();
        near.shutdown().await.unwrap();
        let mut text = String::new();
        far.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{text}");
        assert!(text.contains("x-content-type-options: nosniff\r\n"), "{text}");
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
            b"",
        ] {
            assert_eq!(of_hyper(bytes), None);
        }
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_let_go() {
        let (near, _far) = tokio::io::duplex(16);
        let mut near = Guarded { stall_wait: Duration::from_millis(50), ..Guarded::new(near) };
        let error = near.write_all(&[0x81; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
