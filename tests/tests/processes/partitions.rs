//! Replicas as real hosts, and the network between them cut: five network namespaces with an address each, TLS between all.
//!
//! Short by default, so that every change runs them; the long forms are the same tests with larger numbers:
//! `QUORATE_PARTITION_CUTS=50`, `QUORATE_ONE_WAY_PAIRS=20`, `QUORATE_LEADER_PAUSES=100`, `QUORATE_ISLAND_ROUNDS=20`,
//! `QUORATE_SLOW_SECONDS=120`.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use quorate_cluster::process::Send;
use quorate_cluster::{Member, wait_until};
use quorate_proto::ids::ConversationId;
use quorate_proto::rpc::admin_client::AdminClient;
use quorate_proto::rpc::chat_client::ChatClient;
use quorate_proto::rpc::{
    Command, ConversationQuery, MarkRead, ReadRequest, StatusRequest, SubmitBatch, SubmitItem, command,
    read_request, read_response, submit_result,
};
use quorate_tests::client::PersonHandle;
use quorate_tests::harness::{TestCluster, number};
use quorate_tests::history::{Fate, Micros};
use quorate_tests::netlab::{self, Lab, REPLICAS, Way, all_ways, between};
use quorate_tests::scene::{
    Scene, WAIT, acks_since, caught_up, judge, leader, read_finals, read_replica, set_the_scene,
    states_agree, status_of,
};
use quorate_tls::Role;
use tonic::transport::Channel;
use uuid::Uuid;

/// Writes are back this soon after all cuts but one in twenty that leave a majority connected.
const SERVICE_USUAL: Duration = Duration::from_secs(5);
/// And after each of them: a machine that stands still makes a single one longer.
const SERVICE_WAIT: Duration = Duration::from_secs(20);
/// Service is back this soon after the islands are joined, but for one time in twenty.
const JOINED_USUAL: Duration = Duration::from_secs(3);
/// Acks of messages sent after a cut that prove the service.
const ACKS_AFTER_CUT: usize = 20;
/// A leader that lost its majority says so by then: the lease, the longest election timeout, and a machine that stands still.
const STEP_DOWN_WAIT: Duration = Duration::from_secs(10);
/// What a slow line costs is measured anew so often at most: a disk that stalls in one of two spans tells nothing of the line.
const SLOW_TRIES_MAX: usize = 3;
/// Commands that lie in the socket of a replica before it answers.
const BUFFERED_COMMANDS: u64 = 10;
/// A leader that was paused says no longer than this after it that it leads, in nine of ten pauses: a machine that stands still
/// itself may make a single one longer.
const WAKE_WAIT: Duration = Duration::from_millis(200);
/// Terms that one fault may cost: more would be candidates that outbid each other.
const TERMS_PER_FAULT_MAX: u64 = 10;
/// Between two looks at something that is timed.
const LOOK: Duration = Duration::from_millis(10);

async fn cluster(lab: &Lab, name: &str) -> anyhow::Result<TestCluster> {
    TestCluster::start_with(name, |spec| lab.place(spec)).await
}

fn others(of: &[u16]) -> Vec<u16> {
    (1..=REPLICAS).filter(|id| !of.contains(id)).collect()
}

async fn is_leader(test: &TestCluster, id: u16) -> Result<bool, String> {
    Ok(test.cluster.replica_status(id, 0).await?.role == "leader")
}

/// When a paused leader that runs again says that it does not lead, from now. Asked through a connection from before the
/// pause: a new one waits behind all those that were opened in vain meanwhile.
async fn wakes_up_deposed(test: &TestCluster, admin: &mut AdminClient<Channel>) -> anyhow::Result<Duration> {
    let began = Instant::now();
    while began.elapsed() < STEP_DOWN_WAIT {
        let answer = admin.status(test.call(StatusRequest::default())?).await;
        if answer.context("the replica that was paused")?.into_inner().role != "leader" {
            return Ok(began.elapsed());
        }
        tokio::time::sleep(LOOK).await;
    }
    anyhow::bail!("a leader that was paused still says that it leads after {STEP_DOWN_WAIT:?}")
}

/// When a replica that led says that it does not, from now.
async fn step_down(test: &TestCluster, id: u16) -> anyhow::Result<Duration> {
    let began = Instant::now();
    while began.elapsed() < STEP_DOWN_WAIT {
        if is_leader(test, id).await == Ok(false) {
            return Ok(began.elapsed());
        }
        tokio::time::sleep(LOOK).await;
    }
    anyhow::bail!("replica {id} still says that it leads, {STEP_DOWN_WAIT:?} after it lost its majority")
}

/// Waits for acks of what was sent after `since`; how long the first took.
async fn service_since(
    test: &TestCluster,
    since: Micros,
    within: Duration,
    what: &str,
) -> anyhow::Result<Duration> {
    let acked = || {
        let history = test.recorder.history();
        let mut times: Vec<Micros> = history
            .sends
            .iter()
            .filter(|sent| sent.invoked >= since)
            .filter_map(|sent| match sent.fate {
                Fate::Acked { at, .. } => Some(at),
                _ => None,
            })
            .collect();
        times.sort_unstable();
        times
    };
    let times = wait_until(&format!("acks {what}"), within, || async {
        let times = acked();
        if times.len() >= ACKS_AFTER_CUT { Ok(times) } else { Err(format!("{} so far", times.len())) }
    })
    .await?;
    Ok(Duration::from_micros(times[0] - since))
}

/// All but one in twenty took no longer than is usual, or all but one.
fn usually(mut took: Vec<Duration>, usual: Duration, what: &str) -> anyhow::Result<()> {
    took.sort_unstable();
    let late = took.iter().filter(|time| **time > usual).count();
    ensure!(late <= (took.len() / 20).max(1), "{what}: {late} took more than {usual:?}: {took:?}");
    Ok(())
}

/// Waits until every gateway's sessions hear what is said from now on.
async fn everybody_hears(test: &TestCluster, scene: &Scene, what: &str) -> anyhow::Result<()> {
    let now = newest(scene);
    let hears = |person: &PersonHandle| {
        person
            .tally()
            .versions
            .iter()
            .any(|(room, version)| now.get(room).is_none_or(|newest| version > newest))
    };
    wait_until(&format!("everybody to hear {what}"), SERVICE_WAIT, || async {
        let deaf: Vec<String> = scene
            .people
            .iter()
            .filter(|person| !hears(person))
            .map(|person| format!("{} at {}", person.name, person.tally().gateway))
            .collect();
        if deaf.is_empty() { Ok(()) } else { Err(format!("these hear nothing: {}", deaf.join(", "))) }
    })
    .await?;
    test.recorder.mark(format!("everybody hears {what}"));
    Ok(())
}

/// The newest version of each room that anybody has heard: one room may be ahead of another.
fn newest(scene: &Scene) -> BTreeMap<ConversationId, u64> {
    let mut newest: BTreeMap<ConversationId, u64> = BTreeMap::new();
    for (room, version) in scene.people.iter().flat_map(|person| person.tally().versions) {
        let known = newest.entry(room).or_default();
        *known = (*known).max(version);
    }
    newest
}

/// Everybody leaves, everything is read from every gateway and every replica, and judged.
async fn close(test: &TestCluster, scene: Scene) -> anyhow::Result<()> {
    scene.settle().await?;
    let (_, grants, rooms) = scene.leave().await?;
    let users: Vec<String> = grants.into_iter().map(|grant| grant.user.name).collect();
    read_finals(test, &users, &rooms, "at the end").await?;
    for id in 1..=REPLICAS {
        caught_up(test, id).await?;
        read_replica(test, id, &rooms, "at the end").await?;
    }
    judge(test)?;
    states_agree(test).await
}

fn direct(test: &TestCluster, id: u16) -> anyhow::Result<ChatClient<Channel>> {
    Ok(ChatClient::new(test.channel(id, Role::Gateway)?))
}

// ---- a leader in the minority ----

#[test]
fn a_leader_cut_off_with_a_minority_never_acknowledges() -> anyhow::Result<()> {
    netlab::run("partitions::a_leader_cut_off_with_a_minority_never_acknowledges", |lab| async move {
        let test = cluster(&lab, "minority-leader").await?;
        let result = minority_leader(&lab, &test).await;
        test.finish(result).await
    })
}

/// Submits commands to one replica until stopped; returns how many were answered with an outcome, and how many with a
/// failure.
struct Direct {
    task: tokio::task::JoinHandle<anyhow::Result<(usize, usize)>>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Direct {
    /// Begins to submit, when an outcome of any of these would be a false acknowledgement. Some are on their way at once,
    /// before the replica answers the call at all.
    fn start(
        test: &TestCluster,
        mut client: ChatClient<Channel>,
        user_id: u64,
        conversation_id: u64,
    ) -> anyhow::Result<Self> {
        let (stop, mut stopped) = tokio::sync::watch::channel(false);
        let (batches, stream) = tokio::sync::mpsc::channel(64);
        let call = test.call(tokio_stream(stream))?;
        let batch = move |request_id| {
            let action = MarkRead { conversation_id, sequence: 1 };
            let command = Command {
                user_id,
                command_id: Uuid::new_v4().as_bytes().to_vec().into(),
                action: Some(command::Action::MarkRead(action)),
                ..Command::default()
            };
            let command = prost::Message::encode_to_vec(&command).into();
            SubmitBatch { items: vec![SubmitItem { request_id, command, ..SubmitItem::default() }] }
        };
        let task = tokio::spawn(async move {
            let (mut outcomes, mut failures, mut request_id) = (0, 0, BUFFERED_COMMANDS);
            for request_id in 1..=BUFFERED_COMMANDS {
                batches.send(batch(request_id)).await?;
            }
            let mut answers = client.submit(call).await?.into_inner();
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            loop {
                tokio::select! {
                    _ = stopped.changed() => return Ok((outcomes, failures)),
                    _ = pace.tick() => {
                        request_id += 1;
                        // Full: the replica takes nothing any more, which is no acknowledgement.
                        let _ = batches.try_send(batch(request_id));
                    }
                    answer = answers.message() => {
                        let Ok(Some(answer)) = answer else { return Ok((outcomes, failures)) };
                        for item in answer.items {
                            match item.result {
                                Some(submit_result::Result::Outcome(_)) => outcomes += 1,
                                _ => failures += 1,
                            }
                        }
                    }
                }
            }
        });
        Ok(Self { task, stop })
    }

    async fn end(self) -> anyhow::Result<(usize, usize)> {
        self.stop.send_replace(true);
        self.task.await?
    }
}

fn tokio_stream<T>(mut from: tokio::sync::mpsc::Receiver<T>) -> impl futures_util::Stream<Item = T> {
    futures_util::stream::poll_fn(move |cx| from.poll_recv(cx))
}

async fn minority_leader(lab: &Lab, test: &TestCluster) -> anyhow::Result<()> {
    let scene = set_the_scene(test).await?;
    let (_, first_term) = leader(test).await?;
    scene.talk().await;
    let (mut slowest_down, mut slowest_back, mut refused) = (Duration::ZERO, Duration::ZERO, 0);
    let mut backs = Vec::new();
    let cuts = number("QUORATE_PARTITION_CUTS", 3);
    for cut in 0..cuts {
        let calm = test.recorder.now();
        acks_since(test, calm, &format!("before cut {cut}")).await?;
        let (leading, term) = leader(test).await?;
        let companion = others(&[leading])[cut % 4];
        let minority = [leading, companion];
        lab.cut(&between(&minority, &others(&minority)))?;
        let since =
            test.recorder.mark(format!("cut {cut}: leader {leading} and {companion} from the others"));
        let (user_id, room) = (scene.grants[0].user.id, scene.conversations[0]);
        let submits = Direct::start(test, direct(test, leading)?, user_id, room)?;
        let down = step_down(test, leading).await?;
        let back = service_since(test, since, SERVICE_WAIT, "by the majority").await?;
        // Gateways whose feed hangs on the minority must notice and leave.
        everybody_hears(test, &scene, "the majority").await?;
        let (outcomes, failures) = submits.end().await?;
        ensure!(outcomes == 0, "the leader of the minority acknowledged {outcomes} commands");
        ensure!(status_of(test, leading, 0).await?.role != "leader", "the minority has a leader again");
        lab.heal()?;
        test.recorder.mark(format!("healed {cut}"));
        for id in minority {
            caught_up(test, id).await?;
        }
        let (now, newer) = leader(test).await?;
        ensure!(
            newer > term && newer - term <= TERMS_PER_FAULT_MAX,
            "term {term} became {newer} ({now} leads)"
        );
        (slowest_down, slowest_back) = (slowest_down.max(down), slowest_back.max(back));
        backs.push(back);
        refused += failures;
    }
    let (_, last_term) = leader(test).await?;
    println!(
        "{cuts} cuts: 0 acks by the minority ({refused} of its answers were failures), it stepped down within \
         {slowest_down:?}, first ack of what was sent after a cut within {slowest_back:?}, terms {first_term} to {last_term}"
    );
    usually(backs, SERVICE_USUAL, "first acks after a cut")?;
    close(test, scene).await
}

// ---- one-way cuts ----

#[test]
fn every_one_way_cut_is_survived() -> anyhow::Result<()> {
    netlab::run("partitions::every_one_way_cut_is_survived", |lab| async move {
        let test = cluster(&lab, "one-way").await?;
        let result = one_way(&lab, &test).await;
        test.finish(result).await
    })
}

async fn one_way(lab: &Lab, test: &TestCluster) -> anyhow::Result<()> {
    let scene = set_the_scene(test).await?;
    scene.talk().await;
    let began = test.recorder.now();
    acks_since(test, began, "in calm").await?;
    // Every place once as sender and once as receiver in the first five; 7 has no common divisor with 20.
    let ways = all_ways();
    let pairs = number("QUORATE_ONE_WAY_PAIRS", 6).min(ways.len());
    let mut firsts = Vec::new();
    let mut elections = 0;
    for pair in 0..pairs {
        let way = ways[pair * 7 % ways.len()];
        elections +=
            survive(lab, test, &scene, &[way], &format!("{} to {}", way.0, way.1), &mut firsts).await?;
    }
    // Each hears its two neighbours alone: every replica still reaches a majority, itself included.
    let next = |id: u16| id % REPLICAS + 1;
    let ring: Vec<Way> = all_ways().into_iter().filter(|(a, b)| next(*a) != *b && next(*b) != *a).collect();
    elections += survive(lab, test, &scene, &ring, "ring", &mut firsts).await?;
    for hears in [true, false] {
        let (leading, _) = leader(test).await?;
        let ways: Vec<Way> = others(&[leading])
            .into_iter()
            .map(|other| if hears { (leading, other) } else { (other, leading) })
            .collect();
        let what = if hears { "nobody hears the leader" } else { "the leader hears nobody" };
        elections += survive(lab, test, &scene, &ways, what, &mut firsts).await?;
    }
    let slowest = firsts.iter().max().cloned().unwrap_or_default();
    println!(
        "{pairs} one-way cuts and 3 others: {elections} terms, slowest first ack {:?} ({})",
        slowest.0, slowest.1
    );
    usually(firsts.into_iter().map(|(took, _)| took).collect(), SERVICE_USUAL, "first acks after a cut")?;
    ensure!(elections > 0, "no cut cost the leader: nothing was proven about elections");
    close(test, scene).await
}

/// One cut, the service through it, and the cut's end; returns how many terms it cost.
async fn survive(
    lab: &Lab,
    test: &TestCluster,
    scene: &Scene,
    ways: &[Way],
    what: &str,
    firsts: &mut Vec<(Duration, String)>,
) -> anyhow::Result<u64> {
    let (_, before) = leader(test).await?;
    lab.cut(ways)?;
    let since = test.recorder.mark(format!("cut: {what}"));
    let first = service_since(test, since, SERVICE_WAIT, &format!("while cut: {what}")).await?;
    // Not by a lucky moment between two elections.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let later = test.recorder.now();
    service_since(test, later, SERVICE_WAIT, &format!("still cut: {what}")).await?;
    everybody_hears(test, scene, what).await?;
    lab.heal()?;
    let healed = test.recorder.mark(format!("healed: {what}"));
    service_since(test, healed, SERVICE_WAIT, &format!("after: {what}")).await?;
    let (_, after) = leader(test).await?;
    ensure!(after - before <= TERMS_PER_FAULT_MAX, "{what} cost {} terms", after - before);
    println!("cut {what}: first ack after {first:?}, {} terms", after - before);
    firsts.push((first, what.to_owned()));
    Ok(after - before)
}

// ---- a paused leader ----

#[test]
fn a_paused_leader_serves_no_stale_linearizable_read() -> anyhow::Result<()> {
    netlab::run("partitions::a_paused_leader_serves_no_stale_linearizable_read", |lab| async move {
        let test = cluster(&lab, "paused-leader").await?;
        let result = paused_leader(&test).await;
        test.finish(result).await
    })
}

/// The newest sequence of a conversation, read linearizably from one replica.
async fn head(
    test: &TestCluster,
    client: &mut ChatClient<Channel>,
    read: &ReadRequest,
) -> anyhow::Result<u64> {
    let read = read.clone();
    let answer = client.read(test.call(read)?).await?.into_inner();
    match answer.result {
        Some(read_response::Result::Conversation(summary)) => Ok(summary.sequence),
        other => anyhow::bail!("no conversation but {other:?}"),
    }
}

/// The same from a replica that leads: tried again, for while somebody is elected nobody can answer.
async fn sure_head(test: &TestCluster, id: u16, read: &ReadRequest) -> anyhow::Result<u64> {
    let what = format!("a linearizable read from replica {id}");
    let answer = wait_until(&what, WAIT, || async {
        let mut client = direct(test, id).map_err(|error| format!("{error:#}"))?;
        head(test, &mut client, read).await.map_err(|error| format!("{error:#}"))
    });
    Ok(answer.await?)
}

async fn paused_leader(test: &TestCluster) -> anyhow::Result<()> {
    let scene = set_the_scene(test).await?;
    scene.talk().await;
    let (mut reads, mut refused, mut wakes) = (0, 0, Vec::new());
    let pauses = number("QUORATE_LEADER_PAUSES", 3).max(1);
    let conversation_id = scene.conversations[0];
    let read = ReadRequest {
        linearizable: true,
        user_id: scene.grants[0].user.id,
        session_id: Uuid::parse_str(&scene.grants[0].session)?.as_bytes().to_vec().into(),
        query: Some(read_request::Query::Conversation(ConversationQuery { conversation_id, marks: false })),
        ..ReadRequest::default()
    };
    for pause in 0..pauses {
        let calm = test.recorder.now();
        acks_since(test, calm, &format!("before pause {pause}")).await?;
        let (leading, term) = leader(test).await?;
        sure_head(test, leading, &read).await?;
        // Open before the pause, so that what is asked during it lies in the leader's own socket when it wakes.
        let mut old = Vec::new();
        for _ in 0..8 {
            let mut client = direct(test, leading)?;
            head(test, &mut client, &read).await.context("a linearizable read from the leader in calm")?;
            old.push(client);
        }
        let mut admin = AdminClient::new(test.channel(leading, Role::Operator)?);
        admin.status(test.call(StatusRequest::default())?).await?;
        test.cluster.signal(&Member::Replica(leading), Send::Pause)?;
        let since = test.recorder.mark(format!("pause {pause}: leader {leading}"));
        service_since(test, since, SERVICE_WAIT, "while the leader is paused").await?;
        tokio::time::sleep(Duration::from_millis(2_000 + 1_000 * (pause as u64 % 8))).await;
        let (new, newer) = wait_until("another leader", WAIT, || async {
            let (id, term) = test.cluster.leader().await?;
            if id == leading { Err("it is the paused one".to_owned()) } else { Ok((id, term)) }
        })
        .await?;
        ensure!(newer > term, "replica {new} leads in term {newer} after {term}");
        let known = sure_head(test, new, &read).await?;
        let asked: Vec<_> = old
            .iter()
            .cloned()
            .map(|mut client| {
                let request = test.call(read.clone());
                tokio::spawn(async move { anyhow::Ok(client.read(request?).await) })
            })
            .collect();
        let submits = Direct::start(test, old[0].clone(), read.user_id, conversation_id)?;
        // On their way into the sleeper's socket.
        tokio::time::sleep(Duration::from_millis(50)).await;
        test.cluster.signal(&Member::Replica(leading), Send::Resume)?;
        test.recorder.mark(format!("resumed {leading}"));
        let down = wakes_up_deposed(test, &mut admin).await?;
        for answer in asked {
            match answer.await?? {
                Err(_) => refused += 1,
                Ok(answer) => {
                    reads += 1;
                    let Some(read_response::Result::Conversation(summary)) = answer.into_inner().result
                    else {
                        anyhow::bail!("no conversation")
                    };
                    let seen = summary.sequence;
                    ensure!(
                        seen >= known,
                        "a stale read: {seen} although {known} had been read from the new leader"
                    );
                }
            }
        }
        // And those that are asked once it runs again.
        let mut client = direct(test, leading)?;
        for _ in 0..20 {
            let known = sure_head(test, new, &read).await?;
            match head(test, &mut client, &read).await {
                Ok(seen) => {
                    reads += 1;
                    ensure!(seen >= known, "a stale read: {seen} although {known} had been read before");
                }
                Err(_) => refused += 1,
            }
        }
        let (outcomes, failures) = submits.end().await?;
        ensure!(outcomes == 0, "the leader that had been paused acknowledged {outcomes} commands");
        ensure!(failures > 0, "the leader that had been paused answered no command at all");
        wakes.push(down);
        caught_up(test, leading).await?;
    }
    wakes.sort_unstable();
    println!(
        "{pauses} pauses: {reads} linearizable reads, none stale, {refused} refused; stepped down after {wakes:?}"
    );
    let usual = wakes[(wakes.len() - 1) * 9 / 10];
    ensure!(usual <= WAKE_WAIT, "leaders that were paused said for {usual:?} that they lead");
    ensure!(reads > 0, "every read was refused: nothing was proven");
    close(test, scene).await
}

// ---- everybody alone ----

#[test]
fn five_islands_heal() -> anyhow::Result<()> {
    netlab::run("partitions::five_islands_heal", |lab| async move {
        let test = cluster(&lab, "islands").await?;
        let result = islands(&lab, &test).await;
        test.finish(result).await
    })
}

async fn islands(lab: &Lab, test: &TestCluster) -> anyhow::Result<()> {
    let scene = set_the_scene(test).await?;
    scene.talk().await;
    let mut backs = Vec::new();
    let rounds = number("QUORATE_ISLAND_ROUNDS", 2);
    for round in 0..rounds {
        let calm = test.recorder.now();
        acks_since(test, calm, &format!("before round {round}")).await?;
        let (_, before) = leader(test).await?;
        lab.cut(&all_ways())?;
        let since = test.recorder.mark(format!("round {round}: all cut from each other"));
        tokio::time::sleep(Duration::from_secs(4)).await;
        let history = test.recorder.history().clone();
        let acked = history
            .sends
            .iter()
            .filter(|sent| sent.invoked >= since && matches!(sent.fate, Fate::Acked { .. }));
        let acked = acked.count();
        ensure!(acked == 0, "{acked} messages were acknowledged although no majority was connected");
        lab.heal()?;
        let healed = test.recorder.mark(format!("healed {round}"));
        let back = service_since(test, since, SERVICE_WAIT, "after the islands").await?;
        backs.push(back.saturating_sub(Duration::from_micros(healed - since)));
        let (_, after) = leader(test).await?;
        ensure!(after - before <= TERMS_PER_FAULT_MAX, "the islands cost {} terms", after - before);
    }
    println!("{rounds} rounds of five islands: service back after {backs:?}");
    usually(backs, JOINED_USUAL, "service after the islands")?;
    close(test, scene).await
}

// ---- a slow line ----

/// A line on which one follower cannot keep up with the load, which is about 1,000 kbit/s a follower.
const SLOW_KBIT: u32 = 256;
/// One message a person in this time: about 300 a second.
const BRISK: Duration = Duration::from_millis(66);
/// What is compared of a long run; of one under a minute, in which a single stall of the machine's disk is a hundredth of all
/// messages, a lower one.
const PERCENT: usize = 99;
const SHORT_PERCENT: usize = 90;
/// It may grow by this factor, and by this many ms, which two busy cores add by themselves.
const SLOWER_MAX: f64 = 1.3;
const NOISE_MS: f64 = 25.0;
/// Entries that the slow follower must be behind, or nothing was slow.
const LAG_MIN: u64 = 200;

#[test]
fn a_slow_follower_slows_nobody() -> anyhow::Result<()> {
    netlab::run("partitions::a_slow_follower_slows_nobody", |lab| async move {
        let test = cluster(&lab, "slow-follower").await?;
        let result = slow_follower(&lab, &test).await;
        test.finish(result).await
    })
}

/// Times between sending and two events, at the median and a higher percentile, in ms.
#[derive(Debug)]
struct Latency {
    acks: (f64, f64),
    deliveries: (f64, f64),
}

fn latency(test: &TestCluster, from: Micros, to: Micros, percent: usize) -> anyhow::Result<Latency> {
    let history = test.recorder.history();
    let sent: HashMap<Uuid, Micros> = history
        .sends
        .iter()
        .filter(|sent| (from..to).contains(&sent.invoked))
        .map(|sent| (sent.id, sent.invoked))
        .collect();
    let acks = history.sends.iter().filter_map(|send| match send.fate {
        Fate::Acked { at, .. } => sent.get(&send.id).map(|invoked| at - invoked),
        _ => None,
    });
    let delivered = history.readers.iter().flat_map(|reader| &reader.events).filter_map(|event| {
        let invoked = sent.get(&event.message.as_ref()?.id)?;
        Some(event.at.saturating_sub(*invoked))
    });
    Ok(Latency {
        acks: percentiles(acks.collect(), percent)?,
        deliveries: percentiles(delivered.collect(), percent)?,
    })
}

fn percentiles(mut micros: Vec<u64>, percent: usize) -> anyhow::Result<(f64, f64)> {
    ensure!(micros.len() >= 500, "{} times are too few for a percentile", micros.len());
    micros.sort_unstable();
    let at = |percent: usize| micros[micros.len() * percent / 100] as f64 / 1e3;
    Ok((at(50), at(percent)))
}

/// The replicas that feed gateways.
async fn feeding(test: &TestCluster) -> anyhow::Result<Vec<u16>> {
    let status = test.cluster.status().await?;
    let fed_by: Vec<String> = status
        .gateways
        .iter()
        .filter_map(|row| Some(row.feed_replica.as_ref()?.as_str()?.to_owned()))
        .collect();
    ensure!(!fed_by.is_empty(), "no gateway says who feeds it");
    let addresses = (1..=REPLICAS).map(|id| Ok((id, test.cluster.replica_grpc(id)?.to_string())));
    let addresses: Vec<(u16, String)> = addresses.collect::<anyhow::Result<_>>()?;
    Ok(addresses.into_iter().filter(|(_, address)| fed_by.contains(address)).map(|(id, _)| id).collect())
}

async fn slow_follower(lab: &Lab, test: &TestCluster) -> anyhow::Result<()> {
    let scene = set_the_scene(test).await?;
    scene.talk_at(BRISK).await;
    let mut tries = 1;
    while let Err(harm) = slow_line(lab, test).await? {
        ensure!(tries < SLOW_TRIES_MAX, "each of {tries} times, at last: {harm}");
        test.recorder.mark(format!("try {tries}: {harm}"));
        tries += 1;
    }
    close(test, scene).await
}

/// Compares a span in which all lines are fast with one in which a follower's is slow; the inner error says what became worse.
async fn slow_line(lab: &Lab, test: &TestCluster) -> anyhow::Result<Result<(), String>> {
    let span = Duration::from_secs(number("QUORATE_SLOW_SECONDS", 6) as u64);
    let warm = test.recorder.now();
    acks_since(test, warm, "to warm up").await?;
    let began = test.recorder.mark("all lines are fast");
    tokio::time::sleep(span).await;
    let (leading, term) = leader(test).await?;
    // One that feeds a gateway, if a follower does: then its sessions must be led elsewhere.
    let feeders = wait_until("the gateways to say who feeds them", WAIT, || async {
        feeding(test).await.map_err(|error| error.to_string())
    })
    .await?;
    let followers = others(&[leading]);
    let slow = followers.iter().copied().find(|id| feeders.contains(id)).unwrap_or(followers[0]);
    lab.slow(slow, SLOW_KBIT)?;
    let slowed = test.recorder.mark(format!("replica {slow} has {SLOW_KBIT} kbit/s"));
    // A line becomes late as its queue fills. What comes before a gateway has noticed is in the figures of neither span.
    wait_until("every gateway to be fed by another", SERVICE_WAIT, || async {
        let feeders = feeding(test).await.map_err(|error| error.to_string())?;
        if feeders.contains(&slow) { Err(format!("fed by {feeders:?}")) } else { Ok(()) }
    })
    .await?;
    let settled = test.recorder.mark("nobody is fed by it");
    tokio::time::sleep(span).await;
    let ended = test.recorder.now();
    let (still, same) = leader(test).await?;
    lab.full_speed(slow)?;
    test.recorder.mark(format!("replica {slow} is fast again"));
    let ahead = status_of(test, leading, 0).await?.commit_index;
    let at = status_of(test, slow, 0).await?.applied_index;
    let catching_up = Instant::now();
    caught_up(test, slow).await?;
    let lag = ahead.saturating_sub(at);
    // The last sends of a span are delivered after it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let percent = if span < Duration::from_secs(60) { SHORT_PERCENT } else { PERCENT };
    let (fast, other) = (latency(test, began, slowed, percent)?, latency(test, settled, ended, percent)?);
    println!(
        "ms at p50, p{percent}: all fast: acks {:?}, deliveries {:?}; one slow: acks {:?}, deliveries {:?}; it was {lag} \
         entries behind and caught up in {:?}",
        fast.acks,
        fast.deliveries,
        other.acks,
        other.deliveries,
        catching_up.elapsed()
    );
    if (still, same) != (leading, term) {
        return Ok(Err(format!("replica {still} leads in term {same}: the slow line cost the leader")));
    }
    if lag < LAG_MIN {
        return Ok(Err(format!("the slow follower was only {lag} entries behind: nothing was proven")));
    }
    for (what, fast, other) in
        [("acks", fast.acks, other.acks), ("deliveries", fast.deliveries, other.deliveries)]
    {
        if other.1 > SLOWER_MAX * fast.1 + NOISE_MS {
            let (fast, other) = (fast.1, other.1);
            return Ok(Err(format!("the p{percent} of {what} went from {fast} to {other} ms")));
        }
    }
    Ok(Ok(()))
}
