//! Reading a stopped replica's log from end to end without changing it.

use std::path::Path;
use std::sync::Arc;

use prost::Message as _;
use quorate_proto::rpc;
use raft_log::{Config, Dump, DumpApi as _, RaftLogAction, RaftLogRecord};

use super::log_store::WalTypes;

/// What a log holds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LogSummary {
    /// Entries read, those that were truncated or purged later included.
    pub entries: u64,
    /// Segment files.
    pub segments: u64,
    /// Index of the last entry.
    pub last_index: u64,
    /// The newest vote's term.
    pub term: u64,
    /// What is wrong, a line each.
    pub problems: Vec<String>,
    /// Whether the last record is torn: a write that a power cut met, which the next start cuts off.
    pub torn_tail: bool,
}

/// Reads every record of a log, its checksum verified. The replica must be stopped.
///
/// # Errors
/// In words, when the folder cannot be read or is in use.
pub fn read_log(dir: &Path) -> Result<LogSummary, String> {
    if !dir.exists() {
        return Ok(LogSummary::default());
    }
    let mut config = Config::new(dir.display());
    config.wal.truncate_incomplete_record = Some(false);
    let dump = Dump::<WalTypes>::new(Arc::new(config))
        .map_err(|error| format!("cannot read the log in {}: {error}", dir.display()))?;
    let mut summary = LogSummary::default();
    let mut current = None;
    // The last record, if it could not be read: only at the very end may that be a torn write.
    let mut unread: Option<String> = None;
    let read = dump.write_with(|chunk, place, record| {
        if current != Some(chunk) {
            current = Some(chunk);
            summary.segments += 1;
        }
        if let Some(line) = unread.take() {
            summary.problems.push(line);
        }
        match record {
            Ok((_, record)) => summary.take(record),
            Err(error) => unread = Some(format!("segment {chunk}, record {place}: {error}")),
        }
        Ok(())
    });
    if let Some(line) = unread {
        summary.torn_tail =
            line.contains("UnexpectedEof") || line.contains("EOF") || line.contains("fill whole buffer");
        if !summary.torn_tail {
            summary.problems.push(line);
        }
    }
    read.map_err(|error| format!("cannot read the log in {}: {error}", dir.display()))?;
    Ok(summary)
}

impl LogSummary {
    fn take(&mut self, record: RaftLogRecord<WalTypes>) {
        match record {
            RaftLogRecord::<WalTypes>::Action(RaftLogAction::Append(id, payload)) => {
                self.entries += 1;
                self.last_index = id.0.index();
                let entry = rpc::Entry::decode(payload.message);
                if entry.ok().and_then(|entry| entry.log_id).map(|id| id.index) != Some(id.0.index()) {
                    self.problems.push(format!("entry {} is not what its place says", id.0.index()));
                }
            }
            RaftLogRecord::<WalTypes>::Action(RaftLogAction::SaveVote(vote)) => {
                self.term = vote.0.leader_id.term
            }
            RaftLogRecord::<WalTypes>::Action(RaftLogAction::TruncateAfter(id)) => {
                self.last_index = id.map_or(0, |id| id.0.index());
            }
            _ => {}
        }
    }
}
