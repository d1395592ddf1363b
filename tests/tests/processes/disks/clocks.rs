//! Wrong clocks: one replica a year ahead, one an hour behind.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use quorate_cluster::{Member, wait_until};
use quorate_proto::frame::{Ack, Body, Request, SendMessage};
use quorate_proto::ids::ClientMessageId;
use quorate_tests::client::Socket;
use quorate_tests::scene::{WAIT, leader, set_the_scene};
use toml::Table;
use uuid::Uuid;

use super::rig::{ACKS_PER_PHASE, PACE, REPLICAS, Rig};

const AHEAD: u16 = 1;
const BEHIND: u16 = 2;
const YEAR_MS: i64 = 365 * 24 * 3_600 * 1_000;
const HOUR_MS: i64 = 3_600 * 1_000;
/// How far log time may be from the majority's clocks.
const SKEW_MS_MAX: u64 = 2_000;
/// Leaders that are killed until the one with the wrong clock leads; then leadership is handed to it: chance may pass it by for long.
const ELECTIONS_MAX: usize = 10;

fn wrong_clock(id: u16) -> Table {
    let offset = match id {
        AHEAD => YEAR_MS,
        BEHIND => -HOUR_MS,
        _ => return Table::new(),
    };
    Table::from_iter([("clock_offset_ms".to_owned(), offset.into())])
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_clock_harms_nothing() -> anyhow::Result<()> {
    let Some(rig) = Rig::start("wrong-clocks", wrong_clock).await? else { return Ok(()) };
    let result = wrong_clocks(&rig).await;
    rig.finish(result).await
}

async fn wrong_clocks(rig: &Rig) -> anyhow::Result<()> {
    let scene = set_the_scene(&rig.test).await?;
    let room = scene.conversations[0];
    let send = SendMessage {
        conversation: room,
        client_message_id: ClientMessageId(Uuid::now_v7()),
        text: "sent before anybody else led".to_owned(),
        reply_to: None,
        forward: None,
        first_sent: 0,
        attachments: Vec::new(),
    };
    // The oracle knows every message, this one too.
    let user = scene.grants[0].user.id;
    let place = rig.test.recorder.sent(send.client_message_id.0, user, room, send.text.clone());
    let first = acked(rig, &scene.grants[0].access_token, &send).await?;
    let (sequence, version) = (first.sequence.context("a place")?, first.version.context("a place")?);
    let (at, index, term) = (rig.test.recorder.now(), first.index, first.term);
    let fate = quorate_tests::history::Fate::Acked { at, sequence, version, index, term };
    rig.test.recorder.fate(place, fate);
    ensure!(!first.replay, "it is new: {first:?}");

    scene.talk_at(PACE).await;
    for wrong in [AHEAD, BEHIND] {
        lead_with(rig, wrong).await?;
        rig.acks(ACKS_PER_PHASE, &format!("under replica {wrong}, whose clock is wrong")).await?;
        log_time_is_right(rig).await?;
        // On a socket of its own: one that nobody reads while leaders are killed answers no ping, and is closed.
        let again = acked(rig, &scene.grants[0].access_token, &send).await?;
        ensure!(again.replay && again.sequence == first.sequence, "its result has expired: {again:?}");
    }
    rig.judge(scene, 2 * ACKS_PER_PHASE).await
}

async fn acked(rig: &Rig, token: &str, send: &SendMessage) -> anyhow::Result<Ack> {
    let mut socket = Socket::open(rig.test.cluster.front(), None).await?;
    socket.hello(token, None).await?;
    loop {
        let id = socket.request(Request::Send(send.clone())).await?;
        match socket.answer(id).await? {
            Body::Ack(ack) => {
                socket.close().await;
                return Ok(ack);
            }
            Body::Error { error } if error.temporary => {
                tokio::time::sleep(Duration::from_millis(error.retry_ms.unwrap_or(200))).await;
            }
            other => bail!("no ack: {other:?}"),
        }
    }
}

/// Kills leaders until this replica leads, or hands over to it.
async fn lead_with(rig: &Rig, wanted: u16) -> anyhow::Result<()> {
    let leads = |term: u64| {
        rig.test.recorder.mark(format!("replica {wanted} leads in term {term}, its clock is wrong"));
        Ok(())
    };
    for _ in 0..ELECTIONS_MAX {
        let (leading, term) = leader(&rig.test).await?;
        if leading == wanted {
            return leads(term);
        }
        rig.kill(&[leading]).await?;
        let (next, _) = leader(&rig.test).await?;
        rig.start_replica(leading)?;
        rig.back(leading).await?;
        rig.test.recorder.mark(format!("killed {leading}, {next} leads"));
    }
    let to = wanted.to_string();
    let what = format!("replica {wanted} to lead");
    let term = wait_until(&what, WAIT, || async {
        match rig.test.cluster.leader().await? {
            (leading, term) if leading == wanted => Ok(term),
            (leading, _) => {
                let arguments = ["member", "transfer-leader", "--to", &to];
                let said = rig.test.cluster.operate(&arguments).await.map_err(|error| error.to_string())?;
                Err(format!("{leading} led: {said}"))
            }
        }
    });
    leads(term.await?)
}

/// Log time on every replica is the majority's time.
async fn log_time_is_right(rig: &Rig) -> anyhow::Result<()> {
    for id in 1..=REPLICAS {
        wait_until(&format!("{} to tell the right time", Member::Replica(id)), WAIT, || async {
            let status = rig.test.cluster.replica_status(id, 0).await?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            let now = u64::try_from(now).unwrap_or(u64::MAX);
            let skew = now.abs_diff(status.log_time_ms);
            if skew <= SKEW_MS_MAX { Ok(()) } else { Err(format!("log time is {skew} ms off")) }
        })
        .await?;
    }
    Ok(())
}
