//! The model as signals: what components read, and what they may ask for.
//!
//! Owns: the signals and how they follow the rules' changes. One [`App`] is handed down by context.

use std::collections::HashMap;
use std::sync::Arc;

use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::banner::Banner;
use quorate_client::proto::frame::{Action, ConversationKind, PresenceState, User};
use quorate_client::proto::ids::{ClientMessageId, ConversationId, Sequence};
use quorate_client::proto::rest::SessionGrant;
use quorate_client::timeline::Loading;
use quorate_client::view::{self, ListRow, Row};
use quorate_client::{Change, Details, Effect, Input};

use crate::clock::local_day;
use crate::driver::{self, Driver, rest, store};
use crate::route;

/// Where the page stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Asking whether a former session goes on; in words what hinders it.
    Starting(Option<String>),
    /// Nobody is signed in; in words why, if there is a reason.
    Door(Option<String>),
    /// Signed in.
    Inside,
}

/// The open conversation, without its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Heading {
    pub(crate) id: ConversationId,
    pub(crate) name: String,
    pub(crate) group: bool,
    pub(crate) members: Vec<User>,
    pub(crate) member_count: u32,
    /// The other of a direct conversation.
    pub(crate) presence: Option<PresenceState>,
    /// Who types, in one line.
    pub(crate) typing: Option<String>,
}

/// The open conversation's rows, by key for the rows that watch themselves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    pub(crate) keys: Vec<String>,
    pub(crate) by_key: HashMap<String, Row>,
    pub(crate) loaded: bool,
    pub(crate) loading: bool,
    pub(crate) more_before: bool,
    pub(crate) refused: Option<String>,
    /// The newest message known.
    pub(crate) last: Sequence,
    /// The newest message that somebody else wrote.
    pub(crate) others: Vec<Sequence>,
}

/// What the banner shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BannerLine {
    pub(crate) text: String,
    pub(crate) can_try: bool,
    pub(crate) stopped: bool,
}

/// What became of a command: the conversation it concerns, or why not.
pub(crate) type Answer = Result<Option<ConversationId>, String>;

/// See the module.
#[derive(Clone, Copy)]
pub(crate) struct App {
    pub(crate) driver: StoredValue<Driver, LocalStorage>,
    pub(crate) stage: RwSignal<Stage>,
    pub(crate) me: RwSignal<Option<User>>,
    pub(crate) list: RwSignal<Vec<ListRow>>,
    pub(crate) listed: RwSignal<bool>,
    pub(crate) focused: RwSignal<Option<ConversationId>>,
    pub(crate) heading: RwSignal<Option<Heading>>,
    pub(crate) rows: RwSignal<Arc<Rows>>,
    pub(crate) banner: RwSignal<Option<BannerLine>>,
    pub(crate) details: RwSignal<Details>,
    pub(crate) toast: RwSignal<Option<String>>,
    pub(crate) answer: RwSignal<Option<(ClientMessageId, Answer)>>,
    pub(crate) creating: RwSignal<bool>,
    pub(crate) switching: RwSignal<bool>,
    pub(crate) accounting: RwSignal<bool>,
    pub(crate) detailing: RwSignal<bool>,
    pub(crate) visible: RwSignal<bool>,
    /// The read mark when the open conversation was opened: where "new" begins.
    new_after: StoredValue<Option<Sequence>>,
}

impl App {
    pub(crate) fn new() -> Self {
        Self {
            driver: StoredValue::new_local(Driver::new()),
            stage: RwSignal::new(Stage::Starting(None)),
            me: RwSignal::new(None),
            list: RwSignal::new(Vec::new()),
            listed: RwSignal::new(false),
            focused: RwSignal::new(None),
            heading: RwSignal::new(None),
            rows: RwSignal::new(Arc::default()),
            banner: RwSignal::new(None),
            details: RwSignal::new(Details::default()),
            toast: RwSignal::new(None),
            answer: RwSignal::new(None),
            creating: RwSignal::new(false),
            switching: RwSignal::new(false),
            accounting: RwSignal::new(false),
            detailing: RwSignal::new(false),
            visible: RwSignal::new(true),
            new_after: StoredValue::new(None),
        }
    }

    /// The context's app.
    pub(crate) fn of_context() -> Self {
        expect_context()
    }

    /// Feeds the rules.
    pub(crate) fn input(self, input: Input) -> Vec<Effect> {
        driver::input(self, input)
    }

    /// The cookie may carry a former session on.
    pub(crate) async fn start(self) {
        let mut tries: u32 = 0;
        loop {
            match rest::refresh().await {
                Ok(grant) => return self.granted(grant),
                Err(error) if error.denied() => return self.stage.set(Stage::Door(None)),
                Err(error) => self.stage.set(Stage::Starting(Some(error.message))),
            }
            tries += 1;
            sleep(if tries < 4 { 1_000 } else { 4_000 }).await;
        }
    }

    /// Signed in, by whatever way.
    pub(crate) fn granted(self, grant: SessionGrant) {
        store::set("quorate.known", "1");
        let items = store::items(&grant.user);
        self.me.set(Some(grant.user.clone()));
        self.input(Input::Restore(items));
        self.say_presence(self.visible.get_untracked());
        self.input(Input::Granted(grant));
        self.stage.set(Stage::Inside);
        self.follow_route();
    }

    /// Whoever looks at the page is there; behind other windows it is idle.
    pub(crate) fn say_presence(self, visible: bool) {
        let state = if visible { PresenceState::Active } else { PresenceState::Idle };
        self.input(Input::Presence(state));
    }

    pub(crate) fn signed_out(self, why: Option<String>) {
        self.me.set(None);
        self.list.set(Vec::new());
        self.listed.set(false);
        self.focused.set(None);
        self.heading.set(None);
        self.detailing.set(false);
        self.accounting.set(false);
        self.stage.set(Stage::Door(why));
    }

    /// The person signs out.
    pub(crate) fn sign_out(self) {
        let token = self.driver.with_value(|driver| driver.client.access_token().map(ToOwned::to_owned));
        spawn_local(async move {
            if let Some(token) = token
                && let Err(error) = rest::sign_out(&token).await
                && !error.denied()
            {
                self.tell("Signing out needs the server, which does not answer just now.");
                return;
            }
            self.input(Input::SignOut);
            route::go(None);
        });
    }

    /// Opens what the address says.
    pub(crate) fn follow_route(self) {
        if self.stage.with_untracked(|stage| *stage == Stage::Inside) {
            let id = route::conversation();
            if self.focused.get_untracked() != id {
                let read = self.driver.with_value(|driver| {
                    let conversation = driver.client.conversation(id?)?;
                    (conversation.unread > 0).then_some(conversation.read)
                });
                self.new_after.set_value(read);
                self.focused.set(id);
            }
            self.input(Input::Focus(id));
        }
    }

    /// A line for the person, until it is dismissed.
    pub(crate) fn tell(self, text: &str) {
        self.toast.set(Some(text.to_owned()));
    }

    pub(crate) fn answered(self, id: ClientMessageId, answer: Answer) {
        self.answer.set(Some((id, answer)));
    }

    /// A command; its answer comes as `answer` under this id.
    pub(crate) fn command(self, action: Action) -> ClientMessageId {
        let id = self.driver.with_value(|driver| driver.clock.moment().client_message_id());
        self.input(Input::Do(id, action));
        id
    }

    /// Sends; false if it was refused on the spot, and the composer keeps the text.
    pub(crate) fn send(self, text: String) -> bool {
        let Some(conversation) = self.focused.get_untracked() else { return false };
        self.new_after.set_value(None);
        let effects = self.input(Input::Send { conversation, text, reply_to: None });
        !effects.iter().any(|effect| matches!(effect, Effect::Refused(None, _)))
    }

    pub(crate) fn token(self) -> Option<String> {
        self.driver.with_value(|driver| driver.client.access_token().map(ToOwned::to_owned))
    }

    /// Signals follow the model.
    pub(crate) fn refresh(self, changes: &[Change]) {
        let focused = self.focused.get_untracked();
        for change in changes {
            match change {
                Change::Connection => self.refresh_connection(),
                Change::List => self.refresh_list(),
                Change::Signals(id) => {
                    if focused == Some(*id) {
                        self.refresh_heading();
                    }
                }
                Change::Timeline(id) => {
                    if focused == Some(*id) {
                        self.refresh_rows(*id);
                    }
                    if !changes.contains(&Change::List) {
                        self.refresh_list();
                    }
                }
            }
        }
    }

    fn refresh_connection(self) {
        let (banner, details) = self.driver.with_value(|driver| {
            let now_ms = driver.clock.now_ms();
            let banner = driver.client.banner(now_ms).map(|banner| BannerLine {
                text: banner.text(now_ms),
                can_try: banner.can_try(),
                stopped: matches!(banner, Banner::Stopped { .. }),
            });
            (banner, driver.client.details())
        });
        set_if_new(self.banner, banner);
        if details.live {
            set_if_new(self.listed, true);
        }
        set_if_new(self.details, details);
    }

    fn refresh_list(self) {
        let list = self.driver.with_value(|driver| view::list(&driver.client));
        set_if_new(self.list, list);
        self.refresh_heading();
    }

    fn refresh_heading(self) {
        let heading = self.driver.with_value(|driver| {
            let me = driver.client.me().map_or(0, |user| user.id);
            let conversation = driver.client.conversation(self.focused.get_untracked()?)?;
            Some(Heading {
                id: conversation.id,
                name: conversation.name(me),
                group: conversation.kind == ConversationKind::Group,
                members: conversation.members.clone(),
                member_count: conversation.member_count,
                presence: conversation.other_presence(),
                typing: conversation.typing_line(),
            })
        });
        set_if_new(self.heading, heading);
    }

    fn refresh_rows(self, id: ConversationId) {
        let new_after = self.new_after.get_value();
        let rows = self.driver.with_value(|driver| {
            let mut built = Rows::default();
            let rows = view::rows(&driver.client, id, new_after, &local_day);
            for row in rows {
                let key = match &row {
                    Row::Day { day, .. } => format!("day {day}"),
                    Row::New => "new".to_owned(),
                    Row::Notice { version, .. } => format!("notice {version}"),
                    Row::Message(message) => message.key.clone(),
                };
                if let Row::Message(message) = &row
                    && message.message.sequence > 0
                {
                    built.last = built.last.max(message.message.sequence);
                    if !message.own {
                        built.others.push(message.message.sequence);
                    }
                }
                if built.by_key.insert(key.clone(), row).is_none() {
                    built.keys.push(key);
                }
            }
            if let Some(conversation) = driver.client.conversation(id) {
                let timeline = &conversation.timeline;
                built.loaded = timeline.loaded;
                built.loading = matches!(timeline.loading, Loading::Asked(_) | Loading::Wanted(..));
                built.more_before = timeline.more_before;
                built.refused = match &timeline.loading {
                    Loading::Refused(why) => Some(why.clone()),
                    _ => None,
                };
            }
            built
        });
        self.rows.set(Arc::new(rows));
        self.refresh_heading();
    }
}

fn set_if_new<T: PartialEq + Send + Sync + 'static>(signal: RwSignal<T>, value: T) {
    if signal.with_untracked(|old| *old != value) {
        signal.set(value);
    }
}

/// Waits. The timer ends with the promise; nothing is left behind.
pub(crate) async fn sleep(ms: i32) {
    let promise = js_sys::Promise::new(&mut |resolve, _| {
        // `setTimeout` fails in no window; were it to, the wait would not end, and nothing with it.
        let _ = window().set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, ms);
    });
    let _ = wasm_bindgen_futures::JsFuture::from(promise).await;
}
