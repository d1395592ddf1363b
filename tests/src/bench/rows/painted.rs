//! A message from when it was due at its sender until it is painted in another person's browser, beside the open loop.
//!
//! The page is the real one, in a real Chromium. A script that WebDriver puts into it asks the browser when each message's row came
//! into view (`IntersectionObserver`): the browser finds that out at the end of the frame in which it painted the row, and says so in
//! a task behind that frame, whose time is taken.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use fantoccini::Client;
use quorate_cluster::wait_until;
use tempfile::TempDir;

use super::{PLAIN, Row, times};
use crate::bench::clock::{Latencies, Schedule};
use crate::bench::quorate::{Quorate, Sender};
use crate::bench::record::{Figure, System};
use crate::bench::shape::open_loop;
use crate::bench::stage::Stage;
use crate::bench::table::number;
use crate::browser::{self, Driver, PAGE_WAIT};
use crate::client::rest;
use crate::load;

/// Messages into the room that is looked at: between two of them is no whole number of frames, of which a second has 60, so that they
/// come at all moments of a frame.
const PER_SECOND: u64 = 23;
/// As long as so many loads: one is too short for a 99th percentile of these.
const LOADS: u32 = 4;
/// Behind the beginning of the load, which warms up meanwhile.
const HEAD: Duration = Duration::from_secs(1);
/// What was not painted so long after the end counts as it stands then.
const OVERTIME: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The page's clock and this one differ by less, ms: they are one, but read by two programs that round.
const APART_MS_MAX: f64 = 2.0;

/// Notes when half of each message's row was in view, by its number, in ms since 1970, and null while a row is in the document and
/// was not. Rows are looked at from the last one up to one that is known, because one change of the page may bring several.
const WATCH: &str = "const seen = window.quoratePainted = {}, rows = new WeakMap();
    const views = new IntersectionObserver(entries => {
        const now = performance.timeOrigin + performance.now();
        for (const { target, intersectionRatio } of entries) {
            if (intersectionRatio < 0.5) continue;
            seen[rows.get(target)] ??= now;
            views.unobserve(target);
        }
    }, { threshold: 0.5 });
    const look = () => {
        const all = document.querySelectorAll('[data-testid=message]');
        for (let at = all.length - 1; at >= 0; at--) {
            const text = all[at].querySelector('.text')?.textContent.trim() ?? '';
            const number = /^painted (\\d+)$/.exec(text)?.[1];
            if (number === undefined) continue;
            if (rows.has(all[at])) break;
            rows.set(all[at], number);
            seen[number] ??= null;
            if (seen[number] === null) views.observe(all[at]);
        }
    };
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true, characterData: true });";
/// What [`WATCH`] has noted.
const SEEN: &str = "return window.quoratePainted";
const CLOCK: &str = "return performance.timeOrigin + performance.now()";

/// See the module.
pub const ROW: Row = Row {
    name: "painted",
    what: "a message from when it was due at its sender until it is painted in another person's browser, beside the open loop",
    systems: &[System::Quorate],
    is_alone: true,
    needs_hands: true,
    needs_page: true,
    run: |stage| Box::pin(run(stage)),
    ..PLAIN
};

/// This program's two clocks, read at one moment.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    instant: Instant,
    /// Since 1970.
    ms: f64,
}

impl Clocks {
    fn read() -> anyhow::Result<Self> {
        let (instant, wall) = (Instant::now(), SystemTime::now());
        Ok(Self { instant, ms: wall.duration_since(UNIX_EPOCH)?.as_secs_f64() * 1_000.0 })
    }

    /// A moment that is not before, ms since 1970.
    fn at(self, moment: Instant) -> f64 {
        self.ms + moment.duration_since(self.instant).as_secs_f64() * 1_000.0
    }
}

/// By a message's number when it was painted, ms since 1970; `None` while it is in the document and was not.
type Seen = BTreeMap<usize, Option<f64>>;

/// Somebody signed in who looks at a room. Fields end in order: the browser is gone before its profile.
struct Seat {
    client: Client,
    _driver: Driver,
    _dir: TempDir,
}

impl Seat {
    /// A browser on the page, with a new person signed in.
    async fn take(quorate: &Quorate, name: &str) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("quorate-browser-").tempdir()?;
        let port = quorate.own()?.cluster.plan().spare(0);
        let driver = Driver::start(port, &dir.path().join("chromedriver.log")).await?;
        let client = driver.open(&dir.path().join("profile")).await?;
        client.goto(&format!("http://{}/", quorate.front())).await?;
        browser::sign_up(&client, name, rest::PASSWORD).await?;
        Ok(Self { client, _driver: driver, _dir: dir })
    }

    /// Opens the room and has its messages watched.
    async fn look_at(&self, quorate: &Quorate, room: u64) -> anyhow::Result<()> {
        self.client.goto(&format!("http://{}/#/c/{room}", quorate.front())).await?;
        browser::wait_for(&self.client, "the reader", "[data-testid=composer]").await?;
        self.client.execute(WATCH, Vec::new()).await.context("watch the page")?;
        Ok(())
    }

    /// When each message that is in the document was painted, ms since 1970.
    async fn seen(&self) -> anyhow::Result<Seen> {
        let seen = self.client.execute(SEEN, Vec::new()).await.context("ask the page")?;
        serde_json::from_value(seen).context("what the page has seen")
    }

    /// Fails unless the page's clock is this program's.
    async fn same_clock(&self) -> anyhow::Result<()> {
        let before = Clocks::read()?.ms;
        let there = self.client.execute(CLOCK, Vec::new()).await.context("ask for the page's clock")?;
        let after = Clocks::read()?.ms;
        let there = there.as_f64().context("a time")?;
        let between = before - APART_MS_MAX..after + APART_MS_MAX;
        ensure!(
            between.contains(&there),
            "the browser's clock says {there} between {before} and {after}: was this machine's clock set meanwhile? run it again"
        );
        Ok(())
    }
}

/// Writes the numbers from 1 on at their times; when each was due, ms since 1970, and the times until they were acknowledged.
async fn speak(
    sender: &mut Sender,
    schedule: Schedule,
    clocks: Clocks,
) -> anyhow::Result<(Vec<f64>, Latencies)> {
    let (mut dues, mut acks) = (Vec::new(), Latencies::default());
    for (number, due) in (1..).zip(schedule) {
        tokio::time::sleep_until(due.into()).await;
        dues.push(clocks.at(due));
        sender.say(words(number)).await?;
        acks.record(due.elapsed());
    }
    Ok((dues, acks))
}

/// What the script in the page looks for.
fn words(number: usize) -> String {
    format!("painted {number}")
}

/// The times of messages 1, 2, … from when each was due, and how many were painted; those that were not count until `looked`. One
/// that came with so many others that it was never in view counts with the next one that was.
fn waited(dues: &[f64], seen: &Seen, looked: f64) -> (Latencies, usize) {
    let mut latencies = Latencies::default();
    let mut painted = 0;
    let mut later = f64::INFINITY;
    for (place, due) in dues.iter().enumerate().rev() {
        let own = seen.get(&(place + 1));
        if let Some(Some(at)) = own {
            later = later.min(*at);
        }
        let at = own.map_or(f64::INFINITY, |_| later);
        painted += usize::from(at.is_finite());
        let ms = (at.min(looked) - due).max(0.0);
        latencies.record(Duration::from_secs_f64(ms / 1_000.0));
    }
    (latencies, painted)
}

async fn run(stage: Stage<'_>) -> anyhow::Result<Vec<Figure>> {
    let Stage { scale, subject } = stage;
    let writers = subject.writers(scale.open_writers, scale.bytes).await?;
    let quorate = subject.quorate()?;
    let front = quorate.front();
    let reader = format!("{}reader", quorate.tag());
    let seat = Seat::take(quorate, &reader).await?;
    let grant = rest::sign_up(front, &format!("{}sender", quorate.tag())).await?;
    let room = load::make_group(front, "Painted", &[&grant, &rest::sign_in(front, &reader).await?]).await?;
    seat.look_at(quorate, room).await?;
    let mut sender = Sender::open(front, &grant, room, 0).await?;
    sender.say(words(0)).await?;
    wait_until("the first message to be painted", PAGE_WAIT, || async {
        let seen = seat.seen().await.map_err(|error| format!("{error:#}"))?;
        if matches!(seen.get(&0), Some(Some(_))) { Ok(()) } else { Err("it is not there".to_owned()) }
    })
    .await?;

    let length = scale.length * LOADS;
    let cpu = || subject.cpu();
    let clocks = Clocks::read()?;
    let begins = clocks.instant + HEAD;
    let schedule = Schedule::new(begins, begins + length, PER_SECOND, 0, 1);
    let (answers, (dues, acks)) = tokio::try_join!(
        open_loop(writers, scale.rate, length, &cpu),
        speak(&mut sender, schedule, clocks),
    )?;
    let until = Instant::now() + OVERTIME;
    let (seen, looked) = loop {
        // Before: what is painted while the page is asked has waited longer than this says, and is seen the next time.
        let looked = Instant::now();
        let seen = seat.seen().await?;
        let (_, painted) = waited(&dues, &seen, clocks.at(looked));
        if painted == dues.len() || looked >= until {
            break (seen, clocks.at(looked));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    seat.same_clock().await?;
    let (latencies, painted) = waited(&dues, &seen, looked);
    let case = format!("{PER_SECOND} messages/s beside {} writes/s", number(scale.rate as f64));
    let mut figures = times(&case, &latencies);
    figures.push(Figure::more(&case, "painted", "messages", painted as f64));
    figures.push(Figure::less(&case, "not painted", "messages", (dues.len() - painted) as f64));
    figures.push(Figure::less(&case, "acknowledged to its sender, p99", "ms", acks.ms(0.99)));
    figures.push(Figure::more(&case, "acknowledged beside it", "1/s", answers.rate()));
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(ms: f64, wanted: f64) -> bool {
        (ms - wanted).abs() <= wanted * 0.001
    }

    #[test]
    fn what_never_came_has_waited_until_the_last_look() {
        let dues = [1_000.0, 1_050.0, 1_100.0, 1_150.0];
        // The second is not in the document, the last one below the view.
        let seen = Seen::from([(0, Some(900.0)), (1, Some(1_020.0)), (3, Some(1_140.0)), (4, None)]);
        let (latencies, painted) = waited(&dues, &seen, 6_050.0);
        assert_eq!((latencies.count(), painted), (4, 2));
        assert!(near(latencies.ms(0.25), 20.0) && near(latencies.ms(0.5), 40.0), "{latencies:?}");
        assert!(near(latencies.ms(0.75), 4_900.0) && near(latencies.ms(1.0), 5_000.0), "{latencies:?}");
    }

    #[test]
    fn what_came_above_the_view_counts_with_the_next_that_was_in_it() {
        let seen = Seen::from([(1, None), (2, None), (3, Some(2_000.0)), (4, Some(2_000.0))]);
        let (latencies, painted) = waited(&[1_000.0, 1_500.0, 1_600.0, 1_900.0], &seen, 7_000.0);
        assert_eq!(painted, 4);
        assert!(near(latencies.ms(1.0), 1_000.0) && near(latencies.ms(0.25), 100.0), "{latencies:?}");
    }

    #[test]
    fn a_moment_is_the_same_on_both_clocks() {
        let clocks = Clocks::read().unwrap();
        let later = clocks.instant + Duration::from_millis(1_500);
        assert!((clocks.at(later) - clocks.ms - 1_500.0).abs() < 0.01);
    }

    #[test]
    fn the_page_is_watched_for_what_is_said() {
        assert!(words(7) == "painted 7" && WATCH.contains(r"/^painted (\d+)$/"));
    }
}
