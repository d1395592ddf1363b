//! Edits, deletions, reactions, pins, mentions, forwards, drafts: what one does the others see, once, whoever leads.

use anyhow::{Context as _, ensure};
use quorate_cluster::http::Call;
use quorate_cluster::wait_until;
use quorate_proto::error::ErrorCode;
use quorate_proto::frame::{
    Action, DeleteMessages, EditMessage, EventKind, MeKind, MessageRef, PinMessage, ReactTo, Request,
    SendMessage,
};
use quorate_proto::ids::{ConversationId, Sequence};
use quorate_tests::harness::TestCluster;

use super::device::{Device, command, fresh};
use super::{WAIT, all_is_well, cluster, without_its_leader};

/// How often the whole is done, each time while the leader is dead.
const ROUNDS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_to_messages_is_seen_once_by_everybody_whoever_leads() -> anyhow::Result<()> {
    let test = cluster("messages").await?;
    let result = messages(&test).await;
    test.finish(result).await
}

fn react(conversation: ConversationId, sequence: Sequence, emoji: &str, on: bool) -> Request {
    let emoji = emoji.to_owned();
    Request::React(ReactTo { conversation, sequence, emoji, on, client_message_id: fresh(), first_sent: 0 })
}

fn pin(conversation: ConversationId, sequence: Sequence) -> Request {
    Request::Pin(PinMessage { conversation, sequence, on: true, client_message_id: fresh(), first_sent: 0 })
}

fn edit(conversation: ConversationId, sequence: Sequence, text: &str) -> Request {
    Request::Edit(EditMessage {
        conversation,
        sequence,
        client_message_id: fresh(),
        text: text.to_owned(),
        if_revision: Some(0),
        first_sent: 0,
    })
}

fn delete(conversation: ConversationId, sequence: Sequence, for_me: bool) -> Request {
    Request::Delete(DeleteMessages {
        conversation,
        sequence,
        through: None,
        for_me,
        client_message_id: fresh(),
        first_sent: 0,
    })
}

async fn messages(test: &TestCluster) -> anyhow::Result<()> {
    let (a, b) = (test.cluster.gateway_address("a")?, test.cluster.gateway_address("b")?);
    let mut ann = Device::sign_up(a, "ann").await?;
    let mut bob = Device::sign_up(b, "bob").await?;
    let mut eve = Device::sign_up(b, "eve").await?;
    let members = vec!["bob".to_owned(), "eve".to_owned()];
    let group = Action::CreateGroup {
        title: "Everything".into(),
        members,
        topic: "all that can be done".into(),
        public: false,
        announcement: false,
    };
    let room = ann.act(group).await?.conversation.context("a group")?;
    for device in [&mut ann, &mut bob, &mut eve] {
        device.is_in(room).await?;
    }
    ensure!(bob.summary(room).await?.topic == "all that can be done");
    round(room, &mut ann, &mut bob, &mut eve).await.context("in calm")?;
    for _ in 0..ROUNDS {
        without_its_leader(test, round(room, &mut ann, &mut bob, &mut eve)).await?;
    }
    // The same for everybody, at every gateway, and what was taken back is nowhere.
    let seen = ann.history(room).await?;
    for device in [&mut bob, &mut eve] {
        device.has_dense_versions()?;
        let theirs = device.history(room).await?;
        ensure!(theirs.len() == seen.len(), "{} sees {} of {}", device.name(), theirs.len(), seen.len());
        for (mine, theirs) in seen.iter().zip(&theirs) {
            let same = mine.sequence == theirs.sequence && (mine.text == theirs.text || theirs.hidden);
            ensure!(same && mine.deleted == theirs.deleted, "{mine:?}\n{theirs:?}");
        }
    }
    ensure!(seen.iter().filter(|message| message.deleted).all(|message| message.text.is_empty()));
    ensure!(!seen.iter().any(|message| message.text.contains("secret")), "{seen:#?}");
    ann.has_dense_versions()?;
    all_is_well(test).await
}

async fn round(
    room: ConversationId,
    ann: &mut Device,
    bob: &mut Device,
    eve: &mut Device,
) -> anyhow::Result<()> {
    let before = bob.summary(room).await?;
    ensure!((before.unread, before.mentions) == (0, 0), "bob begins a round with {before:?}");

    // A message that names bob, changed by its writer, answered, marked.
    let sequence = ann.send(room, "hello @bob, look").await?;
    // Each at a gateway of its own: what a summary says is as new as what its reader has heard.
    for device in [&mut *bob, &mut *eve] {
        device.hears_message(room, sequence).await?;
    }
    let named = bob.summary(room).await?;
    ensure!((named.unread, named.mentions) == (1, 1), "bob was named once: {named:?}");
    let not_named = eve.summary(room).await?;
    ensure!(not_named.mentions == 0, "eve was not named: {not_named:?}");
    let asked = edit(room, sequence, "hello @bob, look here");
    let ack = ann.ack(asked.clone()).await?;
    let replay = ann.ack(asked).await?;
    ensure!(replay.replay && replay.index == ack.index, "{replay:?} is no replay of {ack:?}");
    ann.refused(edit(room, sequence, "too late"), ErrorCode::Conflict).await?;
    bob.refused(edit(room, sequence, "not mine"), ErrorCode::Forbidden).await?;
    let is_edit = |kind: &EventKind| matches!(kind, EventKind::Edit { sequence: of, revision: 1, text, .. } if *of == sequence && text.ends_with("here"));
    bob.hears_event("the edit", room, is_edit).await?;

    bob.ack(react(room, sequence, "👍", true)).await?;
    eve.ack(react(room, sequence, "👍", true)).await?;
    eve.ack(react(room, sequence, "🎉", true)).await?;
    eve.ack(react(room, sequence, "🎉", false)).await?;
    bob.refused(react(room, sequence, "no emoji", true), ErrorCode::Invalid).await?;
    eve.ack(pin(room, sequence)).await?;
    let is_pin =
        |kind: &EventKind| matches!(kind, EventKind::Pin { sequence: of, on: true, .. } if *of == sequence);
    for device in [&mut *ann, &mut *bob] {
        device.hears_event("the pin", room, is_pin).await?;
    }
    let seen = bob.history(room).await?.into_iter().find(|message| message.sequence == sequence);
    let seen = seen.context("the message is in the history")?;
    ensure!(seen.reactions.len() == 1 && seen.reactions[0].count == 2 && seen.reactions[0].mine, "{seen:?}");
    ensure!(seen.pinned && seen.revision == 1 && seen.edited > 0 && seen.mentions == [bob.id()], "{seen:?}");

    // One that is taken back: gone for everybody, with what hung on it.
    let doomed = ann.send(room, "a secret for @bob").await?;
    bob.ack(react(room, doomed, "🤫", true)).await?;
    bob.refused(delete(room, doomed, false), ErrorCode::Forbidden).await?;
    let taken_back = delete(room, doomed, false);
    ann.ack(taken_back.clone()).await?;
    ensure!(ann.ack(taken_back).await?.replay);
    let is_delete =
        |kind: &EventKind| matches!(kind, EventKind::Delete { sequences, .. } if sequences == &[doomed]);
    for device in [&mut *bob, &mut *eve] {
        device.hears_event("the deletion", room, is_delete).await?;
    }
    ann.refused(edit(room, doomed, "back again"), ErrorCode::NotFound).await?;
    let after = bob.summary(room).await?;
    ensure!((after.unread, after.mentions) == (1, 1), "what was taken back does not count: {after:?}");

    // One that bob alone does not want to see.
    let plain = eve.send(room, "just talk").await?;
    for device in [&mut *ann, &mut *bob] {
        device.hears_message(room, plain).await?;
    }
    bob.ack(delete(room, plain, true)).await?;
    let hidden = |device: &Device| {
        let is = |kind: &MeKind| matches!(kind, MeKind::Hidden { range, .. } if range.first <= plain && plain <= range.last);
        device.me.iter().any(|me| is(&me.kind)).then_some(())
    };
    bob.hears("what he took out of his sight", hidden).await?;
    let of = |messages: Vec<quorate_proto::frame::Message>| {
        messages.into_iter().find(|message| message.sequence == plain)
    };
    let (his, hers) = (of(bob.history(room).await?), of(ann.history(room).await?));
    ensure!(his.as_ref().is_some_and(|message| message.hidden && message.text.is_empty()), "{his:?}");
    ensure!(hers.as_ref().is_some_and(|message| !message.hidden && message.text == "just talk"), "{hers:?}");

    // Nor does he find it.
    let asked = |device: &Device| (device.at, device.grant.access_token.clone());
    let find = |(at, token): (std::net::SocketAddr, String), index: u64| async move {
        let path = format!("/api/v1/search?q=just%20talk&in={room}&min_index={index}");
        let call = Call::get(path).header("authorization", format!("Bearer {token}")).deadline(WAIT);
        // 503 for as long as no index has got there, which each replica waits for two seconds at most.
        let answer = wait_until("an answer to a search", WAIT, || async {
            let answer = call.clone().send(at).await.map_err(|error| error.to_string())?;
            let is_late = answer.status() == 503;
            if is_late { Err(String::from_utf8_lossy(answer.body()).into_owned()) } else { Ok(answer) }
        })
        .await?;
        ensure!(answer.status() == 200, "{}: {}", answer.status(), String::from_utf8_lossy(answer.body()));
        let found: serde_json::Value = serde_json::from_slice(answer.body())?;
        let hits = found["hits"].as_array().context("hits")?;
        Ok(hits.iter().any(|hit| hit["message"]["sequence"] == plain))
    };
    let index = bob.ack(react(room, sequence, "✅", true)).await?.index;
    ensure!(find(asked(ann), index).await?, "ann does not find what eve said");
    ensure!(!find(asked(bob), index).await?, "bob finds what he took out of his sight");

    // Handed on: the servers take the text from where it is.
    let forward = SendMessage {
        conversation: room,
        client_message_id: fresh(),
        text: String::new(),
        reply_to: None,
        forward: Some(MessageRef { conversation: room, sequence: plain }),
        first_sent: 0,
        attachments: Vec::new(),
    };
    let handed_on = ann.ack(Request::Send(forward)).await?.sequence.context("a sequence")?;
    eve.hears_message(room, handed_on).await?;
    let seen = eve.history(room).await?.into_iter().find(|message| message.sequence == handed_on);
    let seen = seen.context("what was handed on")?;
    ensure!(seen.text == "just talk", "{seen:?}");
    ensure!(seen.forwarded.as_ref().is_some_and(|from| from.from.id == eve.id()), "{seen:?}");

    // A draft follows to bob's other device, and goes.
    let draft =
        |text: &str| command(Action::Draft { conversation: room, text: text.to_owned(), reply_to: None });
    let mut other = Device::open(bob.at, bob.grant.clone()).await?;
    bob.ack(draft("I was about to")).await?;
    let is_draft = |device: &Device| {
        let is = |kind: &MeKind| matches!(kind, MeKind::Draft { text, .. } if text == "I was about to");
        device.me.iter().any(|me| is(&me.kind)).then_some(())
    };
    other.hears("the draft", is_draft).await?;
    ensure!(other.summary(room).await?.draft == "I was about to");
    bob.ack(draft("")).await?;

    // Everything is read: nothing is unread, and a mark never goes back.
    let last = bob.send(room, "I have seen it all").await?;
    let end = bob.send(room, "and this").await?;
    for device in [&mut *ann, &mut *eve] {
        device.hears_message(room, end).await?;
    }
    let read = bob.summary(room).await?;
    ensure!(read.read > last && (read.unread, read.mentions) == (0, 0), "{read:?}");
    Ok(())
}
