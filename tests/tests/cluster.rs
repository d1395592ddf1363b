//! Real binaries, sockets and disks: twenty people talk while replicas die.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use quorate_cluster::{Member, wait_until};
use quorate_proto::frame::{Body, Request, SendMessage};
use quorate_proto::ids::{ClientMessageId, ConversationId};
use quorate_proto::rest::SessionGrant;
use quorate_tests::client::{Person, PersonHandle, Socket, Tally, rest};
use quorate_tests::harness::TestCluster;
use quorate_tests::history::{FinalPages, Micros};
use quorate_tests::{load, oracle};
use uuid::Uuid;

const PEOPLE: usize = 20;
const CONVERSATIONS: usize = 5;
/// One message per person in this time: about 200 a second in all.
const PACE: Duration = Duration::from_millis(100);
/// Acks that each phase of the load must see, or the run proves nothing.
const ACKS_PER_PHASE: usize = 200;
/// Every wait of this test that is no phase of its own.
const WAIT: Duration = Duration::from_secs(60);

/// Everybody, and where they talk.
struct Scene {
    grants: Vec<SessionGrant>,
    conversations: Vec<ConversationId>,
    people: Vec<PersonHandle>,
}

/// Person `person` belongs to three of the five conversations; each has twelve members.
fn belongs(person: usize, conversation: usize) -> bool {
    (person + conversation) % CONVERSATIONS < 3
}

async fn set_the_scene(test: &TestCluster) -> anyhow::Result<Scene> {
    let front = test.cluster.front();
    let grants = load::sign_up_many(front, "p", PEOPLE).await?;
    let mut conversations = Vec::new();
    for conversation in 0..CONVERSATIONS {
        let members: Vec<&SessionGrant> = grants
            .iter()
            .enumerate()
            .filter(|(person, _)| belongs(*person, conversation))
            .map(|(_, g)| g)
            .collect();
        conversations.push(load::make_group(front, &format!("room {conversation}"), &members).await?);
    }
    let start = |grant: &SessionGrant| {
        Person::start(front, grant.user.id, &grant.user.name, &grant.access_token, &test.recorder)
    };
    let people: Vec<PersonHandle> = grants.iter().map(start).collect();
    wait_until("everybody to be connected", WAIT, || async {
        let missing = people.iter().filter(|person| person.tally().gateway.is_empty()).count();
        if missing == 0 { Ok(()) } else { Err(format!("{missing} are not")) }
    })
    .await?;
    test.recorder.mark(format!("{PEOPLE} people are connected"));
    Ok(Scene { grants, conversations, people })
}

impl Scene {
    fn gateways(&self) -> BTreeMap<String, usize> {
        let mut spread = BTreeMap::new();
        for person in &self.people {
            *spread.entry(person.tally().gateway).or_default() += 1;
        }
        spread
    }

    fn rooms_of(&self, person: usize) -> Vec<ConversationId> {
        let rooms = self.conversations.iter().enumerate();
        rooms.filter(|(conversation, _)| belongs(person, *conversation)).map(|(_, id)| *id).collect()
    }

    async fn talk(&self) {
        for (place, person) in self.people.iter().enumerate() {
            person.pace(self.rooms_of(place), PACE).await;
        }
    }

    /// Ends the load and waits until every send is decided and everybody has everything.
    async fn settle(&self) -> anyhow::Result<()> {
        for person in &self.people {
            person.quiet().await;
        }
        wait_until("every send to be decided", WAIT, || async {
            let open: usize = self.people.iter().map(|person| person.tally().open).sum();
            if open == 0 { Ok(()) } else { Err(format!("{open} are open")) }
        })
        .await?;
        wait_until("everybody to have everything", WAIT, || async {
            let tallies: Vec<Tally> = self.people.iter().map(PersonHandle::tally).collect();
            for (number, room) in self.conversations.iter().enumerate() {
                let members = || tallies.iter().enumerate().filter(|(person, _)| belongs(*person, number));
                let version = |tally: &Tally| tally.versions.get(room).copied().unwrap_or(0);
                let newest = members().map(|(_, tally)| version(tally)).max().unwrap_or(0);
                if let Some((person, tally)) = members().find(|(_, tally)| version(tally) < newest) {
                    return Err(format!("p{person} has {} of {newest} in room {number}", version(tally)));
                }
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Everybody leaves; nobody may have seen anything that the protocol does not allow.
    async fn leave(self) -> anyhow::Result<(Vec<Tally>, Vec<SessionGrant>, Vec<ConversationId>)> {
        let mut tallies = Vec::new();
        for person in self.people {
            tallies.push(person.leave().await);
        }
        let defects: Vec<String> = tallies.iter().flat_map(|tally| tally.defects.clone()).collect();
        ensure!(defects.is_empty(), "clients saw what the protocol does not allow:\n{}", defects.join("\n"));
        Ok((tallies, self.grants, self.conversations))
    }
}

/// Waits for acks of messages that were sent after `since`.
async fn acks_since(test: &TestCluster, since: Micros, what: &str) -> anyhow::Result<()> {
    wait_until(&format!("{ACKS_PER_PHASE} acks {what}"), WAIT, || async {
        let acks = test.recorder.acks_between(since, u64::MAX);
        if acks >= ACKS_PER_PHASE { Ok(()) } else { Err(format!("{acks} so far")) }
    })
    .await?;
    Ok(())
}

async fn leader(test: &TestCluster) -> anyhow::Result<(u16, u64)> {
    Ok(wait_until("a leader", WAIT, || test.cluster.leader()).await?)
}

/// A restarted replica is back when it has applied what was committed when it came.
async fn caught_up(test: &TestCluster, id: u16) -> anyhow::Result<()> {
    let (leading, _) = leader(test).await?;
    let target = test.cluster.replica_status(leading, 0).await.map_err(anyhow::Error::msg)?.commit_index;
    wait_until(&format!("replica {id} to apply {target}"), WAIT, || async {
        let applied = test.cluster.replica_status(id, 0).await?.applied_index;
        if applied >= target { Ok(()) } else { Err(format!("it has applied {applied}")) }
    })
    .await?;
    Ok(())
}

async fn kill_and_restart(test: &TestCluster, victims: &[u16], what: &str) -> anyhow::Result<()> {
    let names = victims.iter().map(u16::to_string).collect::<Vec<_>>().join(" and ");
    for victim in victims {
        test.cluster.kill(&Member::Replica(*victim)).await?;
    }
    let killed = test.recorder.mark(format!("killed replica {names} ({what})"));
    acks_since(test, killed, &format!("after {what}")).await?;
    let (new, term) = leader(test).await?;
    test.recorder.mark(format!("replica {new} leads in term {term}"));
    for victim in victims {
        test.cluster.start_member(&Member::Replica(*victim))?;
    }
    for victim in victims {
        caught_up(test, *victim).await?;
    }
    let back = test.recorder.mark(format!("replica {names} is back"));
    acks_since(test, back, &format!("after the restart of {what}")).await
}

/// Reads every conversation through every gateway and adds the pages to the history.
async fn read_finals(
    test: &TestCluster,
    users: &[String],
    rooms: &[ConversationId],
    when: &str,
) -> anyhow::Result<()> {
    for gateway in test.cluster.gateways() {
        let address = test.cluster.gateway_address(&gateway)?;
        for (number, room) in rooms.iter().enumerate() {
            let member = (0..PEOPLE).find(|person| belongs(*person, number)).context("a room has members")?;
            let grant = rest::sign_in(address, &users[member]).await?;
            let mut pages = rest::whole_history(
                address,
                &grant.access_token,
                *room,
                &format!("gateway {gateway} {when}"),
            )
            .await?;
            pages.version = newest_version(address, &grant.access_token, *room).await?;
            test.recorder.history().finals.push(pages);
        }
    }
    Ok(())
}

async fn newest_version(at: std::net::SocketAddr, token: &str, room: ConversationId) -> anyhow::Result<u64> {
    let mut socket = Socket::open(at, None).await?;
    let welcome = socket.hello(token, None).await?;
    socket.close().await;
    let summary = welcome.conversations.iter().find(|each| each.id == room);
    Ok(summary.with_context(|| format!("room {room} is missing from the welcome"))?.version)
}

fn judge(test: &TestCluster) -> anyhow::Result<()> {
    let history = test.recorder.history().clone();
    let violations = oracle::check(&history);
    let listed: Vec<String> = violations.iter().take(20).map(ToString::to_string).collect();
    ensure!(violations.is_empty(), "{} violations:\n{}", violations.len(), listed.join("\n"));
    let messages: usize = history.finals.iter().map(|pages| pages.rows.len()).sum();
    let deliveries: usize = history.readers.iter().map(|reader| reader.events.len()).sum();
    test.recorder.mark(format!(
        "judged {} sends, {deliveries} deliveries, {messages} final rows: nothing lost, doubled or out of order",
        history.sends.len()
    ));
    Ok(())
}

async fn states_agree(test: &TestCluster) -> anyhow::Result<()> {
    wait_until("all replicas to show one state at one index", WAIT, || async {
        let status = test.cluster.status().await.map_err(|error| error.to_string())?;
        let hashes: Vec<_> =
            status.replicas.iter().map(|row| (row.id, row.hash_index, row.hash.clone())).collect();
        let all = hashes.iter().all(|(_, _, hash)| hash.is_some());
        if all && status.agree == Some(true) { Ok(()) } else { Err(format!("{hashes:?}")) }
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn acked_messages_survive_dead_replicas_and_no_socket_closes() -> anyhow::Result<()> {
    let test = TestCluster::start("dead-replicas").await?;
    let result = dead_replicas(&test).await;
    test.finish(result).await
}

async fn dead_replicas(test: &TestCluster) -> anyhow::Result<()> {
    let scene = set_the_scene(test).await?;
    if test.cluster.has_balancer() {
        let spread = scene.gateways();
        ensure!(spread.len() == test.cluster.gateways().len(), "not every gateway has sessions: {spread:?}");
    }
    let (_, first_term) = leader(test).await?;
    let began = test.recorder.now();
    scene.talk().await;
    acks_since(test, began, "in calm").await?;

    let mut killed = BTreeSet::new();
    for round in 1..=3 {
        let (victim, _) = leader(test).await?;
        killed.insert(victim);
        kill_and_restart(test, &[victim], &format!("the leader, round {round}")).await?;
    }
    let (victim, _) = leader(test).await?;
    let other = (1..=test.cluster.replicas()).find(|id| *id != victim).context("more than one replica")?;
    kill_and_restart(test, &[victim, other], "the leader and a follower together").await?;

    scene.settle().await?;
    let (_, last_term) = leader(test).await?;
    ensure!(last_term >= first_term + 4, "terms went from {first_term} to {last_term}: too few elections");
    let closes = test.recorder.history().closes.clone();
    ensure!(closes.is_empty(), "sockets closed although only replicas died: {closes:#?}");
    let pauses = scene.people.iter().map(|person| person.tally().write_pauses).sum::<u64>();
    test.recorder.mark(format!("0 sockets closed, {pauses} pauses of the write path were shown"));
    states_agree(test).await?;

    let users: Vec<String> = scene.grants.iter().map(|grant| grant.user.name.clone()).collect();
    let (_, grants, rooms) = scene.leave().await?;
    read_finals(test, &users, &rooms, "before the stop").await?;
    judge(test)?;

    test.cluster.shut_down().await?;
    test.recorder.mark("everything is stopped");
    test.cluster.start().await?;
    test.recorder.mark("everything runs again");
    read_finals(test, &users, &rooms, "after the stop").await?;
    judge(test)?;
    states_agree(test).await?;
    still_writes(test, &grants[0], rooms[0]).await
}

/// The old token, the old conversation: a message sent after the restart is the next one, and a replay is told as such.
async fn still_writes(test: &TestCluster, grant: &SessionGrant, room: ConversationId) -> anyhow::Result<()> {
    let before = last_pages(test, room)?;
    let mut socket = Socket::open(test.cluster.front(), None).await?;
    socket.hello(&grant.access_token, None).await?;
    let send = SendMessage {
        conversation: room,
        client_message_id: ClientMessageId(Uuid::now_v7()),
        text: "after the restart".to_owned(),
        reply_to: None,
        first_sent: 0,
    };
    let mut acks = Vec::new();
    for _ in 0..2 {
        let id = socket.request(Request::Send(send.clone())).await?;
        match socket.answer(id).await? {
            Body::Ack(ack) => acks.push(ack),
            other => bail!("no ack: {other:?}"),
        }
    }
    ensure!(acks[0].sequence == Some(before.rows.len() as u64 + 1), "not the next one: {:?}", acks[0]);
    ensure!(!acks[0].replay && acks[1].replay, "the replay is not told: {acks:?}");
    ensure!(acks[0].sequence == acks[1].sequence && acks[0].index == acks[1].index, "{acks:?}");
    socket.close().await;
    Ok(())
}

fn last_pages(test: &TestCluster, room: ConversationId) -> anyhow::Result<FinalPages> {
    let history = test.recorder.history();
    history.finals.iter().rev().find(|pages| pages.conversation == room).cloned().context("the room was read")
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_dead_gateway_resume_elsewhere_with_nothing_missing() -> anyhow::Result<()> {
    let test = TestCluster::start("dead-gateway").await?;
    if !test.cluster.has_balancer() {
        ensure!(std::env::var_os("CI").is_none(), "HAProxy is not installed: this test cannot run");
        println!("SKIPPED: HAProxy is not installed");
        return test.finish(Ok(())).await;
    }
    let result = dead_gateway(&test).await;
    test.finish(result).await
}

async fn dead_gateway(test: &TestCluster) -> anyhow::Result<()> {
    let scene = set_the_scene(test).await?;
    let began = test.recorder.now();
    scene.talk().await;
    acks_since(test, began, "in calm").await?;

    let victims = scene.gateways().get("a").copied().unwrap_or(0);
    ensure!(victims > 0, "nobody is on gateway a: {:?}", scene.gateways());
    test.cluster.kill(&Member::Gateway("a".to_owned())).await?;
    let killed = test.recorder.mark(format!("killed gateway a with {victims} sessions"));
    wait_until("everybody to be elsewhere", WAIT, || async {
        let spread = scene.gateways();
        if spread.contains_key("a") || spread.contains_key("") { Err(format!("{spread:?}")) } else { Ok(()) }
    })
    .await?;
    acks_since(test, killed, "after the gateway's death").await?;

    let stopped = test.recorder.mark("stopping gateway b in order");
    test.cluster.start_member(&Member::Gateway("a".to_owned()))?;
    test.cluster.wait_ready(&Member::Gateway("a".to_owned()), WAIT).await?;
    test.cluster.stop(&Member::Gateway("b".to_owned())).await?;
    wait_until("everybody to be elsewhere", WAIT, || async {
        let spread = scene.gateways();
        if spread.contains_key("b") || spread.contains_key("") { Err(format!("{spread:?}")) } else { Ok(()) }
    })
    .await?;
    acks_since(test, stopped, "after the gateway's stop").await?;
    test.cluster.start_member(&Member::Gateway("b".to_owned()))?;
    test.cluster.wait_ready(&Member::Gateway("b".to_owned()), WAIT).await?;

    scene.settle().await?;
    let users: Vec<String> = scene.grants.iter().map(|grant| grant.user.name.clone()).collect();
    let (tallies, _, rooms) = scene.leave().await?;
    let resumed: u64 = tallies.iter().map(|tally| tally.resumed).sum();
    let restarted: u64 = tallies.iter().map(|tally| tally.restarted).sum();
    test.recorder.mark(format!("{resumed} sockets resumed, {restarted} started anew"));
    ensure!(resumed >= victims as u64 && restarted == 0, "{resumed} resumed, {restarted} started anew");
    read_finals(test, &users, &rooms, "at the end").await?;
    judge(test)
}
