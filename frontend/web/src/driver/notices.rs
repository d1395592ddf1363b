//! Notifications of messages that call for the reader: said after a moment in which another window or device may show them, and taken
//! away once they are read, wherever that is. Whether this browser is set to say anything is decided in `page/device.js`.

use std::time::Duration;

use leptos::prelude::*;
use quorate_client::proto::ids::{ConversationId, Sequence};
use quorate_client::view::notice;

use super::{device, store};
use crate::context::App;
use crate::follow::after;
use crate::route;

/// A switch of this browser, on once anything is stored: notifications are shown.
pub(crate) const NOTIFY_KEY: &str = "quorate.notify";
/// The same: a sound goes with them.
pub(crate) const SOUND_KEY: &str = "quorate.sound";
/// The same: the reader does not want to be disturbed.
pub(crate) const PEACE_KEY: &str = "quorate.dnd";

/// Read marks of other windows and devices are here within this.
const MOMENT: Duration = Duration::from_millis(2_500);

/// The newest message of each conversation that called and is not read.
pub(super) type Notices = Vec<(ConversationId, Sequence)>;

/// Whether a switch is on.
pub(crate) fn is_on(key: &str) -> bool {
    store::get(key).is_some()
}

/// Turns it.
pub(crate) fn turn(key: &str, on: bool) {
    if on {
        store::set(key, "1");
    } else {
        store::remove(key);
    }
}

/// A message calls for the reader.
pub(super) fn called(app: App, id: ConversationId, sequence: Sequence) {
    app.driver.update_value(|driver| {
        let notices = &mut driver.notices;
        notices.retain(|(of, _)| *of != id);
        notices.push((id, sequence));
    });
    // Without timers nothing is said; the title counts as ever.
    let _ = after(MOMENT, move || say(app, id));
}

/// Of several within a moment the newest is said, once.
fn say(app: App, id: ConversationId) {
    let waits = app.driver.try_with_value(|driver| driver.notices.iter().find(|(of, _)| *of == id).copied());
    let Some((_, sequence)) = waits.flatten() else { return };
    // In front of the reader it is seen without; and another window may just have been told to leave her alone.
    if is_on(PEACE_KEY) || app.visible.get_untracked() && app.focused.get_untracked() == Some(id) {
        return;
    }
    if let Some(said) = app.with(|client| notice(client, id, sequence)) {
        device::notify(&route::href(Some(id)), &format!("{id}.{sequence}"), &said.title, &said.text);
    }
}

/// Takes away what has been read.
pub(super) fn follow(app: App) {
    let over = app.driver.try_update_value(|driver| {
        let client = &driver.client;
        let mut over = Vec::new();
        driver.notices.retain(|(id, sequence)| {
            let waits = client.conversation(*id).is_some_and(|held| held.read < *sequence);
            if !waits {
                over.push(*id);
            }
            waits
        });
        over
    });
    for id in over.unwrap_or_default() {
        device::hush(&route::href(Some(id)));
    }
}
