//! What a person asks of the server through the rules: commands and their answers, messages, drafts.

use leptos::prelude::*;
use quorate_client::proto::frame::{Action, PreferencesChange};
use quorate_client::proto::ids::{ClientMessageId, ConversationId, Sequence};
use quorate_client::proto::limits::SCHEDULE_AHEAD_MS_MAX;
use quorate_client::{Client, Deed, Draft, Effect, Input};

use super::{Answer, App};

impl App {
    /// A command; its answer comes as `answer` under this id.
    pub(crate) fn command(self, action: Action) -> ClientMessageId {
        let id = self.driver.with_value(|driver| driver.clock.moment().client_message_id());
        self.input(Input::Do(id, action));
        id
    }

    /// Something that nobody waits for.
    pub(crate) fn fire(self, deed: Deed) {
        let id = self.driver.with_value(|driver| driver.clock.moment().client_message_id());
        self.fired.update_value(|fired| {
            fired.push(id);
        });
        self.input(Input::Ask(id, deed));
    }

    /// A change of how the reader has a conversation.
    pub(crate) fn prefer(self, conversation: ConversationId, change: PreferencesChange) {
        self.fire(Deed::Do(Action::Prefer { conversation, change }));
    }

    /// An emoji of the reader, put on a message or taken away.
    pub(crate) fn react(self, conversation: ConversationId, sequence: Sequence, emoji: &str, on: bool) {
        self.fire(Deed::React { conversation, sequence, emoji: emoji.to_owned(), on });
    }

    pub(crate) fn answered(self, id: ClientMessageId, answer: Answer) {
        let fired = self.fired.try_update_value(|fired| {
            let at = fired.iter().position(|other| *other == id)?;
            Some(fired.swap_remove(at))
        });
        let fired = fired.flatten().is_some();
        if let (true, Err(why)) = (fired, &answer) {
            self.warn(why);
        }
        self.answer.set(Some((id, answer)));
    }

    /// Sends; false if it was refused on the spot or waits for its files, and the composer keeps the text.
    pub(crate) fn send(self, text: String) -> bool {
        let Some(conversation) = self.focused.get_untracked() else { return false };
        let reply_to = self.replying.get_untracked();
        let effects = self.input(Input::Send { conversation, text, reply_to });
        let waits = self.with(|client| client.uploads().waiting(conversation).is_some());
        !waits && !effects.iter().any(|effect| matches!(effect, Effect::Refused(None, _)))
    }

    /// The open conversation is read, whatever of it was on the screen.
    pub(crate) fn read_open(self) {
        if let Some(id) = self.focused.get_untracked() {
            self.input(Input::MarkRead(id, Sequence::MAX));
        }
    }

    /// What stands in the composer.
    pub(crate) fn draft(self, conversation: ConversationId, text: &str) {
        let reply_to = self.replying.get_untracked();
        self.input(Input::Draft(conversation, Draft { text: text.to_owned(), reply_to }));
    }

    /// Another draft than what was typed in the composer.
    pub(crate) fn redrafted(self, id: ConversationId) {
        self.drafted.update(|drafted| *drafted.of(id) += 1);
    }

    /// How often that happened there.
    pub(crate) fn times_redrafted(self, id: ConversationId) -> u32 {
        self.drafted.with(|drafted| drafted.get(&id).copied().unwrap_or(0))
    }

    /// The log time that a wall-clock time of this device stands for; `None` when it is past or over a year away.
    pub(crate) fn log_time_of(self, wall_ms: u64) -> Option<u64> {
        /// Below this the two clocks are as good as one: log time rests between entries.
        const APART_MS: u64 = 120_000;
        let now_ms = self.driver.with_value(|driver| driver.clock.moment().wall_ms);
        let ahead_ms =
            wall_ms.checked_sub(now_ms).filter(|ahead| *ahead > 0 && *ahead <= SCHEDULE_AHEAD_MS_MAX)?;
        let log_ms = self.with(Client::log_time);
        Some(if log_ms.abs_diff(now_ms) > APART_MS { log_ms + ahead_ms } else { wall_ms })
    }
}
