//! From a question to the messages that may answer it, by the index alone.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Bound;
use std::time::Instant;

use quorate_proto::rpc::search_query::Order;
use tantivy::columnar::Column;
use tantivy::query::{
    AllQuery, BooleanQuery, EnableScoring, PhrasePrefixQuery, PhraseQuery, Query, TermQuery, TermSetQuery,
};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocSet as _, Searcher, SegmentReader, TERMINATED, Term};

use super::index::Fields;
use super::phrase::{Phrase, Wanted};

/// Words that one beginning stands for at most, in each file of the index.
const WORDS_PER_BEGINNING_MAX: u32 = 1_000;
/// Messages looked at between two looks at the clock.
const MESSAGES_PER_LOOK_AT_CLOCK: u32 = 4_096;
/// Conversations that the index itself is asked for; more are compared message by message.
const ROOMS_ASKED_FOR_MAX: usize = 64;

/// A message's place among the answers: better ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Bits of a score that is not negative, which are in order as the score is; 0 where only time counts.
    pub(super) score: u32,
    /// Log index.
    pub(super) index: u64,
}

/// A message that the index proposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    pub(super) place: Place,
    pub(super) conversation: u64,
    pub(super) sequence: u64,
}

/// A question to the index.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) phrases: &'a [Phrase],
    /// Written by one of these; empty: by anybody.
    pub(super) from: &'a [u64],
    pub(super) flags: &'a [u64],
    /// Log time, ms.
    pub(super) time: (Bound<u64>, Bound<u64>),
    /// Conversation → sequence after which messages may be seen.
    pub(super) rooms: &'a HashMap<u64, u64>,
    pub(super) order: Order,
    /// Behind this place.
    pub(super) after: Option<Place>,
    pub(super) count: usize,
    pub(super) deadline: Instant,
}

/// The best candidates, best first, and whether time ran out before all were looked at.
pub(super) fn candidates(
    searcher: &Searcher,
    fields: &Fields,
    question: &Question<'_>,
) -> tantivy::Result<(Vec<Candidate>, bool)> {
    let scoring = match question.order {
        Order::Newest => EnableScoring::disabled_from_searcher(searcher),
        Order::Best => EnableScoring::enabled_from_searcher(searcher),
    };
    let weight = query(searcher, fields, question)?.weight(scoring)?;
    let mut best = Best { heap: BinaryHeap::new(), count: question.count };
    let mut segments: Vec<Columns<'_>> =
        searcher.segment_readers().iter().map(Columns::open).collect::<tantivy::Result<_>>()?;
    // The newest messages first: then whole files of old ones need not be looked at.
    segments.sort_by_key(|columns| Reverse(columns.index.max_value()));
    for columns in segments {
        if columns.has_nothing_for(question) || best.needs_none_of(&columns, question.order) {
            continue;
        }
        let mut scorer = weight.scorer(columns.reader, 1.0)?;
        let alive = columns.reader.alive_bitset();
        let mut looked_at = 0_u32;
        let mut doc = scorer.doc();
        while doc != TERMINATED {
            looked_at += 1;
            if looked_at.is_multiple_of(MESSAGES_PER_LOOK_AT_CLOCK) && Instant::now() > question.deadline {
                return Ok((best.into_sorted(), true));
            }
            if alive.is_none_or(|alive| alive.is_alive(doc))
                && let Some((conversation, sequence, index)) = columns.fitting(doc, question)
            {
                let score = match question.order {
                    Order::Newest => 0,
                    Order::Best => scorer.score().max(0.0).to_bits(),
                };
                let place = Place { score, index };
                if question.after.is_none_or(|after| place < after) {
                    best.offer(Candidate { place, conversation, sequence });
                }
            }
            doc = scorer.advance();
        }
    }
    let is_late = Instant::now() > question.deadline;
    Ok((best.into_sorted(), is_late))
}

/// The best so far.
struct Best {
    heap: BinaryHeap<Reverse<Candidate>>,
    count: usize,
}

impl Best {
    fn worst(&self) -> Option<Place> {
        let is_full = self.heap.len() == self.count;
        self.heap.peek().filter(|_| is_full).map(|worst| worst.0.place)
    }

    fn offer(&mut self, candidate: Candidate) {
        if self.worst().is_none_or(|worst| candidate.place > worst) {
            if self.heap.len() == self.count {
                self.heap.pop();
            }
            self.heap.push(Reverse(candidate));
        }
    }

    fn needs_none_of(&self, columns: &Columns<'_>, order: Order) -> bool {
        order == Order::Newest && self.worst().is_some_and(|worst| columns.index.max_value() <= worst.index)
    }

    fn into_sorted(self) -> Vec<Candidate> {
        self.heap.into_sorted_vec().into_iter().map(|candidate| candidate.0).collect()
    }
}

/// What is known of each message of one file.
struct Columns<'a> {
    reader: &'a SegmentReader,
    conversation: Column<u64>,
    sequence: Column<u64>,
    index: Column<u64>,
    time: Column<u64>,
}

impl<'a> Columns<'a> {
    fn open(reader: &'a SegmentReader) -> tantivy::Result<Self> {
        let columns = reader.fast_fields();
        Ok(Self {
            reader,
            conversation: columns.u64("conversation")?,
            sequence: columns.u64("sequence")?,
            index: columns.u64("index")?,
            time: columns.u64("time")?,
        })
    }

    fn has_nothing_for(&self, question: &Question<'_>) -> bool {
        let is_all_after = match question.time.1 {
            Bound::Excluded(before) => self.time.min_value() >= before,
            Bound::Included(_) | Bound::Unbounded => false,
        };
        let is_all_before = match question.time.0 {
            Bound::Included(after) => self.time.max_value() < after,
            Bound::Excluded(_) | Bound::Unbounded => false,
        };
        let is_all_shown = question.order == Order::Newest
            && question.after.is_some_and(|after| self.index.min_value() >= after.index);
        is_all_after || is_all_before || is_all_shown
    }

    /// Conversation, sequence and index of a message that the caller may see and that fits in time.
    fn fitting(&self, doc: u32, question: &Question<'_>) -> Option<(u64, u64, u64)> {
        use std::ops::RangeBounds as _;
        let conversation = self.conversation.first(doc)?;
        let base = question.rooms.get(&conversation)?;
        let sequence = self.sequence.first(doc)?;
        if sequence <= *base || !question.time.contains(&self.time.first(doc)?) {
            return None;
        }
        Some((conversation, sequence, self.index.first(doc)?))
    }
}

/// What the index walks through. Who may see what is compared message by message: the messages that have the words are mostly
/// fewer than those of all conversations that somebody is in. Where words are common and rooms few it is the other way round.
fn query(searcher: &Searcher, fields: &Fields, question: &Question<'_>) -> tantivy::Result<BooleanQuery> {
    let mut parts: Vec<Box<dyn Query>> = Vec::new();
    let mut fewest = u64::MAX;
    for phrase in question.phrases {
        parts.push(phrase_query(fields, phrase));
        for (_, wanted) in &phrase.wanted {
            if let Wanted::Exactly(text) = wanted {
                fewest = fewest.min(searcher.doc_freq(&Term::from_field_text(fields.text, text))?);
            }
        }
    }
    let any_of = |field, values: &[u64]| {
        Box::new(TermSetQuery::new(values.iter().map(|value| Term::from_field_u64(field, *value))))
    };
    if !question.from.is_empty() {
        parts.push(any_of(fields.from, question.from));
    }
    for flag in question.flags {
        parts.push(any_of(fields.flags, &[*flag]));
    }
    let rooms: Vec<u64> = question.rooms.keys().copied().collect();
    if parts.is_empty() {
        parts.push(any_of(fields.conversation, &rooms));
    } else if rooms.len() <= ROOMS_ASKED_FOR_MAX {
        let mut in_rooms = 0;
        for room in &rooms {
            in_rooms += searcher.doc_freq(&Term::from_field_u64(fields.conversation, *room))?;
        }
        if in_rooms < fewest {
            parts.push(any_of(fields.conversation, &rooms));
        }
    }
    if parts.is_empty() {
        parts.push(Box::new(AllQuery));
    }
    Ok(BooleanQuery::intersection(parts))
}

fn phrase_query(fields: &Fields, phrase: &Phrase) -> Box<dyn Query> {
    let term = |wanted: &Wanted| match wanted {
        Wanted::Exactly(text) | Wanted::Beginning(text) => Term::from_field_text(fields.text, text),
    };
    let terms: Vec<(usize, Term)> = phrase.wanted.iter().map(|(at, wanted)| (*at, term(wanted))).collect();
    let is_begun = matches!(phrase.wanted.last(), Some((_, Wanted::Beginning(_))));
    match (&terms[..], is_begun) {
        (_, true) => {
            let mut query = PhrasePrefixQuery::new_with_offset(terms);
            query.set_max_expansions(WORDS_PER_BEGINNING_MAX);
            Box::new(query)
        }
        ([(_, only)], false) => Box::new(TermQuery::new(only.clone(), IndexRecordOption::WithFreqs)),
        (_, false) => Box::new(PhraseQuery::new_with_offset(terms)),
    }
}
