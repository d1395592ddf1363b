//! A standing scene: twenty people who talk in five groups, the faults' backdrop and the judge's material.
//!
//! Owns who belongs where, what a phase of load must show before it proves anything, and the last reading of everything.
//! What happens to the cluster meanwhile is each test's own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use quorate_cluster::wait_until;
use quorate_proto::ids::ConversationId;
use quorate_proto::rest::SessionGrant;
use quorate_proto::rpc::chat_client::ChatClient;
use quorate_proto::rpc::{
    ReadRequest, SincePair, SinceQuery, StatusResponse, Topic, event, read_request, read_response, topic,
};
use quorate_tls::Role;
use uuid::Uuid;

use crate::client::{Person, PersonHandle, Socket, Tally, rest};
use crate::harness::TestCluster;
use crate::history::{FinalPages, Micros, Row};
use crate::{load, oracle};

/// How many people.
pub const PEOPLE: usize = 20;
/// In how many groups.
pub const CONVERSATIONS: usize = 5;
/// One message per person in this time: about 200 a second in all.
pub const PACE: Duration = Duration::from_millis(100);
/// Acks that each phase of the load must see, or the run proves nothing.
pub const ACKS_PER_PHASE: usize = 200;
/// Every wait of this test that is no phase of its own.
pub const WAIT: Duration = Duration::from_secs(60);
/// Events asked for at once when a replica's own state is read.
const PAGE_EVENTS: u32 = 500;

/// Everybody, and where they talk.
#[derive(Debug)]
pub struct Scene {
    /// Their accounts.
    pub grants: Vec<SessionGrant>,
    /// The groups.
    pub conversations: Vec<ConversationId>,
    /// The people.
    pub people: Vec<PersonHandle>,
}

/// Person `person` belongs to three of the five conversations; each has twelve members.
pub fn belongs(person: usize, conversation: usize) -> bool {
    (person + conversation) % CONVERSATIONS < 3
}

/// Signs everybody up, makes the groups and connects everybody through the balancer.
///
/// # Errors
/// When the cluster does not serve.
pub async fn set_the_scene(test: &TestCluster) -> anyhow::Result<Scene> {
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
    /// How many are connected to each gateway; under "" those who are not.
    pub fn gateways(&self) -> BTreeMap<String, usize> {
        let mut spread = BTreeMap::new();
        for person in &self.people {
            *spread.entry(person.tally().gateway).or_default() += 1;
        }
        spread
    }

    /// The groups of a person.
    pub fn rooms_of(&self, person: usize) -> Vec<ConversationId> {
        let rooms = self.conversations.iter().enumerate();
        rooms.filter(|(conversation, _)| belongs(person, *conversation)).map(|(_, id)| *id).collect()
    }

    /// Everybody begins to talk.
    pub async fn talk(&self) {
        self.talk_at(PACE).await;
    }

    /// Everybody begins to talk, one message per person in this time.
    pub async fn talk_at(&self, pace: Duration) {
        for (place, person) in self.people.iter().enumerate() {
            person.pace(self.rooms_of(place), pace).await;
        }
    }

    /// Ends the load and waits until every send is decided and everybody has everything.
    ///
    /// # Errors
    /// When that does not come to pass.
    pub async fn settle(&self) -> anyhow::Result<()> {
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
                let newest = members().map(|(_, tally)| tally.newest(*room)).max().unwrap_or(0);
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
    ///
    /// # Errors
    /// When somebody has.
    pub async fn leave(self) -> anyhow::Result<(Vec<Tally>, Vec<SessionGrant>, Vec<ConversationId>)> {
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
///
/// # Errors
/// When too few come.
pub async fn acks_since(test: &TestCluster, since: Micros, what: &str) -> anyhow::Result<()> {
    wait_until(&format!("{ACKS_PER_PHASE} acks {what}"), WAIT, || async {
        let acks = test.recorder.acks_between(since, u64::MAX);
        if acks >= ACKS_PER_PHASE { Ok(()) } else { Err(format!("{acks} so far")) }
    })
    .await?;
    Ok(())
}

/// The leader and its term, once there is one.
///
/// # Errors
/// When there is none in time.
pub async fn leader(test: &TestCluster) -> anyhow::Result<(u16, u64)> {
    Ok(wait_until("a leader", WAIT, || test.cluster.leader()).await?)
}

/// What a replica says of itself, with its state's hash at an index: asked until it answers, for whatever runs may stand still
/// for longer than one question waits.
///
/// # Errors
/// When it does not answer.
pub async fn status_of(test: &TestCluster, id: u16, hash_index: u64) -> anyhow::Result<StatusResponse> {
    let what = format!("replica {id} to answer");
    let asked = wait_until(&what, WAIT, || test.cluster.replica_status(id, hash_index));
    Ok(asked.await?)
}

/// A restarted replica is back when it has applied what was committed when it came.
///
/// # Errors
/// When it does not come back in time.
pub async fn caught_up(test: &TestCluster, id: u16) -> anyhow::Result<()> {
    let target = test.cluster.leader_commit().await?;
    wait_until(&format!("replica {id} to apply {target}"), WAIT, || async {
        let applied = test.cluster.replica_status(id, 0).await?.applied_index;
        if applied >= target { Ok(()) } else { Err(format!("it has applied {applied}")) }
    })
    .await?;
    Ok(())
}

/// Reads every conversation through every gateway and adds the pages to the history.
///
/// # Errors
/// When one cannot be read.
pub async fn read_finals(
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

async fn newest_version(at: SocketAddr, token: &str, room: ConversationId) -> anyhow::Result<u64> {
    let mut socket = Socket::open(at, None).await?;
    let welcome = socket.hello(token, None).await?;
    socket.close().await;
    let summary = welcome.conversations.iter().find(|each| each.id == room);
    Ok(summary.with_context(|| format!("room {room} is missing from the welcome"))?.version)
}

/// What one replica's own state holds of every conversation.
///
/// # Errors
/// When it does not answer, or an answer cannot be understood.
pub async fn replica_pages(
    test: &TestCluster,
    id: u16,
    rooms: &[ConversationId],
    when: &str,
) -> anyhow::Result<Vec<FinalPages>> {
    let mut client = ChatClient::new(test.channel(id, Role::Gateway)?);
    let mut found = Vec::new();
    for room in rooms {
        let source = format!("replica {id} {when}");
        let mut pages = FinalPages { source, conversation: *room, version: 0, rows: Vec::new() };
        loop {
            let topic = Topic { kind: topic::Kind::Conversation.into(), id: *room };
            let pairs = vec![SincePair { topic: Some(topic), version: pages.version }];
            let query = read_request::Query::Since(SinceQuery { pairs, limit: PAGE_EVENTS });
            let request = test.call(ReadRequest { query: Some(query), ..ReadRequest::default() })?;
            let answer =
                client.read(request).await.with_context(|| format!("room {room} of replica {id}"))?;
            let Some(read_response::Result::Since(since)) = answer.into_inner().result else {
                bail!("replica {id} does not answer what was asked for room {room}")
            };
            let page = since.pages.into_iter().next().context("an answer without a page")?;
            for event in &page.events {
                pages.version = event.version;
                if let Some(event::Kind::Message(message)) = &event.kind {
                    let from = message.from.as_ref().context("a message from nobody")?;
                    pages.rows.push(Row {
                        sequence: message.sequence,
                        version: event.version,
                        id: Uuid::from_slice(&message.client_message_id)?,
                        from: from.id,
                        text: message.text.clone(),
                    });
                }
            }
            if page.events.is_empty() || !page.more {
                break;
            }
        }
        found.push(pages);
    }
    Ok(found)
}

/// Reads every conversation from one replica's own state and adds the pages to the history.
///
/// # Errors
/// As [`replica_pages`].
pub async fn read_replica(
    test: &TestCluster,
    id: u16,
    rooms: &[ConversationId],
    when: &str,
) -> anyhow::Result<()> {
    let pages = replica_pages(test, id, rooms, when).await?;
    test.recorder.history().finals.extend(pages);
    Ok(())
}

/// Holds the history to the promises.
///
/// # Errors
/// The violations.
pub fn judge(test: &TestCluster) -> anyhow::Result<()> {
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

/// Waits until all replicas show one hash at one index.
///
/// # Errors
/// When they do not.
pub async fn states_agree(test: &TestCluster) -> anyhow::Result<()> {
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
