//! Writes for those without a socket: the commands of a session, one a call.

use hyper::StatusCode;
use quorate_proto::frame::{Ack, Action, Body, DoCommand, EditMessage, SendMessage};
use quorate_proto::ids::ClientMessageId;
use quorate_proto::rest::{NewConversation, NewMember, NewMessage, NewText, ReadMark};

use super::{Answer, Call, json};
use crate::auth::Identity;
use crate::session::check::{check_action, check_send, check_text};
use crate::session::effect::Task;
use crate::session::jobs::{commit, commit_mark};

/// Who writes, and under which id.
pub(super) async fn writer(call: &Call) -> Result<(Identity, ClientMessageId), super::problem::Failure> {
    call.check_origin()?;
    let key = call.idempotency_key()?;
    Ok((call.identity().await?, ClientMessageId(key)))
}

pub(super) fn written(status: StatusCode, ack: Ack) -> Answer {
    Ok(json(status, &Body::Ack(ack)))
}

/// A `do`.
pub(super) async fn act(
    call: &Call,
    status: StatusCode,
    action: impl FnOnce() -> Result<Action, super::problem::Failure>,
) -> Answer {
    let (identity, client_message_id) = writer(call).await?;
    let command = action()?;
    check_action(&command, call.gateway.config.limits.text_bytes_max)?;
    let command = DoCommand { client_message_id, first_sent: 0, command };
    written(status, commit(&call.gateway, &identity, 0, &Task::Do(command)).await?)
}

/// A command that a frame of its own says.
pub(super) async fn task(
    call: &Call,
    task: impl FnOnce(ClientMessageId) -> Result<Task, super::problem::Failure>,
) -> Answer {
    let (identity, id) = writer(call).await?;
    written(StatusCode::OK, commit(&call.gateway, &identity, 0, &task(id)?).await?)
}

pub(super) async fn create(call: Call) -> Answer {
    act(&call, StatusCode::CREATED, || {
        Ok(match call.json()? {
            NewConversation::Direct { user } => Action::CreateDirect { user },
            NewConversation::Group { title, members, topic, public, announcement } => {
                Action::CreateGroup { title, members, topic, public, announcement }
            }
        })
    })
    .await
}

pub(super) async fn add_member(call: Call) -> Answer {
    act(&call, StatusCode::OK, || {
        let NewMember { user } = call.json()?;
        Ok(Action::AddMember { conversation: call.number(0)?, user })
    })
    .await
}

pub(super) async fn remove_member(call: Call) -> Answer {
    act(&call, StatusCode::OK, || {
        Ok(Action::RemoveMember { conversation: call.number(0)?, user: call.place(1).to_owned() })
    })
    .await
}

pub(super) async fn send(call: Call) -> Answer {
    let (identity, client_message_id) = writer(&call).await?;
    let conversation = call.number(0)?;
    let NewMessage { text, reply_to, forward, first_sent, attachments } = call.json()?;
    let message =
        SendMessage { conversation, client_message_id, text, reply_to, forward, first_sent, attachments };
    check_send(&message, call.gateway.config.limits.text_bytes_max)?;
    call.gateway.calls.admit_send(identity.user_id, conversation)?;
    written(StatusCode::CREATED, commit(&call.gateway, &identity, 0, &Task::Send(message)).await?)
}

pub(super) async fn edit(call: Call) -> Answer {
    let (identity, client_message_id) = writer(&call).await?;
    let (conversation, sequence) = (call.number(0)?, call.number(1)?);
    let NewText { text, if_revision, first_sent } = call.json()?;
    let asked = EditMessage { conversation, sequence, client_message_id, text, if_revision, first_sent };
    check_text(&asked.text, call.gateway.config.limits.text_bytes_max)?;
    call.gateway.calls.admit_send(identity.user_id, conversation)?;
    written(StatusCode::OK, commit(&call.gateway, &identity, 0, &Task::Edit(asked)).await?)
}

pub(super) async fn mark_read(call: Call) -> Answer {
    let (identity, id) = writer(&call).await?;
    let conversation = call.number(0)?;
    let ReadMark { sequence } = call.json()?;
    written(StatusCode::OK, commit_mark(&call.gateway, &identity, id, conversation, sequence).await?)
}
