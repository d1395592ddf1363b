//! The probe: a writer that sends a number ten times a second, whatever became of the ones before, and a reader at another
//! gateway. It runs beside the processes that are hurt, so it survives all of them.

use std::time::{Duration, Instant};

use quorate_client::event::Input;
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::EventKind;
use quorate_proto::ids::{ConversationId, Index, Sequence};
use quorate_proto::rest::{MessagesPage, OneConversation, ProbeReport};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::book::{Book, random_hex};
use super::driver::{Driver, Seen};
use super::rest::{Account, Rest, body};
use super::story;
use super::tally::Tally;
use crate::error::{Error, Result};
use crate::http::Call;

/// Time between two messages.
const SEND_EVERY: Duration = Duration::from_millis(100);
/// How often it looks whether history must be asked, and says how it is.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A run ends by itself after an hour: the servers remember a quarter of a million commands of one user at a time.
const RUN_MESSAGES_MAX: u64 = 36_000;
/// Sends that wait for the writer's client, which takes them at once.
const INPUTS_MAX: usize = 64;
/// What a client has seen and the probe has not counted yet.
const SEEN_MAX: usize = 1_024;
/// Orders under way.
const ORDERS_MAX: usize = 8;
/// The clients are at their gateways, and the first question of a run is answered, within this each: while nothing answers it
/// makes no sense to begin. Together less than a gateway waits for the runner.
const BEGIN_WAIT: Duration = Duration::from_secs(6);
/// A page of history is tried for this long, then the next look tries again.
const PAGE_WAIT: Duration = Duration::from_secs(5);
/// Messages in a page of history.
const PAGE_MESSAGES: u32 = 100;

type Started = std::result::Result<(), WireError>;
type Order = (bool, oneshot::Sender<Started>);

/// To start and stop it, and to look at it.
#[derive(Debug)]
pub(crate) struct Probe {
    orders: mpsc::Sender<Order>,
    report: watch::Receiver<ProbeReport>,
}

struct Page {
    messages: Vec<(Sequence, String)>,
    more_after: bool,
    as_of: Index,
}

/// Both clients.
struct Pair {
    writer: mpsc::Sender<Input>,
    wrote: mpsc::Receiver<Seen>,
    read: mpsc::Receiver<Seen>,
    /// Keeps the reader's client alive.
    _reader: mpsc::Sender<Input>,
}

struct Task {
    rest: Rest,
    writer: Account,
    /// A page that is being read has a copy, and gives it back with what it has learnt.
    reader: Account,
    conversation: ConversationId,
    pair: Option<Pair>,
    tally: Tally,
    number: u64,
    is_running: bool,
    places: [String; 2],
    reading: Option<JoinHandle<(Account, Result<Page>)>>,
    began: Instant,
    report: watch::Sender<ProbeReport>,
}

impl Probe {
    /// A probe that waits for its first order.
    ///
    /// # Errors
    /// When the book does not know its conversation or its accounts.
    pub(crate) fn new(rest: &Rest, book: &Book) -> Result<Self> {
        let conversation = book.rooms.get(story::PROBE).copied();
        let conversation =
            conversation.ok_or_else(|| Error::Failed("the probe has no conversation".to_owned()))?;
        let account = |name: &str| Ok::<_, Error>(Account::new(name, book.password(name)?));
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let (sender, report) = watch::channel(ProbeReport::default());
        let task = Task {
            rest: rest.clone(),
            writer: account(story::WRITER)?,
            reader: account(story::READER)?,
            conversation,
            pair: None,
            tally: Tally::default(),
            number: 0,
            is_running: false,
            places: Default::default(),
            reading: None,
            began: Instant::now(),
            report: sender,
        };
        tokio::spawn(task.live(inbox));
        Ok(Self { orders, report })
    }

    /// What it has counted.
    pub(crate) fn report(&self) -> ProbeReport {
        self.report.borrow().clone()
    }

    /// Begins a run, or lets the present one come to its end.
    ///
    /// # Errors
    /// `unavailable` when a run cannot begin because no gateway answers.
    pub(crate) async fn run(&self, run: bool) -> Started {
        let gone = |_| WireError::new(ErrorCode::Internal, "the probe has ended: start the demo again");
        let (answer, done) = oneshot::channel();
        self.orders.send((run, answer)).await.map_err(|_| gone(()))?;
        done.await.map_err(|_| gone(()))?
    }
}

impl Task {
    async fn live(mut self, mut inbox: mpsc::Receiver<Order>) {
        // Both sign in before anybody waits for it.
        self.meet();
        let mut due = interval(SEND_EVERY);
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                order = inbox.recv() => {
                    let Some((run, answer)) = order else { return };
                    let done = self.order(run, &mut due).await;
                    // Who asked may have gone meanwhile.
                    let _ = answer.send(done);
                }
                // Ticks that were missed come at once: what is sent does not wait for what was.
                _ = due.tick(), if self.is_running => self.send_next(),
                (is_writer, seen) = next(&mut self.pair) => self.count(is_writer, seen),
                (account, page) = joined(&mut self.reading) => self.take(account, page),
                _ = look.tick() => self.ask_history(),
            }
            self.publish();
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn order(&mut self, run: bool, due: &mut Interval) -> Started {
        if !run {
            self.is_running = false;
            return Ok(());
        }
        if self.is_running {
            return Ok(());
        }
        let unavailable =
            |error: Error| WireError::new(ErrorCode::Unavailable, format!("the probe cannot begin: {error}"));
        // A page of the former run: nobody wants it any more, and a gateway that stands still may keep it for long.
        if let Some(reading) = self.reading.take() {
            reading.abort();
        }
        self.meet();
        let arrived = tokio::time::timeout(BEGIN_WAIT, self.arrive()).await;
        arrived.map_err(|_| unavailable(Error::Failed("its clients found no gateway".to_owned())))?;
        let newest = self.newest().await.map_err(unavailable)?;
        let run_name = random_hex().map_err(unavailable)?;
        self.tally = Tally::new(run_name.get(..8).unwrap_or("run"), newest, self.now_ms());
        self.number = 0;
        self.is_running = true;
        due.reset_immediately();
        Ok(())
    }

    /// Both clients, where they are not.
    fn meet(&mut self) {
        if self.pair.is_none() {
            self.places = Default::default();
            self.pair = Some(pair(&self.rest, &self.writer, self.reader.clone(), self.conversation));
        }
    }

    /// Until both clients have a session: how long that takes is no gap in anybody's writing.
    async fn arrive(&mut self) {
        while self.pair.is_some() && self.places.iter().any(String::is_empty) {
            let (is_writer, seen) = next(&mut self.pair).await;
            self.count(is_writer, seen);
        }
    }

    /// The newest message before this run.
    async fn newest(&mut self) -> Result<Sequence> {
        let call = Call::get(format!("/api/v1/conversations/{}", self.conversation));
        let answer = tokio::time::timeout(BEGIN_WAIT, self.reader.call(&self.rest, call, BEGIN_WAIT)).await;
        let answer = answer.map_err(|_| Error::Failed("no gateway answers".to_owned()))??;
        let answer = answer.map_err(|error| Error::Failed(error.message))?;
        let OneConversation::Conversation { conversation, .. } = body(&answer)?;
        Ok(conversation.sequence)
    }

    fn send_next(&mut self) {
        if self.number >= RUN_MESSAGES_MAX {
            self.is_running = false;
            return;
        }
        self.number += 1;
        let text = self.tally.text(self.number);
        let input = Input::Send { conversation: self.conversation, text, reply_to: None };
        if let Some(pair) = &self.pair
            && pair.writer.try_send(input).is_err()
        {
            // The client's task is gone, or stuck: nothing was taken, so nothing is counted as sent.
            self.is_running = false;
        }
    }

    fn count(&mut self, is_writer: bool, seen: Option<Seen>) {
        let now_ms = self.now_ms();
        match seen {
            None => {
                self.pair = None;
                self.is_running = false;
            }
            Some(Seen::At(gateway)) => self.places[usize::from(!is_writer)] = gateway,
            Some(Seen::Stored(id, text)) => self.tally.stored(id, &text, now_ms),
            Some(Seen::Committed(id, sequence, index)) => self.tally.committed(id, sequence, index, now_ms),
            Some(Seen::Refused(id)) => self.tally.refused(id),
            // What the writer hears of its own messages is no proof that others do.
            Some(Seen::Arrived(..)) if is_writer => {}
            Some(Seen::Arrived(sequence, text)) => self.tally.arrived(sequence, text, now_ms),
        }
    }

    fn ask_history(&mut self) {
        if self.reading.is_some() {
            return;
        }
        let Some((after, min_index)) = self.tally.wants_history(self.is_running, self.now_ms()) else {
            return;
        };
        let (mut account, rest) = (self.reader.clone(), self.rest.clone());
        let path = format!(
            "/api/v1/conversations/{}/messages?after={after}&limit={PAGE_MESSAGES}&min_index={min_index}",
            self.conversation
        );
        self.reading = Some(tokio::spawn(async move {
            let page = page(&rest, &mut account, path).await;
            (account, page)
        }));
    }

    fn take(&mut self, account: Option<Account>, page: Option<Page>) {
        self.reading = None;
        if let Some(account) = account {
            self.reader = account;
        }
        if let Some(Page { messages, more_after, as_of }) = page {
            self.tally.page(messages, more_after, as_of, self.now_ms());
        }
    }

    fn publish(&mut self) {
        // Before the first run nothing was counted, and nothing can be final.
        if self.number == 0 && !self.is_running {
            return;
        }
        let [writer_at, reader_at] = self.places.clone();
        let report = self.tally.report(self.is_running, self.now_ms());
        self.report.send_replace(ProbeReport { writer_at, reader_at, ..report });
    }
}

fn pair(rest: &Rest, writer: &Account, reader: Account, conversation: ConversationId) -> Pair {
    let (writes, inputs) = mpsc::channel(INPUTS_MAX);
    let (told, wrote) = mpsc::channel(SEEN_MAX);
    // Round the gateways in opposite directions: who loses hers does not go where the other is.
    let back = rest.gateways.len().saturating_sub(1).max(1);
    Driver::spawn(rest.clone(), writer.clone(), conversation, (0, back), inputs, told);
    let (reads, inputs) = mpsc::channel(INPUTS_MAX);
    let (told, read) = mpsc::channel(SEEN_MAX);
    Driver::spawn(rest.clone(), reader, conversation, (1, 1), inputs, told);
    Pair { writer: writes, wrote, read, _reader: reads }
}

/// What one of both has seen, and whether it is the writer; `None`: its task has ended.
async fn next(pair: &mut Option<Pair>) -> (bool, Option<Seen>) {
    match pair {
        Some(pair) => tokio::select! {
            seen = pair.wrote.recv() => (true, seen),
            seen = pair.read.recv() => (false, seen),
        },
        None => std::future::pending().await,
    }
}

async fn joined(
    reading: &mut Option<JoinHandle<(Account, Result<Page>)>>,
) -> (Option<Account>, Option<Page>) {
    match reading {
        Some(handle) => match handle.await {
            Ok((account, page)) => (Some(account), page.ok()),
            Err(_) => (None, None),
        },
        None => std::future::pending().await,
    }
}

async fn page(rest: &Rest, account: &mut Account, path: String) -> Result<Page> {
    let answer = account.call(rest, Call::get(path), PAGE_WAIT).await?;
    let answer = answer.map_err(|error| Error::Failed(error.message))?;
    let MessagesPage::Page { messages, more_after, as_of_index, .. } = body(&answer)?;
    let messages = messages.into_iter().filter_map(|event| match event.kind {
        EventKind::Message(message) => Some((message.sequence, message.text)),
        _ => None,
    });
    Ok(Page { messages: messages.collect(), more_after, as_of: as_of_index })
}
