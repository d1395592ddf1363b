//! From machine version 4 on, replica by replica, while people's sockets stay open: what version 4 has is there as it was, and files
//! and bots, refused in clear words before, begin.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use quorate_cluster::http::Call;
use quorate_cluster::{Balancer, Member, wait_until};
use quorate_proto::error::ErrorCode;
use quorate_proto::frame::{
    Action, AttachFile, DeleteMessages, EventKind, Message, PinMessage, ReactTo, Request, SendMessage,
};
use quorate_proto::ids::{ConversationId, Sequence};
use quorate_proto::rest::SessionGrant;
use quorate_tests::harness::TestCluster;
use quorate_tests::scene::{caught_up, leader};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{WAIT, versions};
use crate::accounts::device::{Answer, send};
use crate::chat::all_is_well;
use crate::chat::device::{Device, fresh, message};
use crate::people::calls;

/// What people do in a chat, but for files and bots.
const FOUR: u32 = 4;
/// A message that is scheduled under version 4 and due later than the upgrade.
const LATER_MS: u64 = 3_600_000;
const FILE: &[u8] = b"What no replica of version 4 knows how to keep.\n";

#[tokio::test(flavor = "multi_thread")]
async fn version_four_is_upgraded_under_open_sockets_and_files_and_bots_begin() -> anyhow::Result<()> {
    let test = TestCluster::start_with("upgrade-four", |mut spec| {
        spec.replica_keys.insert("machine_version_max".to_owned(), FOUR.into());
        spec.gateways = 2;
        spec.balancer = Balancer::None;
        spec
    })
    .await?
    .upgraded()
    .await?;
    let result = upgrade(&test).await;
    test.finish(result).await
}

/// What there is of version 4.
struct Kept {
    room: ConversationId,
    messages: Vec<Message>,
    /// Profile, what is scheduled, pins: as they are read.
    read: Vec<Value>,
}

/// What only later versions have, asked for again and again by who will have it.
struct Later {
    by: SessionGrant,
    file: Uuid,
    bot: Uuid,
}

async fn upgrade(test: &TestCluster) -> anyhow::Result<()> {
    let (a, b) = (test.cluster.gateway_address("a")?, test.cluster.gateway_address("b")?);
    let mut ann = Device::sign_up(a, "ann").await?;
    let mut bob = Device::sign_up(b, "bob").await?;
    let kept = version_four(&mut ann, &mut bob).await.context("version 4's own")?;
    let later = Later { by: ann.grant.clone(), file: Uuid::now_v7(), bot: Uuid::now_v7() };
    later.is_refused(a, b).await?;

    let config = test.cluster.layout().config("replica.toml");
    let text = std::fs::read_to_string(&config)?;
    let line = format!("machine_version_max = {FOUR}\n");
    ensure!(text.contains(&line), "{text}");
    std::fs::write(&config, text.replace(&line, ""))?;
    let mut said = Vec::new();
    for id in 1..=test.cluster.replicas() {
        // 0: it did not answer in time.
        let before = versions(test).await;
        ensure!(before.iter().all(|version| *version <= FOUR), "not all are upgraded: {before:?}");
        later.is_refused(b, a).await.with_context(|| format!("before replica {id}"))?;
        let member = Member::Replica(id);
        // One that leads gets no time to hand over.
        if leader(test).await?.0 == id {
            test.cluster.kill(&member).await?;
        } else {
            test.cluster.stop(&member).await?;
        }
        let text = format!("while replica {id} is away");
        said.push((ann.send(kept.room, &text).await?, text));
        test.cluster.start_member(&member)?;
        caught_up(test, id).await?;
        let (sequence, _) = said.last().context("just said")?;
        bob.hears_message(kept.room, *sequence).await?;
    }
    let newest = wait_until("replica 1 to answer", WAIT, || test.cluster.replica_status(1, 0)).await?;
    let newest = newest.machine_version_max;
    ensure!(newest > FOUR, "this program supports version {newest} only");
    wait_until(&format!("all replicas to reach machine version {newest}"), WAIT, || async {
        let versions = versions(test).await;
        if versions.iter().all(|version| *version == newest) { Ok(()) } else { Err(format!("{versions:?}")) }
    })
    .await?;
    test.recorder.mark(format!("every replica is at machine version {newest}"));

    for device in [&mut ann, &mut bob] {
        let messages = device.history(kept.room).await?;
        let (older, newer) = messages.split_at_checked(kept.messages.len()).context("fewer messages")?;
        let as_before = |(now, before): (&Message, &Message)| {
            // Whether a reaction is the reader's own differs between readers.
            now.sequence == before.sequence
                && now.text == before.text
                && now.deleted == before.deleted
                && now.pinned == before.pinned
                && now.revision == before.revision
                && now.reactions.len() == before.reactions.len()
        };
        ensure!(older.iter().zip(&kept.messages).all(as_before), "{older:#?} were {:#?}", kept.messages);
        let newer: Vec<_> = newer.iter().map(|message| (message.sequence, message.text.clone())).collect();
        ensure!(newer == said, "{newer:?} instead of {said:?}");
    }
    let read = reads(&bob, kept.room).await?;
    ensure!(read == kept.read, "{read:#?} was {:#?}", kept.read);
    begun(&later, kept.room, &mut ann, &mut bob).await.context("what version 4 did not have")?;
    ann.has_dense_versions()?;
    bob.has_dense_versions()?;
    all_is_well(test).await
}

/// Something of most that version 4 brought.
async fn version_four(ann: &mut Device, bob: &mut Device) -> anyhow::Result<Kept> {
    let group = Action::CreateGroup {
        title: "Four".into(),
        members: vec!["bob".into()],
        topic: "What was there before".into(),
        public: true,
        announcement: false,
    };
    let room = ann.act(group).await?.conversation.context("a group")?;
    ann.is_in(room).await?;
    bob.is_in(room).await?;
    let said = ann.send(room, "to be kept").await?;
    let slip = ann.send(room, "to be deleted").await?;
    bob.hears_message(room, slip).await?;
    bob.ack(Request::React(ReactTo {
        conversation: room,
        sequence: said,
        emoji: "👍".into(),
        on: true,
        client_message_id: fresh(),
        first_sent: 0,
    }))
    .await?;
    bob.ack(Request::Pin(PinMessage {
        conversation: room,
        sequence: said,
        on: true,
        client_message_id: fresh(),
        first_sent: 0,
    }))
    .await?;
    ann.ack(Request::Delete(DeleteMessages {
        conversation: room,
        sequence: slip,
        through: None,
        for_me: false,
        client_message_id: fresh(),
        first_sent: 0,
    }))
    .await?;
    calls::at(bob.at, &bob.grant)
        .ask("PATCH", "/api/v1/me", json!({ "status": "at sea" }))
        .await?
        .written()?;
    bob.act(Action::Draft { conversation: room, text: "Half a thought".into(), reply_to: None }).await?;
    let scheduled = bob.ack(message(room, "the last of version 4")).await?;
    let at = scheduled.log_time + LATER_MS;
    bob.act(Action::Schedule { conversation: room, text: "later".into(), reply_to: None, at }).await?;
    ann.hears_message(room, scheduled.sequence.context("a sequence")?).await?;
    let messages = bob.history(room).await?;
    let reacted = messages.iter().find(|message| message.sequence == said).context("the message")?;
    ensure!(reacted.pinned && reacted.reactions.len() == 1, "{reacted:?}");
    Ok(Kept { room, messages, read: reads(bob, room).await? })
}

/// What bob reads of his own, without what differs by when it is read.
async fn reads(bob: &Device, room: ConversationId) -> anyhow::Result<Vec<Value>> {
    let mut read = Vec::new();
    for path in
        ["me", "scheduled", &format!("conversations/{room}/pins"), &format!("conversations/{room}/members")]
    {
        let mut value: Value = calls::at(bob.at, &bob.grant).read(&format!("/api/v1/{path}"), 0).await?;
        value.as_object_mut().context("an object")?.remove("as_of_index");
        read.push(value);
    }
    Ok(read)
}

impl Later {
    /// A small file, whole in one call, again while the answer is that it may succeed later.
    async fn upload(&self, at: SocketAddr) -> anyhow::Result<Answer> {
        let path = format!("/api/v1/files/{}/content?name=note.txt", self.file);
        let authorization = format!("Bearer {}", self.by.access_token);
        let call = Call::new("PUT", path).header("authorization", authorization).bytes(FILE);
        let answer = wait_until("an answer to an upload", WAIT, || async {
            let answer = send(at, call.clone()).await.map_err(|error| format!("{error:#}"))?;
            if answer.status == 503 { Err(format!("{:?}", answer.problem())) } else { Ok(answer) }
        });
        Ok(answer.await?)
    }

    async fn make_bot(&self, at: SocketAddr) -> anyhow::Result<calls::Reply> {
        calls::at(at, &self.by).under(self.bot, "POST", "/api/v1/bots", &json!({ "name": "robin" })).await
    }

    /// Each at one of the gateways, in a word that programs understand.
    async fn is_refused(&self, file_at: SocketAddr, bot_at: SocketAddr) -> anyhow::Result<()> {
        let answer = self.upload(file_at).await?.expect(400).context("a file")?;
        ensure!(answer.code() == Some(ErrorCode::Unsupported), "a file: {:?}", answer.code());
        self.make_bot(bot_at).await?.refused(ErrorCode::Unsupported).context("a bot")
    }
}

/// The same again, now done.
async fn begun(
    later: &Later,
    room: ConversationId,
    ann: &mut Device,
    bob: &mut Device,
) -> anyhow::Result<()> {
    later.upload(ann.at).await?.expect(201)?;
    let shown = Request::Send(SendMessage {
        conversation: room,
        client_message_id: fresh(),
        text: String::new(),
        reply_to: None,
        forward: None,
        first_sent: 0,
        attachments: vec![AttachFile { file: later.file, conversation: None, sequence: None }],
    });
    let sequence: Sequence = ann.ack(shown).await?.sequence.context("a sequence")?;
    let is_shown = |kind: &EventKind| matches!(kind, EventKind::Message(message) if message.sequence == sequence && message.attachments.len() == 1);
    bob.hears_event("the file", room, is_shown).await?;
    let path = format!("/api/v1/files/{}/content?conversation={room}&sequence={sequence}", later.file);
    let call = Call::get(path).header("authorization", format!("Bearer {}", bob.grant.access_token));
    let content = send(bob.at, call).await?.expect(200)?;
    ensure!(content.body == FILE, "{} bytes came back", content.body.len());

    later.make_bot(bob.at).await?.is(201)?;
    let path = format!("/api/v1/conversations/{room}/members");
    calls::at(ann.at, &ann.grant).ask("POST", &path, json!({ "user": "robin" })).await?.written()?;
    let asked = json!({ "label": "all", "scopes": ["read", "send"] });
    let made =
        calls::at(bob.at, &ann.grant).ask("POST", "/api/v1/bots/robin/tokens", asked).await?.is(201)?;
    let made: Value = made.json()?;
    let token = made["token"].as_str().context("a token")?;
    let path = format!("/api/v1/conversations/{room}/messages");
    calls::by_token(bob.at, token).ask("POST", &path, json!({ "text": "beep" })).await?.written()?;
    let is_bots = |kind: &EventKind| matches!(kind, EventKind::Message(message) if message.from.bot && message.text == "beep");
    for device in [ann, bob] {
        device.hears_event("the bot", room, is_bots).await?;
        device.listen(Duration::from_millis(100)).await;
    }
    Ok(())
}
