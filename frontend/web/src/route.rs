//! The address after `#`: which conversation is open, so that a reload and the back button do what they promise.

use leptos::prelude::{location_hash, window};
use quorate_client::proto::ids::ConversationId;

/// The conversation in the address.
pub(crate) fn conversation() -> Option<ConversationId> {
    location_hash()?.strip_prefix("/c/")?.parse().ok()
}

/// The address of a conversation; of the list without one.
pub(crate) fn href(conversation: Option<ConversationId>) -> String {
    conversation.map_or_else(|| "#/".to_owned(), |id| format!("#/c/{id}"))
}

/// Goes there; the `hashchange` listener does the rest.
pub(crate) fn go(conversation: Option<ConversationId>) {
    // Only a cross-origin document refuses this, and the page is its own.
    let _ = window().location().set_hash(&href(conversation)[1..]);
}
