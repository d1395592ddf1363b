//! Messages in each state, and the timeline around them.

use std::sync::Arc;

use leptos::prelude::*;
use quorate_client::proto::frame::{Attachment, Forwarded};
use quorate_client::selection::Selection;
use quorate_client::signals::Reach;
use quorate_client::view::{MessageRow, MessageState, PendingEdit, Quote, ReactionRow, Row};
use uuid::Uuid;

use super::people::{ROOM, ana, ben, bot, dalia, direct, group, now, row, sent, written};
use super::scene::{Part, Scene, Specimen};
use crate::context::{App, Rows};
use crate::ui::message::Message;
use crate::ui::select_bar::SelectBar;
use crate::ui::timeline::Timeline;
use crate::words::{keyed, t};

/// What is shown of a message, and what it is called.
type Case = (&'static str, MessageRow);

const MARKDOWN: &str = "**Three** of _five_ is `enough`:\n- replica 1\n- replica 4\n\n> and the leader?\n\n```sh\ndeploy/replica 3 kill\n```\nSee https://example.org/quorum, @ben.";

/// From clock to tick.
fn ways() -> Vec<Case> {
    let mine = |sequence| row(sequence, ana(), "Does this arrive?");
    let with = |sequence, state| MessageRow { state, ..mine(sequence) };
    vec![
        (keyed("Pending"), with(1, MessageState::Pending)),
        (keyed("Kept by a majority"), with(2, sent(2, Reach::Kept))),
        (keyed("Delivered"), with(3, sent(3, Reach::Delivered))),
        (keyed("Read"), with(4, sent(4, Reach::Read))),
        (
            keyed("Failed"),
            with(5, MessageState::Failed("You are not a member of this conversation any more.".to_owned())),
        ),
        (keyed("Written a day ago and never sent"), with(6, MessageState::NeedsTap)),
    ]
}

/// What was done to it.
fn changes() -> Vec<Case> {
    let text = "The leader is replica 4 now.";
    let edit = |refused: Option<&str>| PendingEdit {
        text: "The leader is replica 2 now.".to_owned(),
        refused: refused.map(ToOwned::to_owned),
    };
    let reaction = |emoji: &str, count, mine, pending| ReactionRow {
        emoji: emoji.to_owned(),
        count,
        who: "Ana Brook and Benjamin Reed".to_owned(),
        mine,
        pending,
    };
    let quote = |author: &str, text: &str, gone| {
        Some(Quote { sequence: 1, author: author.to_owned(), text: text.to_owned(), gone })
    };
    let forwarded = || Some(Forwarded { from: dalia(), time: now() });
    vec![
        (
            keyed("Edited"),
            written(row(11, ben(), text), |message| (message.revision, message.edited) = (1, now())),
        ),
        (keyed("An edit on its way"), MessageRow { edit: Some(edit(None)), ..row(12, ana(), text) }),
        (
            keyed("An edit that was refused"),
            MessageRow { edit: Some(edit(Some("Somebody else was first."))), ..row(13, ana(), text) },
        ),
        (keyed("Deleted"), written(row(14, ben(), ""), |message| message.deleted = true)),
        (keyed("Being deleted"), MessageRow { deleting: true, ..row(15, ana(), text) }),
        (
            keyed("A reply"),
            MessageRow { quote: quote("Benjamin Reed", "Who leads?", false), ..row(16, ana(), text) },
        ),
        (
            keyed("A reply to what is gone"),
            MessageRow { quote: quote("", "This message was deleted.", true), ..row(17, ana(), text) },
        ),
        (
            keyed("Reactions: of others, one’s own, one on its way"),
            MessageRow {
                reactions: vec![
                    reaction("👍", 3, false, false),
                    reaction("🎉", 2, true, false),
                    reaction("❤️", 1, true, true),
                ],
                ..row(18, ben(), text)
            },
        ),
        (
            keyed("Pinned and saved"),
            MessageRow { saved: true, ..written(row(19, ben(), text), |message| message.pinned = true) },
        ),
        (keyed("Handed on"), written(row(20, ben(), text), |message| message.forwarded = forwarded())),
        (
            keyed("It names the reader"),
            MessageRow { names_reader: true, ..row(21, ben(), "@ana, could you look at replica 3?") },
        ),
    ]
}

/// What it says.
fn contents() -> Vec<Case> {
    let picture = Attachment {
        file: Uuid::from_u128(1),
        name: "rack.png".to_owned(),
        media_type: "image/png".to_owned(),
        size: 48_120,
        width: Some(320),
        height: Some(180),
        thumbnail: true,
    };
    let file = Attachment {
        file: Uuid::from_u128(2),
        name: "replica-3.log".to_owned(),
        media_type: "text/plain".to_owned(),
        size: 1_204_224,
        ..Attachment::default()
    };
    vec![
        (keyed("Markdown"), row(31, ben(), MARKDOWN)),
        (keyed("From right to left"), row(32, dalia(), "ثلاثة من خمسة تكفي، حتى لو توقف القائد.")),
        (keyed("Of a program"), row(33, bot(), "Rain from six o’clock.")),
        (keyed("Under its author’s last"), MessageRow { head: false, ..row(34, ben(), "And a second one.") }),
        (keyed("A file"), written(row(35, ben(), "The log."), |message| message.attachments = vec![file])),
        (
            keyed("An image that is out of reach"),
            written(row(36, ben(), ""), |message| message.attachments = vec![picture]),
        ),
    ]
}

fn in_room(app: App) {
    app.focused.set(Some(ROOM));
    app.heading.set(Some(group()));
}

/// See the module.
#[component]
pub(super) fn Messages() -> impl IntoView {
    let cases =
        |cases: Vec<Case>| cases.into_iter().map(|(words, row)| view! { <One words row/> }).collect_view();
    view! {
        <Part id="messages" words=t("Messages")>
            {cases(ways())}
            {cases(changes())}
            {cases(contents())}
            <Specimen words=t("Chosen among several, and the bar that says what can be done") shape="wide">
                <Scene set=choosing>
                    <Drawn row=row(41, ben(), "This one is chosen.")/>
                    <Drawn row=row(42, ana(), "This one is not.")/>
                    <SelectBar/>
                </Scene>
            </Specimen>
            <Specimen words=t("The timeline: days, what happened, what is new") shape="tall">
                <Scene set=talking><Timeline id=ROOM/></Scene>
            </Specimen>
            <Specimen words=t("The beginning, before anybody has written") shape="tall">
                <Scene set=silent><Timeline id=ROOM/></Scene>
            </Specimen>
            <Specimen words=t("The timeline while it is read") shape="tall">
                <Scene set=in_room><Timeline id=ROOM/></Scene>
            </Specimen>
            <Specimen words=t("The timeline that is refused") shape="tall">
                <Scene set=refused><Timeline id=ROOM/></Scene>
            </Specimen>
        </Part>
    }
}

#[component]
fn One(words: &'static str, row: MessageRow) -> impl IntoView {
    view! { <Specimen words=t(words)><Scene set=in_room><Drawn row/></Scene></Specimen> }
}

/// The message itself, as a timeline draws it.
#[component]
fn Drawn(row: MessageRow) -> impl IntoView {
    let row = RwSignal::new(row);
    view! { <Message row/> }
}

fn choosing(app: App) {
    in_room(app);
    app.selecting.set(Some(Selection::of(ROOM, 41)));
    let chosen = Row::Message(row(41, ben(), "This one is chosen."));
    rows_of(app, vec![("chosen", chosen)]);
}

fn talking(app: App) {
    in_room(app);
    let notice = Row::Notice { version: 3, text: "Dalia joined the group.".to_owned(), time: now() };
    rows_of(
        app,
        vec![
            ("day", Row::Day { day: 0, time: now() }),
            ("a", Row::Message(row(1, ben(), "Replica 3 is down."))),
            (
                "b",
                Row::Message(MessageRow {
                    state: sent(2, Reach::Read),
                    ..row(2, ana(), "Four are left. Go on.")
                }),
            ),
            ("notice", notice),
            ("new", Row::New),
            ("c", Row::Message(row(3, dalia(), "أنا هنا."))),
        ],
    );
}

fn silent(app: App) {
    app.focused.set(Some(ROOM));
    app.heading.set(Some(direct(quorate_client::proto::frame::PresenceState::Active)));
    rows_of(app, Vec::new());
}

fn refused(app: App) {
    in_room(app);
    app.rows.set(Arc::new(Rows {
        refused: Some("You are not a member of this conversation any more.".to_owned()),
        ..Rows::default()
    }));
}

/// Puts rows into the timeline, which then is loaded to its beginning.
fn rows_of(app: App, rows: Vec<(&'static str, Row)>) {
    let mut built = Rows { loaded: true, ..Rows::default() };
    for (key, row) in rows {
        if let Row::Message(message) = &row {
            built.last = built.last.max(message.message.sequence);
        }
        built.keys.push(key.to_owned());
        built.by_key.insert(key.to_owned(), row);
    }
    app.rows.set(Arc::new(built));
}
