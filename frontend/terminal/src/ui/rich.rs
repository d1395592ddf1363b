//! A message's text as lines: the tree of the shared rules, drawn with what a terminal has.

use quorate_client::view::{Block, Span, blocks};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;

use super::Look;
use super::wrap::{self, Pieces};

/// Columns that a line begins with, in front of every line of a block: what stands there first, and on the others.
struct Margin {
    first: String,
    others: String,
}

/// The lines of a text. It must be clean.
pub(super) fn lines(text: &str, columns: usize, look: Look) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    all(&blocks(text), columns, look, look.plain(), &mut lines);
    if lines.is_empty() {
        lines.push(Line::default());
    }
    lines
}

fn all(blocks: &[Block], columns: usize, look: Look, style: Style, lines: &mut Vec<Line<'static>>) {
    for block in blocks {
        match block {
            Block::Paragraph(spans) => put(spans, columns, look, style, "", lines),
            Block::Quote(inner) => {
                let mut quoted = Vec::new();
                all(inner, columns.saturating_sub(2), look, look.faint(), &mut quoted);
                lines.extend(quoted.into_iter().map(|line| before("│ ", look.faint(), line)));
            }
            Block::List { from, items } => {
                for (number, item) in (from.unwrap_or_default()..).zip(items) {
                    let sign = if from.is_some() { format!("{number}. ") } else { "• ".to_owned() };
                    let sign = format!("{}{sign}", "  ".repeat(usize::from(item.level)));
                    put(&item.spans, columns, look, style, &sign, lines);
                }
            }
            Block::Code { text, .. } => {
                for line in text.lines() {
                    let piece = [(line.to_owned(), look.code())];
                    let wrapped = wrap::lines(&piece, columns.saturating_sub(2));
                    lines.extend(wrapped.into_iter().map(|line| before("▏ ", look.faint(), line)));
                }
            }
        }
    }
}

fn put(spans: &[Span], columns: usize, look: Look, style: Style, sign: &str, lines: &mut Vec<Line<'static>>) {
    use unicode_width::UnicodeWidthStr as _;

    let mut pieces = Pieces::new();
    flatten(spans, style, look, &mut pieces);
    let margin = Margin { first: sign.to_owned(), others: " ".repeat(sign.width()) };
    let wrapped = wrap::lines(&pieces, columns.saturating_sub(sign.width()));
    lines.extend(wrapped.into_iter().enumerate().map(|(at, line)| {
        let sign = if at == 0 { &margin.first } else { &margin.others };
        if sign.is_empty() { line } else { before(sign, style, line) }
    }));
}

fn before(sign: &str, style: Style, mut line: Line<'static>) -> Line<'static> {
    line.spans.insert(0, ratatui::text::Span::styled(sign.to_owned(), style));
    line
}

fn flatten(spans: &[Span], style: Style, look: Look, pieces: &mut Pieces) {
    for span in spans {
        match span {
            Span::Text(text) => pieces.push((text.clone(), style)),
            Span::Break => pieces.push(("\n".to_owned(), style)),
            Span::Code(text) => pieces.push((text.clone(), style.patch(look.code()))),
            Span::Strong(inner) => flatten(inner, style.add_modifier(Modifier::BOLD), look, pieces),
            Span::Emphasis(inner) => flatten(inner, style.add_modifier(Modifier::ITALIC), look, pieces),
            Span::Strike(inner) => flatten(inner, style.add_modifier(Modifier::CROSSED_OUT), look, pieces),
            Span::Link { address, spans } => {
                let begin = pieces.len();
                flatten(spans, style.patch(look.link()), look, pieces);
                let said: String = pieces[begin..].iter().map(|(piece, _)| piece.as_str()).collect();
                // Nothing can be hovered here: where it leads is said.
                if said != *address && format!("mailto:{said}") != *address {
                    pieces.push((format!(" <{address}>"), look.faint()));
                }
            }
            Span::Mention(name) => pieces.push((format!("@{name}"), style.patch(look.news()))),
            Span::Room { words, .. } => pieces.push((words.clone(), style.patch(look.news()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, columns: usize) -> Vec<String> {
        lines(text, columns, Look::default()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn blocks_are_told_apart_without_colour() {
        assert_eq!(said("plain **bold** `code`", 40), ["plain bold code"]);
        assert_eq!(said("> quoted words", 10), ["│ quoted ", "│ words"]);
        assert_eq!(said("- one two three\n- four", 8), ["• one ", "  two ", "  three", "• four"]);
        assert_eq!(said("2. b\n3. c", 9), ["2. b", "3. c"]);
        assert_eq!(said("```rust\nfn main() {}\n```", 20), ["▏ fn main() {}"]);
        assert_eq!(said("", 20), [""]);
    }

    #[test]
    fn a_link_says_where_it_leads() {
        assert_eq!(said("[here](https://example.org/)", 60), ["here <https://example.org/>"]);
        assert_eq!(said("see https://example.org/ now", 60), ["see https://example.org/ now"]);
    }
}
