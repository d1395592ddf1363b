//! What was uploaded and is not committed yet: which chunk is which part of which file, and whose.
//!
//! A record on each replica's own disk and in no log: the receipts of a commit are read from here, whichever gateway asks. That a
//! user can make files only of chunks that she has sent herself follows from it: a hash that she knows leads to nothing. A record
//! is written after its chunk is on disk and not synced: one that a power cut takes costs a chunk that is sent again.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use quorate_proto::limits::{FILES_BYTES_PER_USER_MAX, UPLOADS_PER_USER_MAX};

use super::chunks::{Hash, hex};
use super::committed::Places;

/// Bytes of the user's id, before the records.
const HEAD: usize = 8;
/// Bytes of a record: number, hash, size, log time, CRC-32 of these.
const RECORD: usize = 4 + 32 + 4 + 8 + 4;

/// A file's id.
pub type FileId = [u8; 16];

/// One part of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The chunk.
    pub hash: Hash,
    /// Its bytes.
    pub size: u32,
    /// Log time when it was received.
    pub received_ms: u64,
}

/// Why a part is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is somebody else's.
    #[error("this file is somebody else's")]
    NotYours,
    /// The user has too much that is not committed.
    #[error(
        "you have too many uploads that are not committed: commit them, or wait until the oldest are forgotten"
    )]
    TooMuch,
}

#[derive(Debug, Default)]
struct Upload {
    user_id: u64,
    parts: BTreeMap<u32, Part>,
    /// Every place of committed files below this number was compared with it, or was there before any of its parts. Not on disk:
    /// after a start all are looked at once more.
    looked_to: u64,
}

impl Upload {
    fn bytes(&self) -> u64 {
        self.parts.values().map(|part| u64::from(part.size)).sum()
    }

    fn last_ms(&self) -> u64 {
        self.parts.values().map(|part| part.received_ms).max().unwrap_or(0)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Uploads {
    dir: PathBuf,
    open: Mutex<HashMap<FileId, Upload>>,
}

fn encode(number: u32, part: &Part) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..4].copy_from_slice(&number.to_be_bytes());
    record[4..36].copy_from_slice(&part.hash);
    record[36..40].copy_from_slice(&part.size.to_be_bytes());
    record[40..48].copy_from_slice(&part.received_ms.to_be_bytes());
    let crc = crc32fast::hash(&record[..48]);
    record[48..].copy_from_slice(&crc.to_be_bytes());
    record
}

fn decode(record: &[u8]) -> Option<(u32, Part)> {
    let word = |at: usize| Some(u32::from_be_bytes(record.get(at..at + 4)?.try_into().ok()?));
    if word(48)? != crc32fast::hash(record.get(..48)?) {
        return None;
    }
    let hash = record[4..36].try_into().ok()?;
    let received_ms = u64::from_be_bytes(record[40..48].try_into().ok()?);
    Some((word(0)?, Part { hash, size: word(36)?, received_ms }))
}

fn id_of(name: &str) -> Option<FileId> {
    (name.len() == 32).then(|| u128::from_str_radix(name, 16).ok()).flatten().map(u128::to_be_bytes)
}

fn read(path: &Path) -> Option<Upload> {
    let bytes = fs::read(path).ok()?;
    let user_id = u64::from_be_bytes(bytes.get(..HEAD)?.try_into().ok()?);
    let records = bytes[HEAD..].chunks_exact(RECORD);
    // What was being written when the power went is left out; it is the end, or a page in the middle.
    Some(Upload { user_id, parts: records.filter_map(decode).collect(), looked_to: 0 })
}

impl Uploads {
    /// Reads what there is.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut open = HashMap::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let id = entry.file_name().to_str().and_then(id_of);
            match id.zip(read(&entry.path())) {
                Some((id, upload)) => drop(open.insert(id, upload)),
                None => fs::remove_file(entry.path())?,
            }
        }
        Ok(Self { dir: dir.to_owned(), open: Mutex::new(open) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FileId, Upload>> {
        self.open.lock().expect("no holder of this lock panics")
    }

    fn path(&self, id: &FileId) -> PathBuf {
        self.dir.join(hex(id))
    }

    /// Whether a part of so many bytes would be taken.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn check(&self, user_id: u64, id: &FileId, bytes: u64) -> Result<(), Refused> {
        let open = self.lock();
        let known = open.get(id);
        if known.is_some_and(|upload| upload.user_id != user_id) {
            return Err(Refused::NotYours);
        }
        let own = open.values().filter(|upload| upload.user_id == user_id);
        let (count, sum) = own.fold((0, bytes), |(count, sum), upload| (count + 1, sum + upload.bytes()));
        if (known.is_none() && count >= UPLOADS_PER_USER_MAX) || sum > FILES_BYTES_PER_USER_MAX {
            return Err(Refused::TooMuch);
        }
        Ok(())
    }

    /// Notes a part whose chunk is on disk. `next_place` is as of when it was decided to keep it: its file may have been committed
    /// since, and deleted.
    ///
    /// # Errors
    /// When the disk fails; it may be sent again.
    pub fn add(&self, user_id: u64, id: &FileId, number: u32, part: Part, next_place: u64) -> io::Result<()> {
        let mut open = self.lock();
        let begun = || Upload { user_id, looked_to: next_place, ..Upload::default() };
        let upload = open.entry(*id).or_insert_with(begun);
        if upload.user_id != user_id {
            return Err(io::Error::other("this file is somebody else's"));
        }
        upload.looked_to = upload.looked_to.min(next_place);
        let append = || {
            let mut file = OpenOptions::new().create(true).append(true).open(self.path(id))?;
            if file.metadata()?.len() == 0 {
                file.write_all(&user_id.to_be_bytes())?;
                // After the folder was emptied: what else is known of this upload.
                for (number, part) in &upload.parts {
                    file.write_all(&encode(*number, part))?;
                }
            }
            file.write_all(&encode(number, &part))
        };
        match append() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&self.dir)?;
                append()?;
            }
            result => result?,
        }
        upload.parts.insert(number, part);
        Ok(())
    }

    /// The parts of a user's upload, in order of numbers.
    ///
    /// # Errors
    /// When it is somebody else's.
    pub fn parts(&self, user_id: u64, id: &FileId) -> Result<BTreeMap<u32, Part>, Refused> {
        match self.lock().get(id) {
            Some(upload) if upload.user_id == user_id => Ok(upload.parts.clone()),
            Some(_) => Err(Refused::NotYours),
            None => Ok(BTreeMap::new()),
        }
    }

    /// Every upload with the log time of its newest part.
    pub fn all(&self) -> Vec<(FileId, u64)> {
        self.lock().iter().map(|(id, upload)| (*id, upload.last_ms())).collect()
    }

    /// Forgets a user's uploads whose files were committed, whether these are still there or not. `read` gives the places of
    /// committed files from a number on; each is looked at once for all of her uploads, so calling it again costs only what
    /// was committed since.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn forget_committed<E>(
        &self,
        user_id: u64,
        read: impl Fn(u64) -> Result<Places, E>,
    ) -> Result<(), E> {
        while let Some(from) = self.looked_to(user_id) {
            let places = read(from)?;
            if places.next <= from {
                break;
            }
            self.compare(user_id, from, &places);
        }
        Ok(())
    }

    /// The first place that was not compared with each upload of a user; `None` when she has none.
    fn looked_to(&self, user_id: u64) -> Option<u64> {
        let open = self.lock();
        open.values().filter(|upload| upload.user_id == user_id).map(|upload| upload.looked_to).min()
    }

    /// Forgets those uploads of a user that these places show as committed; they were read from this number on.
    fn compare(&self, user_id: u64, from: u64, places: &Places) {
        let mut open = self.lock();
        for place in &places.found {
            // Parts that came after it belong to another file under the id of one that was deleted.
            let is_committed = |upload: &Upload| {
                upload.user_id == user_id
                    && upload.looked_to <= place.number
                    && upload.last_ms() <= place.log_time_ms
            };
            if open.get(&place.id).is_some_and(is_committed) {
                self.remove(&mut open, &place.id);
            }
        }
        for upload in open.values_mut().filter(|upload| upload.user_id == user_id) {
            // One whose part came late, while places were read, begins before them.
            if upload.looked_to >= from {
                upload.looked_to = upload.looked_to.max(places.next);
            }
        }
    }

    /// Forgets an upload: it was committed, or is too old.
    pub fn forget(&self, id: &FileId) {
        self.remove(&mut self.lock(), id);
    }

    fn remove(&self, open: &mut HashMap<FileId, Upload>, id: &FileId) {
        open.remove(id);
        if let Err(error) = fs::remove_file(self.path(id))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "the record of an upload could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::committed::Place;

    const ID: FileId = [7; 16];

    fn part(number: u8) -> Part {
        Part { hash: [number; 32], size: 1_000, received_ms: 5_000 + u64::from(number) }
    }

    #[test]
    fn an_upload_goes_on_after_a_start_and_a_torn_record_is_left_out() {
        let dir = tempfile::tempdir().expect("a folder");
        let uploads = Uploads::open(dir.path()).expect("opens");
        for number in [0, 2, 1] {
            uploads.add(9, &ID, u32::from(number), part(number), 0).expect("noted");
        }
        uploads.add(9, &ID, 1, part(5), 0).expect("noted");
        let again = Uploads::open(dir.path()).expect("opens");
        let parts: Vec<_> = again.parts(9, &ID).expect("hers").into_iter().collect();
        assert_eq!(parts, [(0, part(0)), (1, part(5)), (2, part(2))], "the newest counts");
        assert_eq!(again.all(), [(ID, 5_005)]);
        let path = again.path(&ID);
        let mut bytes = fs::read(&path).expect("there");
        bytes.truncate(bytes.len() - 3);
        bytes[HEAD + 2 * RECORD + 7] ^= 1;
        fs::write(&path, bytes).expect("written");
        fs::write(dir.path().join("stranger"), b"?").expect("written");
        let torn = Uploads::open(dir.path()).expect("opens");
        let parts: Vec<u32> = torn.parts(9, &ID).expect("hers").into_keys().collect();
        assert_eq!(parts, [0, 2]);
        assert!(!dir.path().join("stranger").exists());
        torn.forget(&ID);
        assert_eq!(Uploads::open(dir.path()).expect("opens").all(), []);
    }

    #[test]
    fn an_upload_is_its_users_and_bounded() {
        let dir = tempfile::tempdir().expect("a folder");
        let uploads = Uploads::open(dir.path()).expect("opens");
        uploads.add(9, &ID, 0, part(0), 0).expect("noted");
        assert_eq!(uploads.check(8, &ID, 1), Err(Refused::NotYours));
        assert_eq!(uploads.parts(8, &ID), Err(Refused::NotYours));
        assert!(uploads.add(8, &ID, 1, part(1), 0).is_err());
        assert_eq!(uploads.check(9, &ID, FILES_BYTES_PER_USER_MAX), Err(Refused::TooMuch));
        assert_eq!(uploads.check(9, &ID, FILES_BYTES_PER_USER_MAX - 1_000), Ok(()));
        for number in 1..UPLOADS_PER_USER_MAX {
            uploads.add(9, &[number as u8; 16], 0, part(0), 0).expect("noted");
        }
        assert_eq!(uploads.all().len(), UPLOADS_PER_USER_MAX - 1, "7 is among them");
        uploads.add(9, &[200; 16], 0, part(0), 0).expect("noted");
        assert_eq!(uploads.check(9, &[201; 16], 1), Err(Refused::TooMuch));
        assert_eq!(uploads.check(9, &ID, 1), Ok(()), "what has begun goes on");
        assert_eq!(uploads.check(8, &[201; 16], 1), Ok(()));
        uploads.add(8, &[202; 16], 0, part(0), 0).expect("noted");
        let place = |(number, id)| Place { number, id: [id; 16], log_time_ms: 5_000 };
        let committed = [(3, 202), (4, 200)].map(place);
        let read = |from: u64| {
            let found = committed.into_iter().filter(|place| place.number >= from).collect();
            Ok::<Places, ()>(Places { found, next: 5 })
        };
        uploads.forget_committed(9, read).expect("known");
        assert_eq!(uploads.check(9, &[201; 16], 1), Ok(()), "what is committed makes room");
        assert_eq!(uploads.parts(8, &[202; 16]).expect("hers").len(), 1, "and of her alone");
        uploads.add(9, &[200; 16], 0, part(0), 0).expect("noted");
        // The folder goes while this runs.
        fs::remove_dir_all(dir.path()).expect("removed");
        uploads.add(9, &ID, 1, part(1), 0).expect("noted");
        let again = Uploads::open(dir.path()).expect("opens");
        assert_eq!(again.parts(9, &ID).expect("hers").len(), 2);
    }
}
