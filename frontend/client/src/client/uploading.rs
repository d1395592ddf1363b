//! Files for messages: when they travel, and the messages that go with them.

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::ids::ConversationId;

use super::Client;
use crate::drafts::Draft;
use crate::event::{Change, Effect};
use crate::moment::Moment;
use crate::upload::{Call, Ready, Told, Trouble, UploadId, Waiting};

impl Client {
    pub(super) fn attach(
        &mut self,
        moment: &Moment,
        id: UploadId,
        conversation: ConversationId,
        name: &str,
        size: u64,
    ) {
        let key = moment.client_message_id();
        match self.uploads.add(id, conversation, (name, size), key, &self.limits) {
            Ok(()) => {
                self.uploads.stop_waiting(conversation);
                self.changed.insert(Change::Uploads(conversation));
            }
            Err(error) => self.refuse(None, error),
        }
    }

    pub(super) fn hold(&mut self, conversation: ConversationId) {
        if self.uploads.stop_waiting(conversation) {
            self.changed.insert(Change::Uploads(conversation));
        }
    }

    pub(super) fn detach(&mut self, moment: &Moment, id: UploadId) {
        let (conversation, turns) = self.uploads.remove(id, moment.client_message_id());
        self.changed.extend(conversation.map(Change::Uploads));
        self.step(turns);
    }

    /// What was uploaded is used elsewhere than in a message, or will not be used: it is let go here and stays on the server for
    /// as long as the server keeps what nobody shows.
    pub(super) fn let_go(&mut self, id: UploadId) {
        let (conversation, turns) = self.uploads.let_go(id);
        self.changed.extend(conversation.map(Change::Uploads));
        self.step(turns);
    }

    pub(super) fn reattach(&mut self, moment: &Moment, id: UploadId) {
        let (conversation, turns) = self.uploads.retry(moment.now_ms, id, moment.client_message_id());
        self.changed.extend(conversation.map(Change::Uploads));
        self.step(turns);
    }

    pub(super) fn uploaded(&mut self, moment: &Moment, id: UploadId, call: Call, told: Told) {
        if is_unauthenticated(&told) {
            self.token_spent();
        }
        let (conversation, turns) = self.uploads.told(moment, id, call, told);
        self.changed.extend(conversation.map(Change::Uploads));
        self.step(turns);
    }

    /// There is a connection again: uploads that waited or stalled go on at once. With another gateway, or on another network,
    /// nothing that is under way is waited for.
    pub(super) fn wake_uploads(&mut self, moment: &Moment, is_other: bool) {
        let turns = self.uploads.wake(moment.now_ms, is_other);
        self.step(turns);
    }

    /// Nobody is signed in any more.
    pub(super) fn forget_uploads(&mut self) {
        let turns = self.uploads.clear();
        self.step(turns);
    }

    /// The message waits for its files, and is what stands in the composer until then.
    pub(super) fn wait_for_files(&mut self, conversation: ConversationId, waiting: Waiting) {
        self.uploads.wait(conversation, waiting);
        self.changed.insert(Change::Uploads(conversation));
    }

    /// A message has taken the files that were chosen for it.
    pub(super) fn files_taken(&mut self, conversation: ConversationId) {
        let turns = self.uploads.taken(conversation);
        self.step(turns);
        self.changed.insert(Change::Uploads(conversation));
    }

    fn step(&mut self, turns: Vec<(UploadId, Call, crate::upload::Step)>) {
        self.out.extend(turns.into_iter().map(|(id, call, step)| Effect::Upload(id, call, step)));
    }

    fn may_upload(&self) -> bool {
        !self.offline && self.access_token().is_some()
    }

    pub(super) fn pump_uploads(&mut self, moment: &Moment) {
        let (changed, turns) = self.uploads.take_turns(moment, self.may_upload());
        self.changed.extend(changed.into_iter().map(Change::Uploads));
        self.step(turns);
        for (conversation, waiting) in self.uploads.take_waiting() {
            self.changed.insert(Change::Uploads(conversation));
            // Were a file taken back or lost meanwhile, its writer decides: what was typed is in the box still.
            if !matches!(self.uploads.ready(conversation), Ready::Files(_)) {
                continue;
            }
            if self.send(moment, conversation, waiting.text, waiting.reply_to) {
                self.typed_draft(moment, conversation, Draft::default());
                self.out.push(Effect::DraftChanged(conversation));
            }
        }
    }

    pub(super) fn uploads_deadline_ms(&self) -> Option<u64> {
        self.uploads.deadline_ms(self.may_upload())
    }
}

fn is_unauthenticated(told: &Told) -> bool {
    let spent = |trouble: &Trouble| {
        matches!(trouble, Trouble::Refused(WireError { code: ErrorCode::Unauthenticated, .. }))
    };
    match told {
        Told::Begun(Err(trouble)) | Told::There(Err(trouble)) | Told::Committed(Err(trouble)) => {
            spent(trouble)
        }
        Told::Put { outcome: Err(trouble), .. } => spent(trouble),
        _ => false,
    }
}
