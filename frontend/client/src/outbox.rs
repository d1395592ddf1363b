//! Messages that were written and not yet committed.
//!
//! Owns: the items, their order per conversation, and which may travel now. One unacknowledged send per conversation is in
//! flight, so a writer's own order holds whatever fails in between. An item leaves only by its ack, by its event, or by
//! its writer's hand: a time-out, a lost socket and a busy cluster are no reasons. Knows nothing of sockets.

use quorate_proto::error::{Certainty, ErrorCode, WireError};
use quorate_proto::frame::{AttachFile, Attachment, MessageRef, SendMessage};
use quorate_proto::ids::{ClientMessageId, ConversationId, Sequence};
use quorate_proto::limits::OUTBOX_AGE_MS_MAX;
use serde::{Deserialize, Serialize};

use crate::moment::Moment;
use crate::words::t;

/// Items kept at most. A person does not write more while waiting; a runaway script must not fill the disk.
pub const OUTBOX_ITEMS_MAX: usize = 1_000;
/// A send without any answer for this long is sent again under its id: the gateway itself gives up after 10 s.
pub const SEND_ANSWER_WAIT_MS: u64 = 20_000;

/// An item as it is stored across reloads. Its id is what makes sending it again harmless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredItem {
    /// One id makes one message.
    pub id: ClientMessageId,
    /// Where to.
    pub conversation: ConversationId,
    /// As typed.
    pub text: String,
    /// The message answered to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Sequence>,
    /// Wall clock when it was written, or last confirmed by a tap; ms.
    pub created_ms: u64,
    /// Its turn: rises with each item, keeps through a reload and a retry under another id.
    #[serde(default)]
    pub place: u64,
    /// Log time of its first transmission; 0 before. Decides when its id may have been forgotten.
    #[serde(default)]
    pub first_sent: u64,
    /// Why it was refused for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<WireError>,
    /// A message that is handed on; `text` is then what it says, to be shown alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<MessageRef>,
    /// Files that it shows: the sender's own, or those of the message that is handed on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
}

/// Where an item stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemState {
    /// To be sent as soon as its turn comes.
    Queued,
    /// Sent, no answer yet.
    InFlight {
        /// Since when.
        since_ms: u64,
    },
    /// Not possible just now; tried again then.
    Waiting {
        /// When.
        until_ms: u64,
    },
    /// Older than a day: its writer says whether it still holds.
    NeedsTap,
    /// It has travelled, and so long ago that it may be there although no answer came: the server's history is looked through.
    InDoubt {
        /// Its writer has asked for it to be sent again.
        resend: bool,
    },
    /// Another client on this device sends it.
    Elsewhere,
    /// Refused for good; kept until its writer retries or deletes it.
    Failed(WireError),
}

impl ItemState {
    /// This client sends it, sooner or later, without being asked.
    fn is_to_be_sent(&self) -> bool {
        matches!(self, ItemState::Queued | ItemState::InFlight { .. } | ItemState::Waiting { .. })
    }
}

/// A message that was written and not yet committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What is kept across reloads.
    pub stored: StoredItem,
    /// Where it stands.
    pub state: ItemState,
    /// Temporary refusals so far.
    pub attempts: u32,
    /// History was looked through for it.
    pub looked: bool,
}

impl Item {
    fn new(stored: StoredItem, state: ItemState) -> Self {
        Self { stored, state, attempts: 0, looked: false }
    }

    /// Whether it may be there already, and nobody has looked.
    fn may_be_there(&self) -> bool {
        self.stored.first_sent > 0 && !self.looked
    }

    /// The frame's body.
    pub fn to_send(&self) -> SendMessage {
        let own = |file: &Attachment| AttachFile { file: file.file, conversation: None, sequence: None };
        // What is handed on brings its text and files along by itself.
        let is_own = self.stored.forward.is_none();
        let shown = self.stored.attachments.iter().filter(|_| is_own);
        SendMessage {
            conversation: self.stored.conversation,
            client_message_id: self.stored.id,
            text: if is_own { self.stored.text.clone() } else { String::new() },
            reply_to: self.stored.reply_to,
            forward: self.stored.forward,
            first_sent: self.stored.first_sent,
            attachments: shown.map(own).collect(),
        }
    }
}

/// All items, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    items: Vec<Item>,
    last_place: u64,
}

impl Outbox {
    /// Adds a new item behind all others and returns it as it is to be stored; `None` when the outbox is full.
    pub fn push(&mut self, mut stored: StoredItem) -> Option<StoredItem> {
        if self.items.len() >= OUTBOX_ITEMS_MAX {
            return None;
        }
        // Two items of one millisecond, or a clock that went back, must not change places at the next reload.
        stored.place = stored.created_ms.max(self.last_place + 1);
        self.last_place = stored.place;
        self.items.push(Item::new(stored.clone(), ItemState::Queued));
        Some(stored)
    }

    /// Takes items of a former life, oldest first. Those that are already here are left as they are.
    pub fn restore(&mut self, stored: Vec<StoredItem>) {
        // By places, not by a sort: one for each type that is sorted is much code for a page to load.
        let mut ordered: Vec<StoredItem> = Vec::new();
        for item in stored {
            let at = ordered.partition_point(|other| other.place <= item.place);
            ordered.insert(at, item);
        }
        for item in ordered {
            if self.items.len() >= OUTBOX_ITEMS_MAX || self.get(item.id).is_some() {
                continue;
            }
            self.place(item, ItemState::Queued);
        }
    }

    /// In its turn; one that was refused stays refused.
    fn place(&mut self, stored: StoredItem, state: ItemState) {
        let state = stored.failed.clone().map_or(state, ItemState::Failed);
        let at = self.items.partition_point(|other| other.stored.place <= stored.place);
        self.last_place = self.last_place.max(stored.place);
        self.items.insert(at, Item::new(stored, state));
    }

    /// Another client has stored it. One that this client sends itself is left as it is: it may travel twice, under one id.
    pub fn put_elsewhere(&mut self, stored: StoredItem) {
        let is_settled = |state: &ItemState| {
            matches!(
                state,
                ItemState::Elsewhere | ItemState::NeedsTap | ItemState::InDoubt { .. } | ItemState::Failed(_)
            )
        };
        let at = self.items.iter().position(|item| item.stored.id == stored.id);
        match at.map(|at| (at, &self.items[at].state)) {
            None if self.items.len() >= OUTBOX_ITEMS_MAX => return,
            None => {}
            Some((at, state)) if is_settled(state) => {
                self.items.remove(at);
            }
            Some(_) => return,
        }
        self.place(stored, ItemState::Elsewhere);
    }

    /// It is this client's from now on. `None`: it is not another's any more.
    pub fn adopt(&mut self, id: ClientMessageId) -> Option<&Item> {
        let item = self.get_mut(id)?;
        if item.state == ItemState::Elsewhere {
            item.state = ItemState::Queued;
        } else if !matches!(item.state, ItemState::Failed(_)) {
            return None;
        }
        Some(item)
    }

    /// It is another client's from now on, also where it travels already. Its conversation; `None`: it is not this client's to send.
    pub fn give_away(&mut self, id: ClientMessageId) -> Option<ConversationId> {
        let item = self.get_mut(id).filter(|item| item.state.is_to_be_sent())?;
        item.state = ItemState::Elsewhere;
        Some(item.stored.conversation)
    }

    /// Another client has let go of it. One that this client is about to send stays: its own answer tells.
    pub fn gone(&mut self, id: ClientMessageId) -> Option<Item> {
        if self.get(id)?.state.is_to_be_sent() { None } else { self.remove(id) }
    }

    /// The item with this id.
    pub fn get(&self, id: ClientMessageId) -> Option<&Item> {
        self.items.iter().find(|item| item.stored.id == id)
    }

    fn get_mut(&mut self, id: ClientMessageId) -> Option<&mut Item> {
        self.items.iter_mut().find(|item| item.stored.id == id)
    }

    /// Takes the item out: it was committed, or its writer deleted it.
    pub fn remove(&mut self, id: ClientMessageId) -> Option<Item> {
        let at = self.items.iter().position(|item| item.stored.id == id)?;
        Some(self.items.remove(at))
    }

    /// All items, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Item> {
        self.items.iter()
    }

    /// The items of one conversation, oldest first.
    pub fn of(&self, conversation: ConversationId) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| item.stored.conversation == conversation)
    }

    /// How many items wait, in all states.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What may travel now: per conversation its oldest item, unless one is in flight or asked to wait. Items that need
    /// their writer stand aside and hold up nobody. Items older than a day are put aside on the way; those that have travelled are looked
    /// for first.
    pub fn take_turns(&mut self, moment: &Moment) -> Vec<ClientMessageId> {
        let mut decided: Vec<ConversationId> = Vec::new();
        let mut turns = Vec::new();
        for item in &mut self.items {
            if decided.contains(&item.stored.conversation) {
                continue;
            }
            let ready = match item.state {
                ItemState::Failed(_)
                | ItemState::NeedsTap
                | ItemState::InDoubt { .. }
                | ItemState::Elsewhere => continue,
                ItemState::InFlight { .. } => false,
                ItemState::Waiting { until_ms } => until_ms <= moment.now_ms,
                ItemState::Queued => true,
            };
            if ready && moment.wall_ms.saturating_sub(item.stored.created_ms) > OUTBOX_AGE_MS_MAX {
                let in_doubt = item.may_be_there();
                item.state =
                    if in_doubt { ItemState::InDoubt { resend: false } } else { ItemState::NeedsTap };
                continue;
            }
            decided.push(item.stored.conversation);
            if ready {
                turns.push(item.stored.id);
            }
        }
        turns
    }

    /// The item travels. Returns it with `first_sent` set, and whether that is new and must be stored before it leaves.
    pub fn sent(&mut self, id: ClientMessageId, log_time: u64, now_ms: u64) -> Option<(&Item, bool)> {
        let item = self.get_mut(id)?;
        let first = item.stored.first_sent == 0;
        if first {
            item.stored.first_sent = log_time;
        }
        item.state = ItemState::InFlight { since_ms: now_ms };
        Some((item, first))
    }

    /// The socket is gone: what was in flight has an unknown fate and travels again under its id.
    pub fn requeue_in_flight(&mut self) {
        for item in &mut self.items {
            if matches!(item.state, ItemState::InFlight { .. }) {
                item.state = ItemState::Queued;
            }
        }
    }

    /// Sends without an answer for too long travel again.
    pub fn requeue_silent(&mut self, now_ms: u64) {
        for item in &mut self.items {
            if matches!(item.state, ItemState::InFlight { since_ms } if now_ms >= since_ms + SEND_ANSWER_WAIT_MS)
            {
                item.state = ItemState::Queued;
            }
        }
    }

    /// The cluster takes writes again: nobody needs to wait any longer.
    pub fn wake(&mut self) {
        for item in &mut self.items {
            if matches!(item.state, ItemState::Waiting { .. }) {
                item.state = ItemState::Queued;
            }
        }
    }

    /// A temporary refusal: the item stays and is tried again after `wait_ms(attempts before)`; by another client, if it was given away
    /// meanwhile.
    pub fn postpone(&mut self, id: ClientMessageId, now_ms: u64, wait_ms: impl FnOnce(u32) -> u64) {
        if let Some(item) = self.get_mut(id).filter(|item| item.state != ItemState::Elsewhere) {
            item.state = ItemState::Waiting { until_ms: now_ms + wait_ms(item.attempts) };
            item.attempts = item.attempts.saturating_add(1);
        }
    }

    /// A final refusal: the item stays, marked, until its writer decides.
    pub fn fail(&mut self, id: ClientMessageId, error: WireError) -> Option<&Item> {
        let item = self.get_mut(id)?;
        item.stored.failed = Some(error.clone());
        item.state = ItemState::Failed(error);
        Some(item)
    }

    /// The oldest item that may be there already.
    pub fn in_doubt(&self) -> Option<&Item> {
        self.items.iter().find(|item| matches!(item.state, ItemState::InDoubt { .. }))
    }

    /// It was looked for and not found; `surely`: back to before it was first sent. Whether it is to be sent again now.
    pub fn looked_for(&mut self, id: ClientMessageId, surely: bool) -> bool {
        let Some(item) = self.get_mut(id) else { return false };
        let ItemState::InDoubt { resend } = item.state else { return false };
        item.looked = true;
        item.state = match item.stored.failed.clone() {
            Some(error) if surely => ItemState::Failed(error),
            Some(_) => {
                let error = refused_here(
                    ErrorCode::Expired,
                    t("this may have been sent: look for it before you send it again"),
                );
                item.stored.failed = Some(error.clone());
                ItemState::Failed(error)
            }
            None => ItemState::NeedsTap,
        };
        resend && surely
    }

    /// Its writer wants it sent after all. Under a new id if the old one's outcome is final and stored ([`Certainty::Rejected`]
    /// would be answered again), else under its own, so that it cannot double; one whose id is forgotten is looked for first. Returns the
    /// old id and the item.
    pub fn retry(&mut self, id: ClientMessageId, moment: &Moment) -> Option<(ClientMessageId, &Item)> {
        let item = self.get_mut(id)?;
        match &item.state {
            ItemState::Failed(error) if error.code == ErrorCode::Expired && item.may_be_there() => {
                item.state = ItemState::InDoubt { resend: true };
                return Some((id, item));
            }
            ItemState::Failed(error) => {
                if error.code.row().certainty == Certainty::Rejected {
                    item.stored.id = moment.client_message_id();
                    item.stored.first_sent = 0;
                }
            }
            ItemState::NeedsTap => {}
            ItemState::Waiting { .. }
            | ItemState::Queued
            | ItemState::InFlight { .. }
            | ItemState::InDoubt { .. }
            | ItemState::Elsewhere => {
                if matches!(item.state, ItemState::Waiting { .. }) {
                    item.state = ItemState::Queued;
                }
                return Some((id, item));
            }
        }
        item.stored.failed = None;
        item.stored.created_ms = moment.wall_ms;
        item.state = ItemState::Queued;
        item.attempts = 0;
        item.looked = false;
        Some((id, item))
    }

    /// When [`take_turns`](Self::take_turns) or [`requeue_silent`](Self::requeue_silent) should be asked again.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.items
            .iter()
            .filter_map(|item| match item.state {
                ItemState::Waiting { until_ms } => Some(until_ms),
                ItemState::InFlight { since_ms } => Some(since_ms + SEND_ANSWER_WAIT_MS),
                _ => None,
            })
            .min()
    }
}

/// A refusal that this client makes itself.
pub fn refused_here(code: ErrorCode, message: &str) -> WireError {
    WireError::new(code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(at: u64) -> Moment {
        Moment { now_ms: at, wall_ms: at, random: u128::from(at) << 32 | 7 }
    }

    fn stored(at: u64, conversation: ConversationId) -> StoredItem {
        StoredItem {
            id: moment(at).client_message_id(),
            conversation,
            text: format!("text {at}"),
            reply_to: None,
            created_ms: at,
            place: at,
            first_sent: 0,
            failed: None,
            forward: None,
            attachments: Vec::new(),
        }
    }

    #[test]
    fn one_send_per_conversation_is_in_flight() {
        let mut outbox = Outbox::default();
        for at in 1..=4 {
            outbox.push(stored(at, at % 2));
        }
        let turns = outbox.take_turns(&moment(10));
        assert_eq!(turns, [stored(1, 1).id, stored(2, 0).id]);
        for id in turns {
            outbox.sent(id, 5, 10);
        }
        assert!(outbox.take_turns(&moment(10)).is_empty());
        outbox.remove(stored(1, 1).id);
        assert_eq!(outbox.take_turns(&moment(10)), [stored(3, 1).id]);
    }

    #[test]
    fn a_postponed_item_holds_back_its_conversation_so_that_order_holds() {
        let mut outbox = Outbox::default();
        outbox.push(stored(1, 1));
        outbox.push(stored(2, 1));
        outbox.sent(stored(1, 1).id, 5, 10);
        outbox.postpone(stored(1, 1).id, 10, |_| 90);
        assert!(outbox.take_turns(&moment(99)).is_empty());
        assert_eq!(outbox.deadline_ms(), Some(100));
        assert_eq!(outbox.take_turns(&moment(100)), [stored(1, 1).id]);
    }

    #[test]
    fn a_failed_item_stands_aside() {
        let mut outbox = Outbox::default();
        outbox.push(stored(1, 1));
        outbox.push(stored(2, 1));
        outbox.fail(stored(1, 1).id, WireError::new(ErrorCode::Forbidden, "no"));
        assert_eq!(outbox.take_turns(&moment(10)), [stored(2, 1).id]);
    }

    #[test]
    fn a_retry_takes_a_new_id_only_where_the_old_outcome_is_final() {
        let mut outbox = Outbox::default();
        outbox.push(stored(1, 1));
        outbox.push(stored(2, 1));
        outbox.fail(stored(1, 1).id, WireError::new(ErrorCode::Forbidden, "no"));
        outbox.fail(stored(2, 1).id, WireError::new(ErrorCode::TooLarge, "long"));
        let (old, item) = outbox.retry(stored(1, 1).id, &moment(50)).expect("there");
        assert_ne!(old, item.stored.id);
        let (old, item) = outbox.retry(stored(2, 1).id, &moment(51)).expect("there");
        assert_eq!(old, item.stored.id);
    }

    #[test]
    fn an_item_older_than_a_day_needs_a_tap() {
        let mut outbox = Outbox::default();
        outbox.push(stored(1, 1));
        let late = moment(OUTBOX_AGE_MS_MAX + 2);
        assert!(outbox.take_turns(&late).is_empty());
        assert_eq!(outbox.get(stored(1, 1).id).map(|item| &item.state), Some(&ItemState::NeedsTap));
        outbox.retry(stored(1, 1).id, &late);
        assert_eq!(outbox.take_turns(&late), [stored(1, 1).id], "the same id: it may be there already");
    }

    #[test]
    fn an_old_item_that_has_travelled_is_looked_for_before_its_writer_is_asked() {
        let mut outbox = Outbox::default();
        outbox.push(stored(1, 1));
        let id = stored(1, 1).id;
        outbox.sent(id, 5, 10);
        outbox.requeue_in_flight();
        let late = moment(OUTBOX_AGE_MS_MAX + 2);
        assert!(outbox.take_turns(&late).is_empty());
        assert_eq!(outbox.in_doubt().map(|item| item.stored.id), Some(id));
        assert!(!outbox.looked_for(id, true), "nobody has asked for it to be sent");
        assert_eq!(outbox.get(id).map(|item| &item.state), Some(&ItemState::NeedsTap));
        outbox.retry(id, &late);
        assert_eq!(outbox.take_turns(&late), [id], "the servers remember it for longer than a day");
    }

    #[test]
    fn what_was_refused_as_too_old_is_looked_for_before_it_is_sent_under_another_id() {
        let expired = WireError::new(ErrorCode::Expired, "too old");
        for surely in [true, false] {
            let mut outbox = Outbox::default();
            outbox.push(stored(1, 1));
            let id = stored(1, 1).id;
            outbox.sent(id, 5, 10);
            outbox.fail(id, expired.clone());
            let (old, item) = outbox.retry(id, &moment(50)).expect("there");
            assert_eq!((old, item.stored.id), (id, id), "not yet");
            assert!(outbox.take_turns(&moment(51)).is_empty());
            assert_eq!(outbox.looked_for(id, surely), surely);
            let held = outbox.get(id).expect("still there");
            let ItemState::Failed(error) = &held.state else { panic!("{:?}", held.state) };
            assert_eq!(error == &expired, surely, "its words say what is not known");
            let (_, again) = outbox.retry(id, &moment(60)).expect("there");
            assert!(again.stored.id != id && again.stored.first_sent == 0, "its writer decides");
        }
    }

    #[test]
    fn restoring_twice_does_not_double() {
        let mut outbox = Outbox::default();
        outbox.restore(vec![stored(2, 1), stored(1, 1)]);
        outbox.restore(vec![stored(1, 1)]);
        assert_eq!(outbox.len(), 2);
        assert_eq!(outbox.take_turns(&moment(9)), [stored(1, 1).id], "oldest first");
    }

    #[test]
    fn what_another_window_sends_is_shown_and_not_sent_until_that_window_is_gone() {
        let mut outbox = Outbox::default();
        outbox.put_elsewhere(stored(1, 1));
        outbox.push(stored(2, 1));
        assert_eq!(outbox.take_turns(&moment(9)), [stored(2, 1).id], "it holds nobody up");
        outbox.put_elsewhere(stored(2, 1));
        assert_eq!(outbox.get(stored(2, 1).id).map(|item| &item.state), Some(&ItemState::Queued));
        assert!(outbox.adopt(stored(1, 1).id).is_some());
        assert!(outbox.adopt(stored(1, 1).id).is_none(), "once");
        assert_eq!(outbox.take_turns(&moment(9)), [stored(1, 1).id], "in its place");
    }

    #[test]
    fn what_was_given_away_is_not_sent_whatever_is_heard_of_it() {
        let mut outbox = Outbox::default();
        for at in 1..=3 {
            outbox.push(stored(at, at));
        }
        outbox.sent(stored(1, 1).id, 5, 9);
        outbox.fail(stored(3, 3).id, WireError::new(ErrorCode::Forbidden, "no"));
        let given = [1, 2, 3, 4].map(|at| outbox.give_away(stored(at, at).id));
        assert_eq!(given, [Some(1), Some(2), None, None], "what is refused waits for its writer");
        outbox.postpone(stored(1, 1).id, 10, |_| 0);
        outbox.requeue_in_flight();
        outbox.requeue_silent(1_000_000);
        outbox.wake();
        assert!(outbox.take_turns(&moment(1_000_000)).is_empty());
        // Back before anybody took it.
        assert!(outbox.adopt(stored(1, 1).id).is_some());
        assert_eq!(outbox.take_turns(&moment(1_000_000)), [stored(1, 1).id]);
        assert!(outbox.gone(stored(1, 1).id).is_none() && outbox.gone(stored(2, 2).id).is_some());
    }

    #[test]
    fn what_another_window_lets_go_of_goes_unless_it_travels_from_here() {
        let mut outbox = Outbox::default();
        outbox.put_elsewhere(stored(1, 1));
        outbox.push(stored(2, 1));
        assert!(outbox.gone(stored(1, 1).id).is_some() && outbox.gone(stored(2, 1).id).is_none());
        let refused = StoredItem { failed: Some(WireError::new(ErrorCode::Forbidden, "no")), ..stored(3, 1) };
        outbox.put_elsewhere(refused.clone());
        assert!(matches!(outbox.get(refused.id).map(|item| &item.state), Some(ItemState::Failed(_))));
        // Its writer tries it again there.
        outbox.put_elsewhere(stored(3, 1));
        assert_eq!(outbox.get(refused.id).map(|item| &item.state), Some(&ItemState::Elsewhere));
        assert_eq!(outbox.len(), 2);
    }

    #[test]
    fn an_items_files_travel_each_time_and_those_handed_on_never() {
        let file =
            Attachment { file: uuid::Uuid::from_u128(7), name: "a.png".to_owned(), ..Attachment::default() };
        let mut outbox = Outbox::default();
        outbox.push(StoredItem { attachments: vec![file.clone()], text: String::new(), ..stored(1, 1) });
        let first = outbox.get(stored(1, 1).id).map(Item::to_send).expect("there");
        assert_eq!(first.attachments, [AttachFile { file: file.file, conversation: None, sequence: None }]);
        outbox.fail(stored(1, 1).id, WireError::new(ErrorCode::Forbidden, "no"));
        let (_, again) = outbox.retry(stored(1, 1).id, &moment(50)).expect("there");
        assert_eq!(again.to_send().attachments, first.attachments);
        let json = serde_json::to_string(&again.stored).expect("an item is JSON");
        assert_eq!(serde_json::from_str::<StoredItem>(&json).expect("an item"), again.stored);
        let source = MessageRef { conversation: 2, sequence: 3 };
        let handed = StoredItem { forward: Some(source), attachments: vec![file], ..stored(2, 1) };
        outbox.push(handed);
        assert_eq!(outbox.get(stored(2, 1).id).map(|item| item.to_send().attachments), Some(Vec::new()));
    }

    #[test]
    fn first_sent_is_set_once() {
        let mut outbox = Outbox::default();
        outbox.push(stored(1, 1));
        let id = stored(1, 1).id;
        assert_eq!(
            outbox.sent(id, 40, 10).map(|(item, new)| (item.stored.first_sent, new)),
            Some((40, true))
        );
        outbox.requeue_in_flight();
        assert_eq!(
            outbox.sent(id, 90, 20).map(|(item, new)| (item.stored.first_sent, new)),
            Some((40, false))
        );
    }
}
