//! Messages to be sent later, and reminders: each once, in the hour that was chosen, whoever leads then.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use quorate_proto::frame::{Action, EventKind, MeKind, ScheduledState};
use quorate_tests::harness::TestCluster;

use super::device::Device;
use super::{all_is_well, cluster, without_its_leader};

/// Messages that are due while no leader lives, or just after.
const MESSAGES: usize = 24;
/// Reminders, spread over the same time.
const REMINDERS: usize = 6;
/// From the first of them to the last.
const SPAN_MS: u64 = 2_400;
/// Until the first: longer than it takes to schedule them all, also where each waits for a slow disk.
const AHEAD_MS: u64 = 15_000;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_scheduled_is_sent_once_while_the_leader_dies() -> anyhow::Result<()> {
    let test = cluster("scheduled").await?;
    let result = scheduled(&test).await;
    test.finish(result).await
}

fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

async fn scheduled(test: &TestCluster) -> anyhow::Result<()> {
    let (a, b) = (test.cluster.gateway_address("a")?, test.cluster.gateway_address("b")?);
    let mut ann = Device::sign_up(a, "ann").await?;
    let mut bob = Device::sign_up(b, "bob").await?;
    let room = ann.act(Action::CreateDirect { user: "bob".into() }).await?.conversation.context("a room")?;
    bob.is_in(room).await?;
    ann.is_in(room).await?;

    let first = now_ms() + AHEAD_MS;
    let mut ids = Vec::new();
    for number in 0..MESSAGES {
        let at = first + SPAN_MS * number as u64 / MESSAGES as u64;
        let text = format!("scheduled {number}");
        let ack = ann.act(Action::Schedule { conversation: room, text, reply_to: None, at }).await?;
        ids.push(ack.scheduled.context("its number")?);
    }
    let taken_back = ids[MESSAGES / 2];
    ann.act(Action::CancelScheduled { scheduled: taken_back }).await?;
    let talk = ann.send(room, "about that").await?;
    let mut reminders = Vec::new();
    for number in 0..REMINDERS {
        let at = first + SPAN_MS * number as u64 / REMINDERS as u64;
        let note = format!("call {number}");
        let ack = ann.act(Action::Remind { conversation: room, sequence: talk, at, note }).await?;
        reminders.push(ack.scheduled.context("its number")?);
    }
    ensure!(now_ms() < first, "scheduling took longer than {AHEAD_MS} ms");

    // The leader dies as the first come due, and the next one in the middle of them: three are left.
    tokio::time::sleep(Duration::from_millis(first.saturating_sub(now_ms()))).await;
    let middle = first + SPAN_MS / 2;
    without_its_leader(test, async {
        tokio::time::sleep(Duration::from_millis(middle.saturating_sub(now_ms()))).await;
        without_its_leader(test, all_have_fired(&mut ann)).await
    })
    .await?;

    let said = |device: &Device| {
        let is_one = |kind: &EventKind| matches!(kind, EventKind::Message(message) if message.text.starts_with("scheduled"));
        (device.events.iter().filter(|event| is_one(&event.kind)).count() >= MESSAGES - 1).then_some(())
    };
    bob.hears("everything that was scheduled", said).await?;
    // A while later nothing more has come, and everything came once and in the order of its time.
    tokio::join!(ann.listen(Duration::from_secs(2)), bob.listen(Duration::from_secs(2)));
    let mut expected: Vec<u64> = ids.into_iter().filter(|id| *id != taken_back).chain(reminders).collect();
    let mut told = fired(&ann);
    expected.sort_unstable();
    told.sort_unstable();
    ensure!(told == expected, "fired were {told:?} instead of {expected:?}");
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    let mut order = Vec::new();
    for message in bob.history(room).await?.iter().filter(|message| message.text.starts_with("scheduled")) {
        *times.entry(message.text.clone()).or_default() += 1;
        order.push(message.text.trim_start_matches("scheduled ").parse::<usize>()?);
    }
    ensure!(times.len() == MESSAGES - 1 && times.values().all(|times| *times == 1), "{times:?}");
    ensure!(!times.contains_key(&format!("scheduled {}", MESSAGES / 2)), "it was taken back: {times:?}");
    ensure!(order.is_sorted(), "not in the order of time: {order:?}");
    ann.has_dense_versions()?;
    bob.has_dense_versions()?;
    all_is_well(test).await
}

/// Of which items she was told that their time came, once for each time that she was told.
fn fired(ann: &Device) -> Vec<u64> {
    let of = |kind: &MeKind| match kind {
        MeKind::Scheduled { item, state: ScheduledState::Fired, .. } => Some(item.id),
        _ => None,
    };
    ann.me.iter().filter_map(|me| of(&me.kind)).collect()
}

/// Reads until everything has fired that was not taken back.
async fn all_have_fired(ann: &mut Device) -> anyhow::Result<()> {
    let all = |device: &Device| (fired(device).len() >= MESSAGES - 1 + REMINDERS).then_some(());
    ann.hears("that everything has fired", all).await
}
