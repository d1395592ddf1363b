//! The judge: holds a [`History`] to the promises of the design, in one pass over each list.
//!
//! Linearizability checkers are exponential; this one is not, because every ack carries the place of its message. It
//! knows nothing of how the history was made. Each way to break a promise is a [`Violation`] of its own, and each has a
//! test that plants it.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt;

use quorate_proto::ids::{ConversationId, Sequence, Version};
use uuid::Uuid;

use crate::history::{Fate, FinalPages, History, Micros, Reader, Row, Sent};

#[cfg(test)]
mod tests;

/// At most this many violations are listed: one defect shows in thousands of rows.
const VIOLATIONS_MAX: usize = 200;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant says what its fields are")]
pub enum Violation {
    /// Acknowledged, and not in a final history.
    Lost { id: Uuid, conversation: ConversationId, sequence: Sequence, source: String },
    /// One client message id at two places of one history.
    Doubled { id: Uuid, conversation: ConversationId, first: Sequence, second: Sequence, source: String },
    /// Acknowledged at one place and found at another.
    Moved { id: Uuid, conversation: ConversationId, acked: Sequence, found: Sequence, source: String },
    /// One was acknowledged before the other was sent, and stands after it.
    Swapped { conversation: ConversationId, earlier: Uuid, later: Uuid, source: String },
    /// One sender's messages out of her own order.
    SenderSwapped { conversation: ConversationId, earlier: Uuid, later: Uuid, source: String },
    /// Text, sender or conversation differ from what was sent.
    Altered { id: Uuid, conversation: ConversationId, source: String },
    /// Sequences of a final history are not dense from 1.
    Gap { conversation: ConversationId, expected: Sequence, found: Sequence, source: String },
    /// Nobody sent it.
    Phantom { id: Uuid, conversation: ConversationId, sequence: Sequence, source: String },
    /// It was surely refused, and is there.
    RefusedPresent { id: Uuid, conversation: ConversationId, source: String },
    /// Two sources differ at one sequence.
    Disagree { conversation: ConversationId, sequence: Sequence, one: String, other: String },
    /// A reader's next version is not the one after her last.
    VersionGap { reader: String, conversation: ConversationId, expected: Version, found: Version },
    /// A reader was given a version again or an older one.
    VersionBack { reader: String, conversation: ConversationId, last: Version, found: Version },
    /// A reader who stayed to the end lacks what came last.
    Unfinished { reader: String, conversation: ConversationId, last: Version, newest: Version },
    /// A log index went back within one conversation of one reader.
    IndexBack { reader: String, conversation: ConversationId, version: Version },
    /// Two messages were acknowledged at one place.
    SamePlace { conversation: ConversationId, sequence: Sequence, one: Uuid, other: Uuid },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// All violations of a history, at most 200; an empty list is a pass.
pub fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    let sends: HashMap<Uuid, &Sent> = history.sends.iter().map(|sent| (sent.id, sent)).collect();
    same_place(history, &mut found);
    let mut canon: BTreeMap<ConversationId, &FinalPages> = BTreeMap::new();
    for pages in &history.finals {
        final_pages(pages, history, &sends, &mut found);
        match canon.get(&pages.conversation) {
            None => {
                canon.insert(pages.conversation, pages);
            }
            Some(first) => agree(first, pages, &mut found),
        }
    }
    let rows: BTreeMap<ConversationId, HashMap<Sequence, &Row>> = canon
        .iter()
        .map(|(conversation, pages)| {
            (*conversation, pages.rows.iter().map(|row| (row.sequence, row)).collect())
        })
        .collect();
    for reader in &history.readers {
        deliveries(reader, &canon, &rows, &sends, &mut found);
    }
    found.truncate(VIOLATIONS_MAX);
    found
}

fn same_place(history: &History, found: &mut Vec<Violation>) {
    let mut places: HashMap<(ConversationId, Sequence), Uuid> = HashMap::new();
    for sent in &history.sends {
        let Fate::Acked { sequence, .. } = sent.fate else { continue };
        let conversation = sent.conversation;
        if let Some(one) = places.insert((conversation, sequence), sent.id)
            && one != sent.id
        {
            found.push(Violation::SamePlace { conversation, sequence, one, other: sent.id });
        }
    }
}

fn final_pages(
    pages: &FinalPages,
    history: &History,
    sends: &HashMap<Uuid, &Sent>,
    found: &mut Vec<Violation>,
) {
    let (conversation, source) = (pages.conversation, || pages.source.clone());
    let mut places: HashMap<Uuid, Sequence> = HashMap::new();
    for (row, expected) in pages.rows.iter().zip(1..) {
        if row.sequence != expected {
            found.push(Violation::Gap { conversation, expected, found: row.sequence, source: source() });
            // One hole makes every later row look wrong; the first says it.
            break;
        }
    }
    for row in &pages.rows {
        if let Some(first) = places.insert(row.id, row.sequence) {
            let (id, second) = (row.id, row.sequence);
            found.push(Violation::Doubled { id, conversation, first, second, source: source() });
        }
        found.extend(content(row, conversation, sends, &pages.source));
    }
    let here = || history.sends.iter().filter(|sent| sent.conversation == conversation);
    for sent in here() {
        let id = sent.id;
        match (&sent.fate, places.get(&id)) {
            (Fate::Acked { sequence, .. }, None) => {
                found.push(Violation::Lost { id, conversation, sequence: *sequence, source: source() });
            }
            (Fate::Acked { sequence, .. }, Some(place)) if sequence != place => {
                let (acked, at) = (*sequence, *place);
                found.push(Violation::Moved { id, conversation, acked, found: at, source: source() });
            }
            (Fate::Refused { .. }, Some(_)) => {
                found.push(Violation::RefusedPresent { id, conversation, source: source() });
            }
            (Fate::Acked { .. } | Fate::Refused { .. } | Fate::Unknown, _) => {}
        }
    }
    let placed: Vec<(&Sent, Sequence)> =
        here().filter_map(|sent| places.get(&sent.id).map(|place| (sent, *place))).collect();
    real_time_order(&placed, conversation, &pages.source, found);
    sender_order(&placed, conversation, &pages.source, found);
}

/// A message nobody sent, or another one than was sent.
fn content(
    row: &Row,
    conversation: ConversationId,
    sends: &HashMap<Uuid, &Sent>,
    source: &str,
) -> Option<Violation> {
    let (id, source) = (row.id, source.to_owned());
    let Some(sent) = sends.get(&id) else {
        return Some(Violation::Phantom { id, conversation, sequence: row.sequence, source });
    };
    let same = sent.text == row.text && sent.sender == row.from && sent.conversation == conversation;
    (!same).then_some(Violation::Altered { id, conversation, source })
}

/// If A's ack was read before B was sent, A stands before B.
///
/// Sweeps over invocations in order of time and keeps the highest place among those acknowledged before.
fn real_time_order(
    placed: &[(&Sent, Sequence)],
    conversation: ConversationId,
    source: &str,
    found: &mut Vec<Violation>,
) {
    let mut acks: Vec<(Micros, Sequence, Uuid)> = placed
        .iter()
        .filter_map(|(sent, place)| match sent.fate {
            Fate::Acked { at, .. } => Some((at, *place, sent.id)),
            Fate::Refused { .. } | Fate::Unknown => None,
        })
        .collect();
    acks.sort_unstable();
    let mut invocations: Vec<(Micros, Sequence, Uuid)> =
        placed.iter().map(|(sent, place)| (sent.invoked, *place, sent.id)).collect();
    invocations.sort_unstable();
    let mut acks = acks.into_iter().peekable();
    let mut highest: Option<(Sequence, Uuid)> = None;
    for (invoked, place, later) in invocations {
        while let Some((_, sequence, id)) = acks.next_if(|(at, ..)| *at < invoked) {
            if highest.is_none_or(|(top, _)| sequence > top) {
                highest = Some((sequence, id));
            }
        }
        if let Some((top, earlier)) = highest
            && top > place
        {
            found.push(Violation::Swapped { conversation, earlier, later, source: source.to_owned() });
        }
    }
}

/// One sender's messages stand in the order in which she sent them: she has one at a time under way per conversation.
fn sender_order(
    placed: &[(&Sent, Sequence)],
    conversation: ConversationId,
    source: &str,
    found: &mut Vec<Violation>,
) {
    let mut sorted: Vec<&(&Sent, Sequence)> = placed.iter().collect();
    sorted.sort_by_key(|(sent, _)| (sent.sender, sent.invoked));
    for pair in sorted.windows(2) {
        let ((one, first), (two, second)) = (pair[0], pair[1]);
        if one.sender == two.sender && first > second {
            let (earlier, later, source) = (one.id, two.id, source.to_owned());
            found.push(Violation::SenderSwapped { conversation, earlier, later, source });
        }
    }
}

fn agree(one: &FinalPages, other: &FinalPages, found: &mut Vec<Violation>) {
    let differ = |sequence: Sequence| Violation::Disagree {
        conversation: one.conversation,
        sequence,
        one: one.source.clone(),
        other: other.source.clone(),
    };
    for (left, right) in one.rows.iter().zip(&other.rows) {
        if left != right {
            found.push(differ(left.sequence));
            return;
        }
    }
    if one.rows.len() != other.rows.len() {
        found.push(differ(one.rows.len().min(other.rows.len()) as Sequence + 1));
    }
}

fn deliveries(
    reader: &Reader,
    canon: &BTreeMap<ConversationId, &FinalPages>,
    rows: &BTreeMap<ConversationId, HashMap<Sequence, &Row>>,
    sends: &HashMap<Uuid, &Sent>,
    found: &mut Vec<Violation>,
) {
    let mut last: BTreeMap<ConversationId, (Version, u64)> =
        reader.starts.iter().map(|(conversation, version)| (*conversation, (*version, 0))).collect();
    let name = || reader.name.clone();
    for event in &reader.events {
        let conversation = event.conversation;
        let (version, index) = last.get(&conversation).copied().unwrap_or((0, 0));
        if event.version <= version {
            found.push(Violation::VersionBack {
                reader: name(),
                conversation,
                last: version,
                found: event.version,
            });
            continue;
        }
        if event.version != version + 1 {
            let (expected, at) = (version + 1, event.version);
            found.push(Violation::VersionGap { reader: name(), conversation, expected, found: at });
        }
        if event.index < index {
            found.push(Violation::IndexBack { reader: name(), conversation, version: event.version });
        }
        last.insert(conversation, (event.version, event.index));
        let Some(row) = &event.message else { continue };
        found.extend(content(row, conversation, sends, &reader.name));
        // A conversation that was not read at the end has nothing to compare with.
        let Some(known) = rows.get(&conversation) else { continue };
        if known.get(&row.sequence).is_none_or(|other| *other != row) {
            let other = canon.get(&conversation).map(|pages| pages.source.clone()).unwrap_or_default();
            found.push(Violation::Disagree { conversation, sequence: row.sequence, one: name(), other });
        }
    }
    if !reader.complete {
        return;
    }
    for (conversation, (version, _)) in last {
        let Some(pages) = canon.get(&conversation) else { continue };
        if version < pages.version {
            let newest = pages.version;
            found.push(Violation::Unfinished { reader: name(), conversation, last: version, newest });
        }
    }
}
