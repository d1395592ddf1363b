//! One replica of the map: what it does, how far it is, and what may be done to it.

use leptos::prelude::*;
use quorate_client::proto::rest::{ClusterView, ReplicaRow};
use quorate_client::view::cluster::{
    MemberAct, hash_words, known, member_acts, replica_words, role_name, role_words, round_trip_words,
    version_words,
};

use super::members::Change;
use crate::follow::memo;
use crate::ui::icons::{Glyph, Icon};
use crate::words::{Word, t, tf};

/// What stays the same of a member: an address may be used again by another id, and an id may not be known yet.
pub(super) fn key_of(row: &ReplicaRow) -> String {
    format!("{} {}", row.id, row.address)
}

/// See the module. Drawn once: what changes each second are its words, so that the focus stays where it is.
#[component]
pub(super) fn Replica(
    key: String,
    latest: RwSignal<Option<ClusterView>>,
    differ: Memo<Vec<u64>>,
    asked: RwSignal<Option<Change>>,
) -> impl IntoView {
    let row = memo(move || {
        let find = |view: &ClusterView| view.replicas.iter().find(|row| key_of(row) == key).cloned();
        latest.with(|view| view.as_ref().and_then(find))
    });
    let say = move |words: fn(&ReplicaRow) -> String| {
        move || row.with(|row| row.as_ref().map(words).unwrap_or_default())
    };
    let role = memo(move || row.with(|row| row.as_ref().map_or("silent", role_name)));
    let differs = memo(move || {
        row.with(|row| row.as_ref().is_some_and(|row| differ.with(|ids| ids.contains(&row.id))))
    });
    let low = memo(move || row.with(|row| row.as_ref().is_some_and(|row| row.storage_low)));
    let id = row.with_untracked(|row| row.as_ref().map_or(0, |row| row.id));
    let act = move |which: MemberAct, words: &'static str, make: fn(ReplicaRow) -> Change| {
        let may =
            memo(move || row.with(|row| row.as_ref().is_some_and(|row| member_acts(row).contains(&which))));
        let click = move |_| {
            if may.get_untracked() {
                asked.set(row.get_untracked().map(make));
            }
        };
        let name = move || tf("{} replica {}", &[&words.trim_end_matches('…'), &id]);
        view! {
            <button type="button" class="link-button" aria-label=name aria-disabled=move || (!may.get()).then_some("true") on:click=click>{words}</button>
        }
    };
    view! {
        <li class="replica" data-testid="replica" data-id=id.to_string() data-role=role>
            <span class="node" aria-hidden="true">{move || view! { <Glyph icon=icon(role.get()) size=18/> }}</span>
            <div class="replica-name">
                <b>{say(replica_words)}</b>
                <span class="role" data-testid="role">{say(|row| role_words(row).to_owned())}</span>
                <small>{say(|row| row.address.clone())}</small>
            </div>
            <dl>
                <div><dt>{Word("Term")}</dt><dd>{say(|row| known(row.term))}</dd></div>
                <div><dt>{Word("Log")}</dt><dd>{say(|row| known(row.last_index))}</dd></div>
                <div><dt>{Word("Committed")}</dt><dd>{say(|row| known(row.committed))}</dd></div>
                <div><dt>{Word("Applied")}</dt><dd>{say(|row| known(row.applied))}</dd></div>
                <div><dt>{Word("Behind")}</dt><dd>{say(|row| known(row.lag))}</dd></div>
                <div><dt>{Word("Round trip")}</dt><dd>{say(round_trip_words)}</dd></div>
                <div class="wide" class:differs=differs>
                    <dt>{move || if differs.get() { t("State differs") } else { t("State") }}</dt>
                    <dd class="mono" title=say(|row| row.hash.clone().unwrap_or_default())>{say(hash_words)}</dd>
                </div>
                <div class:differs=low><dt>{Word("Disk")}</dt><dd>{say(disk)}</dd></div>
                <div class="wide"><dt>{Word("Version")}</dt><dd>{say(version_words)}</dd></div>
            </dl>
            <div class="acts">
                {act(MemberAct::Lead, t("Let lead…"), Change::Lead)}
                {act(MemberAct::Replace, t("Replace…"), Change::Replace)}
                {act(MemberAct::Remove, t("Remove…"), Change::Remove)}
            </div>
        </li>
    }
}

fn disk(row: &ReplicaRow) -> String {
    match (row.reachable, row.storage_low) {
        (false, _) => "–",
        (true, true) => t("nearly full"),
        (true, false) => t("fine"),
    }
    .to_owned()
}

/// A role is told by its sign as well as by its colour.
fn icon(role: &str) -> Icon {
    match role {
        "leader" => Icon::Star,
        "follower" => Icon::Check,
        "candidate" => Icon::Retry,
        "learner" => Icon::Down,
        _ => Icon::Close,
    }
}
