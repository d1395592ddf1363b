//! The screen as people see it, drawn to a backend of cells, from the shared rules fed with a gateway's frames.

use quorate_client::proto::frame::{
    Body, ConversationKind, ConversationSummary, Event, EventKind, Message, PresenceState, ServerFrame,
    Signal, SignalKind, Status, User, Welcome, WriteState,
};
use quorate_client::proto::ids::{ClientMessageId, Sequence};
use quorate_client::proto::limits::SessionLimits;
use quorate_client::proto::rest::SessionGrant;
use quorate_client::{Config, Effect, Input, Moment};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Modifier;

use super::*;
use crate::clock::local_day;
use crate::model::{Dialog, Door, Editor};

const NOW_MS: u64 = 1_700_000_000_000;
const ME: u64 = 1;

fn user(id: u64, name: &str) -> User {
    User { id, name: name.to_lowercase(), display_name: name.to_owned(), ..User::default() }
}

fn id_of(n: u64) -> ClientMessageId {
    ClientMessageId::from_slice(&u128::from(n).to_be_bytes()).expect("16 bytes")
}

fn message(conversation: u64, sequence: Sequence, from: User, text: &str) -> Event {
    let time = NOW_MS - 600_000 + sequence * 1_000;
    let client_message_id = id_of(conversation * 1_000 + sequence);
    let message = Message { sequence, from, client_message_id, text: text.to_owned(), ..Message::default() };
    Event { conversation, version: sequence, index: 100 + sequence, time, kind: EventKind::Message(message) }
}

/// A client at a gateway that says what a test wants said.
struct Desk {
    client: Client,
    model: Model,
    now_ms: u64,
    asked: Vec<serde_json::Value>,
}

impl Desk {
    /// Ana is signed in; she has a direct conversation with Bob and a group.
    fn new() -> Self {
        let client = Client::new(Config::default());
        let model = Model { stage: Stage::Inside, ..Model::default() };
        let mut desk = Self { client, model, now_ms: 1_000, asked: Vec::new() };
        let (session, access_token) = ("s".to_owned(), "t".to_owned());
        let me = user(ME, "Ana");
        let expires_at = NOW_MS + 600_000;
        let grant = SessionGrant {
            user: me.clone(),
            session,
            access_token,
            expires_at,
            index: 1,
            read_only: false,
            admin: false,
        };
        desk.input(Input::Granted(grant));
        desk.input(Input::Opened(1));
        let direct = ConversationSummary {
            id: 5,
            members: vec![me.clone(), user(2, "Bob")],
            member_count: 2,
            version: 3,
            sequence: 3,
            unread: 2,
            mentions: 1,
            read: 1,
            last_message: Some(message(5, 3, user(2, "Bob"), "see \u{1b}[31myou")),
            ..ConversationSummary::default()
        };
        let group = ConversationSummary {
            id: 6,
            kind: ConversationKind::Group,
            title: "Team".to_owned(),
            members: vec![me.clone(), user(2, "Bob"), user(3, "Cleo")],
            member_count: 3,
            ..ConversationSummary::default()
        };
        desk.say(Body::Welcome(Box::new(Welcome {
            session: "s".to_owned(),
            user: me,
            cluster: "c".to_owned(),
            gateway: "a".to_owned(),
            index: 100,
            resumed: false,
            ping_ms: 5_000,
            limits: SessionLimits::default(),
            write: WriteState::Up,
            log_time: NOW_MS,
            me_version: 1,
            conversations: vec![direct, group],
        })));
        desk
    }

    /// Bob's conversation is open, and its history is here.
    fn with_bob() -> Self {
        let mut desk = Self::new();
        desk.model.go_to(5, Some(1), None);
        desk.input(Input::Focus(Some(5)));
        let bob = || user(2, "Bob");
        let messages = vec![
            message(5, 1, user(ME, "Ana"), "hello **Bob**"),
            message(5, 2, bob(), "evil \u{1b}]0;owned\u{7}\u{1b}[2Jtext"),
            message(5, 3, bob(), "see you"),
        ];
        let page =
            Body::Page { conversation: 5, messages, more_before: false, more_after: false, as_of_index: 110 };
        desk.answer("history", page);
        desk
    }

    fn input(&mut self, input: Input) -> Vec<Effect> {
        let moment = Moment { now_ms: self.now_ms, wall_ms: NOW_MS, random: u128::from(self.now_ms) };
        let effects = self.client.handle(moment, input);
        for effect in &effects {
            if let Effect::Transmit(_, text) = effect {
                self.asked.push(serde_json::from_str(text).expect("a frame"));
            }
        }
        effects
    }

    fn say(&mut self, body: Body) {
        let frame = serde_json::to_string(&ServerFrame { reply: None, body }).expect("a frame");
        self.input(Input::Text(1, frame));
    }

    fn answer(&mut self, kind: &str, body: Body) {
        let asked = self.asked.iter().rev().find(|frame| frame["type"] == kind).expect("it was asked");
        let id = asked["id"].as_u64().expect("a number");
        let frame = serde_json::to_string(&ServerFrame::reply(id, body)).expect("a frame");
        self.input(Input::Text(1, frame));
    }

    fn terminal(&self, width: u16, height: u16) -> (Terminal<TestBackend>, Seen) {
        let list = quorate_client::view::list(&self.client);
        let rows = match self.model.open {
            Some(id) => quorate_client::view::rows(&self.client, id, self.model.new_after, &local_day),
            None => Vec::new(),
        };
        let view = View {
            client: &self.client,
            model: &self.model,
            list: &list,
            rows: &rows,
            now_ms: self.now_ms,
            wall_ms: NOW_MS,
            address: "http://localhost:8080",
            look: Look::default(),
        };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("cells");
        let mut seen = Seen::default();
        terminal.draw(|frame| seen = draw(frame, &view)).expect("drawn");
        (terminal, seen)
    }

    fn screen(&self, width: u16, height: u16) -> String {
        self.terminal(width, height).0.backend().to_string()
    }
}

#[track_caller]
fn shows(screen: &str, words: &[&str]) {
    for word in words {
        assert!(screen.contains(word), "{word:?} is not on\n{screen}");
    }
}

#[test]
fn a_conversation_stands_beside_the_list() {
    let desk = Desk::with_bob();
    let screen = desk.screen(100, 30);
    shows(&screen, &["Conversations", "Bob", "# Team", "Today", "── New ──", "hello Bob", "✓", "see you"]);
    shows(&screen, &["You", "Connected to gateway a", "ana ·", "? help", "> Write to Bob"]);
}

#[test]
fn what_others_wrote_moves_no_cursor() {
    let (terminal, _) = Desk::with_bob().terminal(100, 30);
    let screen = terminal.backend().to_string();
    shows(&screen, &["evil text", "see you"]);
    assert!(!screen.contains("owned") && !screen.contains("[31m"), "{screen}");
    let control = |symbol: &str| symbol.chars().any(char::is_control);
    assert!(!terminal.backend().buffer().content().iter().any(|cell| control(cell.symbol())));
}

#[test]
fn the_list_counts_what_is_unread_and_whom_it_names() {
    let screen = Desk::new().screen(100, 20);
    shows(&screen, &["@1 2", "2 unread", "see you", "No messages yet", "No conversation is open."]);
}

#[test]
fn a_message_goes_from_sending_to_read() {
    let mut desk = Desk::with_bob();
    desk.input(Input::Send { conversation: 5, text: "on my way".to_owned(), reply_to: None });
    shows(&desk.screen(100, 30), &["on my way  ◌ sending", "1 message waits"]);
    let id = desk.client.outbox().of(5).next().expect("it waits").stored.id;
    let mut event = message(5, 4, user(ME, "Ana"), "on my way");
    if let EventKind::Message(message) = &mut event.kind {
        message.client_message_id = id;
    }
    desk.say(Body::Event(event));
    shows(&desk.screen(100, 30), &["on my way  ✓"]);
    let receipt = SignalKind::Receipt { user: 2, read: 4, delivered: 4 };
    desk.say(Body::Signal(Signal { conversation: 5, kind: receipt }));
    shows(&desk.screen(100, 30), &["on my way  ✓✓ read"]);
}

#[test]
fn who_types_and_who_is_there_is_said_in_words() {
    let mut desk = Desk::with_bob();
    let typing = SignalKind::Typing { user: user(2, "Bob") };
    desk.say(Body::Signal(Signal { conversation: 5, kind: typing }));
    let presence = SignalKind::Presence { user: 2, state: PresenceState::Active };
    desk.say(Body::Signal(Signal { conversation: 5, kind: presence }));
    shows(&desk.screen(100, 30), &["Bob is typing…", "Bob  here"]);
}

#[test]
fn trouble_is_told_after_a_second_and_in_the_words_of_the_page() {
    let mut desk = Desk::with_bob();
    let status = Status { write: WriteState::NoQuorum, since_ms: 0, leader: None };
    desk.say(Body::Status(status));
    assert!(!desk.screen(100, 30).contains("No majority"), "a moment is not worth a word");
    desk.now_ms += 1_100;
    desk.input(Input::Tick);
    shows(&desk.screen(100, 30), &["No majority of replicas. You can read; messages wait and will be sent."]);
    desk.input(Input::Closed(1, 1006));
    desk.now_ms += 1_100;
    let screen = desk.screen(100, 30);
    assert!(screen.contains("Reconnecting") || screen.contains("Connecting"), "{screen}");
    shows(&screen, &["see you"]);
}

#[test]
fn a_narrow_window_shows_one_thing_at_a_time() {
    let mut desk = Desk::with_bob();
    let screen = desk.screen(40, 20);
    assert!(screen.contains("see you") && !screen.contains("Conversations"), "{screen}");
    desk.model.pane = Pane::List;
    let screen = desk.screen(40, 20);
    assert!(screen.contains("Conversations") && !screen.contains("Write to"), "{screen}");
    shows(&desk.screen(20, 5), &["Make this window"]);
    for (width, height) in (1..60).map(|n| (n, 61 - n)) {
        // Nothing panics, whatever the size.
        desk.screen(width, height);
    }
}

#[test]
fn only_what_is_in_view_is_laid_out_and_scrolling_reaches_the_oldest() {
    let mut desk = Desk::new();
    desk.model.go_to(5, None, None);
    desk.input(Input::Focus(Some(5)));
    let messages = (1..=3).map(|n| message(5, n, user(2, "Bob"), &"word ".repeat(80))).collect();
    let page =
        Body::Page { conversation: 5, messages, more_before: false, more_after: false, as_of_index: 110 };
    desk.answer("history", page);
    let (_, seen) = desk.terminal(80, 16);
    assert_eq!((seen.newest, seen.first_row), (3, 2), "day, 1, 2, 3: only the end is in view");
    desk.model.scroll = scrolled(&desk, 80, 16, -10_000);
    let (terminal, seen) = desk.terminal(80, 16);
    assert_eq!(seen.first_row, 0);
    shows(&terminal.backend().to_string(), &["Today", "Newer messages are below"]);
    desk.model.scroll = scrolled(&desk, 80, 16, 10_000);
    assert_eq!(desk.model.scroll, Scroll::Newest);
}

fn scrolled(desk: &Desk, width: u16, height: u16, by: isize) -> Scroll {
    let (_, seen) = desk.terminal(width, height);
    let rows = quorate_client::view::rows(&desk.client, 5, None, &local_day);
    let view = View {
        client: &desk.client,
        model: &desk.model,
        list: &[],
        rows: &rows,
        now_ms: desk.now_ms,
        wall_ms: NOW_MS,
        address: "",
        look: Look::default(),
    };
    seen.moved(&view, by)
}

#[test]
fn the_composer_grows_with_its_text_and_keeps_the_cursor_in_view() {
    let mut desk = Desk::with_bob();
    desk.model.composer = Editor::with("one\ntwo\n日本");
    let (mut terminal, _) = desk.terminal(100, 30);
    shows(&terminal.backend().to_string(), &["> one", "  two", "  日本"]);
    // List, its rule, the prompt, two wide characters; above the status line.
    terminal.backend_mut().assert_cursor_position((28 + 1 + 2 + 4, 28));
    desk.model.composer = Editor::with(&"line\n".repeat(40));
    shows(&desk.screen(100, 30), &["see you", "? help"]);
}

#[test]
fn a_password_is_never_on_the_screen() {
    let (name, password) = (Editor::with("ana"), Editor::with("correct horse"));
    let door = Door { name, password, error: Some("Wrong \u{1b}[31mname.".to_owned()), ..Door::default() };
    let mut desk = Desk::new();
    desk.model.stage = Stage::Door(door);
    let screen = desk.screen(80, 20);
    shows(
        &screen,
        &["Sign in", "http://localhost:8080", "ana", "•••••••••••••", "Wrong name.", "F2 creates"],
    );
    assert!(!screen.contains("horse"));
}

#[test]
fn dialogs_lie_over_everything() {
    let mut desk = Desk::with_bob();
    desk.model.dialog = Some(Dialog::Help);
    shows(&desk.screen(100, 30), &["Alt+Enter", "kept by a majority", "any key closes"]);
    desk.model.dialog = Some(Dialog::Details);
    shows(&desk.screen(100, 30), &["Round trip", "0 ms", "Gateway      a", "Position"]);
    desk.model.dialog = Some(Dialog::Switch(crate::model::Switch { query: Editor::with("te"), at: 0 }));
    let (terminal, _) = desk.terminal(100, 30);
    let reversed = |at: &str| {
        let cells = terminal.backend().buffer().content();
        cells.windows(4).any(|cells| {
            let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
            text == at && cells.iter().all(|cell| cell.modifier.contains(Modifier::REVERSED))
        })
    };
    assert!(reversed("Team"), "what Enter opens is marked without colour: {}", terminal.backend());
    desk.model.dialog = Some(Dialog::Start(Editor::with("cleo"), Some("No such user.".to_owned())));
    shows(&desk.screen(100, 30), &["cleo", "No such user."]);
    desk.model.dialog = Some(Dialog::SignOut(2));
    shows(&desk.screen(100, 30), &["2 messages are not sent yet"]);
}
