//! The conversations, newest on top.

use leptos::prelude::*;
use quorate_client::proto::ids::ConversationId;
use quorate_client::view::ListRow;

use super::avatar::Avatar;
use super::icons::{Glyph, Icon};
use crate::clock;
use crate::context::App;
use crate::route;

/// See the module.
#[component]
pub(crate) fn List() -> impl IntoView {
    let app = App::of_context();
    let ids = move || app.list.with(|list| list.iter().map(|row| row.id).collect::<Vec<_>>());
    let empty = Memo::new(move |_| app.list.with(Vec::is_empty));
    view! {
        <div class="list">
            <ul>
                <For each=ids key=|id| *id children=move |id| view! { <Line id/> }/>
            </ul>
            {move || (empty.get() && app.listed.get()).then(|| view! {
                <div class="empty">
                    <h2>"No conversations yet"</h2>
                    <p>"Start one with anybody who has an account here. Two people make a direct conversation, more make a group."</p>
                    <button type="button" class="button primary" on:click=move |_| app.creating.set(true)>"New conversation"</button>
                </div>
            })}
        </div>
    }
}

/// One line, which watches its own row: nothing else is drawn again when it changes.
#[component]
fn Line(id: ConversationId) -> impl IntoView {
    let app = App::of_context();
    let row = Memo::new(move |_| app.list.with(|list| list.iter().find(|row| row.id == id).cloned()));
    let field = move |get: fn(&ListRow) -> String| row.with(|row| row.as_ref().map(get).unwrap_or_default());
    let unread = move || row.with(|row| row.as_ref().map_or(0, |row| row.unread));
    let current = move || app.focused.get() == Some(id);
    let name = Memo::new(move |_| field(|row| row.name.clone()));
    view! {
        <li>
            <a
                class="row"
                class:unread=move || { unread() > 0 }
                href=route::href(Some(id))
                data-testid="conversation-row"
                data-conversation=id.to_string()
                data-unread=move || unread().to_string()
                aria-current=move || current().then_some("true")
            >
                {move || view! { <Avatar name=name.get()/> }}
                <span class="row-name">{name}</span>
                <time class="row-time">{move || clock::brief(row.with(|row| row.as_ref().map_or(0, |row| row.time)))}</time>
                <span class="row-preview">{move || field(|row| row.preview.clone())}</span>
                <span class="row-mark">
                    {move || row.get().map(|row| {
                        if row.unread > 0 {
                            let count = if row.unread > 99 { "99+".to_owned() } else { row.unread.to_string() };
                            view! {
                                <span class="count">{count}<span class="visually-hidden">" unread"</span></span>
                            }.into_any()
                        } else if row.failed {
                            view! { <span class="bad" title="A message was not sent"><Glyph icon=Icon::Alert size=16/></span> }.into_any()
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
