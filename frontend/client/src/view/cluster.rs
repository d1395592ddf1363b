//! The cluster in words and lines: what an admin reads of it, which states differ, what may be done to a replica.

use std::collections::BTreeMap;

use quorate_proto::rest::{
    ClusterChanged, ClusterView, GatewayRow, MemberKind, Quorum, ReplicaRole, ReplicaRow,
};

use crate::words::{t, tf, tn};

/// Letters of a hash that people compare.
const HASH_LETTERS: usize = 8;

/// How far the cluster is from deciding nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// All voters answer.
    Whole,
    /// Some do not, and one more may be lost.
    Fewer,
    /// Enough, and none to spare; or enough, and nobody leads.
    Edge,
    /// Nothing can be decided.
    Stopped,
}

impl Health {
    /// For style sheets.
    pub fn word(self) -> &'static str {
        match self {
            Health::Whole => "whole",
            Health::Fewer => "fewer",
            Health::Edge => "edge",
            Health::Stopped => "stopped",
        }
    }
}

/// The line from a replica to a gateway that it feeds, in a square of 100 by 100.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// The gateway's name.
    pub gateway: String,
    /// The replica's id.
    pub replica: u64,
    /// An SVG path from the left edge, where the gateways are, to the right one, where the replicas are.
    pub path: String,
}

/// What an admin may do to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberAct {
    /// Have it lead.
    Lead,
    /// Put another one in its place.
    Replace,
    /// Take it away.
    Remove,
}

/// A number in groups of three: `12,288`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            // Between groups of three digits.
            grouped.push_str(t(","));
        }
        grouped.push(digit);
    }
    grouped
}

/// How it stands with the majority.
pub fn health(quorum: &Quorum) -> Health {
    if quorum.voters == 0 || quorum.reachable < quorum.needed {
        Health::Stopped
    } else if quorum.reachable >= quorum.voters {
        Health::Whole
    } else if quorum.reachable == quorum.needed {
        Health::Edge
    } else {
        Health::Fewer
    }
}

/// The same of the whole: without a leader nothing is decided either, for as long as an election takes.
pub fn standing(view: &ClusterView) -> Health {
    match health(&view.quorum) {
        Health::Whole | Health::Fewer if view.leader.is_none() => Health::Edge,
        health => health,
    }
}

/// The majority in one sentence.
pub fn quorum_sentence(quorum: &Quorum) -> String {
    let Quorum { voters, needed, reachable } = *quorum;
    if voters == 0 {
        return t("Who votes is not known: no replica answers.").to_owned();
    }
    match health(quorum) {
        Health::Whole | Health::Fewer => {
            tf("{} of {} answer; writes need {}.", &[&reachable, &voters, &needed])
        }
        Health::Edge => {
            tf("{} of {} answer; writes need {}, so none may be lost.", &[&reachable, &voters, &needed])
        }
        Health::Stopped => tf(
            "{} of {} answer; writes need {}, so there is reading only until more are back.",
            &[&reachable, &voters, &needed],
        ),
    }
}

/// Who leads, in one sentence.
pub fn leader_sentence(view: &ClusterView) -> String {
    let Some(leader) = view.leader else { return t("Nobody leads just now: writes wait.").to_owned() };
    let term = view.replicas.iter().find(|row| row.id == leader).and_then(|row| row.term);
    match term {
        Some(term) => tf("Replica {} leads in term {}.", &[&leader, &grouped(term)]),
        None => tf("Replica {} leads.", &[&leader]),
    }
}

/// The replicas whose state is another at the same index than that of most. Where no state has more behind it than every other, all
/// that were compared there.
pub fn differing(replicas: &[ReplicaRow]) -> Vec<u64> {
    let mut by_index: BTreeMap<u64, BTreeMap<&str, Vec<u64>>> = BTreeMap::new();
    for row in replicas {
        if let (Some(hash), Some(index)) = (&row.hash, row.hash_index) {
            by_index.entry(index).or_default().entry(hash).or_default().push(row.id);
        }
    }
    let mut differing = Vec::new();
    for by_hash in by_index.values().filter(|by_hash| by_hash.len() > 1) {
        let most = by_hash.values().map(Vec::len).max().unwrap_or(0);
        let alone = by_hash.values().filter(|ids| ids.len() == most).count() == 1;
        differing.extend(by_hash.values().filter(|ids| !alone || ids.len() < most).flatten());
    }
    differing.sort_unstable();
    differing
}

/// Whether the replicas have the same state, in one sentence.
pub fn agreement_sentence(view: &ClusterView) -> String {
    let ids = differing(&view.replicas);
    match (ids.as_slice(), view.agree) {
        ([id], _) => tf("Replica {} has another state than the others at the same index.", &[id]),
        ([first @ .., last], _) if !first.is_empty() => {
            let first: Vec<String> = first.iter().map(u64::to_string).collect();
            tf("Replicas {} and {} have other states at the same index.", &[&first.join(", "), last])
        }
        (_, Some(true)) => t("All states that were compared are the same.").to_owned(),
        (_, Some(false)) => t("Not all states that were compared are the same.").to_owned(),
        (_, None) => t("No states have been compared yet.").to_owned(),
    }
}

/// What a replica does, in a word or two.
pub fn role_words(row: &ReplicaRow) -> &'static str {
    match row.role {
        _ if !row.reachable => t("No answer"),
        _ if row.stopping => t("Stopping"),
        Some(ReplicaRole::Leader) => t("Leader"),
        Some(ReplicaRole::Follower) => t("Follower"),
        Some(ReplicaRole::Candidate) => t("Candidate"),
        Some(ReplicaRole::Learner) => t("Learner"),
        None => t("Ending"),
    }
}

/// The same for style sheets.
pub fn role_name(row: &ReplicaRow) -> &'static str {
    match row.role {
        _ if !row.reachable => "silent",
        Some(ReplicaRole::Leader) => "leader",
        Some(ReplicaRole::Follower) => "follower",
        Some(ReplicaRole::Candidate) => "candidate",
        Some(ReplicaRole::Learner) => "learner",
        None => "ending",
    }
}

/// What a replica is called.
pub fn replica_words(row: &ReplicaRow) -> String {
    if row.id == 0 { t("Replica").to_owned() } else { tf("Replica {}", &[&row.id]) }
}

/// Numbers that may not be known.
pub fn known(number: Option<u64>) -> String {
    number.map_or_else(|| "–".to_owned(), grouped)
}

/// The beginning of a hash, and where it was taken.
pub fn hash_words(row: &ReplicaRow) -> String {
    match (&row.hash, row.hash_index) {
        (Some(hash), Some(index)) => {
            tf("{} at {}", &[&hash.chars().take(HASH_LETTERS).collect::<String>(), &grouped(index)])
        }
        _ => "–".to_owned(),
    }
}

/// A round trip: tenths below ten milliseconds, where they matter.
pub fn round_trip_words(row: &ReplicaRow) -> String {
    match row.round_trip_ms {
        Some(ms) if ms < 10.0 => format!("{ms:.1} ms").replacen('.', t("."), 1),
        Some(ms) => format!("{ms:.0} ms"),
        None => "–".to_owned(),
    }
}

/// Its programs: of itself, and of the rules that it applies entries by.
pub fn version_words(row: &ReplicaRow) -> String {
    match (&row.version, row.machine_version) {
        (Some(version), Some(machine)) => tf("{}, rules {}", &[version, &machine]),
        (Some(version), None) => version.clone(),
        _ => "–".to_owned(),
    }
}

/// A gateway in one line.
pub fn gateway_words(row: &GatewayRow) -> String {
    let sessions = match row.sessions {
        Some(count) => tn(count, "{} session", "{} sessions"),
        None => t("sessions not known").to_owned(),
    };
    match row.feed {
        Some(feed) => tf("{}, fed by replica {}", &[&sessions, &feed]),
        None => tf("{}, no feed known", &[&sessions]),
    }
}

/// Lines between gateways and the replicas that feed them; both stand in their column in the view's order, in rows of one height.
pub fn feeds(view: &ClusterView) -> Vec<Feed> {
    let middle = |at: usize, of: usize| (at as f64 + 0.5) / of as f64 * 100.0;
    let line = |(at, gateway): (usize, &GatewayRow)| {
        let replica = gateway.feed?;
        let to = view.replicas.iter().position(|row| row.id == replica)?;
        let (from, to) = (middle(at, view.gateways.len()), middle(to, view.replicas.len()));
        let path = format!("M0 {from:.2}C55 {from:.2} 45 {to:.2} 100 {to:.2}");
        Some(Feed { gateway: gateway.name.clone(), replica, path })
    };
    view.gateways.iter().enumerate().filter_map(line).collect()
}

/// What may be asked for; what the servers refuse they say themselves.
pub fn member_acts(row: &ReplicaRow) -> Vec<MemberAct> {
    let mut acts = Vec::new();
    if row.id == 0 {
        return acts;
    }
    if row.reachable && row.kind == Some(MemberKind::Voter) && row.role != Some(ReplicaRole::Leader) {
        acts.push(MemberAct::Lead);
    }
    acts.extend([MemberAct::Replace, MemberAct::Remove]);
    acts
}

/// An id that no member has or had.
pub fn fresh_id(view: &ClusterView) -> u64 {
    view.replicas.iter().map(|row| row.id).chain(view.former.iter().copied()).max().unwrap_or(0) + 1
}

/// What the removal of a member does.
pub fn removal_words(view: &ClusterView, row: &ReplicaRow) -> String {
    let always = tf(
        "Replica {0} leaves for ever: its process ends by itself, and nothing is ever again called replica {0}.",
        &[&row.id],
    );
    let voters = u64::from(view.quorum.voters);
    if row.kind == Some(MemberKind::Learner) || voters < 2 {
        return always;
    }
    let left = voters - 1;
    format!("{always} {}", tf("Writes then need {} of {}.", &[&(left / 2 + 1), &left]))
}

/// What came of a change, in one sentence.
pub fn changed_words(changed: &ClusterChanged, newcomer: Option<u64>) -> String {
    if changed.done {
        let voters = changed.members.iter().filter(|member| member.kind == MemberKind::Voter).count();
        let vote = tn(voters as u64, "{} replica votes", "{} replicas vote");
        return match changed.leader {
            Some(leader) => tf("Done. Replica {} leads; {}.", &[&leader, &vote]),
            None => tf("Done. {}.", &[&vote]),
        };
    }
    let who = newcomer.map_or_else(|| t("The new replica").to_owned(), |id| tf("Replica {}", &[&id]));
    match changed.behind {
        Some(0) | None => tf("{} follows without a vote, and is catching up.", &[&who]),
        Some(behind) => {
            let entries = tn(behind, "{} entry behind", "{} entries behind");
            tf("{} follows without a vote, and is catching up: {}.", &[&who, &entries])
        }
    }
}

/// How old something is that should be new, ms: `7 s`, `2 min`.
pub fn age_words(ms: u64) -> String {
    if ms < 120_000 { format!("{} s", ms / 1_000) } else { format!("{} min", grouped(ms / 60_000)) }
}

#[cfg(test)]
mod tests;
