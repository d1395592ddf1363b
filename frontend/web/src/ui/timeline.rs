//! The messages of the open conversation, and where the reader stands in them.
//!
//! Sticks to the bottom only while the reader is there; keeps what is in view where it is when older messages come in
//! above; opens at the first unread message.

use std::sync::Arc;

use leptos::html;
use leptos::prelude::*;
use quorate_client::Input;
use quorate_client::proto::ids::{ConversationId, Sequence};
use quorate_client::view::Row;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{HtmlElement, ResizeObserver};

use super::avatar::Avatar;
use super::icons::{Glyph, Icon};
use super::message::Message;
use crate::clock;
use crate::context::{App, Rows};
use crate::follow::{after, follow, memo, next_frame};

/// Within this many pixels of the bottom the reader is at the bottom.
const STICK_PX: i32 = 100;
/// Within this many pixels of the top older messages are asked for.
const OLDER_PX: i32 = 400;

/// What was on the screen when the rows last changed.
#[derive(Debug, Clone, Default)]
struct Seen {
    height: i32,
    first_key: Option<String>,
    opened: bool,
}

/// See the module.
#[component]
pub(crate) fn Timeline(id: ConversationId) -> impl IntoView {
    let app = App::of_context();
    let region = NodeRef::<html::Div>::new();
    let stick = RwSignal::new(true);
    // The newest message that was at the bottom of the screen.
    let bottom = RwSignal::<Sequence>::new(0);
    let seen = StoredValue::new(Seen::default());

    let to_bottom = move || {
        if let Some(region) = region.try_get_untracked().flatten() {
            region.set_scroll_top(region.scroll_height());
        }
    };
    // Rows are in the document by the next frame, and nothing has been painted yet.
    follow(move || {
        app.rows.track();
        next_frame(move || {
            if let Some(region) = region.try_get_untracked().flatten() {
                let rows = app.rows.get_untracked();
                settle(&region, &rows, seen, stick);
                read(app, id, &rows, seen, stick, bottom);
            }
        });
    });
    // What is sought is brought into view as soon as it is in the document, and once: what arrives afterwards takes neither the view nor
    // the focus from whoever goes on writing.
    follow(move || {
        app.rows.track();
        if let Some((_, sequence, false)) = app.sought.get().filter(|(of, ..)| *of == id) {
            next_frame(move || {
                if let Some(region) = region.try_get_untracked().flatten() {
                    show(app, &region, id, sequence, stick, seen);
                }
            });
        }
    });
    // A banner that comes, a keyboard, a composer that grows: who is at the bottom stays there.
    follow(move || {
        let Some(element) = region.get() else { return };
        let resized = Closure::<dyn FnMut()>::new(move || {
            if stick.try_get_untracked().unwrap_or(false) {
                to_bottom();
            }
        });
        // Missing only in browsers older than the page's other needs.
        let Ok(observer) = ResizeObserver::new(resized.as_ref().unchecked_ref()) else { return };
        observer.observe(&element);
        let held = StoredValue::new_local(Some((observer, resized)));
        on_cleanup(move || {
            if let Some((observer, _)) = held.try_update_value(Option::take).flatten() {
                observer.disconnect();
            }
        });
    });
    // A tab that comes back to the front is being read.
    follow(move || {
        if app.visible.get() {
            read(app, id, &app.rows.get_untracked(), seen, stick, bottom);
        }
    });
    let scrolled = move |_| {
        let Some(region) = region.get_untracked().filter(|_| seen.with_value(|seen| seen.opened)) else {
            return;
        };
        let below = region.scroll_height() - region.client_height() - region.scroll_top();
        let at_bottom = below <= STICK_PX;
        if stick.get_untracked() != at_bottom {
            stick.set(at_bottom);
        }
        let rows = app.rows.get_untracked();
        read(app, id, &rows, seen, stick, bottom);
        if region.scroll_top() < OLDER_PX && rows.more_before && !rows.loading {
            app.input(Input::LoadOlder(id));
        }
    };
    let keys = move || app.rows.with(|rows| rows.keys.clone());
    let below = memo(move || {
        let bottom = bottom.get();
        app.rows.with(|rows| rows.others.iter().filter(|sequence| **sequence > bottom).count())
    });
    view! {
        <div class="timeline-box">
            <div
                node_ref=region
                class="timeline"
                data-testid="timeline"
                data-region
                role="log"
                aria-label="Messages"
                // What comes in above, and the covers of messages that can be chosen, are no news.
                aria-live=move || {
                    let quiet = app.rows.with(|rows| rows.loading) || app.selecting.with(Option::is_some);
                    if quiet { "off" } else { "polite" }
                }
                tabindex="0"
                on:scroll=scrolled
                on:keydown=move |event| {
                    if let Some(region) = region.get_untracked() {
                        walk(&region, &event);
                    }
                }
            >
                <Above/>
                <For each=keys key=|key| key.clone() children=move |key| view! { <Line key/> }/>
            </div>
            {move || (!stick.get()).then(|| view! {
                <button
                    type="button"
                    class="jump"
                    data-testid="jump"
                    on:click=move |_| { stick.set(true); to_bottom(); }
                >
                    <Glyph icon=Icon::Down size=16/>
                    {move || match below.get() {
                        0 => "Jump to latest".to_owned(),
                        count => format!("{count} new, jump to latest"),
                    }}
                </button>
            })}
        </div>
    }
}

/// Puts the scroll position where the reader expects it after a change of rows.
fn settle(
    region: &web_sys::HtmlDivElement,
    rows: &Arc<Rows>,
    seen: StoredValue<Seen>,
    stick: RwSignal<bool>,
) {
    let height = region.scroll_height();
    seen.update_value(|seen| {
        let first_key = rows.keys.iter().find(|key| !key.starts_with("day ")).cloned();
        let in_place = region.child_element_count() as usize >= rows.keys.len();
        if rows.loaded && !seen.opened && in_place {
            seen.opened = true;
            // Opens at the first unread message, a little of what was read above it.
            let new = region.query_selector(".new").ok().flatten();
            let offset = new.map(|new| {
                let top = new.get_bounding_client_rect().top() - region.get_bounding_client_rect().top();
                region.scroll_top() + top as i32 - region.client_height() / 4
            });
            region.set_scroll_top(offset.unwrap_or(height));
            stick.set(height - region.client_height() - region.scroll_top() <= STICK_PX);
        } else if stick.get_untracked() {
            region.set_scroll_top(height);
        } else if first_key != seen.first_key {
            // Older messages came in above: what is in view stays where it is.
            region.set_scroll_top(region.scroll_top() + height - seen.height);
        }
        seen.height = height;
        seen.first_key = first_key;
    });
}

/// Brings a message into view, marks it for a moment, and says so when it is not to be had.
fn show(
    app: App,
    region: &web_sys::HtmlDivElement,
    id: ConversationId,
    sequence: Sequence,
    stick: RwSignal<bool>,
    seen: StoredValue<Seen>,
) {
    /// How long it stands out.
    const MARKED: std::time::Duration = std::time::Duration::from_millis(2_500);
    let opened = seen.try_with_value(|seen| seen.opened).unwrap_or(false);
    let found = region.query_selector(&format!("[data-sequence=\"{sequence}\"]")).ok().flatten();
    if let Some(element) = found.filter(|_| opened) {
        let top = element.get_bounding_client_rect().top() - region.get_bounding_client_rect().top();
        region.set_scroll_top(region.scroll_top() + top as i32 - region.client_height() / 3);
        // One of the last is found at the bottom: nothing scrolls then, and nobody else would say where the reader is.
        stick.set(region.scroll_height() - region.client_height() - region.scroll_top() <= STICK_PX);
        if let Some(element) = element.dyn_ref::<HtmlElement>() {
            let _ = element.focus();
        }
        let brought = Some((id, sequence, true));
        app.sought.set(brought);
        let done = move || {
            if app.sought.try_get_untracked().flatten() == brought {
                app.sought.set(None);
            }
        };
        // Without a timer it stands out until the next one.
        let _ = after(MARKED, done);
        return;
    }
    let over = app.with(|client| {
        client.conversation(id).is_some_and(|held| held.timeline.loaded && held.seeking.is_none())
    });
    let in_rows = app.rows.with_untracked(|rows| rows.loaded);
    if over && in_rows && opened && app.rows.with_untracked(|rows| !has(rows, sequence)) {
        app.sought.set(None);
        let no_room = app.with(|client| {
            client.conversation(id).is_some_and(|held| {
                held.timeline.is_full() && held.timeline.first().is_some_and(|first| sequence < first)
            })
        });
        app.tell(if no_room {
            "That message is too far back to be shown among the newest."
        } else {
            "That message is not here any more."
        });
    }
}

fn has(rows: &Rows, sequence: Sequence) -> bool {
    rows.by_key.values().any(|row| matches!(row, Row::Message(row) if row.message.sequence == sequence))
}

/// Arrow keys lead from message to message.
fn walk(region: &web_sys::HtmlDivElement, event: &web_sys::KeyboardEvent) {
    let by: i64 = match event.key().as_str() {
        "ArrowUp" => -1,
        "ArrowDown" => 1,
        _ => return,
    };
    if event.alt_key() || event.ctrl_key() || event.meta_key() {
        return;
    }
    let Ok(found) = region.query_selector_all("[data-testid=message]") else { return };
    let messages: Vec<HtmlElement> =
        (0..found.length()).filter_map(|at| found.item(at)?.dyn_into::<HtmlElement>().ok()).collect();
    let active = document().active_element();
    let at = messages.iter().position(|message| message.contains(active.as_deref()));
    let to = match at {
        Some(at) => usize::try_from(i64::try_from(at).unwrap_or(0) + by).ok(),
        None => messages.len().checked_sub(1),
    };
    if let Some(message) = to.and_then(|to| messages.get(to)) {
        event.prevent_default();
        let _ = message.focus();
    }
}

/// What is at the bottom of a visible window is read.
fn read(
    app: App,
    id: ConversationId,
    rows: &Arc<Rows>,
    seen: StoredValue<Seen>,
    stick: RwSignal<bool>,
    bottom: RwSignal<Sequence>,
) {
    // Before it is decided where the reader begins, nothing has been read.
    let opened = seen.try_with_value(|seen| seen.opened).unwrap_or(false);
    let at_bottom = opened && stick.try_get_untracked().unwrap_or(false);
    if at_bottom && rows.loaded && app.visible.get_untracked() && rows.last > 0 {
        if bottom.get_untracked() != rows.last {
            bottom.set(rows.last);
        }
        app.input(Input::MarkRead(id, rows.last));
    }
}

/// Whether there are older messages than the oldest one held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum More {
    None,
    Some,
    NoRoom,
}

/// What stands above the oldest message held.
#[component]
fn Above() -> impl IntoView {
    let app = App::of_context();
    let state = memo(move || {
        app.rows.with(|rows| {
            let more = if rows.full { More::NoRoom } else { More::Some };
            let more = if rows.more_before { more } else { More::None };
            (rows.loaded, more, rows.refused.clone())
        })
    });
    let face = memo(move || {
        app.heading.with(|heading| {
            heading.as_ref().map(|heading| (heading.name.clone(), heading.portrait)).unwrap_or_default()
        })
    });
    move || match state.get() {
        (_, _, Some(why)) => view! { <div class="loading" role="alert">{why}</div> }.into_any(),
        (false, ..) => view! { <div class="loading">"Loading messages…"</div> }.into_any(),
        (true, More::Some, _) => view! { <div class="loading">"Loading older messages…"</div> }.into_any(),
        (true, More::NoRoom, _) => {
            view! { <div class="loading">"Older messages are not shown here. Search finds them."</div> }
                .into_any()
        }
        (true, More::None, _) => {
            let (name, portrait) = face.get();
            // What it is never changes.
            let group =
                app.heading.with_untracked(|heading| heading.as_ref().is_some_and(|heading| heading.group));
            let words = if group {
                "This is the beginning of the group. Everything written here is seen by all its members."
            } else {
                "This is the beginning of your conversation. Say hello."
            };
            view! {
                <div class="beginning">
                    <Avatar name=name.clone() portrait size="large"/>
                    <h2>{name}</h2>
                    <p>{words}</p>
                </div>
            }
            .into_any()
        }
    }
}

#[component]
fn Line(key: String) -> impl IntoView {
    let app = App::of_context();
    let first = app.rows.with_untracked(|rows| rows.by_key.get(&key).cloned());
    match first {
        None => ().into_any(),
        Some(Row::Day { time, .. }) => {
            view! { <div class="day" role="separator"><span>{clock::day(time)}</span></div> }.into_any()
        }
        Some(Row::New) => {
            view! { <div class="new" role="separator" data-testid="new">"New"</div> }.into_any()
        }
        Some(Row::Notice { text, time, .. }) => {
            view! { <p class="notice" title=clock::full(time)>{text}</p> }.into_any()
        }
        Some(Row::Message(first)) => {
            let row = memo(move || {
                app.rows.with(|rows| match rows.by_key.get(&key) {
                    Some(Row::Message(row)) => Some(row.clone()),
                    _ => None,
                })
            });
            view! { <Message first row/> }.into_any()
        }
    }
}
