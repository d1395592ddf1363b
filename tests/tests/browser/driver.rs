//! chromedriver and the browsers it starts: one process tree, ended as a whole whatever happens.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::Context;
use quorate_cluster::http::Call;
use quorate_cluster::process::{self, Bond, ProcessId, find_program};
use quorate_cluster::wait_until;

const START_WAIT: Duration = Duration::from_secs(20);

/// A running chromedriver.
pub struct Driver {
    address: SocketAddr,
    child: Child,
    id: ProcessId,
}

impl Driver {
    /// Starts it on a port that is free and waits until it answers.
    pub async fn start(address: SocketAddr, log: &Path) -> anyhow::Result<Self> {
        let program = find_program("chromedriver").context("chromedriver is not installed")?;
        let mut command = Command::new(program);
        command.arg(format!("--port={}", address.port())).arg("--log-level=WARNING");
        let (child, id) = process::spawn(command, log, Bond::Tied)?;
        let driver = Self { address, child, id };
        wait_until("chromedriver to answer", START_WAIT, || async move {
            let answer = Call::get("/status").send(address).await.map_err(|error| error.to_string())?;
            if answer.status() == 200 { Ok(()) } else { Err(format!("it says {}", answer.status())) }
        })
        .await?;
        Ok(driver)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        process::kill_tree(self.id);
        // Reaped, whether or not it had ended already.
        let _ = self.child.wait();
    }
}
