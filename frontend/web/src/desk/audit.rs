//! What admins did, from the log.

use leptos::prelude::*;
use quorate_client::proto::rest::{Audit, AuditEntry};
use quorate_client::view::called;

use super::load;
use crate::clock;
use crate::context::{App, unless_gone};
use crate::ui::vacant::Reading;
use crate::words::Word;

/// See the module.
#[component]
pub(super) fn Log() -> impl IntoView {
    let app = App::of_context();
    let entries = RwSignal::new(None::<Vec<AuditEntry>>);
    let next = RwSignal::new(None::<u64>);
    let error = RwSignal::new(String::new());
    let read = move |before: Option<u64>| {
        let before_part = before.map(|before| format!("&before={before}")).unwrap_or_default();
        load(app, format!("/api/v1/admin/audit?limit=100{before_part}"), error, move |page: Audit| {
            unless_gone(next.try_set(page.next));
            unless_gone(entries.try_update(|entries| entries.get_or_insert_default().extend(page.entries)));
        });
    };
    read(None);
    view! {
        <div class="error" role="alert">{error}</div>
        {move || entries.with(Option::is_none).then(|| view! { <Reading error again=Callback::new(move |()| read(None))/> })}
        <table class="audit">
            <thead><tr><th>{Word("When")}</th><th>{Word("Who")}</th><th>{Word("What")}</th><th>{Word("To whom")}</th><th>{Word("Index")}</th></tr></thead>
            <tbody>
                {move || entries.get().unwrap_or_default().into_iter().map(|entry| {
                    let who = entry.by.as_ref().map_or_else(|| "—".to_owned(), |by| called(by).to_owned());
                    let subject = entry.subject.as_ref().map_or_else(String::new, |subject| called(subject).to_owned());
                    let what = [entry.action.replace('_', " "), entry.detail].join(" ");
                    view! { <tr data-testid="audit-entry"><td>{clock::full(entry.time)}</td><td>{who}</td><td>{what}</td><td>{subject}</td><td>{entry.index.to_string()}</td></tr> }
                }).collect_view()}
            </tbody>
        </table>
        {move || next.get().map(|before| view! { <button type="button" class="link-button more" on:click=move |_| read(Some(before))>{Word("Show more")}</button> })}
    }
}
