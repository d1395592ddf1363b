//! A client that asks until it knows.

use std::time::Duration;

use anyhow::{Context, bail};
use quorate_proto::frame::{Ack, Body, EditMessage, Request, SendMessage};
use quorate_proto::ids::{ClientMessageId, ConversationId, Sequence};
use quorate_proto::rest::SessionGrant;
use quorate_tests::client::Socket;
use uuid::Uuid;

use super::WAIT;

/// A request that is not answered by then is asked again under its id.
const ANSWER_WAIT: Duration = Duration::from_secs(12);

/// A socket of one user that is opened again when it ends.
pub struct Asker {
    at: std::net::SocketAddr,
    token: String,
    socket: Option<Socket>,
}

impl Asker {
    pub fn new(at: std::net::SocketAddr, grant: &SessionGrant) -> Self {
        Self { at, token: grant.access_token.clone(), socket: None }
    }

    async fn once(&mut self, request: &Request) -> anyhow::Result<Body> {
        if self.socket.is_none() {
            let mut socket = Socket::open(self.at, None).await?;
            socket.hello(&self.token, None).await?;
            self.socket = Some(socket);
        }
        let socket = self.socket.as_mut().context("just opened")?;
        let id = socket.request(request.clone()).await?;
        let answer = tokio::time::timeout(ANSWER_WAIT, socket.answer(id)).await;
        answer.context("no answer in time")?
    }

    /// Asks under one id until the answer is final: an ack, or a refusal that is decided.
    pub async fn ask(
        &mut self,
        request: Request,
    ) -> anyhow::Result<Result<Ack, quorate_proto::error::WireError>> {
        let asked = async {
            loop {
                match self.once(&request).await {
                    Ok(Body::Ack(ack)) => return Ok(Ok(ack)),
                    Ok(Body::Error { error }) if !error.temporary => return Ok(Err(error)),
                    Ok(Body::Error { error }) => {
                        tokio::time::sleep(Duration::from_millis(error.retry_ms.unwrap_or(100))).await;
                    }
                    Ok(other) => bail!("neither ack nor error: {other:?}"),
                    // Its fate is not known: the next socket asks under the same id.
                    Err(_) => {
                        self.socket = None;
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        };
        tokio::time::timeout(WAIT, asked).await.context("not decided in time")?
    }
}

pub fn new_id() -> ClientMessageId {
    ClientMessageId(Uuid::now_v7())
}

pub fn send(conversation: ConversationId, text: &str) -> Request {
    let client_message_id = new_id();
    Request::Send(SendMessage {
        conversation,
        client_message_id,
        text: text.to_owned(),
        reply_to: None,
        forward: None,
        first_sent: 0,
        attachments: Vec::new(),
    })
}

pub fn edit(
    conversation: ConversationId,
    sequence: Sequence,
    text: &str,
    if_revision: Option<u64>,
) -> Request {
    let client_message_id = new_id();
    let text = text.to_owned();
    Request::Edit(EditMessage { conversation, sequence, client_message_id, text, if_revision, first_sent: 0 })
}
