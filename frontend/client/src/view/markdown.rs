//! A message's text as a tree of what may be shown: a subset of Markdown, and nothing that a browser could run.
//!
//! Bold, italic, strike, code, fenced code, quotes, lists, links, mentions, groups (`[#Crew](#/c/5)`). HTML is text like any other. The tree has no raw
//! markup in it and every address passed [`safe_address`]: a page that shows the tree node by node cannot be made to do more.
//! Work is bounded: linear in the text for each of a fixed number of levels.

use quorate_proto::ids::ConversationId;

use super::links::{link_end, next_scheme};

/// Quotes within quotes; deeper ones are text.
const QUOTES_DEEP: usize = 4;
/// Emphasis within emphasis; deeper ones are text.
const SPANS_DEEP: usize = 6;
/// Lists within lists are drawn so deep; deeper ones are drawn like this.
const LISTS_DEEP: u8 = 3;

/// Part of a text that stands for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Some lines.
    Paragraph(Vec<Span>),
    /// What somebody else said.
    Quote(Vec<Block>),
    /// Points, or numbered ones.
    List {
        /// The first number, if they are numbered.
        from: Option<u64>,
        /// The points.
        items: Vec<ListItem>,
    },
    /// Code, as it is.
    Code {
        /// What its writer says it is; letters, digits and a few signs.
        language: String,
        /// As typed.
        text: String,
    },
}

/// One point of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListItem {
    /// How far it is moved in.
    pub level: u8,
    /// What it says.
    pub spans: Vec<Span>,
}

/// Part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// As it is.
    Text(String),
    /// A new line.
    Break,
    /// Code, as it is.
    Code(String),
    /// Bold.
    Strong(Vec<Span>),
    /// Italic.
    Emphasis(Vec<Span>),
    /// Struck out.
    Strike(Vec<Span>),
    /// Somewhere to go: http, https or mailto, and nothing else.
    Link {
        /// Where.
        address: String,
        /// What it says.
        spans: Vec<Span>,
    },
    /// `@name`: the name, lower case.
    Mention(String),
    /// `[#words](#/c/number)`: a conversation. Whoever is in it is led there under its own name; others read the words.
    Room {
        /// Which.
        id: ConversationId,
        /// What its writer calls it.
        words: String,
    },
}

/// Where a named conversation is, before its number: an address of the page.
const ROOM: &str = "#/c/";

/// How a text names a group. Signs of the title that would mean something in a text are left out.
pub fn room_link(id: ConversationId, title: &str) -> String {
    let means = |c: &char| !matches!(c, '[' | ']' | '@' | '`' | '\\' | '\n');
    let words: String = title.chars().filter(means).collect();
    format!("[#{}]({ROOM}{id})", words.trim())
}

/// A text with the names of groups in the place of the signs for them: for lines that are not drawn from the tree.
pub fn rooms_as_words(text: &str) -> String {
    let mut said = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(middle) = rest.find("](#/c/") {
        let target = &rest[middle + 2..];
        let end = target.find(')').filter(|end| room(&target[..*end]).is_some());
        let Some((start, end)) = rest[..middle].rfind('[').zip(end) else {
            said.push_str(&rest[..middle + 2]);
            rest = target;
            continue;
        };
        said.push_str(&rest[..start]);
        said.push_str(&rest[start + 1..middle]);
        rest = &target[end + 1..];
    }
    said.push_str(rest);
    said
}

/// The conversation that an address of the page names.
fn room(address: &str) -> Option<ConversationId> {
    let number = address.strip_prefix(ROOM)?;
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
    number.parse().ok().filter(|_| is_plain)
}

/// The tree of a text.
pub fn blocks(text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.lines().collect();
    blocks_of(&lines, 0)
}

/// The text of a tree without its markup, for screen readers and one-line views.
pub fn plain(blocks: &[Block]) -> String {
    let mut said = String::new();
    for block in blocks {
        if !said.is_empty() {
            said.push('\n');
        }
        match block {
            Block::Paragraph(spans) => plain_spans(spans, &mut said),
            Block::Quote(inner) => said.push_str(&plain(inner)),
            Block::Code { text, .. } => said.push_str(text),
            Block::List { items, .. } => {
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        said.push('\n');
                    }
                    plain_spans(&item.spans, &mut said);
                }
            }
        }
    }
    said
}

fn plain_spans(spans: &[Span], said: &mut String) {
    for span in spans {
        match span {
            Span::Text(text) | Span::Code(text) => said.push_str(text),
            Span::Break => said.push('\n'),
            Span::Strong(inner) | Span::Emphasis(inner) | Span::Strike(inner) => plain_spans(inner, said),
            Span::Link { spans, .. } => plain_spans(spans, said),
            Span::Mention(name) => {
                said.push('@');
                said.push_str(name);
            }
            Span::Room { words, .. } => said.push_str(words),
        }
    }
}

/// An address that may be followed: `http://host…`, `https://host…` or `mailto:somebody@host`, as typed. Nobody may hide
/// the host behind a user name, nor anything behind white space or controls.
pub fn safe_address(address: &str) -> Option<&str> {
    let strange = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '<' | '>' | '"' | '\'' | '`' | '\\' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
            || matches!(c, '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    if address.chars().any(strange) {
        return None;
    }
    let scheme_is =
        |scheme: &str| address.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
    for scheme in ["https://", "http://"] {
        if scheme_is(scheme) {
            let rest = &address[scheme.len()..];
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let begins = host.starts_with(|c: char| c.is_alphanumeric() || c == '[');
            let number = host.strip_prefix('[').and_then(|host| host.split_once(']'));
            let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
            let fits_all = match number {
                Some((number, port)) => number.chars().chain(port.chars()).all(fits),
                None => host.chars().all(fits),
            };
            return (begins && fits_all).then_some(address);
        }
    }
    if scheme_is("mailto:") {
        let rest = &address["mailto:".len()..];
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '@');
        let one_at = rest.matches('@').count() == 1 && !rest.starts_with('@') && !rest.ends_with('@');
        return (one_at && rest.chars().all(fits)).then_some(address);
    }
    None
}

fn blocks_of(lines: &[&str], quotes: usize) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        if line.trim().is_empty() {
            at += 1;
        } else if let Some(language) = fence(line) {
            let end = lines[at + 1..].iter().position(|line| line.trim() == "```");
            let end = end.map_or(lines.len(), |end| at + 1 + end);
            blocks.push(Block::Code { language, text: lines[at + 1..end].join("\n") });
            at = end + 1;
        } else if quotes < QUOTES_DEEP && quoted(line).is_some() {
            let inner: Vec<&str> = lines[at..].iter().map_while(|line| quoted(line)).collect();
            at += inner.len();
            blocks.push(Block::Quote(blocks_of(&inner, quotes + 1)));
        } else if let Some((first, ..)) = point(line) {
            let (list, used) = list_of(&lines[at..], first);
            at += used;
            blocks.push(list);
        } else {
            let end = lines[at + 1..].iter().position(|line| begins_block(line, quotes));
            let end = end.map_or(lines.len(), |end| at + 1 + end);
            blocks.push(Block::Paragraph(lines_of(&lines[at..end])));
            at = end;
        }
    }
    blocks
}

fn begins_block(line: &str, quotes: usize) -> bool {
    line.trim().is_empty()
        || fence(line).is_some()
        || (quotes < QUOTES_DEEP && quoted(line).is_some())
        || point(line).is_some()
}

/// The language after an opening fence.
fn fence(line: &str) -> Option<String> {
    let language = line.trim().strip_prefix("```")?.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '#' | '.' | '_');
    (language.len() <= 20 && language.chars().all(fits)).then(|| language.to_owned())
}

fn quoted(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix('>')?;
    Some(rest.strip_prefix(' ').unwrap_or(rest))
}

/// A line that is a point: its number, its level, and what it says.
fn point(line: &str) -> Option<(Option<u64>, u8, &str)> {
    let text = line.trim_start_matches([' ', '\t']);
    let indent: usize = line[..line.len() - text.len()].chars().map(|c| if c == '\t' { 4 } else { 1 }).sum();
    let level = u8::try_from(indent / 2).unwrap_or(LISTS_DEEP).min(LISTS_DEEP);
    for mark in ["- ", "* ", "+ "] {
        if let Some(rest) = text.strip_prefix(mark).filter(|rest| !rest.trim().is_empty()) {
            return Some((None, level, rest));
        }
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=6).contains(&digits) {
        return None;
    }
    let rest = text[digits..].strip_prefix(". ").or_else(|| text[digits..].strip_prefix(") "))?;
    let number = text[..digits].parse().ok()?;
    (!rest.trim().is_empty()).then_some((Some(number), level, rest))
}

fn list_of(lines: &[&str], first: Option<u64>) -> (Block, usize) {
    let mut items: Vec<(u8, Vec<&str>)> = Vec::new();
    let mut used = 0;
    for line in lines {
        match point(line) {
            // Points under a numbered one are moved in and need no numbers of their own.
            Some((number, level, text)) if level > 0 || number.is_some() == first.is_some() => {
                items.push((level, vec![text]));
            }
            None if line.starts_with("  ") && !line.trim().is_empty() => {
                if let Some((_, said)) = items.last_mut() {
                    said.push(line.trim_start());
                }
            }
            _ => break,
        }
        used += 1;
    }
    let items = items.into_iter().map(|(level, said)| ListItem { level, spans: lines_of(&said) }).collect();
    // The caller saw that the first line is a point; it is of the kind asked for, or moved in.
    (Block::List { from: first, items }, used.max(1))
}

fn lines_of(lines: &[&str]) -> Vec<Span> {
    let text: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    spans(&text.join("\n"), 0)
}

/// Reads spans from left to right. What opens and never closes is text; that nothing closes it any more is remembered, so
/// that a text of opening signs alone costs no more than one of letters.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    plain_from: usize,
    deep: usize,
    spans: Vec<Span>,
    /// Signs of which no closing one is left.
    spent: Vec<&'static str>,
    /// Lengths of runs of backticks that no later run matches.
    ticks_spent: Vec<usize>,
    brackets_spent: bool,
}

fn spans(text: &str, deep: usize) -> Vec<Span> {
    let mut reader = Reader {
        text,
        at: 0,
        plain_from: 0,
        deep,
        spans: Vec::new(),
        spent: Vec::new(),
        ticks_spent: Vec::new(),
        brackets_spent: false,
    };
    while reader.at < text.len() {
        reader.step();
    }
    reader.flush(text.len());
    reader.spans
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn flush(&mut self, to: usize) {
        if to > self.plain_from {
            self.spans.push(Span::Text(self.text[self.plain_from..to].to_owned()));
        }
    }

    /// A span that ends at `end`.
    fn push(&mut self, span: Span, end: usize) {
        self.flush(self.at);
        self.spans.push(span);
        (self.at, self.plain_from) = (end, end);
    }

    fn step(&mut self) {
        let rest = self.rest();
        let Some(c) = rest.chars().next() else { return };
        let done = match c {
            '\n' => {
                self.push(Span::Break, self.at + 1);
                true
            }
            '\\' => self.escaped(),
            '`' => self.code(),
            '*' => self.wrapped("**") || self.wrapped("*"),
            '_' => self.wrapped("__") || self.wrapped("_"),
            '~' => self.wrapped("~~"),
            '[' => self.named_link(),
            '@' => self.mention(),
            'h' => self.bare_link(),
            _ => false,
        };
        if !done {
            // A run of one sign that opens nothing opens nothing in its middle either.
            let run = if matches!(c, '*' | '_' | '~' | '`') {
                rest.len() - rest.trim_start_matches(c).len()
            } else {
                c.len_utf8()
            };
            self.at += run;
        }
    }

    fn before(&self) -> Option<char> {
        self.text[..self.at].chars().next_back()
    }

    fn escaped(&mut self) -> bool {
        let next = self.rest()[1..].chars().next();
        let Some(c) =
            next.filter(|c| matches!(c, '*' | '_' | '~' | '`' | '[' | ']' | '\\' | '@' | '>' | '-' | '#'))
        else {
            return false;
        };
        self.push(Span::Text(c.to_string()), self.at + 1 + c.len_utf8());
        true
    }

    fn code(&mut self) -> bool {
        let rest = self.rest();
        let run = rest.len() - rest.trim_start_matches('`').len();
        if self.ticks_spent.contains(&run) {
            return false;
        }
        let mut from = run;
        while let Some(found) = rest[from..].find('`') {
            let start = from + found;
            let length = rest[start..].len() - rest[start..].trim_start_matches('`').len();
            if length == run {
                let inner = &rest[run..start];
                let trimmed = inner.strip_prefix(' ').and_then(|inner| inner.strip_suffix(' '));
                let inner = trimmed.filter(|inner| !inner.trim().is_empty()).unwrap_or(inner);
                self.push(Span::Code(inner.replace('\n', " ")), self.at + start + run);
                return true;
            }
            from = start + length;
        }
        self.ticks_spent.push(run);
        false
    }

    /// `**bold**`, `*italic*`, `~~struck~~`: the signs touch what they enclose; `_` stands at the ends of words alone.
    fn wrapped(&mut self, sign: &'static str) -> bool {
        let rest = self.rest();
        if self.deep >= SPANS_DEEP || !rest.starts_with(sign) || self.spent.contains(&sign) {
            return false;
        }
        let word = sign.starts_with('_');
        let inner = &rest[sign.len()..];
        let opens = inner.chars().next().is_some_and(|c| !c.is_whitespace() && !sign.starts_with(c));
        if !opens || (word && self.before().is_some_and(char::is_alphanumeric)) {
            return false;
        }
        let mut from = 0;
        while let Some(found) = inner[from..].find(sign) {
            let mut end = from + found;
            let run = inner[end..].len() - inner[end..].trim_start_matches(&sign[..1]).len();
            if sign.len() == 2 && run == 3 {
                // The first of the three closes what was opened within.
                end += 1;
            }
            let after = &inner[end + sign.len()..];
            let doubled = sign.len() == 1 && after.starts_with(sign);
            let space_before = inner[..end].chars().next_back().is_none_or(char::is_whitespace);
            let within_word = word && after.chars().next().is_some_and(char::is_alphanumeric);
            if end > 0 && !space_before && !doubled && !within_word {
                let spans = spans(&inner[..end], self.deep + 1);
                let span = match sign {
                    "**" | "__" => Span::Strong(spans),
                    "~~" => Span::Strike(spans),
                    _ => Span::Emphasis(spans),
                };
                self.push(span, self.at + end + 2 * sign.len());
                return true;
            }
            let run = if doubled { 2 } else { sign.len() };
            from = end + run;
        }
        // Closing signs that did not fit this opening one do not fit a later one either.
        self.spent.push(sign);
        false
    }

    /// `[words](address)`. Words that look like another address are not believed: the whole is text.
    fn named_link(&mut self) -> bool {
        let rest = self.rest();
        if self.brackets_spent {
            return false;
        }
        let Some(middle) = rest.find("](") else {
            self.brackets_spent = true;
            return false;
        };
        // The innermost bracket that opens is the one that is closed.
        if rest[1..middle].contains('[') || rest[1..middle].contains('\n') {
            return false;
        }
        let words = &rest[1..middle];
        let target = &rest[middle + 2..];
        let Some(length) = target.find(')').filter(|length| !target[..*length].contains('\n')) else {
            return false;
        };
        // One pair of brackets within an address is common.
        let length = if target[..length].matches('(').count() == 1 && target[length + 1..].starts_with(')') {
            length + 1
        } else {
            length
        };
        if let Some(id) = room(&target[..length]).filter(|_| !words.trim().is_empty()) {
            let words = words.to_owned();
            self.push(Span::Room { id, words }, self.at + middle + 2 + length + 1);
            return true;
        }
        let Some(address) = safe_address(&target[..length]) else { return false };
        let misleads = words.contains("://") || words.to_lowercase().contains("www.");
        if words.trim().is_empty() || (misleads && words != address) {
            return false;
        }
        let spans = vec![Span::Text(words.to_owned())];
        self.push(Span::Link { address: address.to_owned(), spans }, self.at + middle + 2 + length + 1);
        true
    }

    fn bare_link(&mut self) -> bool {
        let rest = self.rest();
        if !(rest.starts_with("http://") || rest.starts_with("https://"))
            || next_scheme(self.text, self.at) != Some(self.at)
        {
            return false;
        }
        let end = link_end(self.text, self.at);
        let Some(address) = safe_address(&self.text[self.at..end]) else { return false };
        let spans = vec![Span::Text(address.to_owned())];
        self.push(Span::Link { address: address.to_owned(), spans }, end);
        true
    }

    fn mention(&mut self) -> bool {
        let apart = self.before().is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '@' | '.' | '_' | '-'));
        let rest = &self.rest()[1..];
        let end = rest
            .bytes()
            .position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')))
            .unwrap_or(rest.len());
        let name = rest[..end].trim_end_matches(['.', '-', '_']);
        if !apart || quorate_proto::text::canonical_name(name).is_err() {
            return false;
        }
        self.push(Span::Mention(name.to_lowercase()), self.at + 1 + name.len());
        true
    }
}

#[cfg(test)]
mod tests;
