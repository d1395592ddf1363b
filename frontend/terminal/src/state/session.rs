//! The file of the session. It holds a secret: mode 0600, and one that others may read is not used.

use std::fmt::Display;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_client::proto::rest::SessionGrant;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Lasts, make_folder, write_file};
use crate::failure::{Failure, Result};

/// Another run holds the lock for as long as one call of the server takes.
const LOCK_WAIT: Duration = Duration::from_secs(25);
/// How often it is looked for.
const LOCK_LOOK: Duration = Duration::from_millis(50);

/// Who is signed in, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The chat's address.
    pub url: String,
    /// The authority that was named for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The refresh cookie's value: whoever has it is signed in.
    pub cookie: String,
    /// The newest grant: its access token serves until it ends, so that a script does not ask for one with every message.
    pub grant: SessionGrant,
}

/// The folder of what is kept.
#[derive(Debug, Clone)]
pub struct Home {
    dir: PathBuf,
}

impl Home {
    /// Below `$XDG_STATE_HOME`, or `~/.local/state` without it.
    ///
    /// # Errors
    /// When neither is to be had.
    pub fn find() -> Result<Self> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        let base = base.ok_or_else(|| {
            Failure::usage(
                "There is no folder for the session: set XDG_STATE_HOME or HOME to an absolute path.",
            )
        })?;
        Ok(Self::at(base.join("quorate")))
    }

    /// That folder, which need not exist yet.
    pub fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn file(&self) -> PathBuf {
        self.dir.join("session.json")
    }

    /// Whoever is signed in.
    ///
    /// # Errors
    /// When the file is there and cannot be used; in words what to do.
    pub fn session(&self) -> Result<Option<Saved>> {
        let path = self.file();
        let shown = path.display();
        let mode = match path.metadata() {
            Ok(about) => about.permissions().mode(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.trouble("read", &error)),
        };
        if mode & 0o077 != 0 {
            return Err(Failure::usage(format!(
                "{shown} holds a secret and others may read it (mode {:04o}). Run `chmod 600` on it; if somebody did \
                 read it, `quorate --sign-out`.",
                mode & 0o7777
            )));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| self.trouble("read", &error))?;
        serde_json::from_str(&text).map(Some).map_err(|_| {
            Failure::usage(format!("{shown} is damaged or of another version. Remove it and sign in again."))
        })
    }

    /// Keeps a session in the place of any other.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_session(&self, saved: &Saved) -> Result<()> {
        let json = serde_json::to_vec_pretty(saved).map_err(|error| self.trouble("write", &error))?;
        make_folder(&self.dir).map_err(|error| self.trouble("write", &error))?;
        write_file(&self.file(), &json, Lasts::PowerCut).map_err(|error| self.trouble("write", &error))
    }

    /// Removes it.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn forget_session(&self) -> Result<()> {
        match std::fs::remove_file(self.file()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.trouble("remove", &error)),
            _ => Ok(()),
        }
    }

    /// Keeps other runs of this program away from the cookie until the answer is dropped. The cookie is good once: who comes
    /// with a used one is taken for a thief, and the session ends.
    ///
    /// # Errors
    /// When the lock cannot be had in time.
    pub async fn lock(&self) -> Result<File> {
        self.lock_within(LOCK_WAIT).await
    }

    async fn lock_within(&self, wait: Duration) -> Result<File> {
        make_folder(&self.dir).map_err(|error| self.trouble("write", &error))?;
        let path = self.dir.join("session.lock");
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        let file = file.map_err(|error| self.trouble("write", &error))?;
        let until = Instant::now() + wait;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    tokio::time::sleep(LOCK_LOOK).await;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Failure::refused(format!(
                        "Another run of quorate has held {} for {} s. End it, then try again.",
                        self.dir.join("session.lock").display(),
                        wait.as_secs()
                    )));
                }
                Err(TryLockError::Error(error)) => return Err(self.trouble("lock", &error)),
            }
        }
    }

    fn trouble(&self, act: &str, error: &dyn Display) -> Failure {
        Failure::refused(format!(
            "Cannot {act} the session in {}: {error}. Give yourself access to that folder, or name another one with \
             XDG_STATE_HOME.",
            self.dir.display()
        ))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use quorate_client::proto::frame::User;

    pub(crate) fn grant(token: &str, expires_at: u64) -> SessionGrant {
        SessionGrant {
            user: User { id: 7, name: "ana".to_owned(), ..User::default() },
            session: "s".to_owned(),
            access_token: token.to_owned(),
            expires_at,
            index: 1,
            read_only: false,
            admin: false,
        }
    }

    pub(crate) fn saved(token: &str) -> Saved {
        let url = "http://localhost:8080".to_owned();
        Saved { url, ca_file: None, cookie: "u.s".to_owned(), grant: grant(token, 5) }
    }

    #[test]
    fn the_secret_is_kept_from_others() {
        let dir = tempfile::tempdir().expect("a folder");
        let home = Home::at(dir.path().join("state/quorate"));
        assert_eq!(home.session().expect("none yet"), None);
        home.keep_session(&saved("a")).expect("kept");
        home.keep_session(&saved("b")).expect("kept again");
        assert_eq!(home.session().expect("read"), Some(saved("b")));
        let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&home.file()), mode(home.dir())), (0o600, 0o700));
        assert_eq!(std::fs::read_dir(home.dir()).expect("a folder").count(), 1, "nothing is left aside");

        std::fs::set_permissions(home.file(), std::fs::Permissions::from_mode(0o644)).expect("changed");
        let error = home.session().expect_err("others may read it");
        assert!(error.message.contains("chmod 600"), "{error}");
        home.forget_session().expect("removed");
        home.forget_session().expect("gone already");
        assert_eq!(home.session().expect("none"), None);
    }

    #[test]
    fn a_damaged_file_is_told_with_what_to_do() {
        let dir = tempfile::tempdir().expect("a folder");
        let home = Home::at(dir.path().to_owned());
        write_file(&home.file(), b"{", Lasts::Program).expect("written");
        let error = home.session().expect_err("damaged");
        assert!(error.message.contains("sign in again") && error.why.code() == 2, "{error}");
    }

    #[tokio::test]
    async fn one_run_at_a_time_has_the_cookie() {
        let dir = tempfile::tempdir().expect("a folder");
        let home = Home::at(dir.path().to_owned());
        let held = home.lock().await.expect("free");
        let error = home.lock_within(2 * LOCK_LOOK).await.expect_err("held");
        assert!(error.message.contains("Another run"), "{error}");
        drop(held);
        home.lock().await.expect("free again");
    }
}
