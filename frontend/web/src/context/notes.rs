//! Lines for the person, at the edge of the page.

use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::proto::frame::MessageRef;
use quorate_client::proto::ids::{ConversationId, Sequence};
use wasm_bindgen_futures::JsFuture;

use super::{App, Note};
use crate::words::t;

impl App {
    /// A line for the person, which goes by itself.
    pub(crate) fn tell(self, text: &str) {
        self.toast.set(Some(Note { text: text.to_owned(), stays: false, leads: None }));
    }

    /// Something went wrong: a line that stays until it is dismissed.
    pub(crate) fn warn(self, text: &str) {
        self.toast.set(Some(Note { text: text.to_owned(), stays: true, leads: None }));
    }

    /// A reminder, which leads to its message and stays.
    pub(crate) fn remind(self, text: &str, conversation: ConversationId, sequence: Option<Sequence>) {
        let leads = sequence.map(|sequence| MessageRef { conversation, sequence });
        self.toast.set(Some(Note { text: text.to_owned(), stays: true, leads }));
    }

    /// Puts a text on the clipboard, and says what came of it.
    pub(crate) fn copy(self, text: &str, said: &'static str) {
        let clipboard = window().navigator().clipboard();
        // Over plain HTTP from another host there is none.
        let copied = (!clipboard.is_undefined()).then(|| clipboard.write_text(text));
        spawn_local(async move {
            let is_copied = match copied {
                Some(copied) => JsFuture::from(copied).await.is_ok(),
                None => false,
            };
            if is_copied {
                self.tell(said);
            } else {
                self.warn(t("Nothing was copied: browsers allow it over HTTPS only."));
            }
        });
    }
}
