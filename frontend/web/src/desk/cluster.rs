//! The cluster: gateways on one side, replicas on the other, and lines for who feeds whom. Beside it where the time goes, below it the
//! changes of leader.

use leptos::prelude::*;
use quorate_client::proto::rest::{ClusterView, Failovers};
use quorate_client::view::cluster::{
    agreement_sentence, differing, feeds, gateway_words, leader_sentence, quorum_sentence, standing,
};

use super::film::Films;
use super::members::{Ask, Change};
use super::poll::{Age, Poll};
use super::replica::{Replica, key_of};
use super::stages::Stages;
use crate::clock;
use crate::context::App;
use crate::follow::memo;
use crate::words::{Word, t, tf};

/// How often it is looked at, ms.
const VIEW_MS: u64 = 1_000;
const FAILOVERS_MS: u64 = 2_000;

/// See the module.
#[component]
pub(super) fn Cluster() -> impl IntoView {
    let app = App::of_context();
    let view: Poll<ClusterView> = Poll::begin(app, "/api/v1/admin/cluster", VIEW_MS);
    let failovers: Poll<Failovers> = Poll::begin(app, "/api/v1/admin/cluster/failovers", FAILOVERS_MS);
    let asked = RwSignal::new(None::<Change>);
    let there = memo(move || view.latest.with(Option::is_some));
    let old = move || (view.stale_ms.get() > 0).then_some("true");
    view! {
        <div class="beside">
        {move || if there.get() {
            view! {
                <section class="cluster" aria-label=t("Cluster") data-testid="cluster" data-old=old>
                    <Standing view asked/>
                    <Map latest=view.latest asked/>
                    <Facts latest=view.latest/>
                </section>
            }.into_any()
        } else {
            view! { <Waiting error=view.error/> }.into_any()
        }}
        <Stages/>
        </div>
        <Films failovers/>
        <Ask asked latest=view.latest/>
    }
}

/// Until the first answer; the questions go on.
#[component]
pub(super) fn Waiting(error: RwSignal<Option<crate::driver::rest::CallError>>) -> impl IntoView {
    move || match error.get() {
        None => view! { <p class="vacant" role="status">{Word("Loading…")}</p> }.into_any(),
        Some(error) => view! { <div class="error" role="alert">{error.message}</div> }.into_any(),
    }
}

/// What it says in a few sentences, and what concerns no one replica.
#[component]
fn Standing(view: Poll<ClusterView>, asked: RwSignal<Option<Change>>) -> impl IntoView {
    let say = move |words: fn(&ClusterView) -> String| {
        memo(move || view.latest.with(|view| view.as_ref().map(words).unwrap_or_default()))
    };
    let quorum = say(|view| quorum_sentence(&view.quorum));
    let (leader, agreement) = (say(leader_sentence), say(agreement_sentence));
    let health = say(|view| standing(view).word().to_owned());
    let differ = memo(move || {
        view.latest.with(|view| {
            view.as_ref()
                .is_some_and(|view| view.agree == Some(false) || !differing(&view.replicas).is_empty())
        })
    });
    view! {
        <div class="standing" data-health=health>
            <p class="standing-first" role="status"><span class="lamp" aria-hidden="true"></span><b data-testid="quorum">{quorum}</b></p>
            <p data-testid="leader">{leader}</p>
            <p data-testid="agreement" class:differs=differ>{agreement}</p>
            <Age poll=view/>
            <div class="acts">
                <button type="button" class="button" data-testid="hand-over" on:click=move |_| asked.set(Some(Change::HandOver))>{Word("Hand over leadership…")}</button>
                <button type="button" class="button" data-testid="add-replica" on:click=move |_| asked.set(Some(Change::Add))>{Word("Add a replica…")}</button>
            </div>
        </div>
    }
}

#[component]
fn Map(latest: RwSignal<Option<ClusterView>>, asked: RwSignal<Option<Change>>) -> impl IntoView {
    let of = move |view: &Option<ClusterView>| view.as_ref().map(feeds).unwrap_or_default();
    let lines = memo(move || latest.with(of));
    let replicas = memo(move || {
        latest.with(|view| {
            view.as_ref().map(|view| view.replicas.iter().map(key_of).collect::<Vec<_>>()).unwrap_or_default()
        })
    });
    let gateways = memo(move || {
        let names = |view: &ClusterView| view.gateways.iter().map(|row| row.name.clone()).collect::<Vec<_>>();
        latest.with(|view| view.as_ref().map(names).unwrap_or_default())
    });
    let differ = memo(move || {
        latest.with(|view| view.as_ref().map(|view| differing(&view.replicas)).unwrap_or_default())
    });
    view! {
        <div class="map">
            <h2 id="map-gateways">{Word("Gateways")}</h2>
            <ul class="gateways" aria-labelledby="map-gateways">
                <For each=move || gateways.get() key=|name| name.clone() children=move |name| view! { <Gateway name latest/> }/>
            </ul>
            <svg class="feeds" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">
                <For each=move || lines.get() key=|feed| feed.path.clone() children=|feed| view! {
                    <path d=feed.path data-gateway=feed.gateway data-replica=feed.replica.to_string() vector-effect="non-scaling-stroke"></path>
                }/>
            </svg>
            <h2 id="map-replicas" class="map-replicas">{Word("Replicas")}</h2>
            <ul class="replicas" aria-labelledby="map-replicas">
                <For each=move || replicas.get() key=|key| key.clone() children=move |key| view! { <Replica key latest differ asked/> }/>
            </ul>
        </div>
    }
}

#[component]
fn Gateway(name: String, latest: RwSignal<Option<ClusterView>>) -> impl IntoView {
    let wanted = name.clone();
    let row = memo(move || {
        let find = |view: &ClusterView| view.gateways.iter().find(|row| row.name == wanted).cloned();
        latest.with(|view| view.as_ref().and_then(find))
    });
    let wanted = name.clone();
    let asked =
        memo(move || latest.with(|view| view.as_ref().is_some_and(|view| view.answered_by == wanted)));
    let words = move || row.with(|row| row.as_ref().map(gateway_words).unwrap_or_default());
    let since = move || {
        let since = row.with(|row| row.as_ref().and_then(|row| row.since));
        since.map(|since| tf("since {}", &[&clock::brief(since)])).unwrap_or_default()
    };
    view! {
        <li class="gateway" data-testid="gateway" data-name=name.clone() data-answers=move || asked.get().then_some("true")>
            <b>{tf("Gateway {}", &[&name])}</b>
            <span>{words}</span>
            <span class="faint">{since}</span>
            // Its line is kept free: each answer may come from another gateway.
            <span class="faint">{move || if asked.get() { t("gave this answer") } else { "" }}</span>
        </li>
    }
}

/// What seldom matters.
#[component]
fn Facts(latest: RwSignal<Option<ClusterView>>) -> impl IntoView {
    let words = memo(move || {
        latest.with(|view| {
            let Some(view) = view else { return String::new() };
            let former: Vec<String> = view.former.iter().map(u64::to_string).collect();
            let former = match former.len() {
                0 => String::new(),
                _ => tf(" Ids that are never used again: {}.", &[&former.join(", ")]),
            };
            tf("Cluster {}. Round trips are from gateway {}.", &[&view.cluster, &view.answered_by]) + &former
        })
    });
    view! { <p class="hint">{words}</p> }
}
