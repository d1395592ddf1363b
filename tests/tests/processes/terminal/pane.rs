//! A terminal that a test can type into and look at: a window of a tmux server of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use quorate_cluster::wait_until;

use super::program::Program;

/// For whatever is to be seen, elections and the longest wait between two attempts to connect included.
const SEE_WAIT: Duration = Duration::from_secs(60);

/// Whether there is a tmux.
pub(super) fn is_installed() -> bool {
    Command::new("tmux").arg("-V").output().is_ok_and(|output| output.status.success())
}

/// Ends a process in order.
pub(super) fn terminate(id: u32) -> anyhow::Result<()> {
    let status = Command::new("kill").args(["-TERM", &id.to_string()]).status()?;
    ensure!(status.success(), "process {id} cannot be ended");
    Ok(())
}

/// A server of its own, which ends with this value.
pub(super) struct Tmux {
    socket: PathBuf,
}

impl Tmux {
    pub(super) fn start(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self { socket: folder.join("tmux") })
    }

    fn command(&self, args: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new("tmux");
        // In UTF-8, and without anybody's own configuration.
        command.arg("-u").arg("-S").arg(&self.socket).args(["-f", "/dev/null"]).args(args);
        let output = command.env("LC_ALL", "C.UTF-8").env_remove("TMUX").output()?;
        ensure!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output)
    }

    /// The full screen in a window; behind it, how it ended and whether the terminal was given back.
    pub(super) fn open(&self, name: &str, program: &Program) -> anyhow::Result<Pane<'_>> {
        self.open_with(name, program, "")
    }

    /// The same with something else on its command line.
    pub(super) fn open_with(&self, name: &str, program: &Program, args: &str) -> anyhow::Result<Pane<'_>> {
        let behind = r#"code=$?; stty -a | tr "; " "\n\n" | grep -x -e "-*icanon" -e "-*echo"; echo "left with $code"; sleep 600"#;
        let (state, path) = (program.state.display(), program.path.display());
        let shell = format!(
            "unset QUORATE_URL; XDG_STATE_HOME='{state}' '{path}' --url '{}' {args}; {behind}",
            program.url
        );
        self.command(&["new-session", "-d", "-s", name, "-x", "110", "-y", "34", &shell])?;
        Ok(Pane { tmux: self, name: name.to_owned() })
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // Without a window it has ended by itself.
        let _ = self.command(&["kill-server"]);
    }
}

/// One window.
pub(super) struct Pane<'a> {
    tmux: &'a Tmux,
    name: String,
}

impl Pane<'_> {
    /// Presses a key, by tmux's name for it.
    pub(super) fn key(&self, key: &str) -> anyhow::Result<()> {
        self.tmux.command(&["send-keys", "-t", &self.name, key]).map(drop)
    }

    /// Types a text.
    pub(super) fn types(&self, text: &str) -> anyhow::Result<()> {
        self.tmux.command(&["send-keys", "-t", &self.name, "-l", text]).map(drop)
    }

    /// What is to be seen now.
    fn screen(&self) -> anyhow::Result<String> {
        let output = self.tmux.command(&["capture-pane", "-p", "-t", &self.name])?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until this is to be seen: the whole screen.
    pub(super) async fn sees(&self, text: &str) -> anyhow::Result<String> {
        self.looks(&format!("{} to see {text:?}", self.name), |screen| screen.contains(text)).await
    }

    /// Waits until this is to be seen, and that is not.
    pub(super) async fn sees_without(&self, text: &str, not: &str) -> anyhow::Result<String> {
        let what = format!("{} to see {text:?} without {not:?}", self.name);
        self.looks(&what, |screen| screen.contains(text) && !screen.contains(not)).await
    }

    async fn looks(&self, what: &str, is: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        let screen = wait_until(what, SEE_WAIT, || async {
            let screen = self.screen().map_err(|error| error.to_string())?;
            if is(&screen) { Ok(screen) } else { Err(format!("\n{screen}")) }
        });
        Ok(screen.await?)
    }

    /// Types a letter again and again until another window shows what follows from it: what is said of typing may be lost, and is said
    /// again while it goes on.
    pub(super) async fn types_until(&self, other: &Self, text: &str) -> anyhow::Result<()> {
        let what = format!("{} to see {text:?} while {} types", other.name, self.name);
        wait_until(&what, SEE_WAIT, || async {
            self.types("e").map_err(|error| error.to_string())?;
            let screen = other.screen().map_err(|error| error.to_string())?;
            if screen.contains(text) { Ok(()) } else { Err(format!("\n{screen}")) }
        })
        .await?;
        Ok(())
    }

    /// The program has ended with this code, and the terminal is as it was before.
    pub(super) async fn is_left(&self, code: u8) -> anyhow::Result<String> {
        let screen = self.sees(&format!("left with {code}")).await?;
        let restored = screen.lines().any(|line| line.trim() == "icanon")
            && screen.lines().any(|line| line.trim() == "echo");
        ensure!(restored, "the terminal was not given back:\n{screen}");
        Ok(screen)
    }

    /// The title that the window was given.
    pub(super) fn title(&self) -> anyhow::Result<String> {
        let output = self.tmux.command(&["display-message", "-p", "-t", &self.name, "#{pane_title}"])?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Another size.
    pub(super) fn resize(&self, columns: u16, lines: u16) -> anyhow::Result<()> {
        let (columns, lines) = (columns.to_string(), lines.to_string());
        self.tmux.command(&["resize-window", "-t", &self.name, "-x", &columns, "-y", &lines]).map(drop)
    }

    /// Ends the program in it as an operator does.
    pub(super) fn terminate(&self) -> anyhow::Result<()> {
        let output = self.tmux.command(&["display-message", "-p", "-t", &self.name, "#{pane_pid}"])?;
        let shell = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"))?;
        let Some(child) = children.split_whitespace().next() else { bail!("{shell} runs nothing") };
        terminate(child.parse().context("a process id")?)
    }
}
