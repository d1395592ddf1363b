//! The sessions at the hub and what is staged for them within one feed frame.

use std::sync::Arc;

use quorate_proto::rpc::Topic;

use super::{Item, SignalItem, SlotId};
use crate::session::outbox::{Batch, Losses, Outbox};

#[derive(Debug)]
struct Slot {
    outbox: Outbox,
    topics: Vec<Topic>,
    staged: Batch,
}

/// Slots by number; the generation makes a reused number another session.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    slots: Vec<(u32, Option<Slot>)>,
    free: Vec<u32>,
    /// Those with something staged.
    dirty: Vec<SlotId>,
}

impl Sessions {
    pub(super) fn join(&mut self, outbox: Outbox) -> SlotId {
        let slot = Some(Slot { outbox, topics: Vec::new(), staged: Vec::new() });
        match self.free.pop() {
            Some(at) => {
                let entry = &mut self.slots[at as usize];
                entry.1 = slot;
                SlotId { at, generation: entry.0 }
            }
            None => {
                self.slots.push((0, slot));
                let at = u32::try_from(self.slots.len() - 1).expect("sockets_max is far below 2^32");
                SlotId { at, generation: 0 }
            }
        }
    }

    fn slot(&mut self, id: SlotId) -> Option<&mut Slot> {
        match self.slots.get_mut(id.at as usize) {
            Some((generation, slot)) if *generation == id.generation => slot.as_mut(),
            _ => None,
        }
    }

    /// Whether a session is there.
    pub(super) fn has(&mut self, id: SlotId) -> bool {
        self.slot(id).is_some()
    }

    /// Gives a session a signal, or lets it go.
    pub(super) fn tell(&mut self, id: SlotId, signal: &Arc<SignalItem>) -> Losses {
        self.slot(id).map(|slot| slot.outbox.push_signal(signal)).unwrap_or_default()
    }

    /// Notes that a session has a topic; false if the session is gone.
    pub(super) fn note(&mut self, id: SlotId, topic: Topic) -> bool {
        let Some(slot) = self.slot(id) else { return false };
        if !slot.topics.contains(&topic) {
            slot.topics.push(topic);
        }
        true
    }

    pub(super) fn forget(&mut self, id: SlotId, topic: Topic) {
        if let Some(slot) = self.slot(id) {
            slot.topics.retain(|other| *other != topic);
        }
    }

    /// Ends a session: its topics.
    pub(super) fn leave(&mut self, id: SlotId) -> Vec<Topic> {
        match self.slots.get_mut(id.at as usize) {
            Some((generation, slot)) if *generation == id.generation => match slot.take() {
                Some(slot) => {
                    *generation = generation.wrapping_add(1);
                    self.free.push(id.at);
                    slot.topics
                }
                None => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// Puts an event into a session's batch of this frame.
    pub(super) fn stage(&mut self, id: SlotId, item: &Arc<Item>) {
        let Some(slot) = self.slot(id) else { return };
        slot.staged.push(Arc::clone(item));
        if slot.staged.len() == 1 {
            self.dirty.push(id);
        }
    }

    /// Hands the batches over: how many events, what was let go for them, and the sessions that take no more.
    pub(super) fn flush(&mut self) -> (u64, Losses, Vec<SlotId>) {
        let mut delivered = 0;
        let mut losses = Losses::default();
        let mut refused = Vec::new();
        for id in std::mem::take(&mut self.dirty) {
            let Some(slot) = self.slot(id) else { continue };
            let batch = std::mem::take(&mut slot.staged);
            let count = batch.len() as u64;
            match slot.outbox.push(batch) {
                Ok(lost) => {
                    delivered += count;
                    losses += lost;
                }
                Err(_) => refused.push(id),
            }
        }
        (delivered, losses, refused)
    }

    /// Tells a session that it gets no more; false when its end had gone before.
    pub(super) fn let_go(&mut self, id: SlotId) -> bool {
        let Some(slot) = self.slot(id) else { return false };
        slot.outbox.let_go();
        !slot.outbox.is_closed()
    }

    /// Sessions whose end is gone without a word.
    pub(super) fn closed(&self) -> Vec<SlotId> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, (_, slot))| slot.as_ref().is_some_and(|slot| slot.outbox.is_closed()))
            .map(|(at, (generation, _))| SlotId {
                at: u32::try_from(at).expect("join keeps numbers below 2^32"),
                generation: *generation,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::outbox::{Bounds, outbox};

    #[tokio::test]
    async fn a_reused_slot_is_another_session() {
        let mut sessions = Sessions::default();
        let (first, _inbox) = outbox(Bounds::default());
        let old = sessions.join(first);
        sessions.leave(old);
        let (second, mut inbox) = outbox(Bounds::default());
        let new = sessions.join(second);
        assert_ne!(old, new);
        let item = Arc::new(Item::for_test(1, 1, 1));
        sessions.stage(old, &item);
        sessions.stage(new, &item);
        assert!(sessions.leave(old).is_empty(), "a late word of the first does not end the second");
        assert_eq!(sessions.flush(), (1, Losses::default(), vec![]));
        assert_eq!(inbox.try_recv(usize::MAX, usize::MAX).map(|taken| taken.events.len()), Some(1));
        assert!(sessions.closed().is_empty());
        drop(inbox);
        assert_eq!(sessions.closed(), [new]);
    }
}
