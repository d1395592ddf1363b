//! The list of conversations, its lines in each state, and the banner.

use leptos::prelude::*;
use quorate_client::banner::Banner as Trouble;
use quorate_client::proto::frame::PresenceState;
use quorate_client::view::ListRow;

use super::people::{ROOM, ana, line};
use super::scene::{Part, Scene, Specimen};
use crate::context::{App, BannerLine};
use crate::ui::banner::Banner;
use crate::ui::list::List;
use crate::ui::sidebar::Sidebar;
use crate::words::t;

/// A line in each state.
fn lines() -> Vec<ListRow> {
    let with = |id, name: &str, preview: &str, change: fn(&mut ListRow)| {
        let mut row = line(id, name, preview);
        change(&mut row);
        row
    };
    vec![
        with(ROOM, "Benjamin Reed", "The one that is open", |row| row.presence = Some(PresenceState::Active)),
        with(2, "Night shift", "Ben: replica 3 is back", |row| row.unread = 12),
        with(3, "Release", "Eva: @ana, could you look?", |row| (row.unread, row.mentions) = (140, 2)),
        with(4, "Weather", "Rain from six o’clock", |row| row.bot = true),
        with(5, "Carla Stone", "Thank you!", |row| row.favourite = true),
        with(6, "Announcements", "The canteen is closed", |row| (row.muted, row.unread) = (true, 4)),
        with(7, "Eva Lind", "You: on its way", |row| row.pending = true),
        with(8, "Farid Khan", "You: this was refused", |row| row.failed = true),
        with(9, "Grace Bell", "See you at", |row| row.draft = true),
        with(10, "Hiro Tanaka", "Marked to be read again", |row| row.marked = true),
        with(11, "داليا منصور", "شكرا، إلى الغد", |row| {
            row.presence = Some(PresenceState::Idle)
        }),
        with(12, "An old project", "It is done", |row| row.folded = true),
    ]
}

fn full(app: App) {
    app.list.set(lines());
    app.listed.set(true);
    app.focused.set(Some(ROOM));
    app.me.set(Some(ana()));
}

fn empty(app: App) {
    app.listed.set(true);
}

fn updated(app: App) {
    app.updated.set(true);
}

/// See the module.
#[component]
pub(super) fn Sidebars() -> impl IntoView {
    view! {
        <Part id="sidebar" words=t("Sidebar")>
            <Specimen words=t("Lines of the list") shape="tall"><Scene set=full><List/></Scene></Specimen>
            <Specimen words=t("The whole side") shape="tall"><Scene set=full><Sidebar/></Scene></Specimen>
            <Specimen words=t("The first time") shape="tall"><Scene set=empty><List/></Scene></Specimen>
            <Specimen words=t("Before the list is there")><Scene><List/></Scene></Specimen>
            <Banners/>
        </Part>
    }
}

/// The banner, and what it says of each trouble.
#[component]
fn Banners() -> impl IntoView {
    let stopped = |code, reason: &str| Trouble::Stopped { code, reason: reason.to_owned() };
    let troubles = [
        Trouble::Connecting,
        Trouble::Reconnecting { at_ms: 7_000 },
        Trouble::Offline,
        Trouble::Electing,
        Trouble::NoQuorum,
        stopped(4426, ""),
        stopped(4409, ""),
        stopped(4403, "this account is disabled"),
    ];
    view! {
        <Specimen words=t("The banner: there only while something stands in the way") shape="wide">
            {troubles.map(|trouble| view! { <Scene><Shown trouble/></Scene> }).collect_view()}
            <Scene set=updated><Banner/></Scene>
        </Specimen>
    }
}

#[component]
fn Shown(trouble: Trouble) -> impl IntoView {
    App::of_context().banner.set(Some(BannerLine {
        text: trouble.text(0),
        can_try: trouble.can_try(),
        counts: matches!(trouble, Trouble::Reconnecting { .. }),
        stopped: matches!(trouble, Trouble::Stopped { .. }),
    }));
    view! { <Banner/> }
}
