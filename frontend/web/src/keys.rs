//! Keys that work everywhere, and the regions that F6 goes through.

use leptos::ev;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlElement, KeyboardEvent};

use crate::context::{App, Panel, Sheet, Stage};
use crate::route;
use crate::ui::select_bar;

/// Listens until the owner is disposed.
pub(crate) fn listen(app: App) {
    let handle = window_event_listener(ev::keydown, move |event| pressed(app, &event));
    on_cleanup(move || handle.remove());
}

/// F6 alone, for pages that have parts and nothing else of the chat.
pub(crate) fn listen_regions() {
    let handle = window_event_listener(ev::keydown, |event| {
        if event.key() == "F6" {
            event.prevent_default();
            next_region(event.shift_key());
        }
    });
    on_cleanup(move || handle.remove());
}

fn pressed(app: App, event: &KeyboardEvent) {
    if app.stage.with_untracked(|stage| *stage != Stage::Inside) {
        return;
    }
    let control = event.ctrl_key() || event.meta_key();
    match event.key().as_str() {
        "k" | "K" if control && !event.shift_key() && !event.alt_key() => {
            event.prevent_default();
            app.switching.update(|open| *open = !*open);
        }
        "/" if control && !event.alt_key() => {
            event.prevent_default();
            show_keys(app);
        }
        "?" if !control && !event.alt_key() && !writes(event) => show_keys(app),
        "/" if !control && !event.alt_key() && !dialog_open() && !writes(event) => {
            event.prevent_default();
            app.detailing.set(false);
            app.panel.set(Some(Panel::Search));
            if let Ok(Some(open)) = document().query_selector("[data-testid=search-box]") {
                focus(&open);
            }
        }
        "ArrowUp" if event.alt_key() => step(app, event, -1),
        "ArrowDown" if event.alt_key() => step(app, event, 1),
        "F6" => {
            event.prevent_default();
            next_region(event.shift_key());
        }
        "Escape" if !dialog_open() && app.selecting.with_untracked(Option::is_some) => {
            event.prevent_default();
            select_bar::end(app);
        }
        // What composes a letter with it has not called for anything.
        "Escape" if !dialog_open() && !event.default_prevented() && !event.is_composing() => close(app),
        _ => {}
    }
}

/// All keys, or no longer.
fn show_keys(app: App) {
    if app.sheet.get_untracked() == Some(Sheet::Keys) {
        app.sheet.set(None);
    } else if !dialog_open() {
        app.sheet.set(Some(Sheet::Keys));
    }
}

/// Closes what stands at the side; with nothing to close the open conversation is read, and its newest message comes into view.
fn close(app: App) {
    let begun = app.replying.get_untracked().is_some() || app.editing.with_untracked(Option::is_some);
    if app.detailing.get_untracked() || app.panel.with_untracked(Option::is_some) {
        app.detailing.set(false);
        app.panel.set(None);
    } else if !begun {
        app.read_open();
        if let Ok(Some(jump)) = document().query_selector("[data-testid=jump]")
            && let Some(jump) = jump.dyn_ref::<HtmlElement>()
        {
            jump.click();
        }
    }
    focus_composer();
}

/// The conversation above or below the open one.
fn step(app: App, event: &KeyboardEvent, by: isize) {
    event.prevent_default();
    let next = app.list.with_untracked(|list| {
        let open = app.focused.get_untracked();
        let at = list.iter().position(|row| Some(row.id) == open);
        let to = match at {
            Some(at) => at.checked_add_signed(by)?,
            None => 0,
        };
        list.get(to).map(|row| row.id)
    });
    if next.is_some() {
        route::go(next);
    }
}

/// Whether the key belongs to a field.
fn writes(event: &KeyboardEvent) -> bool {
    let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    target.is_some_and(|target| matches!(target.tag_name().as_str(), "INPUT" | "TEXTAREA" | "SELECT"))
}

pub(crate) fn dialog_open() -> bool {
    document().query_selector("dialog[open]").ok().flatten().is_some()
}

pub(crate) fn focus_composer() {
    if let Ok(Some(composer)) = document().query_selector("[data-testid=composer]") {
        focus(&composer);
    }
}

pub(crate) fn focus(element: &Element) {
    if let Some(element) = element.dyn_ref::<HtmlElement>() {
        let _ = element.focus();
    }
}

fn next_region(back: bool) {
    let Ok(found) = document().query_selector_all("[data-region]") else { return };
    let regions: Vec<Element> = (0..found.length())
        .filter_map(|at| found.item(at)?.dyn_into::<Element>().ok())
        .filter(|region| region.client_height() > 0)
        .collect();
    if regions.is_empty() {
        return;
    }
    let active = document().active_element();
    let at = regions.iter().position(|region| region.contains(active.as_deref()));
    let count = regions.len();
    let to = match (at, back) {
        (None, false) => 0,
        (None, true) => count - 1,
        (Some(at), false) => (at + 1) % count,
        (Some(at), true) => (at + count - 1) % count,
    };
    let region = &regions[to];
    let inner = region.query_selector("[data-region-focus]").ok().flatten();
    focus(inner.as_ref().unwrap_or(region));
}
