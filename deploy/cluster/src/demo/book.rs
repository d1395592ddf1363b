//! `demo.json` of a data directory: who was made for the demo, with which passwords, and how far the seeding has come.
//!
//! Written before each thing that is done, readable by its owner alone. The passwords are drawn here and stand nowhere else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use quorate_proto::ids::{ConversationId, Sequence};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Attempt, Error, Result};
use crate::layout::write_atomically;

/// Random bytes of a password, a code or a token.
pub(crate) const SECRET_BYTES: usize = 24;
/// Commands that one step may need.
const PARTS_MAX: u32 = 64;

/// See the module. Its `Debug` shows no password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Book {
    /// Where the ids of all commands count from.
    seed: Uuid,
    /// User name → password.
    passwords: BTreeMap<String, String>,
    /// Steps of the story that were carried out.
    pub(crate) done: u32,
    /// Conversations by the story's names for them.
    pub(crate) rooms: BTreeMap<String, ConversationId>,
    /// Messages that the story comes back to, by its names for them.
    pub(crate) messages: BTreeMap<String, Sequence>,
    /// The newest message of each of those conversations.
    pub(crate) newest: BTreeMap<String, Sequence>,
    #[serde(skip)]
    path: PathBuf,
}

impl std::fmt::Debug for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Book").field("done", &self.done).field("path", &self.path).finish_non_exhaustive()
    }
}

impl Book {
    /// The book at `path`, or a new one; everybody in `names` has a password afterwards.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(crate) fn open<'a>(path: &Path, names: impl Iterator<Item = &'a str>) -> Result<Self> {
        let mut book = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                Error::Usage(format!(
                    "{} is damaged ({error}): choose another --data-dir for the demo",
                    path.display()
                ))
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self {
                seed: Uuid::new_v4(),
                passwords: BTreeMap::new(),
                done: 0,
                rooms: BTreeMap::new(),
                messages: BTreeMap::new(),
                newest: BTreeMap::new(),
                path: PathBuf::new(),
            },
            Err(error) => return Err(Error::Usage(format!("cannot read {}: {error}", path.display()))),
        };
        path.clone_into(&mut book.path);
        for name in names {
            if !book.passwords.contains_key(name) {
                book.passwords.insert(name.to_owned(), random_hex()?);
            }
        }
        book.save()?;
        Ok(book)
    }

    /// Writes it down.
    ///
    /// # Errors
    /// When that is not possible.
    pub(crate) fn save(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).expect("plain fields serialize");
        write_atomically(&self.path, &text)
    }

    /// The password of one of the demo's people.
    ///
    /// # Errors
    /// When she is none of them.
    pub(crate) fn password(&self, name: &str) -> Result<&str> {
        let password = self.passwords.get(name).map(String::as_str);
        password.ok_or_else(|| Error::Failed(format!("{name} is none of the demo's people")))
    }

    /// The id of a command: the same whenever its step is tried again.
    pub(crate) fn key(&self, step: u32, part: u32) -> Uuid {
        let place = u128::from(step) * u128::from(PARTS_MAX) + u128::from(part % PARTS_MAX);
        Uuid::from_u128(self.seed.as_u128().wrapping_add(place))
    }
}

/// A secret drawn at random, in hex.
///
/// # Errors
/// When the system gives no randomness.
pub(crate) fn random_hex() -> Result<String> {
    let mut bytes = [0u8; SECRET_BYTES];
    getrandom::fill(&mut bytes).attempt(|| "get random bytes".to_owned())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn passwords_are_random_kept_and_their_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (here, there) = (dir.path().join("one.json"), dir.path().join("two.json"));
        let book = Book::open(&here, ["ada", "ben"].into_iter()).unwrap();
        assert_ne!(book.password("ada").unwrap(), book.password("ben").unwrap());
        assert_eq!(std::fs::metadata(&here).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Book::open(&here, ["ada", "ben"].into_iter()).unwrap(), book);
        let other = Book::open(&there, ["ada"].into_iter()).unwrap();
        assert_ne!(other.password("ada").unwrap(), book.password("ada").unwrap());
        assert!(book.password("eve").is_err());
        assert!(!format!("{book:?}").contains(book.password("ada").unwrap()));
        // Who is new to the story gets a password, and the others keep theirs.
        let grown = Book::open(&here, ["ada", "ben", "eve"].into_iter()).unwrap();
        assert_eq!(grown.password("ada").unwrap(), book.password("ada").unwrap());
        assert!(grown.password("eve").is_ok());
    }

    #[test]
    fn every_command_has_an_id_of_its_own_which_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("demo.json");
        let book = Book::open(&path, std::iter::empty()).unwrap();
        let keys: BTreeSet<Uuid> = (0..40)
            .flat_map(|step| (0..64).map(move |part| (step, part)))
            .map(|(step, part)| book.key(step, part))
            .collect();
        assert_eq!(keys.len(), 40 * 64);
        assert_eq!(Book::open(&path, std::iter::empty()).unwrap().key(7, 3), book.key(7, 3));
    }

    #[test]
    fn a_damaged_book_is_one_line_that_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("demo.json");
        std::fs::write(&path, "{").unwrap();
        let error = Book::open(&path, std::iter::empty()).unwrap_err().to_string();
        assert!(error.contains("--data-dir") && !error.contains('\n'), "{error}");
    }
}
