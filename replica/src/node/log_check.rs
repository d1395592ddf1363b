//! Whether the log's files are what was written: told before the log is opened, and before anything is changed.
//!
//! A power cut may leave anything of what was not synced: a short record, zeros, holes, garbage. That is a torn tail, and it is
//! cut. The same damage in what *was* synced is rot, and cutting there would forget what this replica acknowledged: it is
//! refused. Two things tell them apart, neither of which costs a sync of its own:
//!
//! - the mark, a file beside the log that says how far it had been synced, at most a second ago (and exactly so after an orderly
//!   stop);
//! - every entry carries how far the log had been synced when it was written, so an entry proves all before that place.
//!
//! What remains is the last write that was synced but is neither proven by a later entry nor by the mark: there rot looks like a
//! tear. The other replicas know what this one acknowledged, and that is asked at every start ([`super::recall`]).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use raft_log::codeq::Decode as _;
use raft_log::{RaftLogAction, RaftLogRecord};

use super::log_store::WalTypes;
use crate::failure::{REPLACE, describe_start};
use crate::store::sync_dir;

/// How an entry's record begins: its kind as a number of four bytes.
const APPEND_KIND: [u8; 4] = [0, 0, 0, 1];

/// Why the log is not opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// What is on disk is not what was written.
    #[error("{} is damaged ({what}): {REPLACE}", file.display())]
    Damaged {
        /// Which file, or the folder when a file is missing.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// This directory was refused at an earlier start.
    #[error("{0}")]
    Refused(String),
    /// The operating system refused.
    #[error("{}", describe_start("opening the log", dir, source))]
    Io {
        /// Where.
        dir: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// A file of the log.
#[derive(Debug)]
struct Segment {
    path: PathBuf,
    /// Where it begins in the whole log; its name says so.
    start: u64,
    length: u64,
}

impl Segment {
    fn end(&self) -> u64 {
        self.start + self.length
    }

    fn damaged(&self, what: impl Into<String>) -> LogError {
        LogError::Damaged { file: self.path.clone(), what: what.into() }
    }
}

/// What is done to a torn tail once everything has been looked at.
#[derive(Debug)]
enum Mend {
    Remove(PathBuf),
    Cut(PathBuf, u64),
}

fn segments(dir: &Path) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Ok(start) = raft_log::chunked_wal::Config::parse_chunk_file_name(&name.to_string_lossy()) else {
            continue;
        };
        found.push(Segment { path: entry.path(), start, length: entry.metadata()?.len() });
    }
    found.sort_by_key(|segment| segment.start);
    Ok(found)
}

/// Bytes of whole records at the beginning.
fn whole_records(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while !rest.is_empty() {
        let mut after = rest;
        if RaftLogRecord::<WalTypes>::decode(&mut after).is_err() {
            break;
        }
        rest = after;
    }
    bytes.len() - rest.len()
}

/// How far the entries in there prove the log to have been synced; wherever they begin, since damage hides that.
fn proven(bytes: &[u8]) -> u64 {
    let candidates = bytes.windows(APPEND_KIND.len()).enumerate().filter(|(_, kind)| **kind == APPEND_KIND);
    let proofs = candidates.filter_map(|(at, _)| match RaftLogRecord::<WalTypes>::decode(&bytes[at..]) {
        Ok(RaftLogRecord::<WalTypes>::Action(RaftLogAction::Append(_, record))) => Some(record.synced_before),
        _ => None,
    });
    proofs.max().unwrap_or(0)
}

/// Looks at the log's files, cuts a torn tail, and brings what is left to disk. `synced` is what the mark says: all before was on
/// disk. Returns where the log ends; all of it is on disk then.
///
/// # Errors
/// [`LogError::Damaged`] when something is wrong that no power cut can have done; nothing is changed then.
pub fn check(dir: &Path, synced: u64) -> Result<u64, LogError> {
    let failed = |source| LogError::Io { dir: dir.to_owned(), source };
    let mut segments = segments(dir).map_err(failed)?;
    if segments.is_empty() && synced > 0 {
        let what = format!("its files are missing, {synced} bytes had been synced");
        return Err(LogError::Damaged { file: dir.to_owned(), what });
    }
    let mut mends = Vec::new();
    // The last file may end torn; so may the one before, when the last was only just begun and holds no whole record.
    while let Some(last) = segments.last_mut() {
        let bytes = fs::read(&last.path).map_err(failed)?;
        let whole = whole_records(&bytes);
        let end = last.start + whole as u64;
        if whole < bytes.len() {
            let what = format!("a record at byte {whole} is not what was written");
            if synced.max(proven(&bytes[whole..])) > end {
                return Err(last.damaged(what));
            }
            tracing::warn!(file = %last.path.display(), from = whole, bytes = bytes.len(), "cutting a torn tail");
        }
        if whole > 0 {
            if whole < bytes.len() {
                mends.push(Mend::Cut(last.path.clone(), whole as u64));
                last.length = whole as u64;
            }
            break;
        }
        if synced > last.start {
            return Err(last.damaged("it is empty"));
        }
        mends.push(Mend::Remove(last.path.clone()));
        segments.pop();
    }
    let end = segments.last().map_or(0, Segment::end);
    if synced > end {
        let file = segments.last().map_or(dir.to_owned(), |last| last.path.clone());
        let what = format!("the log ends at byte {end}, and {synced} had been synced");
        return Err(LogError::Damaged { file, what });
    }
    for pair in segments.windows(2) {
        let [one, next] = pair else { continue };
        if one.end() != next.start {
            let what = format!("the log goes on at byte {}, this file ends at {}", next.start, one.end());
            return Err(one.damaged(what));
        }
    }
    for mend in mends {
        match mend {
            Mend::Remove(path) => fs::remove_file(&path).and_then(|()| sync_dir(&path)),
            Mend::Cut(path, length) => OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|file: File| file.set_len(length).and_then(|()| file.sync_all())),
        }
        .map_err(failed)?;
    }
    for segment in segments.iter().filter(|segment| segment.end() > synced) {
        write_anew(segment).map_err(failed)?;
    }
    Ok(end)
}

/// Writes a file again and syncs it: what was read of it may only be in the kernel's memory. After a sync that failed Linux takes
/// such pages for clean, so that syncing the file itself would say yes and do nothing.
fn write_anew(segment: &Segment) -> io::Result<()> {
    let aside = segment.path.with_extension("anew");
    fs::copy(&segment.path, &aside)?;
    File::open(&aside)?.sync_all()?;
    fs::rename(&aside, &segment.path)?;
    sync_dir(&segment.path)
}

/// The damage that kept the log from being opened, by file and place; `None` when every record can be read.
pub fn locate(dir: &Path) -> Option<LogError> {
    for segment in segments(dir).ok()? {
        let Ok(bytes) = fs::read(&segment.path) else { continue };
        let whole = whole_records(&bytes);
        if whole < bytes.len() {
            return Some(segment.damaged(format!("a record at byte {whole} is not what was written")));
        }
    }
    None
}
