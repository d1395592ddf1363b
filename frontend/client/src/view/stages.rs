//! Where the time of a message goes: its stages in words, their times, and a scale on which they are drawn.
//!
//! The scale is logarithmic: a stage takes from a hundredth of a millisecond to seconds, and times that differ by less than twice may be
//! the same. It has no zero, so a bar reaches from one time to another and not from an edge.

use quorate_proto::rest::{Stage, StageTime, StageTimes};

use super::cluster::age_words;
use crate::words::{t, tf};

/// In the order of a message's way.
pub const STAGES: [Stage; 8] = [
    Stage::Lane,
    Stage::Queue,
    Stage::Retry,
    Stage::Leader,
    Stage::Replica,
    Stage::Network,
    Stage::Reply,
    Stage::Delivery,
];

/// Where the scale begins, and how far it reaches at least and at most, ms; powers of ten.
const SCALE_MS_MIN: f64 = 0.01;
const SCALE_END_MS_MIN: f64 = 100.0;
const SCALE_END_MS_MAX: f64 = 100_000.0;
/// What is said of all that took longer than a gateway tells apart, ms.
const TOLD_MS_MAX: f64 = 13_107.2;

/// A scale that all bars share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    end_ms: f64,
}

impl Scale {
    /// One that reaches beyond everything measured, to a power of ten: it seldom changes from one answer to the next.
    pub fn of(times: &StageTimes) -> Self {
        let longest_ms = times.stages.iter().filter_map(|time| time.p99_ms).fold(0.0, f64::max);
        let mut end_ms = SCALE_END_MS_MIN;
        while end_ms < longest_ms && end_ms < SCALE_END_MS_MAX {
            end_ms *= 10.0;
        }
        Self { end_ms }
    }

    /// Where a time stands, from 0 to 1.
    pub fn share(self, ms: f64) -> f64 {
        let span = (self.end_ms / SCALE_MS_MIN).log10();
        ((ms.max(SCALE_MS_MIN) / SCALE_MS_MIN).log10() / span).min(1.0)
    }

    /// Each power of ten: where it stands, and what it is called.
    pub fn ticks(self) -> Vec<(f64, String)> {
        let mut ticks = Vec::new();
        let mut ms = SCALE_MS_MIN;
        // Half a step more: powers of ten below one are not exact.
        while ms < self.end_ms * 5.0 {
            ticks.push((self.share(ms), tick_words(ms)));
            ms *= 10.0;
        }
        ticks
    }
}

/// Short, since many stand in a line; the unit where it changes.
fn tick_words(ms: f64) -> String {
    if ms > 500.0 {
        format!("{} s", decimals(ms / 1_000.0, 0))
    } else if ms > 5.0 {
        decimals(ms, 0)
    } else if ms > 0.5 {
        format!("{} ms", decimals(ms, 0))
    } else if ms > 0.05 {
        decimals(ms, 1)
    } else {
        decimals(ms, 2)
    }
}

/// What was measured of one stage; `None`: nothing.
pub fn measured(times: &StageTimes, stage: Stage) -> Option<StageTime> {
    times.stages.iter().find(|time| time.stage == stage && time.count > 0).copied()
}

/// As short as it is sure: `0.05 ms`, `3.1 ms`, `412 ms`, `12.3 s`.
pub fn time_words(ms: Option<f64>) -> String {
    let Some(ms) = ms else { return "–".to_owned() };
    if ms >= TOLD_MS_MAX {
        return tf("over {}", &[&time_words(Some(13_100.0))]);
    }
    if ms < 0.995 {
        format!("{} ms", decimals(ms, 2))
    } else if ms < 9.95 {
        format!("{} ms", decimals(ms, 1))
    } else if ms < 999.5 {
        format!("{} ms", decimals(ms, 0))
    } else {
        format!("{} s", decimals(ms / 1_000.0, 1))
    }
}

/// A number with so many decimals, and the sign that the reader's language has before them.
fn decimals(number: f64, places: usize) -> String {
    format!("{number:.places$}").replacen('.', t("."), 1)
}

/// Who measured, and over how long.
pub fn source_sentence(times: &StageTimes) -> String {
    tf(
        "As gateway {} measured it in about the last {}. Every gateway has times of its own.",
        &[&times.answered_by, &age_words(times.window_ms)],
    )
}

/// What a stage is called.
pub fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Lane => t("Lane"),
        Stage::Queue => t("Queue"),
        Stage::Retry => t("Sent again"),
        Stage::Leader => t("Leader"),
        Stage::Replica => t("Replica"),
        Stage::Network => t("Network"),
        Stage::Reply => t("Ack"),
        Stage::Delivery => t("Delivery"),
    }
}

/// The same for style sheets, and as the servers call it.
pub fn stage_key(stage: Stage) -> &'static str {
    match stage {
        Stage::Lane => "lane",
        Stage::Queue => "queue",
        Stage::Retry => "retry",
        Stage::Leader => "leader",
        Stage::Replica => "replica",
        Stage::Network => "network",
        Stage::Reply => "reply",
        Stage::Delivery => "delivery",
    }
}

/// What happens in it.
pub fn stage_words(stage: Stage) -> &'static str {
    match stage {
        Stage::Lane => t("Behind earlier messages of the same window into the same conversation"),
        Stage::Queue => t("Until it is first sent to a replica"),
        Stage::Retry => t("From the first to the last sending, where one was not enough: a leader was lost"),
        Stage::Leader => t("From the last sending to the outcome"),
        Stage::Replica => t("Of that, in the replica: log, majority, apply"),
        Stage::Network => t("Of that, the rest: there and back, and waiting at both ends"),
        Stage::Reply => t("From the outcome until the writer’s ack has left the gateway"),
        Stage::Delivery => t("From the event at the gateway until it has left it, for each session"),
    }
}

/// Whether it is a part of the stage `leader`.
pub fn is_part(stage: Stage) -> bool {
    matches!(stage, Stage::Replica | Stage::Network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(p99_ms: &[f64]) -> StageTimes {
        let time = |(stage, p99_ms): (&Stage, &f64)| StageTime {
            stage: *stage,
            count: 3,
            p50_ms: Some(p99_ms / 2.0),
            p99_ms: Some(*p99_ms),
        };
        let stages = STAGES.iter().zip(p99_ms).map(time).collect();
        StageTimes { answered_by: "b".to_owned(), window_ms: 60_000, stages }
    }

    fn names(scale: Scale) -> Vec<String> {
        scale.ticks().into_iter().map(|(_, words)| words).collect()
    }

    #[test]
    fn the_scale_reaches_beyond_what_was_measured_and_is_as_wide_for_nothing() {
        let calm = Scale::of(&times(&[]));
        assert_eq!(names(calm), ["0.01", "0.1", "1 ms", "10", "100"]);
        assert_eq!(calm, Scale::of(&times(&[0.05, 12.6, 100.0])));
        assert_eq!(names(Scale::of(&times(&[0.05, 412.0]))).last().map(String::as_str), Some("1 s"));
        let slow = Scale::of(&times(&[TOLD_MS_MAX]));
        assert_eq!(names(slow), ["0.01", "0.1", "1 ms", "10", "100", "1 s", "10 s", "100 s"]);
        assert_eq!(slow, Scale::of(&times(&[f64::INFINITY])), "a server that tells nonsense stops nothing");
    }

    #[test]
    fn ten_times_as_long_is_one_step_further_and_nothing_leaves_the_scale() {
        let scale = Scale::of(&times(&[12.6]));
        let is = |ms: f64, share: f64| assert!((scale.share(ms) - share).abs() < 1e-9, "{ms}");
        for (at, ms) in [0.01, 0.1, 1.0, 10.0, 100.0].into_iter().enumerate() {
            is(ms, at as f64 / 4.0);
        }
        for (ms, share) in [(0.0, 0.0), (-1.0, 0.0), (f64::NAN, 0.0), (5_000.0, 1.0)] {
            is(ms, share);
        }
        assert!(scale.ticks().iter().all(|(share, _)| (0.0..=1.0).contains(share)));
    }

    #[test]
    fn times_are_told_as_exactly_as_they_are_known() {
        let said = [0.0, 0.05, 0.999, 3.06, 9.96, 412.4, 1_234.0, 12_345.6, TOLD_MS_MAX]
            .map(|ms| time_words(Some(ms)));
        let wanted =
            ["0.00 ms", "0.05 ms", "1.0 ms", "3.1 ms", "10 ms", "412 ms", "1.2 s", "12.3 s", "over 13.1 s"];
        assert_eq!(said, wanted);
        assert_eq!(time_words(None), "–");
    }

    #[test]
    fn where_nothing_was_measured_there_is_no_time() {
        let mut times = times(&[1.0, 2.0]);
        times.stages[1] = StageTime { stage: Stage::Queue, count: 0, p50_ms: None, p99_ms: None };
        assert_eq!(measured(&times, Stage::Lane).map(|time| time.count), Some(3));
        assert_eq!((measured(&times, Stage::Queue), measured(&times, Stage::Reply)), (None, None));
        assert_eq!(
            source_sentence(&times),
            "As gateway b measured it in about the last 60 s. Every gateway has times of its own."
        );
    }

    #[test]
    fn stages_are_called_as_the_servers_call_them() {
        for stage in STAGES {
            let told = serde_json::to_value(stage).expect("a word");
            assert_eq!(told, stage_key(stage));
        }
    }
}
