//! The browser protocol, version 1: the frames of `quorate.v1.json`.
//!
//! One JSON object a WebSocket message, or an array of them. Unknown fields are ignored; an unknown `type` from a client
//! is answered `unsupported`. Every reply has the `reply` field; a frame without it is a push.

mod commands;
mod details;
mod event;
mod reply;
mod request;
#[cfg(test)]
mod tests;

pub use commands::{DeleteMessages, PinMessage, ReactTo};
pub use details::{
    Forwarded, MemberRole, MessageRef, NewAvatar, Preferences, PreferencesChange, Reaction, ScheduledItem,
    ScheduledState, SequenceRange,
};
pub use event::{Attachment, Event, EventKind, MeEvent, MeKind, Message, SincePage};
pub use reply::{
    Ack, Body, ConversationKind, ConversationSummary, MemberMarks, PresenceState, ServerFrame, Signal,
    SignalKind, Status, User, Welcome, WriteState,
};
pub use request::{
    Action, AttachFile, ClientFrame, DoCommand, EditMessage, Hello, History, REQUEST_TYPES, Request, Resume,
    SendMessage, SincePair,
};

fn is_zero(number: &u64) -> bool {
    *number == 0
}
