//! `replica`: one replica of the consensus tier.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use quorate_replica::RunError;
use quorate_replica::config::{Flags, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

#[derive(Debug, Parser)]
#[command(name = "replica", version, about = "One replica of a Quorate cluster")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a replica until SIGTERM or Ctrl-C
    Run(Flags),
}

/// A user's mistake: one line, exit code 2.
fn usage(message: &str) -> ExitCode {
    eprintln!("replica: {message}");
    ExitCode::from(2)
}

fn start_logs(json: bool) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,openraft=error,chunked_wal=warn,raft_log=warn"));
    let colours = std::io::stderr().is_terminal();
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    if json { logs.json().init() } else { logs.init() }
}

/// The life of the process.
pub fn main() -> ExitCode {
    let Command::Run(flags) = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            return usage(&format!("{line} (see replica run --help)"));
        }
        Err(help) => {
            print!("{help}");
            return ExitCode::SUCCESS;
        }
    };
    let settings = match Settings::load(&flags) {
        Ok(settings) => settings,
        Err(message) => return usage(&message),
    };
    if flags.print_config {
        return match settings.to_toml() {
            Ok(text) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            Err(message) => usage(&message),
        };
    }
    start_logs(flags.json_logs);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return usage(&format!("cannot start the runtime: {error}")),
    };
    match runtime.block_on(run_until_signal(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(RunError::Usage(message)) => usage(&message),
        Err(RunError::Failed(message)) => {
            tracing::error!("{message}");
            ExitCode::FAILURE
        }
    }
}

async fn run_until_signal(settings: Settings) -> Result<(), RunError> {
    let stop = CancellationToken::new();
    let no_signals = |error: std::io::Error| RunError::Failed(format!("cannot listen for signals: {error}"));
    let mut term = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopping.cancel();
        // A second signal does not wait for the orderly end.
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(1);
    });
    quorate_replica::run(settings, stop).await
}
