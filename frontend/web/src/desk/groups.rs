//! Groups: which there are, their members, exports.

use leptos::html;
use leptos::prelude::*;
use quorate_client::proto::rest::{Channel, Channels, NewMember};
use quorate_client::view::portrait_of_group;

use super::load;
use crate::context::{App, unless_gone};
use crate::driver::rest;
use crate::ui::account::act;
use crate::ui::avatar::Avatar;
use crate::ui::chat::members;
use crate::ui::exports::Keep;
use crate::ui::group::exports;
use crate::ui::vacant::{Nothing, Reading};
use crate::words::{Word, t, tn};

/// Where the messages of all conversations are.
fn path_of_all(direct: bool) -> String {
    format!("/api/v1/admin/export/messages?direct={direct}")
}

/// See the module.
#[component]
pub(super) fn Groups() -> impl IntoView {
    let app = App::of_context();
    let wanted = RwSignal::new(String::new());
    let groups = RwSignal::new(None::<Vec<Channel>>);
    let next = RwSignal::new(None::<u64>);
    let error = RwSignal::new(String::new());
    let read = move |after: Option<u64>| {
        let after_part = after.map(|after| format!("&after={after}")).unwrap_or_default();
        let text = wanted.get_untracked();
        let path =
            format!("/api/v1/admin/conversations?limit=50&text={}{after_part}", rest::part(text.trim()));
        load(app, path, error, move |page: Channels| {
            unless_gone(next.try_set(page.next));
            unless_gone(groups.try_update(|groups| {
                let groups = groups.get_or_insert_default();
                if after.is_none() {
                    groups.clear();
                }
                groups.extend(page.channels);
            }));
        });
    };
    read(None);
    let all = StoredValue::new(path_of_all(false));
    view! {
        <form class="search" on:submit=move |event| { event.prevent_default(); read(None); }>
            <input class="input" aria-label=t("Part of a title") placeholder=t("Part of a title") autocomplete="off" on:input=move |event| wanted.set(event_target_value(&event))/>
            <button type="submit" class="button">{Word("Search")}</button>
        </form>
        <p class="acts" data-testid="export-all">
            <Keep words=t("Export everything") label=t("Export everything: the messages of all groups") path=all name="quorate-messages.jsonl" error class="button"/>
            <label class="check">
                <input type="checkbox" on:change=move |event| all.set_value(path_of_all(event_target_checked(&event)))/>
                {Word("With direct conversations, where the operators allow it")}
            </label>
        </p>
        <p class="hint">{Word("Every export of messages is written into the audit log, with your name.")}</p>
        <div class="error" role="alert">{error}</div>
        {move || match groups.with(|groups| groups.as_ref().map(Vec::is_empty)) {
            None => view! { <Reading error again=Callback::new(move |()| read(None))/> }.into_any(),
            Some(true) => view! { <Nothing words=t("No group with these words in its title. Clear the field to see all groups.")/> }.into_any(),
            Some(false) => ().into_any(),
        }}
        <ul class="admin-list">
            {move || groups.get().unwrap_or_default().into_iter().map(|group| {
                let export = format!("/api/v1/admin/export/conversations/{}", group.conversation);
                let mut facts = vec![members(group.member_count), tn(group.sequence, "{} message", "{} messages")];
                if group.public {
                    facts.push(t("public").to_owned());
                }
                if group.announcement {
                    facts.push(t("announcements").to_owned());
                }
                view! {
                    <li data-testid="admin-group" data-conversation=group.conversation.to_string()>
                        <Avatar name=group.title.clone() portrait=portrait_of_group(group.conversation, group.avatar.filter(|_| group.public))/>
                        <span class="who"><b>{group.title.clone()}</b><span>{facts.join(" · ")}</span></span>
                        <MemberByName id=group.conversation error/>
                        <span class="acts" data-testid="export-group">{Word("Export:")}" "{exports(&export, group.conversation, &group.title, error)}</span>
                    </li>
                }
            }).collect_view()}
        </ul>
        {move || next.get().map(|after| view! { <button type="button" class="link-button more" on:click=move |_| read(Some(after))>{Word("Show more")}</button> })}
    }
}

/// An admin adds or removes somebody by name; that shows her no message.
#[component]
fn MemberByName(id: u64, error: RwSignal<String>) -> impl IntoView {
    let app = App::of_context();
    let input = NodeRef::<html::Input>::new();
    let name =
        move || input.get_untracked().map(|input| input.value().trim().to_lowercase()).unwrap_or_default();
    let add = move |_| {
        let body = NewMember { user: name() };
        act(
            app,
            error,
            move || app.tell(t("Added.")),
            move |token| async move {
                rest::write(&token, "POST", &format!("/api/v1/conversations/{id}/members"), Some(&body)).await
            },
        );
    };
    let remove = move |_| {
        let path = format!("/api/v1/conversations/{id}/members/{}", rest::part(&name()));
        act(
            app,
            error,
            move || app.tell(t("Removed.")),
            move |token| async move { rest::write(&token, "DELETE", &path, None::<&()>).await },
        );
    };
    view! {
        <span class="acts">
            <input node_ref=input class="input" placeholder=t("User name") aria-label=t("User name") autocomplete="off" autocapitalize="none"/>
            <button type="button" class="link-button" on:click=add>{Word("Add")}</button>
            <button type="button" class="link-button" on:click=remove>{Word("Remove")}</button>
        </span>
    }
}
