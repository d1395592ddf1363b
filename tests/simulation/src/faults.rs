//! What goes wrong when: drawn from the seed, undone after a while, all of it before the cluster must serve again.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt as _;

use crate::net::{FAIR, HostId, Weather};
use crate::world::{SYNC_MAX_MS, World};

/// Between two faults, ms.
const INTERVAL_MS: std::ops::Range<u64> = 30..500;
/// A year: what a badly set clock may be off by.
const YEAR_MS: i64 = 365 * 24 * 3_600 * 1_000;

/// Replicas of five whose failures of any kind change nothing.
const MINORITY: usize = 2;

enum Undo {
    Start(HostId),
    Resume(HostId),
    Heal,
    FairWeather,
    GoodDisk(HostId),
    /// An orderly stop has had its time.
    End(HostId),
}

/// Draws faults and undoes them.
#[derive(Default)]
pub struct Faults {
    next_at: u64,
    undo: BTreeMap<(u64, u64), Undo>,
    number: u64,
    /// Asked to stop: their end is no failure.
    pub stopping: BTreeSet<HostId>,
    a_year_ahead: BTreeSet<HostId>,
    pub counts: BTreeMap<&'static str, u64>,
    verbose: bool,
}

impl Faults {
    pub fn new(verbose: bool) -> Self {
        Self { verbose, ..Self::default() }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn say(&self, world: &World, what: impl std::fmt::Display) {
        if self.verbose {
            println!("{:>6} ms  {what}", world.now());
        }
    }

    fn later(&mut self, at: u64, undo: Undo) {
        self.number += 1;
        self.undo.insert((at, self.number), undo);
    }

    /// Does what is due now.
    pub fn turn(&mut self, world: &mut World, leader: Option<HostId>) {
        let now = world.now();
        while let Some(entry) = self.undo.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let undo = entry.remove();
            self.undo(world, undo);
        }
        if now >= self.next_at {
            self.next_at = now + world.rng.random_range(INTERVAL_MS);
            self.strike(world, leader);
        }
    }

    fn undo(&mut self, world: &mut World, undo: Undo) {
        match undo {
            Undo::Start(id) => {
                if !world.of(id).is_up() {
                    self.say(world, format_args!("replica {id} starts"));
                    world.start_replica(id);
                }
            }
            Undo::Resume(id) => {
                self.say(world, format_args!("replica {id} goes on"));
                world.resume(id);
            }
            Undo::Heal => {
                self.say(world, "the network is whole");
                world.net.heal();
            }
            Undo::FairWeather => world.net.set_weather(FAIR),
            Undo::GoodDisk(id) => world.set_sync_max(id, SYNC_MAX_MS),
            Undo::End(id) => {
                self.say(world, format_args!("replica {id} has stopped"));
                world.end_process(id);
                self.stopping.remove(&id);
                let at = world.now() + world.rng.random_range(10..600);
                self.later(at, Undo::Start(id));
            }
        }
    }

    /// Everything is made whole.
    pub fn heal(&mut self, world: &mut World) {
        for (_, undo) in std::mem::take(&mut self.undo) {
            if let Undo::End(id) = undo {
                world.end_process(id);
                self.stopping.remove(&id);
            }
        }
        world.net.heal();
        world.net.set_weather(FAIR);
        for id in 1..=world.replicas {
            world.resume(id);
            world.set_sync_max(id, SYNC_MAX_MS);
            if !world.of(id).is_up() {
                world.start_replica(id);
            }
        }
        self.say(world, "everything is healed");
    }

    fn someone(&self, world: &mut World, leader: Option<HostId>) -> HostId {
        match leader {
            Some(leader) if world.rng.random_bool(0.5) => leader,
            _ => world.rng.random_range(1..=world.replicas),
        }
    }

    fn crash(&mut self, world: &mut World, id: HostId, power: bool) {
        if !world.of(id).is_up() || self.stopping.contains(&id) {
            return;
        }
        let lost = if power { world.cut_power(id) } else { world.kill(id) };
        let what = if power { "power cut" } else { "kill" };
        self.count(what);
        if lost.gone > 0 {
            self.count("crash that lost unsynced records");
        }
        self.say(
            world,
            format_args!("{what} of replica {id}, {} of {} unsynced records gone", lost.gone, lost.unsynced),
        );
        let at = world.now() + world.rng.random_range(20..1_500);
        self.later(at, Undo::Start(id));
    }

    fn strike(&mut self, world: &mut World, leader: Option<HostId>) {
        let id = self.someone(world, leader);
        let now = world.now();
        match world.rng.random_range(0..100) {
            0..16 => self.crash(world, id, false),
            16..32 => self.crash(world, id, true),
            32..37 => {
                let power = world.rng.random_bool(0.7);
                let count = world.rng.random_range(2..=world.replicas);
                let mut victims: Vec<HostId> = (1..=world.replicas).collect();
                while victims.len() as u64 > count {
                    victims.remove(world.rng.random_range(0..victims.len()));
                }
                self.count("several at once");
                for victim in victims {
                    self.crash(world, victim, power);
                }
            }
            37..42 => self.stop_in_order(world, id),
            42..55 => {
                if world.of(id).is_up() && !world.of(id).is_paused() {
                    self.count("pause");
                    self.say(world, format_args!("replica {id} pauses"));
                    world.pause(id);
                    let at = now + world.rng.random_range(50..2_000);
                    self.later(at, Undo::Resume(id));
                }
            }
            55..78 => self.cut(world, id),
            78..85 => {
                self.count("bad weather");
                let weather = Weather {
                    delay_max_ms: world.rng.random_range(5..80),
                    loss_permille: world.rng.random_range(0..150),
                };
                self.say(world, format_args!("{weather:?}"));
                world.net.set_weather(weather);
                let at = now + world.rng.random_range(200..2_000);
                self.later(at, Undo::FairWeather);
            }
            85..91 => {
                self.count("slow disk");
                let sync_max_ms = world.rng.random_range(20..400);
                self.say(world, format_args!("the disk of replica {id} takes up to {sync_max_ms} ms"));
                world.set_sync_max(id, sync_max_ms);
                let at = now + world.rng.random_range(300..2_500);
                self.later(at, Undo::GoodDisk(id));
            }
            91..97 => {
                let Some(node) = world.of(id).node() else { return };
                self.count("snapshot and purge");
                self.say(world, format_args!("replica {id} takes a snapshot"));
                world.spawn_on(id, async move {
                    // It may stop meanwhile.
                    let _ = node.snapshot_and_purge().await;
                });
            }
            _ => {
                self.count("wrong clock");
                let off_ms = match world.rng.random_range(0..3) {
                    // Log time follows the majority: a minority's clocks may say what they like.
                    0 if self.a_year_ahead.contains(&id) || self.a_year_ahead.len() < MINORITY => {
                        self.a_year_ahead.insert(id);
                        YEAR_MS
                    }
                    _ => {
                        self.a_year_ahead.remove(&id);
                        world.rng.random_range(-20_000..20_000)
                    }
                };
                self.say(world, format_args!("the clock of replica {id} is off by {off_ms} ms"));
                world.set_clock_off(id, off_ms);
            }
        }
    }

    fn stop_in_order(&mut self, world: &mut World, id: HostId) {
        if world.of(id).is_paused() || self.stopping.contains(&id) {
            return;
        }
        let Some(node) = world.of(id).node() else { return };
        self.count("orderly stop");
        self.say(world, format_args!("replica {id} is asked to stop"));
        self.stopping.insert(id);
        world.spawn_on(id, async move {
            let _ = node.stop().await;
        });
        let at = world.now() + world.rng.random_range(50..1_800);
        self.later(at, Undo::End(id));
    }

    fn cut(&mut self, world: &mut World, id: HostId) {
        let replicas: Vec<HostId> = (1..=world.replicas).collect();
        let gateways: Vec<HostId> =
            world.machines.iter().map(|machine| machine.id).filter(|id| *id > 100).collect();
        let others = || replicas.iter().copied().filter(|other| *other != id);
        match world.rng.random_range(0..6) {
            0 => {
                self.count("one side cut from the other");
                let side: Vec<bool> = replicas.iter().map(|_| world.rng.random_bool(0.5)).collect();
                self.say(world, format_args!("cut between sides {side:?}"));
                for (a, on_a) in replicas.iter().zip(&side) {
                    for (b, on_b) in replicas.iter().zip(&side) {
                        if on_a != on_b {
                            world.net.block(*a, *b);
                        }
                    }
                }
            }
            1 => {
                self.count("one replica cut off");
                self.say(world, format_args!("replica {id} is cut off"));
                for other in others() {
                    world.net.block(id, other);
                    world.net.block(other, id);
                }
            }
            2 => {
                self.count("one-way cut of a pair");
                let other = replicas[world.rng.random_range(0..replicas.len())];
                self.say(world, format_args!("replica {other} does not hear {id}"));
                world.net.block(id, other);
            }
            3 => {
                self.count("one-way cut: nobody hears one");
                self.say(world, format_args!("nobody hears replica {id}"));
                for other in others() {
                    world.net.block(id, other);
                }
            }
            4 => {
                self.count("one-way cut: one hears nobody");
                self.say(world, format_args!("replica {id} hears nobody"));
                for other in others() {
                    world.net.block(other, id);
                }
            }
            _ => {
                self.count("gateway cut from replicas");
                let gateway = gateways[world.rng.random_range(0..gateways.len())];
                for replica in &replicas {
                    if world.rng.random_bool(0.5) {
                        world.net.block(gateway, *replica);
                        world.net.block(*replica, gateway);
                    }
                }
            }
        }
        let at = world.now() + world.rng.random_range(100..2_500);
        self.later(at, Undo::Heal);
    }
}
