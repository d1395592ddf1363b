//! The model as signals: what components read, and what they may ask for.
//!
//! Owns: the signals and how they follow the rules' changes. One [`App`] is handed down by context.
//!
//! ```text
//! shown.rs       what signals hold
//! following.rs   signals follow the model
//! entering.rs    in and out                 places.rs     what is open
//! commands.rs    what is asked for          selecting.rs  messages that are chosen
//! notes.rs       lines for the person
//! ```

mod commands;
mod entering;
mod following;
mod notes;
mod places;
mod selecting;
mod shown;

use std::sync::Arc;

use js_sys::Promise;
use leptos::prelude::*;
use quorate_client::ordered::OrderedMap;
use quorate_client::proto::frame::{Attachment, User};
use quorate_client::proto::ids::{ClientMessageId, ConversationId, Sequence};
use quorate_client::selection::Selection;
use quorate_client::view::ListRow;
use quorate_client::{Client, Details, Effect, Input};
use uuid::Uuid;
use wasm_bindgen_futures::JsFuture;

use crate::driver::{self, Driver};
use crate::theme::Theme;
use crate::words::t;

pub(crate) use shown::{
    Answer, BannerLine, Editing, Heading, Note, Panel, Rows, Sheet, ShownBy, Stage, Tray,
};

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
    /// A newer build of the page is here.
    pub(crate) updated: RwSignal<bool>,
    pub(crate) details: RwSignal<Details>,
    pub(crate) toast: RwSignal<Option<Note>>,
    pub(crate) answer: RwSignal<Option<(ClientMessageId, Answer)>>,
    pub(crate) creating: RwSignal<bool>,
    pub(crate) switching: RwSignal<bool>,
    /// A dialog of the desk is open.
    pub(crate) deciding: RwSignal<bool>,
    pub(crate) accounting: RwSignal<bool>,
    pub(crate) detailing: RwSignal<bool>,
    pub(crate) visible: RwSignal<bool>,
    /// The conversation whose end is in view: what comes in there is read.
    pub(crate) reading: StoredValue<Option<ConversationId>>,
    pub(crate) theme: RwSignal<Theme>,
    /// What the window's title counts.
    pub(crate) badge: RwSignal<u64>,
    pub(crate) panel: RwSignal<Option<Panel>>,
    pub(crate) sheet: RwSignal<Option<Sheet>>,
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
    due: StoredValue<following::Due>,
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
            updated: RwSignal::new(false),
            details: RwSignal::new(Details::default()),
            toast: RwSignal::new(None),
            answer: RwSignal::new(None),
            creating: RwSignal::new(false),
            switching: RwSignal::new(false),
            deciding: RwSignal::new(false),
            accounting: RwSignal::new(false),
            detailing: RwSignal::new(false),
            // A tab may be opened behind another.
            visible: RwSignal::new(!document().hidden()),
            reading: StoredValue::new(None),
            theme: RwSignal::new(Theme::stored()),
            badge: RwSignal::new(0),
            panel: RwSignal::new(None),
            sheet: RwSignal::new(None),
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
            due: StoredValue::new(following::Due::default()),
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

    /// Reads from the model.
    pub(crate) fn with<T>(self, read: impl FnOnce(&Client) -> T) -> T {
        self.driver.with_value(|driver| read(&driver.client))
    }

    /// The reader's number.
    pub(crate) fn my_id(self) -> u64 {
        self.me.with_untracked(|me| me.as_ref().map_or(0, |me| me.id))
    }

    pub(crate) fn token(self) -> Option<String> {
        self.driver.with_value(|driver| driver.client.access_token().map(ToOwned::to_owned))
    }

    /// The same; where there is none, `error` says why nothing can be read.
    pub(crate) fn token_or(self, error: RwSignal<String>) -> Option<String> {
        let token = self.token();
        if token.is_none() {
            unless_gone(
                error.try_set(t("No answer from the server. Check the connection and try again.").to_owned()),
            );
        }
        token
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
    let promise = Promise::new(&mut |resolve, _| {
        // `setTimeout` fails in no window; were it to, the wait would not end, and nothing with it.
        let _ = window().set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, ms);
    });
    let _ = JsFuture::from(promise).await;
}
