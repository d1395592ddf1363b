//! The commands under way, in order of arrival. Pure: no socket, no clock of its own.
//!
//! Owns the invariant that a command is sent again in its old place, so that retries never reorder.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use quorate_proto::rpc::SubmitItem;

/// One command under way; `R` answers whoever waits.
#[derive(Debug)]
pub(super) struct Entry<R> {
    pub(super) command: Bytes,
    /// W3C trace context, empty for most.
    pub(super) traceparent: String,
    pub(super) deadline: Instant,
    /// When it came, and when it was sent first and last.
    pub(super) arrived: Instant,
    pub(super) sent: Option<(Instant, Instant)>,
    /// How often it was sent: after a second time "not applied" says nothing about the first.
    pub(super) sends: u32,
    pub(super) reply: R,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pending<R> {
    entries: BTreeMap<u64, Entry<R>>,
    next_id: u64,
    /// Everything below was sent on the present stream.
    unsent_from: u64,
}

impl<R> Pending<R> {
    pub(super) fn new() -> Self {
        Self { entries: BTreeMap::new(), next_id: 1, unsent_from: 1 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn insert(
        &mut self,
        command: Bytes,
        traceparent: String,
        (arrived, deadline): (Instant, Instant),
        reply: R,
    ) {
        let entry = Entry { command, traceparent, deadline, arrived, sent: None, sends: 0, reply };
        self.entries.insert(self.next_id, entry);
        self.next_id += 1;
    }

    /// Whether something is yet to be sent on the present stream.
    pub(super) fn has_unsent(&self) -> bool {
        self.entries.last_key_value().is_some_and(|(id, _)| *id >= self.unsent_from)
    }

    /// Whether something sent on the present stream has no answer.
    pub(super) fn has_unanswered(&self) -> bool {
        self.entries.first_key_value().is_some_and(|(id, _)| *id < self.unsent_from)
    }

    /// The next frame: in order, everything that fits.
    pub(super) fn next_batch(&mut self, now: Instant, items_max: usize, bytes_max: usize) -> Vec<SubmitItem> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for (id, entry) in self.entries.range_mut(self.unsent_from..) {
            bytes += entry.command.len();
            if batch.len() == items_max || (bytes > bytes_max && !batch.is_empty()) {
                break;
            }
            entry.sends += 1;
            entry.sent = Some((entry.sent.map_or(now, |(first, _)| first), now));
            let (command, traceparent) = (entry.command.clone(), entry.traceparent.clone());
            batch.push(SubmitItem { request_id: *id, command, traceparent });
        }
        if let Some(last) = batch.last() {
            self.unsent_from = last.request_id + 1;
        }
        batch
    }

    /// A new stream: everything is to be sent again, in the old order, the same bytes.
    pub(super) fn rewind(&mut self) {
        self.unsent_from = self.entries.first_key_value().map_or(self.next_id, |(id, _)| *id);
    }

    pub(super) fn take(&mut self, id: u64) -> Option<Entry<R>> {
        self.entries.remove(&id)
    }

    /// Removes what is past its deadline or no longer waited for.
    pub(super) fn expire(&mut self, now: Instant, gone: impl Fn(&R) -> bool) -> Vec<Entry<R>> {
        let dead: Vec<u64> = self
            .entries
            .iter()
            // What was sent and is no longer waited for stays until its deadline: dropping it would not unsend it,
            // and its place in the order is still its own.
            .filter(|(_, entry)| entry.deadline <= now || (entry.sends == 0 && gone(&entry.reply)))
            .map(|(id, _)| *id)
            .collect();
        dead.into_iter().filter_map(|id| self.entries.remove(&id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ids(batch: &[SubmitItem]) -> Vec<u64> {
        batch.iter().map(|item| item.request_id).collect()
    }

    fn three() -> (Pending<&'static str>, Instant) {
        let now = Instant::now();
        let mut pending = Pending::new();
        for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
            let deadline = now + Duration::from_secs(at as u64 + 1);
            pending.insert(Bytes::from(name), String::new(), (now, deadline), name);
        }
        (pending, now)
    }

    #[test]
    fn a_batch_takes_everything_that_fits_in_order() {
        let (mut pending, now) = three();
        assert_eq!(ids(&pending.next_batch(now, 2, 100)), [1, 2]);
        assert!(pending.has_unsent() && pending.has_unanswered());
        assert_eq!(ids(&pending.next_batch(now, 2, 100)), [3]);
        assert!(!pending.has_unsent());
        assert!(pending.next_batch(now, 2, 100).is_empty());
    }

    #[test]
    fn a_command_larger_than_a_frame_goes_alone() {
        let (mut pending, now) = three();
        assert_eq!(ids(&pending.next_batch(now, 10, 0)), [1]);
        assert_eq!(ids(&pending.next_batch(now, 10, 0)), [2]);
    }

    #[test]
    fn after_a_broken_stream_the_unanswered_go_again_in_their_old_order_with_the_same_bytes() {
        let (mut pending, now) = three();
        pending.next_batch(now, 10, 100);
        assert_eq!(pending.take(2).map(|entry| entry.reply), Some("b"));
        pending.insert(Bytes::from("d"), String::new(), (now, now), "d");
        pending.rewind();
        let batch = pending.next_batch(now, 10, 100);
        assert_eq!(ids(&batch), [1, 3, 4]);
        assert_eq!(batch[0].command, Bytes::from("a"));
    }

    #[test]
    fn only_what_is_past_its_deadline_expires() {
        let (mut pending, now) = three();
        let dead = pending.expire(now + Duration::from_secs(2), |_| false);
        assert_eq!(dead.iter().map(|entry| entry.reply).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(pending.len(), 1);
    }

    #[test]
    fn a_sent_command_keeps_its_place_when_nobody_waits_for_it() {
        let (mut pending, now) = three();
        pending.next_batch(now, 1, 100);
        assert_eq!(pending.expire(now, |_| true).len(), 2, "the unsent ones go");
        assert_eq!(pending.len(), 1);
    }

    #[test]
    fn the_times_of_the_first_and_the_last_sending_are_kept() {
        let (mut pending, now) = three();
        pending.next_batch(now + Duration::from_millis(5), 2, 100);
        pending.rewind();
        let again = now + Duration::from_millis(300);
        pending.next_batch(again, 10, 100);
        let sent = pending.take(1).and_then(|entry| entry.sent);
        assert_eq!(sent, Some((now + Duration::from_millis(5), again)));
        assert_eq!(pending.take(3).and_then(|entry| entry.sent), Some((again, again)));
    }
}
