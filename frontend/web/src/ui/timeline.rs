//! The messages of the open conversation, and where the reader stands in them.
//!
//! Sticks to the bottom only while the reader is there; keeps what is in view where it is when messages come in or go above and below it;
//! opens at the first unread message.

use std::sync::Arc;

use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::Input;
use quorate_client::proto::ids::{ConversationId, Sequence};
use quorate_client::view::{MessageRow, Row};
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{Element, HtmlDivElement, HtmlElement, ResizeObserver};

use super::avatar::Avatar;
use super::icons::{Glyph, Icon};
use super::message::Message;
use crate::clock;
use crate::context::{App, Rows, set_if_new, unless_gone};
use crate::follow::{after, follow, memo, next_frame};
use crate::keys;
use crate::words::{Word, t, tf};

/// Within this many pixels of the bottom the reader is at the bottom.
const STICK_PX: i32 = 100;
/// Within this many pixels of an end, messages beyond it are asked for: an answer's time of quick scrolling.
const NEAR_END_PX: i32 = 1_500;
/// Messages in view that are remembered: one of them will still be there when the rows have changed.
const IN_VIEW_MAX: u32 = 12;
/// Of those at the end, so many.
const NEWEST: usize = 3;
/// The rules hear of it when the reader has moved on by so many messages.
const TOLD_MESSAGES: u64 = 20;

/// What was on the screen when the reader last moved, or the rows last changed.
#[derive(Debug, Clone, Default)]
struct Seen {
    opened: bool,
    /// Messages from the top, and how far below the region's edge each was, in pixels.
    in_view: Vec<(Sequence, f64)>,
    /// How far the region was scrolled then.
    top: i32,
    /// What the rules were told of where the reader is.
    told: Option<Sequence>,
    jumps: u32,
}

/// The rows of messages that are drawn. Each is told of its own changes: were all to look whenever any changes, a message that arrives would
/// be work for every one that is there.
#[derive(Clone, Copy)]
struct Lines(StoredValue<Vec<RwSignal<MessageRow>>>);

impl Lines {
    fn renew(self, rows: &Rows) {
        self.0.with_value(|lines| {
            for line in lines {
                let newer = line.try_with_untracked(|line| match rows.by_key.get(&line.key) {
                    Some(Row::Message(row)) if row != line => Some(row.clone()),
                    _ => None,
                });
                if let Some(row) = newer.flatten() {
                    line.set(row);
                }
            }
        });
    }
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
    let reads_no_more = move || {
        unless_gone(app.reading.try_update_value(|reading| {
            reading.take_if(|of| *of == id);
        }));
    };
    reads_no_more();
    on_cleanup(reads_no_more);

    let to_bottom = move || {
        if let Some(region) = region.try_get_untracked().flatten() {
            region.set_scroll_top(region.scroll_height());
        }
    };
    // Rows are in the document once what waits for them has run, still before anything is painted. What came without a frame, or while the
    // browser was at it, is looked at once more with the next one: its first step is to say where the reader has scrolled to, and what is in
    // view must be in its place by then. Who is at the end only follows it.
    let lines = Lines(StoredValue::new(Vec::new()));
    provide_context(lines);
    follow(move || {
        let rows = app.rows.get();
        lines.renew(&rows);
        let settled = move || {
            let rows = app.rows.get_untracked();
            region.try_get_untracked().flatten().is_none_or(|region| {
                let in_place = settle(app, id, &region, &rows, seen, stick);
                read(app, id, &rows, seen, stick, bottom);
                in_place
            })
        };
        let at_end = stick.get_untracked() && !rows.more_after && rows.loaded;
        let (opened, jumps) = seen.with_value(|seen| (seen.opened, seen.jumps));
        let follows = at_end && opened && jumps == rows.jumps;
        spawn_local(async move {
            if !settled() || !follows {
                next_frame(move || {
                    settled();
                });
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
        let rows = app.rows.get_untracked();
        // Where the region was put, and noted, needs no second look.
        if !rows.loaded || seen.with_value(|seen| seen.top == region.scroll_top()) {
            return;
        }
        let at_bottom = is_at_bottom(&region, &rows);
        set_if_new(stick, at_bottom);
        read(app, id, &rows, seen, stick, bottom);
        moved(app, id, &region, &rows, seen, at_bottom, true);
    };
    let keys = move || app.rows.with(|rows| rows.keys.clone());
    let below = memo(move || {
        let bottom = bottom.get();
        app.rows.with(|rows| {
            let here = || rows.others.iter().filter(|sequence| **sequence > bottom).count() as u64;
            if rows.more_after { rows.unread } else { here() }
        })
    });
    view! {
        <div class="timeline-box">
            <div
                node_ref=region
                class="timeline"
                data-testid="timeline"
                data-region
                role="log"
                aria-label=t("Messages")
                // What comes in of the past, and the covers of messages that can be chosen, are no news.
                aria-live=move || {
                    let is_past = app.rows.with(|rows| rows.loading || rows.more_after);
                    let quiet = is_past || app.selecting.with(Option::is_some);
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
                <div class="lines">
                    <Above/>
                    <For each=keys key=|key| key.clone() children=move |key| view! { <Line key/> }/>
                    <Below/>
                </div>
            </div>
            {move || (!stick.get()).then(|| view! {
                <button
                    type="button"
                    class="jump"
                    data-testid="jump"
                    on:click=move |_| {
                        app.input(Input::Latest(id));
                        // This button goes, and with it the focus would.
                        if let Some(region) = region.get_untracked() {
                            keys::focus(&region);
                        }
                    }
                >
                    <Glyph icon=Icon::Down size=16/>
                    {move || match below.get() {
                        0 => t("Jump to latest").to_owned(),
                        count => tf("{} new, jump to latest", &[&count]),
                    }}
                </button>
            })}
        </div>
    }
}

/// The newest message there is stands within sight of the lower edge.
fn is_at_bottom(region: &HtmlDivElement, rows: &Rows) -> bool {
    let below = region.scroll_height() - region.client_height() - region.scroll_top();
    below <= STICK_PX && !rows.more_after
}

/// How far an element is below the upper edge of the region, in pixels.
fn offset(region: &HtmlDivElement, element: &Element) -> f64 {
    element.get_bounding_client_rect().top() - region.get_bounding_client_rect().top()
}

fn find(region: &HtmlDivElement, sequence: Sequence) -> Option<Element> {
    region.query_selector(&format!("article[data-sequence=\"{sequence}\"]")).ok().flatten()
}

/// Puts the scroll position where the reader expects it after a change of rows; false if they are not in the document yet.
fn settle(
    app: App,
    id: ConversationId,
    region: &HtmlDivElement,
    rows: &Rows,
    seen: StoredValue<Seen>,
    stick: RwSignal<bool>,
) -> bool {
    let there = region.first_element_child().map_or(0, |lines| lines.child_element_count());
    let in_place = there as usize >= rows.keys.len();
    let Some(Seen { opened, jumps, in_view, top, .. }) = seen.try_get_value().filter(|_| in_place) else {
        return false;
    };
    if !rows.loaded {
        // What was in view is read anew, and nothing stands there meanwhile.
        seen.update_value(|seen| seen.top = region.scroll_top());
        return true;
    }
    if opened && jumps != rows.jumps {
        set_if_new(stick, true);
        // She went there before what she looked for was here.
        set_if_new(app.sought, None);
    }
    if opened && stick.get_untracked() && !rows.more_after {
        region.set_scroll_top(region.scroll_height());
    } else {
        let is_sought =
            app.sought.with_untracked(|sought| matches!(sought, Some((of, _, false)) if *of == id));
        let kept = in_view.iter().find_map(|(sequence, was)| Some((find(region, *sequence)?, *was)));
        match kept.filter(|_| opened) {
            // What is in view stays where it is, whatever came or went above it. The reader may have scrolled since, by keys or a script; at
            // the lower end it was the browser, because there is less now.
            Some((element, was)) => {
                let now = region.scroll_top();
                let is_cut = now < top && now + 1 >= region.scroll_height() - region.client_height();
                let since = if is_cut { 0 } else { now - top };
                region.scroll_by_with_x_and_y(0.0, offset(region, &element) - was + f64::from(since));
            }
            // Whatever is here, what is sought will be brought into view.
            None if opened && is_sought => {}
            // Opens at the first unread message, a little of what was read above it.
            None => match region.query_selector(".new").ok().flatten() {
                Some(new) => {
                    let quarter = f64::from(region.client_height() / 4);
                    region.scroll_by_with_x_and_y(0.0, offset(region, &new) - quarter);
                }
                None => region.set_scroll_top(region.scroll_height()),
            },
        }
        set_if_new(stick, !(opened && is_sought) && is_at_bottom(region, rows));
    }
    seen.update_value(|seen| (seen.opened, seen.jumps) = (true, rows.jumps));
    // What was refused is asked for again when she scrolls.
    moved(app, id, region, rows, seen, stick.get_untracked(), rows.refused.is_none());
    true
}

/// The reader is somewhere else, or what she looks at is: notes what is in view, and asks for what lies beyond the ends.
fn moved(
    app: App,
    id: ConversationId,
    region: &HtmlDivElement,
    rows: &Rows,
    seen: StoredValue<Seen>,
    at_bottom: bool,
    may_ask: bool,
) {
    let in_view = if at_bottom { newest(region) } else { in_view(region) };
    let at = in_view.first().map(|(sequence, _)| *sequence).filter(|_| !at_bottom);
    let told = seen.try_update_value(|seen| {
        (seen.in_view, seen.top) = (in_view, region.scroll_top());
        let news = match (at, seen.told) {
            (Some(at), Some(told)) => at.abs_diff(told) >= TOLD_MESSAGES,
            (at, told) => at != told,
        };
        if news {
            seen.told = at;
        }
        news
    });
    if told == Some(true) {
        app.input(Input::Look(id, at));
    }
    if may_ask && !rows.loading {
        let above = region.scroll_top();
        let all = region.scroll_height() - region.client_height();
        // Both ends are never near at once: what comes in at one would go at the other, on and on.
        let near = NEAR_END_PX.min(all / 4);
        if above <= near && rows.more_before {
            app.input(Input::LoadOlder(id));
        } else if all - above <= near && rows.more_after {
            app.input(Input::LoadNewer(id));
        }
    }
}

/// The messages from the upper edge on, and how far below it each is.
fn in_view(region: &HtmlDivElement) -> Vec<(Sequence, f64)> {
    let Ok(all) = region.query_selector_all("article[data-sequence]") else { return Vec::new() };
    let nth = |at: u32| all.item(at)?.dyn_into::<Element>().ok();
    let edge = region.get_bounding_client_rect().top();
    let (mut from, mut to) = (0, all.length());
    while from < to {
        let middle = u32::midpoint(from, to);
        if nth(middle).is_some_and(|element| element.get_bounding_client_rect().bottom() <= edge) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    let shown = (from..all.length()).take(IN_VIEW_MAX as usize).filter_map(nth);
    shown.filter_map(|element| place(&element, edge)).collect()
}

/// The last messages. Who follows the end is led by it; they stand for the rest where that is over.
fn newest(region: &HtmlDivElement) -> Vec<(Sequence, f64)> {
    let edge = region.get_bounding_client_rect().top();
    let last = region.first_element_child().and_then(|lines| lines.last_element_child());
    let upwards = std::iter::successors(last, Element::previous_element_sibling);
    upwards.take(IN_VIEW_MAX as usize).filter_map(|element| place(&element, edge)).take(NEWEST).collect()
}

/// Which message an element is, and how far below the edge it stands.
fn place(element: &Element, edge: f64) -> Option<(Sequence, f64)> {
    let sequence = element.get_attribute("data-sequence")?.parse().ok()?;
    Some((sequence, element.get_bounding_client_rect().top() - edge))
}

/// Brings a message into view, marks it for a moment, and says so when it is not to be had.
fn show(
    app: App,
    region: &HtmlDivElement,
    id: ConversationId,
    sequence: Sequence,
    stick: RwSignal<bool>,
    seen: StoredValue<Seen>,
) {
    /// How long it stands out.
    const MARKED: std::time::Duration = std::time::Duration::from_millis(2_500);
    // What the rules know by now is in the rows, at least: nothing is missing that is about to be drawn.
    app.catch_up();
    let opened = seen.try_with_value(|seen| seen.opened).unwrap_or(false);
    if let Some(element) = find(region, sequence).filter(|_| opened) {
        let third = f64::from(region.client_height() / 3);
        region.scroll_by_with_x_and_y(0.0, offset(region, &element) - third);
        // One of the last is found at the bottom: nothing scrolls then, and nobody else would say where the reader is.
        let rows = app.rows.get_untracked();
        set_if_new(stick, is_at_bottom(region, &rows));
        moved(app, id, region, &rows, seen, stick.get_untracked(), true);
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
        app.tell(t("That message is not here any more."));
    }
}

fn has(rows: &Rows, sequence: Sequence) -> bool {
    rows.by_key.values().any(|row| matches!(row, Row::Message(row) if row.message.sequence == sequence))
}

/// Arrow keys lead from message to message.
fn walk(region: &HtmlDivElement, event: &web_sys::KeyboardEvent) {
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
    let at_bottom = opened && !rows.more_after && stick.try_get_untracked().unwrap_or(false);
    let reads = at_bottom && rows.loaded && app.visible.get_untracked() && rows.last > 0;
    app.reading.set_value(reads.then_some(id));
    if reads {
        if bottom.get_untracked() != rows.last {
            bottom.set(rows.last);
        }
        app.input(Input::MarkRead(id, rows.last));
    }
}

/// What stands above the oldest message that is shown.
#[component]
fn Above() -> impl IntoView {
    let app = App::of_context();
    let state = memo(move || {
        app.rows.with(|rows| (rows.loaded, rows.more_before, rows.refused.clone(), rows.last == 0))
    });
    let face = memo(move || {
        app.heading.with(|heading| {
            heading.as_ref().map(|heading| (heading.name.clone(), heading.portrait)).unwrap_or_default()
        })
    });
    move || {
        match state.get() {
            (_, _, Some(why), _) => loading(why, true),
            (false, ..) => loading(t("Loading messages…").to_owned(), false),
            (true, true, ..) => loading(t("Loading older messages…").to_owned(), false),
            (true, false, _, unwritten) => {
                let (name, portrait) = face.get();
                // What it is never changes.
                let group = app
                    .heading
                    .with_untracked(|heading| heading.as_ref().is_some_and(|heading| heading.group));
                let words = if group {
                    t(
                        "This is the beginning of the group. Everything written here is seen by all its members.",
                    )
                } else {
                    t("This is the beginning of your conversation. Say hello.")
                };
                view! {
                <div class="beginning">
                    <Avatar name=name.clone() portrait size="large"/>
                    <h2>{name}</h2>
                    <p>{words}</p>
                    {unwritten.then(|| view! { <p>{Word("Write below and press Enter. A clock means that it is on its way, one tick that a majority of replicas keeps it, two that it has arrived.")}</p> })}
                </div>
            }
            .into_any()
            }
        }
    }
}

/// What stands below the newest message that is shown, where others follow.
#[component]
fn Below() -> impl IntoView {
    let app = App::of_context();
    let words = memo(move || {
        app.rows.with(|rows| match &rows.refused {
            _ if !rows.more_after => String::new(),
            Some(why) => why.clone(),
            None => t("Loading newer messages…").to_owned(),
        })
    });
    move || (!words.with(String::is_empty)).then(|| loading(words.get(), false))
}

/// A line at an end of what is shown.
fn loading(words: String, is_alert: bool) -> AnyView {
    view! { <div class="loading" role=is_alert.then_some("alert")>{words}</div> }.into_any()
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
            view! { <div class="new" role="separator" data-testid="new">{Word("New")}</div> }.into_any()
        }
        Some(Row::Notice { text, time, .. }) => {
            view! { <p class="notice" title=clock::full(time)>{text}</p> }.into_any()
        }
        Some(Row::Message(first)) => {
            let row = RwSignal::new(first);
            if let Some(Lines(lines)) = use_context() {
                lines.update_value(|lines| lines.push(row));
                on_cleanup(move || {
                    // Their owner may have gone before them.
                    unless_gone(lines.try_update_value(|lines| lines.retain(|line| *line != row)));
                });
            }
            view! { <Message row/> }.into_any()
        }
    }
}
