//! The probe's counts, big and calm: a writer and a reader at two gateways, who notice what people would notice.

use leptos::prelude::*;
use quorate_client::proto::rest::{Demo, NewProbe, ProbeReport};
use quorate_client::view::demo::{Counter, counters, verdict};

use super::demo::DEMO_PATH;
use super::poll::Poll;
use crate::context::{App, unless_gone};
use crate::driver::rest;
use crate::follow::memo;
use crate::ui::account::act;
use crate::words::{Word, t, tf};

/// See the module.
#[component]
pub(super) fn Probe(demo: Poll<Demo>) -> impl IntoView {
    let app = App::of_context();
    let report = memo(move || {
        demo.latest.with(|demo| demo.as_ref().map(|demo| demo.probe.clone()).unwrap_or_default())
    });
    let running = memo(move || report.with(|report| report.running));
    let said = memo(move || report.with(verdict));
    let bad = memo(move || report.with(|report| counters(report).iter().any(|counter| counter.bad)));
    let (error, busy) = (RwSignal::new(String::new()), RwSignal::new(false));
    let toggle = move |_| {
        if busy.get_untracked() {
            return;
        }
        busy.set(true);
        let body = NewProbe { run: !running.get_untracked() };
        act(
            app,
            error,
            || {},
            move |token| async move {
                let answer =
                    rest::make::<_, Demo>(&token, "POST", &format!("{DEMO_PATH}/probe"), &body).await;
                unless_gone(busy.try_set(false));
                demo.take(answer?);
                Ok(())
            },
        );
    };
    let places = memo(move || report.with(places));
    // The names never change: only the values are drawn anew.
    let rows = counters(&ProbeReport::default()).into_iter().enumerate().map(|(at, Counter { words, .. })| {
        let counter = memo(move || report.with(|report| counters(report)[at].clone()));
        view! {
            <div data-bad=move || counter.with(|counter| counter.bad).then_some("true")>
                <dt>{t(words)}</dt>
                <dd data-testid="counter" data-counter=words>{move || counter.with(|counter| counter.value.clone())}</dd>
            </div>
        }
    }).collect_view();
    view! {
        <section class="probe" aria-labelledby="probe-title" data-testid="probe" data-running=move || running.get().to_string()>
            <div class="probe-head">
                <h2 id="probe-title">{Word("Probe")}</h2>
                <button type="button" class="button" class:primary=move || !running.get() data-testid="probe-toggle" aria-disabled=move || busy.get().then_some("true") on:click=toggle>
                    {move || if running.get() { t("Stop the probe") } else { t("Start the probe") }}
                </button>
            </div>
            <p class="verdict" class:differs=bad role="status" data-testid="verdict">{said}</p>
            <dl class="counters">{rows}</dl>
            <p class="hint">{places}</p>
            <div class="error" role="alert">{error}</div>
        </section>
    }
}

/// Where writer and reader are.
fn places(report: &ProbeReport) -> String {
    let at = |gateway: &str| {
        if gateway.is_empty() {
            t("between two gateways").to_owned()
        } else {
            tf("at gateway {}", &[&gateway])
        }
    };
    if report.running {
        tf("The writer is {}, the reader {}.", &[&at(&report.writer_at), &at(&report.reader_at)])
    } else {
        t("Begun anew, all counts are zero again.").to_owned()
    }
}
