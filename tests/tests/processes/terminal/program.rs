//! The program itself, as a script runs it.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use quorate_cluster::wait_until;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// For a run, elections included; the program's own limit is 30 s.
const RUN_WAIT: Duration = Duration::from_secs(45);

/// One person's copy: her own state, her own gateway.
pub(super) struct Program {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) state: PathBuf,
    pub(super) url: String,
}

/// What a run came to.
pub(super) struct Ran {
    what: String,
    output: Output,
}

impl Program {
    pub(super) fn new(folder: &Path, name: &str, at: SocketAddr) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        // A test program lies one folder deeper.
        let dir = own.parent().and_then(Path::parent).context("this program lies in a folder")?;
        let path = dir.join("quorate");
        ensure!(path.is_file(), "{} is not there: build it with `cargo build --release`", path.display());
        Ok(Self { name: name.to_owned(), path, state: folder.join(name), url: format!("http://{at}") })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(args).env("XDG_STATE_HOME", &self.state).env_remove("QUORATE_URL").kill_on_drop(true);
        if !args.contains(&"--url") {
            command.args(["--url", &self.url]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub(super) async fn run(&self, args: &[&str]) -> anyhow::Result<Ran> {
        self.run_with(args, "").await
    }

    /// The same with something on standard input.
    pub(super) async fn run_with(&self, args: &[&str], input: &str) -> anyhow::Result<Ran> {
        let what = format!("{}: quorate {}", self.name, args.join(" "));
        let mut child = self.command(args).spawn().with_context(|| what.clone())?;
        let mut stdin = child.stdin.take().context("it has a standard input")?;
        // One that refuses its arguments reads nothing.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = timeout(RUN_WAIT, child.wait_with_output()).await;
        let output = output.with_context(|| format!("{what}: it does not end"))??;
        Ok(Ran { what, output })
    }

    /// Begins a run whose standard input gives nothing and never ends, and ends it as an operator does: the exit code.
    pub(super) async fn ended_while_reading(&self, args: &[&str]) -> anyhow::Result<i32> {
        let mut child = self.command(args).spawn()?;
        let stdin = child.stdin.take();
        let id = child.id().context("it runs")?;
        wait_until("it to read", RUN_WAIT, || async { reads(id) }).await?;
        let code = end(&mut child).await;
        drop(stdin);
        code
    }

    /// Starts one that goes on.
    pub(super) fn tail(&self, args: &[&str]) -> anyhow::Result<Tail> {
        let mut child = self.command(args).stderr(Stdio::inherit()).spawn()?;
        let out = child.stdout.take().context("it has a standard output")?;
        Ok(Tail { child, lines: BufReader::new(out).lines() })
    }

    /// Who may read the file of the session.
    pub(super) fn session_mode(&self) -> anyhow::Result<u32> {
        let about = self.state.join("quorate/session.json").metadata()?;
        Ok(about.permissions().mode() & 0o777)
    }
}

impl Ran {
    /// It ended with this code, and said why if that is not 0.
    pub(super) fn is(self, code: i32) -> anyhow::Result<Self> {
        let said = String::from_utf8_lossy(&self.output.stderr);
        ensure!(
            self.output.status.code() == Some(code),
            "{}: {:?}, not {code}: {said}",
            self.what,
            self.output.status
        );
        ensure!(code == 0 || !said.trim().is_empty(), "{}: not a word", self.what);
        Ok(self)
    }

    /// Its lines of JSON.
    pub(super) fn json(&self) -> anyhow::Result<Vec<Value>> {
        let text = std::str::from_utf8(&self.output.stdout)?;
        let lines = text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned()));
        lines.collect()
    }
}

/// A run that prints messages as they come.
pub(super) struct Tail {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Tail {
    async fn next(&mut self) -> anyhow::Result<Value> {
        let line = timeout(RUN_WAIT, self.lines.next_line()).await.context("nothing more comes")??;
        let line = line.context("it has ended")?;
        serde_json::from_str(&line).context(line)
    }

    /// The next message is this one: none is left out, none comes twice.
    pub(super) async fn message(&mut self, text: &str) -> anyhow::Result<()> {
        loop {
            let line = self.next().await?;
            match line["type"].as_str() {
                Some("message") if line["text"] == text => return Ok(()),
                Some("connection") => {}
                _ => bail!("not {text:?}: {line}"),
            }
        }
    }

    /// The connection comes to this state; no message comes before.
    pub(super) async fn says(&mut self, state: &str) -> anyhow::Result<()> {
        loop {
            let line = self.next().await?;
            ensure!(line["type"] == "connection", "not {state}: {line}");
            if line["state"] == state {
                return Ok(());
            }
        }
    }

    /// Ends it as an operator does; the exit code.
    pub(super) async fn end(mut self) -> anyhow::Result<i32> {
        end(&mut self.child).await
    }
}

async fn end(child: &mut Child) -> anyhow::Result<i32> {
    let id = child.id().context("it runs")?;
    super::pane::terminate(id)?;
    let status = timeout(RUN_WAIT, child.wait()).await.context("it does not end")??;
    status.code().context("it was killed")
}

/// Whether a process has come to reading: it does that on a thread of that name.
fn reads(id: u32) -> Result<(), String> {
    let threads = std::fs::read_dir(format!("/proc/{id}/task")).map_err(|error| error.to_string())?;
    let names: Vec<String> = threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect();
    if names.iter().any(|name| name == "reader") { Ok(()) } else { Err(format!("its threads are {names:?}")) }
}
