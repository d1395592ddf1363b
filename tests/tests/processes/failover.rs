//! The loss of leaders and majorities, counted and timed, and what must not cause an election.
//!
//! Short by default, so that every change runs them; the long forms are the same tests with larger numbers:
//! `QUORATE_FAILOVER_KILLS=100`, `QUORATE_FAILOVER_SETS=10` (pairs and triples each), `QUORATE_CALM_SECONDS=600`,
//! `QUORATE_CUT_CLIENTS=10000`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use quorate_cluster::process::Send;
use quorate_cluster::{Member, wait_until};
use quorate_proto::frame::{Ack, Body, Request, SendMessage};
use quorate_proto::ids::{ClientMessageId, ConversationId};
use quorate_proto::rest::SessionGrant;
use quorate_tests::client::{Person, Socket, rest};
use quorate_tests::harness::{TestCluster, number, read};
use quorate_tests::history::{Fate, Micros};
use quorate_tests::load;
use quorate_tests::scene::{
    ACKS_PER_PHASE, PEOPLE, Scene, WAIT, acks_since, caught_up, judge, leader, read_finals, set_the_scene,
    states_agree,
};
use tokio::sync::Mutex;
use uuid::Uuid;

/// A second cluster beside a measured one would falsify both: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// After all but a hundredth of the kills acks pause for at most this long; a machine that stands still may make one pause longer.
const GAP_USUAL: Duration = Duration::from_secs(3);
/// A pause of acks beyond this is not a failover, it is an outage.
const GAP_MAX: Duration = Duration::from_secs(10);
/// How long after a kill its gap is looked for.
const GAP_WINDOW: Duration = Duration::from_secs(12);
/// What is said, at the latest, to somebody who writes while no majority lives.
const REFUSAL_WAIT: Duration = Duration::from_secs(12);
/// Writes are back this soon after the programs of a majority were started: they take a second, an election one or two more, and a
/// machine that stands still as long again.
const SERVICE_WAIT: Duration = Duration::from_secs(10);
/// Spans of load, one of which must pass without an election: a machine that stands still for longer than an election's timeout
/// costs the leader as a dead process does, and says nothing of the load.
const CALM_SPANS_MAX: usize = 3;

/// Everybody leaves, everything is read and judged.
async fn close(test: &TestCluster, scene: Scene) -> anyhow::Result<()> {
    scene.settle().await?;
    let closes = test.recorder.history().closes.clone();
    ensure!(closes.is_empty(), "sockets closed although only replicas died: {closes:#?}");
    states_agree(test).await?;
    let users: Vec<String> = scene.grants.iter().map(|grant| grant.user.name.clone()).collect();
    let (_, _, rooms) = scene.leave().await?;
    read_finals(test, &users, &rooms, "at the end").await?;
    judge(test)
}

/// The longest time without an ack within the window after `from`, which ends where the next one begins.
fn gap_after(test: &TestCluster, from: Micros, next: Micros) -> Duration {
    let to = next.min(from + Micros::try_from(GAP_WINDOW.as_micros()).unwrap_or(Micros::MAX));
    let history = test.recorder.history();
    let mut acks: Vec<Micros> = history
        .sends
        .iter()
        .filter_map(|sent| match sent.fate {
            Fate::Acked { at, .. } if at + 200_000 >= from && at <= to => Some(at),
            _ => None,
        })
        .collect();
    acks.sort_unstable();
    let longest = acks.windows(2).map(|pair| pair[1] - pair[0]).max();
    Duration::from_micros(longest.unwrap_or(Micros::MAX))
}

#[tokio::test(flavor = "multi_thread")]
async fn acked_messages_survive_leader_kills_and_writes_go_on_at_once() -> anyhow::Result<()> {
    let _one = ONE_AT_A_TIME.lock().await;
    let test = TestCluster::start("leader-kills").await?;
    let result = leader_kills(&test, number("QUORATE_FAILOVER_KILLS", 5)).await;
    test.finish(result).await
}

async fn leader_kills(test: &TestCluster, kills: usize) -> anyhow::Result<()> {
    let scene = set_the_scene(test).await?;
    let (_, first_term) = leader(test).await?;
    let began = test.recorder.now();
    scene.talk().await;
    acks_since(test, began, "in calm").await?;
    let mut moments = Vec::new();
    for round in 1..=kills {
        let (victim, _) = leader(test).await?;
        moments
            .push(test.recorder.mark(format!("killing replica {victim}, the leader ({round} of {kills})")));
        test.cluster.kill(&Member::Replica(victim)).await?;
        let killed = test.recorder.now();
        acks_since(test, killed, "after the kill").await?;
        test.cluster.start_member(&Member::Replica(victim))?;
        caught_up(test, victim).await?;
        let back = test.recorder.now();
        acks_since(test, back, "after the restart").await?;
    }
    let (_, last_term) = leader(test).await?;
    ensure!(last_term >= first_term + kills as u64, "terms {first_term} to {last_term}: too few elections");
    close(test, scene).await?;

    let nexts = moments.iter().copied().skip(1).chain([Micros::MAX]);
    let mut gaps: Vec<Duration> =
        moments.iter().zip(nexts).map(|(moment, next)| gap_after(test, *moment, next)).collect();
    gaps.sort_unstable();
    let at = |share: f64| gaps[((gaps.len() - 1) as f64 * share).round() as usize];
    let early = early_elections(test)?;
    let acks = test.recorder.acks_between(0, Micros::MAX);
    println!(
        "{kills} leader kills, {acks} acks: longest gap between acks p50 {:?}, p99 {:?}, max {:?}; {early} elections \
         by evidence",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    ensure!(at(1.0) <= GAP_MAX, "acks paused for {:?}", at(1.0));
    let late = gaps.iter().filter(|gap| **gap > GAP_USUAL).count();
    ensure!(
        late <= (kills / 100).max(1),
        "after {late} of {kills} kills acks paused for more than {GAP_USUAL:?}"
    );
    ensure!(early > 0, "no election came from evidence: every failover waited for the timers");
    Ok(())
}

/// How often a replica stood for election because the leader's process was gone.
fn early_elections(test: &TestCluster) -> anyhow::Result<usize> {
    let mut count = 0;
    for id in 1..=test.cluster.replicas() {
        let log = read(&test.cluster.log(&Member::Replica(id)))?;
        count += log.matches("standing for election early").count();
    }
    Ok(count)
}

/// All ways to choose `size` of five replicas.
fn sets(size: u32) -> Vec<Vec<u16>> {
    let members = |bits: u32| (1..=5_u16).filter(move |id| bits & (1 << (id - 1)) != 0).collect::<Vec<_>>();
    (0..32_u32).filter(|bits| bits.count_ones() == size).map(members).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_dead_of_five_change_nothing_and_three_stop_writes_until_they_are_back() -> anyhow::Result<()> {
    let _one = ONE_AT_A_TIME.lock().await;
    let test = TestCluster::start("kill-sets").await?;
    let result = kill_sets(&test, number("QUORATE_FAILOVER_SETS", 1)).await;
    test.finish(result).await
}

async fn kill_sets(test: &TestCluster, count: usize) -> anyhow::Result<()> {
    let scene = set_the_scene(test).await?;
    let began = test.recorder.now();
    scene.talk().await;
    acks_since(test, began, "in calm").await?;
    // Another part of the list each time that fewer than all are run.
    let skip = usize::try_from(Uuid::now_v7().as_u128() % 10).unwrap_or(0);
    for set in sets(2).iter().cycle().skip(skip).take(count) {
        for id in set {
            test.cluster.kill(&Member::Replica(*id)).await?;
        }
        let killed = test.recorder.mark(format!("killed {set:?}: a majority lives"));
        acks_since(test, killed, "with two dead").await?;
        revive(test, set).await?;
    }
    for (round, set) in sets(3).iter().cycle().skip(skip).take(count).enumerate() {
        let told = pauses_told(&scene);
        for id in set {
            test.cluster.kill(&Member::Replica(*id)).await?;
            // If it led, the others are in the middle of an election when the next one dies, or have just had it.
            tokio::time::sleep(Duration::from_millis(17 * (round as u64 % 10))).await;
        }
        let killed = test.recorder.mark(format!("killed {set:?}: no majority lives"));
        told_since(&scene, &told).await?;
        // What was sent before the kill may be committed: its ack may come after it. What was sent later can have none.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let acks = test.recorder.acks_of_sends_since(killed);
        ensure!(acks == 0, "{acks} sends made without a majority were acknowledged");
        let late = test.recorder.acks_between(killed, Micros::MAX);
        test.recorder.mark(format!("{late} acks came after the kill, all of them for sends before it"));
        for id in set {
            test.cluster.start_member(&Member::Replica(*id))?;
        }
        let started = std::time::Instant::now();
        let back = test.recorder.mark(format!("{set:?} are started again"));
        wait_until("writes to be back", WAIT, || async {
            let history = test.recorder.history();
            let acked = |sent: &&quorate_tests::history::Sent| {
                matches!(sent.fate, Fate::Acked { at, .. } if at >= back)
            };
            if history.sends.iter().filter(acked).count() > 0 { Ok(()) } else { Err("no ack yet".to_owned()) }
        })
        .await?;
        let took = started.elapsed();
        test.recorder.mark(format!("first ack {took:?} after three were started again"));
        ensure!(took <= SERVICE_WAIT, "writes were back only after {took:?}");
        for id in set {
            caught_up(test, *id).await?;
        }
        let back = test.recorder.now();
        acks_since(test, back, "after the majority's return").await?;
    }
    // Nobody writes and the leader lives on: no command finds out that a majority is gone.
    scene.settle().await?;
    let told = pauses_told(&scene);
    let (leading, _) = leader(test).await?;
    let quiet: Vec<u16> = (1..=test.cluster.replicas()).filter(|id| *id != leading).take(3).collect();
    for id in &quiet {
        test.cluster.kill(&Member::Replica(*id)).await?;
    }
    test.recorder.mark(format!("killed {quiet:?} while nobody writes: no majority lives"));
    told_since(&scene, &told).await?;
    for id in &quiet {
        test.cluster.start_member(&Member::Replica(*id))?;
    }
    scene.talk().await;
    let back = test.recorder.now();
    acks_since(test, back, "after the quiet majority's return").await?;
    for id in &quiet {
        caught_up(test, *id).await?;
    }
    close(test, scene).await
}

/// How often each of them was told that writes wait.
fn pauses_told(scene: &Scene) -> Vec<u64> {
    scene.people.iter().map(|person| person.tally().write_pauses).collect()
}

async fn told_since(scene: &Scene, before: &[u64]) -> anyhow::Result<()> {
    wait_until("everybody to be told that writes wait", REFUSAL_WAIT, || async {
        let told = pauses_told(scene).iter().zip(before).filter(|(now, before)| now > before).count();
        if told == PEOPLE { Ok(()) } else { Err(format!("{told} of {PEOPLE} were")) }
    })
    .await?;
    Ok(())
}

async fn revive(test: &TestCluster, set: &[u16]) -> anyhow::Result<()> {
    for id in set {
        test.cluster.start_member(&Member::Replica(*id))?;
    }
    for id in set {
        caught_up(test, *id).await?;
    }
    let back = test.recorder.now();
    acks_since(test, back, "after their return").await
}

#[tokio::test(flavor = "multi_thread")]
async fn full_load_alone_elects_nobody() -> anyhow::Result<()> {
    let _one = ONE_AT_A_TIME.lock().await;
    let test = TestCluster::start("calm").await?;
    let seconds = number("QUORATE_CALM_SECONDS", 15);
    let result = calm(&test, Duration::from_secs(seconds as u64)).await;
    test.finish(result).await
}

/// Senders that keep both cores busy, each waiting for its ack only.
const FULL_LOAD_SENDERS: usize = 128;

async fn calm(test: &TestCluster, span: Duration) -> anyhow::Result<()> {
    let front = test.cluster.front();
    let grants = load::sign_up_many(front, "busy", 16).await?;
    let members: Vec<_> = grants.iter().collect();
    let room = load::make_group(front, "busy", &members).await?;
    for number in 1..=CALM_SPANS_MAX {
        let (_, before) = leader(test).await?;
        let acks = full_load(front, &grants, room, span).await?;
        let (_, after) = leader(test).await?;
        println!(
            "{acks} acks in {span:?} from {FULL_LOAD_SENDERS} senders; term {before} before, {after} after"
        );
        ensure!(acks > ACKS_PER_PHASE, "{acks} acks are no load");
        if before == after {
            return Ok(());
        }
        test.recorder.mark(format!("span {number}: term {before} became {after}"));
    }
    bail!("somebody was elected without cause in each of {CALM_SPANS_MAX} spans of load")
}

/// Everybody sends for so long; how many were acknowledged.
async fn full_load(
    front: std::net::SocketAddr,
    grants: &[SessionGrant],
    room: ConversationId,
    span: Duration,
) -> anyhow::Result<usize> {
    let until = std::time::Instant::now() + span;
    let mut senders = Vec::new();
    for place in 0..FULL_LOAD_SENDERS {
        let token = grants[place % grants.len()].access_token.clone();
        senders.push(tokio::spawn(async move {
            let mut socket = Socket::open(front, None).await?;
            socket.hello(&token, None).await?;
            let mut acks = 0_usize;
            while std::time::Instant::now() < until {
                let id = socket.request(Request::Send(message(room))).await?;
                match socket.answer(id).await? {
                    Body::Ack(_) => acks += 1,
                    Body::Error { error } if error.temporary => {}
                    other => bail!("neither ack nor a temporary error: {other:?}"),
                }
            }
            anyhow::Ok(acks)
        }));
    }
    let mut acks = 0;
    for sender in senders {
        acks += sender.await??;
    }
    Ok(acks)
}

fn message(conversation: ConversationId) -> SendMessage {
    let id = Uuid::now_v7();
    SendMessage {
        conversation,
        client_message_id: ClientMessageId(id),
        text: format!("message {id}"),
        reply_to: None,
        forward: None,
        first_sent: 0,
        attachments: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_whose_answer_was_lost_is_made_once_by_its_retry() -> anyhow::Result<()> {
    let _one = ONE_AT_A_TIME.lock().await;
    let test = TestCluster::start("cut-clients").await?;
    let result = cut_clients(&test, number("QUORATE_CUT_CLIENTS", 200)).await;
    test.finish(result).await
}

/// A socket that is welcome: a gateway that just lost the replica that fed it may ask its clients to come again.
async fn entered(at: std::net::SocketAddr, token: &str) -> anyhow::Result<Socket> {
    let welcome = wait_until("a welcome", WAIT, || async {
        let mut socket = Socket::open(at, None).await.map_err(|error| format!("{error:#}"))?;
        socket.hello(token, None).await.map_err(|error| format!("{error:#}"))?;
        Ok(socket)
    });
    Ok(welcome.await?)
}

/// Sends until it is decided, under one id.
async fn acknowledged(socket: &mut Socket, send: &SendMessage) -> anyhow::Result<Ack> {
    let decided = tokio::time::timeout(WAIT, async {
        loop {
            let id = socket.request(Request::Send(send.clone())).await?;
            match socket.answer(id).await? {
                Body::Ack(ack) => break anyhow::Ok(ack),
                Body::Error { error } if error.temporary => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                other => bail!("neither ack nor a temporary error: {other:?}"),
            }
        }
    });
    decided.await.context("not decided in time")?
}

/// Each client sends, is cut before it can read the answer, and tries again under the same id at another gateway, while
/// leaders die.
async fn cut_clients(test: &TestCluster, cases: usize) -> anyhow::Result<()> {
    const AT_ONCE: usize = 20;
    let gateways: Vec<_> = test
        .cluster
        .gateways()
        .iter()
        .map(|name| test.cluster.gateway_address(name))
        .collect::<Result<_, _>>()?;
    let grants = load::sign_up_many(gateways[0], "cut", AT_ONCE).await?;
    let members: Vec<_> = grants.iter().collect();
    let room = load::make_group(gateways[0], "cut", &members).await?;
    let (mut replays, mut firsts, mut done, mut newest) = (0_usize, 0_usize, 0_usize, 0);
    let mut acked = BTreeMap::new();
    while done < cases {
        if done.is_multiple_of(AT_ONCE * 5) && done > 0 {
            let (victim, _) = leader(test).await?;
            test.cluster.kill(&Member::Replica(victim)).await?;
            test.cluster.start_member(&Member::Replica(victim))?;
        }
        let round = grants.iter().enumerate().map(|(place, grant)| {
            let (first, second) = (gateways[place % gateways.len()], gateways[(place + 1) % gateways.len()]);
            let send = message(room);
            async move {
                let mut socket = entered(first, &grant.access_token).await?;
                socket.request(Request::Send(send.clone())).await?;
                // Between nothing and some milliseconds: the cut meets the command anywhere on its way.
                tokio::time::sleep(Duration::from_micros(
                    u64::from(send.client_message_id.0.as_bytes()[15]) * 20,
                ))
                .await;
                drop(socket);
                let mut socket = entered(second, &grant.access_token).await?;
                let ack = acknowledged(&mut socket, &send).await?;
                socket.close().await;
                anyhow::Ok((
                    send.client_message_id.0,
                    ack.sequence.context("an ack without its sequence")?,
                    ack.replay,
                    ack.index,
                ))
            }
        });
        for result in futures_util::future::join_all(round).await {
            let (id, sequence, replay, index) = result?;
            newest = newest.max(index);
            if replay {
                replays += 1
            } else {
                firsts += 1
            }
            ensure!(acked.insert(sequence, id).is_none(), "two messages at sequence {sequence}");
            done += 1;
        }
    }
    for gateway in &gateways {
        // The last acks came through others: this one may not have heard of them yet.
        let token = &grants[0].access_token;
        let pages = rest::whole_history_at(*gateway, token, room, "at the end", newest).await?;
        let found: BTreeMap<_, _> = pages.rows.iter().map(|row| (row.sequence, row.id)).collect();
        ensure!(pages.rows.len() == done && found == acked, "{} rows for {done} sends", pages.rows.len());
    }
    println!("{done} sends were cut: {replays} had been applied and were replayed, {firsts} had not");
    ensure!(replays > 0, "no cut came after the command was applied: nothing was proven");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_missed_more_than_a_page_of_many_rooms_catches_up() -> anyhow::Result<()> {
    let _one = ONE_AT_A_TIME.lock().await;
    let test = TestCluster::start("wide-gap").await?;
    let result = wide_gap(&test).await;
    test.finish(result).await
}

/// A gateway whose feed's replica is paused reads what it missed elsewhere. The pages of one answer share 256 KiB: with long
/// texts in several rooms most of them come back empty with `more`, and must be asked for again.
async fn wide_gap(test: &TestCluster) -> anyhow::Result<()> {
    const ROOMS: usize = 6;
    const TEXT_BYTES: usize = 11 * 1024;
    // Less leaves no gap worth the name.
    const GAP_BYTES_MIN: u64 = 4 << 20;
    let front = test.cluster.front();
    let grants = load::sign_up_many(front, "wide", 2 * ROOMS).await?;
    let mut rooms = Vec::new();
    for room in 0..ROOMS {
        rooms.push(load::make_group(front, "wide", &[&grants[room], &grants[ROOMS + room]]).await?);
    }
    // The second half listens, two at each gateway; the first half writes.
    let mut listeners = Vec::new();
    for (place, grant) in grants[ROOMS..].iter().enumerate() {
        let gateways = test.cluster.gateways();
        let at = test.cluster.gateway_address(&gateways[place % gateways.len()])?;
        listeners.push(Person::start(
            at,
            grant.user.id,
            &grant.user.name,
            &grant.access_token,
            &test.recorder,
        ));
    }
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let acks = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut writers = Vec::new();
    for (room, grant) in rooms.iter().copied().zip(&grants) {
        let (token, stop, acks) = (grant.access_token.clone(), stop.clone(), acks.clone());
        writers.push(tokio::spawn(async move {
            let mut socket = Socket::open(front, None).await?;
            socket.hello(&token, None).await?;
            let mut version = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let send = SendMessage { text: "x".repeat(TEXT_BYTES), ..message(room) };
                let id = socket.request(Request::Send(send)).await?;
                match socket.answer(id).await? {
                    Body::Ack(ack) => {
                        version = ack.version.context("an ack without its version")?;
                        acks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                    Body::Error { error } if error.temporary => {}
                    other => bail!("neither ack nor a temporary error: {other:?}"),
                }
            }
            anyhow::Ok(version)
        }));
    }
    let heard = |place: usize, room| listeners[place].tally().versions.get(&room).copied().unwrap_or(0);
    wait_until("everybody to hear her room", WAIT, || async {
        let deaf = rooms.iter().enumerate().filter(|(place, room)| heard(*place, **room) == 0).count();
        if deaf == 0 { Ok(()) } else { Err(format!("{deaf} hear nothing")) }
    })
    .await?;
    let written = || acks.load(std::sync::atomic::Ordering::Relaxed) * TEXT_BYTES as u64;
    let began = std::time::Instant::now();
    // Once around, and on a slow disk again until enough was written meanwhile.
    while began.elapsed() < WAIT {
        let (leading, _) = leader(test).await?;
        for id in (1..=test.cluster.replicas()).filter(|id| *id != leading) {
            // Some gateway's feed hangs on one of them.
            test.cluster.signal(&Member::Replica(id), Send::Pause)?;
            tokio::time::sleep(Duration::from_millis(700)).await;
            test.cluster.signal(&Member::Replica(id), Send::Resume)?;
        }
        if written() > GAP_BYTES_MIN {
            break;
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut newest = Vec::new();
    for writer in writers {
        newest.push(writer.await??);
    }
    wait_until("everybody to have heard everything", WAIT, || async {
        let late: Vec<_> = (0..ROOMS)
            .map(|place| (place, heard(place, rooms[place]), newest[place]))
            .filter(|(_, heard, newest)| heard < newest)
            .collect();
        if late.is_empty() { Ok(()) } else { Err(format!("(listener, heard, newest): {late:?}")) }
    })
    .await?;
    let bytes = written();
    println!("{bytes} bytes in {ROOMS} rooms were heard while every follower was paused");
    ensure!(bytes > GAP_BYTES_MIN, "{bytes} bytes leave no gap worth the name");
    for listener in listeners {
        let tally = listener.leave().await;
        ensure!(tally.defects.is_empty() && tally.silent_gaps == 0, "{tally:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_traced_command_shows_in_gateway_leader_and_followers() -> anyhow::Result<()> {
    let _one = ONE_AT_A_TIME.lock().await;
    let test = TestCluster::start_with("trace", |mut spec| {
        spec.gateway_keys.insert("trace_one_in".into(), 1.into());
        spec.environment.insert("QUORATE_REPLICA_JSON_LOGS".into(), "true".into());
        spec
    })
    .await?;
    let result = traced(&test).await;
    test.finish(result).await
}

async fn traced(test: &TestCluster) -> anyhow::Result<()> {
    let gateway = test.cluster.gateway_address("a")?;
    let grants = load::sign_up_many(gateway, "traced", 2).await?;
    let room = load::make_group(gateway, "traced", &[&grants[0], &grants[1]]).await?;
    let mut socket = Socket::open(gateway, None).await?;
    socket.hello(&grants[0].access_token, None).await?;
    let send = message(room);
    let ack = acknowledged(&mut socket, &send).await?;
    socket.close().await;
    wait_until("the trace to be in every log", WAIT, || async {
        let log = read(&test.cluster.log(&Member::Gateway("a".into()))).map_err(|error| error.to_string())?;
        let index = format!("index={}", ack.index);
        let line = log.lines().find(|line| line.contains("submit{") && line.contains(&index));
        let line = line.ok_or("the gateway has no span of it")?;
        let trace = line.split("trace_id=").nth(1).and_then(|rest| rest.get(1..33)).ok_or("no trace id")?;
        // Who led then: perhaps somebody else leads by now.
        let mut led = 0;
        for replica in 1..=test.cluster.replicas() {
            let log =
                read(&test.cluster.log(&Member::Replica(replica))).map_err(|error| error.to_string())?;
            let spans: Vec<serde_json::Value> = log
                .lines()
                .filter(|line| line.contains(trace))
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect();
            let has = |name: &str| spans.iter().any(|span| span["span"]["name"] == name);
            led += usize::from(has("propose"));
            if !(has("propose") || has("append")) || !has("apply") {
                return Err(format!("replica {replica} lacks propose, append or apply: {spans:?}"));
            }
        }
        if led > 0 { Ok(()) } else { Err("nobody proposed it".to_owned()) }
    })
    .await?;
    Ok(())
}
