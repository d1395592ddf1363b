//! Signals follow the model: after each input those that its changes concern are taken from it anew. The list and the rows follow with the
//! next frame: building them is work for all that they show, and messages may come faster than frames.

use std::sync::Arc;

use leptos::prelude::*;
use quorate_client::banner::Banner;
use quorate_client::conversation::Conversation;
use quorate_client::proto::frame::ConversationKind;
use quorate_client::proto::ids::ConversationId;
use quorate_client::timeline::Loading;
use quorate_client::upload::NOBODYS;
use quorate_client::view::{self, Row};
use quorate_client::{Change, Input};

use super::{App, BannerLine, Heading, Rows, Tray, set_if_new};
use crate::clock::{as_of, local_day};
use crate::driver::pictures;
use crate::follow::next_frame;
use crate::words::tf;

/// What the next frame begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Due {
    list: bool,
    /// Those of the open conversation.
    rows: bool,
}

impl App {
    /// Signals follow the model.
    pub(crate) fn refresh(self, changes: &[Change]) {
        let focused = self.focused.get_untracked();
        let mut due = Due::default();
        for change in changes {
            match change {
                Change::Connection => self.refresh_connection(),
                Change::List => due.list = true,
                Change::Own => {
                    let me = self.with(|client| client.me().cloned());
                    set_if_new(self.me, me);
                    self.own.update(|own| *own += 1);
                }
                Change::Uploads(NOBODYS) => self.nobodys.update(|nobodys| *nobodys = nobodys.wrapping_add(1)),
                Change::Uploads(id) => {
                    if focused == Some(*id) {
                        self.refresh_tray();
                    }
                }
                Change::Signals(id) => {
                    if focused == Some(*id) {
                        self.refresh_heading();
                    }
                }
                Change::Timeline(id) => {
                    due.list = true;
                    due.rows |= focused == Some(*id);
                }
            }
        }
        if due != Due::default() {
            self.follow_soon(due);
        }
    }

    fn follow_soon(self, due: Due) {
        let before = self.due.get_value();
        self.due.set_value(Due { list: before.list || due.list, rows: before.rows || due.rows });
        // Nobody sees a conversation with the rows of the one before, or that it is not there before its name is; and a hidden window has no
        // frames, but a title that counts.
        let focused = self.focused.get_untracked();
        let is_other = || self.rows.with_untracked(|rows| Some(rows.of) != focused);
        let is_unnamed = || focused.is_some() && self.heading.with_untracked(Option::is_none);
        if document().hidden() || (due.rows && is_other()) || is_unnamed() {
            self.catch_up();
        } else if before == Due::default() {
            next_frame(move || self.catch_up());
        }
    }

    /// What waits for the next frame is done.
    pub(crate) fn catch_up(self) {
        if self.due.get_value().rows {
            self.read_on();
        }
        let due = self.due.get_value();
        self.due.set_value(Due::default());
        if let Some(id) = self.focused.get_untracked().filter(|_| due.rows) {
            self.refresh_rows(id);
            self.refresh_selection();
        }
        if due.list {
            self.refresh_list();
            self.refresh_heading();
        }
    }

    /// Who has the end of the open conversation in view reads what this frame adds there. Her mark moves before anything is built: behind it
    /// the list and the rows would be built twice for each message, and the window's title would count it for a moment.
    fn read_on(self) {
        let is_seen = |id: &ConversationId| {
            let is_drawn = self.rows.with_untracked(|rows| rows.of == *id && rows.loaded);
            is_drawn && self.visible.get_untracked() && self.focused.get_untracked() == Some(*id)
        };
        let Some(id) = self.reading.get_value().filter(is_seen) else { return };
        let news = self.with(|client| {
            let conversation = client.conversation(id).filter(|conversation| !conversation.in_past())?;
            conversation
                .timeline
                .last()
                .filter(|last| conversation.timeline.loaded && *last > conversation.read)
        });
        if let Some(last) = news {
            self.input(Input::MarkRead(id, last));
        }
    }

    /// Whoever was here has gone, and her messages with her.
    pub(super) fn forget_rows(self) {
        self.due.set_value(Due::default());
        self.rows.set(Arc::default());
    }

    pub(super) fn refresh_tray(self) {
        let id = self.focused.get_untracked().unwrap_or_default();
        let (rows, waits) = self.with(|client| view::uploads(client, id));
        set_if_new(self.tray, Tray { rows, waits });
    }

    fn refresh_connection(self) {
        let (banner, details) = self.driver.with_value(|driver| {
            let now_ms = driver.clock.now_ms();
            let banner = driver.client.banner(now_ms).map(|banner| BannerLine {
                text: match driver.client.recalled_at() {
                    Some(at) => tf("{} · Shown as of {}", &[&banner.text(now_ms), &as_of(at)]),
                    None => banner.text(now_ms),
                },
                can_try: banner.can_try(),
                counts: matches!(banner, Banner::Reconnecting { .. }),
                stopped: matches!(banner, Banner::Stopped { .. }),
            });
            (banner, driver.client.details())
        });
        set_if_new(self.banner, banner);
        if details.live {
            set_if_new(self.listed, true);
            if self.details.with_untracked(|before| !before.live) {
                pictures::again(self);
            }
        }
        set_if_new(self.details, details);
    }

    fn refresh_list(self) {
        let (list, badge) = self.with(|client| (view::list(client), client.badge()));
        set_if_new(self.list, list);
        set_if_new(self.badge, badge);
    }

    fn refresh_heading(self) {
        let heading = self.driver.with_value(|driver| {
            let me = driver.client.me().map_or(0, |user| user.id);
            let conversation = driver.client.conversation(self.focused.get_untracked()?)?;
            Some(Heading {
                id: conversation.id,
                name: conversation.name(me),
                portrait: conversation.portrait(me),
                group: conversation.kind == ConversationKind::Group,
                bot: conversation.is_with_bot(),
                members: conversation.members.clone(),
                member_count: conversation.member_count,
                presence: conversation.other_presence(),
                typing: conversation.typing_line(),
                topic: conversation.topic.clone(),
                public: conversation.public,
                announcement: conversation.announcement,
                retention_ms: conversation.retention_ms,
                role: conversation.role,
                manages: conversation.manages(),
                preferences: conversation.preferences.clone(),
                muted: conversation.muted(driver.client.log_time()),
                pin_count: conversation.pin_count,
                filling: conversation.incomplete(),
                closed: conversation.closed_because(),
            })
        });
        set_if_new(self.heading, heading);
    }

    fn refresh_rows(self, id: ConversationId) {
        let rows = self.driver.with_value(|driver| {
            let mut built = Rows { of: id, ..Rows::default() };
            let conversation = driver.client.conversation(id);
            let is_opening = conversation.is_some_and(Conversation::is_opening);
            let new_after = conversation.and_then(Conversation::new_after);
            let shown = (!is_opening).then(|| view::rows(&driver.client, id, new_after, &local_day));
            for row in shown.into_iter().flatten() {
                let key = match &row {
                    Row::Day { day, .. } => format!("day {day}"),
                    Row::New => "new".to_owned(),
                    Row::Notice { version, .. } => format!("notice {version}"),
                    Row::Message(message) => message.key.clone(),
                };
                if let Row::Message(message) = &row
                    && message.message.sequence > 0
                {
                    built.last = built.last.max(message.message.sequence);
                    if !message.own && !message.message.deleted {
                        built.others.push(message.message.sequence);
                    }
                }
                if built.by_key.insert(key.clone(), row).is_none() {
                    built.keys.push(key);
                }
            }
            if let Some(conversation) = conversation {
                let timeline = conversation.shown();
                built.loaded = conversation.timeline.loaded && !is_opening;
                built.loading = conversation.is_loading();
                built.more_before = timeline.more_before;
                built.more_after = conversation.in_past();
                built.jumps = conversation.jumps();
                built.unread = conversation.unread;
                built.last = built.last.max(conversation.timeline.last().unwrap_or(0));
                built.refused = match &timeline.loading {
                    Loading::Refused(why) => Some(why.clone()),
                    _ => None,
                };
            }
            built
        });
        self.rows.set(Arc::new(rows));
    }
}
