//! Messages that are edited by compare-and-set, and the heads of conversations, as registers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use quorate_cluster::{Member, wait_until};
use quorate_proto::CLUSTER_METADATA;
use quorate_proto::error::ErrorCode;
use quorate_proto::ids::ConversationId;
use quorate_proto::rest::SessionGrant;
use quorate_proto::rpc::chat_client::ChatClient;
use quorate_proto::rpc::{
    ConversationQuery, HistoryQuery, ReadRequest, event, history_query, read_request, read_response,
};
use quorate_tests::client::rest;
use quorate_tests::harness::TestCluster;
use quorate_tests::history::Recorder;
use quorate_tests::linear::{Head, HeadCall, Register, RegisterCall, Timed};
use quorate_tests::load;
use quorate_tests::scene::states_agree;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use super::asker::{Asker, edit, send};
use super::{WAIT, judge, versions};

/// A read at one replica.
const READ_WAIT: Duration = Duration::from_millis(800);

/// Messages that are edited: one register each.
const REGISTERS: u64 = 6;
/// Sockets of the one user who wrote them.
const WRITERS: usize = 4;
/// Readers at the replicas.
const READERS: usize = 3;

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
        let query = HistoryQuery { conversation_id, limit: 1, from, ..HistoryQuery::default() };
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
        match self
            .read(read_request::Query::Conversation(ConversationQuery { conversation_id, marks: false }))
            .await?
        {
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
    states_agree(test).await.context("at the end")
}
