//! Where messages are written: the composer, the files above it, and what can be picked.

use leptos::prelude::*;
use quorate_client::view::{UploadRow, UploadState};

use super::people::{ROOM, group};
use super::scene::{OnDemand, Part, Scene, Specimen};
use crate::context::{App, Editing, Heading, Tray as Files};
use crate::ui::composer::Composer;
use crate::ui::emoji_picker::EmojiPicker;
use crate::ui::tray::Tray;
use crate::words::t;

/// See the module.
#[component]
pub(super) fn Writing() -> impl IntoView {
    view! {
        <Part id="writing" words=t("Writing")>
            <Specimen words=t("Files for the next message, in each state") shape="wide">
                <Scene set=files><Tray/></Scene>
            </Specimen>
            <OnDemand words=t("The composer, with somebody typing") shape="wide">
                <Scene set=open><Composer id=ROOM/></Scene>
            </OnDemand>
            <OnDemand words=t("The composer while a message is edited") shape="wide">
                <Scene set=editing><Composer id=ROOM/></Scene>
            </OnDemand>
            <OnDemand words=t("The composer where nothing can be written") shape="wide">
                <Scene set=closed><Composer id=ROOM/></Scene>
            </OnDemand>
            <OnDemand words=t("The picker of emoji")>
                <Scene><EmojiPicker pick=Callback::new(|_| {}) close=Callback::new(|()| {})/></Scene>
            </OnDemand>
        </Part>
    }
}

fn files(app: App) {
    let states = [
        (UploadState::Queued, "Waiting for others"),
        (UploadState::Sending, "620 KB of 1.2 MB"),
        (UploadState::Cut, "Waiting for the connection"),
        (UploadState::Ready, "1.2 MB"),
        (UploadState::Failed, "This file is larger than 512 MB."),
    ];
    let rows = states.into_iter().zip(1_u64..).map(|((state, words), id)| UploadRow {
        id,
        name: format!("{}.log", state.word()),
        size: 1_204_224,
        there: if state == UploadState::Queued { 0 } else { 620_000 },
        state,
        words: words.to_owned(),
        may_retry: state == UploadState::Failed,
    });
    app.focused.set(Some(ROOM));
    app.tray.set(Files { rows: rows.collect(), waits: true });
}

fn open(app: App) {
    let typing = Some("Benjamin Reed and 2 others are typing".to_owned());
    app.focused.set(Some(ROOM));
    app.heading.set(Some(Heading { typing, ..group() }));
}

fn editing(app: App) {
    let text = "The leader is replica 2 now.".to_owned();
    open(app);
    app.editing.set(Some(Editing { sequence: 1, revision: 0, text }));
}

fn closed(app: App) {
    let closed = Some("Only admins of this group write here.");
    app.focused.set(Some(ROOM));
    app.heading.set(Some(Heading { closed, ..group() }));
}
