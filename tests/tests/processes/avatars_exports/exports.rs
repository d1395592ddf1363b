//! What was said, as an admin of the site exports it: every message that was acknowledged and none beside them, to nobody else, and told
//! of in the admins' log.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use quorate_cluster::Member;
use quorate_proto::error::ErrorCode;
use quorate_proto::frame::{DeleteMessages, Request};
use quorate_proto::ids::{ConversationId, Index, Sequence};
use quorate_proto::rest::{Audit, MadeToken, SessionGrant};
use quorate_tests::harness::{TestCluster, read};
use serde_json::{Value, json};

use super::Stage;
use crate::chat::device::{Device, fresh, message};
use crate::people::calls::{self, Reply};
use crate::people::{WAIT, while_the_leader_dies};

const ALL: &str = "/api/v1/admin/export/messages";
/// In the room: more than one page of the reads has.
const MESSAGES: usize = 120;
/// Elsewhere.
const FEW: usize = 30;

fn one(conversation: ConversationId) -> String {
    format!("/api/v1/admin/export/conversations/{conversation}")
}

/// What was acknowledged and is still there, by conversation.
pub(super) type Said = BTreeMap<ConversationId, BTreeMap<Sequence, String>>;

/// Says so many things; what was acknowledged, and where the log has the last.
async fn say(
    at: SocketAddr,
    grant: &SessionGrant,
    conversation: ConversationId,
    count: usize,
) -> anyhow::Result<(BTreeMap<Sequence, String>, Index)> {
    let mut device = Device::open(at, grant.clone()).await?;
    let (mut said, mut index) = (BTreeMap::new(), 0);
    for number in 0..count {
        let text = format!("{} says\n{number} in {conversation}", grant.user.name);
        let ack = device.ack(message(conversation, &text)).await?;
        said.insert(ack.sequence.context("a send without a sequence")?, text);
        index = ack.index;
    }
    ensure!(said.len() == count, "{} numbers for {count} messages", said.len());
    Ok((said, index))
}

/// JSON Lines of these conversations, and of nothing else, line by line.
fn is_whole(exported: &Reply, said: &Said, conversations: &[ConversationId]) -> anyhow::Result<Vec<Value>> {
    let text = std::str::from_utf8(exported.body())?;
    ensure!(text.ends_with('\n'), "the last line is cut off");
    let mut lines = text.lines().map(serde_json::from_str::<Value>);
    let mut line = || lines.next().context("it ends early")?.context("a line that is no JSON");
    let (mut heads, mut count) = (Vec::new(), 0);
    for conversation in conversations {
        let head = line()?;
        let is_head = head["type"] == "conversation" && head["conversation"]["conversation"] == *conversation;
        ensure!(is_head, "no head of conversation {conversation}: {head}");
        heads.push(head);
        for (sequence, text) in &said[conversation] {
            let told = line()?;
            let as_said = told["type"] == "message"
                && told["conversation"] == *conversation
                && told["sequence"] == *sequence
                && told["text"] == *text;
            ensure!(as_said, "{told} instead of message {sequence} of conversation {conversation}: {text:?}");
            count += 1;
        }
    }
    let (end, more) = (line()?, lines.next());
    ensure!(end == json!({ "type": "end", "messages": count }), "{end} after {count} messages");
    ensure!(more.is_none(), "{more:?} behind the end");
    Ok(heads)
}

/// The exports of which the log tells, oldest first: where, and what more.
async fn recorded(stage: &Stage, exports: &[(Option<ConversationId>, &str)]) -> anyhow::Result<()> {
    for at in [stage.a, stage.b] {
        // What was exported was recorded before, so any read that is linearizable sees it.
        let ann = calls::at(at, &stage.ann);
        let index = ann.ask("PATCH", "/api/v1/me", json!({ "status": "reading" })).await?.written()?.index;
        let log: Audit = ann.read("/api/v1/admin/audit?limit=100", index).await?;
        ensure!(log.next.is_none(), "a log of more than a page");
        let entries = log.entries.iter().rev().filter(|entry| entry.action == "messages_exported");
        let told: Vec<_> = entries
            .map(|entry| {
                let by = entry.by.as_ref().map_or(0, |user| user.id);
                (by, entry.conversation, entry.detail.as_str(), entry.subject.is_some())
            })
            .collect();
        let wanted: Vec<_> =
            exports.iter().map(|(of, detail)| (stage.ann.user.id, *of, *detail, false)).collect();
        ensure!(told == wanted, "the log tells of {told:?} instead of {wanted:?}");
    }
    Ok(())
}

pub(super) async fn of_messages(test: &TestCluster, stage: &Stage, mut said: Said) -> anyhow::Result<()> {
    let (a, b) = (stage.a, stage.b);
    let ((room, at_room), (pier, at_pier), (talk, at_talk)) = while_the_leader_dies(test, async {
        tokio::try_join!(
            say(b, &stage.bob, stage.room, MESSAGES),
            say(a, &stage.eve, stage.pier, FEW),
            say(b, &stage.dan, stage.talk, FEW)
        )
    })
    .await?;
    for (conversation, messages) in [(stage.room, room), (stage.pier, pier), (stage.talk, talk)] {
        said.entry(conversation).or_default().extend(messages);
    }
    let index = at_room.max(at_pier).max(at_talk).max(take_one_back(stage, &mut said).await?);

    refused_to_others(stage).await?;
    let ann = calls::at(b, &stage.ann);
    // Of an answer without a body nothing is given out.
    for path in [one(stage.room), format!("{}?format=html", one(stage.room)), ALL.to_owned()] {
        let reply = ann.ask("HEAD", &path, Value::Null).await?.is(200)?;
        ensure!(reply.body().is_empty(), "HEAD {path}");
    }
    let with_direct = format!("{ALL}?direct=true");
    for path in [one(stage.talk), format!("{}?format=html", one(stage.talk)), with_direct.clone()] {
        ann.look(&path, index).await?.refused(ErrorCode::Forbidden)?;
    }
    ann.look(&one(stage.talk + 1_000), index).await?.refused(ErrorCode::NotFound)?;
    recorded(stage, &[]).await?;

    is_whole(&ann.look(&one(stage.room), index).await?.is(200)?, &said, &[stage.room])?;
    let groups = [stage.room, stage.pier];
    is_whole(&calls::at(a, &stage.ann).look(ALL, index).await?.is(200)?, &said, &groups)?;
    let page = ann.look(&format!("{}?format=html", one(stage.pier)), index).await?.is(200)?;
    let page = std::str::from_utf8(page.body())?;
    let is_whole_page = page.matches("<article").count() == FEW && page.ends_with("</html>\n");
    ensure!(is_whole_page, "{page}");
    let before = [(Some(stage.room), ""), (None, ""), (Some(stage.pier), "")];
    recorded(stage, &before).await?;

    allow_direct(test).await?;
    let all = [stage.room, stage.pier, stage.talk];
    let heads = is_whole(&ann.look(&one(stage.talk), index).await?.is(200)?, &said, &[stage.talk])?;
    let pair: Vec<_> = heads[0]["conversation"]["pair"].as_array().into_iter().flatten().collect();
    let names = ["bob", "dan"].map(|name| json!(name));
    ensure!(pair.iter().map(|user| &user["name"]).eq(&names), "{heads:?}");
    is_whole(&calls::at(a, &stage.ann).look(&with_direct, index).await?.is(200)?, &said, &all)?;
    // Direct ones only where they are asked for, and to an admin alone, even of her own conversation.
    is_whole(&ann.look(ALL, index).await?.is(200)?, &said, &groups)?;
    for path in [one(stage.talk), with_direct] {
        calls::at(a, &stage.bob).look(&path, index).await?.refused(ErrorCode::Forbidden)?;
    }
    let since = [(Some(stage.talk), "with direct"), (None, "with direct"), (None, "")];
    recorded(stage, &[before, since].concat()).await
}

/// What its author takes back is exported no more.
async fn take_one_back(stage: &Stage, said: &mut Said) -> anyhow::Result<Index> {
    let messages = said.get_mut(&stage.room).context("the room")?;
    let sequence = *messages.keys().nth(MESSAGES / 2).context("a message")?;
    messages.remove(&sequence);
    let mut bob = Device::open(stage.a, stage.bob.clone()).await?;
    let delete = DeleteMessages {
        conversation: stage.room,
        sequence,
        through: None,
        for_me: false,
        client_message_id: fresh(),
        first_sent: 0,
    };
    Ok(bob.ack(Request::Delete(delete)).await?.index)
}

/// Neither who is no admin of the site, whatever she is in the room, nor a program of who is one.
async fn refused_to_others(stage: &Stage) -> anyhow::Result<()> {
    let scopes = json!({ "label": "all", "scopes": ["read", "send", "manage"] });
    let made = calls::at(stage.a, &stage.ann).ask("POST", "/api/v1/tokens", scopes).await?.is(201)?;
    let made: MadeToken = made.json()?;
    for path in [one(stage.room), one(stage.talk), ALL.to_owned()] {
        for caller in [
            calls::at(stage.a, &stage.bob),
            calls::at(stage.b, &stage.eve),
            calls::by_token(stage.b, &made.token),
        ] {
            caller.look(&path, made.index).await?.refused(ErrorCode::Forbidden)?;
            caller.ask("HEAD", &path, Value::Null).await?.is(403)?;
        }
        calls::stranger(stage.a).look(&path, 0).await?.is(401)?;
    }
    Ok(())
}

/// All replicas end, and come back with a configuration that lets direct conversations be exported.
async fn allow_direct(test: &TestCluster) -> anyhow::Result<()> {
    let file = test.cluster.layout().config("replica.toml");
    std::fs::write(&file, format!("export_direct = true\n{}", read(&file)?))?;
    for id in test.cluster.replica_ids() {
        test.cluster.kill(&Member::Replica(id)).await?;
    }
    for id in test.cluster.replica_ids() {
        test.cluster.start_member(&Member::Replica(id))?;
    }
    test.recorder.mark("all replicas were killed and started again with export_direct");
    test.cluster.wait_serving(WAIT).await?;
    Ok(())
}
