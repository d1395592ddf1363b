//! Whose data directory this is: written once, checked at every start, locked while in use.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::store::write_synced;

/// Version of everything under the data directory.
const FORMAT: u32 = 1;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    format: u32,
    cluster: String,
    id: u64,
}

/// Holds the data directory for as long as it lives.
#[derive(Debug)]
pub struct DataDirLock(#[expect(dead_code, reason = "closing the file gives the lock back")] File);

/// Claims a data directory for a replica of a cluster.
///
/// # Errors
/// One line that says what to do, when it belongs to another replica or cluster, is of another format, or is in use.
pub fn claim(dir: &Path, cluster: &str, id: u64) -> Result<DataDirLock, String> {
    let name = dir.display();
    fs::create_dir_all(dir).map_err(|error| format!("cannot create data directory {name}: {error}"))?;
    let lock = File::create(dir.join("lock")).map_err(|error| format!("cannot write to {name}: {error}"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(format!(
                "data directory {name} is in use by a running replica: stop it, or use another"
            ));
        }
        Err(TryLockError::Error(error)) => return Err(format!("cannot lock data directory {name}: {error}")),
    }
    let path = dir.join("identity.json");
    let mine = Identity { format: FORMAT, cluster: cluster.to_owned(), id };
    if !path.exists() {
        for kept in ["log", "snapshots", "state"].map(|name| dir.join(name)) {
            if kept.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
                return Err(format!(
                    "data directory {name} has {} but no identity.json: whose is it? Put that file back, or use another \
                     directory",
                    kept.display()
                ));
            }
        }
        let text = serde_json::to_string(&mine).map_err(|error| error.to_string())?;
        write_synced(&path, &text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        return Ok(DataDirLock(lock));
    }
    let text =
        fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let found: Identity = serde_json::from_str(&text)
        .map_err(|error| format!("{} is damaged ({error}): is {name} a data directory?", path.display()))?;
    if found.cluster != mine.cluster {
        return Err(format!(
            "data directory {name} belongs to cluster {:?}, this replica to {cluster:?}: use another directory",
            found.cluster
        ));
    }
    if found.id != id {
        return Err(format!(
            "data directory {name} belongs to replica {}, this is replica {id}: use its own directory",
            found.id
        ));
    }
    if found.format != FORMAT {
        return Err(format!(
            "data directory {name} has format {}, this program reads {FORMAT}: use the program that wrote it",
            found.format
        ));
    }
    Ok(DataDirLock(lock))
}

/// Looks at the data directory of a stopped replica, changing nothing; it cannot be started meanwhile.
///
/// # Errors
/// One line, when it is none or in use.
pub fn look(dir: &Path) -> Result<(DataDirLock, String), String> {
    let path = dir.join("identity.json");
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("cannot read {}: {error}: is it a data directory?", path.display()))?;
    let found: Identity =
        serde_json::from_str(&text).map_err(|error| format!("{} is damaged ({error})", path.display()))?;
    let lock =
        File::open(dir.join("lock")).map_err(|error| format!("cannot open {}: {error}", dir.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok((DataDirLock(lock), format!("replica {} of cluster {}", found.id, found.cluster))),
        Err(TryLockError::WouldBlock) => {
            Err(format!("data directory {} is in use by a running replica: stop it first", dir.display()))
        }
        Err(TryLockError::Error(error)) => Err(format!("cannot lock {}: {error}", dir.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_another_replica_or_cluster_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let held = claim(dir.path(), "c", 1).expect("new");
        assert!(claim(dir.path(), "c", 1).expect_err("in use").contains("in use"));
        drop(held);
        assert!(claim(dir.path(), "c", 2).expect_err("another").contains("belongs to replica 1"));
        assert!(claim(dir.path(), "d", 1).expect_err("another").contains("belongs to cluster \"c\""));
        claim(dir.path(), "c", 1).expect("its own");
        fs::write(dir.path().join("identity.json"), "{").expect("a file");
        assert!(claim(dir.path(), "c", 1).expect_err("damaged").contains("damaged"));
        fs::remove_file(dir.path().join("identity.json")).expect("there");
        fs::create_dir(dir.path().join("log")).expect("a folder");
        claim(dir.path(), "c", 1).expect("an empty log says nothing");
        fs::remove_file(dir.path().join("identity.json")).expect("there");
        fs::write(dir.path().join("log/one"), "x").expect("a file");
        assert!(claim(dir.path(), "c", 1).expect_err("somebody's").contains("whose is it"));
    }
}
