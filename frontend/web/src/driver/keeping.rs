//! Keeps what the rules want kept of the conversations, soon after it changed, and brings it back.

use std::time::Duration;

use js_sys::{Array, Promise};
use leptos::leptos_dom::helpers::TimeoutHandle;
use leptos::prelude::*;
use quorate_client::{Change, Input};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;

use super::device;
use crate::clock;
use crate::context::App;
use crate::follow::after;

/// Changes within this time are written together.
const GATHERED: Duration = Duration::from_secs(2);

/// Whether this program keeps anything, and when it will.
#[derive(Default)]
pub(crate) struct Keeping {
    on: bool,
    timer: Option<TimeoutHandle>,
}

/// Something changed.
pub(super) fn changed(app: App, changes: &[Change]) {
    if changes.iter().any(|change| matches!(change, Change::List | Change::Timeline(_))) {
        app.driver.update_value(|driver| {
            let keeping = &mut driver.keeping;
            if keeping.on && keeping.timer.is_none() {
                keeping.timer = after(GATHERED, move || now(app));
            }
        });
    }
}

/// Writes what changed: the page may be gone the next moment.
pub(crate) fn now(app: App) {
    let keep = app.driver.try_update_value(|driver| {
        if let Some(timer) = driver.keeping.timer.take() {
            timer.clear();
        }
        driver.keeping.on.then(|| driver.client.keep(clock::now())).flatten()
    });
    let Some(keep) = keep.flatten() else { return };
    let rows = Array::new();
    for row in keep.rows {
        // Numbers of conversations and versions are far below what a float holds exactly.
        let numbers = [JsValue::from(row.conversation as f64), JsValue::from(row.version as f64)];
        for part in numbers.into_iter().chain([row.full.into(), row.text.into()]) {
            rows.push(&part);
        }
    }
    let stay: Vec<String> = keep.stay.iter().map(ToString::to_string).collect();
    device::keep(&keep.prefix, &keep.head, &stay.join(","), &rows);
}

/// Somebody is inside.
pub(crate) fn begin(app: App) {
    app.driver.update_value(|driver| driver.keeping.on = true);
}

/// Tells the rules what was kept.
pub(crate) async fn recall(app: App, kept: &Promise) {
    let texts = JsFuture::from(kept.clone()).await;
    let texts = texts.map(|texts| Array::from(&texts)).unwrap_or_default();
    let mut texts = texts.iter().filter_map(|text| text.as_string());
    if let Some(head) = texts.next() {
        app.input(Input::Recall { head, rows: texts.collect() });
    }
}
