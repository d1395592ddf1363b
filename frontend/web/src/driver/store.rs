//! Local storage: the outbox and drafts, keyed by user. One key an item, so that two windows do not overwrite each other; each item with
//! the name of the window that sends it (`windows.rs`). Two that send the same send it under one id, which the cluster commits once.

use leptos::prelude::window;
use quorate_client::proto::frame::User;
use quorate_client::proto::ids::{ClientMessageId, ConversationId};
use quorate_client::{Draft, StoredDraft, StoredItem};
use web_sys::Storage;

/// `None` where the browser forbids it: the page works, and forgets at reload.
fn storage() -> Option<Storage> {
    window().local_storage().ok().flatten()
}

pub(crate) fn get(key: &str) -> Option<String> {
    storage()?.get_item(key).ok().flatten()
}

pub(crate) fn set(key: &str, value: &str) {
    if let Some(storage) = storage() {
        // A full storage costs durability across reloads, not the message itself.
        let _ = storage.set_item(key, value);
    }
}

pub(crate) fn remove(key: &str) {
    if let Some(storage) = storage() {
        let _ = storage.remove_item(key);
    }
}

/// Number and name: another cluster on the same address may give the number to somebody else.
fn outbox_prefix(user: &User) -> String {
    format!("quorate.outbox.{}-{}/", user.id, user.name)
}

/// `window` sends it.
pub(crate) fn put_item(user: &User, window: &str, item: &StoredItem) {
    let json = serde_json::to_string(item).ok();
    // Within the item, where a page that knows of no windows passes over it.
    if let Some(json) = json.as_deref().and_then(|json| json.strip_prefix('{')) {
        set(&format!("{}{}", outbox_prefix(user), item.id), &format!("{{\"window\":\"{window}\",{json}"));
    }
}

/// Which item of this user a key is for.
pub(crate) fn item_id(user: &User, key: &str) -> Option<ClientMessageId> {
    key.strip_prefix(&outbox_prefix(user))?.parse().ok()
}

/// The item at a key, and which window sends it; empty: one of a page that knew of no windows.
pub(crate) fn item(key: &str) -> Option<(String, StoredItem)> {
    let tree: serde_json::Value = serde_json::from_str(&get(key)?).ok()?;
    let window = tree.get("window").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    Some((window, serde_json::from_value(tree).ok()?))
}

pub(crate) fn remove_item(user: &User, id: ClientMessageId) {
    remove(&format!("{}{id}", outbox_prefix(user)));
}

/// By way of a tree: see `rest.rs`.
fn read<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).and_then(|tree: serde_json::Value| serde_json::from_value(tree)).ok()
}

/// Everything in this user's outbox, with the names of the windows that send it.
pub(crate) fn items(user: &User) -> Vec<(String, StoredItem)> {
    let Some(storage) = storage() else { return Vec::new() };
    let prefix = outbox_prefix(user);
    let count = storage.length().unwrap_or(0);
    (0..count)
        .filter_map(|at| storage.key(at).ok().flatten())
        .filter(|key| key.starts_with(&prefix))
        .filter_map(|key| item(&key))
        .collect()
}

fn draft_prefix(user: &User) -> String {
    format!("quorate.draft.{}-{}/", user.id, user.name)
}

/// Drafts that a former life of the page left behind. Those of an older page are the mere text.
pub(crate) fn drafts(user: &User) -> Vec<(ConversationId, StoredDraft)> {
    let Some(storage) = storage() else { return Vec::new() };
    let prefix = draft_prefix(user);
    let count = storage.length().unwrap_or(0);
    (0..count)
        .filter_map(|at| storage.key(at).ok().flatten())
        .filter_map(|key| {
            let id = key.strip_prefix(&prefix)?.parse().ok()?;
            let text = get(&key)?;
            let stored =
                read(&text).unwrap_or(StoredDraft { draft: Draft { text, reply_to: None }, told: false });
            Some((id, stored))
        })
        .collect()
}

pub(crate) fn remove_drafts(user: &User) {
    for (conversation, _) in drafts(user) {
        remove(&format!("{}{conversation}", draft_prefix(user)));
    }
}

pub(crate) fn put_draft(user: &User, conversation: ConversationId, stored: &StoredDraft) {
    let key = format!("{}{conversation}", draft_prefix(user));
    if stored.draft.is_empty() && stored.told {
        remove(&key);
    } else if let Ok(json) = serde_json::to_string(stored) {
        set(&key, &json);
    }
}
