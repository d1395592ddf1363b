//! The index over a machine's state: what is found, by whom, and after which losses.

use std::path::Path;
use std::sync::RwLockReadGuard;

use bytes::Bytes;
use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::search_query::Order;
use quorate_proto::rpc::{self, LogId, event};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::feed::AppliedBatch;
use crate::machine::tests::{World, accepted, conversation_of, send};
use crate::store::{Applied, Key, StoreError, View};

/// Searches wait for what was said; a busy machine may be slow to make it findable.
const WAIT: Duration = Duration::from_secs(30);

#[derive(Default)]
struct State(RwLock<World>);

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

struct Look<'a>(RwLockReadGuard<'a, World>);

impl View for Look<'_> {
    fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        View::get(&self.0.state, key)
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Result<Vec<(Key, Bytes)>, StoreError> {
        View::range(&self.0.state, from, to, limit)
    }
}

impl Source for State {
    type Look<'a> = Look<'a>;

    fn look(&self) -> Look<'_> {
        Look(self.0.read().unwrap())
    }

    fn applied(look: &Look<'_>) -> u64 {
        look.0.index
    }
}

/// A state, what is told of it, and a search over both.
struct Rig {
    state: Arc<State>,
    publisher: Publisher,
    search: Search<State>,
    dir: TempDir,
    running: Option<(JoinHandle<()>, CancellationToken)>,
}

impl Rig {
    fn new() -> Self {
        let state = Arc::new(State(RwLock::new(World::new())));
        let publisher = Publisher::new(&Applied::default());
        let search = Search::new(Arc::clone(&state), "tests", Metrics::default());
        let mut rig = Self { state, publisher, search, dir: tempfile::tempdir().unwrap(), running: None };
        rig.start();
        rig
    }

    fn start(&mut self) {
        let stop = CancellationToken::new();
        let run = self.search.clone().run(self.dir.path().to_owned(), self.publisher.clone(), stop.clone());
        self.running = Some((tokio::spawn(run), stop));
    }

    /// Stops it as a replica's orderly end does.
    async fn stop(&mut self) {
        let (task, stop) = self.running.take().unwrap();
        stop.cancel();
        task.await.unwrap();
    }

    /// A new process over the same folder and state.
    fn restart(&mut self) {
        self.search = Search::new(Arc::clone(&self.state), "tests", Metrics::default());
        self.publisher = Publisher::new(&self.applied());
        self.start();
    }

    fn applied(&self) -> Applied {
        let index = self.index();
        Applied { log_id: Some(LogId { index, ..LogId::default() }), ..Applied::default() }
    }

    fn index(&self) -> u64 {
        self.state.0.read().unwrap().index
    }

    fn user(&self, name: &str) -> u64 {
        self.state.0.write().unwrap().user(name)
    }

    /// Applies a command without telling anybody.
    fn apply(&self, user: u64, action: Action) -> (rpc::Outcome, Vec<rpc::Event>) {
        let mut world = self.state.0.write().unwrap();
        let command = world.command(user, action);
        let (outcome, events) = world.apply(&command);
        assert!(!matches!(outcome.result, Some(rpc::outcome::Result::Rejected(_))), "{outcome:?}");
        (outcome, events)
    }

    fn act(&self, user: u64, action: Action) -> rpc::Outcome {
        let (outcome, events) = self.apply(user, action);
        self.publisher.publish(AppliedBatch { events, applied_index: self.index(), log_time_ms: 0 });
        outcome
    }

    fn group(&self, by: u64, title: &str, member_ids: &[u64]) -> u64 {
        let group = rpc::CreateGroup {
            title: title.to_owned(),
            member_ids: member_ids.to_vec(),
            ..Default::default()
        };
        conversation_of(&self.act(by, Action::CreateGroup(group)))
    }

    fn say(&self, by: u64, room: u64, text: &str) {
        accepted(&self.act(by, send(room, text)));
    }

    fn edit(room: u64, sequence: u64, text: &str) -> Action {
        let text = text.to_owned();
        Action::Edit(rpc::Edit { conversation_id: room, sequence, text, if_revision: None })
    }

    fn documents(&self) -> u64 {
        let shown = self.search.shared.shown.read().unwrap().clone().unwrap();
        shown.reader.searcher().num_docs()
    }

    /// Waits until everything that was applied is searched.
    async fn ask(&self, user: u64, query: SearchQuery) -> Result<SearchResult, SearchError> {
        let query = SearchQuery { min_indexed: self.index(), ..query };
        let end = tokio::time::Instant::now() + WAIT;
        loop {
            match self.search.search(user, query.clone()).await {
                Err(SearchError::Behind | SearchError::Unavailable(_))
                    if tokio::time::Instant::now() < end =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                result => return result,
            }
        }
    }

    /// Texts found, the newest first.
    async fn find(&self, user: u64, query: &str) -> Vec<String> {
        let query = SearchQuery { query: query.to_owned(), limit: 50, ..SearchQuery::default() };
        texts(&self.ask(user, query).await.unwrap())
    }

    async fn refusal(&self, user: u64, query: &str) -> String {
        let query = SearchQuery { query: query.to_owned(), ..SearchQuery::default() };
        match self.ask(user, query).await {
            Err(SearchError::Rejected(rejected)) => format!("{}: {}", rejected.code, rejected.message),
            other => panic!("not refused: {other:?}"),
        }
    }
}

fn texts(result: &SearchResult) -> Vec<String> {
    let text = |hit: &rpc::SearchHit| match &hit.message.as_ref().unwrap().kind {
        Some(event::Kind::Message(message)) => message.text.clone(),
        other => panic!("no message: {other:?}"),
    };
    result.hits.iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_find_what_they_may_see_and_nobody_else_finds_anything() {
    let rig = Rig::new();
    let (ana, bob, eve) = (rig.user("ana"), rig.user("bob"), rig.user("eve"));
    let room = rig.group(ana, "Room", &[bob]);
    rig.say(ana, room, "the rolling restart begins");
    rig.say(bob, room, "東京都で rolling");
    for user in [ana, bob] {
        assert_eq!(rig.find(user, "rolling").await, ["東京都で rolling", "the rolling restart begins"]);
        assert_eq!(rig.find(user, "\"rolling restart\"").await, ["the rolling restart begins"]);
        assert_eq!(rig.find(user, "京都").await, ["東京都で rolling"]);
        assert_eq!(rig.find(user, "都").await, ["東京都で rolling"]);
        assert_eq!(rig.find(user, "rest*").await, ["the rolling restart begins"]);
        assert_eq!(rig.find(user, "\"restart rolling\"").await, [""; 0]);
    }
    assert_eq!(rig.find(eve, "rolling").await, [""; 0]);
    accepted(&rig.act(ana, Action::AddMember(rpc::AddMember { conversation_id: room, user_id: eve })));
    rig.say(ana, room, "rolling on");
    assert_eq!(rig.find(eve, "rolling").await, ["rolling on"], "what came before her is not hers");
    let removed = rpc::RemoveMember { conversation_id: room, user_id: bob };
    accepted(&rig.act(ana, Action::RemoveMember(removed)));
    assert_eq!(rig.find(bob, "rolling").await, [""; 0], "who was removed is no member");
    let within = SearchQuery { query: "rolling".into(), conversation_id: room, ..SearchQuery::default() };
    assert!(matches!(rig.ask(bob, within).await, Err(SearchError::Rejected(it)) if it.code == "not_found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_text_is_found_and_the_one_before_is_not() {
    let rig = Rig::new();
    let (ana, bob) = (rig.user("ana"), rig.user("bob"));
    let room = rig.group(ana, "Room", &[bob]);
    rig.say(ana, room, "first thoughts");
    rig.act(ana, Rig::edit(room, 1, "second thoughts"));
    assert_eq!(rig.find(bob, "first").await, [""; 0]);
    assert_eq!(rig.find(bob, "second").await, ["second thoughts"]);
    assert_eq!(rig.find(bob, "thoughts").await, ["second thoughts"], "once");
    assert_eq!(rig.documents(), 1);
    // Told to nobody: the index still has the text before, and the state decides.
    rig.apply(ana, Rig::edit(room, 1, "third thoughts"));
    let stale = SearchQuery { query: "second".into(), ..SearchQuery::default() };
    assert_eq!(texts(&rig.search.search(bob, stale).await.unwrap()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_narrow_and_say_what_is_wrong() {
    let rig = Rig::new();
    let (ana, bob) = (rig.user("ana"), rig.user("bob"));
    let one = rig.group(ana, "Release team", &[bob]);
    let two = rig.group(ana, "Other", &[bob]);
    let direct = conversation_of(&rig.act(bob, Action::CreateDirect(rpc::CreateDirect { peer_id: ana })));
    let day = |day: u64| rig.state.0.write().unwrap().now = day * 86_400_000 + 1_000;
    day(20_000); // 2024-10-04
    rig.say(ana, one, "plan https://example.org/plan");
    day(20_001);
    rig.say(bob, two, "plan two");
    day(20_002);
    rig.say(bob, direct, "plan three");
    assert_eq!(rig.find(ana, "plan from:bob").await, ["plan three", "plan two"]);
    assert_eq!(rig.find(ana, "from:ana from:bob").await.len(), 3);
    assert_eq!(rig.find(ana, "has:link").await, ["plan https://example.org/plan"]);
    assert_eq!(rig.find(ana, "has:file").await, [""; 0]);
    assert_eq!(rig.find(ana, "plan in:\"release TEAM\"").await, ["plan https://example.org/plan"]);
    assert_eq!(rig.find(ana, &format!("in:{two}")).await, ["plan two"]);
    assert_eq!(rig.find(ana, "in:@bob").await, ["plan three"]);
    assert_eq!(rig.find(ana, "in:@bob in:other").await, ["plan three", "plan two"]);
    assert_eq!(rig.find(ana, "before:2024-10-05").await, ["plan https://example.org/plan"]);
    assert_eq!(rig.find(ana, "after:2024-10-04 before:2024-10-06").await, ["plan two"]);
    assert_eq!(rig.find(ana, "example").await.len(), 1, "parts of an address are words");
    for (query, advice) in [
        ("in:999", "in:"),
        ("in:\"No such\"", "whole title"),
        ("in:@nobody", "in:@"),
        ("from:nobody", "from:"),
        ("has:cake", "has:link"),
        ("ـ", "nothing to look for"),
    ] {
        let refusal = rig.refusal(ana, query).await;
        assert!(refusal.starts_with("invalid: ") && refusal.contains(advice), "{query}: {refusal}");
    }
    let bad = SearchQuery { query: "plan".into(), cursor: "x".into(), ..SearchQuery::default() };
    assert!(matches!(rig.ask(ana, bad).await, Err(SearchError::Rejected(_))));
}

/// `from:` and a name that nobody has any more led to the messages that say "deleted user".
#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_deleted_account_finds_nothing() {
    let rig = Rig::new();
    let (ana, bob) = (rig.user("ana"), rig.user("bob"));
    let room = rig.group(ana, "Room", &[bob]);
    let direct = conversation_of(&rig.act(bob, Action::CreateDirect(rpc::CreateDirect { peer_id: ana })));
    rig.say(ana, room, "plan one");
    rig.say(ana, direct, "plan two");
    assert_eq!(rig.find(bob, "plan from:ana").await.len(), 2);
    let never = ["plan from:zoe", "plan in:@zoe"].map(|query| query.to_owned());
    let password_mark = Bytes::copy_from_slice(&blake3::hash(b"$argon2id$").as_bytes()[..16]);
    accepted(&rig.act(ana, Action::DeleteUser(rpc::DeleteUser { user_id: ana, password_mark })));
    for query in never {
        let (unknown, gone) =
            (rig.refusal(bob, &query).await, rig.refusal(bob, &query.replace("zoe", "ana")).await);
        assert_eq!(gone.replace("ana", "zoe"), unknown, "as of a name that nobody ever had");
    }
    assert_eq!(rig.find(bob, "ana").await, [""; 0]);
    assert_eq!(rig.find(bob, "plan").await.len(), 2, "what was said stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_have_everything_once_in_either_order() {
    let rig = Rig::new();
    let (ana, bob) = (rig.user("ana"), rig.user("bob"));
    let rooms: Vec<u64> = (0..5).map(|at| rig.group(ana, &format!("Room {at}"), &[bob])).collect();
    for at in 0..123 {
        let text = format!("needle {at} {}", "hay ".repeat(at % 7));
        rig.say(ana, rooms[at % rooms.len()], &text);
    }
    for order in [Order::Newest, Order::Best] {
        let mut found = Vec::new();
        let mut query =
            SearchQuery { query: "needle".into(), order: order.into(), limit: 10, ..SearchQuery::default() };
        let mut pages = 0;
        loop {
            let page = rig.ask(bob, query.clone()).await.unwrap();
            assert!(page.hits.len() <= 10 && !page.incomplete && page.indexed_through >= rig.index());
            assert!(page.hits.iter().all(|hit| hit.highlights == [rpc::Highlight { begin: 0, end: 6 }]));
            found.extend(texts(&page));
            pages += 1;
            if page.next.is_empty() {
                break;
            }
            query.cursor = page.next;
        }
        assert_eq!((found.len(), pages), (123, 13), "{order:?}");
        if order == Order::Newest {
            assert!(found[0].starts_with("needle 122") && found[122].starts_with("needle 0"));
        } else {
            assert!(
                found[0].ends_with(' ') && !found[0].contains("hay"),
                "the shortest fits best: {}",
                found[0]
            );
        }
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 123, "{order:?}: each once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_and_what_was_applied_meanwhile_is_found() {
    let mut rig = Rig::new();
    let (ana, bob) = (rig.user("ana"), rig.user("bob"));
    let room = rig.group(ana, "Room", &[bob]);
    for at in 0..200 {
        rig.say(ana, room, &format!("before {at}"));
    }
    assert_eq!(rig.find(bob, "before").await.len(), 50);
    rig.stop().await;
    for at in 0..200 {
        rig.apply(ana, send(room, &format!("while {at}")));
    }
    rig.apply(ana, Rig::edit(room, 7, "changed while away"));
    rig.restart();
    assert_eq!(rig.find(bob, "\"while 199\"").await, ["while 199"]);
    assert_eq!(rig.find(bob, "changed").await, ["changed while away"]);
    assert_eq!(rig.find(bob, "\"before 6\"").await, [""; 0], "the seventh was edited");
    assert_eq!(rig.find(bob, "\"before 5\"").await, ["before 5"]);
    assert_eq!(rig.search.shared.metrics.search_rebuilds(), 0, "it went on where it was");
    // A replay of the log tells again what the index has.
    let events = rig.apply(ana, send(room, "told twice")).1;
    for _ in 0..2 {
        let events = events.clone();
        rig.publisher.publish(AppliedBatch { events, applied_index: rig.index(), log_time_ms: 0 });
    }
    assert_eq!(rig.find(bob, "twice").await, ["told twice"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_lost_or_damaged_is_made_anew() {
    let mut rig = Rig::new();
    let (ana, bob) = (rig.user("ana"), rig.user("bob"));
    let rooms: Vec<u64> = (0..100).map(|at| rig.group(ana, &format!("Room {at}"), &[bob])).collect();
    for (at, room) in rooms.iter().enumerate() {
        for _ in 0..3 {
            rig.say(ana, *room, &format!("needle number{at}"));
        }
    }
    rig.act(ana, Rig::edit(rooms[0], 2, "needle edited"));
    assert_eq!(rig.find(bob, "number42").await.len(), 3);
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 5] = [
        ("the folder is gone", |dir| std::fs::remove_dir_all(dir).unwrap()),
        ("a byte of a file", |dir| {
            let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
            let large = files.filter(|path| path.extension().is_some_and(|it| it != "json" && it != "lock"));
            let path = large.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x40;
            std::fs::write(path, bytes).unwrap();
        }),
        ("a file is gone", |dir| {
            let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
            let part = files.filter(|path| path.extension().is_some_and(|it| it != "json" && it != "lock"));
            std::fs::remove_file(part.max_by_key(|path| path.metadata().unwrap().len()).unwrap()).unwrap();
        }),
        ("the list of files is torn", |dir| {
            let bytes = std::fs::read(dir.join("meta.json")).unwrap();
            std::fs::write(dir.join("meta.json"), &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("it claims to have come further", |dir| {
            let text = std::fs::read_to_string(dir.join("meta.json")).unwrap();
            let altered = text.replacen("\\\"through\\\":", "\\\"through\\\":9", 1);
            assert_ne!(text, altered);
            std::fs::write(dir.join("meta.json"), altered).unwrap();
        }),
    ];
    for (what, damage) in damages {
        rig.stop().await;
        damage(&rig.dir.path().join("search"));
        rig.restart();
        assert_eq!(rig.find(bob, "number42").await.len(), 3, "{what}");
        assert_eq!(rig.find(bob, "edited").await, ["needle edited"], "{what}");
        assert_eq!(rig.documents(), 300, "{what}");
        assert_eq!(rig.search.shared.metrics.search_rebuilds(), 1, "{what}: not noticed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_fails_heals_although_nobody_writes_any_more() {
    let rig = Rig::new();
    let (ana, bob) = (rig.user("ana"), rig.user("bob"));
    let room = rig.group(ana, "Room", &[bob]);
    rig.say(ana, room, "first");
    assert_eq!(rig.find(bob, "first").await, ["first"]);
    // The next commit fails, and nothing comes after it that would tell. What the last one still tidies up may come between.
    while std::fs::remove_dir_all(rig.dir.path().join("search"))
        .is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound)
    {}
    rig.say(ana, room, "last");
    assert_eq!(rig.find(bob, "last").await, ["last"]);
    assert_eq!(rig.find(bob, "first").await, ["first"]);
    assert_eq!(rig.search.shared.metrics.search_rebuilds(), 2, "at first, and after the loss");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_is_read_from_the_state() {
    let rig = Rig::new();
    let (ana, bob) = (rig.user("ana"), rig.user("bob"));
    let room = rig.group(ana, "Room", &[bob]);
    rig.say(ana, room, "told");
    assert_eq!(rig.find(bob, "told").await, ["told"]);
    // As when a snapshot is installed: nobody tells what lies between.
    rig.apply(ana, send(room, "within the snapshot"));
    rig.publisher.publish_reset(&rig.applied());
    assert_eq!(rig.find(bob, "snapshot").await, ["within the snapshot"]);
    rig.say(ana, room, "after it");
    assert_eq!(rig.find(bob, "\"after it\"").await, ["after it"]);
    // More batches than the ring has places, faster than anybody reads.
    for at in 0..6_000 {
        rig.say(ana, room, &format!("flood {at}"));
    }
    assert_eq!(rig.find(bob, "\"flood 5999\"").await, ["flood 5999"]);
    assert_eq!(rig.find(bob, "\"flood 3\"").await, ["flood 3"]);
    assert_eq!(rig.documents(), 6_003);
}

/// Figures: `QUORATE_SEARCH_MESSAGES=100000 cargo test --release -p quorate-replica --lib search::tests::figures -- --nocapture`.
#[tokio::test(flavor = "multi_thread")]
async fn figures() {
    const ROOMS: usize = 200;
    const WORDS: usize = 20_000;
    let messages: usize =
        std::env::var("QUORATE_SEARCH_MESSAGES").map_or(2_000, |text| text.parse().expect("a number"));
    let mut rig = Rig::new();
    rig.stop().await;
    let (ana, bob) = (rig.user("ana"), rig.user("bob"));
    let rooms: Vec<u64> = (0..ROOMS).map(|at| rig.group(ana, &format!("Room {at}"), &[bob])).collect();
    let mut chance = 1_u64;
    let mut below = |end: usize| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) as usize % end
    };
    let mut bytes = 0;
    for _ in 0..messages {
        let words = 3 + below(15);
        // Few words are common and most are rare.
        let text: Vec<String> =
            (0..words).map(|_| format!("w{}", below(WORDS) * below(WORDS) / WORDS)).collect();
        let text = text.join(" ");
        bytes += text.len();
        let room = rooms[below(ROOMS)];
        rig.apply(ana, send(room, &text));
    }
    let began = Instant::now();
    rig.restart();
    rig.find(bob, "w0").await;
    let took = began.elapsed();
    let on_disk: u64 = std::fs::read_dir(rig.dir.path().join("search"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    println!(
        "{messages} messages of {} bytes on average: built in {took:.2?} ({:.1} µs a message, rests included), \
         {:.0} bytes a message on disk",
        bytes / messages,
        took.as_secs_f64() * 1e6 / messages as f64,
        on_disk as f64 / messages as f64
    );
    for (what, query, order) in [
        ("a common word", "w0", Order::Newest),
        ("a common word, best", "w0", Order::Best),
        ("a rare word", "w15000", Order::Newest),
        ("two words", "w1 w2", Order::Newest),
        ("a phrase", "\"w0 w1\"", Order::Newest),
        ("a beginning", "w1*", Order::Newest),
        ("a filter alone", "from:ana", Order::Newest),
    ] {
        let mut times = Vec::new();
        for _ in 0..50 {
            let query = SearchQuery { query: query.into(), order: order.into(), ..SearchQuery::default() };
            let began = Instant::now();
            let page = rig.ask(bob, query).await.unwrap();
            assert!(!page.incomplete, "{what}");
            times.push(began.elapsed());
        }
        times.sort();
        println!("{what}: p50 {:.2?}, p98 {:.2?}", times[25], times[48]);
    }
    // One at a time, as people write.
    let began = Instant::now();
    for (at, room) in rooms.iter().enumerate().take(20) {
        rig.say(ana, *room, "fresh");
        assert_eq!(rig.find(bob, "fresh").await.len(), at + 1);
    }
    println!("found after {:.0?} on average", began.elapsed() / 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_files_is_found_by_them_with_or_without_words() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.user("ann"), rig.user("bob"));
    let room = rig.group(ann, "team", &[bob]);
    let show = |number: u8, text: &str| {
        // An empty file: it needs no chunks.
        let file_id = Bytes::from(vec![number; 16]);
        let commit = rpc::CommitFile {
            file_id: file_id.clone(),
            name: "notes.txt".into(),
            media_type: "text/plain".into(),
            ..rpc::CommitFile::default()
        };
        rig.act(ann, Action::CommitFile(commit));
        let attachments = vec![rpc::AttachFile { file_id, ..rpc::AttachFile::default() }];
        let text = text.to_owned();
        rig.act(
            ann,
            Action::Send(rpc::Send { conversation_id: room, text, attachments, ..Default::default() }),
        );
    };
    rig.say(ann, room, "look below");
    show(1, "");
    show(2, "look here");
    assert_eq!(rig.find(bob, "has:file").await, ["look here", ""]);
    assert_eq!(rig.find(bob, "look has:file").await, ["look here"]);
    assert_eq!(rig.find(bob, "look").await, ["look here", "look below"]);
    // Read from the state instead of the feed.
    rig.stop().await;
    std::fs::remove_dir_all(rig.dir.path().join("search")).unwrap();
    rig.restart();
    assert_eq!(rig.find(bob, "has:file").await, ["look here", ""]);
    rig.act(ann, Action::DeleteMessages(rpc::DeleteMessages { conversation_id: room, first: 2, last: 2 }));
    assert_eq!(rig.find(bob, "has:file").await, ["look here"]);
}
