//! What is looked at again and again while somebody looks at the page: one question at a time, so that a server that answers late
//! is not asked twice.

use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::view::cluster::age_words;
use serde::de::DeserializeOwned;

use crate::clock;
use crate::context::{App, sleep, unless_gone};
use crate::driver::rest::{self, CallError};
use crate::follow::{follow, memo};
use crate::words::{t, tf};

/// A question is given up after this: the gateway it went to may stand still, and the next may go to another.
const WAIT_MS: u32 = 10_000;
/// Between an answer and the next question, however late the answer was.
const PAUSE_MS_MIN: u64 = 250;
/// What is older than this is said to be old; and than two of its intervals, where they are long.
const STALE_MS: u64 = 3_000;

/// Something that is looked at again and again, for as long as its owner lives.
pub(super) struct Poll<A: Send + Sync + 'static> {
    app: App,
    path: &'static str,
    interval_ms: u64,
    /// The newest answer.
    pub(super) latest: RwSignal<Option<A>>,
    /// Why there was none the last time.
    pub(super) error: RwSignal<Option<CallError>>,
    /// The age of the newest answer once it is old, ms; 0 while it is not.
    pub(super) stale_ms: RwSignal<u64>,
    /// When it came, wall clock, ms.
    heard_ms: StoredValue<u64>,
    /// Asking, or about to ask again.
    busy: StoredValue<bool>,
}

impl<A: Send + Sync + 'static> Clone for Poll<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Send + Sync + 'static> Copy for Poll<A> {}

impl<A: DeserializeOwned + PartialEq + Send + Sync + 'static> Poll<A> {
    /// Begins to look.
    pub(super) fn begin(app: App, path: &'static str, interval_ms: u64) -> Self {
        let poll = Self {
            app,
            path,
            interval_ms,
            latest: RwSignal::new(None),
            error: RwSignal::new(None),
            stale_ms: RwSignal::new(0),
            heard_ms: StoredValue::new(0),
            busy: StoredValue::new(false),
        };
        follow(move || {
            if app.visible.get() {
                poll.ask();
            }
        });
        let ticking = set_interval_with_handle(move || poll.tell_age(), Duration::from_secs(1));
        on_cleanup(move || {
            if let Ok(ticking) = ticking {
                ticking.clear();
            }
        });
        poll
    }

    /// An answer that came by another way, such as to a change.
    pub(super) fn take(self, answer: A) {
        unless_gone(self.heard_ms.try_set_value(clock::now()));
        set_if_other(self.error, None);
        set_if_other(self.stale_ms, 0);
        set_if_other(self.latest, Some(answer));
    }

    /// How old it is and why, once it is old.
    pub(super) fn age(self) -> String {
        let ms = self.stale_ms.get();
        if ms == 0 {
            return String::new();
        }
        let why = self.error.with(|error| error.as_ref().map(|error| error.message.clone()));
        let why = why.unwrap_or_else(|| t("The gateway has not answered since.").to_owned());
        tf("This is {} old. {}", &[&age_words(ms), &why])
    }

    fn ask(self) {
        let free = self.busy.try_update_value(|busy| !std::mem::replace(busy, true));
        if free != Some(true) {
            return;
        }
        spawn_local(async move {
            loop {
                let began_ms = clock::now();
                if let Some(token) = self.app.token() {
                    match rest::look(&token, self.path, WAIT_MS).await {
                        Ok(answer) => self.take(answer),
                        Err(error) => set_if_other(self.error, Some(error)),
                    }
                }
                let spent_ms = clock::now().saturating_sub(began_ms);
                let pause_ms = self.interval_ms.saturating_sub(spent_ms).max(PAUSE_MS_MIN);
                sleep(i32::try_from(pause_ms).unwrap_or(i32::MAX)).await;
                if self.busy.try_get_value().is_none() || !self.app.visible.get_untracked() {
                    break;
                }
            }
            unless_gone(self.busy.try_set_value(false));
        });
    }

    fn tell_age(self) {
        let heard_ms = self.heard_ms.try_get_value().unwrap_or(0);
        if heard_ms > 0 && self.app.visible.get_untracked() {
            let age_ms = clock::now().saturating_sub(heard_ms);
            let is_old = age_ms > STALE_MS.max(2 * self.interval_ms);
            set_if_other(self.stale_ms, if is_old { age_ms } else { 0 });
        }
    }
}

/// Says how old something is that is looked at. Its line is kept free, so that nothing moves when it comes; whoever hears the page is
/// told once, and not each second.
#[component]
pub(super) fn Age<A: DeserializeOwned + PartialEq + Send + Sync + 'static>(poll: Poll<A>) -> impl IntoView {
    let old = memo(move || poll.stale_ms.get() > 0);
    view! {
        <p class="age" aria-hidden="true" data-testid="age">{move || poll.age()}</p>
        <p class="visually-hidden" role="status">{move || if old.get() { t("No answer comes. What stands here is old.") } else { "" }}</p>
    }
}

/// Who follows hears of others than before alone; who is gone, of nothing.
fn set_if_other<T: PartialEq + Send + Sync + 'static>(signal: RwSignal<T>, value: T) {
    if signal.try_with_untracked(|old| *old != value) == Some(true) {
        unless_gone(signal.try_set(value));
    }
}
