//! A demo: a cluster with people and conversations in it, whose processes admins may hurt from the page, and a probe that tells
//! what of it anybody notices.
//!
//! Owns all of that beside the processes, which are the cluster's. It runs in the program that started them, so that it survives
//! whatever happens to them.
//!
//! ```text
//!  browser ─▶ gateway ─▶ control (token) ─▶ Demo ─▶ faults ─▶ Cluster ─▶ processes
//!     ▲                                      ├────▶ entries: links that sign in, once
//!     └── link with a code ──────────────────┘└───▶ probe ─▶ driver ×2 ─▶ gateways
//!  story ─▶ seed ─▶ rest ─▶ gateways            book: demo.json, 0600
//! ```

mod book;
mod control;
mod driver;
mod entries;
mod faults;
mod portrait;
mod probe;
mod rest;
mod seed;
mod story;
mod tally;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::rest::{Demo as Shown, Fault, ProcessState, SignIn};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::http::Call;
use crate::layout::Layout;
use crate::process::Activity;
use crate::spec::Spec;
use crate::state::Member;
use book::Book;
use control::{Answer, Control, Order};
use entries::Entries;
use probe::Probe;
use rest::{Account, Rest};
use seed::Seeder;

pub use control::Question;

/// Messages of one user in ten seconds; the probe sends a hundred.
const SENDS_PER_WINDOW_MAX: i64 = 200;
/// A gateway's answer must have left it before it is killed.
const ANSWER_LEAD: Duration = Duration::from_millis(150);
/// A gateway that runs says whom it takes for the leader within this.
const LEADER_WAIT: Duration = Duration::from_millis(300);
/// The runner answers a person's command within this.
const COMMAND_WAIT: Duration = Duration::from_secs(20);

/// A link that signs somebody in, once.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Link {
    /// Whom, as others see her.
    pub name: String,
    /// Open this. The code stands behind the `#`.
    pub address: String,
}

/// See the module.
#[derive(Debug)]
pub struct Demo {
    rest: Rest,
    book: Book,
    control: Control,
    entries: Entries,
    probe: Probe,
}

/// Makes a cluster to be one of a demo: its gateways are told where the runner is, and take what the probe sends.
///
/// # Errors
/// When the current folder is not known.
pub fn lay_out(spec: &mut Spec) -> Result<()> {
    let dir = std::path::absolute(&spec.data_dir)
        .map_err(|error| Error::Usage(format!("{}: {error}", spec.data_dir.display())))?;
    let file = control_file(&Layout::new(dir));
    spec.gateway_keys.insert("demo_control_file".to_owned(), file.display().to_string().into());
    let limited = spec.clone().limit("sends_per_window_max", SENDS_PER_WINDOW_MAX);
    spec.gateway_keys = limited.gateway_keys;
    spec.demo = true;
    Ok(())
}

fn control_file(layout: &Layout) -> PathBuf {
    layout.dir().join("demo-control.json")
}

fn book_file(layout: &Layout) -> PathBuf {
    layout.dir().join("demo.json")
}

impl Demo {
    /// Fills a cluster that serves with people and conversations, where that was not done before, and opens the control.
    ///
    /// # Errors
    /// [`Error::Usage`] when somebody else has a name of the story; [`Error::Failed`] when the cluster does not take it.
    pub async fn open(cluster: &Cluster) -> Result<Self> {
        let rest = Rest::of(cluster)?;
        let names = story::PEOPLE.iter().map(|person| person.name);
        let mut book = Book::open(&book_file(cluster.layout()), names)?;
        let mut seeder = Seeder::new(cluster, &rest);
        let steps = seed::steps();
        let done = seed::go_on(&mut book, &steps, async |book, number, step| {
            seeder.carry_out(book, number, step).await
        });
        done.await?;
        seeder.sign_out().await;
        let probe = Probe::new(&rest, &book)?;
        let control = Control::open(&control_file(cluster.layout())).await?;
        Ok(Self { rest, book, control, entries: Entries::default(), probe })
    }

    /// Two links: for two people who are to be seen in two windows of one browser.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn links(&mut self, cluster: &Cluster) -> Result<Vec<Link>> {
        let scheme = if cluster.has_edge_tls() { "https" } else { "http" };
        let front = cluster.front().port();
        // Without a balancer each window has a gateway of its own.
        let last = self.rest.gateways.get(1).map_or(front, |address| address.port());
        let ports = if cluster.has_balancer() { [front, front] } else { [front, last] };
        // A browser keeps the sign-ins of the two names apart.
        let hosts = ["localhost", "127.0.0.1"];
        let mut links = Vec::new();
        for ((name, host), port) in [story::FIRST, story::SECOND].into_iter().zip(hosts).zip(ports) {
            let code = self.entries.issue(name, Instant::now())?;
            let person = story::PEOPLE.iter().find(|person| person.name == name);
            let name = person.map_or(name, |person| person.display_name).to_owned();
            links.push(Link { name, address: format!("{scheme}://{host}:{port}/demo#{code}") });
        }
        Ok(links)
    }

    /// The next question from a gateway. Safe to cancel.
    pub async fn next(&mut self) -> Question {
        self.control.next().await
    }

    /// Answers it. One after the other: two faults at a time would each see the cluster as the other has not left it.
    pub async fn carry_out(&mut self, cluster: &Cluster, question: Question) {
        let Question { order, answer } = question;
        // Told that it failed, nobody expects it to happen any more.
        if answer.is_closed() {
            return;
        }
        let decided = match order {
            Order::Show => self.show(cluster).await,
            Order::Fault(asked) => match faults::target(cluster, &asked).await {
                Ok(Member::Gateway(name)) if matches!(asked.fault, Fault::Kill | Fault::Pause) => {
                    let member = Member::Gateway(name);
                    let told = self.show_after(cluster, &member, asked.fault).await;
                    // Who asked may have gone meanwhile; what was asked is done all the same.
                    let _ = answer.send(told);
                    tokio::time::sleep(ANSWER_LEAD).await;
                    if let Err(error) = faults::carry_out(cluster, asked.fault, &member).await {
                        eprintln!("quorate-cluster: {member}: {}", error.message);
                    }
                    return;
                }
                Ok(member) => match faults::carry_out(cluster, asked.fault, &member).await {
                    Ok(()) => self.show(cluster).await,
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            },
            Order::Probe(asked) => match self.probe.run(asked.run).await {
                Ok(()) => self.show(cluster).await,
                Err(error) => Err(error),
            },
            Order::Enter(entry) => self.enter(&entry.code),
            Order::GiveBack(entry) => {
                self.entries.give_back(&entry.code, Instant::now());
                Ok(Value::Null)
            }
            Order::Links => match self.links(cluster) {
                Ok(links) => Ok(json!({ "links": links })),
                Err(error) => Err(WireError::new(ErrorCode::Internal, error.to_string())),
            },
        };
        // Who asked may have gone meanwhile.
        let _ = answer.send(decided);
    }

    async fn shown(&self, cluster: &Cluster) -> std::result::Result<Shown, WireError> {
        let processes = faults::processes(cluster)?;
        let runs = |name: &String| {
            processes.iter().any(|each| each.name == *name && each.state == ProcessState::Running)
        };
        // A gateway needs a moment to notice that its leader is gone.
        let leader = self.leader(cluster).await.filter(runs);
        Ok(Shown { processes, leader, unavailable: faults::unavailable(), probe: self.probe.report() })
    }

    async fn show(&self, cluster: &Cluster) -> Answer {
        self.shown(cluster).await.map(|shown| value(&shown))
    }

    /// As it will be in a moment.
    async fn show_after(&self, cluster: &Cluster, member: &Member, fault: Fault) -> Answer {
        let mut shown = self.shown(cluster).await?;
        let name = member.to_string();
        if let Some(row) = shown.processes.iter_mut().find(|row| row.name == name) {
            row.state = if fault == Fault::Kill { ProcessState::Stopped } else { ProcessState::Paused };
            row.pid = row.pid.filter(|_| fault != Fault::Kill);
        }
        Ok(value(&shown))
    }

    /// Whom the first gateway that answers takes for the leader.
    async fn leader(&self, cluster: &Cluster) -> Option<String> {
        for name in cluster.gateways() {
            let member = Member::Gateway(name.clone());
            let runs = cluster.activity(&member).is_ok_and(|(activity, _)| activity == Activity::Running);
            let Some(address) = cluster.gateway_address(&name).ok().filter(|_| runs) else { continue };
            let call = Call::get("/statusz").deadline(LEADER_WAIT).over(self.rest.trust.clone());
            let Ok(answer) = call.send(address).await else { continue };
            let Ok(says) = serde_json::from_slice::<Value>(answer.body()) else { continue };
            let leads = says["leader_id"].as_u64().filter(|_| says["write"] == "up");
            return leads.and_then(|id| u16::try_from(id).ok()).map(|id| Member::Replica(id).to_string());
        }
        None
    }

    fn enter(&mut self, code: &str) -> Answer {
        let Some(name) = self.entries.redeem(code, Instant::now()) else {
            let text = "this link was used already, or is too old: `deploy/demo links` prints new ones";
            return Err(WireError::new(ErrorCode::NotFound, text));
        };
        let password = self.book.password(&name);
        let password = password.map_err(|error| WireError::new(ErrorCode::Internal, error.to_string()))?;
        let known: SignIn = Account::new(&name, password).sign_in();
        Ok(value(&known))
    }
}

fn value(shown: &impl serde::Serialize) -> Value {
    serde_json::to_value(shown).expect("plain fields serialize")
}

/// Asks the demo that runs in a data directory for new links.
///
/// # Errors
/// [`Error::Usage`] when none runs there.
pub async fn new_links(data_dir: &Path) -> Result<Vec<Link>> {
    let none = || {
        Error::Usage(format!(
            "no demo runs in {dir}: start one with `deploy/up --demo --data-dir {dir}`",
            dir = data_dir.display()
        ))
    };
    let told = control::read_file(&control_file(&Layout::new(data_dir))).ok_or_else(none)?;
    let call = Call::new("POST", "/links").header("authorization", format!("Bearer {}", told.token));
    let answer = call.deadline(COMMAND_WAIT).send(told.address).await.map_err(|_| none())?;
    let mut says: Value = rest::body(&answer)?;
    serde_json::from_value(says["links"].take()).map_err(|_| none())
}
