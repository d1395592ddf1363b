//! A change of leaders as a strip of moments: where each mark stands, on which line its label finds room, and the whole in words.

use quorate_proto::rest::{Failover, FailoverCause};

use super::cluster::grouped;
use crate::words::{t, tf};

/// Part of the strip that is time; the rest is room for the label of the last mark.
const TIME_SHARE: f64 = 0.74;
/// A label is taken to be this much of the strip wide for each of its letters: 7 px of 700.
const LETTER_SHARE: f64 = 0.01;
/// Between two labels on one line, in the same measure.
const GAP_SHARE: f64 = 0.02;

/// One moment of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// What happened.
    pub words: &'static str,
    /// Milliseconds since the old leader's last heartbeat.
    pub ms: u64,
    /// Milliseconds since the mark before.
    pub step_ms: u64,
    /// The step to it came after the first commit: writes were kept again.
    pub kept: bool,
    /// Where it stands, of the strip's width, from 0 to below 1.
    pub share: f64,
    /// The line of its label, from 0 next to the strip. Labels begin at their mark and reach to its right.
    pub lane: usize,
}

/// A change of leaders, drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Strip {
    /// Who took over from whom, and why.
    pub title: String,
    /// How long it took, as a sentence.
    pub total: String,
    /// What is known, in the order in which it happened.
    pub marks: Vec<Mark>,
    /// How many lines the labels take.
    pub lanes: usize,
    /// Whole times of a ruler below: where, and which, ms.
    pub ruler: Vec<(f64, u64)>,
}

/// How a failover is drawn. What is not known has no mark.
pub fn strip(failover: &Failover) -> Strip {
    let mut known: Vec<(&'static str, u64)> =
        moments(failover).into_iter().filter_map(|(words, ms)| Some((words, ms?))).collect();
    if !known.is_empty() {
        known.insert(0, (t("Last heartbeat"), 0));
    }
    // Stable: what happened in the same millisecond stays in the order of the protocol.
    known.sort_by_key(|(_, ms)| *ms);
    let last_ms = known.last().map_or(0, |(_, ms)| *ms);
    let share = |ms: u64| if last_ms == 0 { 0.0 } else { ms as f64 / last_ms as f64 * TIME_SHARE };
    let mut before_ms = 0;
    let mut marks: Vec<Mark> = known
        .into_iter()
        .map(|(words, ms)| {
            let step_ms = ms - before_ms;
            before_ms = ms;
            let kept = failover.committed_ms.is_some_and(|committed_ms| ms - step_ms >= committed_ms);
            Mark { words, ms, step_ms, kept, share: share(ms), lane: 0 }
        })
        .collect();
    let lanes = spread(&mut marks);
    let ruler = ruler(last_ms).into_iter().map(|ms| (share(ms), ms)).collect();
    Strip { title: title(failover), total: total(failover), marks, lanes, ruler }
}

/// What a label says.
pub fn label(mark: &Mark) -> String {
    format!("{} {}", mark.words, time(mark.ms))
}

/// A span as people compare them: `412 ms`, `12.3 s`, `4 min`.
pub fn time(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{} ms", grouped(ms)),
        10_000..600_000 => format!("{}{}{} s", ms / 1_000, t("."), ms % 1_000 / 100),
        _ => format!("{} min", grouped(ms / 60_000)),
    }
}

fn moments(failover: &Failover) -> [(&'static str, Option<u64>); 7] {
    [
        (t("Suspected"), failover.suspected_ms),
        (t("Election"), failover.election_ms),
        (t("Majority"), failover.majority_ms),
        (t("Leads"), failover.leading_ms),
        (t("First commit"), failover.committed_ms),
        (t("First answer"), failover.answered_ms),
        (t("First push"), failover.pushed_ms),
    ]
}

/// From the last mark to the first: labels to the right of a mark never lie over a stem that goes higher up.
fn spread(marks: &mut [Mark]) -> usize {
    // Where the label that reaches furthest to the left begins, for each line.
    let mut begins: Vec<f64> = Vec::new();
    for mark in marks.iter_mut().rev() {
        let end = mark.share + label(mark).chars().count() as f64 * LETTER_SHARE + GAP_SHARE;
        mark.lane = begins.iter().position(|begin| end <= *begin).unwrap_or(begins.len());
        if mark.lane == begins.len() {
            begins.push(mark.share);
        } else {
            begins[mark.lane] = mark.share;
        }
    }
    begins.len()
}

/// Round times from 0 to the end, at most six.
fn ruler(last_ms: u64) -> Vec<u64> {
    const STEPS_MAX: u64 = 5;
    let mut unit = 1;
    let step = loop {
        if let Some(step) = [unit, 2 * unit, 5 * unit].into_iter().find(|step| last_ms / step <= STEPS_MAX) {
            break step;
        }
        unit *= 10;
    };
    (0..=last_ms / step).map(|n| n * step).collect()
}

fn title(failover: &Failover) -> String {
    let new = failover.leader;
    let term = grouped(failover.term);
    match (failover.old_leader, failover.cause) {
        (Some(old), FailoverCause::HandedOver) => {
            tf("Replica {} handed over to replica {}, term {}", &[&old, &new, &term])
        }
        (Some(old), FailoverCause::Lost) => {
            tf("Replica {} was lost, replica {} took over, term {}", &[&old, &new, &term])
        }
        (None, _) => tf("Replica {} began to lead, term {}", &[&new, &term]),
    }
}

/// By what people notice: their writes are answered again. Where this gateway saw no answer, by the first commit; where that is not
/// known, by the new leader.
fn total(failover: &Failover) -> String {
    if let Some(ms) = failover.answered_ms {
        tf("Writes were answered again {} after the last heartbeat.", &[&time(ms)])
    } else if let Some(ms) = failover.committed_ms {
        tf("The first commit came {} after the last heartbeat.", &[&time(ms)])
    } else if let Some(ms) = failover.leading_ms {
        tf("Somebody led again {} after the last heartbeat.", &[&time(ms)])
    } else {
        t("How long it took is not known here.").to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failover() -> Failover {
        Failover {
            term: 7,
            old_leader: Some(1),
            leader: 3,
            cause: FailoverCause::Lost,
            time: 1_790_000_000_000,
            suspected_ms: Some(300),
            election_ms: Some(302),
            majority_ms: Some(306),
            leading_ms: Some(307),
            committed_ms: Some(311),
            answered_ms: Some(340),
            pushed_ms: Some(352),
        }
    }

    /// Left and right end of a label.
    fn extent(mark: &Mark) -> (f64, f64) {
        (mark.share, mark.share + label(mark).chars().count() as f64 * LETTER_SHARE)
    }

    #[test]
    fn labels_lie_neither_over_each_other_nor_over_a_stem() {
        let strip = strip(&failover());
        assert_eq!(strip.marks.len(), 8);
        for (at, mark) in strip.marks.iter().enumerate() {
            let (begin, end) = extent(mark);
            assert!(end <= 1.0, "{mark:?} leaves the strip");
            for other in &strip.marks[at + 1..] {
                assert!(mark.lane != other.lane || end <= other.share, "{mark:?} lies over {other:?}");
                // A stem crosses every line below its own label's.
                let crossed = other.lane > mark.lane && (begin..end).contains(&other.share);
                assert!(!crossed, "the stem of {other:?} crosses {mark:?}");
            }
        }
        assert_eq!(strip.lanes, strip.marks.iter().map(|mark| mark.lane + 1).max().unwrap_or(0));
    }

    #[test]
    fn what_is_not_known_has_no_mark_and_is_not_guessed() {
        let silent = Failover {
            old_leader: None,
            suspected_ms: None,
            election_ms: None,
            majority_ms: None,
            leading_ms: None,
            committed_ms: None,
            answered_ms: None,
            pushed_ms: None,
            ..failover()
        };
        let drawn = strip(&silent);
        assert_eq!((drawn.marks, drawn.lanes), (Vec::new(), 0));
        assert_eq!(drawn.total, "How long it took is not known here.");
        assert_eq!(drawn.title, "Replica 3 began to lead, term 7");
        let led = strip(&Failover { leading_ms: Some(18_000), ..silent });
        assert_eq!(led.total, "Somebody led again 18.0 s after the last heartbeat.");
        assert!(led.marks.iter().all(|mark| !mark.kept));
    }

    #[test]
    fn marks_stand_in_the_order_of_time_whatever_the_protocol_says() {
        // The gateway heard the push before the answer.
        let strip = strip(&Failover { answered_ms: Some(400), ..failover() });
        let words: Vec<_> = strip.marks.iter().map(|mark| (mark.words, mark.step_ms)).collect();
        assert_eq!(words[6..], [("First push", 41), ("First answer", 48)]);
        assert_eq!(strip.marks.iter().filter(|mark| mark.kept).count(), 2);
        assert_eq!(strip.total, "Writes were answered again 400 ms after the last heartbeat.");
        assert_eq!(strip.title, "Replica 1 was lost, replica 3 took over, term 7");
    }

    #[test]
    fn rulers_are_round_and_short() {
        assert_eq!(ruler(0), [0]);
        assert_eq!(ruler(352), [0, 100, 200, 300]);
        assert_eq!(ruler(12_000), [0, 5_000, 10_000]);
        for last_ms in [1, 5, 6, 99, 100, 101, 4_999, 1_234_567] {
            let ruler = ruler(last_ms);
            assert!((2..=6).contains(&ruler.len()), "{last_ms}: {ruler:?}");
        }
    }

    #[test]
    fn spans_are_said_in_a_unit_that_people_compare() {
        assert_eq!(
            [0, 412, 9_999, 12_340, 600_000].map(time),
            ["0 ms", "412 ms", "9,999 ms", "12.3 s", "10 min"]
        );
    }
}
