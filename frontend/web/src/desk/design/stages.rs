//! Latency by stage, as gateways tell it: on a busy evening with a leader that was lost, and while nobody writes.

use leptos::prelude::*;
use quorate_client::proto::rest::{StageTime, StageTimes};
use quorate_client::view::stages::STAGES;

/// How many were measured, and p50 and p99 in ms; in the order of the stages.
const BUSY: [(u64, f64, f64); 8] = [
    (1_204, 0.05, 0.4),
    (1_204, 0.12, 1.6),
    (37, 310.0, 741.0),
    (1_204, 3.1, 12.6),
    (1_198, 2.6, 11.9),
    (1_198, 0.4, 1.5),
    (1_204, 0.2, 0.8),
    (14_448, 0.2, 1.1),
];

fn told(numbers: [(u64, f64, f64); 8]) -> RwSignal<Option<StageTimes>> {
    let time = |(stage, (count, p50_ms, p99_ms))| {
        let [p50_ms, p99_ms] = [p50_ms, p99_ms].map(|ms| (count > 0).then_some(ms));
        StageTime { stage, count, p50_ms, p99_ms }
    };
    let stages = STAGES.into_iter().zip(numbers).map(time).collect();
    RwSignal::new(Some(StageTimes { answered_by: "a".to_owned(), window_ms: 60_000, stages }))
}

/// Everything was measured.
pub(super) fn measured() -> RwSignal<Option<StageTimes>> {
    told(BUSY)
}

/// Nothing was.
pub(super) fn quiet() -> RwSignal<Option<StageTimes>> {
    told([(0, 0.0, 0.0); 8])
}
