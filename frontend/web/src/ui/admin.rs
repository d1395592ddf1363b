//! The admins' part: users, groups, reports, what was done. All of it by REST, for those whom the servers let.

use leptos::html;
use leptos::prelude::*;
use quorate_client::proto::frame::EventKind;
use quorate_client::proto::rest::{
    AdminUser, AdminUsers, Audit, AuditEntry, Channel, Channels, NewReset, ReportInfo, Reports, Resolution,
    UserState,
};
use quorate_client::view::{called, portrait_of, portrait_of_group, said};

use super::account::act;
use super::avatar::Avatar;
use super::bots::Badge;
use super::exports::Keep;
use super::group::exports;
use crate::clock::{self, random_code};
use crate::context::{App, unless_gone};
use crate::driver::rest;
use crate::follow::{follow, next_frame};
use crate::{keys, route};

/// Parts of the admins' part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Users,
    Groups,
    Reports,
    Audit,
}

const PARTS: [(Part, &str); 4] = [
    (Part::Users, "Users"),
    (Part::Groups, "Groups"),
    (Part::Reports, "Reports"),
    (Part::Audit, "Audit log"),
];

/// See the module.
#[component]
pub(crate) fn Administration() -> impl IntoView {
    let part = RwSignal::new(Part::Users);
    view! {
        <main class="chat admin" aria-label="Administration" data-testid="administration">
            <header class="chat-head" data-region tabindex="-1">
                <a class="icon-button" href=route::href(None) aria-label="Back to conversations">
                    <super::icons::Glyph icon=super::icons::Icon::Back/>
                </a>
                <div class="title"><h1>"Administration"</h1></div>
            </header>
            <nav class="tabs" aria-label="Parts">
                {PARTS.map(|(which, words)| view! {
                    <button type="button" aria-current=move || (part.get() == which).then_some("true") on:click=move |_| part.set(which)>{words}</button>
                }).collect_view()}
            </nav>
            <div class="admin-body">
                {move || match part.get() {
                    Part::Users => view! { <Users/> }.into_any(),
                    Part::Groups => view! { <Groups/> }.into_any(),
                    Part::Reports => view! { <Queue/> }.into_any(),
                    Part::Audit => view! { <Log/> }.into_any(),
                }}
            </div>
        </main>
    }
}

/// Reads a page, and puts into words why not.
fn load<A: serde::de::DeserializeOwned + 'static>(
    app: App,
    path: String,
    error: RwSignal<String>,
    done: impl FnOnce(A) + 'static,
) {
    act(
        app,
        error,
        || {},
        move |token| async move {
            done(rest::read::<A>(&token, &path).await?);
            Ok(())
        },
    );
}

#[component]
fn Users() -> impl IntoView {
    let app = App::of_context();
    let pattern = RwSignal::new(String::new());
    let users = RwSignal::new(Vec::<AdminUser>::new());
    let next = RwSignal::new(None::<String>);
    let error = RwSignal::new(String::new());
    let read = move |after: Option<String>| {
        let pattern = pattern.get_untracked();
        let after_part =
            after.as_ref().map(|after| format!("&after={}", rest::part(after))).unwrap_or_default();
        let path = format!("/api/v1/admin/users?limit=50&pattern={}{after_part}", rest::part(pattern.trim()));
        load(app, path, error, move |page: AdminUsers| {
            unless_gone(next.try_set(page.next));
            unless_gone(users.try_update(|users| {
                if after.is_none() {
                    users.clear();
                }
                users.extend(page.users);
            }));
        });
    };
    read(None);
    let refresh = Callback::new(move |()| read(None));
    view! {
        <form class="search" on:submit=move |event| { event.prevent_default(); read(None); }>
            <input class="input" aria-label="User name or pattern" placeholder="User name, or a pattern like *son" autocomplete="off" on:input=move |event| pattern.set(event_target_value(&event))/>
            <button type="submit" class="button">"Search"</button>
        </form>
        <div class="error" role="alert">{error}</div>
        <ul class="admin-list">
            {move || users.get().into_iter().map(|user| view! { <UserLine user refresh error/> }).collect_view()}
        </ul>
        {move || next.get().map(|after| view! { <button type="button" class="link-button more" on:click=move |_| read(Some(after.clone()))>"Show more"</button> })}
    }
}

const DISABLE: &str = "Disable";
const TAKE_ADMIN: &str = "Take admin away";
const DELETE: &str = "Delete for good";

#[component]
fn UserLine(user: AdminUser, refresh: Callback<()>, error: RwSignal<String>) -> impl IntoView {
    let app = App::of_context();
    let name = StoredValue::new(user.user.name.clone());
    // What is asked about once more before it is done: the button's word.
    let sure = RwSignal::new("");
    let secret = RwSignal::new(None::<String>);
    let path = move || format!("/api/v1/admin/users/{}", rest::part(&name.get_value()));
    let set = move |state: UserState| {
        act(
            app,
            error,
            move || unless_gone(refresh.try_run(())),
            move |token| async move { rest::write(&token, "PATCH", &path(), Some(&state)).await },
        );
    };
    let remove = move || {
        act(
            app,
            error,
            move || unless_gone(refresh.try_run(())),
            move |token| async move { rest::write(&token, "DELETE", &path(), None::<&()>).await },
        );
    };
    // The buttons are others then: the focus goes to "Cancel", and from there back to the one that asked.
    let acts = NodeRef::<html::Span>::new();
    let ask = move |verb: &'static str| {
        let at = match (verb, sure.get_untracked()) {
            ("", DISABLE) => 0,
            ("", DELETE) => 3,
            _ => 1,
        };
        sure.set(verb);
        next_frame(move || {
            let buttons =
                acts.try_get_untracked().flatten().map(|acts| acts.get_elements_by_tag_name("button"));
            if let Some(button) = buttons.and_then(|buttons| buttons.item(at)) {
                keys::focus(&button);
            }
        });
    };
    let confirmed = move |_| {
        let wanted = sure.get_untracked();
        ask("");
        match wanted {
            DISABLE => set(UserState { disabled: Some(true), admin: None }),
            TAKE_ADMIN => set(UserState { disabled: None, admin: Some(false) }),
            _ => remove(),
        }
    };
    let reset = move |_| {
        // 256 bits; shown here alone, and the servers keep a hash.
        let drawn = format!("{}{}", random_code(), random_code());
        let body = NewReset { secret: drawn.clone() };
        act(
            app,
            error,
            move || unless_gone(secret.try_set(Some(drawn))),
            move |token| async move {
                rest::write(&token, "POST", &format!("{}/reset", path()), Some(&body)).await
            },
        );
    };
    let (disabled, admin) = (user.disabled, user.admin);
    let mut facts = Vec::new();
    if admin {
        facts.push("admin".to_owned());
    }
    if disabled {
        facts.push("disabled".to_owned());
    }
    facts.push(counted(u64::from(user.sessions), "session"));
    if let Some(at) = user.last_seen {
        facts.push(format!("last seen {}", clock::full(at)));
    }
    view! {
        <li data-testid="admin-user" data-name=user.user.name.clone()>
            <Avatar name=called(&user.user).to_owned() portrait=portrait_of(&user.user)/>
            <span class="who"><b>{called(&user.user).to_owned()}</b>{user.user.bot.then(|| view! { <Badge/> })}<span>{format!("@{} · {}", user.user.name, facts.join(" · "))}</span></span>
            {(!user.user.deleted).then(|| view! {
                <span node_ref=acts class="acts">
                    {move || match sure.get() {
                        "" => view! {
                            {if disabled {
                                view! { <button type="button" class="link-button" on:click=move |_| set(UserState { disabled: Some(false), admin: None })>"Enable"</button> }.into_any()
                            } else {
                                view! { <button type="button" class="link-button" on:click=move |_| ask(DISABLE)>"Disable…"</button> }.into_any()
                            }}
                            {if admin {
                                view! { <button type="button" class="link-button" on:click=move |_| ask(TAKE_ADMIN)>"Take admin away…"</button> }.into_any()
                            } else {
                                view! { <button type="button" class="link-button" on:click=move |_| set(UserState { disabled: None, admin: Some(true) })>"Make admin"</button> }.into_any()
                            }}
                            <button type="button" class="link-button" data-testid="reset" on:click=reset>"Reset password"</button>
                            <button type="button" class="link-button" on:click=move |_| ask(DELETE)>"Delete…"</button>
                        }.into_any(),
                        verb => {
                            let words = match verb {
                                DISABLE => "Signed out everywhere, and kept out.",
                                TAKE_ADMIN => "No longer sees this part of the page.",
                                _ => "The account is gone, and cannot come back.",
                            };
                            view! {
                                <span role="status">{words}</span>
                                <button type="button" class="link-button bad" data-testid="confirm" on:click=confirmed>{verb}</button>
                                <button type="button" class="link-button" on:click=move |_| ask("")>"Cancel"</button>
                            }.into_any()
                        }
                    }}
                </span>
            })}
            {move || secret.get().map(|secret| {
                let copied = secret.clone();
                view! {
                    <div class="secret" role="status">
                        <p>"Give this secret to the user, over a way you trust. It sets another password once, within 24 hours, and is shown only now."</p>
                        <code data-testid="reset-secret">{secret}</code>
                        <button type="button" class="link-button" on:click=move |_| app.copy(&copied, "Secret copied.")>"Copy"</button>
                    </div>
                }
            })}
        </li>
    }
}

/// Where the messages of all conversations are.
fn path_of_all(direct: bool) -> String {
    format!("/api/v1/admin/export/messages?direct={direct}")
}

#[component]
fn Groups() -> impl IntoView {
    let app = App::of_context();
    let wanted = RwSignal::new(String::new());
    let groups = RwSignal::new(Vec::<Channel>::new());
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
            <input class="input" aria-label="Part of a title" placeholder="Part of a title" autocomplete="off" on:input=move |event| wanted.set(event_target_value(&event))/>
            <button type="submit" class="button">"Search"</button>
        </form>
        <p class="acts" data-testid="export-all">
            <Keep words="Export everything" label="Export the messages of all groups" path=all name="quorate-messages.jsonl" error class="button"/>
            <label class="check">
                <input type="checkbox" on:change=move |event| all.set_value(path_of_all(event_target_checked(&event)))/>
                "With direct conversations, where the operators allow it"
            </label>
        </p>
        <p class="hint">"Every export of messages is written into the audit log, with your name."</p>
        <div class="error" role="alert">{error}</div>
        <ul class="admin-list">
            {move || groups.get().into_iter().map(|group| {
                let export = format!("/api/v1/admin/export/conversations/{}", group.conversation);
                let mut facts = vec![counted(u64::from(group.member_count), "member"), counted(group.sequence, "message")];
                if group.public {
                    facts.push("public".to_owned());
                }
                if group.announcement {
                    facts.push("announcements".to_owned());
                }
                view! {
                    <li data-testid="admin-group" data-conversation=group.conversation.to_string()>
                        <Avatar name=group.title.clone() portrait=portrait_of_group(group.conversation, group.avatar.filter(|_| group.public))/>
                        <span class="who"><b>{group.title.clone()}</b><span>{facts.join(" · ")}</span></span>
                        <MemberByName id=group.conversation error/>
                        <span class="acts" data-testid="export-group">"Export: "{exports(&export, group.conversation, &group.title, error)}</span>
                    </li>
                }
            }).collect_view()}
        </ul>
        {move || next.get().map(|after| view! { <button type="button" class="link-button more" on:click=move |_| read(Some(after))>"Show more"</button> })}
    }
}

/// An admin adds or removes somebody by name; that shows her no message.
#[component]
fn MemberByName(id: u64, error: RwSignal<String>) -> impl IntoView {
    use quorate_client::proto::rest::NewMember;
    let app = App::of_context();
    let input = NodeRef::<html::Input>::new();
    let name =
        move || input.get_untracked().map(|input| input.value().trim().to_lowercase()).unwrap_or_default();
    let add = move |_| {
        let body = NewMember { user: name() };
        act(
            app,
            error,
            move || app.tell("Added."),
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
            move || app.tell("Removed."),
            move |token| async move { rest::write(&token, "DELETE", &path, None::<&()>).await },
        );
    };
    view! {
        <span class="acts">
            <input node_ref=input class="input" placeholder="User name" aria-label="User name" autocomplete="off" autocapitalize="none"/>
            <button type="button" class="link-button" on:click=add>"Add"</button>
            <button type="button" class="link-button" on:click=remove>"Remove"</button>
        </span>
    }
}

#[component]
fn Queue() -> impl IntoView {
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
        <label class="check"><input type="checkbox" on:change=move |event| all.set(event_target_checked(&event))/>"Show resolved reports too"</label>
        <div class="error" role="alert">{error}</div>
        {move || match reports.get() {
            None => view! { <p class="hint">"Loading…"</p> }.into_any(),
            Some(found) if found.is_empty() => view! { <p class="hint">"Nothing is reported."</p> }.into_any(),
            Some(found) => view! {
                <ul class="admin-list">{found.into_iter().map(|report| view! { <ReportLine report refresh error/> }).collect_view()}</ul>
            }.into_any(),
        }}
        {move || more.get().then(|| view! {
            <button type="button" class="link-button more" on:click=move |_| read(reports.with_untracked(|found| found.as_ref().and_then(|found| found.last().map(|report| report.id))))>"Show more"</button>
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
        || ("Somebody".to_owned(), "The message is gone.".to_owned()),
        |message| {
            let text = if message.deleted { "The message was deleted.".to_owned() } else { said(&message) };
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
                <b>{format!("{author} wrote")}</b>
                <q>{text}</q>
                <span>{format!("Reported by {} on {}: {}", called(&report.by), clock::full(report.created), report.reason)}</span>
                {report.edited_since.then(|| view! { <span>"Shown as it was reported; its author has edited it since."</span> })}
                {report.resolved.map(|at| {
                    let by = report.resolved_by.as_ref().map(|by| called(by).to_owned()).unwrap_or_default();
                    view! { <span>{format!("Resolved by {by} on {}: {}", clock::full(at), report.resolution)}</span> }
                })}
            </span>
            {report.resolved.is_none().then(|| view! {
                <form class="search" on:submit=resolve>
                    <input node_ref=input class="input" aria-label="What was done" placeholder="What was done" maxlength="500" autocomplete="off"/>
                    <button type="submit" class="button">"Resolve"</button>
                </form>
            })}
        </li>
    }
}

#[component]
fn Log() -> impl IntoView {
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
        <table class="audit">
            <thead><tr><th>"When"</th><th>"Who"</th><th>"What"</th><th>"To whom"</th><th>"Index"</th></tr></thead>
            <tbody>
                {move || entries.get().unwrap_or_default().into_iter().map(|entry| {
                    let who = entry.by.as_ref().map_or_else(|| "—".to_owned(), |by| called(by).to_owned());
                    let subject = entry.subject.as_ref().map_or_else(String::new, |subject| called(subject).to_owned());
                    let what = [entry.action.replace('_', " "), entry.detail].join(" ");
                    view! { <tr data-testid="audit-entry"><td>{clock::full(entry.time)}</td><td>{who}</td><td>{what}</td><td>{subject}</td><td>{entry.index.to_string()}</td></tr> }
                }).collect_view()}
            </tbody>
        </table>
        {move || next.get().map(|before| view! { <button type="button" class="link-button more" on:click=move |_| read(Some(before))>"Show more"</button> })}
    }
}

/// So many of something, in words.
fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
