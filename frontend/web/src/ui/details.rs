//! Where this window stands in the cluster: the numbers behind the ticks.

use std::time::Duration;

use leptos::prelude::*;
use quorate_client::Input;
use quorate_client::proto::frame::WriteState;
use quorate_client::view::{called, portrait_of};

use super::avatar::Avatar;
use super::bots::Badge;
use super::group::{About, Members, Mine};
use super::icons::{Glyph, Icon};
use crate::context::App;
use crate::follow::memo;
use crate::words::{Word, t, tf};

/// The round trip is measured this often while the drawer is open.
const MEASURE: Duration = Duration::from_secs(3);

/// See the module.
#[component]
pub(crate) fn Details() -> impl IntoView {
    let app = App::of_context();
    app.input(Input::Measure);
    if let Ok(interval) = set_interval_with_handle(
        move || {
            app.input(Input::Measure);
        },
        MEASURE,
    ) {
        on_cleanup(move || interval.clear());
    }
    let details = app.details;
    // By conversation: what was typed for one group must not be saved for another.
    let of =
        memo(move || app.heading.with(|heading| heading.as_ref().map(|heading| (heading.id, heading.group))));
    let write = move || {
        details.with(|details| match (details.live, details.write) {
            (false, _) => ("lamp off", t("Not connected")),
            (true, WriteState::Up) => ("lamp", t("Up")),
            (true, WriteState::Electing) => ("lamp wait", t("Electing a leader")),
            (true, WriteState::NoQuorum) => ("lamp off", t("No majority")),
        })
    };
    view! {
        <aside
            class="details"
            aria-label=t("Details")
            data-region
            tabindex="-1"
            data-testid="details"
            data-gateway=move || details.with(|details| details.gateway.clone())
            data-position=move || details.with(|details| details.position.to_string())
            data-seen=move || details.with(|details| details.seen.to_string())
            data-sockets=move || details.with(|details| details.sockets.to_string())
        >
            <header>
                <h2>{Word("Details")}</h2>
                <button type="button" class="icon-button" aria-label=t("Close details") on:click=move |_| app.detailing.set(false)>
                    <Glyph icon=Icon::Close/>
                </button>
            </header>
            {move || match of.get() {
                Some((_, true)) => view! { <About/><Members/><Mine/> }.into_any(),
                Some((_, false)) => view! { <Two/><Mine/> }.into_any(),
                None => ().into_any(),
            }}
            <section>
                <h3>{Word("Connection")}</h3>
                <dl>
                    <div><dt>{Word("Writes")}</dt><dd><span class=move || write().0 aria-hidden="true"></span>{move || write().1}</dd></div>
                    <div><dt>{Word("Gateway")}</dt><dd>{move || details.with(|details| details.gateway.clone())}</dd></div>
                    {move || details.with(|details| details.leader).map(|leader| view! {
                        <div><dt>{Word("Leader")}</dt><dd>{tf("replica {}", &[&leader])}</dd></div>
                    })}
                    <div><dt>{Word("Round trip")}</dt><dd>{move || details.with(|details| details.round_trip_ms.map_or_else(|| "—".to_owned(), |ms| format!("{ms} ms")))}</dd></div>
                    <div><dt>{Word("Waiting to be sent")}</dt><dd>{move || details.with(|details| details.outbox.to_string())}</dd></div>
                </dl>
            </section>
            <section>
                <h3>{Word("Position")}</h3>
                <dl>
                    <div><dt>{Word("Delivered up to")}</dt><dd>{move || details.with(|details| details.position.to_string())}</dd></div>
                    <div><dt>{Word("Behind")}</dt><dd>{move || details.with(|details| details.seen.saturating_sub(details.position).to_string())}</dd></div>
                    <div><dt>{Word("Seen")}</dt><dd>{move || details.with(|details| details.seen.to_string())}</dd></div>
                    <div><dt>{Word("Cluster")}</dt><dd class="mono">{move || details.with(|details| details.cluster.clone())}</dd></div>
                    <div><dt>{Word("Session")}</dt><dd class="mono">{move || details.with(|details| details.session.clone())}</dd></div>
                </dl>
            </section>
            <p class="note">{Word("Positions are indexes of the cluster’s log. Any gateway continues this window from where it stands.")}</p>
        </aside>
    }
}

/// Both sides of a direct conversation.
#[component]
fn Two() -> impl IntoView {
    let app = App::of_context();
    move || {
        let heading = app.heading.get()?;
        let count = heading.member_count as usize;
        let more = count.saturating_sub(heading.members.len());
        Some(view! {
            <section>
                <h3>{tf("Members · {}", &[&count])}</h3>
                <ul class="members">
                    {heading.members.iter().map(|member| view! {
                        <li>
                            <Avatar name=called(member).to_owned() portrait=portrait_of(member) size="small"/>
                            {called(member).to_owned()}{member.bot.then(|| view! { <Badge/> })}
                            <small>{format!("@{}", member.name)}</small>
                        </li>
                    }).collect_view()}
                    {(more > 0).then(|| view! { <li><small>{tf("and {} more", &[&more])}</small></li> })}
                </ul>
            </section>
        })
    }
}
