//! A message's text, drawn node by node from the safe tree; never markup.

use leptos::prelude::*;
use quorate_client::view::{Block, Span, blocks};

use crate::context::App;
use crate::route;
use crate::words::{Word, t};

/// See the module. `me` is the reader's name, which stands out where it is mentioned.
#[component]
pub(crate) fn Rich(text: String, me: String) -> impl IntoView {
    draw(blocks(&text), &me)
}

fn draw(blocks: Vec<Block>, me: &str) -> AnyView {
    blocks.into_iter().map(|block| draw_block(block, me)).collect_view().into_any()
}

fn draw_block(block: Block, me: &str) -> AnyView {
    match block {
        Block::Paragraph(said) => view! { <p>{spans(said, me)}</p> }.into_any(),
        Block::Quote(inner) => view! { <blockquote>{draw(inner, me)}</blockquote> }.into_any(),
        Block::List { from, items } => {
            let items = items
                .into_iter()
                .map(|item| {
                    let class = format!("level-{}", item.level);
                    view! { <li class=class>{spans(item.spans, me)}</li> }
                })
                .collect_view();
            match from {
                Some(from) => view! { <ol start=from.to_string()>{items}</ol> }.into_any(),
                None => view! { <ul>{items}</ul> }.into_any(),
            }
        }
        Block::Code { language, text } => view! { <Code language text/> }.into_any(),
    }
}

fn spans(said: Vec<Span>, me: &str) -> AnyView {
    said.into_iter().map(|span| draw_span(span, me)).collect_view().into_any()
}

fn draw_span(span: Span, me: &str) -> AnyView {
    match span {
        Span::Text(text) => text.into_any(),
        Span::Break => view! { <br/> }.into_any(),
        Span::Code(text) => view! { <code>{text}</code> }.into_any(),
        Span::Strong(inner) => view! { <strong>{spans(inner, me)}</strong> }.into_any(),
        Span::Emphasis(inner) => view! { <em>{spans(inner, me)}</em> }.into_any(),
        Span::Strike(inner) => view! { <s>{spans(inner, me)}</s> }.into_any(),
        Span::Link { address, spans: said } => {
            let title = address.clone();
            let inner = spans(said, me);
            view! { <a href=address title=title target="_blank" rel="noopener noreferrer">{inner}</a> }
                .into_any()
        }
        Span::Room { id, words } => {
            // Whoever is in the group reads its own name, whatever the writer calls it.
            let named = App::of_context().list.with_untracked(|list| {
                list.iter().find(|row| row.id == id && row.group).map(|row| format!("#{}", row.name))
            });
            match named {
                Some(name) => {
                    view! { <a class="mention" data-testid="room-link" href=route::href(Some(id))>{name}</a> }
                        .into_any()
                }
                None => words.into_any(),
            }
        }
        Span::Mention(name) => {
            let own = name == me || name == "all";
            view! { <span class="mention" class:own=own>{format!("@{name}")}</span> }.into_any()
        }
    }
}

#[component]
fn Code(language: String, text: String) -> impl IntoView {
    let app = App::of_context();
    let copied = text.clone();
    view! {
        <div class="code">
            <div class="code-head">
                <span>{language}</span>
                <button type="button" class="link-button" on:click=move |_| app.copy(&copied, t("Code copied."))>{Word("Copy")}</button>
            </div>
            <pre tabindex="0"><code>{text}</code></pre>
        </div>
    }
}
