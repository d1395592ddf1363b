//! Files counted again: what each user's take, how many messages show each, whose avatar each is, whether each has its chunks.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_proto::files::chunk_count;

use super::{Report, decode, number};
use crate::machine::files::id_of;
use crate::machine::records::{DedupQueue, File, FileChunks, FileExpiry, FileUse, StoredMessage};
use crate::store::{Key, StoreError};

type Id = [u8; 16];

/// What is remembered of files while their records go by.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: BTreeMap<Id, File>,
    uses: BTreeMap<u64, FileUse>,
    queue: DedupQueue,
    /// Messages that show a file, crossed out by the messages themselves.
    shown: BTreeSet<(Id, u64, u64)>,
    references: BTreeMap<Id, u64>,
    chunks: BTreeMap<Id, u64>,
    /// Places in the queue, as (file, since when).
    expiries: BTreeSet<(Id, u64)>,
    expiry_count: u64,
}

fn id(bytes: &[u8]) -> Id {
    id_of(bytes.get(..16).unwrap_or_default()).unwrap_or_default()
}

impl Files {
    pub(super) fn queue(&mut self, key: &Key, value: Bytes) -> Result<(), StoreError> {
        self.queue = decode(key, value)?;
        Ok(())
    }

    pub(super) fn used(&mut self, key: &Key, value: Bytes) -> Result<(), StoreError> {
        self.uses.insert(key.ordinal(), decode(key, value)?);
        Ok(())
    }

    pub(super) fn file(&mut self, key: &Key, value: Bytes) -> Result<(), StoreError> {
        self.files.insert(id(&key.as_bytes()[1..]), decode(key, value)?);
        Ok(())
    }

    pub(super) fn reference(&mut self, key: &Key) {
        let raw = key.as_bytes();
        let id = id(&raw[1..]);
        self.shown.insert((id, number(raw.get(17..).unwrap_or_default()), key.ordinal()));
        *self.references.entry(id).or_default() += 1;
    }

    pub(super) fn some_chunks(&mut self, key: &Key, value: Bytes) -> Result<(), StoreError> {
        let chunks: FileChunks = decode(key, value)?;
        *self.chunks.entry(id(&key.as_bytes()[1..])).or_default() += chunks.hashes.len() as u64 / 32;
        Ok(())
    }

    pub(super) fn expiry(&mut self, key: &Key, value: Bytes) -> Result<(), StoreError> {
        let expiry: FileExpiry = decode(key, value)?;
        self.expiries.insert((id(&expiry.file_id), expiry.log_time_ms));
        self.expiry_count += 1;
        Ok(())
    }

    pub(super) fn message(
        &mut self,
        conversation: u64,
        sequence: u64,
        message: &StoredMessage,
        report: &mut Report,
    ) {
        for file in &message.attachments {
            if !self.shown.remove(&(id(file), conversation, sequence)) {
                report.problem(format!(
                    "message {sequence} of conversation {conversation} shows a file uncounted"
                ));
            }
        }
    }

    /// Somebody has it as her avatar; empty: none.
    pub(super) fn avatar(&mut self, avatar: &[u8], whose: &str, report: &mut Report) {
        if avatar.is_empty() {
            return;
        }
        match id_of(avatar) {
            Some(id) => *self.references.entry(id).or_default() += 1,
            None => report.problem(format!("{whose} has an avatar that is no file's id")),
        }
    }

    pub(super) fn finish(mut self, report: &mut Report) {
        for (_, conversation, sequence) in &self.shown {
            report.problem(format!("message {sequence} of conversation {conversation} shows no such file"));
        }
        let mut uses: BTreeMap<u64, FileUse> = BTreeMap::new();
        for (id, file) in &self.files {
            let name = &file.name;
            let used = uses.entry(file.owner).or_default();
            used.bytes += file.size;
            used.files += 1;
            let references = self.references.remove(id).unwrap_or(0);
            if references != file.references {
                let said = file.references;
                report
                    .problem(format!("{references} messages and avatars show the file {name:?}, not {said}"));
            }
            let (chunks, needed) = (self.chunks.remove(id).unwrap_or(0), chunk_count(file.size));
            if chunks != needed {
                report.problem(format!("the file {name:?} has {chunks} chunks, not {needed}"));
            }
            if file.references == 0 && !self.expiries.contains(&(*id, file.unreferenced_ms)) {
                report.problem(format!("nothing shows the file {name:?}, and it will not be removed"));
            }
        }
        for lost in self.references.values() {
            report.problem(format!("{lost} messages and avatars show a file that is not there"));
        }
        for lost in self.chunks.values() {
            report.problem(format!("{lost} chunks are of a file that is not there"));
        }
        if uses != self.uses {
            report.problem("what users' files take is not what is said of it".to_owned());
        }
        if self.expiry_count != self.queue.tail.saturating_sub(self.queue.head) {
            let said = self.queue.tail.saturating_sub(self.queue.head);
            report.problem(format!("{} files are to be removed, not {said}", self.expiry_count));
        }
        *report.counts.entry("files").or_default() += self.files.len() as u64;
    }
}
