//! The files of a cluster's data directory, and what is generated there once: the cluster's id and secret.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Attempt, Error, Result};
use crate::spec::Host;

/// Bytes of the cluster's secret.
const SECRET_BYTES: usize = 32;

/// What a data directory is for, written at the first start and never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The cluster's id.
    pub cluster: String,
    /// How many replicas the first membership has.
    pub replicas: u16,
    /// The first port: replicas keep each other's addresses on disk.
    pub port: u16,
    /// The same for those with a network of their own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<u16, Host>,
}

/// Paths under a data directory.
#[derive(Debug, Clone)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// The layout of `dir`, which need not exist.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// `$XDG_DATA_HOME/quorate`, or `~/.local/share/quorate`.
    ///
    /// # Errors
    /// [`Error::Usage`] when neither variable is set.
    pub fn default_dir() -> Result<PathBuf> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        set("XDG_DATA_HOME")
            .or_else(|| set("HOME").map(|home| home.join(".local/share")))
            .map(|base| base.join("quorate"))
            .ok_or_else(|| {
                Error::Usage("neither HOME nor XDG_DATA_HOME is set: name a folder with --data-dir".into())
            })
    }

    /// The data directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Who runs where, for people and tools.
    pub fn cluster_json(&self) -> PathBuf {
        self.dir.join("cluster.json")
    }

    /// The same with start times and the specification, for this crate.
    pub(crate) fn runner_json(&self) -> PathBuf {
        self.dir.join("runner.json")
    }

    /// Which replicas there are now.
    pub(crate) fn roster_json(&self) -> PathBuf {
        self.dir.join("replicas.json")
    }

    fn identity_json(&self) -> PathBuf {
        self.dir.join("identity.json")
    }

    /// The secret that wraps signing keys.
    pub fn secret(&self) -> PathBuf {
        self.dir.join("cluster.secret")
    }

    /// A configuration file.
    pub fn config(&self, name: &str) -> PathBuf {
        self.dir.join("config").join(name)
    }

    /// The log of a process.
    pub fn log(&self, process: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{process}.log"))
    }

    /// Certificates and keys.
    pub fn tls(&self) -> PathBuf {
        self.dir.join("tls")
    }

    /// What a replica keeps.
    pub fn replica(&self, id: u16) -> PathBuf {
        self.dir.join(format!("replica-{id}"))
    }

    /// Creates the folders.
    pub(crate) fn prepare(&self) -> Result<()> {
        for dir in [self.dir.clone(), self.dir.join("config"), self.dir.join("logs")] {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
            made.map_err(|error| {
                Error::Usage(format!(
                    "cannot create {}: {error}; name a folder that you may write to with --data-dir",
                    dir.display()
                ))
            })?;
        }
        Ok(())
    }

    /// Reads what the directory is for; `None` when it is new.
    pub(crate) fn identity(&self) -> Result<Option<Identity>> {
        let path = self.identity_json();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::Usage(format!("cannot read {}: {error}", path.display()))),
        };
        let identity = serde_json::from_str(&text);
        identity.map(Some).map_err(|error| {
            Error::Usage(format!("{} is damaged ({error}): choose another --data-dir", path.display()))
        })
    }

    /// Makes a new cluster of the directory: its id and its secret.
    pub(crate) fn found(&self, replicas: u16, port: u16, hosts: BTreeMap<u16, Host>) -> Result<Identity> {
        let mut secret = [0u8; SECRET_BYTES];
        getrandom::fill(&mut secret).attempt(|| "get random bytes".to_owned())?;
        write_atomically(&self.secret(), &secret)?;
        let identity = Identity { cluster: Uuid::new_v4().to_string(), replicas, port, hosts };
        let text = serde_json::to_vec_pretty(&identity).expect("plain fields serialize");
        write_atomically(&self.identity_json(), &text)?;
        Ok(identity)
    }

    /// Held while the lists of processes are read and changed.
    pub(crate) fn lock(&self) -> Result<File> {
        let path = self.dir.join("runner.lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.attempt(|| format!("open {}", path.display()))?;
        file.lock().attempt(|| format!("lock {}", path.display()))?;
        Ok(file)
    }
}

/// Writes a file that is there whole or not at all, readable by its owner only.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}.new", std::process::id()));
    let aside = PathBuf::from(aside);
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    write().attempt(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_keeps_its_identity_and_its_secret_to_itself() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("new/data"));
        layout.prepare().unwrap();
        assert_eq!(layout.identity().unwrap(), None);
        let identity = layout.found(5, 8080, BTreeMap::new()).unwrap();
        assert_eq!(layout.identity().unwrap(), Some(identity));
        let secret = fs::metadata(layout.secret()).unwrap();
        assert_eq!((secret.len(), secret.permissions().mode() & 0o777), (SECRET_BYTES as u64, 0o600));
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let error = Layout::new(file.join("data")).prepare().unwrap_err();
        assert!(
            matches!(&error, Error::Usage(line) if line.contains("--data-dir") && !line.contains('\n')),
            "{error}"
        );
    }
}
