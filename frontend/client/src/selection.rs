//! Several messages at once: which are chosen, what may be done with all of them, and what that is in commands.
//!
//! Owns: the chosen messages of one conversation and where a range begins. Must not know: keys, pointers, how a row looks.

use quorate_proto::frame::MessageRef;
use quorate_proto::ids::{ConversationId, Sequence};
use quorate_proto::limits::DELETE_MESSAGES_MAX;

use crate::command::Deed;
use crate::view::{MessageRow, called, files_line, rooms_as_words};

/// Messages that can be chosen at a time: a command for each finds room among those that wait (`COMMANDS_MAX`), whatever lies between.
pub const SELECTED_MAX: usize = 50;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Where they are.
    pub conversation: ConversationId,
    /// In order.
    chosen: Vec<Sequence>,
    /// The one that was touched last: a range begins there.
    anchor: Sequence,
}

impl Selection {
    /// One message is chosen.
    pub fn of(conversation: ConversationId, sequence: Sequence) -> Self {
        Self { conversation, chosen: vec![sequence], anchor: sequence }
    }

    /// The chosen messages, in order.
    pub fn chosen(&self) -> &[Sequence] {
        &self.chosen
    }

    /// The message that was touched last.
    pub fn anchor(&self) -> Sequence {
        self.anchor
    }

    /// Whether a message is chosen.
    pub fn has(&self, sequence: Sequence) -> bool {
        self.chosen.binary_search(&sequence).is_ok()
    }

    /// One message more, or one less. False: there is no room for it.
    pub fn toggle(&mut self, sequence: Sequence) -> bool {
        self.anchor = sequence;
        match self.chosen.binary_search(&sequence) {
            Ok(at) => {
                self.chosen.remove(at);
            }
            Err(_) if self.chosen.len() >= SELECTED_MAX => return false,
            Err(at) => self.chosen.insert(at, sequence),
        }
        true
    }

    /// Everything of `shown` (in order) between the message touched last and this one, both included, but not the one touched
    /// last if that took it away. False: there is no room for all of it; what is nearest to the one touched last is chosen.
    pub fn extend(&mut self, sequence: Sequence, shown: &[Sequence]) -> bool {
        let (from, to) = (self.anchor.min(sequence), self.anchor.max(sequence));
        let mut range: Vec<Sequence> =
            shown.iter().copied().filter(|shown| (from..=to).contains(shown)).collect();
        if self.anchor > sequence {
            range.reverse();
        }
        let (anchor, begins_there) = (self.anchor, self.has(self.anchor) || self.anchor == sequence);
        range.retain(|one| begins_there || *one != anchor);
        for one in range {
            if !self.has(one) && !self.toggle(one) {
                return false;
            }
        }
        self.anchor = sequence;
        true
    }

    /// Only what is still to be had stays. False: nothing is left.
    pub fn keep(&mut self, is_there: impl Fn(Sequence) -> bool) -> bool {
        self.chosen.retain(|sequence| is_there(*sequence));
        !self.chosen.is_empty()
    }

    /// The chosen messages, as they are named to be handed on.
    pub fn messages(&self) -> Vec<MessageRef> {
        let conversation = self.conversation;
        self.chosen.iter().map(|sequence| MessageRef { conversation, sequence: *sequence }).collect()
    }
}

/// Commands that delete these messages, which are in order: one for each run without a gap.
pub fn deletions(conversation: ConversationId, chosen: &[Sequence], for_me: bool) -> Vec<Deed> {
    let mut runs: Vec<(Sequence, Sequence)> = Vec::new();
    for sequence in chosen.iter().copied() {
        match runs.last_mut() {
            Some((first, last)) if *last + 1 == sequence && sequence - *first < DELETE_MESSAGES_MAX => {
                *last = sequence;
            }
            _ => runs.push((sequence, sequence)),
        }
    }
    let deed = |(sequence, last): (Sequence, Sequence)| Deed::Delete {
        conversation,
        sequence,
        through: (last > sequence).then_some(last),
        for_me,
    };
    runs.into_iter().map(deed).collect()
}

/// Messages as a text to be pasted elsewhere: when, who, what, a line or more each. `when` puts log time into words.
pub fn copied<'a>(rows: impl IntoIterator<Item = &'a MessageRow>, when: &dyn Fn(u64) -> String) -> String {
    let line = |row: &MessageRow| {
        let message = &row.message;
        let mut said = vec![rooms_as_words(message.text.trim())];
        if !message.attachments.is_empty() {
            said.push(format!("[{}]", files_line(&message.attachments)));
        }
        said.retain(|part| !part.is_empty());
        format!("[{}] {}: {}", when(row.time), called(&message.from), said.join(" "))
    };
    rows.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::view::{May, MessageState};
    use quorate_proto::frame::{Attachment, Message, User};

    #[test]
    fn a_click_adds_and_another_takes_away() {
        let mut selection = Selection::of(1, 5);
        assert!(selection.toggle(3) && selection.toggle(9));
        assert_eq!(selection.chosen(), [3, 5, 9]);
        assert!(selection.toggle(5) && !selection.has(5));
        assert_eq!(selection.messages()[1], MessageRef { conversation: 1, sequence: 9 });
    }

    #[test]
    fn a_range_goes_from_the_last_one_touched_either_way_over_what_is_shown() {
        let shown = [1, 2, 4, 5, 8];
        let mut selection = Selection::of(1, 4);
        assert!(selection.extend(8, &shown));
        assert_eq!(selection.chosen(), [4, 5, 8], "6 and 7 are not shown");
        assert!(selection.extend(2, &shown));
        assert_eq!(selection.chosen(), [2, 4, 5, 8]);
        assert_eq!(selection.anchor(), 2);
    }

    #[test]
    fn a_range_begins_beside_a_message_that_was_just_taken_away() {
        let shown = [1, 2, 3, 4, 5];
        for (to, chosen) in [(5, vec![4, 5]), (1, vec![1, 2]), (3, vec![3])] {
            let mut selection = Selection::of(1, 3);
            assert!(selection.toggle(3) && selection.extend(to, &shown));
            assert_eq!((selection.chosen(), selection.anchor()), (chosen.as_slice(), to));
        }
    }

    #[test]
    fn there_is_room_for_so_many() {
        let shown: Vec<Sequence> = (1..=500).collect();
        let mut selection = Selection::of(1, 300);
        assert!(!selection.extend(1, &shown));
        assert_eq!(selection.chosen().len(), SELECTED_MAX);
        assert_eq!(selection.chosen().first(), Some(&251), "those nearest to where it began");
        assert!(!selection.toggle(400));
        assert!(selection.toggle(260) && selection.toggle(400));
    }

    #[test]
    fn what_is_gone_is_not_chosen_any_more() {
        let mut selection = Selection::of(1, 5);
        selection.toggle(6);
        assert!(selection.keep(|sequence| sequence != 5));
        assert_eq!(selection.chosen(), [6]);
        assert!(!selection.keep(|_| false));
    }

    #[test]
    fn runs_are_deleted_by_one_command_each() {
        let ranges = |chosen: &[Sequence]| {
            let range = |deed| match deed {
                Deed::Delete { sequence, through, conversation: 7, for_me: true } => (sequence, through),
                other => panic!("{other:?}"),
            };
            deletions(7, chosen, true).into_iter().map(range).collect::<Vec<_>>()
        };
        assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), [(1, Some(3)), (7, None), (9, Some(10))]);
        let many: Vec<Sequence> = (1..=101).collect();
        assert_eq!(ranges(&many), [(1, Some(100)), (101, None)]);
        assert!(ranges(&[]).is_empty());
    }

    #[test]
    fn a_copy_says_when_who_and_what() {
        let row = |text: &str, file: Option<&str>, time| MessageRow {
            key: String::new(),
            message: Arc::new(Message {
                from: User { id: 2, name: "ana".into(), display_name: "Ana".into(), ..User::default() },
                text: text.to_owned(),
                attachments: file
                    .map(|name| Attachment { name: name.to_owned(), ..Attachment::default() })
                    .into_iter()
                    .collect(),
                ..Message::default()
            }),
            time,
            head: false,
            own: false,
            portrait: None,
            state: MessageState::Pending,
            quote: None,
            reactions: Vec::new(),
            edit: None,
            deleting: false,
            saved: false,
            names_reader: false,
            may: May::default(),
        };
        let rows =
            [row("hi\nyou", None, 1), row("", Some("a.png"), 2), row("see [#Crew](#/c/5)", Some("b"), 3)];
        assert_eq!(
            copied(&rows, &|time| time.to_string()),
            "[1] Ana: hi\nyou\n[2] Ana: [a.png]\n[3] Ana: see #Crew [b]"
        );
    }
}
