//! Quorate as a system that is measured: a cluster of this run, or one that runs elsewhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use quorate_cluster::process::Send;
use quorate_cluster::{Binaries, Member, wait_until};
use quorate_proto::error::ErrorCode;
use quorate_proto::frame::{Body, Request, SendMessage, ServerFrame};
use quorate_proto::ids::{ClientMessageId, ConversationId};
use quorate_proto::rest::SessionGrant;
use tempfile::TempDir;
use uuid::Uuid;

use super::process;
use super::shape::Write;
use super::thin::Thin;
use crate::client::rest;
use crate::harness::TestCluster;
use crate::load;

/// Replicas of a cluster of this run.
const REPLICAS: u16 = 5;
/// Conversations that writers are spread over.
pub const CONVERSATIONS_MAX: usize = 64;
/// A leader.
const WAIT: Duration = Duration::from_mins(2);
/// A replica that catches up, maybe from nothing but its snapshot and its log.
const CATCH_UP_WAIT: Duration = Duration::from_mins(10);
/// A refused send is tried again after this, when the answer names no time.
const RETRY: Duration = Duration::from_millis(50);
/// A send is tried for so long.
const WRITE_WAIT: Duration = Duration::from_secs(60);
/// Who is signed in for a shorter time than this signs in again before the next row.
const TOKEN_LEFT_MS_MIN: u64 = 8 * 60 * 1_000;

/// What is measured.
#[derive(Debug)]
pub struct Quorate {
    /// Its processes; `None` where it runs elsewhere.
    test: Option<TestCluster>,
    /// Where users come in, in turn.
    fronts: Vec<SocketAddr>,
    people: Vec<SessionGrant>,
    /// Begins all names: a cluster that runs elsewhere may have been measured before.
    tag: String,
    /// What each replica takes for the kernel's boot id: a machine that lost power has another one.
    boots: Option<TempDir>,
}

fn boot_id_file(boots: &Path, id: u16) -> PathBuf {
    boots.join(format!("replica-{id}"))
}

impl Quorate {
    /// A new cluster: five replicas, three gateways that serve this page, the balancer; every limit on how fast anybody may be
    /// lifted.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(
        programs: Binaries,
        keys: &[(&str, i64)],
        page_dir: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let boots = tempfile::Builder::new().prefix("quorate-boots-").tempdir()?;
        let mut own_keys = BTreeMap::new();
        for id in 1..=REPLICAS {
            let file = boot_id_file(boots.path(), id);
            std::fs::write(&file, Uuid::new_v4().to_string())?;
            let mut table = toml::Table::new();
            table.insert("boot_id_file".to_owned(), file.display().to_string().into());
            own_keys.insert(id, table);
        }
        let change = |mut spec: quorate_cluster::Spec| {
            spec.replicas = Some(REPLICAS);
            spec.replica_keys_of = own_keys;
            spec.page_dir = page_dir;
            // Thousands of sessions of a few users.
            spec.gateway_keys.insert("sockets_per_user_max".to_owned(), 0.into());
            for (name, value) in keys {
                spec.replica_keys.insert((*name).to_owned(), (*value).into());
            }
            spec
        };
        let test = TestCluster::prepare_of("bench", programs, change)?.serve().await?.upgraded().await?;
        Ok(Self {
            fronts: vec![test.cluster.front()],
            test: Some(test),
            people: Vec::new(),
            tag: "b".to_owned(),
            boots: Some(boots),
        })
    }

    /// One that runs elsewhere, by the addresses of its balancers or gateways.
    pub fn elsewhere(fronts: Vec<SocketAddr>) -> Self {
        let id = Uuid::new_v4().simple().to_string();
        Self { test: None, fronts, people: Vec::new(), tag: format!("b{}x", &id[..8]), boots: None }
    }

    /// Where users come in.
    pub fn front(&self) -> SocketAddr {
        self.fronts[0]
    }

    /// Begins the names of everybody of this run.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Two ways in that lead to different gateways, where there are any.
    ///
    /// # Errors
    /// When there is no gateway.
    pub fn two_doors(&self) -> anyhow::Result<(SocketAddr, SocketAddr)> {
        match &self.test {
            Some(test) => {
                let names = test.cluster.gateways();
                let (first, last) = (names.first().context("a gateway")?, names.last().context("a gateway")?);
                Ok((test.cluster.gateway_address(first)?, test.cluster.gateway_address(last)?))
            }
            None => Ok((self.front(), *self.fronts.last().context("an address")?)),
        }
    }

    /// The processes.
    ///
    /// # Errors
    /// When they are elsewhere.
    pub fn own(&self) -> anyhow::Result<&TestCluster> {
        self.test.as_ref().context("its processes are not this program's: leave --target out")
    }

    /// So many people, signed in for some minutes at least.
    ///
    /// # Errors
    /// When one cannot sign up or in.
    pub async fn people(&mut self, count: usize) -> anyhow::Result<&[SessionGrant]> {
        // Passwords are hashed where no session is measured.
        let (_, door) = self.two_doors()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let until = u64::try_from(now.as_millis())? + TOKEN_LEFT_MS_MIN;
        for grant in &mut self.people[..] {
            if grant.expires_at < until {
                *grant = rest::sign_in(door, &grant.user.name).await?;
            }
        }
        if self.people.len() < count {
            let missing = count - self.people.len();
            let prefix = format!("{}{}x", self.tag, self.people.len());
            self.people.extend(load::sign_up_many(door, &prefix, missing).await?);
        }
        Ok(&self.people[..count])
    }

    /// So many writers, each a person on a socket of her own through the front, spread over at most 64 conversations.
    ///
    /// # Errors
    /// When one cannot come in.
    pub async fn writers(&mut self, count: usize, bytes: usize) -> anyhow::Result<Vec<Sender>> {
        let (fronts, front) = (self.fronts.clone(), self.front());
        let people = self.people(count).await?;
        let rooms = count.min(CONVERSATIONS_MAX);
        let mut conversations = Vec::new();
        for room in 0..rooms {
            let members: Vec<&SessionGrant> = people.iter().skip(room).step_by(rooms).collect();
            conversations.push(load::make_group(front, &format!("bench {room}"), &members).await?);
        }
        let mut senders = Vec::new();
        for (place, grant) in people.iter().enumerate() {
            let at = fronts[place % fronts.len()];
            senders.push(Sender::open(at, grant, conversations[place % rooms], bytes).await?);
        }
        Ok(senders)
    }

    /// Processor seconds so far of replicas, gateways and balancer; nothing where they are elsewhere.
    ///
    /// # Errors
    /// When they cannot be seen.
    pub fn cpu(&self) -> anyhow::Result<BTreeMap<&'static str, f64>> {
        let Some(test) = &self.test else { return Ok(BTreeMap::new()) };
        let pid = |member: Member| test.cluster.activity(&member).ok().and_then(|(_, pid)| pid);
        let replicas = test.cluster.replica_ids().into_iter().map(Member::Replica).filter_map(pid).collect();
        let gateways = test.cluster.gateways().into_iter().map(Member::Gateway).filter_map(pid).collect();
        let balancer = pid(Member::Balancer).into_iter().collect();
        process::cpu_seconds(&[("replicas", replicas), ("gateways", gateways), ("balancer", balancer)])
    }

    /// The numbers of the replicas' processes.
    ///
    /// # Errors
    /// When they are elsewhere.
    pub fn replica_pids(&self) -> anyhow::Result<Vec<u32>> {
        let cluster = &self.own()?.cluster;
        let ids = cluster.replica_ids().into_iter();
        Ok(ids.filter_map(|id| cluster.activity(&Member::Replica(id)).ok()?.1).collect())
    }

    /// The folders of the replicas.
    ///
    /// # Errors
    /// When they are elsewhere.
    pub fn folders(&self) -> anyhow::Result<Vec<PathBuf>> {
        let cluster = &self.own()?.cluster;
        Ok(cluster.replica_ids().into_iter().map(|id| cluster.layout().replica(id)).collect())
    }

    /// The id of the replica that leads.
    ///
    /// # Errors
    /// When nobody does for long.
    pub async fn leader(&self) -> anyhow::Result<u16> {
        let cluster = &self.own()?.cluster;
        Ok(wait_until("a leader", WAIT, || cluster.leader()).await?.0)
    }

    /// Ends a replica.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn end(&self, id: u16, how: Send) -> anyhow::Result<()> {
        let cluster = &self.own()?.cluster;
        match how {
            Send::Kill => cluster.kill(&Member::Replica(id)).await?,
            _ => cluster.stop(&Member::Replica(id)).await?,
        }
        Ok(())
    }

    /// Ends a replica as the loss of its machine's power does, as far as that can be had without one: killed, everything it keeps
    /// out of the kernel's memory, and started next under another boot, so that it believes nothing that it has not synced.
    ///
    /// # Errors
    /// When it does not end, or its files cannot be had from the disk.
    pub async fn cut_power(&self, id: u16) -> anyhow::Result<()> {
        let boots = self.boots.as_ref().context("its processes are not this program's")?;
        self.end(id, Send::Kill).await?;
        process::forget_cached(&self.own()?.cluster.layout().replica(id))?;
        std::fs::write(boot_id_file(boots.path(), id), Uuid::new_v4().to_string())?;
        Ok(())
    }

    /// What the process of a replica has had read from disks so far, bytes.
    ///
    /// # Errors
    /// When it is not running.
    pub fn disk_read_bytes(&self, id: u16) -> anyhow::Result<u64> {
        let (_, pid) = self.own()?.cluster.activity(&Member::Replica(id))?;
        process::disk_read_bytes(pid.with_context(|| format!("replica {id} is not running"))?)
    }

    /// Starts a replica and waits until it has applied what was committed by then and is ready; how long that took.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn start_again(&self, id: u16) -> anyhow::Result<Duration> {
        let cluster = &self.own()?.cluster;
        let leader = self.leader().await?;
        let commit = cluster.replica_status(leader, 0).await.map_err(anyhow::Error::msg)?.commit_index;
        let began = Instant::now();
        cluster.start_member(&Member::Replica(id))?;
        wait_until("the replica to have caught up", CATCH_UP_WAIT, || async {
            let applied = cluster.replica_status(id, 0).await?.applied_index;
            if applied >= commit { Ok(()) } else { Err(format!("it has applied {applied} of {commit}")) }
        })
        .await?;
        cluster.wait_ready(&Member::Replica(id), WAIT).await?;
        Ok(began.elapsed())
    }

    /// Ends it; after a failure what it left is kept, and the error says where.
    ///
    /// # Errors
    /// The error that was passed in.
    pub async fn finish(self, result: anyhow::Result<()>) -> anyhow::Result<()> {
        match self.test {
            Some(test) => test.finish(result).await,
            None => result,
        }
    }
}

/// Somebody who sends to one conversation.
#[derive(Debug)]
pub struct Sender {
    socket: Thin,
    conversation: ConversationId,
    text: String,
}

impl Sender {
    /// Somebody who comes in here.
    ///
    /// # Errors
    /// When the socket does not open.
    pub async fn open(
        at: SocketAddr,
        grant: &SessionGrant,
        conversation: ConversationId,
        bytes: usize,
    ) -> anyhow::Result<Self> {
        let socket = Thin::open(at, &grant.access_token).await?;
        Ok(Self { socket, conversation, text: "x".repeat(bytes) })
    }

    /// Sends these words instead, until they are acknowledged.
    ///
    /// # Errors
    /// When they are refused, or not acknowledged within a minute.
    pub async fn say(&mut self, words: String) -> anyhow::Result<()> {
        self.text = words;
        self.write().await
    }
}

impl Write for Sender {
    async fn write(&mut self) -> anyhow::Result<()> {
        let message = SendMessage {
            conversation: self.conversation,
            client_message_id: ClientMessageId(Uuid::now_v7()),
            text: self.text.clone(),
            reply_to: None,
            forward: None,
            first_sent: 0,
            attachments: Vec::new(),
        };
        let until = Instant::now() + WRITE_WAIT;
        loop {
            let id = self.socket.request(Request::Send(message.clone())).await?;
            match answer(&mut self.socket, id).await? {
                None => return Ok(()),
                // Else the limiter would be measured.
                Some(Body::Error { error }) if error.code == ErrorCode::RateLimited => {
                    bail!("the gateway limits how fast one may send: lift its limits, as docs/bench.md says")
                }
                Some(Body::Error { error }) if error.temporary => {
                    ensure!(Instant::now() < until, "not acknowledged within {WRITE_WAIT:?}: {error:?}");
                    tokio::time::sleep(error.retry_ms.map_or(RETRY, Duration::from_millis)).await;
                }
                Some(other) => bail!("a send was refused: {other:?}"),
            }
        }
    }
}

/// Waits for the answer to a request; `None` is an ack. Events are passed over without a look, pings answered.
async fn answer(socket: &mut Thin, id: u64) -> anyhow::Result<Option<Body>> {
    let head = format!("{{\"reply\":{id},\"type\":\"");
    loop {
        let text = socket.next().await?;
        if let Some(kind) = text.strip_prefix(head.as_bytes()) {
            if kind.starts_with(b"ack\"") {
                return Ok(None);
            }
            return Ok(Some(serde_json::from_slice::<ServerFrame>(text)?.body));
        }
        if text.starts_with(br#"{"type":"ping""#) {
            let text = text.to_vec();
            socket.pong(&text).await?;
        }
    }
}
