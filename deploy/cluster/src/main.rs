//! `quorate-cluster`: the command behind `deploy/up`, `deploy/down`, `deploy/status`, `deploy/replica`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use quorate_cluster::demo::{self, Demo, Link, Question};
use quorate_cluster::process::Send;
use quorate_cluster::{Balancer, Binaries, Cluster, Error, Layout, Member, Ports, Spec, status, wait_until};
use tokio::signal::unix::{SignalKind, signal};

/// Prints a text. A reader who has gone (`| head`) is no failure.
fn show(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Prints a line, as [`show`] does.
macro_rules! say {
    ($($words:tt)*) => { show(&(format!($($words)*) + "\n")) };
}

/// How often a cluster in the foreground looks whether a process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A process that was started by hand answers within this.
const START_WAIT: Duration = Duration::from_secs(60);

/// An election takes less than this.
const LEADER_WAIT: Duration = Duration::from_secs(10);

/// A Quorate cluster on this machine.
#[derive(Debug, Parser)]
#[command(name = "quorate-cluster", version)]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Starts a cluster and keeps it until Ctrl-C
    Up(Up),
    /// Ends what `up` started in a data directory
    Down(Where),
    /// Shows what every replica and gateway says of itself
    Status {
        #[command(flatten)]
        place: Where,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Starts, stops, kills, pauses, resumes, removes or replaces one replica; or adds a new one
    Replica {
        /// Its id, from 1, `leader` for whoever leads now, or `add` for a new one
        which: String,
        /// What to do
        verb: Option<ReplicaAct>,
        #[command(flatten)]
        place: Where,
    },
    /// Starts, stops, kills, pauses or resumes one gateway
    Gateway {
        /// Its name: a, b, c, …
        name: String,
        /// What to do
        verb: Act,
        #[command(flatten)]
        place: Where,
    },
    /// Starts, stops, kills, pauses or resumes the balancer
    Balancer {
        /// What to do
        verb: Act,
        #[command(flatten)]
        place: Where,
    },
    /// What concerns a cluster that was started with `up --demo`
    Demo {
        /// What to do
        verb: DemoAct,
        #[command(flatten)]
        place: Where,
    },
}

#[derive(Debug, Args)]
struct Where {
    /// The cluster's data directory; default: quorate in your data folder
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

impl Where {
    fn dir(&self) -> Result<PathBuf, Error> {
        self.data_dir.clone().map_or_else(Layout::default_dir, Ok)
    }
}

#[derive(Debug, Args)]
struct Up {
    /// Number of replicas, 1 to 9; 5 in a new data directory
    #[arg(long)]
    replicas: Option<u16>,
    /// Number of gateways, 1 to 19
    #[arg(long, default_value_t = 3)]
    gateways: u16,
    /// Port to open in the browser; the other processes use the 63 ports above it; 8080 in a new data directory
    #[arg(long)]
    port: Option<u16>,
    /// Return when the cluster serves, and leave it running
    #[arg(long)]
    detach: bool,
    /// Run without HAProxy even if it is installed
    #[arg(long)]
    no_balancer: bool,
    /// TLS everywhere: the processes know each other by certificates, and browsers come by HTTPS. Made under the data
    /// directory, which keeps them
    #[arg(long)]
    tls: bool,
    /// Fill it with people and conversations, print links that sign two of them in, and let admins hurt its processes from
    /// the page. What is there already is not added again
    #[arg(long)]
    demo: bool,
    /// Folder with the built page
    #[arg(long)]
    page_dir: Option<PathBuf>,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Act {
    Start,
    /// SIGTERM: orderly, a leader hands over first
    Stop,
    /// SIGKILL: as if the machine died
    Kill,
    /// SIGSTOP: as if the machine hung
    Pause,
    /// SIGCONT
    Resume,
}

/// What can be asked of a demo.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum DemoAct {
    /// Prints new links: each is good once
    Links,
}

/// What can be done to a replica.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ReplicaAct {
    Start,
    /// SIGTERM: orderly, a leader hands over first
    Stop,
    /// SIGKILL: as if the machine died
    Kill,
    /// SIGSTOP: as if the machine hung
    Pause,
    /// SIGCONT
    Resume,
    /// Out of the cluster, for ever; its id is never used again
    Remove,
    /// By a new one under a new id; works for a dead one
    Replace,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            eprintln!("quorate-cluster: {line}; `--help` lists what there is");
            return ExitCode::from(2);
        }
        Err(help) => {
            show(&help.to_string());
            return ExitCode::SUCCESS;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("quorate-cluster: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli.command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("quorate-cluster: {error}");
            ExitCode::from(if matches!(error, Error::Usage(_)) { 2 } else { 1 })
        }
    }
}

async fn run(verb: Verb) -> Result<ExitCode, Error> {
    match verb {
        Verb::Up(up) => return run_up(up).await,
        Verb::Down(place) => {
            let cluster = Cluster::attach(&place.dir()?)?;
            cluster.shut_down().await?;
            say!("stopped; the data stays in {}", cluster.layout().dir().display());
        }
        Verb::Status { place, json } => {
            let status = Cluster::attach(&place.dir()?)?.status().await?;
            if json {
                let text = serde_json::to_string_pretty(&status);
                say!("{}", text.expect("plain fields serialize"));
            } else {
                show(&status::table(&status));
            }
        }
        Verb::Replica { which, verb, place } => replica_act(&which, verb, &place).await?,
        Verb::Gateway { name, verb, place } => act(&Member::Gateway(name), verb, &place).await?,
        Verb::Balancer { verb, place } => act(&Member::Balancer, verb, &place).await?,
        Verb::Demo { verb: DemoAct::Links, place } => show(&links(&demo::new_links(&place.dir()?).await?)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn replica(which: &str, place: &Where) -> Result<Member, Error> {
    if which != "leader" {
        let id = which.parse().map_err(|_| {
            Error::Usage(format!("a replica is named by its id or as `leader`, not {which:?}"))
        })?;
        return Ok(Member::Replica(id));
    }
    let cluster = Cluster::attach(&place.dir()?)?;
    let (id, term) = wait_until("a leader", LEADER_WAIT, || cluster.leader()).await?;
    say!("replica-{id} leads in term {term}");
    Ok(Member::Replica(id))
}

async fn replica_act(which: &str, verb: Option<ReplicaAct>, place: &Where) -> Result<(), Error> {
    if which == "add" {
        let cluster = Cluster::attach(&place.dir()?)?;
        let id = cluster.add_replica().await?;
        say!("replica-{id} runs and is a voter");
        return Ok(());
    }
    let Some(verb) = verb else {
        return Err(Error::Usage(format!(
            "what to do with replica {which}? start, stop, kill, pause, resume, remove, replace"
        )));
    };
    let member = replica(which, place).await?;
    let verb = match (verb, &member) {
        (ReplicaAct::Start, _) => Act::Start,
        (ReplicaAct::Stop, _) => Act::Stop,
        (ReplicaAct::Kill, _) => Act::Kill,
        (ReplicaAct::Pause, _) => Act::Pause,
        (ReplicaAct::Resume, _) => Act::Resume,
        (ReplicaAct::Remove, Member::Replica(id)) => {
            Cluster::attach(&place.dir()?)?.remove_replica(*id).await?;
            say!("{member} is removed and has ended");
            return Ok(());
        }
        (ReplicaAct::Replace, Member::Replica(id)) => {
            let new = Cluster::attach(&place.dir()?)?.replace_replica(*id).await?;
            say!("replica-{new} is a voter in the place of {member}, which is removed for ever");
            return Ok(());
        }
        (_, other) => return Err(Error::Usage(format!("{other} is no replica"))),
    };
    act(&member, verb, place).await
}

async fn act(member: &Member, verb: Act, place: &Where) -> Result<(), Error> {
    let cluster = Cluster::attach(&place.dir()?)?;
    let done = match verb {
        Act::Start => {
            let process = cluster.start_member(member)?;
            cluster.wait_ready(member, START_WAIT).await?;
            say!("{member} runs, pid {}", process.pid);
            return Ok(());
        }
        Act::Stop => {
            cluster.stop(member).await?;
            "stopped"
        }
        Act::Kill => {
            cluster.kill(member).await?;
            "killed"
        }
        Act::Pause => {
            cluster.signal(member, Send::Pause)?;
            "paused"
        }
        Act::Resume => {
            cluster.signal(member, Send::Resume)?;
            "resumed"
        }
    };
    say!("{member} {done}");
    Ok(())
}

async fn run_up(up: Up) -> Result<ExitCode, Error> {
    if up.demo && up.detach {
        return Err(Error::Usage(
            "--demo stays in this terminal, because what hurts the processes and the probe run here: leave --detach out"
                .to_owned(),
        ));
    }
    let mut spec = Spec::new(up.place.dir()?, Binaries::beside_this_program()?);
    spec.replicas = up.replicas;
    spec.gateways = up.gateways;
    spec.tls = up.tls;
    spec.edge_tls = up.tls;
    spec.ports = up.port.map(Ports::From);
    spec.balancer = if up.no_balancer { Balancer::None } else { Balancer::if_installed() };
    spec.page_dir = match up.page_dir {
        Some(dir) => Some(
            std::path::absolute(&dir).map_err(|error| Error::Usage(format!("{}: {error}", dir.display())))?,
        ),
        None => None,
    };
    if up.demo {
        demo::lay_out(&mut spec)?;
    }
    let failed = |error: std::io::Error| Error::Failed(format!("cannot listen for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(failed)?;

    let cluster = Cluster::prepare(&spec)?;
    say!("starting {} replicas and {} gateways …", cluster.replicas(), cluster.gateways().len());
    tokio::select! {
        started = cluster.start() => started?,
        // Dropping the cluster ends what was started so far.
        _ = interrupt.recv() => return Ok(ExitCode::from(130)),
        _ = terminate.recv() => return Ok(ExitCode::from(143)),
        _ = hang_up.recv() => return Ok(ExitCode::from(129)),
    }
    let mut demo = None;
    if up.demo {
        say!("people and conversations of the demo …");
        tokio::select! {
            opened = Demo::open(&cluster) => demo = Some(opened?),
            _ = interrupt.recv() => return Ok(ExitCode::from(130)),
            _ = terminate.recv() => return Ok(ExitCode::from(143)),
            _ = hang_up.recv() => return Ok(ExitCode::from(129)),
        }
    }
    show(&welcome(&cluster, up.detach));
    if let Some(demo) = &mut demo {
        show(&stage(&cluster, &demo.links(&cluster)?));
    }
    tokio::select! {
        offered = cluster.operate(&["admin", "offer", "--first"]) => show(&first_admin(&offered)),
        _ = interrupt.recv() => return Ok(ExitCode::from(130)),
        _ = terminate.recv() => return Ok(ExitCode::from(143)),
        _ = hang_up.recv() => return Ok(ExitCode::from(129)),
    }
    if up.detach {
        cluster.detach();
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        let question = tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = hang_up.recv() => break,
            () = tokio::time::sleep(LOOK_EVERY) => None,
            question = next(&mut demo) => Some(question),
        };
        if let (Some(demo), Some(question)) = (&mut demo, question) {
            demo.carry_out(&cluster, question).await;
        }
        for (_, line) in cluster.ended() {
            say!("{line}");
        }
        // `deploy/down` from another terminal ends this one as well. If only the records are gone, somebody removed the
        // data directory: what was started here must not be left without anybody who knows of it.
        if !cluster.layout().cluster_json().exists() {
            cluster.end_children();
            cluster.detach();
            say!("the cluster was stopped from elsewhere, or its data directory was removed");
            return Ok(ExitCode::SUCCESS);
        }
    }
    say!("\nstopping: balancer, gateways, replicas …");
    cluster.shut_down().await?;
    say!("stopped; the data stays in {}", cluster.layout().dir().display());
    Ok(ExitCode::SUCCESS)
}

fn welcome(cluster: &Cluster, detached: bool) -> String {
    let dir = cluster.layout().dir().display();
    let scheme = if cluster.has_edge_tls() { "https" } else { "http" };
    let trust = if cluster.has_edge_tls() {
        let ca_file = cluster.layout().tls().join("ca.pem");
        format!("  Trust    {} in your browser, or tell it to go on\n", ca_file.display())
    } else {
        String::new()
    };
    let line = |(name, place): (String, u16)| {
        format!("           {scheme}://{}  gateway {name}", localhost(cluster.plan().gateway(place).port()))
    };
    let gateways: Vec<String> = cluster.gateways().into_iter().zip(0..).map(line).collect();
    let gateways = gateways.join("\n");
    let port = cluster.front().port();
    let open = if cluster.has_balancer() {
        format!(
            "  Open     {scheme}://{}  twice: the balancer gives each window another gateway.",
            localhost(port)
        )
    } else {
        format!(
            "  Without HAProxy (not installed, or not wanted) nothing spreads the windows over the gateways.\n  \
             Open     {scheme}://{}  or another gateway below.",
            localhost(port)
        )
    };
    let stop = if detached {
        format!("deploy/down --data-dir {dir}")
    } else {
        format!("Ctrl-C here, or deploy/down --data-dir {dir}")
    };
    format!(
        "\nQuorate serves.\n\n{open}\n{gateways}\n\n{trust}  \
         Sign up  with any user name and a password of 8 characters or more; there are no default accounts.\n  \
         Two      people in one browser: {scheme}://localhost:{port} and {scheme}://127.0.0.1:{port} keep separate sign-ins.\n  \
         Kill     deploy/replica leader kill --data-dir {dir}    kill -9 for whoever leads\n           \
         deploy/replica 1 start --data-dir {dir}        brings number 1 back\n           \
         deploy/gateway a kill --data-dir {dir}         its windows go on through another\n  \
         Look     deploy/status --data-dir {dir}\n           \
         {dir}/cluster.json has the process ids, {dir}/logs the logs\n  \
         Stop     {stop}\n\n"
    )
}

/// The next question to a demo; never, where there is none.
async fn next(demo: &mut Option<Demo>) -> Question {
    match demo {
        Some(demo) => demo.next().await,
        None => std::future::pending().await,
    }
}

fn links(links: &[Link]) -> String {
    links.iter().map(|link| format!("           {}  {}\n", link.address, link.name)).collect()
}

/// What a demo has beside.
fn stage(cluster: &Cluster, two: &[Link]) -> String {
    let front = two.first().and_then(|link| link.address.split("/demo#").next()).unwrap_or_default();
    let dir = cluster.layout().dir().display();
    format!(
        "  Demo     two windows, two people; each link is good once, for half an hour:\n{}           \
         deploy/demo links --data-dir {dir}    prints new ones\n  \
         Hurt     {front}/desk#/demo  in the first of the two windows: kill, pause, and a probe that counts what is lost\n  \
         Watch    {front}/desk#/cluster\n\n",
        links(two)
    )
}

/// The line for the first admin; nothing when there is one.
fn first_admin(offered: &Result<String, Error>) -> String {
    match offered.as_deref().map(str::trim) {
        Ok("") => String::new(),
        Ok(secret) => format!(
            "  Admin    there is none yet. Sign up, then give this secret under Account; it works once, for 24 hours:\n           \
             {secret}\n\n"
        ),
        Err(error) => format!("  Admin    no secret for the first admin: {error}\n\n"),
    }
}

fn localhost(port: u16) -> String {
    format!("localhost:{port}")
}
