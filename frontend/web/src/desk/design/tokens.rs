//! The tokens as tables, read from the sheet that gives them, so that nothing here can say otherwise.

use leptos::prelude::*;

use super::scene::{Part, Specimen};
use crate::words::{Word, t};

const SHEET: &str = include_str!("../../../page/styles/10-tokens.css");
const PAIRS: &str = include_str!("../../../page/styles/pairs.txt");

/// A token: its name without dashes, and its value as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    name: &'static str,
    value: &'static str,
}

/// Those of the sheet's first rule, in its order.
fn tokens() -> Vec<Token> {
    let rule = SHEET.split_once(":root {").map_or("", |(_, rest)| rest);
    let rule = rule.split_once("\n}").map_or(rule, |(rule, _)| rule);
    let lines =
        rule.lines().filter_map(|line| line.trim().strip_prefix("--")?.strip_suffix(';')?.split_once(": "));
    lines.map(|(name, value)| Token { name, value }).collect()
}

fn is_colour(token: &Token) -> bool {
    ["light-dark(", "#", "rgb("].iter().any(|start| token.value.starts_with(start))
}

/// `what` on `ground`, and the contrast that it needs.
fn pairs() -> Vec<(&'static str, Vec<&'static str>, &'static str)> {
    let lines = PAIRS.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut words: Vec<&str> = line.split_whitespace().collect();
            let least = words.pop()?;
            let what = *words.first()?;
            Some((what, words.split_off(1), least))
        })
        .collect()
}

fn var(name: &str) -> String {
    format!("var(--{name})")
}

/// See the module.
#[component]
pub(super) fn Tokens() -> impl IntoView {
    let of = |wanted: fn(&Token) -> bool| tokens().into_iter().filter(wanted).collect::<Vec<_>>();
    let colours = of(is_colour);
    let text = of(|token| token.name.starts_with("text-"));
    let space = of(|token| token.name.strip_prefix('s').is_some_and(|rest| rest.parse::<u8>().is_ok()));
    let corners = of(|token| token.name.starts_with("r-"));
    let rest = of(|token| {
        let table = is_colour(token) || token.name.starts_with("text-") || token.name.starts_with("r-");
        !table && token.name.strip_prefix('s').is_none_or(|rest| rest.parse::<u8>().is_err())
    });
    view! {
        <Part id="tokens" words=t("Tokens")>
            <Specimen words=t("Colours, each for light and dark") shape="wide">
                <ul class="swatches">
                    {colours.into_iter().map(|token| view! {
                        <li><span class="swatch" style:background=var(token.name)></span><code>{token.name}</code><small>{token.value}</small></li>
                    }).collect_view()}
                </ul>
            </Specimen>
            <Specimen words=t("Words and signs on their grounds, with the contrast each pair needs and is tested for") shape="wide">
                <ul class="pairs">
                    {pairs().into_iter().flat_map(|(what, grounds, least)| {
                        let plain = grounds.into_iter().filter(|ground| !ground.contains('+'));
                        plain.map(move |ground| view! { <Pair what ground least/> })
                    }).collect_view()}
                </ul>
            </Specimen>
            <Specimen words=t("Type") shape="wide">
                {text.into_iter().map(|token| view! {
                    <p><code>{token.name}</code>" "<span style:font-size=var(token.name)>{Word("A majority has it")}</span>" "<small>{token.value}</small></p>
                }).collect_view()}
            </Specimen>
            <Specimen words=t("Space")>
                {space.into_iter().map(|token| view! {
                    <p class="acts"><code>{token.name}</code><span class="measure" style:inline-size=var(token.name)></span><small>{token.value}</small></p>
                }).collect_view()}
            </Specimen>
            <Specimen words=t("Corners")>
                <div class="acts">
                    {corners.into_iter().map(|token| view! {
                        <span class="corner" style:border-radius=var(token.name)>{token.name}</span>
                    }).collect_view()}
                </div>
            </Specimen>
            <Specimen words=t("Motion, elevation, density and the rest") shape="wide">
                <dl class="facts">
                    {rest.into_iter().map(|token| view! { <div><dt><code>{token.name}</code></dt><dd>{token.value}</dd></div> }).collect_view()}
                </dl>
            </Specimen>
        </Part>
    }
}

/// Words as words; what needs less contrast than they do, as a sign.
#[component]
fn Pair(what: &'static str, ground: &'static str, least: &'static str) -> impl IntoView {
    let words = format!("{what} on {ground}");
    if least == "4.5" {
        view! { <li style:color=var(what) style:background=var(ground)>{words}" "<small>{least}</small></li> }
            .into_any()
    } else {
        view! { <li><span class="ground" style:background=var(ground)><i style:background=var(what)></i></span>{words}" "<small>{least}</small></li> }
            .into_any()
    }
}
