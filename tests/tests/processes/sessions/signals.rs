//! Typing, receipts and presence between gateways: who hears them, and who must not.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use quorate_cluster::process::Send;
use quorate_cluster::{Member, wait_until};
use quorate_proto::error::ErrorCode;
use quorate_proto::frame::{
    Action, Body, DoCommand, Event, EventKind, MeKind, MemberMarks, PresenceState, Request, SignalKind,
};
use quorate_proto::ids::{ClientMessageId, ConversationId};
use quorate_tests::harness::TestCluster;
use quorate_tests::load;
use quorate_tests::scene::leader;
use uuid::Uuid;

use super::ONE_AT_A_TIME;
use super::ear::{Ear, WAIT, say_until_heard};

/// A user whose gateway was killed is gone within this.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// Who closes her last socket is shown for this long.
const OFFLINE_GRACE: Duration = Duration::from_secs(5);
/// Who says that she is back before this is within it, with slack for a gateway that stands still before it hears of it.
const GRACE_ENOUGH: Duration = Duration::from_secs(2);
/// What must not be heard is listened for this long.
const SILENCE: Duration = Duration::from_millis(500);

async fn opened(ear: &mut Ear, conversation: ConversationId) -> anyhow::Result<Vec<MemberMarks>> {
    match ear.ask(Request::Open { conversation, signals: true }).await? {
        Body::Conversation { marks, .. } => Ok(marks),
        other => anyhow::bail!("{conversation} was not opened: {other:?}"),
    }
}

fn is_message(event: &Event, of: u64) -> bool {
    matches!(&event.kind, EventKind::Message(message) if message.sequence == of)
}

/// Whether this tells the reader that she was added to a conversation, or removed.
fn concerns(body: &Body, id: ConversationId) -> bool {
    match body {
        Body::Me(me) => match &me.kind {
            MeKind::Added { conversation, .. } => conversation.id == id,
            MeKind::Removed { conversation } => *conversation == id,
            _ => false,
        },
        _ => false,
    }
}

fn signal_of(body: Body) -> Option<SignalKind> {
    match body {
        Body::Signal(signal) => Some(signal.kind),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_reach_members_through_every_gateway_and_nobody_else() -> anyhow::Result<()> {
    let _one = ONE_AT_A_TIME.lock().await;
    let test = TestCluster::start("signals").await?;
    let result = who_hears_what(&test).await;
    test.finish(result).await
}

async fn who_hears_what(test: &TestCluster) -> anyhow::Result<()> {
    let grants = load::sign_up_many(test.cluster.front(), "s", 3).await?;
    let [ana, ben, eve] = &grants[..] else { anyhow::bail!("three people") };
    let gateways = test.cluster.gateways();
    let at = |place: usize| test.cluster.gateway_address(&gateways[place % gateways.len()]);
    let mut ana_at_a = Ear::open(at(0)?, ana).await?;
    let mut ben_at_b = Ear::open(at(1)?, ben).await?;
    let mut eve_at_c = Ear::open(at(2)?, eve).await?;
    let room = ana_at_a.direct_with(&ben.user.name).await?;
    let with_eve = eve_at_c.direct_with(&ben.user.name).await?;
    ben_at_b
        .hear(WAIT, |body| concerns(&body, with_eve).then_some(()))
        .await?
        .context("she was not added")?;
    opened(&mut ana_at_a, room).await?;
    opened(&mut ben_at_b, room).await?;

    // Who is no member cannot open it, hears nothing of it, and is not heard in it.
    match eve_at_c.ask(Request::Open { conversation: room, signals: true }).await? {
        Body::Error { error } => ensure!(error.code == ErrorCode::NotFound, "{error:?}"),
        other => anyhow::bail!("a stranger opened it: {other:?}"),
    }
    let typing = Request::Typing { conversation: room };
    eve_at_c.say(typing.clone()).await?;
    let who = |body| match signal_of(body) {
        Some(SignalKind::Typing { user }) => Some(user),
        _ => None,
    };
    let heard = say_until_heard(&mut ana_at_a, &mut ben_at_b, &typing, who).await?;
    ensure!(heard == ana.user, "heard of {heard:?}");
    let stranger = eve_at_c.hear(SILENCE, signal_of).await?;
    ensure!(stranger.is_none(), "a stranger heard {stranger:?}");

    // Receipts: what has come and what was read, and the same from `open` at any gateway later.
    let mark = |body| match signal_of(body) {
        Some(SignalKind::Receipt { user, read, delivered }) => Some((user, read, delivered)),
        _ => None,
    };
    let (mut first, mut heard) = (0, None);
    // A signal may be lost; the next message brings the next one.
    for attempt in 0..5 {
        first = ana_at_a.send(room, &format!("message {attempt}")).await?;
        let came = |body| match body {
            Body::Event(event) => is_message(&event, first).then_some(()),
            _ => None,
        };
        ben_at_b.hear(WAIT, came).await?.context("the message did not come")?;
        ben_at_b.say(Request::Delivered { conversation: room, sequence: first }).await?;
        heard =
            ana_at_a.hear(Duration::from_secs(4), |body| mark(body).filter(|mark| mark.2 == first)).await?;
        if heard.is_some() {
            break;
        }
    }
    ensure!(heard == Some((ben.user.id, 0, first)), "{heard:?}");
    ben_at_b.say(Request::Read { conversation: room, sequence: first }).await?;
    let heard = ana_at_a.hear(WAIT, |body| mark(body).filter(|(_, read, _)| *read > 0)).await?;
    ensure!(heard == Some((ben.user.id, first, 0)), "{heard:?}");
    for place in 0..gateways.len() {
        // The replica that is asked there may be a little behind.
        wait_until(&format!("ben's marks at gateway {place}"), WAIT, || async {
            let marks = async {
                let mut again = Ear::open(at(place)?, ana).await?;
                let marks = opened(&mut again, room).await?;
                again.socket.close().await;
                anyhow::Ok(marks)
            };
            let marks = marks.await.map_err(|error| error.to_string())?;
            match marks.iter().find(|mark| mark.user == ben.user.id) {
                Some(mark) if mark.read == first && mark.delivered >= first => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
    }

    // Closed is closed.
    ben_at_b.say(Request::Close { conversation: room }).await?;
    opened(&mut ben_at_b, with_eve).await?;
    ana_at_a.say(typing.clone()).await?;
    let other = |body| match signal_of(body) {
        Some(SignalKind::Typing { user }) => Some(user.id),
        _ => None,
    };
    let to_eve = Request::Typing { conversation: with_eve };
    let heard = say_until_heard(&mut eve_at_c, &mut ben_at_b, &to_eve, other).await?;
    ensure!(heard == eve.user.id, "heard of {heard} although that conversation was closed");

    // Who leaves a group hears nothing of it from then on.
    let group = load::make_group(test.cluster.front(), "group", &[ana, ben, eve]).await?;
    for ear in [&mut ana_at_a, &mut ben_at_b, &mut eve_at_c] {
        let added = |body| concerns(&body, group).then_some(());
        ear.hear(WAIT, added).await?.context("a member was not told of the group")?;
        opened(ear, group).await?;
    }
    let typing = Request::Typing { conversation: group };
    say_until_heard(&mut ana_at_a, &mut eve_at_c, &typing, signal_of).await?;
    let leave = DoCommand {
        client_message_id: ClientMessageId(Uuid::now_v7()),
        first_sent: 0,
        command: Action::RemoveMember { conversation: group, user: eve.user.name.clone() },
    };
    // On another device, so that this one listens meanwhile: from what it is told on, it hears nothing.
    let mut eve_at_a = Ear::open(at(0)?, eve).await?;
    match eve_at_a.ask(Request::Do(leave)).await? {
        Body::Ack(_) => {}
        other => anyhow::bail!("she could not leave: {other:?}"),
    }
    let removed = |body| concerns(&body, group).then_some(());
    eve_at_c.hear(WAIT, removed).await?.context("who left was not told that she did")?;
    // At least one is heard by a member, and none by her.
    say_until_heard(&mut ana_at_a, &mut ben_at_b, &typing, other).await?;
    let left = eve_at_c.hear(SILENCE, signal_of).await?;
    ensure!(left.is_none(), "who left heard {left:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_on_how_many_disks_a_message_is() -> anyhow::Result<()> {
    let _one = ONE_AT_A_TIME.lock().await;
    let test = TestCluster::start("durability").await?;
    let result = durability(&test).await;
    test.finish(result).await
}

async fn durability(test: &TestCluster) -> anyhow::Result<()> {
    let grants = load::sign_up_many(test.cluster.front(), "d", 2).await?;
    let [ana, ben] = &grants[..] else { anyhow::bail!("two people") };
    let gateway = test.cluster.gateways().into_iter().next().context("a gateway")?;
    let mut ear = Ear::open(test.cluster.gateway_address(&gateway)?, ana).await?;
    let room = ear.direct_with(&ben.user.name).await?;
    opened(&mut ear, room).await?;
    let (leading, _) = leader(test).await?;
    let paused = if leading == 1 { 2 } else { 1 };
    let all = u32::from(test.cluster.replicas());
    let on = |of: u64, wanted: u32| {
        move |body| match signal_of(body) {
            Some(SignalKind::Durability { sequence, replicas, of: voters })
                if sequence >= of && voters == all && replicas >= wanted =>
            {
                Some(replicas)
            }
            _ => None,
        }
    };
    let first = ear.send(room, "on all disks").await?;
    let told = ear.hear(WAIT, on(first, all)).await?;
    ensure!(told == Some(all), "{told:?}");
    test.cluster.signal(&Member::Replica(paused), Send::Pause)?;
    let second = ear.send(room, "on all disks but one").await;
    let told = match &second {
        Ok(second) => ear.hear(WAIT, on(*second, all - 1)).await,
        Err(_) => Ok(None),
    };
    let more = match &second {
        Ok(second) => ear.hear(SILENCE, on(*second, all)).await,
        Err(_) => Ok(None),
    };
    // Whatever was heard, it goes on.
    test.cluster.signal(&Member::Replica(paused), Send::Resume)?;
    let (second, told, more) = (second?, told?, more?);
    ensure!(told == Some(all - 1) && more.is_none(), "with one replica away: {told:?}, then {more:?}");
    let told = ear.hear(WAIT, on(second, all)).await?;
    ensure!(told == Some(all), "after it came back: {told:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_is_true_across_gateways_and_goes_with_a_killed_one() -> anyhow::Result<()> {
    let _one = ONE_AT_A_TIME.lock().await;
    let test = TestCluster::start("presence").await?;
    let result = presence(&test).await;
    test.finish(result).await
}

async fn presence(test: &TestCluster) -> anyhow::Result<()> {
    let grants = load::sign_up_many(test.cluster.front(), "s", 2).await?;
    let [ana, ben] = &grants[..] else { anyhow::bail!("two people") };
    let gateways = test.cluster.gateways();
    let at = |place: usize| test.cluster.gateway_address(&gateways[place]);
    let mut ana_at_a = Ear::open(at(0)?, ana).await?;
    let room = ana_at_a.direct_with(&ben.user.name).await?;
    let mut ben_at_b = Ear::open(at(1)?, ben).await?;
    let state =
        |marks: &[MemberMarks]| marks.iter().find(|mark| mark.user == ana.user.id).map(|mark| mark.presence);
    // Replicas that were started just now say that they do not know; then that nobody has said anything of her.
    wait_until("replicas to know who is there", WAIT, || async {
        let mut ear = Ear::open(at(1).map_err(|e| e.to_string())?, ben).await.map_err(|e| e.to_string())?;
        let marks = opened(&mut ear, room).await.map_err(|error| error.to_string())?;
        ear.socket.close().await;
        match state(&marks) {
            Some(PresenceState::Offline) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    opened(&mut ben_at_b, room).await?;
    let mut said = async |ear: &mut Ear, state, shown| {
        // Who only says answers no ping: what has come by now is read first.
        ear.hear(Duration::from_millis(1), |_| None::<()>).await?;
        ear.say(Request::Presence { state }).await?;
        ben_at_b.until_presence(ana.user.id, shown, WAIT).await
    };
    said(&mut ana_at_a, PresenceState::Active, PresenceState::Active).await?;
    said(&mut ana_at_a, PresenceState::Idle, PresenceState::Idle).await?;
    said(&mut ana_at_a, PresenceState::Dnd, PresenceState::Dnd).await?;
    said(&mut ana_at_a, PresenceState::Invisible, PresenceState::Offline).await?;
    said(&mut ana_at_a, PresenceState::Idle, PresenceState::Idle).await?;
    // A second device elsewhere: what counts more is shown, and it stays when the first device's gateway dies.
    let mut ana_at_c = Ear::open(at(2)?, ana).await?;
    said(&mut ana_at_c, PresenceState::Active, PresenceState::Active).await?;
    said(&mut ana_at_a, PresenceState::Dnd, PresenceState::Dnd).await?;
    let killed = Instant::now();
    test.cluster.kill(&Member::Gateway(gateways[0].clone())).await?;
    ben_at_b.until_presence(ana.user.id, PresenceState::Active, GONE_WITHIN).await?;
    test.recorder.mark(format!("the killed gateway's word was over after {:?}", killed.elapsed()));
    println!("presence of a killed gateway ended after {:.1?}", killed.elapsed());
    let killed = Instant::now();
    test.cluster.kill(&Member::Gateway(gateways[2].clone())).await?;
    ben_at_b.until_presence(ana.user.id, PresenceState::Offline, GONE_WITHIN).await?;
    println!("the last of her gateways killed, she was gone after {:.1?}", killed.elapsed());
    // Who closes her last socket and comes back was never gone; who stays away is gone after five seconds.
    test.cluster.start_member(&Member::Gateway(gateways[0].clone()))?;
    test.cluster.wait_ready(&Member::Gateway(gateways[0].clone()), WAIT).await?;
    let mut ana_again = Ear::open(at(0)?, ana).await?;
    ana_again.say(Request::Presence { state: PresenceState::Active }).await?;
    ben_at_b.until_presence(ana.user.id, PresenceState::Active, WAIT).await?;
    let closed = Instant::now();
    ana_again.socket.close().await;
    let mut ana_again = Ear::open(at(0)?, ana).await?;
    ana_again.say(Request::Presence { state: PresenceState::Active }).await?;
    let back = closed.elapsed();
    let changed = ben_at_b
        .hear(OFFLINE_GRACE + SILENCE, |body| match signal_of(body) {
            Some(SignalKind::Presence { user, state }) if user == ana.user.id => {
                (state != PresenceState::Active).then_some(state)
            }
            _ => None,
        })
        .await?;
    // On a machine so slow that the grace was over, she may have been gone for a moment.
    ensure!(changed.is_none() || back >= GRACE_ENOUGH, "back after {back:.1?}, and shown as {changed:?}");
    ana_again.socket.close().await;
    ben_at_b.until_presence(ana.user.id, PresenceState::Offline, OFFLINE_GRACE + WAIT).await?;
    Ok(())
}
