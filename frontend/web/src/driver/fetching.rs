//! Bytes on their way down, piece by piece: silence is noticed, and whoever asked can break it off.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use js_sys::{Array, Reflect, Uint8Array};
use leptos::leptos_dom::helpers::TimeoutHandle;
use quorate_client::proto::rest::Problem;
use quorate_client::view::sentence;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, AbortSignal, Blob, BlobPropertyBag, ReadableStreamDefaultReader, Response};

use super::rest::{self, Ask};
use crate::follow::after;
use crate::words::tf;

/// A server that says nothing for this long is not waited for: an election takes seconds.
const SILENCE: Duration = Duration::from_secs(45);
/// Pieces are made into one after so many bytes: browsers keep large ones on disk.
const FOLD_BYTES: u32 = 4 * 1024 * 1024;

/// Why nothing came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The server's no: its status, why in words, and how long it wants to be left alone, ms.
    Refused(u16, String, i32),
    /// No answer, or none to the end.
    Cut,
    /// Whoever asked broke it off.
    Stopped,
}

struct Inner {
    controller: AbortController,
    timer: Cell<Option<TimeoutHandle>>,
    silent: Cell<bool>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.clear();
        }
    }
}

/// Looks after one download. All clones are of the same.
#[derive(Clone)]
pub(crate) struct Watch(Rc<Inner>);

impl Watch {
    /// `None` in a browser that cannot break off what it asked for.
    pub(crate) fn new() -> Option<Self> {
        let controller = AbortController::new().ok()?;
        Some(Self(Rc::new(Inner { controller, timer: Cell::new(None), silent: Cell::new(false) })))
    }

    /// Breaks it off.
    pub(crate) fn stop(&self) {
        self.0.controller.abort();
    }

    fn signal(&self) -> AbortSignal {
        self.0.controller.signal()
    }

    /// Something came, or was asked for: silence begins anew.
    fn heard(&self) {
        if let Some(timer) = self.0.timer.take() {
            timer.clear();
        }
        let inner: Weak<Inner> = Rc::downgrade(&self.0);
        let give_up = move || {
            if let Some(inner) = inner.upgrade() {
                inner.silent.set(true);
                inner.controller.abort();
            }
        };
        self.0.timer.set(after(SILENCE, give_up));
    }

    fn lost(&self) -> Lost {
        let is_stopped = self.signal().aborted() && !self.0.silent.get();
        if is_stopped { Lost::Stopped } else { Lost::Cut }
    }
}

/// What stands at a path, as a whole.
pub(crate) async fn whole(watch: &Watch, token: Option<&str>, path: &str) -> Result<Blob, Lost> {
    watch.heard();
    let ask = Ask { method: "GET", path, token, signal: Some(watch.signal()), ..Ask::default() };
    let response = ask.fetch().await.map_err(|_| watch.lost())?;
    if !response.ok() {
        return Err(refused(&response).await);
    }
    let kind = response.headers().get("Content-Type").ok().flatten().unwrap_or_default();
    read(watch, &response, &kind).await.map_err(|_| watch.lost())
}

async fn refused(response: &Response) -> Lost {
    let text = match response.text() {
        Ok(text) => JsFuture::from(text).await.ok().and_then(|text| text.as_string()).unwrap_or_default(),
        Err(_) => String::new(),
    };
    let (status, problem) = (response.status(), rest::parse::<Problem>(&text));
    let retry_ms = problem.as_ref().and_then(|problem| problem.error.retry_ms);
    Lost::Refused(
        status,
        problem.map_or_else(
            || tf("The server answered {}. Try again in a moment.", &[&status]),
            |problem| sentence(&problem.detail),
        ),
        retry_ms.and_then(|ms| i32::try_from(ms).ok()).unwrap_or(0),
    )
}

async fn read(watch: &Watch, response: &Response, kind: &str) -> Result<Blob, JsValue> {
    let options = BlobPropertyBag::new();
    options.set_type(kind);
    let Some(body) = response.body() else {
        return Blob::new_with_blob_sequence_and_options(&Array::new(), &options);
    };
    let reader: ReadableStreamDefaultReader = body.get_reader().dyn_into()?;
    let mut pieces = Array::new();
    let mut loose_bytes = 0;
    loop {
        watch.heard();
        let step = JsFuture::from(reader.read()).await?;
        if Reflect::get(&step, &"done".into())?.is_truthy() {
            return Blob::new_with_blob_sequence_and_options(&pieces, &options);
        }
        let piece: Uint8Array = Reflect::get(&step, &"value".into())?.dyn_into()?;
        loose_bytes += piece.byte_length();
        pieces.push(&piece);
        if loose_bytes >= FOLD_BYTES {
            pieces = Array::of1(&Blob::new_with_blob_sequence_and_options(&pieces, &options)?.into());
            loose_bytes = 0;
        }
    }
}
