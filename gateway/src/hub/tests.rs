use std::time::Duration;

use quorate_proto::rpc::{
    Event, FeedFrame, FeedRequest, Message, Progress, ReadRequest, ReadResponse, SincePage, SinceResult,
    TopicReady, Typing, UserRef, event, read_request, read_response, signal,
};
use tokio::time::timeout;
use tonic::Status;

use super::*;
use crate::convert::conversation_topic;
use crate::session::outbox::{Bounds, Inbox, outbox};
use crate::testing::{Fake, Feed, tier, undisturbed};

const WAIT: Duration = Duration::from_secs(10);
const TOPIC: u64 = 3;

fn message(version: u64) -> Event {
    Event {
        topic: Some(conversation_topic(TOPIC)),
        version,
        index: 100 + version,
        log_time_ms: 1,
        kind: Some(event::Kind::Message(Message { sequence: version, ..Message::default() })),
    }
}

fn ready(version: u64) -> FeedFrame {
    let ready =
        TopicReady { topic: Some(conversation_topic(TOPIC)), complete_from_index: 100 + version, version };
    FeedFrame { ready: vec![ready], progress: progress(100 + version), ..FeedFrame::default() }
}

fn progress(applied_index: u64) -> Option<Progress> {
    Some(Progress { applied_index, log_time_ms: 1, leader_id: 1, ..Progress::default() })
}

fn events(versions: std::ops::RangeInclusive<u64>) -> FeedFrame {
    let last = 100 + *versions.end();
    FeedFrame { events: versions.map(message).collect(), progress: progress(last), ..FeedFrame::default() }
}

async fn say(feed: &Feed, frame: FeedFrame) {
    feed.frames.send(Ok(frame)).await.unwrap();
}

async fn opened(feeds: &mut mpsc::Receiver<Feed>) -> Feed {
    timeout(WAIT, feeds.recv()).await.expect("a feed in time").unwrap()
}

async fn asked_for(feed: &mut Feed) -> Vec<Topic> {
    loop {
        let request = timeout(WAIT, feed.requests.recv()).await.expect("a request in time").unwrap();
        // The lease may come by itself.
        if !request.add.is_empty() {
            return request.add;
        }
    }
}

/// Takes events until so many have come: their versions.
async fn take(inbox: &mut Inbox, count: usize) -> Vec<u64> {
    let mut versions = Vec::new();
    while versions.len() < count {
        let taken = timeout(WAIT, inbox.recv(count, usize::MAX)).await.expect("events in time").unwrap();
        versions.extend(taken.events.iter().map(|item| item.version));
    }
    versions
}

struct Scene {
    a: Fake,
    b: Fake,
    b_feeds: mpsc::Receiver<Feed>,
    hub: Hub,
    _leader: watch::Receiver<u64>,
}

/// A hub whose feed is at the first of two, with one subscriber to a topic at version 5.
async fn scene() -> (Scene, Feed, Inbox, Subscriber) {
    let ((a, mut a_feeds), (b, b_feeds)) = (Fake::start(1).await, Fake::start(2).await);
    let (replicas, reader, metrics) = tier(&[&a, &b]);
    let (leader, seen) = watch::channel(0);
    let hub = Hub::start("a", replicas, reader, metrics, leader, mpsc::channel(1).0, Arc::default());
    let mut feed = opened(&mut a_feeds).await;
    say(&feed, FeedFrame { progress: progress(1), ..FeedFrame::default() }).await;
    let (outbox, inbox) = outbox(Bounds::default());
    let subscriber = hub.join(outbox).await.unwrap();
    let subscribing = tokio::spawn(subscriber.subscribe(vec![conversation_topic(TOPIC)]));
    assert_eq!(asked_for(&mut feed).await, [conversation_topic(TOPIC)]);
    say(&feed, ready(5)).await;
    let live = timeout(WAIT, subscribing).await.unwrap().unwrap().unwrap();
    let expected = Subscribed { topic: conversation_topic(TOPIC), complete_from_index: 105, version: 5 };
    assert_eq!(live, [expected]);
    (Scene { a, b, b_feeds, hub, _leader: seen }, feed, inbox, subscriber)
}

fn since(answer: impl Fn(u64) -> Vec<Event> + Send + Sync + 'static) -> crate::testing::State {
    crate::testing::State {
        id: 2,
        role: "follower",
        submits: crate::testing::Submits::Mute,
        commands: vec![],
        applied_index: 0,
        streams: 0,
        details: quorate_proto::rpc::StatusResponse::default(),
        change: Box::new(|_| Err(Status::unimplemented("only since"))),
        reads_hang: false,
        token: Box::new(|_| Err(Status::unauthenticated("no tokens here"))),
        decides: Box::new(|_| None),
        read: Box::new(move |request: ReadRequest| {
            assert_eq!(request.user_id, 0, "the hub reads for itself");
            let Some(read_request::Query::Since(query)) = request.query else {
                return Err(Status::unimplemented("only since"));
            };
            let pages = query
                .pairs
                .into_iter()
                .map(|pair| SincePage {
                    topic: pair.topic,
                    events: answer(pair.version),
                    ..SincePage::default()
                })
                .collect();
            Ok(ReadResponse {
                as_of_index: request.min_index,
                result: Some(read_response::Result::Since(SinceResult { pages })),
                ..ReadResponse::default()
            })
        }),
    }
}

#[tokio::test]
async fn a_broken_feed_goes_on_at_another_replica_without_gap_or_repeat() {
    undisturbed(|| async {
        let (mut scene, feed, mut inbox, _subscriber) = scene().await;
        // Versions 8 to 11 lie between the two feeds; they come in two pages, the second longer than asked.
        scene.b.set(|state| {
            *state = since(|after| match after {
                7 => (8..=9).map(message).collect(),
                9 => (10..=12).map(message).collect(),
                other => panic!("asked after {other}"),
            });
        });
        say(&feed, events(6..=7)).await;
        assert_eq!(take(&mut inbox, 2).await, [6, 7]);
        feed.frames.send(Err(Status::aborted("too slow"))).await.unwrap();
        let mut second = opened(&mut scene.b_feeds).await;
        assert_eq!(asked_for(&mut second).await, [conversation_topic(TOPIC)]);
        say(&second, ready(11)).await;
        say(&second, events(12..=13)).await;
        assert_eq!(take(&mut inbox, 6).await, [8, 9, 10, 11, 12, 13]);
        timeout(WAIT, async {
            while scene.hub.state().delivered_index() < 113 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("position follows");
    })
    .await;
}

#[tokio::test]
async fn a_feed_that_falls_silent_is_left_and_a_lagging_one_repeats_nothing() {
    undisturbed(|| async {
        let (mut scene, feed, mut inbox, _subscriber) = scene().await;
        say(&feed, events(6..=9)).await;
        assert_eq!(take(&mut inbox, 4).await, [6, 7, 8, 9]);
        // Nothing more from the first: the second is behind what was delivered.
        let mut second = opened(&mut scene.b_feeds).await;
        asked_for(&mut second).await;
        say(&second, ready(7)).await;
        say(&second, events(8..=11)).await;
        assert_eq!(take(&mut inbox, 2).await, [10, 11]);
        drop((feed, scene.a));
    })
    .await;
}

#[tokio::test]
async fn a_gap_within_a_feed_is_mended_by_another_replica() {
    undisturbed(|| async {
        let (mut scene, feed, mut inbox, _subscriber) = scene().await;
        scene.b.set(|state| *state = since(|after| (after + 1..=9).map(message).collect()));
        say(&feed, events(6..=6)).await;
        say(&feed, events(8..=8)).await;
        let mut second = opened(&mut scene.b_feeds).await;
        asked_for(&mut second).await;
        say(&second, ready(9)).await;
        assert_eq!(take(&mut inbox, 4).await, [6, 7, 8, 9]);
    })
    .await;
}

fn typing(user: u64) -> FeedFrame {
    let kind = Some(signal::Kind::Typing(Typing {}));
    let user = Some(UserRef { id: user, name: format!("u{user}"), ..UserRef::default() });
    let signal = Signal { conversation_id: TOPIC, user, kind, ..Signal::default() };
    FeedFrame { signals: vec![signal], progress: progress(105), ..FeedFrame::default() }
}

/// The next request that says something of signals.
async fn said(feed: &mut Feed) -> FeedRequest {
    loop {
        let request = timeout(WAIT, feed.requests.recv()).await.expect("a request in time").unwrap();
        if request.add.is_empty() && request.remove.is_empty() {
            return request;
        }
    }
}

#[tokio::test]
async fn who_watches_a_conversation_hears_its_signals_before_and_after_a_switch() {
    undisturbed(|| async {
        let (mut scene, mut feed, mut inbox, mut subscriber) = scene().await;
        say(&feed, typing(1)).await;
        say(&feed, events(6..=6)).await;
        assert_eq!(take(&mut inbox, 1).await, [6], "and with it the signal before it has passed");
        subscriber.watch(TOPIC, true).await;
        assert_eq!(said(&mut feed).await.watch, [TOPIC]);
        subscriber.presence(7, presence::State::Active).await;
        let lease = said(&mut feed).await.lease.expect("a lease");
        assert_eq!((lease.gateway.as_str(), lease.full, lease.entries.len()), ("a", false, 1));
        say(&feed, typing(2)).await;
        let taken = timeout(WAIT, inbox.recv(usize::MAX, usize::MAX)).await.expect("in time").unwrap();
        assert_eq!(taken.signals.len(), 1, "only what came while it was watched");
        assert_eq!(taken.signals[0].key, SignalKey::Typing(TOPIC, 2));
        feed.frames.send(Err(Status::aborted("too slow"))).await.unwrap();
        let mut second = opened(&mut scene.b_feeds).await;
        let (mut watched, mut leased) = (false, None);
        while !watched || leased.is_none() {
            let request = timeout(WAIT, second.requests.recv()).await.expect("in time").unwrap();
            watched |= request.watch == [TOPIC];
            leased = leased.or(request.lease);
        }
        let again = leased.expect("a lease");
        assert!(again.full && again.number > lease.number && again.entries == lease.entries);
        // A signal does not wait until the events between the two feeds are read.
        say(&second, typing(3)).await;
        let taken = timeout(WAIT, inbox.recv(usize::MAX, usize::MAX)).await.expect("in time").unwrap();
        assert_eq!(taken.signals[0].key, SignalKey::Typing(TOPIC, 3));
        subscriber.ends();
        drop(subscriber);
        let left = loop {
            let request = timeout(WAIT, second.requests.recv()).await.expect("in time").unwrap();
            if !request.unwatch.is_empty() {
                break request;
            }
        };
        assert_eq!(left.unwatch, [TOPIC]);
        assert_eq!(left.lease.map(|lease| lease.entries.len()), Some(1), "she has left");
    })
    .await;
}
