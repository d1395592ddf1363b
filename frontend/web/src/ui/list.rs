//! The conversations, newest on top.

use leptos::prelude::*;
use quorate_client::proto::ids::ConversationId;
use quorate_client::view::ListRow;

use super::avatar::Avatar;
use super::bots::Badge;
use super::chat::shown;
use super::icons::{Glyph, Icon};
use crate::clock;
use crate::context::App;
use crate::follow::memo;
use crate::route;
use crate::words::{Word, t, tf};

/// See the module.
#[component]
pub(crate) fn List() -> impl IntoView {
    let app = App::of_context();
    let ids = move || {
        app.list.with(|list| list.iter().filter(|row| !row.folded).map(|row| row.id).collect::<Vec<_>>())
    };
    let folded = move || {
        app.list.with(|list| list.iter().filter(|row| row.folded).map(|row| row.id).collect::<Vec<_>>())
    };
    let folded_count = memo(move || folded().len());
    let unfolded = RwSignal::new(false);
    let empty = memo(move || app.list.with(Vec::is_empty));
    view! {
        <div class="list">
            <ul>
                <For each=ids key=|id| *id children=move |id| view! { <Line id/> }/>
            </ul>
            {move || (folded_count.get() > 0).then(|| view! {
                <button type="button" class="fold" data-testid="archived" aria-expanded=move || unfolded.get().to_string() on:click=move |_| unfolded.update(|open| *open = !*open)>
                    {move || tf("Archived · {}", &[&folded_count.get()])}
                </button>
                {move || unfolded.get().then(|| view! {
                    <ul><For each=folded key=|id| *id children=move |id| view! { <Line id/> }/></ul>
                })}
            })}
            {move || (empty.get() && !app.listed.get()).then(|| view! { <p class="vacant" role="status">{Word("Loading…")}</p> })}
            {move || (empty.get() && app.listed.get()).then(|| view! {
                <div class="empty">
                    <h2>{Word("No conversations yet")}</h2>
                    <p>{Word("Start one with anybody who has an account here. Two people make a direct conversation, more make a group.")}</p>
                    <button type="button" class="button primary" on:click=move |_| app.creating.set(true)>{Word("New conversation")}</button>
                </div>
            })}
        </div>
    }
}

/// One line, which watches its own row: nothing else is drawn again when it changes.
#[component]
fn Line(id: ConversationId) -> impl IntoView {
    let app = App::of_context();
    let row = memo(move || app.list.with(|list| list.iter().find(|row| row.id == id).cloned()));
    let field = move |get: fn(&ListRow) -> String| row.with(|row| row.as_ref().map(get).unwrap_or_default());
    let unread = move || row.with(|row| row.as_ref().map_or(0, |row| row.unread));
    let marked = move || row.with(|row| row.as_ref().is_some_and(|row| row.marked));
    let muted = move || row.with(|row| row.as_ref().is_some_and(|row| row.muted));
    let presence = memo(move || row.with(|row| row.as_ref().and_then(|row| row.presence).and_then(shown)));
    let current = move || app.focused.get() == Some(id);
    let face = memo(move || {
        row.with(|row| row.as_ref().map(|row| (row.name.clone(), row.portrait)).unwrap_or_default())
    });
    view! {
        <li>
            <a
                class="row"
                class:unread=move || { unread() > 0 || marked() }
                class:muted=muted
                href=route::href(Some(id))
                data-testid="conversation-row"
                data-conversation=id.to_string()
                data-unread=move || unread().to_string()
                data-mentions=move || row.with(|row| row.as_ref().map_or(0, |row| row.mentions)).to_string()
                data-marked=move || marked().then_some("true")
                data-muted=move || muted().then_some("true")
                aria-current=move || current().then_some("true")
            >
                {move || {
                    let (name, portrait) = face.get();
                    view! { <Avatar name portrait/> }
                }}
                <span class="row-name">
                    {move || presence.get().map(|(class, word)| view! { <span class=class title=t(word)></span> })}
                    {move || face.get().0}
                    {move || row.with(|row| row.as_ref().is_some_and(|row| row.bot)).then(|| view! { <Badge/> })}
                    {move || row.with(|row| row.as_ref().is_some_and(|row| row.favourite)).then(|| view! { <span class="sign" title=t("Favourite")><Glyph icon=Icon::Star size=13/></span> })}
                    {move || muted().then(|| view! { <span class="sign" title=t("Muted")><Glyph icon=Icon::Mute size=13/></span> })}
                </span>
                <time class="row-time">{move || clock::brief(row.with(|row| row.as_ref().map_or(0, |row| row.time)))}</time>
                <span class="row-preview">
                    {move || row.with(|row| row.as_ref().is_some_and(|row| row.draft)).then(|| view! { <b class="draft">{Word("Draft:")}" "</b> })}
                    {move || field(|row| row.preview.clone())}
                </span>
                <span class="row-mark">
                    {move || row.get().map(|row| {
                        let named = (row.mentions > 0).then(|| view! {
                            <span class="count named" title=t("Mentions you") data-testid="mention-count">{format!("@{}", row.mentions.min(99))}</span>
                        });
                        if row.unread > 0 {
                            let count = if row.unread > 99 { "99+".to_owned() } else { row.unread.to_string() };
                            view! {
                                {named}
                                <span class="count">{count}<span class="visually-hidden">" "{Word("unread")}</span></span>
                            }.into_any()
                        } else if row.marked {
                            view! { <span class="count dot-only"><span class="visually-hidden">{Word("Marked as unread")}</span></span> }.into_any()
                        } else if row.failed {
                            view! { <span class="bad" title=t("A message was not sent")><Glyph icon=Icon::Alert size=16/></span> }.into_any()
                        } else if row.pending {
                            view! { <Glyph icon=Icon::Clock size=14/> }.into_any()
                        } else {
                            ().into_any()
                        }
                    })}
                </span>
            </a>
        </li>
    }
}
