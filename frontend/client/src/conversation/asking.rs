//! What a conversation still wants from the server: events that are missing, and pages of the newest run.

use quorate_proto::frame::Event;
use quorate_proto::ids::{Index, Version};

use super::{Conversation, Filling};
use crate::timeline::{Loading, Page};

impl Conversation {
    /// Wants a page of the newest run, if it is not here.
    pub fn want_history(&mut self, page: Page, at_ms: u64) -> bool {
        let wanted = match page {
            Page::Newest => !self.timeline.loaded,
            Page::Older => self.timeline.loaded && self.timeline.more_before && !self.timeline.is_full(),
            Page::Before(_) | Page::After(_) | Page::Around(_) => false,
        };
        if !wanted || matches!(self.timeline.loading, Loading::Wanted(..) | Loading::Asked(_)) {
            return false;
        }
        self.timeline.loading = Loading::Wanted(page, at_ms);
        true
    }

    /// A page of history has come.
    pub fn take_page(&mut self, page: Page, messages: &[Event], more_before: bool, as_of: Index) {
        let first = self.timeline.first();
        self.timeline.page(page, messages, more_before, as_of);
        self.hide_again();
        self.join();
        self.recount();
        if page == Page::Older && self.timeline.first() >= first && !self.in_past() {
            // It brought nothing older: asking again would not end.
            self.seeking = None;
        }
        self.seek_on();
    }

    /// The server let events go up to this version, or promised them.
    pub fn known_up_to(&mut self, version: Version) {
        self.known = self.known.max(version);
        if self.version < self.known {
            self.want_fill(0);
        }
    }

    /// Versions up to here are not the reader's to see.
    pub fn skip_to(&mut self, version: Version) {
        if version > self.version {
            self.lose_past();
        }
        self.version = self.version.max(version);
        self.drain_held();
    }

    /// Something before what is known is missing.
    pub fn incomplete(&self) -> bool {
        self.version < self.known
    }

    /// Asks for a fill, unless one is under way.
    pub fn want_fill(&mut self, at_ms: u64) {
        if matches!(self.filling, Filling::Whole) {
            self.filling = Filling::Wanted(at_ms);
        }
    }

    /// A new socket: what was asked on the old one is asked again.
    pub fn ask_again(&mut self) {
        if matches!(self.filling, Filling::Asked) {
            self.filling = Filling::Wanted(0);
        }
        for loading in self.loadings() {
            if let Loading::Asked(page) = *loading {
                *loading = Loading::Wanted(page, 0);
            }
        }
    }
}
