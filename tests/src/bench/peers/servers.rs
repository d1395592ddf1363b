//! Processes of a peer: each in a group of its own, ended by its number, and by the kernel when this program ends.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::Context as _;
use quorate_cluster::process::{Bond, ProcessId, Send, last_log_line, spawn};
use quorate_cluster::wait_until;

/// A server that was asked to end does so within this.
const STOP_WAIT: Duration = Duration::from_secs(30);

/// How to start one server.
#[derive(Debug, Clone)]
struct Recipe {
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    /// What it keeps.
    folder: PathBuf,
}

#[derive(Debug)]
struct Server {
    recipe: Recipe,
    process: Option<(Child, ProcessId)>,
}

/// The servers of one peer, by place from 0.
#[derive(Debug, Default)]
pub struct Servers(Vec<Server>);

impl Servers {
    /// Adds a server and starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn add(
        &mut self,
        program: &Path,
        arguments: Vec<String>,
        log: PathBuf,
        folder: PathBuf,
    ) -> anyhow::Result<()> {
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let recipe = Recipe { program: program.to_owned(), arguments, log, folder };
        self.0.push(Server { recipe, process: None });
        self.start(self.0.len() - 1)
    }

    /// Starts one that does not run.
    ///
    /// # Errors
    /// When there is none at this place, or it cannot be started.
    pub fn start(&mut self, place: usize) -> anyhow::Result<()> {
        let server = self.0.get_mut(place).context("no such server")?;
        let mut command = Command::new(&server.recipe.program);
        command.args(&server.recipe.arguments);
        server.process = Some(spawn(command, &server.recipe.log, Bond::Tied)?);
        Ok(())
    }

    /// Ends one, at once or in order, and waits until it is gone.
    ///
    /// # Errors
    /// When it does not run, or does not end.
    pub async fn end(&mut self, place: usize, how: Send) -> anyhow::Result<()> {
        let server = self.0.get_mut(place).context("no such server")?;
        let (mut child, process) = server.process.take().context("it does not run")?;
        process.send(how)?;
        wait_until("a server to end", STOP_WAIT, || async {
            if process.is_gone() { Ok(()) } else { Err(format!("{process:?} runs")) }
        })
        .await?;
        child.wait().context("cannot reap a server")?;
        Ok(())
    }

    /// The numbers of those that run.
    pub fn pids(&self) -> Vec<u32> {
        self.0.iter().filter_map(|server| server.process.as_ref()).map(|(_, id)| id.pid).collect()
    }

    /// The folders in which they keep their data.
    pub fn folders(&self) -> Vec<PathBuf> {
        self.0.iter().map(|server| server.recipe.folder.clone()).collect()
    }

    /// The last line of a log, for an error.
    pub fn last_words(&self) -> String {
        let line = |server: &Server| last_log_line(&server.recipe.log);
        self.0.iter().map(line).find(|line| !line.is_empty()).unwrap_or_default()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for server in &mut self.0 {
            if let Some((mut child, process)) = server.process.take() {
                // Best effort: the kernel ends them with this program at the latest.
                let _ = process.send(Send::Kill);
                let _ = child.wait();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn servers_end_when_they_are_told_and_with_their_owner() {
        let dir = tempfile::tempdir().unwrap();
        let mut servers = Servers::default();
        for place in ["one", "two"] {
            let (log, folder) = (dir.path().join(place).with_extension("log"), dir.path().join(place));
            servers.add(Path::new("sleep"), vec!["60".to_owned()], log, folder).unwrap();
        }
        let pids = servers.pids();
        let alive: Vec<ProcessId> = pids.iter().filter_map(|pid| ProcessId::now(*pid)).collect();
        assert_eq!((pids.len(), alive.len(), servers.folders().len()), (2, 2, 2));
        servers.end(0, Send::Terminate).await.unwrap();
        assert!(alive[0].is_gone() && !alive[1].is_gone());
        assert!(servers.end(0, Send::Kill).await.is_err(), "it does not run");
        servers.start(0).unwrap();
        assert_eq!(servers.pids().len(), 2);
        let again = ProcessId::now(servers.pids()[0]).unwrap();
        drop(servers);
        assert!(again.is_gone() && alive[1].is_gone());
    }
}
