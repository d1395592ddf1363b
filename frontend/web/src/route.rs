//! The address after `#`: what is open, so that a reload, a link and the back button do what they promise.

use leptos::prelude::{location_hash, window};
use quorate_client::proto::ids::{ConversationId, Sequence};

/// What an address leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// The list, nothing open.
    #[default]
    List,
    /// A conversation, perhaps at one of its messages.
    Conversation(ConversationId, Option<Sequence>),
    /// What an invite leads to.
    Invite(String),
}

/// What the address says.
pub(crate) fn place() -> Place {
    location_hash().map_or(Place::List, |hash| read(&hash))
}

fn read(hash: &str) -> Place {
    let mut parts = hash.trim_start_matches('/').split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("c"), Some(id), mark, sequence) => {
            let Ok(id) = id.parse() else { return Place::List };
            let sequence = sequence.filter(|_| mark == Some("m")).and_then(|text| text.parse().ok());
            Place::Conversation(id, sequence)
        }
        (Some("invite"), Some(code), None, None) if !code.is_empty() => Place::Invite(code.to_owned()),
        _ => Place::List,
    }
}

/// The address of a conversation; of the list without one.
pub(crate) fn href(conversation: Option<ConversationId>) -> String {
    conversation.map_or_else(|| "#/".to_owned(), |id| format!("#/c/{id}"))
}

/// The whole address of a message, to be given to others.
pub(crate) fn link(conversation: ConversationId, sequence: Sequence) -> String {
    whole(&format!("#/c/{conversation}/m/{sequence}"))
}

/// The whole address of an invite.
pub(crate) fn invite_link(code: &str) -> String {
    whole(&format!("#/invite/{code}"))
}

fn whole(hash: &str) -> String {
    let location = window().location();
    let (origin, path) = (location.origin().unwrap_or_default(), location.pathname().unwrap_or_default());
    format!("{origin}{path}{hash}")
}

/// Goes there; the `hashchange` listener does the rest.
pub(crate) fn go(conversation: Option<ConversationId>) {
    go_to(&href(conversation));
}

/// The same with an address.
pub(crate) fn go_to(href: &str) {
    // Only a cross-origin document refuses this, and the page is its own.
    let _ = window().location().set_hash(href.trim_start_matches('#'));
}
