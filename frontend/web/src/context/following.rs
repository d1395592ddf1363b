//! Signals follow the model: after each input those that its changes concern are taken from it anew.

use std::sync::Arc;

use leptos::prelude::*;
use quorate_client::Change;
use quorate_client::banner::Banner;
use quorate_client::conversation::Conversation;
use quorate_client::proto::frame::ConversationKind;
use quorate_client::proto::ids::ConversationId;
use quorate_client::timeline::Loading;
use quorate_client::upload::NOBODYS;
use quorate_client::view::{self, Row};

use super::{App, BannerLine, Heading, Rows, Tray, set_if_new};
use crate::clock::{as_of, local_day};
use crate::driver::pictures;
use crate::words::tf;

impl App {
    /// Signals follow the model.
    pub(crate) fn refresh(self, changes: &[Change]) {
        let focused = self.focused.get_untracked();
        for change in changes {
            match change {
                Change::Connection => self.refresh_connection(),
                Change::List => self.refresh_list(),
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
                    if focused == Some(*id) {
                        self.refresh_rows(*id);
                    }
                    if !changes.contains(&Change::List) {
                        self.refresh_list();
                    }
                }
            }
        }
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
        self.refresh_heading();
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
            let mut built = Rows::default();
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
        self.refresh_selection();
        self.refresh_heading();
    }
}
