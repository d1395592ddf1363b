//! Real replicas that are upgraded one by one, and registers that stay linearizable while leaders die.
//!
//! Longer runs: `QUORATE_LINEARIZABLE_KILLS` (default 3) is the number of leader kills under the edits and reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use quorate_cluster::{Member, wait_until};
use quorate_proto::CLUSTER_METADATA;
use quorate_proto::error::ErrorCode;
use quorate_proto::frame::{Ack, Body, EditMessage, Request, SendMessage};
use quorate_proto::ids::{ClientMessageId, ConversationId, Sequence};
use quorate_proto::rest::SessionGrant;
use quorate_proto::rpc::chat_client::ChatClient;
use quorate_proto::rpc::operator_client::OperatorClient;
use quorate_proto::rpc::{
    ConversationQuery, HistoryQuery, PromoteRequest, ReadRequest, ReplaceRequest, StoredMembership, event,
    history_query, member_response, read_request, read_response,
};
use quorate_tests::client::{Person, PersonHandle, Socket, rest};
use quorate_tests::harness::TestCluster;
use quorate_tests::history::Recorder;
use quorate_tests::linear::{
    self, Head, HeadCall, Model, Register, RegisterCall, Timed, Verdict, Voters, VotersCall,
};
use quorate_tests::{load, oracle};
use quorate_tls::Role;
use tokio::task::JoinSet;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

/// Every wait of these tests that is no phase of its own.
const WAIT: Duration = Duration::from_secs(60);
/// A request that is not answered by then is asked again under its id.
const ANSWER_WAIT: Duration = Duration::from_secs(12);
/// A read at one replica.
const READ_WAIT: Duration = Duration::from_millis(800);

// ---- a client that asks until it knows ----

/// A socket of one user that is opened again when it ends.
struct Asker {
    at: std::net::SocketAddr,
    token: String,
    socket: Option<Socket>,
}

impl Asker {
    fn new(at: std::net::SocketAddr, grant: &SessionGrant) -> Self {
        Self { at, token: grant.access_token.clone(), socket: None }
    }

    async fn once(&mut self, request: &Request) -> anyhow::Result<Body> {
        if self.socket.is_none() {
            let mut socket = Socket::open(self.at, None).await?;
            socket.hello(&self.token, None).await?;
            self.socket = Some(socket);
        }
        let socket = self.socket.as_mut().context("just opened")?;
        let id = socket.request(request.clone()).await?;
        let answer = tokio::time::timeout(ANSWER_WAIT, socket.answer(id)).await;
        answer.context("no answer in time")?
    }

    /// Asks under one id until the answer is final: an ack, or a refusal that is decided.
    async fn ask(
        &mut self,
        request: Request,
    ) -> anyhow::Result<Result<Ack, quorate_proto::error::WireError>> {
        let asked = async {
            loop {
                match self.once(&request).await {
                    Ok(Body::Ack(ack)) => return Ok(Ok(ack)),
                    Ok(Body::Error { error }) if !error.temporary => return Ok(Err(error)),
                    Ok(Body::Error { error }) => {
                        tokio::time::sleep(Duration::from_millis(error.retry_ms.unwrap_or(100))).await;
                    }
                    Ok(other) => bail!("neither ack nor error: {other:?}"),
                    // Its fate is not known: the next socket asks under the same id.
                    Err(_) => {
                        self.socket = None;
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        };
        tokio::time::timeout(WAIT, asked).await.context("not decided in time")?
    }
}

fn new_id() -> ClientMessageId {
    ClientMessageId(Uuid::now_v7())
}

fn send(conversation: ConversationId, text: &str) -> Request {
    let client_message_id = new_id();
    Request::Send(SendMessage {
        conversation,
        client_message_id,
        text: text.to_owned(),
        reply_to: None,
        first_sent: 0,
    })
}

fn edit(conversation: ConversationId, sequence: Sequence, text: &str, if_revision: Option<u64>) -> Request {
    let client_message_id = new_id();
    let text = text.to_owned();
    Request::Edit(EditMessage { conversation, sequence, client_message_id, text, if_revision, first_sent: 0 })
}

// ---- upgrade ----

async fn states_agree(test: &TestCluster, when: &str) -> anyhow::Result<()> {
    wait_until(&format!("five equal hashes at one index {when}"), WAIT, || async {
        let status = test.cluster.status().await.map_err(|error| error.to_string())?;
        let hashes: Vec<_> =
            status.replicas.iter().map(|row| (row.id, row.hash_index, row.hash.clone())).collect();
        let all = hashes.iter().all(|(_, _, hash)| hash.is_some());
        if all && status.agree == Some(true) { Ok(()) } else { Err(format!("{hashes:?}")) }
    })
    .await?;
    Ok(())
}

/// The machine version that every replica is at, if it is the same one.
async fn versions(test: &TestCluster) -> Vec<u32> {
    let statuses = test.cluster.replica_statuses(0).await;
    statuses.into_iter().map(|status| status.map_or(0, |status| status.machine_version)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn five_replicas_are_upgraded_one_by_one_under_load() -> anyhow::Result<()> {
    let test = TestCluster::start_with("upgrade", |mut spec| {
        spec.replica_keys.insert("machine_version_max".to_owned(), 1.into());
        spec
    })
    .await?;
    let result = upgrade(&test).await;
    test.finish(result).await
}

async fn upgrade(test: &TestCluster) -> anyhow::Result<()> {
    let front = test.cluster.front();
    let grants = load::sign_up_many(front, "u", 7).await?;
    let (editor, talkers) = grants.split_last().context("seven")?;
    let talking: Vec<&SessionGrant> = talkers.iter().collect();
    let rooms =
        [load::make_group(front, "one", &talking).await?, load::make_group(front, "two", &talking).await?];
    let own = load::make_group(front, "own", &[editor]).await?;
    let mut asker = Asker::new(front, editor);
    let written = asker.ask(send(own, "first")).await?.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let sequence = written.sequence.context("a send has its sequence")?;
    // The same command, refused by version 1 and accepted by version 2.
    let request = edit(own, sequence, "second", Some(0));

    let people: Vec<PersonHandle> = talkers
        .iter()
        .map(|grant| {
            Person::start(front, grant.user.id, &grant.user.name, &grant.access_token, &test.recorder)
        })
        .collect();
    for person in &people {
        person.pace(rooms.to_vec(), Duration::from_millis(40)).await;
    }
    let acks_flow = async |since: u64, what: &str| {
        wait_until(&format!("100 acks {what}"), WAIT, || async {
            let acks = test.recorder.acks_between(since, u64::MAX);
            if acks >= 100 { Ok(()) } else { Err(format!("{acks} so far")) }
        })
        .await
    };
    acks_flow(test.recorder.now(), "before the upgrade").await?;

    // What the program before knows is what this one knows when it is told so.
    let config = test.cluster.layout().config("replica.toml");
    let text = std::fs::read_to_string(&config)?;
    ensure!(text.contains("machine_version_max = 1"), "{text}");
    std::fs::write(&config, text.replace("machine_version_max = 1", "machine_version_max = 2"))?;

    for id in 1..=test.cluster.replicas() {
        let before = versions(test).await;
        ensure!(before.iter().all(|version| *version == 1), "not all are upgraded: {before:?}");
        match asker.ask(request.clone()).await? {
            Err(error) => ensure!(error.code == ErrorCode::Unsupported, "{error:?}"),
            Ok(ack) => bail!("version 1 edits: {ack:?}"),
        }
        test.cluster.stop(&Member::Replica(id)).await?;
        test.cluster.start_member(&Member::Replica(id))?;
        let back = test.recorder.mark(format!("replica {id} is upgraded"));
        let target = test.cluster.leader_commit().await?;
        wait_until(&format!("replica {id} to apply {target}"), WAIT, || async {
            let applied = test.cluster.replica_status(id, 0).await?.applied_index;
            if applied >= target { Ok(()) } else { Err(format!("it has applied {applied}")) }
        })
        .await?;
        acks_flow(back, &format!("after replica {id}")).await?;
        states_agree(test, &format!("after replica {id}")).await?;
    }
    wait_until("all replicas to reach machine version 2", WAIT, || async {
        let versions = versions(test).await;
        if versions.iter().all(|version| *version == 2) { Ok(()) } else { Err(format!("{versions:?}")) }
    })
    .await?;
    let raised = test.recorder.mark("every replica is at machine version 2");
    let ack =
        asker.ask(request).await?.map_err(|error| anyhow::anyhow!("version 2 does not edit: {error:?}"))?;
    ensure!((ack.revision, ack.sequence, ack.replay) == (Some(1), Some(sequence), false), "{ack:?}");
    let late = asker.ask(edit(own, sequence, "third", Some(0))).await?;
    ensure!(late.as_ref().is_err_and(|error| error.revision == Some(1)), "no conflict: {late:?}");
    acks_flow(raised, "after the upgrade").await?;
    states_agree(test, "after the upgrade").await?;

    finish_load(test, people, &talkers[0], &rooms).await
}

/// Ends the load and holds what everybody saw to the oracle.
async fn finish_load(
    test: &TestCluster,
    people: Vec<PersonHandle>,
    reader: &SessionGrant,
    rooms: &[ConversationId],
) -> anyhow::Result<()> {
    for person in &people {
        person.quiet().await;
    }
    wait_until("every send to be decided", WAIT, || async {
        let open: usize = people.iter().map(|person| person.tally().open).sum();
        if open == 0 { Ok(()) } else { Err(format!("{open} are open")) }
    })
    .await?;
    wait_until("everybody to have everything", WAIT, || async {
        let versions: Vec<_> = people.iter().map(|person| person.tally().versions).collect();
        if versions.windows(2).all(|pair| pair[0] == pair[1]) { Ok(()) } else { Err(format!("{versions:?}")) }
    })
    .await?;
    let newest: BTreeMap<_, _> = people[0].tally().versions;
    for person in people {
        let tally = person.leave().await;
        ensure!(tally.defects.is_empty(), "{:?}", tally.defects);
    }
    for gateway in test.cluster.gateways() {
        let address = test.cluster.gateway_address(&gateway)?;
        for room in rooms {
            let source = format!("gateway {gateway}");
            let mut pages = rest::whole_history(address, &reader.access_token, *room, &source).await?;
            pages.version = newest.get(room).copied().context("a version")?;
            test.recorder.history().finals.push(pages);
        }
    }
    let history = test.recorder.history().clone();
    let violations = oracle::check(&history);
    let listed: Vec<String> = violations.iter().take(20).map(ToString::to_string).collect();
    ensure!(violations.is_empty(), "{} violations:\n{}", violations.len(), listed.join("\n"));
    ensure!(history.closes.is_empty(), "sockets closed although only replicas stopped: {:?}", history.closes);
    test.recorder
        .mark(format!("judged {} sends: nothing lost, doubled or out of order", history.sends.len()));
    Ok(())
}

// ---- linearizability ----

/// Messages that are edited: one register each.
const REGISTERS: u64 = 6;
/// Sockets of the one user who wrote them.
const WRITERS: usize = 4;
/// Readers at the replicas.
const READERS: usize = 3;
/// Calls judged of one register or head. The checker is linear in them as long as few overlap; this bounds the long form.
const CALLS_PER_PARTITION_MAX: usize = 20_000;

/// Reads that are linearizable, asked of whichever replica grants them.
struct StrictReader {
    cluster: String,
    channels: Vec<Channel>,
    turn: usize,
    user: u64,
    session: Uuid,
}

impl StrictReader {
    fn new(test: &TestCluster, grant: &SessionGrant, turn: usize) -> anyhow::Result<Self> {
        let channels = (1..=test.cluster.replicas()).map(|id| {
            let address = test.cluster.plan().replica_grpc(id);
            let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
            anyhow::Ok(endpoint.connect_timeout(Duration::from_millis(150)).timeout(READ_WAIT).connect_lazy())
        });
        Ok(Self {
            cluster: test.cluster.id().to_owned(),
            channels: channels.collect::<anyhow::Result<_>>()?,
            turn,
            user: grant.user.id,
            session: grant.session.parse()?,
        })
    }

    /// `None` when the replica whose turn it is did not answer: a read has no effect, so it counts for nothing.
    async fn read(&mut self, query: read_request::Query) -> anyhow::Result<Option<read_response::Result>> {
        let place = self.turn % self.channels.len();
        let mut request = tonic::Request::new(ReadRequest {
            min_index: 0,
            linearizable: true,
            user_id: self.user,
            session_id: self.session.as_bytes().to_vec().into(),
            query: Some(query),
        });
        request.metadata_mut().insert(CLUSTER_METADATA, self.cluster.parse()?);
        let mut client = ChatClient::new(self.channels[place].clone());
        let answer = tokio::time::timeout(READ_WAIT, client.read(request)).await;
        match answer {
            Ok(Ok(response)) => Ok(response.into_inner().result),
            _ => {
                // Another may lead.
                self.turn += 1;
                Ok(None)
            }
        }
    }

    async fn register(
        &mut self,
        conversation_id: u64,
        sequence: u64,
    ) -> anyhow::Result<Option<(u64, String)>> {
        let from = Some(history_query::From::After(sequence - 1));
        let query = HistoryQuery { conversation_id, limit: 1, from };
        match self.read(read_request::Query::History(query)).await? {
            None => Ok(None),
            Some(read_response::Result::History(mut page)) if page.messages.len() == 1 => {
                match page.messages.remove(0).kind {
                    Some(event::Kind::Message(message)) if message.sequence == sequence => {
                        Ok(Some((message.revision, message.text)))
                    }
                    other => bail!("no message: {other:?}"),
                }
            }
            Some(other) => bail!("no page of one message: {other:?}"),
        }
    }

    async fn head(&mut self, conversation_id: u64) -> anyhow::Result<Option<u64>> {
        match self.read(read_request::Query::Conversation(ConversationQuery { conversation_id })).await? {
            None => Ok(None),
            Some(read_response::Result::Conversation(summary)) => Ok(Some(summary.sequence)),
            Some(other) => bail!("no summary: {other:?}"),
        }
    }
}

/// What one client did, by what it did it to.
#[derive(Default)]
struct Calls {
    registers: BTreeMap<u64, Vec<Timed<RegisterCall>>>,
    heads: Vec<Timed<HeadCall>>,
}

impl Calls {
    fn take(&mut self, other: Self) {
        for (register, calls) in other.registers {
            self.registers.entry(register).or_default().extend(calls);
        }
        self.heads.extend(other.heads);
    }
}

/// Edits registers in turn by the revision it saw last, until told to stop.
async fn write_registers(
    mut asker: Asker,
    room: ConversationId,
    place: usize,
    recorder: Recorder,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Calls> {
    let mut calls = Calls::default();
    let mut revisions = BTreeMap::<u64, u64>::new();
    let mut count = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        count += 1;
        let register = (count * 7 + place as u64) % REGISTERS + 1;
        let expected = revisions.get(&register).copied().unwrap_or(0);
        let text = format!("{place}-{count}");
        let invoked = recorder.now();
        let answer = asker.ask(edit(room, register, &text, Some(expected))).await;
        let (returned, call) = match answer {
            Ok(Ok(ack)) => {
                let revision = ack.revision.context("an edit's ack has its revision")?;
                revisions.insert(register, revision);
                (Some(recorder.now()), RegisterCall::Set(expected, revision, text))
            }
            Ok(Err(error)) if error.code == ErrorCode::Conflict => {
                let found = error.revision.context("a conflict says what is there")?;
                revisions.insert(register, found);
                (Some(recorder.now()), RegisterCall::Conflict(expected, found))
            }
            Ok(Err(error)) => bail!("an edit was refused: {error:?}"),
            Err(_) => (None, RegisterCall::Unknown(expected, text)),
        };
        calls.registers.entry(register).or_default().push(Timed { invoked, returned, call });
    }
    Ok(calls)
}

/// Sends into the other room, until told to stop.
async fn write_heads(
    mut asker: Asker,
    room: ConversationId,
    recorder: Recorder,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Calls> {
    let mut calls = Calls::default();
    while !stop.load(Ordering::Relaxed) {
        let invoked = recorder.now();
        let (returned, call) = match asker.ask(send(room, "next")).await {
            Ok(Ok(ack)) => (Some(recorder.now()), HeadCall::Sent(ack.sequence.context("a sequence")?)),
            Ok(Err(error)) => bail!("a send was refused: {error:?}"),
            Err(_) => (None, HeadCall::Unknown),
        };
        calls.heads.push(Timed { invoked, returned, call });
    }
    Ok(calls)
}

async fn read_all(
    mut reader: StrictReader,
    edited: ConversationId,
    sent: ConversationId,
    recorder: Recorder,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Calls> {
    let mut calls = Calls::default();
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        count += 1;
        let register = count % (REGISTERS + 1);
        let invoked = recorder.now();
        if register == 0 {
            if let Some(head) = reader.head(sent).await? {
                let returned = Some(recorder.now());
                calls.heads.push(Timed { invoked, returned, call: HeadCall::Read(head) });
            }
        } else if let Some((revision, text)) = reader.register(edited, register).await? {
            let returned = Some(recorder.now());
            // Before the first edit the model's text is empty.
            let text = if revision == 0 { String::new() } else { text };
            let timed = Timed { invoked, returned, call: RegisterCall::Read(revision, text) };
            calls.registers.entry(register).or_default().push(timed);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(calls)
}

fn judge<M: Model>(
    what: &str,
    calls: Vec<Timed<M::Call>>,
    forget: impl Fn(M::Call) -> Option<M::Call>,
) -> anyhow::Result<usize>
where
    M::Call: std::fmt::Debug,
{
    let calls = linear::beginning(calls, CALLS_PER_PARTITION_MAX, forget);
    match linear::check::<M>(&calls) {
        Verdict::Linearizable => Ok(calls.len()),
        Verdict::Violation(place) => {
            let around = &calls[place.saturating_sub(12)..(place + 12).min(calls.len())];
            bail!("{what} is not linearizable at {:?}, among {around:#?}", calls[place]);
        }
        Verdict::Unknown => bail!("{what}: too many calls overlap to say, which is no pass"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_and_heads_are_linearizable_while_leaders_are_killed() -> anyhow::Result<()> {
    let test = TestCluster::start("linearizable").await?;
    let result = linearizable(&test).await;
    test.finish(result).await
}

async fn linearizable(test: &TestCluster) -> anyhow::Result<()> {
    let kills = std::env::var("QUORATE_LINEARIZABLE_KILLS").ok().and_then(|text| text.parse().ok());
    let kills: usize = kills.unwrap_or(3);
    let front = test.cluster.front();
    let grant = rest::sign_up(front, "writer").await?;
    let edited = load::make_group(front, "edited", &[&grant]).await?;
    let sent = load::make_group(front, "sent", &[&grant]).await?;
    let mut asker = Asker::new(front, &grant);
    for _ in 0..REGISTERS {
        asker.ask(send(edited, "zero")).await?.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    }
    wait_until("machine version 2", WAIT, || async {
        let versions = versions(test).await;
        if versions.iter().all(|version| *version >= 2) { Ok(()) } else { Err(format!("{versions:?}")) }
    })
    .await?;

    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for place in 0..WRITERS {
        let (recorder, stop) = (test.recorder.clone(), stop.clone());
        clients.spawn(write_registers(Asker::new(front, &grant), edited, place, recorder, stop));
    }
    for _ in 0..2 {
        clients.spawn(write_heads(Asker::new(front, &grant), sent, test.recorder.clone(), stop.clone()));
    }
    for place in 0..READERS {
        let reader = StrictReader::new(test, &grant, place)?;
        clients.spawn(read_all(reader, edited, sent, test.recorder.clone(), stop.clone()));
    }
    let mut terms = Vec::new();
    for kill in 1..=kills {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let (victim, term) = wait_until("a leader", WAIT, || test.cluster.leader()).await?;
        test.cluster.kill(&Member::Replica(victim)).await?;
        test.recorder.mark(format!("killed leader {victim} of term {term} ({kill} of {kills})"));
        let (_, new) = wait_until("another leader", WAIT, || async {
            let (leader, new) = test.cluster.leader().await?;
            if new > term { Ok((leader, new)) } else { Err(format!("{leader} leads in term {new}")) }
        })
        .await?;
        terms.push(new);
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        test.cluster.start_member(&Member::Replica(victim))?;
    }
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    stop.store(true, Ordering::Relaxed);
    let mut calls = Calls::default();
    while let Some(done) = clients.join_next().await {
        calls.take(done??);
    }
    test.recorder.mark(format!("the clients have stopped, terms {terms:?}"));

    let sets = calls.registers.values().flatten().filter(|timed| matches!(timed.call, RegisterCall::Set(..)));
    let conflicts =
        calls.registers.values().flatten().filter(|timed| matches!(timed.call, RegisterCall::Conflict(..)));
    let reads =
        calls.registers.values().flatten().filter(|timed| matches!(timed.call, RegisterCall::Read(..)));
    let seen = [sets.count(), conflicts.count(), reads.count(), calls.heads.len()];
    ensure!(seen.iter().all(|count| *count >= 50), "sets, conflicts, reads, heads: too few of {seen:?}");
    let mut judged = 0;
    for (register, calls) in calls.registers {
        judged += judge::<Register>(&format!("register {register}"), calls, RegisterCall::forget)?;
    }
    judged += judge::<Head>("the head", calls.heads, HeadCall::forget)?;
    test.recorder
        .mark(format!("judged {judged} calls (sets, conflicts, reads, heads: {seen:?}): linearizable"));
    states_agree(test, "at the end").await
}

// ---- the membership as a register ----

/// An operator's call; the replica gives up before.
const CHANGE_WAIT: Duration = Duration::from_secs(20);
/// The leader dies so long after two operators began: in the middle of it.
const KILL_AFTER: Duration = Duration::from_millis(15);
/// Reads that the run must have made, or it proves little.
const MEMBER_READS_MIN: usize = 20;

/// An operator's words to whoever leads. `None`: surely nothing came of it, ask again.
async fn tell_leader(
    test: &TestCluster,
    change: Result<ReplaceRequest, PromoteRequest>,
) -> anyhow::Result<Option<member_response::Result>> {
    let Ok((leading, _)) = test.cluster.leader().await else { return Ok(None) };
    let mut client = OperatorClient::new(test.channel(leading, Role::Operator)?);
    let cluster: MetadataValue<_> = test.cluster.id().parse()?;
    let asked = async {
        match change {
            Ok(replace) => {
                let mut request = tonic::Request::new(replace);
                request.metadata_mut().insert(CLUSTER_METADATA, cluster);
                client.replace(request).await
            }
            Err(promote) => {
                let mut request = tonic::Request::new(promote);
                request.metadata_mut().insert(CLUSTER_METADATA, cluster);
                client.promote(request).await
            }
        }
    };
    let unknown = member_response::Result::Unknown;
    Ok(match tokio::time::timeout(CHANGE_WAIT, asked).await {
        Ok(Ok(response)) => response.into_inner().result,
        Ok(Err(status)) => Some(unknown(status.message().to_owned())),
        Err(_) => Some(unknown("no answer in time".to_owned())),
    })
}

/// Replaces a voter, and says every attempt's fate, until it is done or the voter is none any more.
async fn replace_voter(test: &TestCluster, old: u64, new: u64) -> anyhow::Result<Vec<Timed<VotersCall>>> {
    let mut calls = Vec::new();
    let began = tokio::time::Instant::now();
    loop {
        ensure!(began.elapsed() < WAIT, "replica {old} is not replaced by {new} after {WAIT:?}: {calls:?}");
        let invoked = test.recorder.now();
        let answer = tell_leader(test, Ok(ReplaceRequest { old_id: old, new_id: new })).await?;
        let returned = Some(test.recorder.now());
        let (call, done) = match answer {
            Some(member_response::Result::Membership(_)) => (VotersCall::Replaced(old, new), true),
            Some(member_response::Result::Refused(why)) if why.contains("is no voter") => {
                (VotersCall::NoVoter(old), true)
            }
            Some(member_response::Result::Unknown(_)) => (VotersCall::Unknown(old, new), false),
            // Surely not made.
            _ => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let returned = if matches!(call, VotersCall::Unknown(..)) { None } else { returned };
        calls.push(Timed { invoked, returned, call });
        if done {
            return Ok(calls);
        }
    }
}

/// Reads who votes until told to stop: giving a vote to who has one changes nothing and answers with what is.
async fn read_voters(test: &TestCluster, stop: &AtomicBool) -> anyhow::Result<Vec<Timed<VotersCall>>> {
    let mut calls = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let invoked = test.recorder.now();
        let answer = tell_leader(test, Err(PromoteRequest { id: 1 })).await?;
        if let Some(member_response::Result::Membership(StoredMembership { membership: Some(now), .. })) =
            answer
        {
            ensure!(now.voters.len() == 1, "half of a change was read: {now:?}");
            let voters = now.voters.into_iter().flat_map(|set| set.node_ids).collect();
            let returned = Some(test.recorder.now());
            calls.push(Timed { invoked, returned, call: VotersCall::Read(voters) });
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    Ok(calls)
}

#[tokio::test(flavor = "multi_thread")]
async fn membership_changes_are_linearizable_while_leaders_are_killed() -> anyhow::Result<()> {
    let test = TestCluster::start("linearizable-members").await?;
    let result = linearizable_members(&test).await;
    test.finish(result).await
}

async fn linearizable_members(test: &TestCluster) -> anyhow::Result<()> {
    let mut newcomers = Vec::new();
    for _ in 0..4 {
        let new = test.cluster.start_newcomer().await?;
        let (id, address) = (new.to_string(), test.cluster.replica_grpc(new)?.to_string());
        test.cluster.operate(&["member", "add", "--id", &id, "--address", &address, "--wait"]).await?;
        newcomers.push(u64::from(new));
    }
    let mut calls = Vec::new();
    for (round, victim) in [3, 4, 5].into_iter().enumerate() {
        // Who dies is none of those that are replaced.
        let leading = u16::try_from(round % 2 + 1)?;
        wait_until("the leader that is to die", WAIT, || async {
            let to = leading.to_string();
            let said = test.cluster.operate(&["member", "transfer-leader", "--to", &to]).await;
            said.map_err(|error| error.to_string())?;
            let (now, _) = test.cluster.leader().await?;
            if now == leading { Ok(()) } else { Err(format!("{now} leads")) }
        })
        .await?;
        let stop = AtomicBool::new(false);
        let both = async {
            let (one, other) = tokio::join!(
                replace_voter(test, victim, newcomers[0]),
                replace_voter(test, victim, newcomers[1])
            );
            // One more look at the end.
            tokio::time::sleep(Duration::from_millis(200)).await;
            stop.store(true, Ordering::Relaxed);
            anyhow::Ok([one?, other?].concat())
        };
        let kill = async {
            tokio::time::sleep(KILL_AFTER).await;
            test.cluster.kill(&Member::Replica(leading)).await?;
            test.recorder.mark(format!("killed {leading} while two replace {victim}"));
            tokio::time::sleep(Duration::from_millis(500)).await;
            test.cluster.start_member(&Member::Replica(leading))?;
            anyhow::Ok(())
        };
        let (made, killed, read, more) =
            tokio::join!(both, kill, read_voters(test, &stop), read_voters(test, &stop));
        killed?;
        let made = made?;
        let winner = made.iter().find_map(|timed| match timed.call {
            VotersCall::Replaced(_, new) => Some(new),
            _ => None,
        });
        let winner = winner.with_context(|| format!("nobody replaced {victim}: {made:?}"))?;
        newcomers.retain(|id| *id != winner);
        calls.extend([made, read?, more?].into_iter().flatten());
        test.cluster.dismiss(u16::try_from(victim)?).await?;
    }
    let reads = calls.iter().filter(|timed| matches!(timed.call, VotersCall::Read(_))).count();
    let unknown = calls.iter().filter(|timed| matches!(timed.call, VotersCall::Unknown(..))).count();
    ensure!(reads >= MEMBER_READS_MIN, "only {reads} reads of the membership");
    let judged = judge::<Voters>("the membership", calls, VotersCall::forget)?;
    test.recorder
        .mark(format!("judged {judged} calls ({reads} reads, {unknown} of unknown fate): linearizable"));
    Ok(())
}
