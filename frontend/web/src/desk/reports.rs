//! What people reported, and what was done about it.

use leptos::html;
use leptos::prelude::*;
use quorate_client::proto::frame::EventKind;
use quorate_client::proto::rest::{ReportInfo, Reports, Resolution};
use quorate_client::view::{called, said};

use super::load;
use crate::clock;
use crate::context::{App, unless_gone};
use crate::driver::rest;
use crate::follow::follow;
use crate::ui::account::act;
use crate::ui::vacant::{Nothing, Reading};
use crate::words::{Word, t, tf};

/// See the module.
#[component]
pub(super) fn Queue() -> impl IntoView {
    let app = App::of_context();
    let all = RwSignal::new(false);
    let reports = RwSignal::new(None::<Vec<ReportInfo>>);
    let more = RwSignal::new(false);
    let error = RwSignal::new(String::new());
    let read = move |before: Option<u64>| {
        let before_part = before.map(|before| format!("&before={before}")).unwrap_or_default();
        let path = format!("/api/v1/admin/reports?limit=50&all={}{before_part}", all.get_untracked());
        load(app, path, error, move |page: Reports| {
            unless_gone(more.try_set(page.more));
            unless_gone(reports.try_update(|reports| {
                let reports = reports.get_or_insert_default();
                if before.is_none() {
                    reports.clear();
                }
                reports.extend(page.reports);
            }));
        });
    };
    follow(move || {
        all.track();
        read(None);
    });
    let refresh = Callback::new(move |()| read(None));
    view! {
        <label class="check"><input type="checkbox" on:change=move |event| all.set(event_target_checked(&event))/>{Word("Show resolved reports too")}</label>
        <div class="error" role="alert">{error}</div>
        {move || match reports.get() {
            None => view! { <Reading error again=refresh/> }.into_any(),
            Some(found) if found.is_empty() => view! { <Nothing words=t("Nothing is reported.")/> }.into_any(),
            Some(found) => view! {
                <ul class="admin-list">{found.into_iter().map(|report| view! { <ReportLine report refresh error/> }).collect_view()}</ul>
            }.into_any(),
        }}
        {move || more.get().then(|| view! {
            <button type="button" class="link-button more" on:click=move |_| read(reports.with_untracked(|found| found.as_ref().and_then(|found| found.last().map(|report| report.id))))>{Word("Show more")}</button>
        })}
    }
}

#[component]
fn ReportLine(report: ReportInfo, refresh: Callback<()>, error: RwSignal<String>) -> impl IntoView {
    let app = App::of_context();
    let input = NodeRef::<html::Input>::new();
    let id = report.id;
    let message = report.message.as_ref().and_then(|event| match &event.kind {
        EventKind::Message(message) => Some(message.clone()),
        _ => None,
    });
    let (author, text) = message.map_or_else(
        || (t("Somebody").to_owned(), t("The message is gone.").to_owned()),
        |message| {
            let text =
                if message.deleted { t("The message was deleted.").to_owned() } else { said(&message) };
            (called(&message.from).to_owned(), text)
        },
    );
    let resolve = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let resolution = input.get_untracked().map(|input| input.value()).unwrap_or_default();
        let body = Resolution { resolution };
        act(
            app,
            error,
            move || unless_gone(refresh.try_run(())),
            move |token| async move {
                rest::write(&token, "POST", &format!("/api/v1/admin/reports/{id}/resolve"), Some(&body)).await
            },
        );
    };
    view! {
        <li class="report" data-testid="report">
            <span class="who">
                <b>{tf("{} wrote", &[&author])}</b>
                <q>{text}</q>
                <span>{tf("Reported by {} on {}: {}", &[&called(&report.by), &clock::full(report.created), &report.reason])}</span>
                {report.edited_since.then(|| view! { <span>{Word("Shown as it was reported; its author has edited it since.")}</span> })}
                {report.resolved.map(|at| {
                    let by = report.resolved_by.as_ref().map(|by| called(by).to_owned()).unwrap_or_default();
                    view! { <span>{tf("Resolved by {} on {}: {}", &[&by, &clock::full(at), &report.resolution])}</span> }
                })}
            </span>
            {report.resolved.is_none().then(|| view! {
                <form class="search" on:submit=resolve>
                    <input node_ref=input class="input" aria-label=t("What was done") placeholder=t("What was done") maxlength="500" autocomplete="off"/>
                    <button type="submit" class="button">{Word("Resolve")}</button>
                </form>
            })}
        </li>
    }
}
