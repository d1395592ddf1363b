//! The model as signals: what components read, and what they may ask for.
//!
//! Owns: the signals and how they follow the rules' changes. One [`App`] is handed down by context.

use std::collections::HashMap;
use std::sync::Arc;

use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::banner::Banner;
use quorate_client::ordered::OrderedMap;
use quorate_client::proto::frame::{
    Action, Attachment, ConversationKind, MemberRole, MessageRef, Preferences, PreferencesChange,
    PresenceState, User,
};
use quorate_client::proto::ids::{ClientMessageId, ConversationId, Revision, Sequence};
use quorate_client::proto::limits::SCHEDULE_AHEAD_MS_MAX;
use quorate_client::proto::rest::SessionGrant;
use quorate_client::selection::{SELECTED_MAX, Selection};
use quorate_client::timeline::Loading;
use quorate_client::upload::NOBODYS;
use quorate_client::view::{self, ListRow, MessageRow, Portrait, Row, UploadRow};
use quorate_client::{Change, Client, Deed, Details, Draft, Effect, Input};
use uuid::Uuid;
use wasm_bindgen_futures::JsFuture;

use crate::clock::local_day;
use crate::driver::{self, Driver, files, pictures, rest, store};
use crate::route::{self, Place};

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
    /// Its picture.
    pub(crate) portrait: Option<Portrait>,
    pub(crate) group: bool,
    /// The other is a program.
    pub(crate) bot: bool,
    pub(crate) members: Vec<User>,
    pub(crate) member_count: u32,
    /// The other of a direct conversation.
    pub(crate) presence: Option<PresenceState>,
    /// Who types, in one line.
    pub(crate) typing: Option<String>,
    pub(crate) topic: String,
    pub(crate) public: bool,
    pub(crate) announcement: bool,
    pub(crate) retention_ms: u64,
    pub(crate) role: MemberRole,
    /// The reader may change the group and its members.
    pub(crate) manages: bool,
    pub(crate) preferences: Preferences,
    pub(crate) muted: bool,
    pub(crate) pin_count: u32,
    /// Why nothing can be written here.
    pub(crate) closed: Option<&'static str>,
}

/// What stands at the right side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Panel {
    /// Pinned messages of the open conversation.
    Pins,
    /// What the reader saved.
    Saved,
    /// What mentions her.
    Mentions,
    /// What she has scheduled.
    Scheduled,
    /// What she looks for.
    Search,
}

/// A dialog with one thing to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sheet {
    /// Hand messages on.
    Forward(Vec<MessageRef>),
    /// Be reminded of it.
    Remind(MessageRef),
    /// Tell the admins of it.
    Report(MessageRef),
    /// Take some back, given in order; whether for everybody.
    Delete(ConversationId, Vec<Sequence>, bool),
    /// The texts that it has had.
    Revisions(MessageRef),
    /// Send what is in the composer later.
    Later(ConversationId, String, Option<Sequence>),
    /// Somebody.
    Person(User),
    /// Public groups.
    Channels,
    /// What an invite leads to.
    Invite(String),
    /// Make an invite to a group.
    MakeInvite(ConversationId),
    /// Add somebody to a group.
    AddMember(ConversationId),
}

/// An edit that stands in the composer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Editing {
    pub(crate) sequence: Sequence,
    pub(crate) revision: Revision,
    pub(crate) text: String,
}

/// The open conversation's rows, by key for the rows that watch themselves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    pub(crate) keys: Vec<String>,
    pub(crate) by_key: HashMap<String, Row>,
    pub(crate) loaded: bool,
    pub(crate) loading: bool,
    pub(crate) more_before: bool,
    /// Older messages find no room.
    pub(crate) full: bool,
    pub(crate) refused: Option<String>,
    /// The newest message known.
    pub(crate) last: Sequence,
    /// The newest message that somebody else wrote.
    pub(crate) others: Vec<Sequence>,
}

impl Rows {
    /// Messages that can be chosen among several, in order.
    pub(crate) fn selectable(&self) -> impl Iterator<Item = &MessageRow> {
        self.keys.iter().filter_map(|key| match self.by_key.get(key) {
            Some(Row::Message(row)) if row.may.touch => Some(row),
            _ => None,
        })
    }
}

/// What the banner shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BannerLine {
    pub(crate) text: String,
    pub(crate) can_try: bool,
    pub(crate) stopped: bool,
}

/// A message that shows a file.
pub(crate) type ShownBy = (ConversationId, Sequence);

/// The files for the next message of the open conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tray {
    pub(crate) rows: Vec<UploadRow>,
    /// The message goes when they are there.
    pub(crate) waits: bool,
}

/// A line for the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) text: String,
    /// It stays until it is dismissed.
    pub(crate) stays: bool,
    /// Where it leads, if anywhere.
    pub(crate) leads: Option<MessageRef>,
}

/// What became of a command: the conversation it concerns, or why not.
pub(crate) type Answer = Result<Option<ConversationId>, String>;

/// See the module.
#[derive(Clone, Copy)]
pub(crate) struct App {
    pub(crate) driver: StoredValue<Driver, LocalStorage>,
    pub(crate) stage: RwSignal<Stage>,
    pub(crate) me: RwSignal<Option<User>>,
    /// By the newest grant, or since she became one on this page.
    pub(crate) admin: RwSignal<bool>,
    pub(crate) list: RwSignal<Vec<ListRow>>,
    pub(crate) listed: RwSignal<bool>,
    pub(crate) focused: RwSignal<Option<ConversationId>>,
    pub(crate) heading: RwSignal<Option<Heading>>,
    pub(crate) rows: RwSignal<Arc<Rows>>,
    pub(crate) banner: RwSignal<Option<BannerLine>>,
    pub(crate) details: RwSignal<Details>,
    pub(crate) toast: RwSignal<Option<Note>>,
    pub(crate) answer: RwSignal<Option<(ClientMessageId, Answer)>>,
    pub(crate) creating: RwSignal<bool>,
    pub(crate) switching: RwSignal<bool>,
    pub(crate) accounting: RwSignal<bool>,
    pub(crate) detailing: RwSignal<bool>,
    pub(crate) visible: RwSignal<bool>,
    /// What the window's title counts.
    pub(crate) badge: RwSignal<u64>,
    pub(crate) panel: RwSignal<Option<Panel>>,
    pub(crate) sheet: RwSignal<Option<Sheet>>,
    /// The admins' part is open.
    pub(crate) administering: RwSignal<bool>,
    /// The message that is answered to in the composer.
    pub(crate) replying: RwSignal<Option<Sequence>>,
    pub(crate) editing: RwSignal<Option<Editing>>,
    /// The message to be brought into view, and whether it has been: it stands out for a while then.
    pub(crate) sought: RwSignal<Option<(ConversationId, Sequence, bool)>>,
    /// Messages that are chosen; `None`: clicks mean what they say.
    pub(crate) selecting: RwSignal<Option<Selection>>,
    pub(crate) tray: RwSignal<Tray>,
    /// Rises when an upload that is for no message has come further.
    pub(crate) nobodys: RwSignal<u32>,
    /// The image that is shown as a whole.
    pub(crate) lightbox: RwSignal<Option<(Attachment, Option<ShownBy>)>>,
    /// Files that are being fetched to be kept.
    pub(crate) saving: RwSignal<Vec<Uuid>>,
    /// Rises when something of the reader's own changed.
    pub(crate) own: RwSignal<u32>,
    /// Rises for a conversation when its draft is another one than was typed: what stands in its composer is old.
    drafted: RwSignal<OrderedMap<ConversationId, u32>>,
    /// Commands that nobody waits for: a refusal is said in a line.
    fired: StoredValue<Vec<ClientMessageId>>,
    /// The read mark when the open conversation was opened: where "new" begins.
    new_after: StoredValue<Option<Sequence>>,
}

impl App {
    pub(crate) fn new() -> Self {
        Self {
            driver: StoredValue::new_local(Driver::new()),
            stage: RwSignal::new(Stage::Starting(None)),
            me: RwSignal::new(None),
            admin: RwSignal::new(false),
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
            badge: RwSignal::new(0),
            panel: RwSignal::new(None),
            sheet: RwSignal::new(None),
            administering: RwSignal::new(false),
            replying: RwSignal::new(None),
            editing: RwSignal::new(None),
            sought: RwSignal::new(None),
            selecting: RwSignal::new(None),
            tray: RwSignal::new(Tray::default()),
            nobodys: RwSignal::new(0),
            lightbox: RwSignal::new(None),
            saving: RwSignal::new(Vec::new()),
            own: RwSignal::new(0),
            drafted: RwSignal::new(OrderedMap::default()),
            fired: StoredValue::new(Vec::new()),
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
        let (items, drafts) = (store::items(&grant.user), store::drafts(&grant.user));
        self.me.set(Some(grant.user.clone()));
        self.admin.set(grant.admin);
        self.input(Input::Restore(items));
        self.input(Input::RestoreDrafts(drafts));
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
        self.admin.set(false);
        self.list.set(Vec::new());
        self.listed.set(false);
        self.focused.set(None);
        self.heading.set(None);
        self.detailing.set(false);
        self.sought.set(None);
        self.drafted.update(OrderedMap::clear);
        self.accounting.set(false);
        self.panel.set(None);
        self.sheet.set(None);
        self.selecting.set(None);
        self.tray.set(Tray::default());
        self.toast.set(None);
        files::stop(self);
        pictures::forget(self);
        self.lightbox.set(None);
        self.administering.set(false);
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
                self.warn("Signing out needs the server, which does not answer just now.");
                return;
            }
            self.input(Input::SignOut);
            route::go(None);
        });
    }

    /// Opens what the address says.
    pub(crate) fn follow_route(self) {
        if self.stage.with_untracked(|stage| *stage == Stage::Inside) {
            let place = route::place();
            set_if_new(self.administering, place == Place::Admin && self.admin.get_untracked());
            let (id, at) = match place {
                Place::Conversation(id, at) => (Some(id), at),
                Place::Invite(code) => {
                    self.sheet.set(Some(Sheet::Invite(code)));
                    (self.focused.get_untracked(), None)
                }
                Place::List | Place::Admin => (None, None),
            };
            if self.focused.get_untracked() != id {
                self.replying.set(None);
                self.editing.set(None);
                self.sought.set(None);
                self.selecting.set(None);
                if self.panel.get_untracked() == Some(Panel::Pins) {
                    self.panel.set(None);
                }
                let read = self.driver.with_value(|driver| {
                    let conversation = driver.client.conversation(id?)?;
                    (conversation.unread > 0).then_some(conversation.read)
                });
                self.new_after.set_value(read);
                self.focused.set(id);
                self.refresh_tray();
            }
            self.input(Input::Focus(id));
            if let (Some(id), Some(at)) = (id, at) {
                self.seek(id, at);
            }
        }
    }

    /// Brings a message of the open conversation into view, however far back it is.
    pub(crate) fn seek(self, id: ConversationId, sequence: Sequence) {
        self.input(Input::Seek(id, sequence));
        self.sought.set(Some((id, sequence, false)));
    }

    /// Goes to a message, wherever it is.
    pub(crate) fn go_to_message(self, id: ConversationId, sequence: Sequence) {
        // Where the panel lies over the conversation it goes.
        let narrow = window().match_media("(max-width: 1080px)").ok().flatten();
        if narrow.is_some_and(|query| query.matches()) {
            self.panel.set(None);
        }
        if self.focused.get_untracked() == Some(id) {
            self.seek(id, sequence);
        } else {
            route::go_to(&format!("#/c/{id}/m/{sequence}"));
        }
    }

    /// The log time that a wall-clock time of this device stands for; `None` when it is past or over a year away.
    pub(crate) fn log_time_of(self, wall_ms: u64) -> Option<u64> {
        /// Below this the two clocks are as good as one: log time rests between entries.
        const APART_MS: u64 = 120_000;
        let now_ms = self.driver.with_value(|driver| driver.clock.moment().wall_ms);
        let ahead_ms =
            wall_ms.checked_sub(now_ms).filter(|ahead| *ahead > 0 && *ahead <= SCHEDULE_AHEAD_MS_MAX)?;
        let log_ms = self.with(Client::log_time);
        Some(if log_ms.abs_diff(now_ms) > APART_MS { log_ms + ahead_ms } else { wall_ms })
    }

    /// Reads from the model.
    pub(crate) fn with<T>(self, read: impl FnOnce(&Client) -> T) -> T {
        self.driver.with_value(|driver| read(&driver.client))
    }

    /// The reader's number.
    pub(crate) fn my_id(self) -> u64 {
        self.me.with_untracked(|me| me.as_ref().map_or(0, |me| me.id))
    }

    /// Something that nobody waits for.
    pub(crate) fn fire(self, deed: Deed) {
        let id = self.driver.with_value(|driver| driver.clock.moment().client_message_id());
        self.fired.update_value(|fired| {
            fired.push(id);
        });
        self.input(Input::Ask(id, deed));
    }

    /// A change of how the reader has a conversation.
    pub(crate) fn prefer(self, conversation: ConversationId, change: PreferencesChange) {
        self.fire(Deed::Do(Action::Prefer { conversation, change }));
    }

    /// An emoji of the reader, put on a message or taken away.
    pub(crate) fn react(self, conversation: ConversationId, sequence: Sequence, emoji: &str, on: bool) {
        self.fire(Deed::React { conversation, sequence, emoji: emoji.to_owned(), on });
    }

    /// Another draft than what was typed in the composer.
    pub(crate) fn redrafted(self, id: ConversationId) {
        self.drafted.update(|drafted| *drafted.of(id) += 1);
    }

    /// How often that happened there.
    pub(crate) fn times_redrafted(self, id: ConversationId) -> u32 {
        self.drafted.with(|drafted| drafted.get(&id).copied().unwrap_or(0))
    }

    /// What stands in the composer.
    pub(crate) fn draft(self, conversation: ConversationId, text: &str) {
        let reply_to = self.replying.get_untracked();
        self.input(Input::Draft(conversation, Draft { text: text.to_owned(), reply_to }));
    }

    /// Puts a text on the clipboard, and says what came of it.
    pub(crate) fn copy(self, text: &str, said: &'static str) {
        let clipboard = window().navigator().clipboard();
        // Over plain HTTP from another host there is none.
        let copied = (!clipboard.is_undefined()).then(|| clipboard.write_text(text));
        spawn_local(async move {
            let is_copied = match copied {
                Some(copied) => JsFuture::from(copied).await.is_ok(),
                None => false,
            };
            if is_copied {
                self.tell(said);
            } else {
                self.warn("Nothing was copied: browsers allow it over HTTPS only.");
            }
        });
    }

    /// A line for the person, which goes by itself.
    pub(crate) fn tell(self, text: &str) {
        self.toast.set(Some(Note { text: text.to_owned(), stays: false, leads: None }));
    }

    /// Something went wrong: a line that stays until it is dismissed.
    pub(crate) fn warn(self, text: &str) {
        self.toast.set(Some(Note { text: text.to_owned(), stays: true, leads: None }));
    }

    /// A reminder, which leads to its message and stays.
    pub(crate) fn remind(self, text: &str, conversation: ConversationId, sequence: Option<Sequence>) {
        let leads = sequence.map(|sequence| MessageRef { conversation, sequence });
        self.toast.set(Some(Note { text: text.to_owned(), stays: true, leads }));
    }

    /// A message of the open conversation is chosen, or no longer; with `range` all from the one touched last.
    pub(crate) fn select(self, sequence: Sequence, range: bool) {
        let fits = self.selecting.try_update(|selecting| {
            let Some(selection) = selecting else { return true };
            if range { selection.extend(sequence, &self.selectable()) } else { selection.toggle(sequence) }
        });
        if fits == Some(false) {
            self.tell(&format!("At most {SELECTED_MAX} messages can be chosen at a time."));
        }
    }

    /// Messages that can be chosen, as they are shown.
    fn selectable(self) -> Vec<Sequence> {
        self.rows.with_untracked(|rows| rows.selectable().map(|row| row.message.sequence).collect())
    }

    /// What was chosen and is gone meanwhile is not chosen any more.
    fn refresh_selection(self) {
        let Some(had) = self.selecting.get_untracked() else { return };
        let mut shown = self.selectable();
        shown.sort_unstable();
        let mut kept = had.clone();
        kept.keep(|sequence| shown.binary_search(&sequence).is_ok());
        if kept != had {
            self.selecting.set(Some(kept));
        }
    }

    pub(crate) fn answered(self, id: ClientMessageId, answer: Answer) {
        let fired = self.fired.try_update_value(|fired| {
            let at = fired.iter().position(|other| *other == id)?;
            Some(fired.swap_remove(at))
        });
        let fired = fired.flatten().is_some();
        if let (true, Err(why)) = (fired, &answer) {
            self.warn(why);
        }
        self.answer.set(Some((id, answer)));
    }

    /// A command; its answer comes as `answer` under this id.
    pub(crate) fn command(self, action: Action) -> ClientMessageId {
        let id = self.driver.with_value(|driver| driver.clock.moment().client_message_id());
        self.input(Input::Do(id, action));
        id
    }

    /// Sends; false if it was refused on the spot or waits for its files, and the composer keeps the text.
    pub(crate) fn send(self, text: String) -> bool {
        let Some(conversation) = self.focused.get_untracked() else { return false };
        self.new_after.set_value(None);
        let reply_to = self.replying.get_untracked();
        let effects = self.input(Input::Send { conversation, text, reply_to });
        let waits = self.with(|client| client.uploads().waiting(conversation).is_some());
        !waits && !effects.iter().any(|effect| matches!(effect, Effect::Refused(None, _)))
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
                Change::Own => {
                    let me = self.with(|client| client.me().cloned());
                    set_if_new(self.me, me);
                    self.own.update(|own| *own += 1);
                }
                Change::Uploads(NOBODYS) => self.nobodys.update(|nobodys| *nobodys = nobodys.wrapping_add(1)),
                Change::Uploads(id) => {
                    if focused == Some(*id) {
                        self.refresh_tray();
                    }
                }
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

    fn refresh_tray(self) {
        let id = self.focused.get_untracked().unwrap_or_default();
        let (rows, waits) = self.with(|client| view::uploads(client, id));
        set_if_new(self.tray, Tray { rows, waits });
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
            if self.details.with_untracked(|before| !before.live) {
                pictures::again(self);
            }
        }
        set_if_new(self.details, details);
    }

    fn refresh_list(self) {
        let (list, badge) = self.with(|client| (view::list(client), client.badge()));
        set_if_new(self.list, list);
        set_if_new(self.badge, badge);
        self.refresh_heading();
    }

    fn refresh_heading(self) {
        let heading = self.driver.with_value(|driver| {
            let me = driver.client.me().map_or(0, |user| user.id);
            let conversation = driver.client.conversation(self.focused.get_untracked()?)?;
            Some(Heading {
                id: conversation.id,
                name: conversation.name(me),
                portrait: conversation.portrait(me),
                group: conversation.kind == ConversationKind::Group,
                bot: conversation.is_with_bot(),
                members: conversation.members.clone(),
                member_count: conversation.member_count,
                presence: conversation.other_presence(),
                typing: conversation.typing_line(),
                topic: conversation.topic.clone(),
                public: conversation.public,
                announcement: conversation.announcement,
                retention_ms: conversation.retention_ms,
                role: conversation.role,
                manages: conversation.manages(),
                preferences: conversation.preferences.clone(),
                muted: conversation.muted(driver.client.log_time()),
                pin_count: conversation.pin_count,
                closed: conversation.closed_because(),
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
                    if !message.own && !message.message.deleted {
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
                built.full = timeline.is_full();
                built.refused = match &timeline.loading {
                    Loading::Refused(why) => Some(why.clone()),
                    _ => None,
                };
            }
            built
        });
        self.rows.set(Arc::new(rows));
        self.refresh_selection();
        self.refresh_heading();
    }
}

/// What a signal said to being set: nothing that matters. Its component may be gone by the time an answer comes.
pub(crate) fn unless_gone<T>(_outcome: T) {}

pub(crate) fn set_if_new<T: PartialEq + Send + Sync + 'static>(signal: RwSignal<T>, value: T) {
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
    let _ = JsFuture::from(promise).await;
}
