//! The operator's hands on a cluster that is in use: members come and go, leaders hand over, state is backed up and restored.
//!
//! Long form: `QUORATE_MEMBERSHIP_CHANGES=50` changes of the membership (6 without it) in
//! `fifty_membership_changes_with_kills_lose_nothing`; `QUORATE_HANDOVERS=20` transfers and stops of the leader (2 each
//! without it) in `an_orderly_change_of_leader_is_short`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use quorate_cluster::process::Send;
use quorate_cluster::{Balancer, Binaries, Member, Spec, wait_until};
use quorate_proto::frame::{Body, Request, Resume, SendMessage};
use quorate_proto::ids::{ClientMessageId, ConversationId};
use quorate_proto::rest::SessionGrant;
use quorate_proto::rpc::ReplaceRequest;
use quorate_proto::rpc::operator_client::OperatorClient;
use quorate_tests::client::{Person, PersonHandle, Socket, Tally, rest};
use quorate_tests::harness::TestCluster;
use quorate_tests::history::Micros;
use quorate_tests::scene::status_of;
use quorate_tests::{load, oracle};
use quorate_tls::Role;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// People who talk, all in one group and spread over the gateways.
const PEOPLE: usize = 8;
/// One message per person in this time: about 200 a second in all.
const PACE: Duration = Duration::from_millis(40);
/// Acks that each step must see, or it proves nothing.
const ACKS_PER_STEP: usize = 60;
/// Every wait that is no step of its own.
const WAIT: Duration = Duration::from_secs(60);
/// A refusal with the right reason: another one may come while somebody is elected.
const REFUSED_WAIT: Duration = Duration::from_secs(10);
/// An election takes 0.5 s and more; a hand-over that worked is far below, even on a busy machine.
const HAND_OVER_USUAL: Duration = Duration::from_secs(1);
/// A machine or a disk that stands still makes a single one longer, but no outage.
const HAND_OVER_MAX: Duration = Duration::from_secs(10);

/// Each test has up to seven replicas of its own: together they would only measure how busy the machine is.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// How often a long form repeats, by environment.
fn count(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Two gateways, no balancer: members and state are what is tested here.
fn small(spec: Spec) -> Spec {
    Spec { gateways: 2, balancer: Balancer::None, ..spec }
}

/// People talking in one group.
struct Talk {
    grants: Vec<SessionGrant>,
    room: ConversationId,
    people: Vec<PersonHandle>,
}

impl Talk {
    async fn begin(test: &TestCluster) -> anyhow::Result<Self> {
        let gateways = gateways(test)?;
        let grants = load::sign_up_many(gateways[0], "p", PEOPLE).await?;
        let everybody: Vec<&SessionGrant> = grants.iter().collect();
        let room = load::make_group(gateways[0], "room", &everybody).await?;
        let start = |(place, grant): (usize, &SessionGrant)| {
            let at = gateways[place % gateways.len()];
            Person::start(at, grant.user.id, &grant.user.name, &grant.access_token, &test.recorder)
        };
        let people: Vec<PersonHandle> = grants.iter().enumerate().map(start).collect();
        wait_until("everybody to be connected", WAIT, || async {
            let missing = people.iter().filter(|person| person.tally().gateway.is_empty()).count();
            if missing == 0 { Ok(()) } else { Err(format!("{missing} are not")) }
        })
        .await?;
        for person in &people {
            person.pace(vec![room], PACE).await;
        }
        acks_since(test, test.recorder.now(), "in calm").await?;
        Ok(Self { grants, room, people })
    }

    /// Ends the load; every send is decided, everybody has everything, and nothing was lost, doubled or out of order.
    async fn end(self, test: &TestCluster) -> anyhow::Result<Vec<SessionGrant>> {
        for person in &self.people {
            person.quiet().await;
        }
        wait_until("every send to be decided and delivered to all", WAIT, || async {
            let tallies: Vec<Tally> = self.people.iter().map(PersonHandle::tally).collect();
            let open: usize = tallies.iter().map(|tally| tally.open).sum();
            let version = |tally: &Tally| tally.versions.get(&self.room).copied().unwrap_or(0);
            let newest = tallies.iter().map(|tally| tally.newest(self.room)).max().unwrap_or(0);
            let late = tallies.iter().filter(|tally| version(tally) < newest).count();
            if open == 0 && late == 0 { Ok(()) } else { Err(format!("{open} open, {late} late")) }
        })
        .await?;
        let mut defects = Vec::new();
        for person in self.people {
            defects.extend(person.leave().await.defects);
        }
        ensure!(defects.is_empty(), "clients saw what the protocol does not allow:\n{}", defects.join("\n"));
        for (at, name) in gateways(test)?.into_iter().zip(test.cluster.gateways()) {
            let grant = rest::sign_in(at, &self.grants[0].user.name).await?;
            let source = format!("gateway {name} at the end");
            let mut pages = rest::whole_history(at, &grant.access_token, self.room, &source).await?;
            pages.version = newest_version(at, &grant.access_token, self.room).await?;
            test.recorder.history().finals.push(pages);
        }
        let history = test.recorder.history().clone();
        let violations = oracle::check(&history);
        let listed: Vec<String> = violations.iter().take(20).map(ToString::to_string).collect();
        ensure!(violations.is_empty(), "{} violations:\n{}", violations.len(), listed.join("\n"));
        test.recorder
            .mark(format!("judged {} sends: nothing lost, doubled or out of order", history.sends.len()));
        println!("judged {} sends, {} closes of sockets", history.sends.len(), history.closes.len());
        Ok(self.grants)
    }
}

fn gateways(test: &TestCluster) -> anyhow::Result<Vec<std::net::SocketAddr>> {
    let names = test.cluster.gateways();
    Ok(names.iter().map(|name| test.cluster.gateway_address(name)).collect::<Result<Vec<_>, _>>()?)
}

async fn newest_version(at: std::net::SocketAddr, token: &str, room: ConversationId) -> anyhow::Result<u64> {
    let mut socket = Socket::open(at, None).await?;
    let welcome = socket.hello(token, None).await?;
    socket.close().await;
    let summary = welcome.conversations.iter().find(|each| each.id == room);
    Ok(summary.with_context(|| format!("room {room} is missing from the welcome"))?.version)
}

async fn acks_since(test: &TestCluster, since: Micros, what: &str) -> anyhow::Result<()> {
    wait_until(&format!("{ACKS_PER_STEP} acks {what}"), WAIT, || async {
        let acks = test.recorder.acks_between(since, u64::MAX);
        if acks >= ACKS_PER_STEP { Ok(()) } else { Err(format!("{acks} so far")) }
    })
    .await?;
    Ok(())
}

async fn leader(test: &TestCluster) -> anyhow::Result<u16> {
    Ok(wait_until("a leader", WAIT, || test.cluster.leader()).await?.0)
}

async fn states_agree(test: &TestCluster) -> anyhow::Result<()> {
    wait_until("all replicas to show one state at one index", WAIT, || async {
        let status = test.cluster.status().await.map_err(|error| error.to_string())?;
        let rows = &status.replicas;
        let hashes: Vec<_> = rows.iter().map(|row| (row.id, row.hash_index, row.hash.clone())).collect();
        let all = hashes.iter().all(|(_, _, hash)| hash.is_some());
        if all && status.agree == Some(true) { Ok(()) } else { Err(format!("{hashes:?}")) }
    })
    .await?;
    Ok(())
}

/// Sends one message and waits for its ack; tries again under its id.
async fn send(socket: &mut Socket, room: ConversationId, text: &str) -> anyhow::Result<()> {
    let send = SendMessage {
        conversation: room,
        client_message_id: ClientMessageId(Uuid::now_v7()),
        text: text.to_owned(),
        reply_to: None,
        forward: None,
        first_sent: 0,
        attachments: Vec::new(),
    };
    let began = Instant::now();
    loop {
        let id = socket.request(Request::Send(send.clone())).await?;
        match socket.answer(id).await? {
            Body::Ack(_) => return Ok(()),
            Body::Error { error } if error.temporary && began.elapsed() < WAIT => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => bail!("no ack: {other:?}"),
        }
    }
}

/// The same on a socket of its own: one that nobody reads for half a minute answers no ping, and is closed.
async fn send_anew(
    test: &TestCluster,
    grant: &SessionGrant,
    room: ConversationId,
    text: &str,
) -> anyhow::Result<()> {
    let mut socket = Socket::open(gateways(test)?[0], None).await?;
    socket.hello(&grant.access_token, None).await?;
    send(&mut socket, room, text).await?;
    socket.close().await;
    Ok(())
}

/// A user alone in a group, for checks that need no load.
async fn lone_writer(
    test: &TestCluster,
    name: &str,
) -> anyhow::Result<(SessionGrant, ConversationId, Socket)> {
    let at = gateways(test)?[0];
    let grants = load::sign_up_many(at, name, 1).await?;
    let room = load::make_group(at, "alone", &[&grants[0]]).await?;
    let mut socket = Socket::open(at, None).await?;
    socket.hello(&grants[0].access_token, None).await?;
    Ok((grants[0].clone(), room, socket))
}

// ---- members ----

#[tokio::test(flavor = "multi_thread")]
async fn fifty_membership_changes_with_kills_lose_nothing() -> anyhow::Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let test = TestCluster::start_with("membership-changes", small).await?;
    let result = membership_changes(&test).await;
    test.finish(result).await
}

/// A replica that dies while the membership changes, and comes back.
async fn kill_soon(test: &TestCluster, victim: u16) -> anyhow::Result<()> {
    tokio::time::sleep(Duration::from_millis(150)).await;
    test.cluster.kill(&Member::Replica(victim)).await?;
    test.recorder.mark(format!("killed replica {victim} in the middle of it"));
    tokio::time::sleep(Duration::from_millis(700)).await;
    test.cluster.start_member(&Member::Replica(victim))?;
    Ok(())
}

/// Hands leadership to a replica, once it is there: the round before may have killed it.
async fn let_lead(test: &TestCluster, id: u16) -> anyhow::Result<()> {
    let to = id.to_string();
    wait_until(&format!("replica {id} to lead"), WAIT, || async {
        let arguments = ["member", "transfer-leader", "--to", &to];
        test.cluster.operate(&arguments).await.map(|_| ()).map_err(|error| error.to_string())
    })
    .await?;
    Ok(())
}

async fn membership_changes(test: &TestCluster) -> anyhow::Result<()> {
    let changes = count("QUORATE_MEMBERSHIP_CHANGES", 6);
    let talk = Talk::begin(test).await?;
    for round in 0..changes {
        let began = test.recorder.mark(format!("change {round}"));
        let started = Instant::now();
        // The oldest goes, so that in five removals every replica that the gateways were configured with is gone.
        let oldest = *test.cluster.replica_ids().first().context("there are replicas")?;
        let what = match round % 6 {
            0 => {
                test.cluster.kill(&Member::Replica(oldest)).await?;
                let new = test.cluster.replace_replica(oldest).await?;
                format!("replaced {oldest}, which was dead, by {new}")
            }
            1 => {
                let victim = leader(test).await?;
                let (added, killed) = tokio::join!(test.cluster.add_replica(), kill_soon(test, victim));
                killed?;
                format!("added {} while the leader {victim} died", added?)
            }
            2 => {
                let_lead(test, oldest).await?;
                let new = test.cluster.replace_replica(oldest).await?;
                format!("replaced {oldest}, which led, by {new}")
            }
            3 => {
                let victim = *test.cluster.replica_ids().last().context("there are replicas")?;
                let (removed, killed) =
                    tokio::join!(test.cluster.remove_replica(oldest), kill_soon(test, victim));
                killed?;
                removed?;
                format!("removed {oldest} while {victim} died")
            }
            4 => {
                let_lead(test, oldest).await?;
                test.cluster.kill(&Member::Replica(oldest)).await?;
                let new = test.cluster.replace_replica(oldest).await?;
                format!("replaced {oldest}, which led and was killed, by {new}")
            }
            _ => {
                let new = test.cluster.replace_replica(oldest).await?;
                format!("replaced {oldest}, which lived, by {new}")
            }
        };
        acks_since(test, began, &format!("after: {what}")).await?;
        println!("change {round}: {what} in {:?}", started.elapsed());
        test.recorder.mark(what);
    }
    let ids = test.cluster.replica_ids();
    ensure!(changes < 6 || ids.first().is_some_and(|id| *id > 5), "some of the first five are left: {ids:?}");
    wait_until("all members to be voters", WAIT, || async {
        let status = test.cluster.status().await.map_err(|error| error.to_string())?;
        let kinds: Vec<_> = status.replicas.iter().map(|row| (row.id, row.member)).collect();
        if kinds.iter().all(|(_, kind)| *kind == Some("voter")) { Ok(()) } else { Err(format!("{kinds:?}")) }
    })
    .await?;
    talk.end(test).await?;
    states_agree(test).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_its_leader_left_half_done_is_finished_by_the_next() -> anyhow::Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    // Of a version that knows no files: who sleeps could not say that it has them all, and the change would be refused unbegun.
    let without_files = |spec: Spec| {
        let mut spec = small(spec);
        spec.replica_keys.insert("machine_version_max".to_owned(), WITHOUT_FILES.into());
        spec
    };
    let test = TestCluster::start_with("half-done", without_files).await?;
    let result = half_done(&test).await;
    test.finish(result).await
}

/// The last machine version before files.
const WITHOUT_FILES: u32 = 4;

/// The sets of voters that a replica goes by: two while a change is half done.
async fn voters(test: &TestCluster, id: u16) -> Result<Vec<BTreeSet<u64>>, String> {
    let membership =
        test.cluster.replica_status(id, 0).await?.membership.and_then(|stored| stored.membership);
    let sets = membership.unwrap_or_default().voters.into_iter();
    Ok(sets.map(|set| set.node_ids.into_iter().collect()).collect())
}

async fn half_done(test: &TestCluster) -> anyhow::Result<()> {
    let talk = Talk::begin(test).await?;
    let new = test.cluster.start_newcomer().await?;
    let (name, address) = (new.to_string(), test.cluster.replica_grpc(new)?.to_string());
    test.cluster.operate(&["member", "add", "--id", &name, "--address", &address, "--wait"]).await?;
    let leading = leader(test).await?;
    let others: Vec<u16> = (1..=5).filter(|id| *id != leading).collect();
    // The leader, `old` and one more are a majority of the members of before, but not of those after: both are asked for.
    let (old, asleep) = (others[0], [others[1], others[2], new]);
    for id in asleep {
        test.cluster.signal(&Member::Replica(id), Send::Pause)?;
    }
    let mut operator = OperatorClient::new(test.channel(leading, Role::Operator)?);
    let change = test.call(ReplaceRequest { old_id: old.into(), new_id: new.into() })?;
    let killed = async {
        wait_until("the change to be half done", WAIT, || async {
            let sets = voters(test, leading).await?.len();
            if sets == 2 { Ok(()) } else { Err(format!("{sets} sets of voters")) }
        })
        .await?;
        test.cluster.kill(&Member::Replica(leading)).await?;
        let began = test.recorder.mark(format!("killed {leading} while {old} was being replaced by {new}"));
        for id in asleep {
            test.cluster.signal(&Member::Replica(id), Send::Resume)?;
        }
        test.cluster.start_member(&Member::Replica(leading))?;
        anyhow::Ok(began)
    };
    let (answer, began) = tokio::join!(operator.replace(change), killed);
    ensure!(answer.is_err(), "the leader that was killed answered: {answer:?}");
    let after: BTreeSet<u64> = (1..=6).filter(|id| *id != u64::from(old)).collect();
    wait_until("the change to be finished", WAIT, || async {
        let (id, _) = test.cluster.leader().await?;
        let now = voters(test, id).await?;
        if now == [after.clone()] { Ok(()) } else { Err(format!("voters {now:?}")) }
    })
    .await?;
    test.cluster.dismiss(old).await?;
    acks_since(test, began?, "after the half-done change").await?;
    talk.end(test).await?;
    states_agree(test).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_replica_is_replaced_under_a_new_id() -> anyhow::Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let test = TestCluster::start_with("dead-replica-replaced", small).await?;
    let result = dead_replica_replaced(&test).await;
    test.finish(result).await
}

async fn dead_replica_replaced(test: &TestCluster) -> anyhow::Result<()> {
    let talk = Talk::begin(test).await?;
    let (first, second) = (leader(test).await?, 3);
    let dead = if first == second { [first, 4] } else { [first, second] };
    for victim in dead {
        test.cluster.kill(&Member::Replica(victim)).await?;
        std::fs::remove_dir_all(test.cluster.layout().replica(victim))?;
    }
    let began = test.recorder.mark(format!("killed {dead:?} and deleted what they kept"));
    for victim in dead {
        let new = test.cluster.replace_replica(victim).await?;
        ensure!(new > 5, "an id of before was used again: {new}");
    }
    acks_since(test, began, "after both were replaced").await?;
    // Only with the new ones is there a majority now: they hold what was acknowledged.
    let left = test.cluster.replica_ids().into_iter().filter(|id| *id <= 5).take(2).collect::<Vec<_>>();
    for victim in left {
        test.cluster.kill(&Member::Replica(victim)).await?;
    }
    let killed = test.recorder.mark("killed two of the three old ones that were left");
    acks_since(test, killed, "with two new replicas and one old").await?;
    talk.end(test).await?;
    Ok(())
}

/// Runs a replica by hand, for what the harness would not start; returns its exit code and last line.
async fn run_by_hand(
    test: &TestCluster,
    id: u16,
    data_dir: &Path,
    join: bool,
) -> anyhow::Result<(i32, String)> {
    let mut command = tokio::process::Command::new(Binaries::beside_this_program()?.replica);
    command.arg("run").arg("--config").arg(test.cluster.layout().config("replica.toml"));
    command.arg("--id").arg(id.to_string()).arg("--data-dir").arg(data_dir);
    command.arg("--listen").arg(test.cluster.plan().spare(0).to_string());
    if join {
        command.arg("--join");
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(WAIT, command.output()).await.context("it goes on running")??;
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().last().unwrap_or_default().to_owned();
    Ok((output.status.code().unwrap_or(-1), line))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_id_is_never_taken_again() -> anyhow::Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let test =
        TestCluster::start_with("removed-id", |spec| Spec { replicas: Some(4), ..small(spec) }).await?;
    let result = removed_id(&test).await;
    test.finish(result).await
}

async fn removed_id(test: &TestCluster) -> anyhow::Result<()> {
    let (grant, room, socket) = lone_writer(test, "w").await?;
    socket.close().await;
    let dir: PathBuf = test.cluster.layout().replica(4);
    let refused = async |arguments: &[&str], expected: &str| -> anyhow::Result<()> {
        // Another refusal may be that nobody leads just now: it is asked again, but what is done is done.
        let done = wait_until(&format!("{arguments:?} to be refused: {expected}"), REFUSED_WAIT, || async {
            match test.cluster.operate(arguments).await {
                Ok(said) => Ok(Some(said)),
                Err(error) if error.to_string().contains(expected) => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        })
        .await?;
        ensure!(done.is_none(), "{arguments:?}: {done:?}");
        Ok(())
    };
    let free = test.cluster.plan().spare(1).to_string();
    let own = test.cluster.replica_grpc(2)?.to_string();
    refused(&["member", "add", "--id", "9", "--address", &free], "does not answer").await?;
    refused(&["member", "add", "--id", "9", "--address", &own], "has the address").await?;
    refused(&["member", "add", "--id", "2", "--address", &free], "keeps its address").await?;
    refused(&["member", "promote", "9"], "no learner").await?;
    refused(&["member", "remove", "9"], "there is no replica 9").await?;
    refused(&["member", "transfer-leader", "--to", "9"], "no voter").await?;

    let last = test.cluster.log(&Member::Replica(4));
    test.cluster.remove_replica(4).await?;
    let line = quorate_cluster::process::last_log_line(&last);
    ensure!(line.contains("replica 4 was removed"), "it ended without saying why: {line}");
    send_anew(test, &grant, room, "three are left").await?;
    // Twice is once.
    test.cluster.operate(&["member", "remove", "4"]).await?;

    let (code, line) = run_by_hand(test, 4, &dir, false).await?;
    ensure!(code == 2 && line.contains("was removed"), "with its old directory: {code} {line}");
    let empty = test.cluster.layout().dir().join("empty");
    let (code, line) = run_by_hand(test, 4, &empty, true).await?;
    // Whichever is noticed first: that the id was removed, or that this disk lacks what the id acknowledged.
    let noticed = line.contains("was removed") || line.contains("what replica 4 acknowledged");
    ensure!(code == 2 && noticed, "with an empty directory: {code} {line}");
    refused(&["member", "add", "--id", "4", "--address", &free], "never used again").await?;
    // Those who learn of it only by a snapshot or after a restart know it as well.
    for id in 1..=3 {
        test.cluster.stop(&Member::Replica(id)).await?;
        test.cluster.start_member(&Member::Replica(id))?;
        test.cluster.wait_serving(WAIT).await?;
    }
    refused(&["member", "add", "--id", "4", "--address", &free], "never used again").await?;

    // Of three voters one is dead: without a further one the last two could not decide anything alone.
    let victim = (1..=3).find(|id| *id != 1).context("there are three")?;
    test.cluster.kill(&Member::Replica(victim)).await?;
    wait_until("the dead one to be noticed", WAIT, || async {
        let leading = test.cluster.leader().await?.0;
        let silent = test.cluster.replica_status(leading, 0).await?.silent_ms;
        let silent = silent.get(&u64::from(victim)).copied();
        if silent.is_none_or(|ms| ms > 1_100) { Ok(()) } else { Err(format!("silent for {silent:?}")) }
    })
    .await?;
    let living = (1..=3).find(|id| *id != victim).context("there are three")?.to_string();
    refused(&["member", "remove", &living], "must answer").await?;
    // The dead one may go: the two that live are both of what is left.
    test.cluster.remove_replica(victim).await?;
    send_anew(test, &grant, room, "two are left").await?;
    let list = test.cluster.operate(&["member", "list"]).await?;
    ensure!(list.contains("removed for ever") && list.matches(" voter ").count() == 2, "{list}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_and_seven_replicas_serve_without_a_minority() -> anyhow::Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    for replicas in [3_u16, 7] {
        let name = format!("{replicas}-replicas");
        let test =
            TestCluster::start_with(&name, |spec| Spec { replicas: Some(replicas), ..small(spec) }).await?;
        let result = without_a_minority(&test, replicas).await;
        test.finish(result).await?;
    }
    Ok(())
}

async fn without_a_minority(test: &TestCluster, replicas: u16) -> anyhow::Result<()> {
    let (_, room, mut socket) = lone_writer(test, "w").await?;
    send(&mut socket, room, "all are there").await?;
    let first = leader(test).await?;
    let others = (1..=replicas).filter(|id| *id != first).take(usize::from(replicas / 2) - 1);
    let victims: Vec<u16> = std::iter::once(first).chain(others).collect();
    for victim in &victims {
        test.cluster.kill(&Member::Replica(*victim)).await?;
    }
    for number in 0..20 {
        send(&mut socket, room, &format!("without {victims:?}: {number}")).await?;
    }
    for victim in &victims {
        test.cluster.start_member(&Member::Replica(*victim))?;
    }
    states_agree(test).await?;
    socket.close().await;
    Ok(())
}

// ---- leadership ----

/// Writes as fast as it can, one message after the other, and remembers when each was acknowledged.
fn write_on(mut socket: Socket, room: ConversationId) -> JoinHandle<anyhow::Result<Vec<Instant>>> {
    tokio::spawn(async move {
        let mut acks = Vec::new();
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            send(&mut socket, room, "on and on").await?;
            acks.push(Instant::now());
        }
        socket.close().await;
        Ok(acks)
    })
}

fn longest_gap(acks: &[Instant]) -> Duration {
    acks.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(Duration::MAX)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_change_of_leader_is_short() -> anyhow::Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let test = TestCluster::start_with("hand-over", small).await?;
    let result = orderly_changes(&test).await;
    test.finish(result).await
}

async fn orderly_changes(test: &TestCluster) -> anyhow::Result<()> {
    let rounds = count("QUORATE_HANDOVERS", 2);
    let talk = Talk::begin(test).await?;
    let at = gateways(test)?[0];
    // Somebody whom the history does not know: her acks are only timed.
    let timed = load::sign_up_many(at, "timed", 1).await?;
    let room = load::make_group(at, "timed", &[&timed[0]]).await?;
    let (mut transfers, mut stops) = (Vec::new(), Vec::new());
    for round in 0..rounds * 2 {
        let mut socket = Socket::open(at, None).await?;
        let grant = rest::sign_in(at, &timed[0].user.name).await?;
        socket.hello(&grant.access_token, None).await?;
        let acks = write_on(socket, room);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (before, term) = wait_until("a leader", WAIT, || test.cluster.leader()).await?;
        if round % 2 == 0 {
            test.cluster.operate(&["member", "transfer-leader"]).await?;
            transfers.push(longest_gap(&acks.await??));
        } else {
            test.cluster.stop(&Member::Replica(before)).await?;
            stops.push(longest_gap(&acks.await??));
            test.cluster.start_member(&Member::Replica(before))?;
        }
        // Another one by now, or the same again if that one has lost it since.
        let (after, newer) = wait_until("a leader", WAIT, || test.cluster.leader()).await?;
        ensure!(after != before || newer > term + 1, "replica {before} still leads in term {newer}");
    }
    talk.end(test).await?;
    println!(
        "longest gap between acks, under load: transfer-leader {transfers:?}, SIGTERM to the leader {stops:?}"
    );
    let mut all: Vec<Duration> = transfers.into_iter().chain(stops).collect();
    all.sort_unstable();
    let worst = all.last().copied().unwrap_or_default();
    ensure!(worst < HAND_OVER_MAX, "an orderly change of leader took {worst:?}");
    let late = all.iter().filter(|gap| **gap >= HAND_OVER_USUAL).count();
    ensure!(late <= (all.len() / 20).max(1), "{late} orderly changes of leader took too long: {all:?}");

    let started = Instant::now();
    test.cluster.shut_down().await?;
    let took = started.elapsed();
    println!("a full stop, gateways included, took {took:?}");
    ensure!(took < Duration::from_secs(15), "a full stop took {took:?}");
    test.cluster.start().await?;
    let mut all = Vec::new();
    for id in test.cluster.replica_ids() {
        all.push(test.cluster.signal(&Member::Replica(id), Send::Terminate)?);
    }
    let started = Instant::now();
    wait_until("all replicas to end", WAIT, || async {
        let left = all.iter().filter(|process| !process.is_gone()).count();
        if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
    })
    .await?;
    let took = started.elapsed();
    println!("five replicas, told to stop together while gateways hold on to them, took {took:?}");
    ensure!(took < Duration::from_secs(5), "five replicas took {took:?} to stop together");
    Ok(())
}

// ---- backup ----

/// Runs the replica program; its exit code and everything it said.
async fn program(arguments: &[&str]) -> anyhow::Result<(i32, String)> {
    let mut command = tokio::process::Command::new(Binaries::beside_this_program()?.replica);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(WAIT, command.output()).await.context("it goes on running")??;
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.code().unwrap_or(-1), text))
}

/// The number or word after another in a text.
fn after<'a>(text: &'a str, word: &str) -> anyhow::Result<&'a str> {
    let at = text.find(word).with_context(|| format!("no {word:?} in {text:?}"))?;
    let rest = text[at + word.len()..].trim_start();
    Ok(rest.split([',', ' ', '\n']).next().unwrap_or_default())
}

/// A backup of a running cluster: file, index, hash.
async fn back_up(test: &TestCluster) -> anyhow::Result<(PathBuf, u64, String)> {
    let dir = test.cluster.layout().dir().join("backups");
    std::fs::create_dir_all(&dir)?;
    let began = Instant::now();
    let said = test.cluster.operate(&["backup", "--to", &dir.display().to_string()]).await?;
    println!("backup in {:?}: {}", began.elapsed(), said.lines().next().unwrap_or_default());
    let file = PathBuf::from(after(&said, "wrote ")?.trim_end_matches(':'));
    Ok((file, after(&said, "index ")?.parse()?, after(&said, "hash ")?.to_owned()))
}

/// A new cluster from a backup, under a new id, on new disks.
async fn restored(name: &str, backup: &Path, replicas: u16) -> anyhow::Result<TestCluster> {
    let test = TestCluster::prepare_with(name, |spec| Spec { replicas: Some(replicas), ..small(spec) })?;
    let config = test.cluster.layout().config("replica.toml").display().to_string();
    for id in 1..=replicas {
        let (id, dir) = (id.to_string(), test.cluster.layout().replica(id).display().to_string());
        let from = backup.display().to_string();
        let flags = ["restore", "--from", &from, "--config", &config, "--id", &id, "--data-dir", &dir];
        let (code, said) = program(&flags).await?;
        ensure!(code == 0, "restore of replica {id}: {code} {said}");
    }
    test.serve().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_taken_under_load_restores_to_the_same_hash() -> anyhow::Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let test = TestCluster::start_with("backup", small).await?;
    let result = backup_and_restore(&test).await;
    test.finish(result).await
}

async fn backup_and_restore(test: &TestCluster) -> anyhow::Result<()> {
    let talk = Talk::begin(test).await?;
    let began = test.recorder.mark("backup");
    let (file, index, hash) = back_up(test).await?;
    acks_since(test, began, "during and after the backup").await?;
    for id in test.cluster.replica_ids() {
        wait_until(&format!("replica {id} to show the hash at {index}"), WAIT, || async {
            let status = test.cluster.replica_status(id, index).await?;
            if status.hash == hash {
                Ok(())
            } else {
                Err(format!("{} at {}", status.hash, status.hash_index))
            }
        })
        .await?;
    }
    let room = talk.room;
    let grants = talk.end(test).await?;
    let at = gateways(test)?[0];
    let grant = rest::sign_in(at, &grants[0].user.name).await?;
    let original = rest::whole_history(at, &grant.access_token, room, "original").await?;

    let path = file.display().to_string();
    let (code, said) = program(&["verify", &path]).await?;
    ensure!(code == 0 && said.contains(&hash) && said.contains(test.cluster.id()), "{code} {said}");
    let dir = test.cluster.layout().replica(2).display().to_string();
    let (code, said) = program(&["verify", &dir]).await?;
    ensure!(code == 2 && said.contains("in use"), "a running replica was read: {code} {said}");
    test.cluster.stop(&Member::Replica(2)).await?;
    let (code, said) = program(&["verify", &dir]).await?;
    ensure!(code == 0 && said.contains("checkpoint: index"), "{code} {said}");
    println!("verify of a stopped replica:\n{said}");
    test.cluster.start_member(&Member::Replica(2))?;

    let mut bytes = std::fs::read(&file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    let damaged = file.with_extension("damaged");
    std::fs::write(&damaged, &bytes)?;
    let (code, said) = program(&["verify", &damaged.display().to_string()]).await?;
    ensure!(code == 1 && said.contains("checksum"), "a flipped bit was not seen: {code} {said}");
    let empty = test.cluster.layout().dir().join("empty").display().to_string();
    let config = test.cluster.layout().config("replica.toml").display().to_string();
    let flags = ["--config", &config, "--id", "1", "--data-dir", &empty];
    let broken = damaged.display().to_string();
    let (code, said) =
        program(&[&["restore", "--from", &broken, "--cluster", "other"], &flags[..]].concat()).await?;
    ensure!(code == 2 && !Path::new(&empty).exists(), "a damaged backup was restored: {code} {said}");
    let (code, said) = program(&[&["restore", "--from", &path], &flags[..]].concat()).await?;
    ensure!(code == 2 && said.contains("new cluster"), "restored into the same cluster: {code} {said}");

    let began = Instant::now();
    let new = restored("restored", &file, 5).await?;
    println!("five replicas restored and serving after {:?}", began.elapsed());
    let result = is_the_same(&new, &grants, room, index, &hash, &original.rows).await;
    new.finish(result).await
}

async fn is_the_same(
    new: &TestCluster,
    grants: &[SessionGrant],
    room: ConversationId,
    index: u64,
    hash: &str,
    original: &[quorate_tests::history::Row],
) -> anyhow::Result<()> {
    for id in new.cluster.replica_ids() {
        let status = status_of(new, id, index).await?;
        ensure!(
            status.hash == hash,
            "replica {id} shows {:?} at {index}, the backup has {hash}",
            status.hash
        );
    }
    let at = gateways(new)?[0];
    let grant = rest::sign_in(at, &grants[0].user.name).await?;
    let pages = rest::whole_history(at, &grant.access_token, room, "restored").await?;
    ensure!(!pages.rows.is_empty(), "nothing was restored");
    ensure!(original.starts_with(&pages.rows), "what was restored is not how it began");
    let mut socket = Socket::open(at, None).await?;
    socket.hello(&grant.access_token, None).await?;
    send(&mut socket, room, "after the restore").await?;
    let again = rest::whole_history(at, &grant.access_token, room, "restored").await?;
    ensure!(again.rows.len() == pages.rows.len() + 1, "the next message is not the next one");
    let old = Socket::open(at, None).await?.hello(&grants[0].access_token, None).await;
    ensure!(old.is_err(), "a sign-in of before the restore still counts");
    states_agree(new).await?;
    // It is a cluster like any other: a replica can be replaced, and the new one is given everything.
    let replaced = new.cluster.replace_replica(1).await?;
    states_agree(new).await?;
    println!("restored {} messages; replaced replica 1 by {replaced} after", pages.rows.len());
    socket.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_position_gets_a_full_sync_after_restore() -> anyhow::Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let three = |spec: Spec| Spec { replicas: Some(3), ..small(spec) };
    let test = TestCluster::start_with("old-position", three).await?;
    let result = old_position(&test).await;
    test.finish(result).await
}

async fn old_position(test: &TestCluster) -> anyhow::Result<()> {
    let (grant, room, mut socket) = lone_writer(test, "w").await?;
    for number in 0..5 {
        send(&mut socket, room, &format!("before the backup: {number}")).await?;
    }
    let (file, index, _) = back_up(test).await?;
    for number in 0..5 {
        send(&mut socket, room, &format!("after the backup: {number}")).await?;
    }
    socket.close().await;
    // A position of the old cluster, of before the backup and of after: on the old cluster both are resumed.
    let positions = [index, index + 5];
    let resume = |cluster: &str, position| Resume { cluster: cluster.to_owned(), position, seen: position };
    for position in positions {
        let mut socket = Socket::open(gateways(test)?[0], None).await?;
        let welcome = socket.hello(&grant.access_token, Some(resume(test.cluster.id(), position))).await?;
        ensure!(welcome.resumed, "position {position} was not resumed on its own cluster");
        socket.close().await;
    }
    let new = restored("old-position-restored", &file, 3).await?;
    let result = async {
        let at = gateways(&new)?[0];
        let fresh = rest::sign_in(at, &grant.user.name).await?;
        for position in positions {
            let mut socket = Socket::open(at, None).await?;
            let welcome =
                socket.hello(&fresh.access_token, Some(resume(test.cluster.id(), position))).await?;
            ensure!(!welcome.resumed, "position {position} of another cluster was resumed");
            ensure!(welcome.cluster == new.cluster.id(), "the welcome names cluster {}", welcome.cluster);
            let summary = welcome.conversations.iter().find(|each| each.id == room).context("the room")?;
            ensure!(
                summary.sequence == 5,
                "the summary says {} messages, not the backup's 5",
                summary.sequence
            );
            socket.close().await;
        }
        anyhow::Ok(())
    }
    .await;
    new.finish(result).await
}
