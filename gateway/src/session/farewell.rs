//! The end of a socket: why it ends, its last words, and the wait until they are read.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use quorate_proto::error::CloseCode;
use quorate_proto::frame::{Body, ServerFrame};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WsCloseCode;
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};

use super::effect::Farewell;
use crate::convert::encode;
use crate::metrics::Metrics;

/// The last words of a session get this long.
const FAREWELL_WAIT: Duration = Duration::from_secs(1);
/// The same for a socket that never said `hello`: with its wait it is gone within ten seconds.
const MUTE_FAREWELL_WAIT: Duration = Duration::from_millis(500);
/// Bytes discarded after a close, so that the other end reads the close before a reset.
const LINGER_BYTES_MAX: usize = 2 << 20;

/// How a socket ends.
pub(super) enum End {
    /// We close, with a `bye`.
    Bye(Farewell),
    /// The library saw a message that must not be.
    Protocol(WsCloseCode, &'static str),
    /// The other end is gone or closes.
    Gone,
}

/// How a socket ends whose bytes cannot be read on.
pub(super) fn broken(error: &WsError) -> End {
    match error {
        WsError::Capacity(CapacityError::MessageTooLong { .. }) => {
            End::Protocol(WsCloseCode::Size, "the frame is too large")
        }
        WsError::Utf8(_) => End::Protocol(WsCloseCode::Invalid, "no UTF-8"),
        // Gone without a word, as browsers do with a tab.
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Gone,
        WsError::Protocol(_) | WsError::AttackAttempt | WsError::Capacity(_) => {
            End::Protocol(WsCloseCode::Protocol, "not the WebSocket protocol")
        }
        _ => End::Gone,
    }
}

/// Accepts a socket only to say why it cannot stay: a browser cannot read the status of a refused upgrade.
pub async fn close_refused<S: AsyncRead + AsyncWrite + Unpin>(
    metrics: &Metrics,
    ws: WebSocketStream<S>,
    farewell: Farewell,
) {
    finish(metrics, ws, VecDeque::new(), End::Bye(farewell)).await;
}

/// Says the last words and waits a little until they are read.
pub(super) async fn finish<S: AsyncRead + AsyncWrite + Unpin>(
    metrics: &Metrics,
    mut ws: WebSocketStream<S>,
    mut out: VecDeque<Utf8Bytes>,
    end: End,
) {
    // After a message that must not be, the library cannot tell where the next one begins.
    let readable = !matches!(end, End::Protocol(..));
    let (code, reason) = match end {
        End::Gone => {
            let _ = timeout(FAREWELL_WAIT, ws.close(None)).await;
            return;
        }
        End::Protocol(code, reason) => (code, reason.to_owned()),
        End::Bye(Farewell { code, reason, retry_ms }) => {
            let number = code as u16;
            let bye = ServerFrame::push(Body::Bye { code: number, reason: reason.clone(), retry_ms });
            out.push_back(encode(&bye));
            (WsCloseCode::from(number), reason)
        }
    };
    Metrics::count(&metrics.closes, &u16::from(code).to_string());
    tracing::debug!(code = u16::from(code), reason, "closing a socket");
    // A close frame's reason has at most 123 bytes.
    let short: String = reason.chars().take(40).collect();
    let frame = CloseFrame { code, reason: short.into() };
    let _ = timeout(FAREWELL_WAIT, async {
        for text in out {
            ws.feed(Message::Text(text)).await?;
        }
        ws.send(Message::Close(Some(frame))).await
    })
    .await;
    // What the other end still sends is read and thrown away: closing with unread bytes resets the connection, and the
    // close frame might be lost with it.
    let is_mute = u16::from(code) == CloseCode::NoHello as u16;
    let _ = timeout(if is_mute { MUTE_FAREWELL_WAIT } else { FAREWELL_WAIT }, async {
        if readable {
            // Until the other end's close frame; then the connection is ours to close.
            while let Some(Ok(_)) = ws.next().await {}
            return;
        }
        let stream = ws.get_mut();
        let _ = stream.shutdown().await;
        let mut scratch = [0; 4096];
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            match stream.read(&mut scratch).await {
                Ok(0) | Err(_) => break,
                Ok(count) => left = left.saturating_sub(count),
            }
        }
    })
    .await;
}
