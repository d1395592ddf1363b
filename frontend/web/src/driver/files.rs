//! Files of this device on their way up, and those of messages on their way down.
//!
//! Owns: the chosen files while the rules may ask for their bytes, the calls and downloads under way, and places for images. A download goes
//! by the page's token, which no address can carry: it becomes a blob, which browsers keep on disk when it is large.

use std::time::Duration;

use js_sys::{ArrayBuffer, Function, Promise, Uint8Array};
use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::Input;
use quorate_client::proto::error::{ErrorCode, WireError};
use quorate_client::proto::frame::Attachment;
use quorate_client::proto::ids::ConversationId;
use quorate_client::proto::rest::{NewFile, Problem};
use quorate_client::upload::{Call, Hash, Step, Told, Trouble, UploadId};
use quorate_client::view::content_path;
use serde::de::DeserializeOwned;
use uuid::Uuid;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, AbortSignal, Blob, FileList, Url};

use super::fetching::{Lost, Watch, whole};
use super::input;
use super::rest::{self, Answered, Ask};
use crate::context::{App, ShownBy, sleep, unless_gone};
use crate::follow::after;
use crate::words::{t, tf};

/// Images that are fetched at a time: fewer than the server allows a user, so that uploads go on beside them.
const IMAGES_MAX: usize = 4;
/// Times that an image is asked for, when the server is busy or silent.
const IMAGE_TRIES: i32 = 4;
/// The first wait between them; each is as much longer. ms.
const IMAGE_WAIT_MS: i32 = 700;
/// The longest wait between them that a server can ask for, ms.
const IMAGE_WAIT_MS_MAX: i32 = 10_000;
/// How long the bytes of a download stay after the browser was told to keep them: some begin to read late.
const KEPT: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Default)]
pub(crate) struct Files {
    /// A few dozen at most: to look through them is quicker than to load a table's code.
    chosen: Vec<(UploadId, Blob)>,
    calls: Vec<(UploadId, Call, AbortController)>,
    last: UploadId,
    /// What is to be kept on this device and is under way: by a file's number, or an export's path.
    keeping: Vec<(String, Watch)>,
    images: usize,
    /// Who waits for a place, oldest first.
    waiting: Vec<Function>,
}

impl Files {
    fn take_call(&mut self, id: UploadId, call: Call) -> Option<AbortController> {
        let at = self.calls.iter().position(|(of, number, _)| (*of, *number) == (id, call))?;
        Some(self.calls.swap_remove(at).2)
    }
}

/// Files were chosen, dropped or pasted for the next message there. Returns whether there were any.
pub(crate) fn choose(app: App, conversation: ConversationId, files: &FileList) -> bool {
    for file in (0..files.length()).filter_map(|at| files.item(at)) {
        let name = file.name();
        upload(app, conversation, file.into(), &name);
    }
    files.length() > 0
}

/// Begins the upload of some bytes under a name; `None` if there is no room for it.
pub(crate) fn upload(app: App, conversation: ConversationId, bytes: Blob, name: &str) -> Option<UploadId> {
    let (name, size) = (name.to_owned(), bytes.size() as u64);
    let upload = app.driver.try_update_value(|driver| {
        driver.files.last += 1;
        driver.files.chosen.push((driver.files.last, bytes));
        driver.files.last
    })?;
    app.input(Input::Attach { upload, conversation, name, size });
    // Those of one that was refused are nobody's.
    app.driver.try_update_value(|driver| {
        let is_taken = driver.client.uploads().of(conversation).any(|taken| taken.id == upload);
        if !is_taken {
            driver.files.chosen.retain(|(id, _)| *id != upload);
        }
        is_taken.then_some(upload)
    })?
}

/// Carries out a step of an upload.
pub(super) fn carry_out(app: App, id: UploadId, call: Call, step: &Step) {
    match step {
        Step::Abort(call) => {
            let call = app.driver.try_update_value(|driver| driver.files.take_call(id, *call)).flatten();
            if let Some(call) = call {
                call.abort();
            }
        }
        Step::Release => app.driver.update_value(|driver| driver.files.chosen.retain(|(of, _)| *of != id)),
        Step::Delete { file, key } => {
            let (path, key, token) = (file_path(*file, ""), key.to_string(), app.token());
            spawn_local(async move {
                let ask = Ask { method: "DELETE", path: &path, token: token.as_deref(), ..Ask::default() };
                // What is not deleted now is removed by itself after a day.
                let _ = Ask { key: Some(key), ..ask }.fetch().await;
            });
        }
        step => {
            let controller = AbortController::new().ok();
            let signal = controller.as_ref().map(AbortController::signal);
            let chosen = app.driver.try_update_value(|driver| {
                if let Some(controller) = controller {
                    driver.files.calls.push((id, call, controller));
                }
                driver.files.chosen.iter().find(|(of, _)| *of == id).map(|(_, file)| file.clone())
            });
            let (step, token) = (step.clone(), app.token());
            spawn_local(async move {
                let line = Line { token, signal };
                let told = line.told(step, chosen.flatten()).await;
                app.driver.update_value(|driver| drop(driver.files.take_call(id, call)));
                if let Some(told) = told {
                    input(app, Input::Uploaded(id, call, told));
                }
            });
        }
    }
}

fn file_path(file: Uuid, rest: &str) -> String {
    format!("/api/v1/files/{file}{rest}")
}

/// How a call travels.
struct Line {
    token: Option<String>,
    signal: Option<AbortSignal>,
}

impl Line {
    async fn told(self, step: Step, chosen: Option<Blob>) -> Option<Told> {
        Some(match step {
            Step::Begin { name, size } => {
                let body = Some(rest::json(&NewFile { name, size }));
                Told::Begun(read(self.call("POST", "/api/v1/files".to_owned(), body, None).await))
            }
            Step::Ask { file } => {
                let there = read(self.call("GET", file_path(file, ""), None, None).await);
                Told::There(match there {
                    Err(Trouble::Refused(error)) if error.code == ErrorCode::NotFound => Ok(None),
                    there => there.map(Some),
                })
            }
            Step::Put { file, number, begin, length } => {
                let Some((bytes, hash)) = chunk(chosen, begin, length).await else {
                    return Some(Told::Put { hash: None, outcome: Err(Trouble::Unreadable) });
                };
                let body = Some(("application/octet-stream", bytes.into()));
                let stored =
                    self.call("PUT", file_path(file, &format!("/chunks/{number}")), body, None).await;
                Told::Put { hash: Some(hash), outcome: read(stored) }
            }
            Step::Commit { file, name, size, key } => {
                let body = Some(rest::json(&NewFile { name, size }));
                let key = Some(key.to_string());
                Told::Committed(read(self.call("POST", file_path(file, "/commit"), body, key).await))
            }
            Step::Delete { .. } | Step::Abort(_) | Step::Release => return None,
        })
    }

    fn call(
        self,
        method: &'static str,
        path: String,
        body: Option<(&'static str, JsValue)>,
        key: Option<String>,
    ) -> Answered<Result<String, Trouble>> {
        Box::pin(async move {
            let (token, signal) = (self.token.as_deref(), self.signal);
            let ask = Ask { method, path: &path, token, body, key, signal };
            let (status, text) = ask.text().await.map_err(|_| Trouble::Cut)?;
            if (200..300).contains(&status) {
                return Ok(text);
            }
            Err(match rest::parse::<Problem>(&text) {
                Some(problem) => Trouble::Refused(problem.error),
                // Something between here and the gateways.
                None if status >= 500 => Trouble::Cut,
                None => {
                    let words = tf("the server answered {}", &[&status]);
                    Trouble::Refused(WireError::new(ErrorCode::Invalid, words))
                }
            })
        })
    }
}

fn read<T: DeserializeOwned>(answer: Result<String, Trouble>) -> Result<T, Trouble> {
    rest::parse(&answer?).ok_or(Trouble::Cut)
}

/// A chunk of a file, with its hash. `None`: it is not there as it was.
async fn chunk(chosen: Option<Blob>, begin: u64, length: u64) -> Option<(ArrayBuffer, Hash)> {
    let (begin, end) = (begin as f64, (begin + length) as f64);
    let slice: Blob = chosen?.slice_with_f64_and_f64(begin, end).ok()?;
    let bytes: ArrayBuffer = JsFuture::from(slice.array_buffer()).await.ok()?.dyn_into().ok()?;
    let copy = Uint8Array::new(&bytes).to_vec();
    (copy.len() as u64 == length).then(|| (bytes, *blake3::hash(&copy).as_bytes()))
}

/// The address of an image's bytes in this page; to be revoked by whoever asked for it. `None`: it is not to be had now.
pub(crate) async fn image(app: App, path: String) -> Option<String> {
    for attempt in 1..=IMAGE_TRIES {
        // Of somebody who has signed out meanwhile nothing is asked.
        let (watch, _) = (Watch::new()?, app.token()?);
        enter(app).await;
        let token = app.token();
        let found = whole(&watch, token.as_deref(), &path).await;
        leave(app);
        let asked_ms = match found {
            Ok(blob) => return Url::create_object_url_with_blob(&blob).ok(),
            // A token that has just ended is followed by another.
            Err(Lost::Refused(400 | 402..=428 | 430..=499, ..) | Lost::Stopped) => return None,
            Err(Lost::Refused(_, _, retry_ms)) => retry_ms.min(IMAGE_WAIT_MS_MAX),
            Err(Lost::Cut) => 0,
        };
        sleep(asked_ms.max(IMAGE_WAIT_MS * attempt)).await;
    }
    None
}

/// An address that is not needed any more.
pub(crate) fn revoke(address: &str) {
    // Fails on no string.
    let _ = Url::revoke_object_url(address);
}

async fn enter(app: App) {
    let promise = Promise::new(&mut |resolve, _| {
        app.driver.update_value(|driver| {
            if driver.files.images < IMAGES_MAX {
                driver.files.images += 1;
                // Nothing is thrown by resolving.
                let _ = resolve.call0(&JsValue::NULL);
            } else {
                driver.files.waiting.push(resolve);
            }
        });
    });
    let _ = JsFuture::from(promise).await;
}

fn leave(app: App) {
    app.driver.update_value(|driver| {
        if driver.files.waiting.is_empty() {
            driver.files.images -= 1;
        } else {
            // The place goes to whoever has waited longest.
            let _ = driver.files.waiting.remove(0).call0(&JsValue::NULL);
        }
    });
}

/// Keeps a message's file on this device; in words why not. Asked again while it is under way, it is broken off.
pub(crate) fn save(app: App, file: Attachment, shown_by: Option<ShownBy>) {
    let key = file.file.to_string();
    if let Some(watch) = under_way(app, &key) {
        return watch.stop();
    }
    app.saving.update(|saving| saving.push(file.file));
    spawn_local(async move {
        let found = fetch(app, key, &content_path(&file, shown_by, true)).await;
        unless_gone(app.saving.try_update(|saving| saving.retain(|id| *id != file.file)));
        match found.map(|blob| hand_over(&blob, &file.name)) {
            Ok(Ok(())) | Err(Lost::Stopped) => {}
            Err(Lost::Refused(404, ..)) => app.warn(t("This file is gone, or no longer yours to see.")),
            Ok(Err(_)) | Err(_) => app.warn(t("The file could not be fetched. Try again in a moment.")),
        }
    });
}

/// Keeps what stands at a path, an export of something, under this name; one of the same at a time.
///
/// # Errors
/// In words why not.
pub(crate) async fn keep(app: App, path: &str, name: &str) -> Result<(), String> {
    if under_way(app, path).is_some() {
        return Err(t("This is being fetched already.").to_owned());
    }
    let cut = || t("The file could not be fetched. Try again in a moment.").to_owned();
    match fetch(app, path.to_owned(), path).await {
        Ok(blob) => hand_over(&blob, name).map_err(|_| cut()),
        Err(Lost::Refused(_, why, _)) => Err(why),
        Err(Lost::Stopped) => Ok(()),
        Err(Lost::Cut) => Err(cut()),
    }
}

fn under_way(app: App, key: &str) -> Option<Watch> {
    app.driver.with_value(|driver| {
        driver.files.keeping.iter().find(|(of, _)| of == key).map(|(_, watch)| watch.clone())
    })
}

/// What is to be kept, as a whole; it can be broken off by this key.
async fn fetch(app: App, key: String, path: &str) -> Result<Blob, Lost> {
    let (watch, token) = (Watch::new().ok_or(Lost::Cut)?, app.token());
    app.driver.update_value(|driver| driver.files.keeping.push((key.clone(), watch.clone())));
    let found = whole(&watch, token.as_deref(), path).await;
    app.driver.update_value(|driver| driver.files.keeping.retain(|(of, _)| *of != key));
    found
}

/// Nobody is signed in any more: what was to be kept is broken off.
pub(crate) fn stop(app: App) {
    app.driver.with_value(|driver| driver.files.keeping.iter().for_each(|(_, watch)| watch.stop()));
}

/// Has the browser keep these bytes as a file of this name.
fn hand_over(blob: &Blob, name: &str) -> Result<(), JsValue> {
    let address = Url::create_object_url_with_blob(blob)?;
    let kept = rest::keep(&address, name);
    // Without a timer they stay for as long as the page.
    let _ = after(KEPT, move || revoke(&address));
    kept
}
