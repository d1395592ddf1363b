//! Messages that a conversation should find again.

use quorate_proto::error::ErrorCode;
use quorate_proto::limits::PINS_MAX;
use quorate_proto::rpc::{self, outcome};

use super::deletions::changed;
use super::records::{EventKind, Pin, PinEvent};
use super::{Decision, Step, rejected};
use crate::store::View;

impl<V: View> Step<'_, V> {
    /// For whoever may write there: anybody in a direct conversation, members of a group, in one of announcements its owner and
    /// admins.
    pub(super) fn pin(&mut self, by: u64, pin: &rpc::Pin) -> Decision<outcome::Result> {
        let (id, sequence) = (pin.conversation_id, pin.sequence);
        let (mut conversation, member, mut message) = self.seen_message(by, id, sequence)?;
        self.may_write(by, id, &mut conversation, &member)?;
        if message.pinned == pin.on {
            return Ok(changed(id, 0, sequence));
        }
        if pin.on && conversation.pins >= PINS_MAX {
            return rejected(ErrorCode::TooLarge, "too many messages are pinned: take one away first");
        }
        message.pinned = pin.on;
        conversation.pins = match pin.on {
            true => conversation.pins + 1,
            false => conversation.pins.saturating_sub(1),
        };
        self.state.put_message(id, sequence, &message);
        let version = conversation.version + 1;
        let record = Pin { by, log_time_ms: self.context.log_time_ms, version };
        self.state.put_pin(id, sequence, pin.on.then_some(&record));
        self.push_event(id, &mut conversation, EventKind::Pin(PinEvent { sequence, on: pin.on, by }))?;
        self.state.put_conversation(id, &conversation);
        Ok(changed(id, conversation.version, sequence))
    }
}
