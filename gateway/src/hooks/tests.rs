//! The holder of the lease before a replica that keeps what waits, and servers that are told.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::read_request::Query;
use quorate_proto::rpc::{self, HookItem, HookResult, Rejected, outcome};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::convert::conversation_topic;
use crate::network::Network;
use crate::testing::{Fake, Feed, Submits, tier};

const WAIT: Duration = Duration::from_secs(60);
const SECRET: [u8; 32] = [7; 32];
/// Log time of the tests, ms.
const NOW_MS: u64 = 1_900_000_000_000;

/// What the replica keeps of webhooks.
#[derive(Debug, Default)]
struct Kept {
    hooks: BTreeMap<u64, (String, Vec<HookItem>)>,
    /// Whose bots they are, where that is known.
    owners: BTreeMap<u64, u64>,
    /// Bot, up to which number, why it was given up.
    settled: Vec<(u64, u64, String)>,
    leases: Vec<u32>,
    /// Another has the lease.
    is_others: bool,
    /// The webhook is gone when something is to be settled.
    is_dropped: bool,
}

struct Site {
    tell: Arc<Tell>,
    kept: Arc<Mutex<Kept>>,
    fake: Fake,
    _feeds: mpsc::Receiver<Feed>,
    _leader: watch::Sender<u64>,
}

fn item(number: u64, since_ms: u64) -> HookItem {
    let message = rpc::Message { sequence: number, text: format!("message {number}"), ..Default::default() };
    let event = rpc::Event {
        topic: Some(conversation_topic(3)),
        version: number,
        kind: Some(rpc::event::Kind::Message(message)),
        ..Default::default()
    };
    HookItem { number, event: Some(event), since_ms }
}

impl Kept {
    fn read(&self, asked: &rpc::ReadRequest) -> Option<read_response::Result> {
        Some(match asked.query.as_ref()? {
            Query::Hooks(_) => {
                let waits =
                    |(bot, (_, items)): (&u64, &(String, Vec<HookItem>))| (!items.is_empty()).then_some(*bot);
                let bots_waiting: Vec<u64> = self.hooks.iter().filter_map(waits).collect();
                let owner = |bot: &u64| self.owners.get(bot).copied().unwrap_or_default();
                read_response::Result::Hooks(HooksResult {
                    hooks: self.hooks.len() as u64,
                    owners: bots_waiting.iter().map(owner).collect(),
                    bots_waiting,
                    ..HooksResult::default()
                })
            }
            Query::Hook(query) => {
                let found = self.hooks.get(&query.bot_id);
                let items =
                    found.map(|(_, items)| items.iter().take(query.limit as usize).cloned().collect());
                read_response::Result::Hook(HookResult {
                    bot: Some(rpc::UserRef {
                        id: query.bot_id,
                        name: "robin".into(),
                        bot: true,
                        ..Default::default()
                    }),
                    url: found.map(|(url, _)| url.clone()).unwrap_or_default(),
                    secret: SECRET.to_vec().into(),
                    items: items.unwrap_or_default(),
                })
            }
            _ => return None,
        })
    }

    fn decide(&mut self, command: &rpc::Command) -> Option<outcome::Result> {
        let others = Rejected { code: "conflict".into(), message: "another gateway".into(), revision: None };
        let dropped = Rejected { code: "not_found".into(), message: "no webhook".into(), revision: None };
        match command.action.as_ref()? {
            Action::SettleHook(_) if self.is_dropped => return Some(outcome::Result::Rejected(dropped)),
            Action::LeaseHooks(lease) => self.leases.push(lease.lasts_ms),
            Action::SettleHook(settle) if !self.is_others => {
                self.settled.push((settle.bot_id, settle.through, settle.error.clone()));
                let (_, items) = self.hooks.get_mut(&settle.bot_id)?;
                items.retain(|item| item.number > settle.through);
            }
            _ => {}
        }
        self.is_others.then_some(outcome::Result::Rejected(others))
    }
}

async fn site(hooks: BTreeMap<u64, (String, Vec<HookItem>)>) -> Site {
    let kept = Arc::new(Mutex::new(Kept { hooks, ..Kept::default() }));
    let (fake, feeds) = Fake::start(1).await;
    let (read, decide) = (Arc::clone(&kept), Arc::clone(&kept));
    fake.set(|state| {
        state.role = "leader";
        state.submits = Submits::Apply;
        state.read = Box::new(move |asked| {
            let result = read.lock().unwrap().read(&asked);
            Ok(rpc::ReadResponse { result, log_time_ms: NOW_MS, ..Default::default() })
        });
        state.decides = Box::new(move |command| decide.lock().unwrap().decide(command));
    });
    let (replicas, reader, metrics) = tier(&[&fake]);
    let (feed_leader, leads) = watch::channel(0);
    let leader = LeaderClient::start(replicas, Arc::clone(&metrics), leads, 0, Arc::default());
    let poster = Poster::new(vec![Network::parse("127.0.0.0/8").unwrap()]).unwrap();
    let tell =
        Arc::new(Tell { cluster: "c".into(), reader, leader, metrics, poster, hosts: Hosts::default() });
    Site { tell, kept, fake, _feeds: feeds, _leader: feed_leader }
}

impl Site {
    async fn lease(&self) -> Arc<Lease> {
        Lease::take(self.tell.leader.clone(), [1; 16]).await.expect("the lease")
    }

    /// Holds the lease until nothing waits any more.
    async fn tell_everything(&self) {
        let lease = self.lease().await;
        let (_drain, mut phase) = watch::channel(DrainPhase::Serving);
        let holding = hold(&self.tell, &lease, &mut phase);
        let done = async {
            while !self.kept.lock().unwrap().hooks.values().all(|(_, items)| items.is_empty()) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            _ = holding => panic!("the lease was lost"),
            told = timeout(WAIT, done) => told.expect("everything told in time"),
        }
    }

    fn settled(&self) -> Vec<(u64, u64, String)> {
        self.kept.lock().unwrap().settled.clone()
    }
}

/// A request as a server saw it.
#[derive(Debug, Clone, PartialEq)]
struct Heard {
    id: String,
    text: String,
    at: Instant,
    is_signed: bool,
}

/// A server that answers its n-th request (from 0) with what the closure says.
async fn server(status: impl Fn(usize) -> u16 + Send + 'static) -> (String, Arc<Mutex<Vec<Heard>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            let request = loop {
                let mut piece = [0; 4_096];
                let read = stream.read(&mut piece).await.unwrap_or(0);
                if read == 0 {
                    break None;
                }
                bytes.extend_from_slice(&piece[..read]);
                if let Some(request) = parsed(&bytes) {
                    break Some(request);
                }
            };
            let Some(request) = request else { continue };
            let number = all.lock().unwrap().len();
            all.lock().unwrap().push(request);
            let answer =
                format!("HTTP/1.1 {} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", status(number));
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, heard)
}

/// The request, once it is whole.
fn parsed(bytes: &[u8]) -> Option<Heard> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")));
        line.map(|line| line[name.len() + 2..].to_owned()).unwrap_or_default()
    };
    if body.len() < header("content-length").parse().ok()? {
        return None;
    }
    let id = header("webhook-id");
    let timestamp_s: u64 = header("webhook-timestamp").parse().ok()?;
    let wanted = sign::signature(&SECRET, &id, timestamp_s, body.as_bytes());
    let is_signed = header("webhook-signature") == wanted;
    let json: Value = serde_json::from_str(body).ok()?;
    assert_eq!(json["id"], id);
    let text = json["data"]["event"]["text"].as_str()?.to_owned();
    Some(Heard { id, text, at: Instant::now(), is_signed })
}

fn texts(heard: &Mutex<Vec<Heard>>) -> Vec<String> {
    heard.lock().unwrap().iter().map(|request| request.text.clone()).collect()
}

fn messages(numbers: impl Iterator<Item = u64>) -> Vec<String> {
    numbers.map(|number| format!("message {number}")).collect()
}

#[tokio::test]
async fn every_item_is_told_once_in_order_and_settled_in_batches() {
    let ((one, heard_one), (two, heard_two)) = (server(|_| 200).await, server(|_| 204).await);
    // More than one reading's worth, and numbers that begin anywhere.
    let items = |first: u64, count: u64| {
        (first..first + count).map(|number| item(number, NOW_MS)).collect::<Vec<_>>()
    };
    let site = site([(5, (one, items(41, 230))), (6, (two, items(1, 30)))].into()).await;
    site.tell_everything().await;
    assert_eq!(texts(&heard_one), messages(41..271));
    assert_eq!(texts(&heard_two), messages(1..31));
    for request in heard_one.lock().unwrap().iter().chain(heard_two.lock().unwrap().iter()) {
        assert!(request.is_signed, "{request:?}");
    }
    assert_eq!(heard_one.lock().unwrap()[0].id, "c-5-41");
    let settled = site.settled();
    assert!(settled.len() < 130, "not one entry for each: {}", settled.len());
    assert!(settled.iter().all(|(_, _, error)| error.is_empty()), "{settled:?}");
    assert_eq!(site.tell.metrics.hooks_told.get(), 260);
    // Taken, and renewed if it took so long.
    let leases = site.kept.lock().unwrap().leases.clone();
    assert!(!leases.is_empty() && leases.iter().all(|lasts_ms| *lasts_ms == pace::LEASE_MS), "{leases:?}");
}

#[tokio::test]
async fn what_failed_is_told_again_under_its_id_and_holds_nobody_else_up() {
    let (fine, heard_fine) = server(|_| 200).await;
    // Fails until the other bot has been told everything: who waited for it would wait for ever.
    let of_other = Arc::clone(&heard_fine);
    let fails = move |number: usize| number == 1 || number > 1 && of_other.lock().unwrap().len() < 20;
    let (slow, heard_slow) = server(move |number| if fails(number) { 503 } else { 200 }).await;
    let items = |count| (1..=count).map(|number| item(number, NOW_MS)).collect::<Vec<_>>();
    let site = site([(5, (slow, items(3))), (6, (fine, items(20)))].into()).await;
    site.tell_everything().await;
    let slow = heard_slow.lock().unwrap().clone();
    let failed = slow.iter().filter(|request| request.id == "c-5-2").count() - 1;
    assert!(failed > 0, "{slow:?}");
    let ids: Vec<&str> = slow.iter().map(|request| request.id.as_str()).collect();
    let again = std::iter::repeat_n("c-5-2", failed);
    let wanted: Vec<&str> = ["c-5-1", "c-5-2"].into_iter().chain(again).chain(["c-5-3"]).collect();
    assert_eq!(ids, wanted);
    let waited = slow[2].at - slow[1].at;
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    assert_eq!(heard_fine.lock().unwrap().len(), 20);
    assert_eq!(site.tell.metrics.hooks_failed.get(), failed as u64);
    let settled = site.settled();
    let first = settled.iter().find(|(bot, ..)| *bot == 5);
    assert_eq!(first, Some(&(5, 1, String::new())), "what was taken before it is not told again");
}

/// A server that takes its time with everything, at a host of its own; `most` is how many such were told something at a time.
async fn slow_server(host: u8, under_way: &Arc<AtomicUsize>, most: &Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind((std::net::Ipv4Addr::new(127, 0, 0, host), 0)).await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (under_way, most) = (Arc::clone(under_way), Arc::clone(most));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            most.fetch_max(under_way.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            sleep(Duration::from_millis(400)).await;
            under_way.fetch_sub(1, Ordering::Relaxed);
            let _ = stream.write_all(b"HTTP/1.1 204 x\r\nconnection: close\r\n\r\n").await;
        }
    });
    url
}

#[tokio::test]
async fn the_bots_of_one_owner_leave_places_to_others_however_many_hosts_they_have() {
    let (under_way, most) = (Arc::default(), Arc::default());
    let mut hooks = BTreeMap::new();
    for bot in 1..=12_u8 {
        let url = slow_server(10 + bot, &under_way, &most).await;
        hooks.insert(u64::from(bot), (url, vec![item(1, NOW_MS)]));
    }
    let (fine, heard) = server(|_| 200).await;
    hooks.insert(99, (fine, vec![item(1, NOW_MS)]));
    let site = site(hooks).await;
    site.kept.lock().unwrap().owners = (1..=12).map(|bot| (bot, 900)).chain([(99, 901)]).collect();
    site.tell_everything().await;
    assert_eq!(most.load(Ordering::Relaxed), row::TURNS_PER_OWNER_MAX);
    let settled = site.settled();
    let place = settled.iter().position(|(bot, ..)| *bot == 99).expect("settled");
    assert!(heard.lock().unwrap().len() == 1 && place <= 4, "it did not wait for the others: {settled:?}");
}

#[tokio::test]
async fn what_is_gone_or_too_old_is_given_up_with_its_reason_and_the_hidden_is_not_told() {
    let (url, heard) = server(|number| if number == 1 { 410 } else { 200 }).await;
    let hidden = HookItem { number: 2, event: None, since_ms: NOW_MS };
    let old = item(5, NOW_MS - pace::GIVE_UP_MS);
    let items = vec![item(1, NOW_MS), hidden, item(3, NOW_MS), item(4, NOW_MS), old, item(6, NOW_MS)];
    let site = site([(5, (url, items))].into()).await;
    site.tell_everything().await;
    assert_eq!(texts(&heard), messages([1, 3, 4, 6].into_iter()));
    let given_up: Vec<(u64, String)> = site
        .settled()
        .into_iter()
        .filter(|it| !it.2.is_empty())
        .map(|(_, number, why)| (number, why))
        .collect();
    assert_eq!(given_up.len(), 2, "{given_up:?}");
    assert!(given_up[0].0 == 3 && given_up[0].1.contains("410"), "{given_up:?}");
    assert!(given_up[1].0 == 5 && given_up[1].1.contains("three days"), "{given_up:?}");
    assert_eq!(site.tell.metrics.hooks_given_up.get(), 2);
}

#[tokio::test]
async fn who_has_lost_the_lease_stops_and_settles_nothing() {
    let (url, heard) = server(|_| 200).await;
    let site = site([(5, (url, vec![item(1, NOW_MS), item(2, NOW_MS)]))].into()).await;
    let lease = site.lease().await;
    site.kept.lock().unwrap().is_others = true;
    assert_eq!(turn(&site.tell, &lease, 5).await, End::Lost);
    assert_eq!(texts(&heard), messages(1..3), "told at least once");
    assert!(site.settled().is_empty());
    assert!(Lease::take(site.tell.leader.clone(), [2; 16]).await.is_none());
}

#[tokio::test]
async fn a_turn_at_a_slow_server_ends_so_that_its_webhook_is_read_again() {
    let (slow, heard) = server(|_| {
        // Slow, and nothing else goes on in this test.
        std::thread::sleep(Duration::from_millis(800));
        200
    })
    .await;
    let items = (1..=20).map(|number| item(number, NOW_MS)).collect();
    let site = site([(5, (slow, items))].into()).await;
    let lease = site.lease().await;
    assert_eq!(turn(&site.tell, &lease, 5).await, End::More);
    let told = heard.lock().unwrap().len() as u64;
    assert!((1..=3).contains(&told), "{told} in two seconds");
    assert_eq!(site.settled().last(), Some(&(5, told, String::new())), "what was told is settled");
}

#[tokio::test]
async fn a_turn_ends_when_its_webhook_is_dropped_and_waits_while_its_host_has_enough() {
    let (url, heard) = server(|_| 410).await;
    let items = (1..=3).map(|number| item(number, NOW_MS)).collect();
    let site = site([(5, (url.clone(), items))].into()).await;
    let lease = site.lease().await;
    let held: Vec<_> =
        (0..hosts::TURNS_PER_HOST_MAX).map(|_| site.tell.hosts.enter(&url).expect("room")).collect();
    assert_eq!(turn(&site.tell, &lease, 5).await, End::Later);
    assert!(heard.lock().unwrap().is_empty());
    drop(held);
    site.kept.lock().unwrap().is_dropped = true;
    assert_eq!(turn(&site.tell, &lease, 5).await, End::Later);
    assert_eq!(texts(&heard), messages(1..2), "what was read is told no more");
}

#[tokio::test]
async fn a_gateway_that_ends_gives_the_lease_back() {
    let site = site([(5, ("http://127.0.0.1:1/".into(), Vec::new()))].into()).await;
    let lease = site.lease().await;
    let (drain, mut phase) = watch::channel(DrainPhase::Serving);
    let ending = async {
        sleep(Duration::from_millis(100)).await;
        drain.send_replace(DrainPhase::Leaving);
    };
    let (ends, ()) = tokio::join!(hold(&site.tell, &lease, &mut phase), ending);
    assert!(ends);
    lease.give_back().await;
    assert_eq!(site.kept.lock().unwrap().leases, [pace::LEASE_MS, 0]);
    assert_eq!(site.fake.streams(), 1);
}
