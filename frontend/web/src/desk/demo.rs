//! The demo: processes that can be hurt, and the probe that counts what anybody notices of it. Only where a gateway was started
//! for it.

use std::cell::Cell;

use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::proto::rest::{Demo, DemoProcess, Fault, NewFault};
use quorate_client::view::demo::{fault_meaning, fault_words, faults, process_words, remedy, state_words};

use super::cluster::Waiting;
use super::poll::{Age, Poll};
use super::probe::Probe;
use crate::context::{App, sleep, unless_gone};
use crate::driver::rest::{self, CallError};
use crate::follow::memo;
use crate::ui::account::act;
use crate::ui::icons::{Glyph, Icon};
use crate::words::{Word, t, tf};

pub(super) const DEMO_PATH: &str = "/api/v1/admin/demo";
/// How often it is looked at: a gap in writing is seen to grow.
const DEMO_MS: u64 = 500;
/// Between two questions whether there is a demo, when nobody answered the first, ms.
const AGAIN_MS: i32 = 3_000;
/// What a fault calls whichever replica leads.
const LEADER: &str = "leader";

const FAULTS: [Fault; 5] = [Fault::Kill, Fault::Pause, Fault::Cut, Fault::Heal, Fault::Start];

thread_local! {
    /// Somebody said on this page that she knows what this does.
    static KNOWN: Cell<bool> = const { Cell::new(false) };
}

/// Sets the signal once the servers say that there is a demo.
pub(super) fn look_for_demo(app: App, there: RwSignal<bool>) {
    spawn_local(async move {
        while let Some(token) = app.token() {
            match rest::read::<Demo>(&token, DEMO_PATH).await {
                Ok(_) => return unless_gone(there.try_set(true)),
                Err(error) if error.denied() => return,
                Err(_) => sleep(AGAIN_MS).await,
            }
        }
    });
}

/// See the module.
#[component]
pub(super) fn DemoPart() -> impl IntoView {
    let app = App::of_context();
    let demo: Poll<Demo> = Poll::begin(app, DEMO_PATH, DEMO_MS);
    let there = memo(move || demo.latest.with(Option::is_some));
    let old = move || (demo.stale_ms.get() > 0).then_some("true");
    move || {
        if there.get() {
            view! {
                <div class="demo" data-testid="demo" data-old=old>
                    <Age poll=demo/>
                    <Probe demo/>
                    <Processes demo/>
                </div>
            }
            .into_any()
        } else {
            view! { <Waiting error=demo.error/> }.into_any()
        }
    }
}

/// One fault at a time.
#[derive(Clone, Copy)]
struct Hand {
    app: App,
    demo: Poll<Demo>,
    busy: RwSignal<bool>,
    error: RwSignal<String>,
    said: RwSignal<String>,
}

impl Hand {
    fn do_to(self, fault: Fault, target: String, words: String) {
        self.go(vec![(fault, target)], words);
    }

    /// One after the other; the first that is refused ends it.
    fn go(self, steps: Vec<(Fault, String)>, words: String) {
        if self.busy.get_untracked() {
            return;
        }
        self.busy.set(true);
        self.said.set(String::new());
        act(
            self.app,
            self.error,
            || {},
            move |token| async move {
                let outcome = self.carry_out(&token, steps).await;
                unless_gone(self.busy.try_set(false));
                if outcome.is_ok() {
                    unless_gone(self.said.try_set(words));
                }
                outcome
            },
        );
    }

    async fn carry_out(self, token: &str, steps: Vec<(Fault, String)>) -> Result<(), CallError> {
        for (fault, target) in steps {
            let body = NewFault { fault, target };
            let demo = rest::make::<_, Demo>(token, "POST", "/api/v1/admin/demo/faults", &body).await?;
            self.demo.take(demo);
        }
        Ok(())
    }
}

#[component]
fn Processes(demo: Poll<Demo>) -> impl IntoView {
    let app = App::of_context();
    let known = RwSignal::new(KNOWN.with(Cell::get));
    let agree = move |_| {
        KNOWN.with(|known| known.set(true));
        known.set(true);
    };
    let hand = Hand {
        app,
        demo,
        busy: RwSignal::new(false),
        error: RwSignal::new(String::new()),
        said: RwSignal::new(String::new()),
    };
    let names = memo(move || {
        let names =
            |demo: &Demo| demo.processes.iter().map(|process| process.name.clone()).collect::<Vec<_>>();
        demo.latest.with(|demo| demo.as_ref().map(names).unwrap_or_default())
    });
    let cannot = memo(move || {
        let line = |demo: &Demo| {
            let one = |cannot: &quorate_client::proto::rest::UnavailableFault| {
                tf(
                    "“{}” is not to be had here: {}.",
                    &[&fault_words(cannot.fault), &cannot.reason.trim_end_matches('.')],
                )
            };
            demo.unavailable.iter().map(one).collect::<Vec<_>>().join(" ")
        };
        demo.latest.with(|demo| demo.as_ref().map(line).unwrap_or_default())
    });
    view! {
        <section class="chaos" aria-labelledby="chaos-title">
            <h2 id="chaos-title">{Word("Processes")}</h2>
            {move || if known.get() {
                view! { <Quick hand/> }.into_any()
            } else {
                view! {
                    <div class="warning">
                        <p>{Word("From here real processes of this cluster are killed, paused and cut off. Whoever writes meanwhile may wait for a moment; what was acknowledged stays.")}</p>
                        <button type="button" class="button" data-testid="know" on:click=agree>{Word("I know what this does")}</button>
                    </div>
                }.into_any()
            }}
            <div class="error" role="alert">{hand.error}</div>
            <p class="hint chaos-said" role="status" data-testid="chaos-said">{hand.said}</p>
            <p class="hint">{cannot}</p>
            <ul class="processes">
                <For each=move || names.get() key=|name| name.clone() children=move |name| view! { <Process name hand known/> }/>
            </ul>
        </section>
    }
}

/// What people come for.
#[component]
fn Quick(hand: Hand) -> impl IntoView {
    let leader = |fault: Fault, words: &'static str, said: &'static str| {
        let off = move || (hand.busy.get() || unavailable(hand.demo, fault)).then_some("true");
        let click = move |_| {
            if off().is_none() {
                hand.do_to(fault, LEADER.to_owned(), said.to_owned());
            }
        };
        view! { <button type="button" class="button" data-testid=format!("leader-{fault:?}").to_lowercase() title=fault_meaning(fault) aria-disabled=off on:click=click>{words}</button> }
    };
    let broken = move || {
        hand.demo.latest.with(|demo| {
            let processes = demo.as_ref().map(|demo| demo.processes.as_slice()).unwrap_or_default();
            processes
                .iter()
                .filter_map(|process| Some((remedy(process)?, process.name.clone())))
                .collect::<Vec<_>>()
        })
    };
    let whole = move || (hand.busy.get() || broken().is_empty()).then_some("true");
    let mend = move |_| {
        if whole().is_none() {
            hand.go(broken(), t("Everything was brought back.").to_owned());
        }
    };
    view! {
        <div class="acts" role="group" aria-label=t("The leader")>
            {leader(Fault::Kill, t("Kill the leader"), t("The leader was killed."))}
            {leader(Fault::Pause, t("Pause the leader"), t("The leader stands still."))}
            {leader(Fault::Cut, t("Cut the leader off"), t("The leader is cut off."))}
            <button type="button" class="button primary" data-testid="mend" aria-disabled=whole on:click=mend>{Word("Bring everything back")}</button>
        </div>
    }
}

fn unavailable(demo: Poll<Demo>, fault: Fault) -> bool {
    demo.latest.with(|demo| {
        demo.as_ref().is_some_and(|demo| demo.unavailable.iter().any(|cannot| cannot.fault == fault))
    })
}

/// A process; all buttons are always there, so that neither they nor the focus move when its state changes.
#[component]
fn Process(name: String, hand: Hand, known: RwSignal<bool>) -> impl IntoView {
    let wanted = name.clone();
    let process = memo(move || {
        let find = |demo: &Demo| demo.processes.iter().find(|process| process.name == wanted).cloned();
        hand.demo.latest.with(|demo| demo.as_ref().and_then(find))
    });
    let wanted = name.clone();
    let leads = memo(move || {
        hand.demo.latest.with(|demo| demo.as_ref().and_then(|demo| demo.leader.as_ref()) == Some(&wanted))
    });
    let say = move |words: fn(&DemoProcess) -> String| {
        move || process.with(|process| process.as_ref().map(words).unwrap_or_default())
    };
    let hurtable =
        move || process.with(|process| process.as_ref().is_some_and(|process| !faults(process).is_empty()));
    let target = StoredValue::new(name.clone());
    let called = say(process_words);
    let buttons = move || {
        FAULTS
            .map(|fault| {
                let may = memo(move || {
                    let possible = process.with(|process| process.as_ref().is_some_and(|process| faults(process).contains(&fault)));
                    possible && !hand.busy.get() && !unavailable(hand.demo, fault)
                });
                let click = move |_| {
                    if may.get_untracked() {
                        hand.do_to(fault, target.get_value(), format!("{}: {}.", called(), done_words(fault)));
                    }
                };
                let label = move || format!("{} {}", fault_words(fault), called());
                view! { <button type="button" class="link-button" data-fault=format!("{fault:?}").to_lowercase() title=fault_meaning(fault) aria-label=label aria-disabled=move || (!may.get()).then_some("true") on:click=click>{fault_words(fault)}</button> }
            })
            .collect_view()
    };
    view! {
        <li class="process" data-testid="process" data-name=name data-state=say(|process| state_words(process.state).to_owned())>
            <span class="who">
                <b>{called}{move || leads.get().then(|| view! { <span class="leads"><Glyph icon=Icon::Star size=14/>{Word("leads")}</span> })}</b>
                <span class="state">{say(|process| t(state_words(process.state)).to_owned())}{say(|process| process.pid.map(|pid| tf(", process {}", &[&pid])).unwrap_or_default())}</span>
            </span>
            {move || (known.get() && hurtable()).then(|| view! { <span class="acts">{buttons()}</span> })}
        </li>
    }
}

fn done_words(fault: Fault) -> &'static str {
    match fault {
        Fault::Kill => t("killed"),
        Fault::Pause => t("paused"),
        Fault::Cut => t("cut off"),
        Fault::Heal => t("healed"),
        Fault::Start => t("started"),
    }
}
