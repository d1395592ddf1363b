//! A conversation with a long history in a real window: it opens at the first unread message, every message of it can be come to, the document
//! never holds more than a window's worth, and nothing moves under its reader's eyes, whatever comes in, goes or arrives.
//!
//! Figures of the frames are printed and not judged: they are the machine's as well. `QUORATE_TIMELINE_MESSAGES` makes the history longer; one
//! of up to 10,000 is scrolled through from end to end.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use quorate_cluster::{Cluster, wait_until};
use quorate_proto::frame::{Body, Request, SendMessage};
use quorate_proto::ids::{ClientMessageId, ConversationId, Sequence};
use quorate_proto::rest::SessionGrant;
use quorate_tests::browser::Driver;
use quorate_tests::client::{Socket, rest};
use quorate_tests::{harness, load};
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::hands::{message, row};
use crate::start;
use crate::window::{PAGE_WAIT, Window};

/// The short form; a browser that hangs must not hang the run. A longer history gets more.
const TEST_WAIT: Duration = Duration::from_secs(420);
/// Messages, unless `QUORATE_TIMELINE_MESSAGES` says otherwise.
const MESSAGES: usize = 3_000;
/// Up to so many, the whole history is scrolled through.
const SCROLLED_MAX: u64 = 10_000;
/// Of them these are not read when the conversation is opened.
const UNREAD: u64 = 2_000;
/// Arrive while she is elsewhere: some screens.
const SINCE: u64 = 60;
/// Who writes.
const WRITERS: usize = 5;
/// Messages in the document at most: the page's window, and what it may hold beyond it while its reader looks further up.
const DOCUMENT_MESSAGES_MAX: u64 = 290;
/// By so many pixels a message in view may move when others come or go.
const DRIFT_PX_MAX: f64 = 3.0;
/// Pixels a frame: some 18,000 a second where there are 60 frames.
const SCROLL_PX: i64 = 300;
/// One script's time; WebDriver ends it after 30 s.
const SCRIPT_MS: u64 = 15_000;
/// While messages arrive.
const ARRIVING: Duration = Duration::from_secs(5);
const PER_SECOND: u64 = 50;
/// As WebDriver writes it.
const ARROW_DOWN: &str = "\u{E015}";

/// Scrolls by so many pixels a frame, until it comes to the first message or the newest, or for so long. Before each step the message that was
/// topmost after the step before must be where it was; at the newest the view keeps to the lower edge instead.
const SCROLL: &str = "const [by, ms] = arguments, done = arguments[arguments.length - 1];
    const region = document.querySelector('[data-testid=timeline]');
    const all = () => [...region.querySelectorAll('[data-testid=message]')];
    const top = e => e.getBoundingClientRect().top, jump = () => document.querySelector('[data-testid=jump]');
    const frames = []; const begin = performance.now(); let last = begin, drift = 0, most = 0, seen = null, at = 0;
    const step = now => {
        frames.push(now - last); last = now;
        const messages = all();
        most = Math.max(most, messages.length);
        if (seen && (by <= 0 || jump())) drift = Math.max(drift, seen.isConnected ? Math.abs(top(seen) - at) : 1e6);
        region.scrollTop += by;
        const edge = top(region);
        seen = messages.find(m => m.getBoundingClientRect().bottom > edge + 40); at = seen ? top(seen) : 0;
        const there = by < 0 ? region.scrollTop === 0 && messages[0]?.dataset.sequence === '1'
            : by > 0 && !jump();
        if (!there && now - begin < ms) { requestAnimationFrame(step); return; }
        frames.shift(); frames.sort((a, b) => a - b);
        const q = p => Math.round(10 * frames[Math.min(frames.length - 1, Math.floor(p * frames.length))]) / 10;
        done({ there, drift, most, frames: frames.length, p50: q(.5), p95: q(.95), p99: q(.99), max: q(1),
            first: Number(messages[0]?.dataset.sequence), last: Number(messages.at(-1)?.dataset.sequence) });
    };
    requestAnimationFrame(step);";

/// What [`SCROLL`] saw. Times are ms between frames.
#[derive(Debug, Deserialize)]
struct Scrolled {
    there: bool,
    drift: f64,
    most: u64,
    frames: u64,
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
    first: Sequence,
    last: Sequence,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_history_is_read_both_ways_and_nothing_moves() -> anyhow::Result<()> {
    let count = harness::number("QUORATE_TIMELINE_MESSAGES", MESSAGES).max(MESSAGES) as u64;
    // Filling takes its time: some hundred messages a second on a slow machine.
    let wait = TEST_WAIT + Duration::from_millis(10 * (count - MESSAGES as u64));
    let (test, shots) = start("timeline").await?;
    let result = match tokio::time::timeout(wait, reader(&test.cluster, &shots, count)).await {
        Ok(result) => result,
        Err(_) => Err(anyhow::anyhow!("the test took longer than {wait:?}")),
    };
    test.finish(result).await
}

async fn reader(cluster: &Cluster, shots: &Path, count: u64) -> anyhow::Result<()> {
    let driver = Driver::start(cluster.plan().spare(0), &shots.join("chromedriver.log")).await?;
    let ana = Window::open(&driver, cluster.front(), "ana", shots).await?;
    if let Err(error) = story(cluster, &ana, count).await {
        return Err(error.context(ana.evidence().await));
    }
    ana.close().await
}

async fn story(cluster: &Cluster, ana: &Window, count: u64) -> anyhow::Result<()> {
    ana.sign_up().await?;
    let mut room = Room::new(cluster).await?;
    room.write(count).await?;
    let first_unread = count - UNREAD + 1;
    room.read_by_ana(first_unread - 1).await?;

    // It opens at the first unread message, under the line that says so.
    unread(ana, room.id, UNREAD).await?;
    ana.open_row(room.id).await?;
    in_view(ana, ".new").await?;
    in_view(ana, &message(first_unread)).await?;
    ana.wait_text("[data-testid=jump]", "2000 new, jump to latest").await?;
    ana.shoot("01-opens-at-the-first-unread").await?;

    // Up to the first message, and down to the newest.
    if count <= SCROLLED_MAX {
        to_the_end(ana, "up to the first message", -SCROLL_PX).await?;
        ana.shoot("02-the-first-message").await?;
        unread(ana, room.id, UNREAD).await?;
        to_the_end(ana, "down to the newest", SCROLL_PX).await?;
        in_view(ana, &message(count)).await?;
    } else {
        report("up for a while", &scroll(ana, -SCROLL_PX).await?)?;
    }

    // A link leads to a message, wherever it is, and another one back.
    for at in [5, count, 5] {
        ana.visit(&format!("http://{}/#/c/{}/m/{at}", cluster.front(), room.id)).await?;
        in_view(ana, &message(at)).await?;
        few(ana).await?;
        if at == count {
            // Only at the end it has been read.
            unread(ana, room.id, 0).await?;
        }
    }
    ana.shoot("03-by-a-link").await?;
    // The arrow keys go on over pages.
    let focused = "return Number(document.activeElement.dataset.sequence)";
    ana.wait_read("message 5 focused", focused, &5).await?;
    wait_until("the arrow keys to lead to message 65", PAGE_WAIT, || async {
        let at: u64 = ana.read(focused).await.map_err(|error| format!("{error:#}"))?;
        if at == 65 {
            return Ok(());
        }
        ana.keys(&message(at), ARROW_DOWN).await.map_err(|error| format!("{error:#}"))?;
        Err(format!("message {at} is focused"))
    })
    .await?;
    in_view(ana, &message(65)).await?;

    // While she looks at the past nothing that arrives moves it.
    ana.visit(&format!("http://{}/#/c/{}/m/1000", cluster.front(), room.id)).await?;
    in_view(ana, &message(1_000)).await?;
    let arrived = arrive(ana, &mut room, "in the past, 50 a second arrive").await?;
    in_view(ana, &message(1_000)).await?;
    ana.wait_text("[data-testid=jump]", &format!("{arrived} new, jump to latest")).await?;
    ana.shoot("04-in-the-past").await?;
    ana.press("[data-testid=jump]").await?;
    in_view(ana, &message(room.newest)).await?;
    ana.wait_count("[data-testid=jump]", 0).await?;
    few(ana).await?;

    // At the end it follows what arrives.
    arrive(ana, &mut room, "at the end, 50 a second arrive").await?;
    in_view(ana, &message(room.newest)).await?;
    ana.wait_count("[data-testid=jump]", 0).await?;
    ana.shoot("05-at-the-end").await?;

    // Who writes in the past is at the end with it.
    ana.visit(&format!("http://{}/#/c/{}/m/7", cluster.front(), room.id)).await?;
    in_view(ana, &message(7)).await?;
    let told = ana.tell("Written far back.").await?;
    ensure!(told == room.newest + 1, "it is message {told}");
    in_view(ana, &message(told)).await?;
    ana.wait_count("[data-testid=jump]", 0).await?;

    // Who comes back finds what is new since, and not the rows that she left.
    ana.visit(&format!("http://{}/#/", cluster.front())).await?;
    ana.wait_count("[data-testid=timeline]", 0).await?;
    room.write(SINCE).await?;
    unread(ana, room.id, SINCE).await?;
    ana.open_row(room.id).await?;
    in_view(ana, ".new").await?;
    ana.wait_count("[data-testid=jump]", 1).await?;
    unread(ana, room.id, SINCE).await
}

/// A group of Ana and those who write.
struct Room {
    id: ConversationId,
    writers: Vec<SessionGrant>,
    at: std::net::SocketAddr,
    newest: Sequence,
}

impl Room {
    async fn new(cluster: &Cluster) -> anyhow::Result<Self> {
        let at = cluster.front();
        let writers = load::sign_up_many(at, "writer", WRITERS).await?;
        let ana = rest::sign_in(at, "ana").await?;
        let id = load::make_group(at, "Harbour", &[&writers[..], &[ana]].concat().iter().collect::<Vec<_>>())
            .await?;
        Ok(Self { id, writers, at, newest: 0 })
    }

    /// So many messages more, as fast as they are taken.
    async fn write(&mut self, count: u64) -> anyhow::Result<()> {
        let mut tasks = JoinSet::new();
        for (place, grant) in self.writers.iter().enumerate() {
            let share = count / WRITERS as u64 + u64::from((place as u64) < count % WRITERS as u64);
            let (at, id, token) = (self.at, self.id, grant.access_token.clone());
            tasks.spawn(async move {
                let mut socket = Socket::open(at, None).await?;
                socket.hello(&token, None).await?;
                for number in 0..share {
                    send(&mut socket, id, text(number)).await?;
                }
                socket.close().await;
                anyhow::Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        self.newest += count;
        Ok(())
    }

    /// So many messages a second for a while; how many.
    async fn arrive(&mut self) -> anyhow::Result<u64> {
        let count = PER_SECOND * ARRIVING.as_secs();
        let mut socket = Socket::open(self.at, None).await?;
        socket.hello(&self.writers[0].access_token, None).await?;
        let mut beat = tokio::time::interval(Duration::from_millis(1_000 / PER_SECOND));
        for number in 0..count {
            beat.tick().await;
            send(&mut socket, self.id, text(number)).await?;
        }
        socket.close().await;
        self.newest += count;
        Ok(count)
    }

    /// Ana has read up to here, on another device.
    async fn read_by_ana(&self, sequence: Sequence) -> anyhow::Result<()> {
        let grant = rest::sign_in(self.at, "ana").await?;
        let mut socket = Socket::open(self.at, None).await?;
        socket.hello(&grant.access_token, None).await?;
        // Not answered; her window shows what is left.
        socket.request(Request::Read { conversation: self.id, sequence }).await?;
        socket.close().await;
        Ok(())
    }
}

/// Of one line to four.
fn text(number: u64) -> String {
    let words = "The lamp room is dry again and the stairs carry eight people at a time, not nine. ";
    format!("{number}: {}", words.repeat(1 + (number * 7 % 4) as usize))
}

async fn send(socket: &mut Socket, conversation: ConversationId, text: String) -> anyhow::Result<()> {
    let client_message_id = ClientMessageId(Uuid::now_v7());
    let message = SendMessage {
        conversation,
        client_message_id,
        text,
        reply_to: None,
        forward: None,
        first_sent: 0,
        attachments: Vec::new(),
    };
    let ends = tokio::time::Instant::now() + PAGE_WAIT;
    loop {
        let id = socket.request(Request::Send(message.clone())).await?;
        match socket.answer(id).await? {
            Body::Ack(_) => return Ok(()),
            Body::Error { error } if error.temporary && tokio::time::Instant::now() < ends => {
                tokio::time::sleep(Duration::from_millis(error.retry_ms.unwrap_or(50))).await;
            }
            other => anyhow::bail!("a send was refused: {other:?}"),
        }
    }
}

/// Waits until the list shows so many messages of the conversation as unread.
async fn unread(window: &Window, id: ConversationId, count: u64) -> anyhow::Result<()> {
    window.wait_attribute(&row(id), "data-unread", Some(&count.to_string())).await
}

/// Waits until an element stands wholly within the timeline.
async fn in_view(window: &Window, css: &str) -> anyhow::Result<()> {
    let script = format!(
        "const e = document.querySelector({})?.getBoundingClientRect();
        const r = document.querySelector('[data-testid=timeline]')?.getBoundingClientRect();
        return Boolean(e && r && e.top >= r.top - 2 && e.bottom <= r.bottom + 2)",
        json!(css)
    );
    window.wait_read(&format!("{css} in view"), &script, &true).await
}

/// The document has no more than a window's worth of messages.
async fn few(window: &Window) -> anyhow::Result<()> {
    let count = window.count("[data-testid=message]").await?;
    ensure!(count <= DOCUMENT_MESSAGES_MAX, "{count} messages are in the document");
    Ok(())
}

async fn scroll(window: &Window, by: i64) -> anyhow::Result<Scrolled> {
    let run = window.client.execute_async(SCROLL, vec![json!(by), json!(SCRIPT_MS)]).await?;
    serde_json::from_value(run).context("scroll")
}

fn report(what: &str, seen: &Scrolled) -> anyhow::Result<()> {
    let Scrolled { drift, most, frames, p50, p95, p99, max, first, last, .. } = seen;
    println!(
        "{what}: {frames} frames, p50 {p50} ms, p95 {p95} ms, p99 {p99} ms, longest {max} ms; at most {most} messages in the document, \
        moved by at most {drift:.1} px; {first} to {last} at the end"
    );
    ensure!(*most <= DOCUMENT_MESSAGES_MAX, "{most} messages were in the document");
    ensure!(*drift <= DRIFT_PX_MAX, "a message in view moved by {drift} px");
    Ok(())
}

/// Scrolls on until there is nothing more.
async fn to_the_end(window: &Window, what: &str, by: i64) -> anyhow::Result<()> {
    // A frame moves the view by hundreds of pixels, a message is some 60 high.
    for _ in 0..12 {
        let seen = scroll(window, by).await?;
        report(what, &seen)?;
        if seen.there {
            return Ok(());
        }
    }
    anyhow::bail!("{}: it does not come to an end {what}", window.name)
}

/// Messages arrive while frames are counted and the topmost message in view is watched; how many.
async fn arrive(window: &Window, room: &mut Room, what: &str) -> anyhow::Result<u64> {
    let follows = window.count("[data-testid=jump]").await? == 0;
    let watch = window.client.execute_async(SCROLL, vec![json!(0), json!(ARRIVING.as_millis() as u64)]);
    let (seen, arrived) = tokio::join!(watch, room.arrive());
    let mut seen: Scrolled = serde_json::from_value(seen?).context("watch")?;
    if follows {
        // What follows the newest message moves.
        seen.drift = 0.0;
    }
    report(what, &seen)?;
    let newest = room.newest;
    wait_until("what arrived to be counted", PAGE_WAIT, || async {
        let row = window
            .read::<String>("return document.querySelector('[data-testid=jump]')?.textContent ?? ''")
            .await;
        let said = row.map_err(|error| format!("{error:#}"))?;
        let shown = window.count(&message(newest)).await.map_err(|error| format!("{error:#}"))? == 1;
        if shown || said.contains("new") { Ok(()) } else { Err(format!("it says {said:?}")) }
    })
    .await?;
    arrived
}
