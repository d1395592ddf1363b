use std::time::Duration;

use quorate_proto::rpc::{
    Event, FeedFrame, Message, Progress, ReadRequest, ReadResponse, SincePage, SinceResult, TopicReady,
    event, read_request, read_response,
};
use tokio::time::timeout;
use tonic::Status;

use super::*;
use crate::convert::conversation_topic;
use crate::session::outbox::{Inbox, outbox};
use crate::testing::{Fake, Feed, tier};

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
    FeedFrame { ready: vec![ready], events: vec![], progress: progress(100 + version) }
}

fn progress(applied_index: u64) -> Option<Progress> {
    Some(Progress { applied_index, log_time_ms: 1, leader_id: 1, leader_contact_ms: 0 })
}

fn events(versions: std::ops::RangeInclusive<u64>) -> FeedFrame {
    let last = 100 + *versions.end();
    FeedFrame { ready: vec![], events: versions.map(message).collect(), progress: progress(last) }
}

async fn say(feed: &Feed, frame: FeedFrame) {
    feed.frames.send(Ok(frame)).await.unwrap();
}

async fn opened(feeds: &mut mpsc::Receiver<Feed>) -> Feed {
    timeout(WAIT, feeds.recv()).await.expect("a feed in time").unwrap()
}

async fn asked_for(feed: &mut Feed) -> Vec<Topic> {
    timeout(WAIT, feed.requests.recv()).await.expect("a request in time").unwrap().add
}

/// Takes events until so many have come: their versions.
async fn take(inbox: &mut Inbox, count: usize) -> Vec<u64> {
    let mut versions = Vec::new();
    while versions.len() < count {
        let batch = timeout(WAIT, inbox.recv()).await.expect("events in time").unwrap();
        versions.extend(batch.iter().map(|item| item.version));
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
    let hub = Hub::start(replicas, reader, metrics, leader);
    let mut feed = opened(&mut a_feeds).await;
    say(&feed, FeedFrame { progress: progress(1), ..FeedFrame::default() }).await;
    let (outbox, inbox) = outbox();
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
}

#[tokio::test]
async fn a_feed_that_falls_silent_is_left_and_a_lagging_one_repeats_nothing() {
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
}

#[tokio::test]
async fn a_gap_within_a_feed_is_mended_by_another_replica() {
    let (mut scene, feed, mut inbox, _subscriber) = scene().await;
    scene.b.set(|state| *state = since(|after| (after + 1..=9).map(message).collect()));
    say(&feed, events(6..=6)).await;
    say(&feed, events(8..=8)).await;
    let mut second = opened(&mut scene.b_feeds).await;
    asked_for(&mut second).await;
    say(&second, ready(9)).await;
    assert_eq!(take(&mut inbox, 4).await, [6, 7, 8, 9]);
}
