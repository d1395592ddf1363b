//! What stands at the side, what lies over the page, and whole screens.

use leptos::prelude::*;
use quorate_client::Details as Facts;
use quorate_client::proto::frame::{Attachment, MessageRef, PresenceState, WriteState};
use uuid::Uuid;

use super::people::{ROOM, ben, direct, group, line};
use super::scene::{OnDemand, Part, Scene, Specimen};
use super::stages::{measured, quiet};
use crate::context::{App, Panel as Which, Sheet};
use crate::desk::stages::Times;
use crate::ui::account::Account;
use crate::ui::chat::Chat;
use crate::ui::details::Details;
use crate::ui::door::Door;
use crate::ui::lightbox::Lightbox;
use crate::ui::new_conversation::NewConversation;
use crate::ui::panel::Panel;
use crate::ui::sheet::Sheets;
use crate::ui::starting::Starting;
use crate::ui::switcher::Switcher;
use crate::words::{Word, t};

const MESSAGE: MessageRef = MessageRef { conversation: ROOM, sequence: 1 };

/// See the module.
#[component]
pub(super) fn Panels() -> impl IntoView {
    view! {
        <Part id="panels" words=t("Panels and dialogs")>
            <Specimen words=t("Details of two, with a connection") shape="tall"><Scene set=connected><Details/></Scene></Specimen>
            <Specimen words=t("Details of a group, without one") shape="tall"><Scene set=cut_off><Details/></Scene></Specimen>
            <Specimen words=t("Pinned messages, out of reach") shape="tall"><Scene set=pins><Panel/></Scene></Specimen>
            <OnDemand words=t("Search") shape="tall"><Scene set=search><Panel/></Scene></OnDemand>
            <Specimen words=t("Dialogs: as they are where the server is out of reach") shape="wide">
                <Scene set=cut_off><Dialogs/></Scene>
            </Specimen>
            <Specimen words=t("A line for the person") shape="wide"><Lines/></Specimen>
            <Specimen words=t("The desk: latency by stage") shape="wide"><Times latest=measured()/></Specimen>
            <Specimen words=t("The same while nobody writes") shape="wide"><Times latest=quiet()/></Specimen>
        </Part>
    }
}

/// Buttons that open each dialog.
#[component]
fn Dialogs() -> impl IntoView {
    let app = App::of_context();
    let sheets: [(&str, Sheet); 13] = [
        (t("Forward"), Sheet::Forward(vec![MESSAGE])),
        (t("Remind"), Sheet::Remind(MESSAGE)),
        (t("Report"), Sheet::Report(MESSAGE)),
        (t("Delete"), Sheet::Delete(ROOM, vec![1], true)),
        (t("Earlier texts"), Sheet::Revisions(MESSAGE)),
        (t("Send later"), Sheet::Later(ROOM, "Good morning!".to_owned(), None)),
        (t("Profile"), Sheet::Person(ben())),
        (t("Channels"), Sheet::Channels),
        (t("Invitation"), Sheet::Invite("a-code".to_owned())),
        (t("Invite link"), Sheet::MakeInvite(ROOM)),
        (t("Add somebody"), Sheet::AddMember(ROOM)),
        (t("Keys"), Sheet::Keys),
        (t("Sign out"), Sheet::Leave(2, true)),
    ];
    let picture = Attachment {
        file: Uuid::from_u128(1),
        name: "rack.png".to_owned(),
        media_type: "image/png".to_owned(),
        size: 48_120,
        width: Some(320),
        height: Some(180),
        thumbnail: true,
    };
    view! {
        <p class="acts" data-testid="dialogs">
            {sheets.map(|(words, sheet)| view! {
                <button type="button" class="button" on:click=move |_| app.sheet.set(Some(sheet.clone()))>{words}</button>
            }).collect_view()}
            <button type="button" class="button" on:click=move |_| app.accounting.set(true)>{Word("Account")}</button>
            <button type="button" class="button" on:click=move |_| app.creating.set(true)>{Word("New conversation")}</button>
            <button type="button" class="button" on:click=move |_| app.switching.set(true)>{Word("Find a conversation")}</button>
            <button type="button" class="button" on:click=move |_| app.lightbox.set(Some((picture.clone(), None)))>{Word("An image as a whole")}</button>
        </p>
        <Account/>
        <NewConversation/>
        <Switcher/>
        <Sheets/>
        <Lightbox/>
    }
}

/// Buttons that say something.
#[component]
fn Lines() -> impl IntoView {
    let app = App::of_context();
    view! {
        <p class="acts">
            <button type="button" class="button" on:click=move |_| app.tell(t("You will be reminded."))>{Word("It goes by itself")}</button>
            <button type="button" class="button" on:click=move |_| app.warn(t("Nothing was copied: browsers allow it over HTTPS only."))>{Word("It stays: something went wrong")}</button>
            <button type="button" class="button" on:click=move |_| app.remind("Reminder: look at replica 3", ROOM, Some(1))>{Word("It leads to a message")}</button>
        </p>
    }
}

/// What fills the window.
#[component]
pub(super) fn Screens() -> impl IntoView {
    view! {
        <Part id="screens" words=t("Whole screens")>
            <Specimen words=t("The page opens") shape="tall"><Scene><Starting hindrance=None/></Scene></Specimen>
            <Specimen words=t("Something hinders it") shape="tall">
                <Scene><Starting hindrance=Some(t("No answer from the server. Check the connection and try again.").to_owned())/></Scene>
            </Specimen>
            <OnDemand words=t("The door") shape="wide tall"><Scene><Door why=None/></Scene></OnDemand>
            <OnDemand words=t("No conversation is open, the first time") shape="wide tall"><Scene set=first><Chat/></Scene></OnDemand>
            <OnDemand words=t("No conversation is open") shape="wide tall"><Scene set=later><Chat/></Scene></OnDemand>
            <OnDemand words=t("A conversation that is not the reader’s") shape="wide tall"><Scene set=foreign><Chat/></Scene></OnDemand>
        </Part>
    }
}

fn connected(app: App) {
    app.focused.set(Some(ROOM));
    app.heading.set(Some(direct(PresenceState::Active)));
    app.details.set(Facts {
        gateway: "a".to_owned(),
        cluster: "01J0000000000000000000".to_owned(),
        session: "b7d2".to_owned(),
        position: 1_207,
        seen: 1_207,
        round_trip_ms: Some(3),
        leader: Some(4),
        live: true,
        sockets: 1,
        ..Facts::default()
    });
}

fn cut_off(app: App) {
    app.focused.set(Some(ROOM));
    app.heading.set(Some(group()));
    app.details.set(Facts { write: WriteState::NoQuorum, outbox: 2, ..Facts::default() });
}

fn pins(app: App) {
    cut_off(app);
    app.panel.set(Some(Which::Pins));
}

fn search(app: App) {
    cut_off(app);
    app.panel.set(Some(Which::Search));
}

fn first(app: App) {
    app.listed.set(true);
}

fn later(app: App) {
    app.listed.set(true);
    app.list.set(vec![line(ROOM, "Benjamin Reed", "Good night.")]);
}

fn foreign(app: App) {
    app.listed.set(true);
    app.focused.set(Some(ROOM));
}
