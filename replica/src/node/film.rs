//! The film of each change of leader by which this replica came to lead: when the old leader was heard last, when it was missed,
//! and how long each step of the election took. Owns what is remembered, which is little and in memory; decides nothing.
//!
//! ```text
//!   last heard ── suspected ── votes asked for ── votes of a majority ── leads ── first commit
//! ```
//!
//! All times are of this replica's monotonic clock. What it did not see itself is absent.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver as _;
use quorate_proto::limits::FAILOVERS_MAX;
use quorate_proto::rpc;
use tokio::time::Instant;

use super::Raft;
use super::clock::Clocks;
use super::leadership::LeaderContact;
use super::types::LeaderId;

/// What a leader sent before it died may be read so long after its end was seen: for as long as the evidence of that is good. Who is
/// heard later lives, and the alarm was a false one.
const LATE_MAX: Duration = Duration::from_secs(1);
/// Voters whose votes are remembered: far more than a cluster has.
const VOTES_MAX: usize = 64;

/// One change of leader.
#[derive(Debug, Clone)]
struct Scene {
    term: u64,
    leader_id: u64,
    old_leader_id: u64,
    handed_over: bool,
    time_ms: u64,
    heard: Option<Instant>,
    suspected: Option<Instant>,
    election: Option<Instant>,
    majority: Option<Instant>,
    leading: Instant,
    committed: Option<Instant>,
}

/// The leader was missed.
#[derive(Debug, Clone, Copy)]
struct Suspicion {
    at: Instant,
    /// When a leader had been heard last.
    heard: Option<Instant>,
}

/// An election of this replica's that is under way.
#[derive(Debug)]
struct Election {
    term: u64,
    began: Instant,
    /// When a leader had been heard last: what a deposed one says afterwards is refused.
    heard: Option<Instant>,
    /// The leader asked for it.
    handed_over: bool,
    votes: Vec<(u64, Instant)>,
}

/// What has been seen of a change that may come to nothing, and those that came about.
#[derive(Debug, Default)]
struct Reel {
    suspected: Option<Suspicion>,
    /// The term of a leader that asked this replica to lead.
    handed: Option<u64>,
    election: Option<Election>,
    /// Newest first.
    scenes: VecDeque<Scene>,
}

/// The beginning of a reign.
#[derive(Debug)]
struct Lead<'a> {
    term: u64,
    own: u64,
    old_leader_id: u64,
    /// When another leader was last heard.
    heard: Option<Instant>,
    voters: &'a [BTreeSet<u64>],
    time_ms: u64,
    at: Instant,
}

impl Reel {
    fn suspect(&mut self, heard: Option<Instant>, at: Instant) {
        // What came before the leader was heard again was a false alarm.
        if self.suspected.is_none_or(|before| Some(before.at) < heard) {
            self.suspected = Some(Suspicion { at, heard });
        }
    }

    /// The leader of this term asks this replica to lead. It comes to an election in the next term, or to nothing.
    fn hand(&mut self, term: u64) {
        self.handed = Some(term);
    }

    fn ask(&mut self, term: u64, heard: Option<Instant>, at: Instant) {
        if self.election.as_ref().is_some_and(|election| election.term == term) {
            return;
        }
        let handed_over = self.handed.take().is_some_and(|of| of + 1 == term);
        self.election = Some(Election { term, began: at, heard, handed_over, votes: Vec::new() });
    }

    fn grant(&mut self, term: u64, by: u64, at: Instant) {
        if let Some(election) = self.election.as_mut().filter(|election| election.term == term)
            && election.votes.len() < VOTES_MAX
        {
            election.votes.push((by, at));
        }
    }

    fn lead(&mut self, lead: &Lead<'_>) {
        let Lead { term, own, old_leader_id, heard, voters, time_ms, at } = *lead;
        let election = self.election.take().filter(|election| election.term == term);
        let heard = heard.and(election.as_ref().map_or(heard, |election| election.heard));
        let handed_over = election.as_ref().is_some_and(|election| election.handed_over);
        let is_of_this = |suspicion: &Suspicion| heard.is_none_or(|heard| heard <= suspicion.at + LATE_MAX);
        let suspected = self.suspected.take().filter(|suspicion| !handed_over && is_of_this(suspicion));
        // What was read after the leader was missed had been sent before.
        let heard = match suspected {
            Some(suspicion) if heard > Some(suspicion.at) => suspicion.heard,
            _ => heard,
        };
        let majority = election.as_ref().and_then(|election| majority(own, voters, &election.votes));
        self.scenes.truncate(FAILOVERS_MAX - 1);
        self.scenes.push_front(Scene {
            term,
            leader_id: own,
            old_leader_id,
            handed_over,
            time_ms,
            heard,
            suspected: suspected.map(|suspicion| suspicion.at),
            election: election.map(|election| election.began),
            majority,
            leading: at,
            committed: None,
        });
    }

    fn commit(&mut self, term: u64, at: Instant) {
        if let Some(scene) = self.scenes.front_mut().filter(|scene| scene.term == term) {
            scene.committed.get_or_insert(at);
        }
    }

    fn tell(&self, now: Instant) -> Vec<rpc::Failover> {
        let told = self.scenes.iter().map(|scene| {
            let since = |at: Option<Instant>| {
                let elapsed = at?.checked_duration_since(scene.heard?)?;
                u64::try_from(elapsed.as_millis()).ok()
            };
            let heard_ago_us = scene
                .heard
                .and_then(|heard| u64::try_from(now.saturating_duration_since(heard).as_micros()).ok());
            rpc::Failover {
                term: scene.term,
                leader_id: scene.leader_id,
                old_leader_id: scene.old_leader_id,
                handed_over: scene.handed_over,
                time_ms: scene.time_ms,
                heard_ago_us,
                suspected_ms: since(scene.suspected),
                election_ms: since(scene.election),
                majority_ms: since(scene.majority),
                leading_ms: since(Some(scene.leading)),
                committed_ms: since(scene.committed),
            }
        });
        told.collect()
    }
}

/// When the votes, with one's own, first were a majority of each set of voters.
fn majority(own: u64, voters: &[BTreeSet<u64>], votes: &[(u64, Instant)]) -> Option<Instant> {
    let mut by = BTreeSet::from([own]);
    votes.iter().find_map(|(voter, at)| {
        by.insert(*voter);
        let has = |set: &BTreeSet<u64>| set.intersection(&by).count() > set.len() / 2;
        (!voters.is_empty() && voters.iter().all(has)).then_some(*at)
    })
}

/// See the module. Clones share it.
#[derive(Debug, Clone)]
pub struct Film {
    reel: Arc<Mutex<Reel>>,
    contact: LeaderContact,
}

impl Film {
    /// Nothing has happened yet.
    pub fn new(contact: LeaderContact) -> Self {
        Self { reel: Arc::default(), contact }
    }

    fn reel(&self) -> MutexGuard<'_, Reel> {
        self.reel.lock().expect("nothing panics while it holds the reel")
    }

    /// The leader's process is gone, or this replica's patience with it has ended.
    pub fn suspected(&self) {
        self.reel().suspect(self.contact.heard_at(), Instant::now());
    }

    /// This replica asks another for its vote.
    pub fn asked(&self, term: u64) {
        self.reel().ask(term, self.contact.heard_at(), Instant::now());
    }

    /// Another gave its vote.
    pub fn granted(&self, term: u64, by: u64) {
        self.reel().grant(term, by, Instant::now());
    }

    /// The leader of this term asks this replica to lead.
    pub fn handed(&self, term: u64) {
        self.reel().hand(term);
    }

    /// It did not agree.
    pub fn declined(&self) {
        self.reel().handed = None;
    }

    /// Changes of leader, newest first.
    pub fn tell(&self) -> Vec<rpc::Failover> {
        self.reel().tell(Instant::now())
    }

    /// Watches who leads for as long as this replica runs.
    pub(super) async fn watch(self, raft: Raft, clocks: Clocks) {
        let mut metrics = raft.server_metrics();
        // Whom this replica followed last, and in which reign it leads.
        let (mut followed, mut reign) = (None, None::<LeaderId>);
        loop {
            let (own, leader, leads, voters) = {
                let metrics = metrics.borrow_watched();
                let leads = metrics.state == ServerState::Leader && metrics.vote.committed;
                let voters = metrics.membership_config.membership().get_joint_config().clone();
                (metrics.id, metrics.current_leader, leads.then_some(metrics.vote.leader_id), voters)
            };
            if let Some(leader) = leader.filter(|leader| *leader != own) {
                followed = Some(leader);
            }
            if let Some(now) = leads
                && reign != Some(now)
            {
                let heard = followed.and_then(|_| self.contact.heard_at());
                // Of a first leader nobody was heard before it: a formation, or a start of all.
                if let Some(old_leader_id) = followed.take().or(reign.map(|_| own)) {
                    let (term, time_ms, at) = (now.term, clocks.now_ms(), Instant::now());
                    let voters = &voters;
                    self.reel().lead(&Lead { term, own, old_leader_id, heard, voters, time_ms, at });
                    self.first_commit(&raft, now).await;
                }
                reign = Some(now);
                continue;
            }
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits for the first entry of a reign to be committed, or for its end.
    async fn first_commit(&self, raft: &Raft, reign: LeaderId) {
        let mut metrics = raft.metrics();
        loop {
            {
                let metrics = metrics.borrow_watched();
                if metrics.state != ServerState::Leader || metrics.vote.leader_id != reign {
                    return;
                }
                let committed = metrics.cluster_committed.as_ref();
                if committed.is_some_and(|id| *id.committed_leader_id() == reign) {
                    self.reel().commit(reign.term, Instant::now());
                    return;
                }
            }
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Clock(Instant);

    impl Clock {
        fn at(&self, ms: u64) -> Instant {
            self.0 + Duration::from_millis(ms)
        }
    }

    fn lead(reel: &mut Reel, term: u64, heard: Option<Instant>, at: Instant) {
        let voters = [BTreeSet::from([1, 2, 3, 4, 5])];
        reel.lead(&Lead { term, own: 2, old_leader_id: 1, heard, voters: &voters, time_ms: 77, at });
    }

    #[test]
    fn a_lost_leader_is_told_step_by_step_from_when_it_was_heard_last() {
        let clock = Clock(Instant::now());
        let (mut reel, heard) = (Reel::default(), Some(clock.at(1_000)));
        reel.suspect(heard, clock.at(1_020));
        reel.suspect(heard, clock.at(1_030));
        reel.ask(8, heard, clock.at(1_040));
        reel.ask(8, heard, clock.at(1_041));
        for (voter, ms) in [(3, 1_050), (5, 1_055), (4, 1_060)] {
            reel.grant(8, voter, clock.at(ms));
        }
        lead(&mut reel, 8, heard, clock.at(1_056));
        reel.commit(8, clock.at(1_070));
        reel.commit(8, clock.at(1_090));
        let told = reel.tell(clock.at(3_000));
        let wanted = rpc::Failover {
            term: 8,
            leader_id: 2,
            old_leader_id: 1,
            handed_over: false,
            time_ms: 77,
            heard_ago_us: Some(2_000_000),
            suspected_ms: Some(20),
            election_ms: Some(40),
            majority_ms: Some(55),
            leading_ms: Some(56),
            committed_ms: Some(70),
        };
        assert_eq!(told, [wanted]);
    }

    #[test]
    fn a_hand_over_is_told_apart_and_nobody_was_suspected_in_it() {
        let clock = Clock(Instant::now());
        let mut reel = Reel::default();
        reel.suspect(Some(clock.at(5)), clock.at(10));
        reel.hand(2);
        reel.ask(3, Some(clock.at(90)), clock.at(101));
        // A slow disk: an election may take its time.
        lead(&mut reel, 3, Some(clock.at(90)), clock.at(4_000));
        assert!(reel.tell(clock.at(5_000))[0].handed_over);
        assert_eq!(reel.tell(clock.at(5_000))[0].suspected_ms, None);
        // What was asked for and came to nothing does not stand for a death later, however soon.
        reel.hand(3);
        reel.ask(4, Some(clock.at(6_000)), clock.at(6_001));
        reel.suspect(Some(clock.at(6_100)), clock.at(6_150));
        reel.ask(5, Some(clock.at(6_100)), clock.at(6_160));
        lead(&mut reel, 5, Some(clock.at(6_100)), clock.at(6_200));
        let told = reel.tell(clock.at(9_200)).remove(0);
        assert_eq!((told.handed_over, told.suspected_ms), (false, Some(50)));
        // Nor if it never came to an election.
        reel.hand(5);
        reel.suspect(Some(clock.at(7_000)), clock.at(7_010));
        reel.ask(7, Some(clock.at(7_000)), clock.at(7_020));
        lead(&mut reel, 7, Some(clock.at(7_000)), clock.at(7_030));
        assert!(!reel.tell(clock.at(9_200))[0].handed_over);
    }

    #[test]
    fn what_comes_of_a_leader_after_it_was_missed_does_not_count() {
        let clock = Clock(Instant::now());
        let mut reel = Reel::default();
        // It is killed at once after it has sent something, which is read after its end was seen.
        reel.suspect(Some(clock.at(1_000)), clock.at(1_020));
        reel.ask(4, Some(clock.at(1_025)), clock.at(1_040));
        // It stood still, goes on, and is refused: by then another election is under way.
        lead(&mut reel, 4, Some(clock.at(1_050)), clock.at(1_060));
        let told = reel.tell(clock.at(2_000)).remove(0);
        assert_eq!((told.suspected_ms, told.election_ms, told.leading_ms), (Some(20), Some(40), Some(60)));
        assert_eq!(told.heard_ago_us, Some(1_000_000));
    }

    #[test]
    fn what_was_not_seen_is_absent_and_what_is_stale_is_not_told() {
        let clock = Clock(Instant::now());
        let mut reel = Reel::default();
        // An alarm, and the leader was heard again; an election in another term, and votes that came late.
        reel.suspect(Some(clock.at(0)), clock.at(10));
        reel.ask(4, Some(clock.at(0)), clock.at(20));
        reel.grant(5, 3, clock.at(21));
        lead(&mut reel, 5, Some(clock.at(5_050)), clock.at(5_060));
        let told = reel.tell(clock.at(6_000)).remove(0);
        assert_eq!((told.suspected_ms, told.election_ms, told.majority_ms), (None, None, None));
        assert_eq!((told.leading_ms, told.committed_ms), (Some(10), None));
        reel.commit(4, clock.at(5_070));
        assert_eq!(reel.tell(clock.at(6_000))[0].committed_ms, None, "of another reign");
        // Nobody was heard before: there is nothing to count from.
        reel.ask(6, Some(clock.at(5_050)), clock.at(5_075));
        lead(&mut reel, 6, None, clock.at(5_080));
        let told = reel.tell(clock.at(6_000)).remove(0);
        assert_eq!((told.leading_ms, told.heard_ago_us), (None, None));
    }

    #[test]
    fn only_the_newest_changes_are_kept() {
        let clock = Clock(Instant::now());
        let mut reel = Reel::default();
        for term in 1..=40 {
            lead(&mut reel, term, Some(clock.at(term)), clock.at(term + 1));
        }
        let terms: Vec<u64> = reel.tell(clock.at(100)).iter().map(|told| told.term).collect();
        assert_eq!(terms, (25..=40).rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_majority_is_one_of_each_set_of_voters() {
        let clock = Clock(Instant::now());
        let sets = [BTreeSet::from([1, 2, 3]), BTreeSet::from([3, 4, 5])];
        let votes: Vec<(u64, Instant)> = [(2, 1), (4, 2), (3, 3)].map(|(by, ms)| (by, clock.at(ms))).into();
        assert_eq!(majority(1, &sets[..1], &votes), Some(clock.at(1)));
        assert_eq!(majority(1, &sets, &votes), Some(clock.at(3)));
        assert_eq!(majority(1, &sets, &votes[..2]), None);
        assert_eq!(majority(1, &[], &votes), None);
    }
}
