//! Rows of the table that are of messages.

use super::*;

pub(super) fn wishes(scene: &Scene, _by: u64, kind: &Action) -> Vec<Wish> {
    let room = scene.room;
    // The first message is the member's; the second, in groups, of her who was removed.
    let mut wishes = Vec::new();
    match kind {
        Action::DeleteMessages(_) => {
            let delete = |first, last| {
                Action::DeleteMessages(rpc::DeleteMessages { conversation_id: room, first, last })
            };
            let of_two = [U, U, U, N, N, N, N, D, N, F];
            let writers = [U, U, U, N, N, N, N, D, D, D];
            wishes.push(wish("take back the member's message", delete(1, 1), of_two, writers));
            wishes.push(wish("take back what one may of a range", delete(1, 100), BOTH, MEMBERS));
            if !scene.is_direct {
                wishes.push(wish("take back hers who was removed", delete(2, 2), BOTH, MANAGERS));
            }
        }
        Action::HideMessages(_) => {
            let hide = rpc::HideMessages { conversation_id: room, first: 1, last: 1 };
            wishes.push(wish("hide a message", Action::HideMessages(hide), BOTH, MEMBERS));
        }
        Action::React(_) => {
            let react = rpc::React { conversation_id: room, sequence: 1, emoji: "👍".into(), on: true };
            wishes.push(wish("react", Action::React(react), BOTH, MEMBERS));
        }
        Action::Pin(_) => {
            let pin = rpc::Pin { conversation_id: room, sequence: 1, on: true };
            wishes.push(wish("pin", Action::Pin(pin), BOTH, MEMBERS));
        }
        Action::SaveMessage(_) => {
            let save = rpc::SaveMessage { conversation_id: room, sequence: 1, on: true };
            wishes.push(wish("save", Action::SaveMessage(save), BOTH, MEMBERS));
        }
        Action::SetDraft(_) => {
            let draft = rpc::SetDraft { conversation_id: room, text: "dear".into(), reply_to: 0 };
            wishes.push(wish("begin to write", Action::SetDraft(draft), BOTH, MEMBERS));
        }
        Action::Schedule(_) => {
            let due_ms = scene.world.now + 1;
            let schedule = |text: &str, remind_of| {
                let text = text.to_owned();
                let conversation_id = room;
                Action::Schedule(rpc::Schedule { conversation_id, text, due_ms, remind_of, reply_to: 0 })
            };
            wishes.push(wish("have a message sent", schedule("later", 0), BOTH, MEMBERS));
            wishes.push(wish("be reminded", schedule("", 1), BOTH, MEMBERS));
        }
        Action::CancelScheduled(_) => {
            // Numbers are each user's own.
            let nothing = [U, U, U, N, N, N, N, N, N, N];
            let cancel = Action::CancelScheduled(rpc::CancelScheduled { id: 1 });
            wishes.push(wish("take back what was never scheduled", cancel, nothing, nothing));
        }
        _ => unreachable!("the table asks for these only"),
    }
    wishes
}
