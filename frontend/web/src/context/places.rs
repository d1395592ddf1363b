//! What is open: the conversation that the address names, and the message in it that is sought.

use leptos::prelude::*;
use quorate_client::Input;
use quorate_client::proto::ids::{ConversationId, Sequence};

use super::{App, Panel, Sheet, Stage};
use crate::route::{self, Place};

impl App {
    /// Opens what the address says.
    pub(crate) fn follow_route(self) {
        if self.stage.with_untracked(|stage| *stage == Stage::Inside) {
            let place = route::place();
            let (id, at) = match place {
                Place::Conversation(id, at) => (Some(id), at),
                Place::Invite(code) => {
                    self.sheet.set(Some(Sheet::Invite(code)));
                    (self.focused.get_untracked(), None)
                }
                Place::List => (None, None),
            };
            if self.focused.get_untracked() != id {
                self.replying.set(None);
                self.editing.set(None);
                self.sought.set(None);
                self.selecting.set(None);
                if self.panel.get_untracked() == Some(Panel::Pins) {
                    self.panel.set(None);
                }
                self.focused.set(id);
                self.refresh_tray();
            }
            self.input(Input::Focus(id));
            // Before anything is drawn: what was there when she left is not where she comes back to.
            self.catch_up();
            if let (Some(id), Some(at)) = (id, at) {
                self.seek(id, at);
            }
        }
    }

    /// Brings a message of the open conversation into view, however far back it is.
    pub(crate) fn seek(self, id: ConversationId, sequence: Sequence) {
        self.input(Input::Seek(id, sequence));
        self.sought.set(Some((id, sequence, false)));
    }

    /// Goes to a message, wherever it is.
    pub(crate) fn go_to_message(self, id: ConversationId, sequence: Sequence) {
        // Where the panel lies over the conversation it goes.
        let narrow = window().match_media("(max-width: 1080px)").ok().flatten();
        if narrow.is_some_and(|query| query.matches()) {
            self.panel.set(None);
        }
        if self.focused.get_untracked() == Some(id) {
            self.seek(id, sequence);
        } else {
            route::go_to(&format!("#/c/{id}/m/{sequence}"));
        }
    }
}
