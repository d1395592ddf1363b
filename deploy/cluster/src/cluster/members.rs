//! Replicas that come and go: what an operator does, and the list of who there is.

use super::{Cluster, START_WAIT};
use crate::config::REPLICA_TOML;
use crate::error::{Attempt as _, Error, Result};
use crate::roster::Roster;
use crate::state::Member;

impl Cluster {
    /// Runs one of the operator's commands, `replica <arguments> --config <this cluster's>`, and returns what it printed.
    ///
    /// # Errors
    /// [`Error::Failed`] with its line when it does not succeed.
    pub async fn operate(&self, arguments: &[&str]) -> Result<String> {
        let mut command = tokio::process::Command::new(&self.blank.binaries.replica);
        command.args(arguments).arg("--config").arg(self.layout.config(REPLICA_TOML)).kill_on_drop(true);
        let output = command.output().await.attempt(|| "run the replica program".to_owned())?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let line = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::Failed(format!("{}: {line}", arguments.join(" "))))
    }

    /// Starts a further replica, which waits to be added, under an id that was never used.
    ///
    /// # Errors
    /// See [`Self::start_member`].
    pub async fn start_newcomer(&self) -> Result<u16> {
        let id = {
            let _guard = self.layout.lock()?;
            let mut roster = Roster::load(&self.layout, &self.identity)?;
            let id = roster.next_id();
            roster.enlist(id)?;
            roster.save(&self.layout)?;
            id
        };
        let member = Member::Replica(id);
        self.start_member(&member)?;
        self.wait_ready(&member, START_WAIT).await?;
        Ok(id)
    }

    /// Starts a further replica and makes it a voter; returns its id.
    ///
    /// # Errors
    /// [`Error::Failed`] with the command's line when it is refused or does not catch up.
    pub async fn add_replica(&self) -> Result<u16> {
        let id = self.start_newcomer().await?;
        let (name, address) = (id.to_string(), self.replica_grpc(id)?.to_string());
        self.operate(&["member", "add", "--id", &name, "--address", &address, "--wait"]).await?;
        self.operate(&["member", "promote", &name]).await?;
        Ok(id)
    }

    /// Removes a replica for ever and waits until its process has ended.
    ///
    /// # Errors
    /// [`Error::Failed`] with the command's line when it is refused.
    pub async fn remove_replica(&self, id: u16) -> Result<()> {
        self.operate(&["member", "remove", &id.to_string()]).await?;
        self.dismiss(id).await
    }

    /// Replaces a replica, dead or alive, by a new one; returns the new one's id.
    ///
    /// # Errors
    /// As [`Self::add_replica`].
    pub async fn replace_replica(&self, old: u16) -> Result<u16> {
        let id = self.start_newcomer().await?;
        let (name, address) = (id.to_string(), self.replica_grpc(id)?.to_string());
        self.operate(&["member", "replace", &old.to_string(), "--by", &name, "--address", &address]).await?;
        self.dismiss(old).await?;
        Ok(id)
    }

    /// Takes a removed replica off the list once its process, if it ran, has ended by itself.
    ///
    /// # Errors
    /// [`Error::Failed`] when it goes on running.
    pub async fn dismiss(&self, id: u16) -> Result<()> {
        let member = Member::Replica(id);
        if let Some(process) = self.state()?.alive(&member) {
            self.wait_gone(&member, process, START_WAIT).await?;
        }
        self.forget(&member)?;
        let _guard = self.layout.lock()?;
        let mut roster = Roster::load(&self.layout, &self.identity)?;
        roster.strike(id);
        roster.save(&self.layout)
    }
}
