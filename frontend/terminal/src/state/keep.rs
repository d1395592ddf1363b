//! The outbox and drafts of one user as files, one an item: two runs do not overwrite each other's, and what both send has
//! one id, which the cluster commits once.

use std::path::{Path, PathBuf};

use quorate_client::proto::frame::User;
use quorate_client::proto::ids::{ClientMessageId, ConversationId};
use quorate_client::{StoredDraft, StoredItem};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Home, Lasts, make_folder, write_file};

/// See the module.
#[derive(Debug, Clone)]
pub struct Keep {
    outbox: PathBuf,
    drafts: PathBuf,
}

impl Keep {
    /// Of this user at the chat whose address has this authority. Number and name: another cluster on the same address may
    /// give the number to somebody else.
    pub fn new(home: &Home, authority: &str, user: &User) -> Self {
        let key = format!("{authority}-{}-{}", user.id, user.name);
        let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        let key: String = key.chars().map(safe).collect();
        Self { outbox: home.dir().join("outbox").join(&key), drafts: home.dir().join("drafts").join(&key) }
    }

    /// Keeps an item of the outbox; false when it cannot be kept, which costs durability, not the message.
    pub fn put_item(&self, item: &StoredItem) -> bool {
        put(&self.outbox, &item.id.to_string(), item, Lasts::PowerCut)
    }

    /// Removes it.
    pub fn remove_item(&self, id: ClientMessageId) {
        // What cannot be removed is sent again under its id at the next start, and is there already.
        let _ = std::fs::remove_file(file(&self.outbox, &id.to_string()));
    }

    /// Everything that former runs left in the outbox.
    pub fn items(&self) -> Vec<StoredItem> {
        all(&self.outbox).into_iter().map(|(_, item)| item).collect()
    }

    /// Keeps a draft, or removes one that is told and empty; false when it cannot be kept.
    pub fn put_draft(&self, conversation: ConversationId, stored: &StoredDraft) -> bool {
        if stored.draft.is_empty() && stored.told {
            let _ = std::fs::remove_file(file(&self.drafts, &conversation.to_string()));
            return true;
        }
        // One is written with every key.
        put(&self.drafts, &conversation.to_string(), stored, Lasts::Program)
    }

    /// Drafts that former runs left.
    pub fn drafts(&self) -> Vec<(ConversationId, StoredDraft)> {
        let drafts = all(&self.drafts).into_iter();
        drafts.filter_map(|(name, draft)| Some((name.parse().ok()?, draft))).collect()
    }
}

fn file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.json"))
}

fn put(dir: &Path, name: &str, value: &impl Serialize, lasts: Lasts) -> bool {
    let Ok(json) = serde_json::to_vec(value) else { return false };
    make_folder(dir).and_then(|()| write_file(&file(dir, name), &json, lasts)).is_ok()
}

/// All that can be read; a file that cannot is left where it is.
fn all<T: DeserializeOwned>(dir: &Path) -> Vec<(String, T)> {
    let Ok(listed) = std::fs::read_dir(dir) else { return Vec::new() };
    let paths = listed.filter_map(|entry| Some(entry.ok()?.path()));
    let read = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.strip_suffix(".json")?.to_owned();
        Some((name, serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?))
    };
    paths.filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_client::Draft;

    fn item(n: u64) -> StoredItem {
        StoredItem {
            id: ClientMessageId::from_slice(&u128::from(n).to_be_bytes()).expect("16 bytes"),
            conversation: 3,
            text: format!("message {n}"),
            reply_to: None,
            created_ms: n,
            place: n,
            first_sent: 0,
            failed: None,
            forward: None,
            attachments: Vec::new(),
        }
    }

    #[test]
    fn what_is_not_committed_survives_the_run_of_its_own_user() {
        let dir = tempfile::tempdir().expect("a folder");
        let home = Home::at(dir.path().to_owned());
        let user = |id, name: &str| User { id, name: name.to_owned(), ..User::default() };
        let keep = Keep::new(&home, "localhost:8080", &user(7, "ana"));
        assert!(keep.put_item(&item(1)) && keep.put_item(&item(2)));
        keep.remove_item(item(1).id);
        keep.remove_item(item(1).id);
        let again = Keep::new(&home, "localhost:8080", &user(7, "ana"));
        assert_eq!(again.items(), [item(2)]);
        for other in [user(7, "../bob"), user(8, "ana")] {
            assert_eq!(Keep::new(&home, "localhost:8080", &other).items(), []);
        }
        std::fs::write(keep.outbox.join("half.json"), "{").expect("written");
        assert_eq!(again.items(), [item(2)], "a damaged one hides no other");
    }

    #[test]
    fn a_draft_goes_when_it_is_empty_and_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let keep = Keep::new(&Home::at(dir.path().to_owned()), "h", &User::default());
        let stored =
            |text: &str, told| StoredDraft { draft: Draft { text: text.to_owned(), reply_to: None }, told };
        assert!(keep.put_draft(5, &stored("begun", false)));
        assert_eq!(keep.drafts(), [(5, stored("begun", false))]);
        assert!(keep.put_draft(5, &stored("", true)));
        assert!(keep.drafts().is_empty());
    }
}
