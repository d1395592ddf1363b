//! What each replica is known to have acknowledged: so that an old copy of a disk is told from one that is merely late.
//!
//! A replica that forgot what it acknowledged would let a majority forget it. Its own disk cannot tell, so the others remember:
//! the leader sees who acknowledged what, and its heartbeats tell everybody; a candidate remembers who voted for it. Each keeps
//! that in memory and, once a second and at each vote, in a small file. A replica that starts asks ([`super::admission`]).
//!
//! What is compared is (vote, last log id), in this order. Under one vote a log only grows; a replica that has moved on to a
//! later vote may rightly have cut entries of an earlier one. Starts are counted too: a directory that has counted no further
//! than a start the others know of is an older copy, whatever its log says.
//!
//! What remains: an acknowledgement that only the leader knows, for less than a heartbeat, when that leader cannot be asked.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use prost::Message as _;
use quorate_proto::rpc::Acknowledged;

use super::log_check::LogError;
use super::types::{LogId, Vote, log_id_to_wire, vote_to_wire};
use crate::cell::{Cell, CellError};
use crate::failure::{Failure, REPLACE, describe};

/// How often what was heard is brought to disk. It bounds what the whole cluster forgets when all its power fails at once.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// Term and node of a vote; term, node and index of a log id.
type Position = (Option<(u64, u64)>, Option<(u64, u64, u64)>);

/// (vote, last log id), comparable as the module says. Whether the vote was committed makes no difference to a disk's age.
fn position(of: &Acknowledged) -> Position {
    let vote = of.vote.map(|vote| (vote.term, vote.node_id));
    (vote, of.log_id.map(|id| (id.term, id.node_id, id.index)))
}

/// Takes over what is newer of `heard`: position and start, each by itself.
fn raise(known: &mut Acknowledged, heard: &Acknowledged) -> bool {
    let before = *known;
    if position(heard) > position(known) {
        (known.vote, known.log_id) = (heard.vote, heard.log_id);
    }
    if heard.start > known.start {
        (known.start, known.run) = (heard.start, heard.run);
    }
    *known != before
}

/// Why a replica's disk is too old to take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooOld {
    /// It acknowledged more than it has.
    Position,
    /// Its count of starts is behind.
    Start,
}

/// Whether a disk on which `found` is found can be the one of which `known` is known.
pub fn judge(found: &Acknowledged, known: &Acknowledged) -> Result<(), TooOld> {
    if position(known) > position(found) {
        return Err(TooOld::Position);
    }
    let acknowledged = known.vote.is_some() || known.log_id.is_some();
    let counted = known.start > found.start || (known.start == found.start && known.run != found.run);
    // One that has acknowledged nothing may begin again with an empty disk.
    if acknowledged && known.start > 0 && counted {
        return Err(TooOld::Start);
    }
    Ok(())
}

/// The line with which a replica on an old disk ends.
pub struct Refusal<'a> {
    /// Its data directory.
    pub dir: &'a Path,
    /// The replica that told it.
    pub told_by: u64,
    /// What is on its disk.
    pub found: &'a Acknowledged,
    /// What it was told.
    pub known: &'a Acknowledged,
    /// Which of it is the reason.
    pub why: TooOld,
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = |of: &Acknowledged| of.log_id.map_or(0, |id| id.index);
        let term = |of: &Acknowledged| of.vote.map_or(0, |vote| vote.term);
        let (found, known, id) = (self.found, self.known, self.known.replica_id);
        write!(f, "data directory {} is older than what replica {id} acknowledged: ", self.dir.display())?;
        match self.why {
            TooOld::Position => write!(
                f,
                "replica {} knows of index {} in term {}, here are index {} and term {}",
                self.told_by,
                index(known),
                term(known),
                index(found),
                term(found)
            )?,
            TooOld::Start => write!(
                f,
                "replica {} knows of its start number {}, this one is number {}",
                self.told_by, known.start, found.start
            )?,
        }
        write!(f, "; {REPLACE}")
    }
}

/// What this replica leads with: everything that it knows as leader at this moment.
pub type Leading = Box<dyn Fn() -> Vec<Acknowledged> + Send + Sync>;

/// As stored: this replica's own count of starts, what it knows of the others, and why it was refused.
#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(uint64, tag = "1")]
    start: u64,
    #[prost(message, repeated, tag = "2")]
    known: Vec<Acknowledged>,
    #[prost(string, tag = "3")]
    refused: String,
}

#[derive(Debug)]
struct State {
    stored: Stored,
    /// Known since the last save.
    changed: bool,
}

struct Inner {
    own: u64,
    dir: PathBuf,
    run: u64,
    state: Mutex<State>,
    // Taken before `state` when both are held; held while the disk works.
    cell: Mutex<Cell>,
    leading: OnceLock<Leading>,
    failure: Failure,
}

/// This replica's memory of the others. Clones share it.
#[derive(Clone)]
pub struct Memory(Arc<Inner>);

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("own", &self.0.own).finish_non_exhaustive()
    }
}

const NOT_POISONED: &str = "nothing panics while it holds the memory";

/// Acknowledgement of a position, by replica id.
pub fn acknowledged(replica_id: u64, vote: Option<&Vote>, log_id: Option<&LogId>) -> Acknowledged {
    Acknowledged {
        replica_id,
        vote: vote.map(vote_to_wire),
        log_id: log_id.map(log_id_to_wire),
        ..Acknowledged::default()
    }
}

impl Memory {
    /// Opens the memory under a data directory and counts this start. `log_begun` says that there must be one.
    ///
    /// # Errors
    /// When it is damaged or missing, or this directory was refused at an earlier start.
    pub fn open(dir: &Path, own: u64, log_begun: bool) -> Result<Self, LogError> {
        let path = dir.join("peers.known");
        let failed = |source| LogError::Io { dir: dir.to_owned(), source };
        let damaged = |what: &str| LogError::Damaged { file: path.clone(), what: what.to_owned() };
        let (mut cell, mut stored) = match Cell::open(&path) {
            Ok(Some((cell, content))) => {
                (cell, Stored::decode(content.as_slice()).map_err(|_| damaged("its content cannot be read"))?)
            }
            Ok(None) if log_begun => return Err(damaged("it is missing")),
            Ok(None) => (Cell::create(&path, &[]).map_err(failed)?, Stored::default()),
            Err(CellError::Damaged(_)) => return Err(damaged("neither copy of it can be read")),
            Err(CellError::Io { source, .. }) => return Err(failed(source)),
        };
        if !stored.refused.is_empty() {
            return Err(LogError::Refused(stored.refused));
        }
        stored.start += 1;
        cell.write(&stored.encode_to_vec()).map_err(failed)?;
        let mut run = [0; 8];
        getrandom::fill(&mut run).map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        Ok(Self(Arc::new(Inner {
            own,
            dir: dir.to_owned(),
            run: u64::from_be_bytes(run),
            state: Mutex::new(State { stored, changed: false }),
            cell: Mutex::new(cell),
            leading: OnceLock::new(),
            failure: Failure::default(),
        })))
    }

    /// Where failures of the disk are told.
    pub fn failure(&self) -> &Failure {
        &self.0.failure
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// From now on, what this replica knows as leader is asked for when it is needed. Only the first source counts.
    pub fn learn_from(&self, leading: Leading) {
        let _ = self.0.leading.set(leading);
    }

    /// What this replica finds on its own disk, for the others to judge.
    pub fn found(&self, vote: Option<&Vote>, last: Option<&LogId>) -> Acknowledged {
        let start = self.0.state.lock().expect(NOT_POISONED).stored.start;
        Acknowledged { start, run: self.0.run, ..acknowledged(self.0.own, vote, last) }
    }

    /// Others said, or showed, that these acknowledged so much.
    pub fn heard(&self, of: &[Acknowledged]) {
        let mut state = self.0.state.lock().expect(NOT_POISONED);
        for heard in of.iter().filter(|heard| heard.replica_id != self.0.own) {
            state.changed |= match state.stored.known.iter_mut().find(|k| k.replica_id == heard.replica_id) {
                Some(known) => raise(known, heard),
                None => {
                    state.stored.known.push(*heard);
                    true
                }
            };
        }
    }

    fn refresh(&self) -> Vec<Acknowledged> {
        let led = self.0.leading.get().map(|leading| leading()).unwrap_or_default();
        self.heard(&led);
        led
    }

    /// Everything known, for a heartbeat; what this replica itself has on disk as leader included.
    pub fn tell(&self) -> Vec<Acknowledged> {
        let own = self.refresh().into_iter().filter(|of| of.replica_id == self.0.own);
        let own: Vec<_> = own.collect();
        let mut all = self.0.state.lock().expect(NOT_POISONED).stored.known.clone();
        all.extend(own);
        all
    }

    /// Answers a replica that starts: what was known of it before. Its start is remembered, unless its disk is too old.
    pub async fn answer(&self, found: &Acknowledged) -> Acknowledged {
        self.refresh();
        let nothing = Acknowledged { replica_id: found.replica_id, ..Acknowledged::default() };
        let known = {
            let state = self.0.state.lock().expect(NOT_POISONED);
            state.stored.known.iter().find(|k| k.replica_id == found.replica_id).copied().unwrap_or(nothing)
        };
        if judge(found, &known).is_ok() {
            self.heard(&[Acknowledged { start: found.start, run: found.run, ..nothing }]);
            self.save().await;
        }
        known
    }

    /// Remembers for good that this directory must not be started again.
    pub async fn refuse(&self, line: &str) {
        {
            let mut state = self.0.state.lock().expect(NOT_POISONED);
            state.stored.refused = line.to_owned();
            state.changed = true;
        }
        self.save().await;
    }

    /// Brings what is known to disk, if it has changed.
    pub async fn save(&self) {
        let memory = self.clone();
        let saved = super::blocking(move || memory.save_blocking()).await;
        if saved.is_err() {
            self.0.failure.tell("saving what the other replicas acknowledged has panicked");
        }
    }

    fn save_blocking(&self) {
        let mut cell = self.0.cell.lock().expect(NOT_POISONED);
        let stored = {
            let mut state = self.0.state.lock().expect(NOT_POISONED);
            if !std::mem::take(&mut state.changed) {
                return;
            }
            state.stored.encode_to_vec()
        };
        if let Err(error) = cell.write(&stored) {
            self.0.failure.tell(describe("saving what the other replicas acknowledged", &self.0.dir, &error));
        }
    }

    /// Saves once a second for as long as this replica runs.
    pub async fn keep(self) {
        loop {
            tokio::time::sleep(SAVE_INTERVAL).await;
            if self.0.failure.told().is_some() {
                return;
            }
            self.refresh();
            self.save().await;
        }
    }
}

/// What a leader knows from consensus: the matched log ids under its vote.
pub fn led(vote: &Vote, matched: &BTreeMap<u64, Option<LogId>>) -> Vec<Acknowledged> {
    // One that has matched nothing yet may not even have heard of this vote.
    let acknowledged_some = matched.iter().filter(|(_, log_id)| log_id.is_some());
    acknowledged_some.map(|(id, log_id)| acknowledged(*id, Some(vote), log_id.as_ref())).collect()
}

#[cfg(test)]
mod tests {
    use quorate_proto::rpc;

    use super::*;

    fn at(term: u64, log: Option<(u64, u64)>, start: u64, run: u64) -> Acknowledged {
        let log_id = log.map(|(term, index)| rpc::LogId { term, node_id: 1, index });
        let vote = (term > 0).then_some(rpc::Vote { term, node_id: 1, committed: false });
        Acknowledged { replica_id: 2, vote, log_id, start, run }
    }

    #[test]
    fn only_a_disk_that_is_behind_is_too_old() {
        let known = at(5, Some((5, 100)), 3, 33);
        assert_eq!(judge(&at(5, Some((5, 100)), 4, 44), &known), Ok(()));
        assert_eq!(judge(&at(5, Some((5, 150)), 4, 44), &known), Ok(()));
        assert_eq!(judge(&at(5, Some((5, 99)), 4, 44), &known), Err(TooOld::Position));
        assert_eq!(judge(&at(5, Some((4, 900)), 4, 44), &known), Err(TooOld::Position));
        assert_eq!(
            judge(&at(4, Some((5, 100)), 4, 44), &known),
            Err(TooOld::Position),
            "a vote was forgotten"
        );
        assert_eq!(judge(&at(6, Some((4, 90)), 4, 44), &known), Ok(()), "a later leader cut its log");
        assert_eq!(judge(&at(5, Some((5, 100)), 3, 33), &known), Ok(()), "the same start asks again");
        assert_eq!(
            judge(&at(5, Some((5, 100)), 3, 34), &known),
            Err(TooOld::Start),
            "a copy of before that start"
        );
        assert_eq!(judge(&at(5, Some((5, 100)), 2, 22), &known), Err(TooOld::Start));
    }

    #[test]
    fn an_empty_disk_is_refused_once_anything_was_acknowledged() {
        let empty = at(0, None, 1, 11);
        assert_eq!(judge(&empty, &Acknowledged::default()), Ok(()), "new, or a learner to be");
        assert_eq!(judge(&empty, &at(0, None, 7, 77)), Ok(()), "it started before, but acknowledged nothing");
        assert_eq!(judge(&empty, &at(1, None, 1, 12)), Err(TooOld::Position), "it voted");
        assert_eq!(judge(&empty, &at(1, Some((1, 0)), 1, 12)), Err(TooOld::Position));
    }

    #[tokio::test]
    async fn what_was_heard_survives_a_restart_and_never_goes_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let memory = Memory::open(dir.path(), 1, false).expect("opens");
        assert_eq!(memory.found(None, None).start, 1);
        memory.heard(&[at(5, Some((5, 100)), 0, 0)]);
        memory.heard(&[at(5, Some((5, 90)), 0, 0), Acknowledged { replica_id: 1, ..at(9, None, 0, 0) }]);
        assert_eq!(memory.tell(), [at(5, Some((5, 100)), 0, 0)], "nothing of itself");
        let answered = memory.answer(&at(5, Some((5, 120)), 3, 33)).await;
        assert_eq!(answered, at(5, Some((5, 100)), 0, 0), "as it was before that start was registered");
        memory.answer(&at(5, Some((5, 10)), 9, 99)).await;
        drop(memory);
        let memory = Memory::open(dir.path(), 1, true).expect("opens again");
        assert_eq!(memory.found(None, None).start, 2, "starts are counted");
        assert_eq!(memory.tell(), [at(5, Some((5, 100)), 3, 33)], "a disk that is too old registers nothing");
        memory.refuse("too old").await;
        drop(memory);
        let refused = Memory::open(dir.path(), 1, true).expect_err("refused for good");
        assert_eq!(refused.to_string(), "too old");
        std::fs::remove_file(dir.path().join("peers.known")).expect("removes");
        assert!(Memory::open(dir.path(), 1, true).expect_err("missing").to_string().contains("missing"));
    }
}
