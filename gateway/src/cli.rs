//! The command line: flags and environment over the configuration file, logs, exit codes.
//!
//! Owns the words a person reads when something is wrong with what she typed: one line that says what to do, exit
//! code 2. Must not know how anything is served; it hands a checked [`Config`] and a bound socket to [`crate::run`].

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::{Config, ConfigError};

/// Connections that wait in the kernel to be accepted. Beyond it the kernel forgets that it said yes: a caller believes to be
/// connected and waits for seconds. The usual 128 is less than what comes back at once when another gateway dies.
const BACKLOG: u32 = 4_096;
/// How long what still runs beside may take to let go once everything has stopped.
const LET_GO_WAIT: Duration = Duration::from_secs(1);
/// Exit code of a user's mistake.
const EXIT_USAGE: u8 = 2;

/// A gateway of Quorate: browsers' sessions in front of the replica tier.
#[derive(Debug, Parser)]
#[command(name = "gateway", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a gateway until SIGTERM or SIGINT.
    Run(RunArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Each flag beats its environment variable, which beats the file.
#[derive(Debug, Args)]
struct RunArgs {
    /// The configuration file (TOML).
    #[arg(long, env = "QUORATE_GATEWAY_CONFIG")]
    config: Option<PathBuf>,
    /// The cluster's id; a replica of another cluster is never talked to.
    #[arg(long, env = "QUORATE_GATEWAY_CLUSTER")]
    cluster: Option<String>,
    /// This gateway's name, shown to clients and in logs.
    #[arg(long, env = "QUORATE_GATEWAY_NAME")]
    name: Option<String>,
    /// Address for HTTP and WebSocket.
    #[arg(long, env = "QUORATE_GATEWAY_LISTEN")]
    listen: Option<SocketAddr>,
    /// An allowed Origin, such as https://chat.example.org; may be repeated.
    #[arg(long = "origin", env = "QUORATE_GATEWAY_ORIGINS", value_delimiter = ',')]
    origins: Option<Vec<String>>,
    /// Folder with the built page.
    #[arg(long, env = "QUORATE_GATEWAY_PAGE_DIR")]
    page_dir: Option<PathBuf>,
    /// gRPC address of a replica; may be repeated.
    #[arg(long = "replica", env = "QUORATE_GATEWAY_REPLICAS", value_delimiter = ',')]
    replicas: Option<Vec<String>>,
    /// Marks cookies Secure: set it when browsers come by HTTPS.
    #[arg(long, env = "QUORATE_GATEWAY_SECURE_COOKIES")]
    secure_cookies: Option<bool>,
    /// Password hashes computed at the same time.
    #[arg(long, env = "QUORATE_GATEWAY_ARGON2_CONCURRENCY")]
    argon2_concurrency: Option<usize>,
    /// How long to go on accepting after SIGTERM, until the balancer must have noticed; ms.
    #[arg(long, env = "QUORATE_GATEWAY_DRAIN_GRACE_MS")]
    drain_grace_ms: Option<u64>,
    /// For a demo, on loopback only: the file that says how to reach the runner of the processes.
    #[arg(long = "demo-control", value_name = "FILE", env = "QUORATE_GATEWAY_DEMO_CONTROL")]
    demo_control_file: Option<PathBuf>,
    /// Form of the logs on stderr.
    #[arg(long, env = "QUORATE_GATEWAY_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
    /// Prints the effective configuration and exits.
    #[arg(long)]
    print_config: bool,
}

impl RunArgs {
    fn effective(&self) -> Result<Config, ConfigError> {
        let mut config = match &self.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        };
        fn set<T: Clone>(to: &mut T, from: &Option<T>) {
            if let Some(value) = from {
                to.clone_from(value);
            }
        }
        set(&mut config.cluster, &self.cluster);
        set(&mut config.name, &self.name);
        set(&mut config.listen, &self.listen);
        set(&mut config.origins, &self.origins);
        set(&mut config.replicas, &self.replicas);
        set(&mut config.secure_cookies, &self.secure_cookies);
        set(&mut config.argon2_concurrency, &self.argon2_concurrency);
        set(&mut config.drain_grace_ms, &self.drain_grace_ms);
        if self.page_dir.is_some() {
            config.page_dir.clone_from(&self.page_dir);
        }
        if self.demo_control_file.is_some() {
            config.demo_control_file.clone_from(&self.demo_control_file);
        }
        config.check()?;
        Ok(config)
    }
}

/// The process from start to end.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            // --help and --version.
            print!("{}", error.render());
            return ExitCode::SUCCESS;
        }
        Err(error) => return usage(&one_line(&error)),
    };
    let Command::Run(args) = cli.command;
    let config = match args.effective() {
        Ok(config) => config,
        Err(error) => return usage(&error.to_string()),
    };
    if args.print_config {
        print!("{}", config.to_toml());
        return ExitCode::SUCCESS;
    }
    start_logs(args.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("gateway failed: {error}");
            return ExitCode::FAILURE;
        }
    };
    let listener = match bind(&runtime, config.listen) {
        Ok(listener) => listener,
        Err(error) => {
            return usage(&format!(
                "cannot listen on {}: {error}; stop what uses that port or choose another with --listen",
                config.listen
            ));
        }
    };
    let served = serve(&runtime, config, listener);
    // Nobody waits for a name that is being looked up, or a password that is being hashed for somebody who is gone.
    runtime.shutdown_timeout(LET_GO_WAIT);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("gateway failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Binds before anything else starts, so that a taken port is told from everything else.
fn bind(runtime: &Runtime, address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A port whose last connections linger may be used again at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let _inside = runtime.enter();
    socket.listen(BACKLOG)
}

fn serve(runtime: &Runtime, config: Config, listener: TcpListener) -> anyhow::Result<()> {
    runtime.block_on(async { crate::run(config, listener, crate::server::signals()?).await })
}

fn start_logs(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A traced command's span says how long it took when it closes.
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

fn usage(line: &str) -> ExitCode {
    eprintln!("gateway: {line}");
    ExitCode::from(EXIT_USAGE)
}

/// The first paragraph of clap's message, on one line.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    let line = words.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "no command given; try `gateway run --config FILE` or `gateway --help`".to_owned();
    }
    format!("{line}; `gateway run --help` lists what there is")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Result<RunArgs, clap::Error> {
        let Command::Run(args) = Cli::try_parse_from(["gateway", "run"].iter().chain(words))?.command;
        Ok(args)
    }

    #[test]
    fn an_unknown_flag_is_one_line_that_says_what_to_do() {
        let line = one_line(&args(&["--colour", "red"]).unwrap_err());
        assert!(line.contains("--colour") && line.contains("--help") && !line.contains('\n'), "{line}");
    }

    #[test]
    fn flags_beat_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.toml");
        std::fs::write(&path, "cluster = \"c\"\nname = \"a\"\nreplicas = [\"127.0.0.1:7101\"]\n").unwrap();
        let config = args(&[
            "--config",
            path.to_str().unwrap(),
            "--name",
            "b",
            "--replica",
            "127.0.0.1:1,127.0.0.1:2",
        ])
        .unwrap()
        .effective()
        .unwrap();
        assert_eq!((config.name.as_str(), config.cluster.as_str()), ("b", "c"));
        assert_eq!(config.replicas, ["127.0.0.1:1", "127.0.0.1:2"]);
    }

    #[test]
    fn a_taken_port_is_refused() {
        let runtime = Runtime::new().unwrap();
        let first = bind(&runtime, "127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(bind(&runtime, first.local_addr().unwrap()).is_err());
    }
}
