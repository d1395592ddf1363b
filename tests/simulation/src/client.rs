//! The clients: who writes, who reads along, who reads linearizably. They speak the replicas' own gRPC as a gateway does.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use quorate_proto::ids::{ConversationId, Version};
use quorate_proto::rpc::chat_client::ChatClient;
use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::read_request::Query;
use quorate_proto::rpc::read_response::Result as Answer;
use quorate_proto::rpc::{
    self, Command, Event, FeedRequest, Outcome, ReadRequest, ReadResponse, SubmitBatch, SubmitItem,
    SubmitResults, Topic, failure, outcome, submit_result, topic,
};
use quorate_replica::node::Identity;
use quorate_tests::history::{Fate, FinalPages};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::net::{self, HostId};
use crate::scene::{Scene, User, row};
use crate::violation;
use crate::world::CLUSTER;

/// How long an answer to a command is waited for at one replica.
const ANSWER_WAIT: Duration = Duration::from_millis(1_500);
/// How long a stream or a read may take.
const CALL_WAIT: Duration = Duration::from_millis(1_000);
/// A feed that says nothing for this long is left.
const FEED_SILENCE: Duration = Duration::from_millis(300);
/// A replica that has not heard from a leader for this long is left for another, if there is one.
const STALE_MS: u64 = 400;

type Client = ChatClient<InterceptedService<Channel, Identity>>;

/// A gateway's connections, shared by the tasks that run there.
#[derive(Clone)]
pub struct Api {
    clients: Vec<Client>,
}

impl Api {
    /// To be made on the gateway's own host.
    pub fn new(gateway: HostId, replicas: u64) -> Self {
        let own = Identity::new(CLUSTER, gateway).expect("the cluster's id is ASCII");
        let client = |id| {
            let channel = own.channel(&net::address(id)).expect("simulated addresses are good ones");
            ChatClient::with_interceptor(channel, own.clone())
        };
        Self { clients: (1..=replicas).map(client).collect() }
    }

    fn replicas(&self) -> u64 {
        self.clients.len() as u64
    }

    fn at(&self, id: HostId) -> Client {
        let place = usize::try_from(id.saturating_sub(1)).unwrap_or(0) % self.clients.len();
        self.clients[place].clone()
    }

    async fn read(&self, at: HostId, request: ReadRequest) -> Option<ReadResponse> {
        let mut client = self.at(at);
        match timeout(CALL_WAIT * 3, client.read(request)).await {
            Ok(Ok(response)) => Some(response.into_inner()),
            _ => None,
        }
    }
}

/// One client that sends commands, one at a time, until each is decided.
struct Submitter {
    api: Api,
    rng: SmallRng,
    target: HostId,
    stream: Option<(mpsc::Sender<SubmitBatch>, Streaming<SubmitResults>)>,
    next_request: u64,
}

impl Submitter {
    fn new(api: Api, seed: u64) -> Self {
        Self { api, rng: SmallRng::seed_from_u64(seed), target: 1, stream: None, next_request: 1 }
    }

    async fn submit(&mut self, scene: &Scene, command: &Command) -> Outcome {
        let bytes = Bytes::from(command.encode_to_vec());
        loop {
            match self.attempt(bytes.clone()).await {
                Some(submit_result::Result::Outcome(outcome)) => return outcome,
                Some(submit_result::Result::Failure(failed)) => {
                    if failed.kind() == failure::Kind::Malformed {
                        scene.wrong(violation::REFUSED, "a good command was called malformed".to_owned());
                    }
                    if failed.kind() != failure::Kind::Overloaded {
                        self.stream = None;
                        let hinted = failed.leader_id != 0 && self.rng.random_bool(0.9);
                        self.target = if hinted {
                            failed.leader_id
                        } else {
                            self.rng.random_range(1..=self.api.replicas())
                        };
                    }
                }
                None => {
                    self.stream = None;
                    self.target = self.target % self.api.replicas() + 1;
                }
            }
            sleep(Duration::from_millis(self.rng.random_range(5..60))).await;
        }
    }

    async fn attempt(&mut self, command: Bytes) -> Option<submit_result::Result> {
        if self.stream.is_none() {
            let (out, batches) = mpsc::channel(4);
            let mut client = self.api.at(self.target);
            let opened = timeout(CALL_WAIT, client.submit(ReceiverStream::new(batches))).await;
            self.stream = Some((out, opened.ok()?.ok()?.into_inner()));
        }
        let (out, answers) = self.stream.as_mut()?;
        let request_id = self.next_request;
        self.next_request += 1;
        out.send(SubmitBatch { items: vec![SubmitItem { request_id, command, traceparent: String::new() }] })
            .await
            .ok()?;
        let wait = timeout(ANSWER_WAIT, async {
            loop {
                let results = answers.next().await?.ok()?;
                for item in results.items {
                    if item.request_id == request_id {
                        return item.result;
                    }
                }
            }
        });
        wait.await.ok()?
    }
}

fn command(rng: &mut SmallRng, by: Option<&User>, action: Action) -> Command {
    let id = Uuid::from_u128(rng.random());
    Command {
        user_id: by.map_or(0, |user| user.id),
        session_id: by.map_or_else(Bytes::new, |user| user.session.clone()),
        command_id: Bytes::copy_from_slice(id.as_bytes()),
        first_sent_ms: 0,
        action: Some(action),
    }
}

/// Signs everybody up and makes the rooms.
pub async fn set_the_scene(api: Api, scene: Scene, seed: u64, users: usize, rooms: usize) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut submitter = Submitter::new(api, rng.random());
    let mut made: Vec<User> = Vec::new();
    for number in 0..users {
        let create = rpc::CreateUser {
            name: format!("user{number}"),
            display_name: format!("User {number}"),
            password_phc: "$argon2id$".to_owned(),
        };
        let create = command(&mut rng, None, Action::CreateUser(create));
        let outcome = submitter.submit(&scene, &create).await;
        let Some(outcome::Result::User(created)) = outcome.result else {
            return scene.wrong(violation::REFUSED, format!("a sign-up was refused: {outcome:?}"));
        };
        let session = Bytes::copy_from_slice(&rng.random::<u128>().to_be_bytes());
        let begin = rpc::CreateSession {
            user_id: created.user_id,
            session_id: session.clone(),
            refresh_hash: vec![1; 32].into(),
            device: "simulated".to_owned(),
            ..rpc::CreateSession::default()
        };
        let begin = command(&mut rng, None, Action::CreateSession(begin));
        let outcome = submitter.submit(&scene, &begin).await;
        if matches!(outcome.result, Some(outcome::Result::Rejected(_))) {
            return scene.wrong(violation::REFUSED, format!("a session was refused: {outcome:?}"));
        }
        made.push(User { id: created.user_id, session });
    }
    let mut conversations = Vec::new();
    let mut newest_index = 0;
    for room in 0..rooms {
        let member_ids = made.iter().skip(1).map(|user| user.id).collect();
        let create = rpc::CreateGroup { title: format!("room {room}"), member_ids, ..Default::default() };
        let create = command(&mut rng, made.first(), Action::CreateGroup(create));
        let outcome = submitter.submit(&scene, &create).await;
        let Some(outcome::Result::Conversation(ready)) = outcome.result else {
            return scene.wrong(violation::REFUSED, format!("a room was refused: {outcome:?}"));
        };
        conversations.push(ready.conversation_id);
        newest_index = outcome.index;
    }
    {
        let mut seen = scene.seen();
        seen.users = made;
        seen.conversations = conversations;
        seen.newest_index = seen.newest_index.max(newest_index);
    }
    scene.set_ready();
}

async fn until_ready(scene: &Scene) {
    while !scene.is_ready() {
        sleep(Duration::from_millis(10)).await;
    }
}

/// One acknowledged send, to be repeated.
struct Acked {
    command: Command,
    sequence: u64,
    version: u64,
    index: u64,
}

/// Remembered acknowledged sends of one writer.
const ACKED_MAX: usize = 64;

/// Writes until it is quiet, one message at a time, and now and then repeats what was acknowledged.
pub async fn write(api: Api, scene: Scene, seed: u64, number: usize) {
    until_ready(&scene).await;
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut submitter = Submitter::new(api, rng.random());
    let (user, rooms) = {
        let seen = scene.seen();
        (seen.users[number].clone(), seen.conversations.clone())
    };
    let mut acked: Vec<Acked> = Vec::new();
    let mut count = 0;
    while !scene.is_quiet() {
        sleep(Duration::from_millis(rng.random_range(10..90))).await;
        if !acked.is_empty() && rng.random_bool(0.05) {
            repeat(&scene, &mut submitter, &acked[rng.random_range(0..acked.len())]).await;
            continue;
        }
        count += 1;
        let conversation = rooms[rng.random_range(0..rooms.len())];
        let text = format!("user {number} says {count}");
        let send = rpc::Send { conversation_id: conversation, text: text.clone(), ..rpc::Send::default() };
        let send = command(&mut rng, Some(&user), Action::Send(send));
        let id = Uuid::from_slice(&send.command_id).unwrap_or_default();
        let place = scene.sent(id, user.id, conversation, text);
        let outcome = submitter.submit(&scene, &send).await;
        match &outcome.result {
            Some(outcome::Result::Message(message)) => {
                let (sequence, version) = (message.sequence, message.version);
                let (index, term) = (outcome.index, outcome.term);
                let fate = Fate::Acked { at: scene.now(), sequence, version, index, term };
                scene.acked(place, number, fate);
                if acked.len() < ACKED_MAX {
                    acked.push(Acked { command: send, sequence, version, index });
                }
            }
            other => scene.wrong(violation::REFUSED, format!("a member's message was refused: {other:?}")),
        }
    }
}

/// The same command once more: the answer must be the same, and say that it is a replay.
async fn repeat(scene: &Scene, submitter: &mut Submitter, acked: &Acked) {
    let outcome = submitter.submit(scene, &acked.command).await;
    scene.seen().replays += 1;
    let same = match &outcome.result {
        Some(outcome::Result::Message(message)) => {
            outcome.replay
                && (message.sequence, message.version, outcome.index)
                    == (acked.sequence, acked.version, acked.index)
        }
        _ => false,
    };
    if !same {
        scene.wrong(violation::REPLAY, format!("a replay was answered otherwise than first: {outcome:?}"));
    }
}

fn conversation_topic(id: ConversationId) -> Topic {
    Topic { kind: topic::Kind::Conversation.into(), id }
}

/// One who reads along by the feed, as a gateway does for a session.
struct Follower {
    api: Api,
    scene: Scene,
    rng: SmallRng,
    reader: usize,
    rooms: Vec<ConversationId>,
    user: User,
    versions: BTreeMap<ConversationId, Version>,
    /// Everything up to here was given.
    position: u64,
    /// The newest that was given: no replica that is behind it may be asked what came next.
    newest: u64,
}

/// Reads everything by the feed of one replica or another.
pub async fn follow(api: Api, scene: Scene, seed: u64, name: String) {
    until_ready(&scene).await;
    let mut rng = SmallRng::seed_from_u64(seed);
    let reader = scene.reader(name);
    let (rooms, user, newest) = {
        let seen = scene.seen();
        let user = seen.users[rng.random_range(0..seen.users.len())].clone();
        // From here on every replica knows the rooms.
        (seen.conversations.clone(), user, seen.newest_index)
    };
    let versions = rooms.iter().map(|id| (*id, 0)).collect();
    let mut follower = Follower { api, scene, rng, reader, rooms, user, versions, position: 0, newest };
    loop {
        let at = follower.rng.random_range(1..=follower.api.replicas());
        let _ended = follower.session(at).await;
        sleep(Duration::from_millis(follower.rng.random_range(5..60))).await;
    }
}

impl Follower {
    /// Gives an event to the reader, unless she has it: an event may come by feed and by reading.
    fn give(&mut self, event: &Event) {
        let Some(topic) = &event.topic else { return };
        let last = self.versions.entry(topic.id).or_default();
        if event.version <= *last {
            return;
        }
        *last = event.version;
        self.newest = self.newest.max(event.index);
        self.scene.delivered(self.reader, event);
    }

    async fn session(&mut self, at: HostId) -> Option<()> {
        let mut client = self.api.at(at);
        let (out, requests) = mpsc::channel(4);
        let opened = timeout(CALL_WAIT, client.feed(ReceiverStream::new(requests))).await;
        let mut frames = opened.ok()?.ok()?.into_inner();
        let add = self.rooms.iter().map(|id| conversation_topic(*id)).collect();
        out.send(FeedRequest { add, ..FeedRequest::default() }).await.ok()?;
        let mut complete_from = None;
        while complete_from.is_none() {
            let frame = timeout(FEED_SILENCE, frames.next()).await.ok()??.ok()?;
            complete_from = frame.ready.iter().map(|ready| ready.complete_from_index).max();
            // Nothing is followed before the topics are ready.
        }
        let complete_from = complete_from.unwrap_or(0);
        let index = complete_from.max(self.position).max(self.newest);
        if self.position > 0 && self.rng.random_bool(0.5) {
            self.resume(at, index).await?;
        } else {
            self.fill(at, index).await?;
        }
        self.position = self.position.max(complete_from);
        loop {
            let frame = timeout(FEED_SILENCE, frames.next()).await.ok()??.ok()?;
            for event in &frame.events {
                self.give(event);
            }
            let progress = frame.progress?;
            self.position = self.position.max(progress.applied_index);
            if progress.leader_contact_ms > STALE_MS || self.rng.random_bool(0.005) {
                return None;
            }
        }
    }

    fn request(&self, as_user: bool, min_index: u64, query: Query) -> ReadRequest {
        ReadRequest {
            min_index,
            linearizable: false,
            user_id: if as_user { self.user.id } else { 0 },
            session_id: if as_user { self.user.session.clone() } else { Bytes::new() },
            query: Some(query),
        }
    }

    /// What a session that comes back is given.
    async fn resume(&mut self, at: HostId, index: u64) -> Option<()> {
        let query = rpc::OpenQuery { after_index: Some(self.position), events_max: 1_000 };
        let answer = self.api.read(at, self.request(true, index, Query::Open(query))).await?;
        let Some(Answer::Open(opened)) = answer.result else {
            self.scene
                .wrong(violation::REFUSED, format!("a session could not be resumed: {:?}", answer.result));
            return None;
        };
        if !opened.resumed {
            return self.fill(at, index).await;
        }
        self.scene.seen().resumed += 1;
        for event in &opened.events {
            if event.topic.as_ref().is_some_and(|topic| topic.kind() == topic::Kind::Conversation) {
                self.give(event);
            }
        }
        Some(())
    }

    /// Reads what came before the feed was complete.
    async fn fill(&mut self, at: HostId, index: u64) -> Option<()> {
        loop {
            let pair = |(id, version): (&u64, &u64)| rpc::SincePair {
                topic: Some(conversation_topic(*id)),
                version: *version,
            };
            let query = rpc::SinceQuery { pairs: self.versions.iter().map(pair).collect(), limit: 0 };
            let answer = self.api.read(at, self.request(false, index, Query::Since(query))).await?;
            let Some(Answer::Since(since)) = answer.result else {
                self.scene.wrong(violation::REFUSED, format!("since was refused: {:?}", answer.result));
                return None;
            };
            let mut more = false;
            for page in &since.pages {
                if page.reset {
                    self.scene.wrong(
                        violation::KNOWS_LESS,
                        format!("replica {at} at index {} knows less than was seen", answer.as_of_index),
                    );
                    return None;
                }
                more |= page.more;
                for event in &page.events {
                    self.give(event);
                }
            }
            if !more {
                return Some(());
            }
        }
    }
}

/// Reads linearizably: never older than what anybody had seen before the read began.
pub async fn read_linearizably(api: Api, scene: Scene, seed: u64) {
    until_ready(&scene).await;
    let mut rng = SmallRng::seed_from_u64(seed);
    let (users, rooms) = {
        let seen = scene.seen();
        (seen.users.clone(), seen.conversations.clone())
    };
    while !scene.is_quiet() {
        sleep(Duration::from_millis(rng.random_range(5..50))).await;
        let room = rooms[rng.random_range(0..rooms.len())];
        let user = &users[rng.random_range(0..users.len())];
        let floor = scene.seen().floors.get(&room).copied().unwrap_or(0);
        let at = rng.random_range(1..=api.replicas());
        let request = ReadRequest {
            min_index: 0,
            linearizable: true,
            user_id: user.id,
            session_id: user.session.clone(),
            query: Some(Query::Conversation(rpc::ConversationQuery { conversation_id: room, marks: false })),
        };
        let Some(answer) = api.read(at, request).await else { continue };
        let Some(Answer::Conversation(summary)) = answer.result else {
            scene.wrong(
                violation::STALE_READ,
                format!("a linearizable read knows nothing of room {room}: {:?}", answer.result),
            );
            continue;
        };
        let mut seen = scene.seen();
        seen.linear_reads += 1;
        let floor_now = seen.floors.entry(room).or_default();
        *floor_now = (*floor_now).max(summary.sequence);
        drop(seen);
        if summary.sequence < floor {
            scene.wrong(violation::STALE_READ, format!(
                "a stale linearizable read: replica {at} says {} of room {room}, {floor} was known before",
                summary.sequence
            ));
        }
    }
}

/// Reads every room whole at one replica, at the newest index.
pub async fn read_all(api: Api, scene: Scene, at: HostId) {
    let (rooms, user, index) = {
        let seen = scene.seen();
        (seen.conversations.clone(), seen.users[0].clone(), seen.newest_index)
    };
    for room in rooms {
        let request = |query| ReadRequest {
            min_index: index,
            linearizable: false,
            user_id: user.id,
            session_id: user.session.clone(),
            query: Some(query),
        };
        let mut pages =
            FinalPages { source: format!("replica {at}"), conversation: room, version: 0, rows: Vec::new() };
        let mut after = 0;
        loop {
            let query = rpc::HistoryQuery {
                conversation_id: room,
                limit: 100,
                from: Some(rpc::history_query::From::After(after)),
                ..rpc::HistoryQuery::default()
            };
            let Some(answer) = api.read(at, request(Query::History(query))).await else {
                return scene.wrong(violation::STUCK, format!("replica {at} did not answer at the end"));
            };
            let Some(Answer::History(page)) = answer.result else {
                return scene.wrong(
                    violation::KNOWS_LESS,
                    format!("replica {at} has no room {room}: {:?}", answer.result),
                );
            };
            pages.rows.extend(page.messages.iter().filter_map(row));
            let Some(last) = pages.rows.last() else { break };
            if !page.more_after || last.sequence <= after {
                break;
            }
            after = last.sequence;
        }
        let query = rpc::ConversationQuery { conversation_id: room, marks: false };
        let answer = api.read(at, request(Query::Conversation(query))).await;
        if let Some(Answer::Conversation(summary)) = answer.and_then(|answer| answer.result) {
            pages.version = summary.version;
        }
        scene.seen().history.finals.push(pages);
    }
    scene.seen().final_pages += 1;
}
