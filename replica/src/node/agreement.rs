//! Whether replicas that applied the same entries have the same state. The verdict is pure; the marker is one file.
//!
//! The running hash folds each entry, its outcome and the state's sum, so equal hashes at one index say that everything up to
//! there was alike. Only a majority of the voters can say who is wrong: who differs from it stops, the leader too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::store::write_synced;

/// In the data directory of a replica that was outvoted.
const MARKER: &str = "disagreement";

/// What the hashes at one index come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everybody who answered has the same.
    Agreed,
    /// A majority of the voters has another hash than this replica, and this is theirs.
    Outvoted(String),
    /// These differ from this replica; either a majority is on its side, or there is none.
    Apart(Vec<u64>),
}

/// Judges hashes at one index: `own` and what others said. Hashes of replicas that are no voters are judged but do not count.
pub fn judge(id: u64, own: &str, others: &BTreeMap<u64, String>, voters: &BTreeSet<u64>) -> Verdict {
    let majority = voters.len() / 2 + 1;
    let apart: Vec<u64> = others.iter().filter(|(_, hash)| *hash != own).map(|(other, _)| *other).collect();
    if apart.is_empty() {
        return Verdict::Agreed;
    }
    let mut votes = BTreeMap::<&str, usize>::new();
    for (voter, hash) in others.iter().map(|(other, hash)| (*other, hash.as_str())).chain([(id, own)]) {
        if voters.contains(&voter) {
            *votes.entry(hash).or_default() += 1;
        }
    }
    match votes.into_iter().find(|(_, count)| *count >= majority) {
        Some((theirs, _)) if theirs != own => Verdict::Outvoted(theirs.to_owned()),
        _ => Verdict::Apart(apart),
    }
}

fn marker(data_dir: &Path) -> PathBuf {
    data_dir.join(MARKER)
}

/// Writes down that this data directory is wrong, so that no start uses it again, and returns the line.
pub fn outvoted(data_dir: &Path, index: u64, own: &str, theirs: &str) -> String {
    let line = format!(
        "at index {index} this replica has state hash {own} and a majority has {theirs}: its data directory is not to be used \
         any more; replace this replica under a new id with an empty one (replica member replace)"
    );
    if let Err(error) = write_synced(&marker(data_dir), &line) {
        tracing::error!(%error, "cannot write the marker that refuses the next start");
    }
    line
}

/// # Errors
/// The line of an earlier verdict, when this data directory was found wrong.
pub fn check(data_dir: &Path) -> Result<(), String> {
    match std::fs::read_to_string(marker(data_dir)) {
        Ok(line) => Err(format!("refusing data directory {}: {line}", data_dir.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("cannot read {}: {error}", marker(data_dir).display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(id: u64, hashes: &[&str], voters: u64) -> Verdict {
        let mut said: BTreeMap<u64, String> = (1..).zip(hashes.iter().map(|hash| hash.to_string())).collect();
        said.retain(|_, hash| !hash.is_empty());
        let own = said.remove(&id).expect("own hash");
        judge(id, &own, &said, &(1..=voters).collect())
    }

    #[test]
    fn the_minority_stops_and_the_majority_goes_on() {
        let hashes = ["a", "a", "b", "a", "a"];
        assert_eq!(verdict(3, &hashes, 5), Verdict::Outvoted("a".into()));
        assert_eq!(verdict(1, &hashes, 5), Verdict::Apart(vec![3]));
        assert_eq!(verdict(1, &["a", "a", "a", "a", "a"], 5), Verdict::Agreed);
        assert_eq!(
            verdict(5, &["a", "b", "a", "a", "b"], 5),
            Verdict::Outvoted("a".into()),
            "two are wrong alike"
        );
    }

    #[test]
    fn without_a_majority_nobody_stops() {
        assert_eq!(verdict(1, &["a", "b", "a", "b", ""], 5), Verdict::Apart(vec![2, 4]));
        assert_eq!(
            verdict(2, &["a", "b", "", "", ""], 5),
            Verdict::Apart(vec![1]),
            "two of five are no majority"
        );
        assert_eq!(verdict(1, &["a", "b", "c", "d", "e"], 5), Verdict::Apart(vec![2, 3, 4, 5]));
    }

    #[test]
    fn a_learner_is_judged_and_does_not_count() {
        assert_eq!(verdict(4, &["a", "a", "", "b"], 3), Verdict::Outvoted("a".into()));
        assert_eq!(verdict(1, &["a", "", "", "b", "b"], 3), Verdict::Apart(vec![4, 5]));
    }

    #[test]
    fn a_refused_directory_stays_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(check(dir.path()), Ok(()));
        let line = outvoted(dir.path(), 7, "a", "b");
        let refusal = check(dir.path()).expect_err("refused");
        assert!(refusal.contains(&line) && refusal.contains("member replace") && !refusal.contains('\n'));
    }
}
