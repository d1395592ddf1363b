//! Changes of leader, each as a strip of moments; the same as a table for whoever cannot see it, and on a phone.

use leptos::prelude::*;
use quorate_client::proto::rest::{Failover, Failovers};
use quorate_client::view::film::{Mark, Strip, label, strip, time};

use super::poll::Poll;
use crate::clock;
use crate::follow::memo;
use crate::words::{Word, t, tf};

/// Heights, in px: a line of labels, what is above the first one, and the strip with its ruler.
const LANE: usize = 18;
const TOP: usize = 4;
const RULER: usize = 30;

/// See the module.
#[component]
pub(super) fn Films(failovers: Poll<Failovers>) -> impl IntoView {
    let latest = failovers.latest;
    let list = memo(move || {
        latest.with(|latest| latest.as_ref().map(|latest| latest.failovers.clone()).unwrap_or_default())
    });
    let words = memo(move || {
        latest.with(|latest| match latest {
            None => String::new(),
            Some(latest) if latest.failovers.is_empty() => {
                t("None that the replicas which answer remember.").to_owned()
            }
            Some(latest) => tf(
                "As the replicas which answer remember them. First answer and first push are as gateway {} saw them; what nobody saw is \
                 left out.",
                &[&latest.answered_by],
            ),
        })
    });
    view! {
        <section class="films" aria-labelledby="films-title" data-testid="films">
            <h2 id="films-title">{Word("Changes of leader")}</h2>
            <p class="hint">{words}</p>
            <ol>
                // Anew when more becomes known of one.
                <For each=move || list.get() key=|failover| format!("{failover:?}") children=|failover| view! { <Film failover/> }/>
            </ol>
        </section>
    }
}

#[component]
fn Film(failover: Failover) -> impl IntoView {
    let drawn = strip(&failover);
    let rows = drawn.marks.iter().map(|mark| view! {
        <tr><th scope="row">{mark.words}</th><td>{time(mark.ms)}</td><td>{format!("+{}", time(mark.step_ms))}</td></tr>
    }).collect_view();
    let count = drawn.marks.len();
    let (title, total) = (drawn.title.clone(), drawn.total.clone());
    view! {
        <li class="film" data-testid="film" data-term=failover.term.to_string() data-marks=count.to_string()>
            <h3>{title}</h3>
            <p class="film-total"><b data-testid="film-total">{total}</b>" "<span>{clock::full(failover.time)}</span></p>
            {(count > 0).then(|| view! {
                <Drawn strip=drawn/>
                <table class="film-table">
                    <caption class="visually-hidden">{Word("What happened when")}</caption>
                    <thead><tr><th scope="col">{Word("Moment")}</th><th scope="col">{Word("After the last heartbeat")}</th><th scope="col">{Word("After the one before")}</th></tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            })}
        </li>
    }
}

/// A part of the strip's width.
fn part(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

#[component]
fn Drawn(strip: Strip) -> impl IntoView {
    let line = TOP + strip.lanes * LANE + 8;
    let height = line + RULER;
    let end = strip.marks.last().map_or(0.0, |mark| mark.share);
    let ruler = strip.ruler.iter().map(|(share, ms)| view! {
        <line class="tick" x1=part(*share) x2=part(*share) y1=line.to_string() y2=(line + 7).to_string()></line>
        <text class="tick-words" x=part(*share) y=(line + 20).to_string()>{time(*ms)}</text>
    }).collect_view();
    let steps = strip.marks.windows(2).map(|pair| {
        view! {
            <line class="step" data-kept=pair[1].kept.to_string() x1=part(pair[0].share) x2=part(pair[1].share) y1=line.to_string() y2=line.to_string()></line>
        }
    }).collect_view();
    let lanes = strip.lanes;
    let marks = strip.marks.iter().map(|mark| {
        let Mark { share, lane, .. } = *mark;
        let base = TOP + (lanes - lane) * LANE;
        view! {
            <line class="stem" x1=part(share) x2=part(share) y1=(base - 10).to_string() y2=line.to_string()></line>
            <circle class="mark" cx=part(share) cy=line.to_string() r="4"></circle>
            <text class="mark-words" x=part(share) dx="6" y=base.to_string()>{label(mark)}</text>
        }
    }).collect_view();
    view! {
        <svg class="strip" width="100%" height=height.to_string() aria-hidden="true">
            <line class="base" x1="0" x2=part(end) y1=line.to_string() y2=line.to_string()></line>
            {ruler}
            {steps}
            {marks}
        </svg>
    }
}
