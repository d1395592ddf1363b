//! People and conversations for a load: accounts, groups, and who belongs where.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use quorate_proto::frame::{Action, Body, DoCommand, Request};
use quorate_proto::ids::{ClientMessageId, ConversationId};
use quorate_proto::rest::SessionGrant;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::client::{Socket, rest};

/// Accounts made at the same time: more would only queue for the gateways' hashing.
const SIGN_UPS_AT_ONCE: usize = 6;
/// A command is retried under its id for this long.
const COMMAND_WAIT: Duration = Duration::from_secs(30);

/// Makes accounts `<prefix>0`, `<prefix>1`, …
///
/// # Errors
/// When one cannot be made.
pub async fn sign_up_many(at: SocketAddr, prefix: &str, count: usize) -> anyhow::Result<Vec<SessionGrant>> {
    let mut grants: Vec<Option<SessionGrant>> = vec![None; count];
    let mut tasks = JoinSet::new();
    let mut next = 0;
    while next < count || !tasks.is_empty() {
        while next < count && tasks.len() < SIGN_UPS_AT_ONCE {
            let (place, name) = (next, format!("{prefix}{next}"));
            tasks.spawn(async move { (place, rest::sign_up(at, &name).await) });
            next += 1;
        }
        if let Some(done) = tasks.join_next().await {
            let (place, grant) = done?;
            grants[place] = Some(grant.with_context(|| format!("sign-up of {prefix}{place}"))?);
        }
    }
    Ok(grants.into_iter().flatten().collect())
}

/// Makes a group; its owner is the first, the others are added.
///
/// # Errors
/// When it is refused or not decided in time.
pub async fn make_group(
    at: SocketAddr,
    title: &str,
    members: &[&SessionGrant],
) -> anyhow::Result<ConversationId> {
    let Some((owner, others)) = members.split_first() else { bail!("a group needs somebody") };
    let command = DoCommand {
        client_message_id: ClientMessageId(Uuid::now_v7()),
        first_sent: 0,
        command: Action::CreateGroup {
            title: title.to_owned(),
            members: others.iter().map(|grant| grant.user.name.clone()).collect(),
            topic: String::new(),
            public: false,
            announcement: false,
        },
    };
    let mut socket = Socket::open(at, None).await?;
    socket.hello(&owner.access_token, None).await?;
    let made = async {
        loop {
            let id = socket.request(Request::Do(command.clone())).await?;
            match socket.answer(id).await? {
                Body::Ack(ack) => break ack.conversation.context("an ack without its conversation"),
                Body::Error { error } if error.temporary => {
                    tokio::time::sleep(Duration::from_millis(error.retry_ms.unwrap_or(200))).await;
                }
                other => bail!("the group {title} was not made: {other:?}"),
            }
        }
    };
    let made = tokio::time::timeout(COMMAND_WAIT, made).await.context("the group was not made in time")??;
    socket.close().await;
    Ok(made)
}
