//! One WebSocket as a task of its own. Letting go of its handle ends it.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use quorate_client::SocketId;
use quorate_client::proto::SUBPROTOCOL;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::{Dial, dial};

/// Connecting and the upgrade together; the rules give it up a little later.
const OPEN_WAIT: Duration = Duration::from_secs(9);
/// For the other side to agree to the end.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// Frames that wait for a slow socket: more than the rules ever have under way.
const FRAMES_MAX: usize = 1_024;
/// The close code of a socket that ended without one.
const CUT: u16 = 1006;

/// What a socket reports.
#[derive(Debug)]
pub enum SocketNews {
    /// It is open.
    Opened(SocketId),
    /// One text message.
    Text(SocketId, String),
    /// It has ended, or could not be opened.
    Closed(SocketId, u16),
}

enum Order {
    Send(String),
    Close(u16),
}

/// A handle on a socket.
#[derive(Debug)]
pub struct Socket {
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl Socket {
    /// Sends one text message; false when it has not taken a thousand others, or is over: it is as good as cut.
    #[must_use]
    pub fn send(&self, text: String) -> bool {
        self.orders.try_send(Order::Send(text)).is_ok()
    }

    /// Closes it, in order where it still listens. It reports nothing any more.
    pub async fn close(mut self, code: u16) {
        let ordered = self.orders.try_send(Order::Close(code)).is_ok();
        // One that hangs in a write to a peer that takes nothing hears no order.
        if !ordered || tokio::time::timeout(2 * CLOSE_WAIT, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// Opens a socket; what happens to it goes to `news`.
pub fn open(dial: &Dial, id: SocketId, news: mpsc::Sender<SocketNews>) -> Socket {
    let (orders, taken) = mpsc::channel(FRAMES_MAX);
    let dial = dial.clone();
    let task = tokio::spawn(async move {
        if let Some(code) = life(&dial, id, taken, &news).await {
            // A driver that is gone needs no report.
            let _ = news.send(SocketNews::Closed(id, code)).await;
        }
    });
    Socket { orders, task }
}

/// From the first byte to the last: the close code, or nothing when it was closed from here.
async fn life(
    dial: &Dial,
    id: SocketId,
    mut orders: mpsc::Receiver<Order>,
    news: &mpsc::Sender<SocketNews>,
) -> Option<u16> {
    let Ok(Some(mut stream)) = tokio::time::timeout(OPEN_WAIT, upgrade(dial)).await else { return Some(CUT) };
    news.send(SocketNews::Opened(id)).await.ok()?;
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Send(text)) => {
                    if stream.send(Message::text(text)).await.is_err() {
                        return Some(CUT);
                    }
                }
                Some(Order::Close(code)) => {
                    let frame = CloseFrame { code: code.into(), reason: "".into() };
                    let end = async {
                        let _ = stream.close(Some(frame)).await;
                        while let Some(Ok(_)) = stream.next().await {}
                    };
                    let _ = tokio::time::timeout(CLOSE_WAIT, end).await;
                    return None;
                }
                None => return None,
            },
            message = stream.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    news.send(SocketNews::Text(id, text.as_str().to_owned())).await.ok()?;
                }
                Some(Ok(Message::Close(frame))) => return Some(frame.map_or(1005, |frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Some(CUT),
            },
        }
    }
}

type WebSocket = tokio_tungstenite::WebSocketStream<Box<dyn dial::Stream>>;

async fn upgrade(dial: &Dial) -> Option<WebSocket> {
    let stream = dial.connect().await.ok()?;
    let scheme = if dial.address.tls { "wss" } else { "ws" };
    let address = format!("{scheme}://{}/ws", dial.address.authority());
    let mut request = address.into_client_request().ok()?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
    let (stream, _) = tokio_tungstenite::client_async(request, stream).await.ok()?;
    Some(stream)
}
