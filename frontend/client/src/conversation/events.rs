//! What each kind of event changes in a conversation. Whether it is its turn is decided by the version rule before.

use super::*;

impl Conversation {
    pub(super) fn apply(&mut self, event: &Event, as_of: Index) {
        self.version = event.version;
        self.apply_kind(event, as_of);
        if let Some(count) = self.count_ahead.take_if(|count| count.version <= self.version) {
            self.take_count(&count);
        }
    }

    fn apply_kind(&mut self, event: &Event, as_of: Index) {
        self.changed_meanwhile(event);
        match &event.kind {
            EventKind::Message(message) => self.apply_message(event, message, as_of),
            EventKind::Edit { sequence, revision, text, by } => {
                self.apply_edit(*sequence, *revision, text, by, event.time);
            }
            EventKind::Delete { sequences, .. } => {
                for sequence in sequences {
                    self.apply_delete(*sequence);
                }
            }
            EventKind::Reaction { sequence, emoji, user, on } => {
                for run in self.runs() {
                    run.react(*sequence, emoji, user.id, *on, event.index);
                }
            }
            EventKind::Pin { sequence, on, by } => {
                self.pin_count =
                    if *on { self.pin_count.saturating_add(1) } else { self.pin_count.saturating_sub(1) };
                for run in self.runs() {
                    run.pin(*sequence, *on, event.index);
                }
                if *on {
                    self.note(event, NoticeKind::Pinned { sequence: *sequence, by: by.clone() });
                }
            }
            EventKind::Role { user, role, by } => {
                if user.id == self.reader {
                    self.role = *role;
                } else if *role == MemberRole::Owner && self.role == MemberRole::Owner {
                    // A group has one owner; who gives that away goes on as an admin.
                    self.role = MemberRole::Admin;
                }
                let (user, role, by) = (user.clone(), *role, by.clone());
                self.note(event, NoticeKind::Role { user, role, by });
            }
            EventKind::Member { user, joined, by, banned } => {
                self.apply_member(event, user, *joined, by, *banned);
            }
            EventKind::Conversation { title, by, topic, public, announcement, retention_ms, avatar } => {
                let by = || by.clone();
                if *title != self.title || (event.version == 1 && !title.is_empty()) {
                    self.title.clone_from(title);
                    self.note(event, NoticeKind::Titled { title: title.clone(), by: by() });
                }
                if *topic != self.topic {
                    self.topic.clone_from(topic);
                    self.note(event, NoticeKind::Topic { topic: topic.clone(), by: by() });
                }
                if *avatar != self.avatar {
                    self.avatar = *avatar;
                    self.note(event, NoticeKind::Pictured { on: avatar.is_some(), by: by() });
                }
                if *public != self.public {
                    self.public = *public;
                    self.note(event, NoticeKind::Public { on: *public, by: by() });
                }
                if *announcement != self.announcement {
                    self.announcement = *announcement;
                    self.note(event, NoticeKind::Announcement { on: *announcement, by: by() });
                }
                if *retention_ms != self.retention_ms {
                    self.retention_ms = *retention_ms;
                    self.note(event, NoticeKind::Retention { retention_ms: *retention_ms, by: by() });
                }
            }
        }
    }

    fn apply_message(&mut self, event: &Event, message: &Message, as_of: Index) {
        self.sequence = self.sequence.max(message.sequence);
        self.take_preview(Some(event));
        self.make_room();
        self.timeline.insert(event, as_of);
        self.signals.wrote(message.from.id, message.sequence);
        // Names and pictures have no event of their own: they come with what people write.
        self.meet(&message.from);
        if message.from.id == self.reader {
            // Who answers has read: the server counts it so as well.
            if self.unread == 0 {
                self.read = self.read.max(message.sequence);
            }
        } else if message.sequence > self.read {
            // A page of history may have been ahead, and know that it was deleted since.
            let held = self.timeline.get(message.sequence).map(|entry| Arc::clone(&entry.message));
            let message = held.as_deref().unwrap_or(message);
            self.unread += u64::from(!message.deleted);
            self.mentions += u64::from(self.mentions_reader(message));
        }
    }

    fn apply_edit(&mut self, sequence: Sequence, revision: u64, text: &str, by: &User, time: u64) {
        let named_before =
            self.timeline.get(sequence).is_some_and(|entry| self.mentions_reader(&entry.message));
        let to_edit = |run: &Timeline| {
            let held = run.get(sequence);
            held.is_some_and(|entry| !entry.message.deleted && entry.message.revision < revision)
        };
        let is_news = to_edit(&self.timeline);
        let named = text::mentions(text);
        let own = self.members.iter().find(|member| member.id == self.reader);
        let names_reader = own.is_some_and(|own| named.names.contains(&own.name));
        for run in self.runs().filter(|run| to_edit(run)) {
            run.edit(sequence, revision, text, time);
            run.renamed(sequence, names_reader, named.all);
        }
        if is_news {
            // Whom a text names is decided where it is kept: this is a guess until the server was asked.
            let named_now = names_reader || named.all;
            if sequence > self.read && by.id != self.reader && named_now != named_before {
                self.mentions = if named_now {
                    (self.mentions + 1).min(self.unread)
                } else {
                    self.mentions.saturating_sub(1)
                };
                self.unread_doubtful = true;
            }
        } else if sequence > self.read && by.id != self.reader {
            self.unread_doubtful = true;
        }
        if let Some(preview) =
            self.preview.as_mut().filter(|preview| preview.sequence == sequence && !preview.gone)
        {
            preview.text = plain(&blocks(text));
        }
    }

    fn apply_delete(&mut self, sequence: Sequence) {
        let held = self.timeline.get(sequence).is_some();
        let past = self.past_mut().and_then(|past| past.delete(sequence));
        if let Some(was) = self.timeline.delete(sequence) {
            if was.pinned {
                self.pin_count = self.pin_count.saturating_sub(1);
            }
            if sequence > self.read && was.from.id != self.reader {
                self.unread = self.unread.saturating_sub(1);
                if was.mentions_all || was.mentions.contains(&self.reader) {
                    self.mentions = self.mentions.saturating_sub(1);
                }
            }
        } else if !held && sequence > self.read {
            // Nobody here knows whose it was, nor whom it named.
            self.unread_doubtful = true;
        }
        if !held && past.is_some_and(|was| was.pinned) {
            self.pin_count = self.pin_count.saturating_sub(1);
        }
        if let Some(preview) = self.preview.as_mut().filter(|preview| preview.sequence == sequence) {
            preview.text.clear();
            preview.gone = true;
        }
    }

    fn apply_member(&mut self, event: &Event, user: &User, joined: bool, by: &User, banned: bool) {
        let was = self.members.iter().position(|member| member.id == user.id);
        if !joined {
            self.signals.left(user.id);
        }
        match (joined, was) {
            (true, None) => {
                self.member_count += 1;
                self.members.push(user.clone());
            }
            (false, Some(at)) => {
                self.member_count = self.member_count.saturating_sub(1);
                self.members.remove(at);
            }
            (false, None) => self.member_count = self.member_count.saturating_sub(1),
            (true, Some(_)) => {}
        }
        let (user, by) = (user.clone(), by.clone());
        let what =
            if joined { NoticeKind::Joined { user, by } } else { NoticeKind::Left { user, by, banned } };
        self.note(event, what);
    }

    fn note(&mut self, event: &Event, what: NoticeKind) {
        let notice = Notice { version: event.version, after: self.sequence, time: event.time, what };
        self.timeline.notice(notice);
    }
}
