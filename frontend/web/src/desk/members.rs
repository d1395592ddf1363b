//! Changes of leadership and of the members: each is asked about once more, with what it does, and stays open until it is done.

use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::proto::rest::{ClusterChanged, ClusterView, MembersChange, NewLeader, ReplicaRow};
use quorate_client::view::cluster::{changed_words, fresh_id, removal_words};

use crate::context::{App, set_if_new, sleep, unless_gone};
use crate::driver::rest;
use crate::follow::follow;
use crate::ui::icons::{Glyph, Icon};
use crate::words::{Word, t, tf};

const LEADER_PATH: &str = "/api/v1/admin/cluster/leader";
const MEMBERS_PATH: &str = "/api/v1/admin/cluster/members";
/// Between two questions whether a new replica has caught up, ms.
const AGAIN_MS: i32 = 2_000;

/// What is about to be done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// The leader chooses its successor.
    HandOver,
    /// This one is to lead.
    Lead(ReplicaRow),
    Add,
    Replace(ReplicaRow),
    Remove(ReplicaRow),
}

impl Change {
    fn title(&self) -> String {
        match self {
            Change::HandOver => t("Hand over leadership?").to_owned(),
            Change::Lead(row) => tf("Let replica {} lead?", &[&row.id]),
            Change::Add => t("Add a replica").to_owned(),
            Change::Replace(row) => tf("Replace replica {}", &[&row.id]),
            Change::Remove(row) => tf("Remove replica {} for ever?", &[&row.id]),
        }
    }

    fn verb(&self) -> &'static str {
        match self {
            Change::HandOver => t("Hand over"),
            Change::Lead(_) => t("Let it lead"),
            Change::Add => t("Add"),
            Change::Replace(_) => t("Replace"),
            Change::Remove(_) => t("Remove for ever"),
        }
    }

    /// What happens, and what must have happened before.
    fn meaning(&self, view: Option<&ClusterView>) -> String {
        match self {
            Change::HandOver => t("The leader picks the voter whose log is most complete and stops taking writes until that replica leads, \
                for some milliseconds. Nobody is disconnected, nothing is lost.")
                .to_owned(),
            Change::Lead(row) => tf(
                "The leader stops taking writes until replica {} leads, for some milliseconds. Nobody is disconnected, \
                 nothing is lost.",
                &[&row.id],
            ),
            Change::Add => t("Start the new replica with --join first. It receives everything that there is and votes once it has \
                caught up; until then nothing depends on it.")
                .to_owned(),
            Change::Replace(row) => tf(
                "Start the new replica with --join first. It receives everything that there is; once it has caught up it votes \
                 in the place of replica {0}, dead or alive, which leaves for ever. Nothing is ever again called replica {0}.",
                &[&row.id],
            ),
            Change::Remove(row) => view.map(|view| removal_words(view, row)).unwrap_or_default(),
        }
    }

    /// Needs the id and the address of a new replica.
    fn newcomer(&self) -> bool {
        matches!(self, Change::Add | Change::Replace(_))
    }
}

/// See the module. Its body is made anew each time it opens.
#[component]
pub(super) fn Ask(asked: RwSignal<Option<Change>>, latest: RwSignal<Option<ClusterView>>) -> impl IntoView {
    let app = App::of_context();
    let dialog = NodeRef::<html::Dialog>::new();
    follow(move || {
        let Some(dialog) = dialog.get() else { return };
        let wanted = asked.with(Option::is_some);
        set_if_new(app.deciding, wanted);
        if wanted && !dialog.open() {
            // Fails only when it is open already.
            let _ = dialog.show_modal();
        } else if !wanted && dialog.open() {
            dialog.close();
        }
    });
    let title = move || asked.with(|asked| asked.as_ref().map(Change::title).unwrap_or_default());
    view! {
        <dialog node_ref=dialog aria-labelledby="change-title" data-testid="change" on:close=move |_| asked.set(None)>
            <div class="dialog-head">
                <h2 id="change-title">{title}</h2>
                <button type="button" class="icon-button" aria-label=t("Close") on:click=move |_| asked.set(None)><Glyph icon=Icon::Close/></button>
            </div>
            {move || asked.get().map(|change| view! { <Body change asked latest/> })}
        </dialog>
    }
}

#[component]
fn Body(
    change: Change,
    asked: RwSignal<Option<Change>>,
    latest: RwSignal<Option<ClusterView>>,
) -> impl IntoView {
    let app = App::of_context();
    let (id, address, learner) =
        (NodeRef::<html::Input>::new(), NodeRef::<html::Input>::new(), NodeRef::<html::Input>::new());
    let task = Task {
        error: RwSignal::new(String::new()),
        said: RwSignal::new(String::new()),
        stage: RwSignal::new(Stage::Open),
    };
    let (meaning, fresh) =
        latest.with_untracked(|view| (change.meaning(view.as_ref()), view.as_ref().map_or(0, fresh_id)));
    let (verb, newcomer, adds) = (change.verb(), change.newcomer(), change == Change::Add);
    let danger = matches!(change, Change::Remove(_) | Change::Replace(_));
    let typed = move |field: NodeRef<html::Input>| {
        field.get_untracked().map(|input| input.value().trim().to_owned()).unwrap_or_default()
    };
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        if task.stage.get_untracked() != Stage::Open {
            return;
        }
        task.error.set(String::new());
        let fields = if newcomer {
            let Some(id) = typed(id).parse::<u64>().ok().filter(|id| *id > 0) else {
                return task.error.set(t("An id is a number from 1.").to_owned());
            };
            (id, typed(address))
        } else {
            (0, String::new())
        };
        if newcomer && fields.1.is_empty() {
            return task.error.set(t("Say where the new replica listens: host:port.").to_owned());
        }
        let (new, address) = fields;
        let learner = learner.get_untracked().is_some_and(|input| input.checked());
        match &change {
            Change::HandOver => task.run(app, LEADER_PATH, NewLeader { to: None }, None),
            Change::Lead(row) => task.run(app, LEADER_PATH, NewLeader { to: Some(row.id) }, None),
            Change::Add => {
                task.run(app, MEMBERS_PATH, MembersChange::Add { id: new, address, learner }, Some(new))
            }
            Change::Replace(row) => {
                task.run(
                    app,
                    MEMBERS_PATH,
                    MembersChange::Replace { old: row.id, id: new, address },
                    Some(new),
                );
            }
            Change::Remove(row) => task.run(app, MEMBERS_PATH, MembersChange::Remove { id: row.id }, None),
        }
    };
    view! {
        <form class="dialog-body" on:submit=submit>
            <p>{meaning}</p>
            {newcomer.then(|| view! {
                <label class="field">
                    <span>{Word("Its id")}</span>
                    <input node_ref=id class="input" inputmode="numeric" autocomplete="off" data-testid="new-id" prop:value=fresh.to_string()/>
                    <small>{Word("One that was never used in this cluster.")}</small>
                </label>
                <label class="field">
                    <span>{Word("Its address")}</span>
                    <input node_ref=address class="input" placeholder="host:port" autocomplete="off" autocapitalize="none" spellcheck="false" data-testid="new-address"/>
                    <small>{Word("Where the other replicas reach it.")}</small>
                </label>
            })}
            {adds.then(|| view! { <label class="check"><input node_ref=learner type="checkbox"/>{Word("It stays without a vote")}</label> })}
            <div class="error" role="alert">{task.error}</div>
            <div class="done" role="status" data-testid="change-result">{task.said}</div>
            <div class="dialog-foot">
                <button type="button" class="button" on:click=move |_| asked.set(None)>{move || if task.stage.get() == Stage::Open { t("Cancel") } else { t("Close") }}</button>
                {move || (task.stage.get() != Stage::Done).then(|| view! {
                    <button type="submit" class="button" class:danger=danger class:primary=!danger data-testid="confirm-change" aria-disabled=move || (task.stage.get() == Stage::Asking).then_some("true")>{verb}</button>
                })}
            </div>
        </form>
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    Asking,
    Done,
}

/// One change on its way.
#[derive(Clone, Copy)]
struct Task {
    error: RwSignal<String>,
    said: RwSignal<String>,
    stage: RwSignal<Stage>,
}

impl Task {
    /// Asks until it is done, refused, or nobody waits for it any more.
    fn run<B: serde::Serialize + 'static>(
        self,
        app: App,
        path: &'static str,
        body: B,
        newcomer: Option<u64>,
    ) {
        self.stage.set(Stage::Asking);
        self.said.set(t("Asking the leader…").to_owned());
        let key = app.driver.with_value(|driver| driver.clock.moment().client_message_id().to_string());
        spawn_local(async move {
            loop {
                let Some(token) = app.token() else {
                    unless_gone(self.said.try_set(String::new()));
                    unless_gone(self.error.try_set(t("Nobody is signed in here any more.").to_owned()));
                    unless_gone(self.stage.try_set(Stage::Open));
                    return;
                };
                match rest::insist::<B, ClusterChanged>(&token, path, key.clone(), &body).await {
                    Ok(changed) => {
                        unless_gone(self.said.try_set(changed_words(&changed, newcomer)));
                        if changed.done {
                            unless_gone(self.stage.try_set(Stage::Done));
                            return;
                        }
                    }
                    // What is asked for may be what cuts the answer off: the same key asks again.
                    Err(error) if !error.denied() => {
                        unless_gone(self.said.try_set(t("No answer yet. Asking again…").to_owned()));
                    }
                    Err(error) => {
                        unless_gone(self.said.try_set(String::new()));
                        unless_gone(self.error.try_set(error.message));
                        unless_gone(self.stage.try_set(Stage::Open));
                        return;
                    }
                }
                sleep(AGAIN_MS).await;
                if self.stage.try_get_untracked().is_none() {
                    return;
                }
            }
        });
    }
}
