//! A group's part of the details: what it is, who is in it, what they may do, invites, how the reader has it.

use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::Deed;
use quorate_client::proto::frame::{Action, MemberRole, PreferencesChange, User};
use quorate_client::proto::ids::ConversationId;
use quorate_client::proto::rest::{Bans, InviteInfo, Invites, MemberInfo, Members as MembersPage};
use quorate_client::proto::text;
use quorate_client::view::{Whose, called, duration, portrait_of};

use super::avatar::Avatar;
use super::bots::Badge;
use super::exports::Keep;
use super::portrait::SetPortrait;
use super::sheet::Asking;
use super::vacant::Reading;
use crate::clock;
use crate::context::{App, Heading, Sheet, unless_gone};
use crate::driver::rest;
use crate::follow::{follow, memo, next_frame};
use crate::words::{Word, keyed, refused, t, tf};

/// How long messages are kept, to choose from; ms.
const KEEP: [(&str, u64); 5] = [
    (keyed("For good"), 0),
    (keyed("1 day"), 86_400_000),
    (keyed("7 days"), 604_800_000),
    (keyed("30 days"), 2_592_000_000),
    (keyed("1 year"), 31_536_000_000),
];
/// How long a conversation is silent, to choose from; ms.
const SILENCE: [(&str, u64); 3] = [
    (keyed("1 hour"), 3_600_000),
    (keyed("8 hours"), 28_800_000),
    (keyed("Until I change it"), 3_153_600_000_000),
];

fn heading(app: App) -> Memo<Heading> {
    memo(move || app.heading.get().unwrap_or_default())
}

/// Buttons that export a conversation in either format.
pub(crate) fn exports(
    base: &str,
    id: ConversationId,
    what: &str,
    error: RwSignal<String>,
) -> impl IntoView + use<> {
    let one = |format: &'static str, words: &'static str| {
        let path = StoredValue::new(format!("{base}?format={format}"));
        let label = tf("Export {}, {}", &[&what, &words]);
        view! { <Keep words label path name=format!("conversation-{id}.{format}") error/> }
    };
    view! { {one("html", t("readable"))}" · "{one("jsonl", "JSON Lines")} }
}

/// How the reader has the conversation, and what she can take with her.
#[component]
pub(crate) fn Mine() -> impl IntoView {
    let app = App::of_context();
    let heading = heading(app);
    let id = memo(move || heading.with(|heading| heading.id));
    let error = RwSignal::new(String::new());
    let change =
        move |change: PreferencesChange| app.prefer(heading.with_untracked(|heading| heading.id), change);
    let mute = move |event: web_sys::Event| {
        let until = match event_target_value(&event).parse::<u64>() {
            Ok(0) => 0,
            Ok(ms) => app.with(quorate_client::Client::log_time) + ms,
            Err(_) => return,
        };
        change(PreferencesChange { muted_until: Some(until), ..PreferencesChange::default() });
    };
    view! {
        <section>
            <h3>{Word("For you")}</h3>
            <div class="settings">
                <label class="check">
                    <input type="checkbox" data-testid="favourite" prop:checked=move || heading.with(|heading| heading.preferences.favourite)
                        on:change=move |event| change(PreferencesChange { favourite: Some(event_target_checked(&event)), ..PreferencesChange::default() })/>
                    {Word("Favourite")}
                </label>
                <label class="check">
                    <input type="checkbox" data-testid="archive" prop:checked=move || heading.with(|heading| heading.preferences.archived)
                        on:change=move |event| change(PreferencesChange { archived: Some(event_target_checked(&event)), ..PreferencesChange::default() })/>
                    {Word("Archived until somebody writes")}
                </label>
                <label class="check">
                    <input type="checkbox" prop:checked=move || heading.with(|heading| !heading.preferences.no_receipts)
                        on:change=move |event| change(PreferencesChange { no_receipts: Some(!event_target_checked(&event)), ..PreferencesChange::default() })/>
                    {Word("Tell others what I have read")}
                </label>
                <label class="check">
                    <input type="checkbox" data-testid="suggestions" prop:checked=move || heading.with(|heading| heading.preferences.suggestions)
                        on:change=move |event| change(PreferencesChange { suggestions: Some(event_target_checked(&event)), ..PreferencesChange::default() })/>
                    {Word("My messages here may go to a provider of reply suggestions, where the operators use one")}
                </label>
                {move || if heading.with(|heading| heading.muted) {
                    view! { <p>{Word("Muted.")}" "<button type="button" class="link-button" data-testid="unmute" on:click=move |_| change(PreferencesChange { muted_until: Some(0), ..PreferencesChange::default() })>{Word("Unmute")}</button></p> }.into_any()
                } else {
                    view! {
                        <label class="field">
                            <span>{Word("Mute for")}</span>
                            <select class="input" data-testid="mute" on:change=mute>
                                <option value="">{Word("Not muted")}</option>
                                {SILENCE.map(|(words, ms)| view! { <option value=ms.to_string()>{t(words)}</option> }).collect_view()}
                            </select>
                        </label>
                    }.into_any()
                }}
                <button type="button" class="link-button" data-testid="mark-unread" on:click=move |_| {
                    let newest = app.with(|client| client.conversation(heading.with_untracked(|heading| heading.id)).map(|held| held.sequence));
                    if let Some(newest) = newest.filter(|newest| *newest > 0) {
                        super::message_menu::mark_unread(app, heading.with_untracked(|heading| heading.id), newest);
                    }
                }>{Word("Mark as unread")}</button>
                <p class="exports">
                    {Word("Export:")}" "
                    {move || exports(&format!("/api/v1/conversations/{}/export", id.get()), id.get(), t("this conversation"), error)}
                </p>
                <div class="error" role="alert" data-conversation=move || id.get().to_string()>{error}</div>
            </div>
        </section>
    }
}

/// Title, topic and switches, for those who may change them.
#[component]
pub(crate) fn About() -> impl IntoView {
    let app = App::of_context();
    let heading = heading(app);
    let (title, topic) = (NodeRef::<html::Input>::new(), NodeRef::<html::Input>::new());
    let said = RwSignal::new("");
    let now = heading.with_untracked(|heading| (heading.name.clone(), heading.topic.clone()));
    // What the form was filled with, and what was asked since: only what was typed is sent, so that a form that was open for
    // a while does not take back what somebody else has changed.
    let (given, asked) = (StoredValue::new(now.clone()), StoredValue::new(now));
    let chosen = RwSignal::new(None::<u64>);
    let asking = Asking::new(app, move |_| {
        given.set_value(asked.get_value());
        chosen.set(None);
        said.set(t("Saved."));
    });
    let manages = memo(move || heading.with(|heading| heading.manages));
    let owner = memo(move || heading.with(|heading| heading.role == MemberRole::Owner));
    let kept = memo(move || heading.with(|heading| heading.retention_ms));
    let change = move |title: Option<String>,
                       topic: Option<String>,
                       public: Option<bool>,
                       announcement: Option<bool>,
                       retention_ms: Option<u64>| {
        said.set("");
        if title.is_none() && topic.is_none() {
            asked.set_value(given.get_value());
        }
        let conversation = heading.with_untracked(|heading| heading.id);
        asking.ask(Action::ChangeConversation {
            conversation,
            title,
            topic,
            public,
            announcement,
            retention_ms,
            avatar: None,
        });
    };
    let value =
        |input: NodeRef<html::Input>| input.get_untracked().map(|input| input.value()).unwrap_or_default();
    let save = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let checked = text::canonical_title(&value(title))
            .and_then(|title| text::canonical_topic(&value(topic)).map(|topic| (title, topic)));
        match checked {
            Ok((title, topic)) => {
                let (had_title, had_topic) = given.get_value();
                let (other_title, other_topic) = (title != had_title, topic != had_topic);
                if other_title || other_topic {
                    asked.set_value((title.clone(), topic.clone()));
                    change(other_title.then_some(title), other_topic.then_some(topic), None, None, None);
                } else {
                    said.set(t("Nothing was changed."));
                }
            }
            Err(why) => asking.error.set(refused(&why)),
        }
    };
    let says =
        memo(move || manages.get() || kept.get() > 0 || heading.with(|heading| !heading.topic.is_empty()));
    // The drawer has this part anew for each conversation.
    let whose = Whose::Group(heading.with_untracked(|heading| heading.id));
    let face = memo(move || heading.with(|heading| (heading.name.clone(), heading.portrait)));
    move || {
        says.get().then(|| view! {
        <section>
            <h3>{Word("Group")}</h3>
            <div class="settings">
                {move || if manages.get() {
                    view! {
                        <SetPortrait whose face/>
                        <form class="form" on:submit=save novalidate data-testid="group-form">
                            <label class="field"><span>{Word("Name")}</span><input node_ref=title class="input" name="title" maxlength="80" autocomplete="off" prop:value=given.get_value().0/></label>
                            <label class="field"><span>{Word("Topic")}</span><input node_ref=topic class="input" name="topic" maxlength="250" autocomplete="off" prop:value=given.get_value().1/></label>
                            <button type="submit" class="button">{Word("Save changes")}</button>
                        </form>
                        <label class="check"><input type="checkbox" data-testid="public" prop:checked=move || heading.with(|heading| heading.public) on:change=move |event| change(None, None, Some(event_target_checked(&event)), None, None)/>{Word("Public: anybody can find and join it, and read it from its start")}</label>
                        <label class="check"><input type="checkbox" data-testid="announcement" prop:checked=move || heading.with(|heading| heading.announcement) on:change=move |event| change(None, None, None, Some(event_target_checked(&event)), None)/>{Word("Announcements: only the owner and admins write")}</label>
                    }.into_any()
                } else {
                    view! { <p>{move || heading.with(|heading| heading.topic.clone())}</p> }.into_any()
                }}
                {move || if owner.get() {
                    let kept = kept.get();
                    let other = !KEEP.iter().any(|(_, ms)| *ms == kept);
                    view! {
                        <label class="field">
                            <span>{Word("Keep messages")}</span>
                            <select class="input" data-testid="retention" on:change=move |event| {
                                // With the keys each step is a choice: nothing happens before it is confirmed.
                                chosen.set(event_target_value(&event).parse().ok().filter(|ms| *ms != kept));
                            }>
                                {KEEP.map(|(words, ms)| view! { <option value=ms.to_string() selected={ms == kept}>{t(words)}</option> }).collect_view()}
                                {other.then(|| view! { <option value=kept.to_string() selected=true>{duration(kept)}</option> })}
                            </select>
                        </label>
                        {move || chosen.get().map(|ms| {
                            let shorter = ms > 0 && (kept == 0 || ms < kept);
                            let words = if shorter {
                                tf("What is older than {} is deleted for everybody, for good.", &[&duration(ms)])
                            } else {
                                t("Messages are kept longer.").to_owned()
                            };
                            view! {
                                <p class="acts">
                                    <span>{words}</span>
                                    <button type="button" class="button" class:danger=shorter data-testid="confirm-retention" on:click=move |_| change(None, None, None, None, Some(ms))>{Word("Apply")}</button>
                                </p>
                            }
                        })}
                    }.into_any()
                } else {
                    let kept = kept.get();
                    (kept > 0).then(|| view! { <p class="hint">{tf("Messages are deleted after {}.", &[&duration(kept)])}</p> }).into_any()
                }}
                <div class="error" role="alert">{asking.error}</div>
                <div class="done" role="status">{said}</div>
            </div>
        </section>
    })
    }
}

/// Until when something is good.
pub(super) fn ends_words(ends: Option<u64>) -> String {
    ends.map_or_else(|| t("no end").to_owned(), |at| tf("until {}", &[&clock::full(at)]))
}

/// Who is in it, with what the reader may do to them.
#[component]
pub(crate) fn Members() -> impl IntoView {
    let app = App::of_context();
    let heading = heading(app);
    let found = RwSignal::new(Vec::<MemberInfo>::new());
    let next = RwSignal::new(None::<u64>);
    let error = RwSignal::new(String::new());
    let load = move |id: ConversationId, after: Option<u64>| {
        let Some(token) = app.token_or(error) else { return };
        let after_part = after.map(|after| format!("&after={after}")).unwrap_or_default();
        spawn_local(async move {
            let path = format!("/api/v1/conversations/{id}/members?limit=100{after_part}");
            match rest::read::<MembersPage>(&token, &path).await {
                Ok(page) => {
                    unless_gone(next.try_set(page.next));
                    // Nobody is drawn anew for nothing: what is being chosen for a member would be lost.
                    unless_gone(found.try_maybe_update(|found| {
                        let new = after.is_some() || *found != page.members;
                        if after.is_none() {
                            found.clear();
                        }
                        found.extend(page.members);
                        (new, ())
                    }));
                }
                Err(why) => unless_gone(error.try_set(why.message)),
            }
        });
    };
    // Read again when somebody comes, goes or changes; roles come with the reader's own role or a notice.
    let stamp = memo(move || {
        let notices = app.rows.with(|rows| rows.keys.iter().filter(|key| key.starts_with("notice")).count());
        heading.with(|heading| (heading.id, heading.member_count, heading.role, notices))
    });
    follow(move || {
        let (id, ..) = stamp.get();
        if id > 0 {
            load(id, None);
        }
    });
    let id = move || heading.with_untracked(|heading| heading.id);
    let line = move |member: MemberInfo| {
        let user = member.user.clone();
        let (shown, name) = (user.clone(), user.name.clone());
        // For tests, and in words.
        let (role, words) = match member.role {
            MemberRole::Owner => ("owner", t("owner")),
            MemberRole::Admin => ("admin", t("admin")),
            MemberRole::Member => ("", ""),
        };
        view! {
            <li data-testid="member" data-name=name data-role=role>
                <Avatar name=called(&user).to_owned() portrait=portrait_of(&user) size="small"/>
                <button type="button" class="member-name" on:click=move |_| app.sheet.set(Some(Sheet::Person(shown.clone())))>
                    {called(&user).to_owned()}{user.bot.then(|| view! { <Badge/> })}
                    <small>{format!("@{}", user.name)}{(!words.is_empty()).then(|| format!(" · {words}"))}</small>
                    {(!member.status.is_empty()).then(|| view! { <small>{member.status.clone()}</small> })}
                </button>
                <MemberActs user role=member.role/>
            </li>
        }
    };
    view! {
        <section>
            <h3>{move || tf("Members · {}", &[&heading.with(|heading| heading.member_count)])}</h3>
            {move || heading.with(|heading| heading.manages).then(|| view! {
                <p class="settings acts">
                    <button type="button" class="button" data-testid="add-somebody" on:click=move |_| app.sheet.set(Some(Sheet::AddMember(id())))>{Word("Add somebody")}</button>
                    <button type="button" class="button" data-testid="invite" on:click=move |_| app.sheet.set(Some(Sheet::MakeInvite(id())))>{Word("Invite link")}</button>
                </p>
            })}
            {move || found.with(Vec::is_empty).then(|| view! { <Reading error again=Callback::new(move |()| load(id(), None))/> })}
            <ul class="members">
                {move || found.get().into_iter().map(line).collect_view()}
            </ul>
            {move || next.get().map(|after| view! {
                <button type="button" class="link-button more" on:click=move |_| load(id(), Some(after))>{Word("Show more")}</button>
            })}
            <div class="error" role="alert">{error}</div>
            {move || heading.with(|heading| heading.manages).then(|| view! { <Ways/> })}
            <Leave/>
        </section>
    }
}

/// What the reader may do to one member: owners to all, admins to members.
#[component]
fn MemberActs(user: User, role: MemberRole) -> impl IntoView {
    let app = App::of_context();
    let heading = heading(app);
    let own = user.id == app.my_id();
    let name = StoredValue::new(user.name);
    let select = NodeRef::<html::Select>::new();
    // With the keys each step through the choices is one: nothing happens before it is confirmed.
    let chosen = RwSignal::new(String::new());
    let leave = move || {
        chosen.set(String::new());
        if let Some(select) = select.get_untracked() {
            select.set_value("");
            let _ = select.focus();
        }
    };
    let act = move |_| {
        let (conversation, user) = (heading.with_untracked(|heading| heading.id), name.get_value());
        let set = |role| Action::SetRole { conversation, user: user.clone(), role };
        let action = match chosen.get_untracked().as_str() {
            "owner" => set(MemberRole::Owner),
            "admin" => set(MemberRole::Admin),
            "member" => set(MemberRole::Member),
            "remove" => Action::RemoveMember { conversation, user },
            "ban" => Action::Ban { conversation, user, on: true },
            _ => return,
        };
        app.fire(Deed::Do(action));
        leave();
    };
    let confirm = move || {
        let (words, grave) = match chosen.get().as_str() {
            "owner" => (t("Give the group away"), true),
            "admin" => (t("Make admin"), false),
            "member" => (t("Make member"), false),
            "remove" => (t("Remove"), true),
            "ban" => (t("Ban"), true),
            _ => return None,
        };
        let label = format!("{words}: {}", name.get_value());
        Some(view! {
            <button type="button" class="button" class:danger=grave aria-label=label data-testid="confirm-act" on:click=act>{words}</button>
            <button type="button" class="button" on:click=move |_| leave()>{Word("Cancel")}</button>
        })
    };
    // Who types meanwhile must not draw the choice anew.
    let reader = memo(move || heading.with(|heading| heading.role));
    move || {
        let reader = reader.get();
        let over = !own && reader > role && reader >= MemberRole::Admin;
        let owner = reader == MemberRole::Owner;
        over.then(|| {
            let label = tf("Change {}", &[&name.get_value()]);
            view! {
                <select node_ref=select class="act" aria-label=label data-testid="member-acts" on:change=move |event| chosen.set(event_target_value(&event))>
                    <option value="" selected=true>{Word("Change…")}</option>
                    {(owner && role == MemberRole::Member).then(|| view! { <option value="admin">{Word("Make admin")}</option> })}
                    {(owner && role == MemberRole::Admin).then(|| view! { <option value="member">{Word("Make member")}</option> })}
                    {owner.then(|| view! { <option value="owner">{Word("Make owner")}</option> })}
                    <option value="remove">{Word("Remove")}</option>
                    <option value="ban">{Word("Ban")}</option>
                </select>
                {confirm}
            }
        })
    }
}

/// Invites and bans of a group.
#[component]
fn Ways() -> impl IntoView {
    let app = App::of_context();
    let heading = heading(app);
    let invites = RwSignal::new(Vec::<InviteInfo>::new());
    let bans = RwSignal::new(Vec::<User>::new());
    let error = RwSignal::new(String::new());
    let load = move |id: ConversationId| {
        let Some(token) = app.token() else { return };
        spawn_local(async move {
            match rest::read::<Invites>(&token, &format!("/api/v1/conversations/{id}/invites")).await {
                Ok(found) => unless_gone(invites.try_set(found.invites)),
                Err(why) => unless_gone(error.try_set(why.message)),
            }
            match rest::read::<Bans>(&token, &format!("/api/v1/conversations/{id}/bans")).await {
                Ok(found) => unless_gone(bans.try_set(found.bans.into_iter().map(|ban| ban.user).collect())),
                Err(why) => unless_gone(error.try_set(why.message)),
            }
        });
    };
    // An invite is made in a dialog; a ban changes who is in.
    let stamp = memo(move || {
        (heading.with(|heading| (heading.id, heading.member_count)), app.sheet.with(Option::is_some))
    });
    follow(move || {
        let ((id, _), dialog) = stamp.get();
        if id > 0 && !dialog {
            load(id);
        }
    });
    let end = move |invite: String| {
        let conversation = heading.with_untracked(|heading| heading.id);
        app.fire(Deed::Do(Action::EndInvite { conversation, invite: invite.clone() }));
        invites.update(|invites| invites.retain(|held| held.id != invite));
    };
    let unban = move |user: String| {
        let conversation = heading.with_untracked(|heading| heading.id);
        app.fire(Deed::Do(Action::Ban { conversation, user: user.clone(), on: false }));
        bans.update(|bans| bans.retain(|held| held.name != user));
    };
    view! {
        {move || (!invites.with(Vec::is_empty)).then(|| view! {
            <h3>{Word("Invites")}</h3>
            <ul class="members">
                {invites.get().into_iter().map(|invite| {
                    let id = invite.id.clone();
                    let uses = if invite.uses_max > 0 { tf("{} of {} used", &[&invite.uses, &invite.uses_max]) } else { tf("{} used", &[&invite.uses]) };
                    let ends = ends_words(invite.ends);
                    view! {
                        <li data-testid="invite-line">
                            <span class="member-name">{tf("By {}", &[&called(&invite.by)])}<small>{format!("{uses}, {ends}")}</small></span>
                            <button type="button" class="link-button" on:click=move |_| end(id.clone())>{Word("End")}</button>
                        </li>
                    }
                }).collect_view()}
            </ul>
        })}
        {move || (!bans.with(Vec::is_empty)).then(|| view! {
            <h3>{Word("Banned")}</h3>
            <ul class="members">
                {bans.get().into_iter().map(|user| {
                    let name = user.name.clone();
                    view! {
                        <li data-testid="ban-line">
                            <span class="member-name">{called(&user).to_owned()}<small>{format!("@{}", user.name)}</small></span>
                            <button type="button" class="link-button" on:click=move |_| unban(name.clone())>{Word("Let in again")}</button>
                        </li>
                    }
                }).collect_view()}
            </ul>
        })}
        <div class="error" role="alert">{error}</div>
    }
}

#[component]
fn Leave() -> impl IntoView {
    let app = App::of_context();
    let heading = heading(app);
    let sure = RwSignal::new(false);
    let away = move || {
        app.detailing.set(false);
        crate::route::go(None);
    };
    let asking = Asking::new(app, move |_| away());
    // The event that she is out may come before the answer, and takes this part of the drawer with it.
    on_cleanup(move || {
        let asked = asking.is_waiting();
        if asked && app.heading.try_with_untracked(Option::is_none).unwrap_or(false) {
            next_frame(away);
        }
    });
    let leave = move |_| {
        let user = app.me.with_untracked(|me| me.as_ref().map(|me| me.name.clone()).unwrap_or_default());
        asking.ask(Action::RemoveMember { conversation: heading.with_untracked(|heading| heading.id), user });
    };
    view! {
        <p class="settings acts">
            {move || if sure.get() {
                view! {
                    <span>{Word("Leave this group?")}</span>
                    <button type="button" class="button danger" data-testid="confirm-leave" on:click=leave>{Word("Leave")}</button>
                    <button type="button" class="button" on:click=move |_| sure.set(false)>{Word("Stay")}</button>
                }.into_any()
            } else {
                view! { <button type="button" class="link-button" data-testid="leave" on:click=move |_| sure.set(true)>{Word("Leave group")}</button> }.into_any()
            }}
        </p>
        <div class="error" role="alert">{asking.error}</div>
    }
}
