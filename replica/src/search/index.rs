//! The index on disk: its fields, how it is opened or made anew, and the one writer.
//!
//! It keeps no texts. A document says which message it is, what a search filters and sorts by, and the words; whoever finds it
//! reads the message from the state.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use quorate_proto::query::Has;
use serde::{Deserialize, Serialize};
use tantivy::indexer::IndexWriterOptions;
use tantivy::merge_policy::LogMergePolicy;
use tantivy::schema::{
    BytesOptions, FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, TantivyDocument, TantivyError, Term};

use super::directory::UnsyncedDirectory;
use super::tokens::tokens;
use super::walk::Walk;
use crate::machine::records::StoredMessage;

/// Raised when documents or tokens change: an index of another format is made anew from the state.
const FORMAT: u32 = 1;
/// Memory of words that are not in a file yet.
const WRITER_HEAP_BYTES: usize = 32 * 1024 * 1024;
/// Files of fewer messages than this are one layer when files are merged: a commit comes twice a second.
const SMALL_SEGMENT_MESSAGES: u32 = 1_000;
/// So many files of a layer become one.
const SEGMENTS_PER_MERGE: usize = 8;

/// The message has an `http` or `https` address in it.
const FLAG_LINK: u64 = 1;
/// The message has an attachment.
const FLAG_FILE: u64 = 2;

/// The index's fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    /// Conversation and sequence, big-endian: what a document is replaced by.
    pub(super) key: Field,
    pub(super) conversation: Field,
    pub(super) sequence: Field,
    /// Log index of the message: the order of time.
    pub(super) index: Field,
    pub(super) time: Field,
    pub(super) from: Field,
    pub(super) flags: Field,
    pub(super) text: Field,
}

/// What is indexed of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) conversation: u64,
    pub(super) sequence: u64,
    pub(super) index: u64,
    pub(super) time_ms: u64,
    pub(super) from: u64,
    pub(super) flags: Vec<u64>,
    pub(super) text: String,
}

/// A change of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// The message cannot be in the index yet.
    Add(Document),
    /// It may be.
    Replace(Document),
    /// It is not to be found any more: conversation and sequence.
    Remove(u64, u64),
}

/// How far the index has come; kept with each commit, so that both are on disk or neither.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    format: u32,
    cluster: String,
    /// Complete up to this log index.
    pub(super) through: u64,
    /// A message up to this index may be in it already.
    pub(super) seen: u64,
    /// What is under way.
    pub(super) walk: Option<Walk>,
}

impl Progress {
    /// Of an empty index.
    pub(super) fn new(cluster: &str) -> Self {
        Self { format: FORMAT, cluster: cluster.to_owned(), through: 0, seen: 0, walk: None }
    }

    /// Whether it is being filled for the first time: what is missing is not only the newest.
    pub(super) fn is_rebuilding(&self) -> bool {
        self.walk.as_ref().is_some_and(Walk::is_of_everything)
    }

    fn encode(&self) -> String {
        let text =
            serde_json::to_string(self).expect("a record of numbers and texts is representable as JSON");
        format!("{:08x} {text}", crc32fast::hash(text.as_bytes()))
    }

    fn decode(payload: &str) -> Option<Self> {
        let (sum, text) = payload.split_once(' ')?;
        let is_whole = u32::from_str_radix(sum, 16).ok()? == crc32fast::hash(text.as_bytes());
        serde_json::from_str(text).ok().filter(|_| is_whole)
    }
}

/// Why an index cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    /// The library, or the disk below it.
    #[error(transparent)]
    Tantivy(#[from] TantivyError),
    /// The folder.
    #[error("cannot use the index's folder: {0}")]
    Folder(#[from] io::Error),
    /// It is not what was written, or not of this program and cluster.
    #[error("the index {0}")]
    Unfit(&'static str),
}

impl From<tantivy::directory::error::OpenDirectoryError> for IndexError {
    fn from(error: tantivy::directory::error::OpenDirectoryError) -> Self {
        IndexError::Tantivy(error.into())
    }
}

fn schema() -> Schema {
    let mut schema = Schema::builder();
    schema.add_bytes_field("key", BytesOptions::default().set_indexed());
    schema.add_u64_field("conversation", INDEXED | FAST);
    schema.add_u64_field("sequence", FAST);
    schema.add_u64_field("index", FAST);
    schema.add_u64_field("time", FAST);
    schema.add_u64_field("from", INDEXED);
    schema.add_u64_field("flags", INDEXED);
    // Texts come cut into tokens already.
    let words = TextFieldIndexing::default()
        .set_tokenizer("raw")
        .set_index_option(IndexRecordOption::WithFreqsAndPositions);
    schema.add_text_field("text", TextOptions::default().set_indexing_options(words));
    schema.build()
}

/// The key of a message's document.
pub(super) fn key_of(conversation: u64, sequence: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&conversation.to_be_bytes());
    key[8..].copy_from_slice(&sequence.to_be_bytes());
    key
}

/// An open index with its writer.
pub(super) struct Opened {
    writer: IndexWriter,
    pub(super) reader: IndexReader,
    pub(super) fields: Fields,
    pub(super) progress: Progress,
    /// Made just now: there was none, or an unfit one.
    pub(super) is_new: bool,
}

impl Opened {
    /// Opens the index in a folder; makes it anew when there is none or it is unfit.
    pub(super) fn open(dir: &Path, cluster: &str) -> Result<Self, IndexError> {
        if dir.join("meta.json").exists() {
            let began = Instant::now();
            match Self::existing(dir, cluster) {
                Ok(opened) => {
                    let (through, took) = (opened.progress.through, began.elapsed());
                    tracing::info!(through, ?took, "verified the search index");
                    return Ok(opened);
                }
                Err(error) => tracing::warn!(%error, "the search index is made anew"),
            }
        }
        Self::create(dir, cluster)
    }

    fn existing(dir: &Path, cluster: &str) -> Result<Self, IndexError> {
        let index = Index::open(UnsyncedDirectory::open(dir)?)?;
        if index.schema() != schema() {
            return Err(IndexError::Unfit("has other fields than this program's"));
        }
        let payload = index.load_metas()?.payload.unwrap_or_default();
        let progress = Progress::decode(&payload).ok_or(IndexError::Unfit("does not say how far it came"))?;
        if progress.format != FORMAT || progress.cluster != cluster {
            return Err(IndexError::Unfit("is of another program or cluster"));
        }
        if !index.validate_checksum()?.is_empty() {
            return Err(IndexError::Unfit("is damaged"));
        }
        Self::over(&index, progress)
    }

    fn create(dir: &Path, cluster: &str) -> Result<Self, IndexError> {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => fs::create_dir_all(dir)?,
        }
        let index =
            Index::create(UnsyncedDirectory::open(dir)?, schema(), tantivy::IndexSettings::default())?;
        let mut opened = Self::over(&index, Progress::new(cluster))?;
        opened.commit(&Progress::new(cluster))?;
        Ok(Self { is_new: true, ..opened })
    }

    fn over(index: &Index, progress: Progress) -> Result<Self, IndexError> {
        let field = |name| index.schema().get_field(name);
        let fields = Fields {
            key: field("key")?,
            conversation: field("conversation")?,
            sequence: field("sequence")?,
            index: field("index")?,
            time: field("time")?,
            from: field("from")?,
            flags: field("flags")?,
            text: field("text")?,
        };
        let options = IndexWriterOptions::builder()
            .memory_budget_per_thread(WRITER_HEAP_BYTES)
            .num_worker_threads(1)
            .num_merge_threads(1)
            .build();
        let writer: IndexWriter = index.writer_with_options(options)?;
        let mut merging = LogMergePolicy::default();
        merging.set_min_num_segments(SEGMENTS_PER_MERGE);
        merging.set_min_layer_size(SMALL_SEGMENT_MESSAGES);
        writer.set_merge_policy(Box::new(merging));
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { writer, reader, fields, progress, is_new: false })
    }

    /// Takes a change, which is found after the next commit.
    pub(super) fn change(&mut self, change: Change) -> Result<(), IndexError> {
        let (conversation, sequence) = match &change {
            Change::Add(_) => (0, 0),
            Change::Replace(document) => (document.conversation, document.sequence),
            Change::Remove(conversation, sequence) => (*conversation, *sequence),
        };
        if conversation != 0 {
            let key = key_of(conversation, sequence);
            self.writer.delete_term(Term::from_field_bytes(self.fields.key, &key));
        }
        match change {
            Change::Add(document) | Change::Replace(document) => {
                self.writer.add_document(self.document(&document))?;
            }
            Change::Remove(..) => {}
        }
        Ok(())
    }

    fn document(&self, document: &Document) -> TantivyDocument {
        let fields = &self.fields;
        let mut indexed = TantivyDocument::new();
        indexed.add_bytes(fields.key, &key_of(document.conversation, document.sequence));
        indexed.add_u64(fields.conversation, document.conversation);
        indexed.add_u64(fields.sequence, document.sequence);
        indexed.add_u64(fields.index, document.index);
        indexed.add_u64(fields.time, document.time_ms);
        indexed.add_u64(fields.from, document.from);
        for flag in &document.flags {
            indexed.add_u64(fields.flags, *flag);
        }
        let tokens = tokens(&document.text).into_iter().enumerate();
        let token = |(position, token): (usize, super::tokens::Token)| Token {
            offset_from: token.begin,
            offset_to: token.end,
            position,
            text: token.text,
            position_length: 1,
        };
        let words = PreTokenizedString { text: String::new(), tokens: tokens.map(token).collect() };
        indexed.add_pre_tokenized_text(fields.text, words);
        indexed
    }

    /// Makes what was changed findable, together with how far it goes.
    pub(super) fn commit(&mut self, progress: &Progress) -> Result<(), IndexError> {
        let mut prepared = self.writer.prepare_commit()?;
        prepared.set_payload(&progress.encode());
        prepared.commit()?;
        self.reader.reload()?;
        self.progress = progress.clone();
        Ok(())
    }

    /// Begins to write files anew from which messages were removed: until then their words are in them, although nobody finds
    /// them. The rest is done by the library's own thread.
    pub(super) fn erase(&mut self) -> Result<(), IndexError> {
        let metas = self.writer.index().searchable_segment_metas()?;
        for meta in metas.iter().filter(|meta| meta.has_deletes()) {
            // Its end is not waited for: one that fails is begun again the next time.
            drop(self.writer.merge(&[meta.id()]));
        }
        Ok(())
    }

    /// Lets go of the folder, once the files that are being merged are written.
    pub(super) fn close(self) {
        // What fails here was written for an index that is opened again, and checked then.
        let _ = self.writer.wait_merging_threads();
    }

    /// Messages that can be found.
    pub(super) fn documents(&self) -> u64 {
        self.reader.searcher().num_docs()
    }
}

/// What a message has that can be asked for, as flags.
pub(super) fn flags_of(message: &StoredMessage) -> Vec<u64> {
    let has = [(FLAG_LINK, has_link(&message.text)), (FLAG_FILE, !message.attachments.is_empty())];
    has.into_iter().filter(|(_, is_there)| *is_there).map(|(flag, _)| flag).collect()
}

/// The flag of something that can be asked for.
pub(super) fn flag_of(has: Has) -> u64 {
    match has {
        Has::Link => FLAG_LINK,
        Has::File => FLAG_FILE,
    }
}

/// Whether there is an address in a text: `http://` or `https://` and something behind it.
fn has_link(text: &str) -> bool {
    let begins = |rest: &str, scheme: &str| {
        rest.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme))
            && rest[scheme.len()..].starts_with(char::is_alphanumeric)
    };
    text.match_indices("://").any(|(at, _)| {
        let from = |length: usize| at.checked_sub(length).and_then(|begin| text.get(begin..));
        from(5).is_some_and(|rest| begins(rest, "https://"))
            || from(4).is_some_and(|rest| begins(rest, "http://"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_links() {
        for text in ["https://example.org", "see HTTP://x.", "(http://a)", "é:// https://b"] {
            assert!(has_link(text), "{text}");
        }
        for text in ["", "http://", "https:// x", "ftp://x", "://x", "http:/x", "ttp://x"] {
            assert!(!has_link(text), "{text}");
        }
    }

    #[test]
    fn words_that_were_replaced_leave_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = Opened::open(dir.path(), "c").unwrap();
        assert!(index.is_new);
        let document = |sequence: u64, text: &str| Document {
            conversation: 1,
            sequence,
            index: sequence,
            time_ms: 0,
            from: 1,
            flags: Vec::new(),
            text: text.to_owned(),
        };
        let progress = Progress { through: 3, ..Progress::new("c") };
        index.change(Change::Add(document(1, "secret"))).unwrap();
        index.change(Change::Add(document(2, "kept"))).unwrap();
        index.change(Change::Add(document(3, "secret too"))).unwrap();
        index.commit(&progress).unwrap();
        index.change(Change::Replace(document(1, "harmless"))).unwrap();
        index.change(Change::Remove(1, 3)).unwrap();
        index.commit(&progress).unwrap();
        assert_eq!(index.documents(), 2);
        let word = Term::from_field_text(index.fields.text, "secret");
        let in_files = |index: &Opened| {
            index.reader.reload().unwrap();
            index.reader.searcher().doc_freq(&word).unwrap()
        };
        assert_eq!(in_files(&index), 2, "nobody finds them, and there they are");
        index.erase().unwrap();
        let end = Instant::now() + std::time::Duration::from_secs(30);
        while in_files(&index) != 0 {
            assert!(Instant::now() < end, "they stay in the files");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(index.documents(), 2);
        drop(index);
        let index = Opened::open(dir.path(), "c").unwrap();
        assert_eq!((index.is_new, &index.progress), (false, &progress), "how far it came is kept");
        drop(index);
        assert!(Opened::open(dir.path(), "another").unwrap().is_new, "of another cluster");
    }

    #[test]
    fn progress_that_was_altered_is_no_progress() {
        let progress = Progress { through: 12, ..Progress::new("c") };
        let payload = progress.encode();
        assert_eq!(Progress::decode(&payload), Some(progress));
        assert_eq!(Progress::decode(&payload.replace("12", "13")), None);
        assert_eq!(Progress::decode(""), None);
    }
}
