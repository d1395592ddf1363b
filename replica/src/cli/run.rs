//! `replica run`: the replica itself.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use quorate_replica::RunError;
use quorate_replica::config::{Flags, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use super::usage;

/// How long tasks may take to let go of the disk after everything has stopped: a disk that hangs must not keep the process.
const LET_GO_WAIT: Duration = Duration::from_secs(1);

fn start_logs(json: bool) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,openraft=error,chunked_wal=warn,raft_log=warn"));
    let colours = std::io::stderr().is_terminal();
    // A traced command's spans say how long they took when they close; nothing else opens one at this level.
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(std::io::stderr);
    if json { logs.json().init() } else { logs.init() }
}

/// Runs it until a signal, or until it fails.
pub(super) fn run(flags: &Flags) -> ExitCode {
    let settings = match Settings::load(flags) {
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
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = settings.worker_threads {
        builder.worker_threads(threads);
    }
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return usage(&format!("cannot start the runtime: {error}")),
    };
    let ended = runtime.block_on(run_until_signal(settings));
    // What storage still says as it is let go comes first: the reason is the last line.
    runtime.shutdown_timeout(LET_GO_WAIT);
    match ended {
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
