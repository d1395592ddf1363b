//! Dialogs with one thing to decide: which one is open, and how they wait for an answer.

use leptos::html;
use leptos::prelude::*;
use quorate_client::Input;
use quorate_client::proto::frame::Action;
use quorate_client::proto::ids::{ClientMessageId, ConversationId};

use super::icons::{Glyph, Icon};
use super::sheet_groups::{AddMember, Channels, Invite, MakeInvite};
use super::sheet_here::{Keys, Leave};
use super::sheet_message::{Delete, Forward, Later, Remind, Report, Revisions};
use super::sheet_person::Person;
use crate::context::{App, Sheet};
use crate::follow::follow;
use crate::words::t;

/// See the module. Its body is made anew each time it opens.
#[component]
pub(crate) fn Sheets() -> impl IntoView {
    let app = App::of_context();
    let dialog = NodeRef::<html::Dialog>::new();
    follow(move || {
        let Some(dialog) = dialog.get() else { return };
        let wanted = app.sheet.with(Option::is_some);
        if wanted && !dialog.open() {
            // Fails only when it is open already.
            let _ = dialog.show_modal();
        } else if !wanted && dialog.open() {
            dialog.close();
        }
    });
    let title = move || app.sheet.with(|sheet| sheet.as_ref().map_or("", title));
    view! {
        <dialog
            node_ref=dialog
            aria-labelledby="sheet-title"
            data-testid="sheet"
            on:close=move |_| app.sheet.set(None)
        >
            <div class="dialog-head">
                <h2 id="sheet-title">{title}</h2>
                <button type="button" class="icon-button" aria-label=t("Close") on:click=move |_| app.sheet.set(None)>
                    <Glyph icon=Icon::Close/>
                </button>
            </div>
            <div class="dialog-body">
                {move || app.sheet.get().map(|sheet| match sheet {
                    Sheet::Forward(messages) => view! { <Forward messages/> }.into_any(),
                    Sheet::Remind(message) => view! { <Remind message/> }.into_any(),
                    Sheet::Report(message) => view! { <Report message/> }.into_any(),
                    Sheet::Delete(id, chosen, everyone) => view! { <Delete id chosen everyone/> }.into_any(),
                    Sheet::Revisions(message) => view! { <Revisions message/> }.into_any(),
                    Sheet::Later(id, text, reply_to) => view! { <Later id text reply_to/> }.into_any(),
                    Sheet::Person(user) => view! { <Person user/> }.into_any(),
                    Sheet::Channels => view! { <Channels/> }.into_any(),
                    Sheet::Invite(code) => view! { <Invite code/> }.into_any(),
                    Sheet::MakeInvite(id) => view! { <MakeInvite id/> }.into_any(),
                    Sheet::AddMember(id) => view! { <AddMember id/> }.into_any(),
                    Sheet::Keys => view! { <Keys/> }.into_any(),
                    Sheet::Leave(count, files) => view! { <Leave count files/> }.into_any(),
                })}
            </div>
        </dialog>
    }
}

fn title(sheet: &Sheet) -> &'static str {
    match sheet {
        Sheet::Forward(_) => t("Forward to"),
        Sheet::Remind(_) => t("Remind me"),
        Sheet::Report(_) => t("Report this message"),
        Sheet::Delete(_, _, true) => t("Delete for everyone?"),
        Sheet::Delete(_, _, false) => t("Delete for you?"),
        Sheet::Revisions(_) => t("Earlier texts"),
        Sheet::Later(..) => t("Send later"),
        Sheet::Person(_) => t("Profile"),
        Sheet::Channels => t("Browse channels"),
        Sheet::Invite(_) => t("Invitation"),
        Sheet::MakeInvite(_) => t("Invite link"),
        Sheet::AddMember(_) => t("Add somebody"),
        Sheet::Keys => t("Keys"),
        Sheet::Leave(..) => t("Sign out?"),
    }
}

/// Waits for the answer to one command at a time.
#[derive(Clone, Copy)]
pub(crate) struct Asking {
    app: App,
    waiting: RwSignal<Option<ClientMessageId>>,
    pub(crate) error: RwSignal<String>,
}

impl Asking {
    /// `done` is called with the conversation concerned. Who closes the dialog no longer waits.
    pub(crate) fn new(app: App, done: impl Fn(Option<ConversationId>) + 'static) -> Self {
        let waiting = RwSignal::new(None::<ClientMessageId>);
        let error = RwSignal::new(String::new());
        on_cleanup(move || {
            if let Some(id) = waiting.try_get_untracked().flatten() {
                app.input(Input::Forget(id));
            }
        });
        follow(move || {
            let Some((id, answer)) = app.answer.get() else { return };
            if waiting.get_untracked() != Some(id) {
                return;
            }
            waiting.set(None);
            match answer {
                Ok(conversation) => done(conversation),
                Err(why) => error.set(why),
            }
        });
        Self { app, waiting, error }
    }

    pub(crate) fn busy(self) -> bool {
        self.waiting.get().is_some()
    }

    /// Whether an answer is awaited, outside of what follows signals.
    pub(crate) fn is_waiting(self) -> bool {
        self.waiting.try_get_untracked().flatten().is_some()
    }

    pub(crate) fn ask(self, action: Action) {
        if self.waiting.get_untracked().is_none() {
            self.error.set(String::new());
            // The answer may come before this returns: the effect runs after it.
            let id = self.app.command(action);
            self.waiting.set(Some(id));
        }
    }
}
