//! One seed from beginning to end, and what is said about it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use quorate_tests::oracle;
use rand::{Rng as _, SeedableRng as _};

use crate::client::{self, Api};
use crate::faults::Faults;
use crate::net::{HostId, Step};
use crate::scene::Scene;
use crate::violation::{self, Violation};
use crate::world::World;

const REPLICAS: u64 = 5;
const GATEWAYS: u64 = 2;
const WRITERS: usize = 6;
const ROOMS: usize = 3;
const FOLLOWERS: usize = 4;
const LINEAR_READERS: usize = 3;
/// Things go wrong for this long.
const FAULTS_MS: u64 = 6_000;
/// Longest wait of each later phase: after it is healed the cluster must serve within this.
const PHASE_MS: u64 = 10_000;
/// The replicas are looked at this often, ms.
const LOOK_INTERVAL_MS: u64 = 10;
/// Violations told of one seed.
const VIOLATIONS_TOLD: usize = 12;

thread_local! {
    static PANICKED: Cell<bool> = const { Cell::new(false) };
}

/// A panic inside a replica is a violation, even where its runtime catches it.
pub fn watch_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICKED.set(true);
        usual(info);
    }));
}

/// What became of a seed.
#[derive(Debug, Default)]
pub struct Report {
    pub seed: u64,
    pub simulated_ms: u64,
    pub took: Duration,
    pub trace: Vec<Step>,
    pub acks: u64,
    pub unknown: usize,
    pub replays: u64,
    pub linear_reads: u64,
    pub resumed: u64,
    pub deliveries: usize,
    pub leaders: u64,
    pub faults: BTreeMap<&'static str, u64>,
    pub violations: Vec<Violation>,
}

impl Report {
    /// What two runs of one seed have in common.
    pub fn trace_hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for step in &self.trace {
            for part in [step.at_ms, step.what as u64, step.number, step.bytes as u64] {
                hasher.update(&part.to_be_bytes());
            }
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }

    pub fn print(&self) {
        let faults: u64 = self.faults.values().sum();
        println!(
            "seed {}: {} acks, {} leaders, {faults} faults, {} simulated ms in {} ms, trace {}{}",
            self.seed,
            self.acks,
            self.leaders,
            self.simulated_ms,
            self.took.as_millis(),
            self.trace_hash(),
            if self.violations.is_empty() { "" } else { ", VIOLATIONS:" }
        );
        for violation in self.violations.iter().take(VIOLATIONS_TOLD) {
            println!("    {violation}");
        }
        if self.violations.len() > VIOLATIONS_TOLD {
            println!("    and {} more", self.violations.len() - VIOLATIONS_TOLD);
        }
    }
}

/// What became of many.
#[derive(Debug, Default)]
pub struct Totals {
    seeds: u64,
    failed: Vec<u64>,
    /// In how many seeds a kind of violation was found.
    kinds: BTreeMap<String, u64>,
    sum: Report,
}

impl Totals {
    pub fn add(&mut self, report: &Report) {
        self.seeds += 1;
        if !report.violations.is_empty() {
            self.failed.push(report.seed);
        }
        let kinds: BTreeSet<&String> = report.violations.iter().map(|violation| &violation.kind).collect();
        for kind in kinds {
            *self.kinds.entry(kind.clone()).or_default() += 1;
        }
        self.sum.simulated_ms += report.simulated_ms;
        self.sum.acks += report.acks;
        self.sum.unknown += report.unknown;
        self.sum.replays += report.replays;
        self.sum.linear_reads += report.linear_reads;
        self.sum.resumed += report.resumed;
        self.sum.deliveries += report.deliveries;
        self.sum.leaders += report.leaders;
        for (fault, count) in &report.faults {
            *self.sum.faults.entry(fault).or_default() += count;
        }
    }

    pub fn failed(&self) -> bool {
        !self.failed.is_empty()
    }

    pub fn print(&self, took: Duration) {
        let sum = &self.sum;
        println!(
            "{} seeds in {:.1} s ({:.1} seeds/s, {:.0} simulated s): {} acks, {} of them unknown at the end, {} replays, {} \
             linearizable reads, {} deliveries, {} exact resumes, {} leaders",
            self.seeds,
            took.as_secs_f64(),
            self.seeds as f64 / took.as_secs_f64(),
            sum.simulated_ms as f64 / 1_000.0,
            sum.acks,
            sum.unknown,
            sum.replays,
            sum.linear_reads,
            sum.deliveries,
            sum.resumed,
            sum.leaders,
        );
        let faults: Vec<String> =
            sum.faults.iter().map(|(fault, count)| format!("{count} {fault}")).collect();
        println!("faults: {}", faults.join(", "));
        if self.failed.is_empty() {
            println!("violations: none");
        } else {
            println!("violations in {} seeds: {:?}", self.failed.len(), self.failed);
            for (kind, seeds) in &self.kinds {
                println!("found {kind} in {seeds} seeds");
            }
        }
    }
}

/// What the world shows when it is looked at.
#[derive(Default)]
struct Watch {
    /// Who led: a term may have several leaders, each with a higher id than the one before.
    leaders: BTreeSet<(u64, HostId)>,
    /// The newest term that a replica has shown in any of its lives.
    terms: BTreeMap<HostId, u64>,
    /// The running hash at an index, and who showed it first.
    hashes: BTreeMap<u64, (String, HostId)>,
    ended: BTreeMap<HostId, String>,
    leader: Option<HostId>,
    violations: Vec<Violation>,
}

impl Watch {
    fn look(&mut self, world: &World, faults: &Faults) {
        let now = world.now();
        let mut newest_term = 0;
        for machine in world.machines.iter().filter(|machine| machine.id <= world.replicas && machine.is_up())
        {
            let id = machine.id;
            if let Some(reason) = machine.ended()
                && !faults.stopping.contains(&id)
                && self.ended.insert(id, reason.clone()).as_ref() != Some(&reason)
            {
                self.violations.push(Violation::ended(id, now, &reason));
            }
            let Some(status) = machine.ask(|node| node.status(0)) else { continue };
            let term = self.terms.entry(id).or_default();
            if status.term < *term {
                let line = format!("at {now} ms: replica {id} went back from term {term} to {}", status.term);
                self.violations.push(Violation::new(violation::TERM_BACK, line));
            }
            *term = status.term;
            if status.role == "leader" {
                self.leaders.insert((status.term, id));
                if status.term >= newest_term {
                    newest_term = status.term;
                    self.leader = Some(id);
                }
            }
            if status.hash_index > 0 {
                let (hash, first) =
                    self.hashes.entry(status.hash_index).or_insert_with(|| (status.hash.clone(), id)).clone();
                if hash != status.hash {
                    let index = status.hash_index;
                    let line = format!("at {now} ms: replicas {first} and {id} differ at index {index}");
                    self.violations.push(Violation::new(violation::DIFFER, line));
                }
                let begin = status.hash.get(..16).and_then(|hex| u64::from_str_radix(hex, 16).ok());
                world.net.note_state(begin.unwrap_or(0));
            }
        }
    }
}

struct Run {
    world: World,
    faults: Faults,
    watch: Watch,
    scene: Scene,
}

impl Run {
    fn turn(&mut self) {
        self.world.turn();
        self.scene.set_now(self.world.now());
        if self.world.now().is_multiple_of(LOOK_INTERVAL_MS) {
            self.watch.look(&self.world, &self.faults);
        }
    }

    /// Goes on until something holds. Says what did not hold in time.
    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> Result<(), String>) -> bool {
        let begun = self.world.now();
        loop {
            for _ in 0..LOOK_INTERVAL_MS {
                self.turn();
            }
            match holds(self) {
                Ok(()) => return true,
                Err(why) if self.world.now() - begun >= PHASE_MS => {
                    let states: Vec<String> = self.states();
                    let line =
                        format!("not within {PHASE_MS} simulated ms: {what}: {why}; {}", states.join("; "));
                    self.watch.violations.push(Violation::new(violation::STUCK, line));
                    return false;
                }
                Err(_) => {}
            }
            if PANICKED.get() {
                return false;
            }
        }
    }

    fn states(&self) -> Vec<String> {
        let replicas = self.world.machines.iter().filter(|machine| machine.id <= REPLICAS);
        replicas
            .map(|machine| match machine.ask(|node| node.status(0)) {
                None => format!("{} is down", machine.id),
                Some(status) => format!(
                    "{} {} term {} log {} committed {} applied {}",
                    machine.id,
                    status.role,
                    status.term,
                    status.last_log_index,
                    status.commit_index,
                    status.applied_index
                ),
            })
            .collect()
    }
}

/// Runs one seed.
pub fn run(seed: u64, verbose: bool, failures: Option<&Path>) -> Report {
    let began = Instant::now();
    PANICKED.set(false);
    let world = match World::new(seed, REPLICAS, GATEWAYS) {
        Ok(world) => world,
        Err(error) => {
            let line = format!("the simulation cannot write its files: {error}");
            let violations = vec![Violation::new(violation::BROKEN, line)];
            return Report { seed, violations, ..Report::default() };
        }
    };
    let mut run =
        Run { world, faults: Faults::new(verbose), watch: Watch::default(), scene: Scene::default() };
    let mut report = Report { seed, ..Report::default() };
    play(&mut run, seed);
    if PANICKED.get() {
        run.watch.violations.push(Violation::new(violation::PANICKED, "a replica panicked"));
    }
    let seen = run.scene.seen();
    report.violations = std::mem::take(&mut run.watch.violations);
    report.violations.extend(seen.wrongs.iter().cloned());
    report.violations.extend(oracle::check(&seen.history).iter().map(Violation::from));
    report.simulated_ms = run.world.now();
    report.trace = run.world.net.trace();
    report.acks = seen.acks;
    report.unknown = seen
        .history
        .sends
        .iter()
        .filter(|sent| matches!(sent.fate, quorate_tests::history::Fate::Unknown))
        .count();
    report.replays = seen.replays;
    report.linear_reads = seen.linear_reads;
    report.resumed = seen.resumed;
    report.deliveries = seen.history.readers.iter().map(|reader| reader.events.len()).sum();
    report.leaders = run.watch.leaders.len() as u64;
    report.faults = std::mem::take(&mut run.faults.counts);
    report.took = began.elapsed();
    if verbose {
        println!("network: {:?}", run.world.net.counts());
    }
    if let Some(dir) = failures.filter(|_| !report.violations.is_empty()) {
        let path = dir.join(format!("simulation-{seed}.json"));
        let saved = std::fs::create_dir_all(dir).map_err(anyhow::Error::from).and_then(|()| {
            serde_json::to_writer(std::fs::File::create(&path)?, &seen.history).map_err(Into::into)
        });
        if let Err(error) = saved {
            let line = format!("cannot write {}: {error}", path.display());
            report.violations.push(Violation::new(violation::BROKEN, line));
        }
    }
    report
}

fn play(run: &mut Run, seed: u64) {
    let done = Arc::new(AtomicUsize::new(0));
    for id in 1..=REPLICAS {
        run.world.start_replica(id);
    }
    for place in 0..GATEWAYS {
        start_gateway(run, place, seed, &done);
    }
    let ready = run.until("a cluster with people and rooms", |run| {
        if run.scene.is_ready() { Ok(()) } else { Err("still signing up".to_owned()) }
    });
    if !ready {
        return;
    }
    let until = run.world.now() + FAULTS_MS;
    while run.world.now() < until && !PANICKED.get() {
        let leader = run.watch.leader;
        run.faults.turn(&mut run.world, leader);
        run.turn();
    }
    run.faults.heal(&mut run.world);
    run.scene.set_healed();
    let served = run.until("everybody to be served after the healing", |run| {
        let served = run.scene.seen().acks_after_heal.len();
        if served == WRITERS { Ok(()) } else { Err(format!("{served} of {WRITERS} writers are")) }
    });
    run.scene.set_quiet();
    if !served {
        return;
    }
    run.until("every command to be decided", |_| {
        let open = WRITERS - done.load(Ordering::Relaxed);
        if open == 0 { Ok(()) } else { Err(format!("{open} writers wait")) }
    });
    run.until("all replicas to be equal", |run| {
        let mut shown = Vec::new();
        for machine in run.world.machines.iter().filter(|machine| machine.id <= REPLICAS) {
            let status = machine.ask(|node| node.status(0));
            let status = status.ok_or_else(|| format!("replica {} is down", machine.id))?;
            shown.push((status.applied_index, status.hash));
        }
        if shown.windows(2).all(|pair| pair[0] == pair[1]) { Ok(()) } else { Err(format!("{shown:?}")) }
    });
    let scene = run.scene.clone();
    run.world.spawn_on(101, async move {
        let api = Api::new(101, REPLICAS);
        for id in 1..=REPLICAS {
            client::read_all(api.clone(), scene.clone(), id).await;
        }
    });
    run.until("the final pages of all replicas", |run| {
        let read = run.scene.seen().final_pages;
        if read as u64 == REPLICAS { Ok(()) } else { Err(format!("{read} read")) }
    });
    run.until("every reader to have everything", |run| {
        let newest: BTreeMap<u64, u64> =
            run.scene.seen().history.finals.iter().map(|pages| (pages.conversation, pages.version)).collect();
        for reader in 0..FOLLOWERS {
            let versions = run.scene.versions(reader);
            if versions != newest {
                return Err(format!("reader {reader} has {versions:?} of {newest:?}"));
            }
        }
        Ok(())
    });
}

fn start_gateway(run: &mut Run, place: u64, seed: u64, done: &Arc<AtomicUsize>) {
    let scene = run.scene.clone();
    let done = done.clone();
    let mut rng = rand::rngs::SmallRng::seed_from_u64(seed.rotate_left(17) ^ place);
    run.world.run(101 + place, async move {
        let api = Api::new(101 + place, REPLICAS);
        let here = |number: usize| number as u64 % GATEWAYS == place;
        if place == 0 {
            let setting = client::set_the_scene(api.clone(), scene.clone(), rng.next_u64(), WRITERS, ROOMS);
            tokio::spawn(setting);
        }
        for number in (0..WRITERS).filter(|number| here(*number)) {
            let writing = client::write(api.clone(), scene.clone(), rng.next_u64(), number);
            let done = done.clone();
            tokio::spawn(async move {
                writing.await;
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        for number in (0..FOLLOWERS).filter(|number| here(*number)) {
            let name = format!("reader {number} at gateway {place}");
            tokio::spawn(client::follow(api.clone(), scene.clone(), rng.next_u64(), name));
        }
        for _ in (0..LINEAR_READERS).filter(|number| here(*number)) {
            tokio::spawn(client::read_linearizably(api.clone(), scene.clone(), rng.next_u64()));
        }
        // The gateway lives as long as its host.
        std::future::pending::<()>().await;
    });
}
