//! Where the time of a message goes, stage by stage, as one gateway measured it: a table, with a bar in each row.

use leptos::prelude::*;
use quorate_client::proto::rest::{Stage, StageTime, StageTimes};
use quorate_client::view::cluster::grouped;
use quorate_client::view::stages::{
    STAGES, Scale, is_part, measured, source_sentence, stage_key, stage_name, stage_words, time_words,
};

use super::poll::Poll;
use crate::context::App;
use crate::follow::memo;
use crate::words::{Word, t};

const STAGES_PATH: &str = "/api/v1/admin/cluster/stages";
/// How often it is looked at, ms: each look costs a read of a replica.
const STAGES_MS: u64 = 3_000;

/// See the module.
#[component]
pub(super) fn Stages() -> impl IntoView {
    let times: Poll<StageTimes> = Poll::begin(App::of_context(), STAGES_PATH, STAGES_MS);
    let latest = times.latest;
    let there = memo(move || latest.with(Option::is_some));
    let old = move || (times.stale_ms.get() > 0).then_some("true");
    let before = move || match times.error.get() {
        None => t("Loading…").to_owned(),
        Some(error) => error.message,
    };
    view! {
        <section class="stages" aria-labelledby="stages-title" data-testid="stages" data-old=old>
            <h2 id="stages-title">{Word("Latency by stage")}</h2>
            {move || if there.get() {
                view! {
                    <Times latest/>
                    // The map beside it says aloud that no answer comes: once is enough.
                    <p class="age" data-testid="stages-age">{move || times.age()}</p>
                }.into_any()
            } else {
                view! { <p class="stage-hint" role="status">{before}</p> }.into_any()
            }}
        </section>
    }
}

/// An answer, drawn.
#[component]
pub(super) fn Times(latest: RwSignal<Option<StageTimes>>) -> impl IntoView {
    let source = memo(move || latest.with(|times| times.as_ref().map(source_sentence).unwrap_or_default()));
    let scale = memo(move || latest.with(|times| times.as_ref().map(Scale::of)));
    view! {
        <p class="stage-hint" data-testid="stages-source">{source}</p>
        <table class="stage-table">
            <caption class="visually-hidden">{Word("Latency by stage, in the order of a message’s way")}</caption>
            <thead>
                <tr>
                    <th scope="col"><div class="stage"><span>{Word("Stage")}</span>{move || scale.get().map(|scale| view! { <Ruler scale/> })}</div></th>
                    <th scope="col">{Word("p50")}</th>
                    <th scope="col">{Word("p99")}</th>
                    <th scope="col">{Word("Count")}</th>
                </tr>
            </thead>
            <tbody>{STAGES.map(|stage| view! { <Row stage latest scale/> }).collect_view()}</tbody>
        </table>
        <p class="stage-hint">{Word("A bar reaches from p50, which half did not exceed, to p99, which one in a hundred did. Times that differ by less than twice may be the same.")}</p>
    }
}

#[component]
fn Row(stage: Stage, latest: RwSignal<Option<StageTimes>>, scale: Memo<Option<Scale>>) -> impl IntoView {
    let time = memo(move || latest.with(|times| times.as_ref().and_then(|times| measured(times, stage))));
    let bar = move || Some(view! { <Bar time=time.get()? scale=scale.get()?/> });
    let numbers = move || match time.get() {
        Some(time) => view! {
            <td data-testid="p50">{time_words(time.p50_ms)}</td>
            <td data-testid="p99">{time_words(time.p99_ms)}</td>
            <td data-testid="count">{grouped(time.count)}</td>
        }
        .into_any(),
        None => view! { <td class="faint" colspan="3">{Word("nothing in the last minute")}</td> }.into_any(),
    };
    view! {
        <tr data-testid="stage" data-stage=stage_key(stage) data-part=is_part(stage).then_some("true")>
            <th scope="row">
                <div class="stage">
                    <span><b>{stage_name(stage)}</b>" "<small>{stage_words(stage)}</small></span>
                    <svg class="stage-bar" width="100%" height="16" aria-hidden="true"><line class="base" x1="0" x2="100%" y1="8" y2="8"></line>{bar}</svg>
                </div>
            </th>
            {numbers}
        </tr>
    }
}

/// A part of the scale's width.
fn part(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

#[component]
fn Bar(time: StageTime, scale: Scale) -> impl IntoView {
    let from = part(scale.share(time.p50_ms.unwrap_or(0.0)));
    let to = part(scale.share(time.p99_ms.unwrap_or(0.0)));
    view! {
        <line class="span" x1=from.clone() x2=to y1="8" y2="8"></line>
        <circle class="half" cx=from cy="8" r="4"></circle>
    }
}

/// The scale's powers of ten. The first and the last stand within it.
#[component]
fn Ruler(scale: Scale) -> impl IntoView {
    let ticks = scale.ticks();
    let last = ticks.len().saturating_sub(1);
    let ticks = ticks.into_iter().enumerate().map(|(at, (share, words))| {
        let anchor = match at {
            0 => "start",
            at if at == last => "end",
            _ => "middle",
        };
        view! {
            <line class="tick" x1=part(share) x2=part(share) y1="13" y2="18"></line>
            <text class="tick-words" x=part(share) y="10" text-anchor=anchor>{words}</text>
        }
    });
    view! { <svg class="stage-bar" width="100%" height="18" aria-hidden="true">{ticks.collect_view()}</svg> }
}
