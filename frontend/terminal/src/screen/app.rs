//! Driver and model together: carries out what a key asks for, and lets the model follow the news.

use crossterm::event::Event;
use quorate_client::proto::frame::{Action, PresenceState};
use quorate_client::proto::ids::{ClientMessageId, ConversationId};
use quorate_client::timeline::Loading;
use quorate_client::view::{self, ListRow, MessageState, Row, sentence};
use quorate_client::{Draft, Effect, Input};
use ratatui::Frame;
use tokio::time::{Duration, Instant};

use crate::clock::{local_day, wall_ms};
use crate::driver::{Driver, News};
use crate::failure::{Failure, Result, Why};
use crate::model::{Act, Dialog, Editor, Known, Model, Scroll, Stage, pressed};
use crate::ui::{Look, Seen, View, draw};

/// Older messages are asked for when so many rows are left above what is in view.
const ROWS_LEFT: usize = 15;
/// Attempts to carry a former session on while the server does not answer.
const RESUME_AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// See the module.
pub(super) struct App<'a> {
    pub(super) driver: &'a mut Driver,
    model: Model,
    list: Vec<ListRow>,
    rows: Vec<Row>,
    /// What was in view when it was drawn last.
    seen: Seen,
    /// List and rows may be old.
    stale: bool,
    address: String,
    look: Look,
    /// Given on the command line.
    name: String,
    /// When a former session is looked for again.
    pub(super) resume_at: Option<Instant>,
    attempts: usize,
}

impl<'a> App<'a> {
    pub(super) fn new(driver: &'a mut Driver, name: Option<&str>) -> Self {
        let address = driver.dial.address.to_string();
        Self {
            driver,
            model: Model::default(),
            list: Vec::new(),
            rows: Vec::new(),
            seen: Seen::default(),
            stale: true,
            address,
            look: Look::of_environment(),
            name: name.unwrap_or_default().to_owned(),
            resume_at: None,
            attempts: 0,
        }
    }

    /// Whether a former session goes on.
    fn resumed(&mut self, told: Result<()>) {
        match told {
            Ok(()) => self.entered(),
            Err(Failure { why: Why::SignedOut, message }) => {
                // Who was never here needs no explanation.
                let why = (message != Failure::signed_out().message).then_some(message);
                self.at_the_door(why);
            }
            Err(Failure { why: Why::Unreachable, message }) => {
                self.model.stage = Stage::Starting(message);
                let wait = RESUME_AGAIN[self.attempts.min(RESUME_AGAIN.len() - 1)];
                self.attempts += 1;
                self.resume_at = Some(Instant::now() + wait);
            }
            Err(error) => self.at_the_door(Some(error.message)),
        }
    }

    /// Nobody is signed in.
    fn at_the_door(&mut self, why: Option<String>) {
        let open_to_others = self.driver.dial.address.is_open_to_eavesdroppers();
        let warning = "This address is not encrypted: others on the network can read your password.";
        let why = why.or_else(|| open_to_others.then(|| warning.to_owned()));
        self.model.leave(why);
        if let Stage::Door(door) = &mut self.model.stage {
            door.name = Editor::with(&self.name);
            if !self.name.is_empty() {
                door.turn();
            }
        }
        self.stale = true;
    }

    /// Signed in.
    fn entered(&mut self) {
        self.model.stage = Stage::Inside;
        self.stale = true;
        self.say_presence();
    }

    /// Whoever looks at the terminal is there; behind other windows she is away.
    fn say_presence(&mut self) {
        let state = if self.model.in_front { PresenceState::Active } else { PresenceState::Idle };
        self.feed(Input::Presence(state));
    }

    /// Something came from the terminal; whether the person leaves.
    pub(super) fn happened(&mut self, event: &Event) -> bool {
        self.refresh();
        let acts = match event {
            Event::Key(key) => {
                let known = Known {
                    list: &self.list,
                    has_failed: self.failed().next().is_some(),
                    unsent: self.driver.client.outbox().len(),
                };
                pressed(&mut self.model, known, *key)
            }
            Event::Paste(text) => self.model.pasted(text),
            Event::FocusGained | Event::FocusLost => {
                self.model.in_front = *event == Event::FocusGained;
                if self.model.stage == Stage::Inside {
                    self.say_presence();
                    if self.model.in_front {
                        self.feed(Input::Visible);
                    }
                }
                Vec::new()
            }
            Event::Mouse(_) | Event::Resize(..) => Vec::new(),
        };
        let leaves = acts.iter().any(|act| matches!(act, Act::Quit));
        for act in acts {
            self.act(act);
        }
        leaves
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Quit => {}
            Act::Feed(input) => self.feed(input),
            Act::Send { conversation, text } => self.send(conversation, text),
            Act::SignIn { name, password, new } => self.driver.sign_in(name, password, new),
            Act::SignOut => self.driver.sign_out(),
            Act::Open(id) => self.open(id),
            Act::Start(user) => {
                let id = self.driver.clock.moment().client_message_id();
                self.model.asked = Some(id);
                self.feed(Input::Do(id, Action::CreateDirect { user }));
            }
            Act::Scroll(lines) => self.scroll(lines),
            Act::ScrollPages(pages) => {
                let page = isize::try_from(self.seen.lines.saturating_sub(2).max(1)).unwrap_or(1);
                self.scroll(pages * page);
            }
            Act::ScrollEnd { newest: true } => self.model.scroll = Scroll::Newest,
            Act::ScrollEnd { newest: false } => self.scroll(isize::MIN + 1),
            Act::TryAgain => {
                self.feed(Input::TryNow);
                for id in self.failed().collect::<Vec<_>>() {
                    self.feed(Input::Retry(id));
                }
            }
            Act::DropFailed => {
                for id in self.failed().collect::<Vec<_>>() {
                    self.feed(Input::Delete(id));
                }
            }
        }
    }

    /// What was refused in the open conversation, or waits for a word of its writer.
    fn failed(&self) -> impl Iterator<Item = ClientMessageId> + '_ {
        self.rows.iter().filter_map(|row| match row {
            Row::Message(row) if matches!(row.state, MessageState::Failed(_) | MessageState::NeedsTap) => {
                Some(row.message.client_message_id)
            }
            _ => None,
        })
    }

    fn send(&mut self, conversation: ConversationId, text: String) {
        let effects = self.driver.input(Input::Send { conversation, text, reply_to: None });
        let taken = !effects.iter().any(|effect| matches!(effect, Effect::Refused(None, _)));
        self.follow(effects);
        if taken {
            self.model.composer.take();
            self.model.scroll = Scroll::Newest;
            self.model.new_after = None;
            self.feed(Input::Draft(conversation, Draft::default()));
        }
    }

    fn open(&mut self, id: ConversationId) {
        let Some(conversation) = self.driver.client.conversation(id) else { return };
        let new_after = (conversation.unread > 0).then_some(conversation.read);
        let draft = self.driver.client.draft(id).cloned();
        self.model.go_to(id, new_after, draft.as_ref());
        self.feed(Input::Focus(Some(id)));
    }

    fn scroll(&mut self, by: isize) {
        let seen = self.seen;
        if seen.lines > 0 {
            self.model.scroll = seen.moved(&self.view(), by);
        }
    }

    /// Feeds the rules and follows what they answer.
    fn feed(&mut self, input: Input) {
        let effects = self.driver.input(input);
        self.follow(effects);
    }

    /// News of the driver.
    pub(super) fn heard(&mut self, news: News) {
        match news {
            News::Effects(effects) => self.follow(effects),
            News::Resumed(told) => self.resumed(told),
            News::SignedIn(Ok(_)) => self.entered(),
            News::SignedIn(Err(error)) => {
                if let Stage::Door(door) = &mut self.model.stage {
                    door.refused(error.message);
                }
            }
            News::SignedOut(told) => self.at_the_door(told.err().map(|error| error.message)),
        }
    }

    /// The model follows what the rules did.
    fn follow(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Changed(_) => self.stale = true,
                Effect::SignedOut(why) => self.at_the_door(why),
                Effect::Done(id, conversation) if self.model.asked == Some(id) => {
                    self.model.asked = None;
                    self.model.dialog = None;
                    self.stale = true;
                    if let Some(conversation) = conversation {
                        // Its `added` may come a moment later than this answer.
                        self.open(conversation);
                        self.model.open = Some(conversation);
                    }
                }
                Effect::Refused(Some(id), error) if self.model.asked == Some(id) => {
                    self.model.asked = None;
                    if let Some(Dialog::Start(_, why)) = &mut self.model.dialog {
                        *why = Some(sentence(&error.message));
                    }
                }
                Effect::Refused(None, error) => self.model.note = Some(sentence(&error.message)),
                Effect::DraftChanged(id) if self.model.open == Some(id) => {
                    let draft = self.driver.client.draft(id).cloned();
                    self.model.take_draft(draft.as_ref());
                }
                Effect::Reminded(item) => {
                    self.model.note = Some(format!("Reminder: {}", view::one_line(&item.text)));
                }
                Effect::ScheduleFailed(_, why) => {
                    self.model.note = Some(format!("A scheduled message was not sent: {}", sentence(&why)));
                }
                _ => {}
            }
        }
    }

    /// List and rows as the rules have them now.
    fn refresh(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let client = &self.driver.client;
        self.list = view::list(client);
        let open = self.model.open.filter(|_| self.model.stage == Stage::Inside);
        self.rows = open.map_or_else(Vec::new, |id| view::rows(client, id, self.model.new_after, &local_day));
        if self.model.cursor.is_none() {
            self.model.cursor = self.list.first().map(|row| row.id);
        }
    }

    fn view(&self) -> View<'_> {
        View {
            client: &self.driver.client,
            model: &self.model,
            list: &self.list,
            rows: &self.rows,
            now_ms: self.driver.clock.last_ms(),
            wall_ms: wall_ms(),
            address: &self.address,
            look: self.look,
        }
    }

    /// Draws all of it.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        self.driver.clock.now_ms();
        // A conversation that was made a moment ago has come by now.
        if let Some(id) = self.model.open
            && self.driver.client.focused() != Some(id)
            && self.driver.client.conversation(id).is_some()
        {
            self.open(id);
        }
        self.refresh();
        self.seen = draw(frame, &self.view());
    }

    /// What follows from what is in view: read marks, older messages. Whether there is something new to draw.
    pub(super) fn after_drawing(&mut self) -> bool {
        let Some((id, conversation)) =
            self.model.open.and_then(|id| Some((id, self.driver.client.conversation(id)?)))
        else {
            return false;
        };
        let wants_older = self.seen.lines > 0
            && self.seen.first_row < ROWS_LEFT
            && conversation.timeline.loaded
            && conversation.timeline.more_before
            && conversation.timeline.loading == Loading::Idle
            && !conversation.timeline.is_full();
        let reads = self.model.in_front && self.seen.newest > conversation.read;
        if reads {
            self.feed(Input::MarkRead(id, self.seen.newest));
        }
        if wants_older {
            self.feed(Input::LoadOlder(id));
        }
        reads || wants_older
    }
}

impl std::fmt::Debug for App<'_> {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("App").field("model", &self.model).finish_non_exhaustive()
    }
}
