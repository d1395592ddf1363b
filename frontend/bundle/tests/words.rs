//! The page's words, and those of the rules that it shares with other clients: every text that a person sees has a key, and every key has its German.
//!
//! Sources are read as tokens. What is taken for a text: a literal that stands as a text in a `view!` or in an attribute that is read out
//! or shown; and anywhere else one that looks like words, which begin with a capital letter or have a space between letters. A single
//! lower-case word cannot be told from a name of something and goes by unseen, outside of a `view!`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quorate_proto::text::TextError;
use serde_json::Value;

/// Attributes, and parameters of components, whose text is shown or read out.
const SHOWN: [&str; 6] = ["alt", "aria-label", "label", "placeholder", "title", "words"];
/// What `words.rs` has that takes a key first.
const KEYED: [&str; 5] = ["Word", "keyed", "t", "tf", "tn"];
/// Functions whose texts are for nobody who looks at the page.
const UNSEEN: [&str; 1] = ["expect"];
/// Where texts outside of a `view!` are samples, which people in a scene say: the design system.
const SAMPLES: &str = "/desk/design/";
/// Modules whose words are for the search alone.
const UNREAD: [&str; 1] = ["emoji"];
/// What looks like words and is none: names, keys, headers, patterns that the page asks its own document for.
const NO_WORDS: &[&str] = &[
    "(pointer: fine)",
    "Alt",
    "Ana Brook",
    "Android",
    "ArrowDown",
    "ArrowUp",
    "Authorization",
    "Backspace",
    "Bearer {token}",
    "Browser",
    "Chrome",
    "Content-Type",
    "ContextMenu",
    "Delete",
    "Deutsch",
    "Edg",
    "Edge",
    "English",
    "Enter",
    "Escape",
    "F6",
    "Files",
    "Firefox",
    "Gemini",
    "Idempotency-Key",
    "JSON Lines",
    "K",
    " K",
    "Linux",
    "Mac OS",
    "Quorate",
    "Safari",
    "Tab",
    "Windows",
    "[tabindex], dialog",
    "ana",
    "avatar {size} h{}",
    "build.bot",
    "day {day}",
    "dot dnd",
    "dot idle",
    "dot off",
    "host:port",
    "https://",
    "lamp off",
    "lamp wait",
    "notice {version}",
    "web {}",
    "{ms} ms",
    "{ms:.0} ms",
    "{ms:.1} ms",
    "{} min",
    "{} ms",
    "{} s",
    "{}{}{} s",
];

/// A text and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    text: String,
    place: String,
}

#[derive(Debug, Default)]
struct Scan {
    /// What is read now has samples.
    samples: bool,
    keys: BTreeSet<String>,
    /// Of counts: the text for one, and for others.
    counts: BTreeMap<String, String>,
    /// Without a key.
    bare: Vec<Found>,
    /// Those of [`NO_WORDS`].
    no_words: BTreeSet<String>,
    /// Not used as they must be.
    wrong: Vec<Found>,
}

fn web() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../web")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if name == "tests" || UNREAD.contains(&&*name) {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn scan() -> Scan {
    let mut paths = Vec::new();
    for folder in ["src", "../client/src"] {
        sources(&web().join(folder), &mut paths);
    }
    assert!(paths.len() > 50, "the page's sources are elsewhere");
    let mut scan = Scan::default();
    for path in paths {
        let source = std::fs::read_to_string(&path).expect("a source");
        let tokens: TokenStream = source.parse().expect("Rust");
        let place = path.display().to_string();
        scan.samples = place.contains(SAMPLES);
        walk(&place, tokens, false, &mut scan);
    }
    scan
}

/// Goes through the tokens; `view`: within the macro of that name.
fn walk(place: &str, tokens: TokenStream, view: bool, scan: &mut Scan) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut in_test = false;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            // What belongs to a test ends with its braces.
            TokenTree::Group(group) if in_test => in_test = group.delimiter() != Delimiter::Brace,
            TokenTree::Group(group) => {
                let before = at.checked_sub(1).map(|at| &tokens[at]);
                // With `!` those of a whole file, such as its documentation.
                let marks = if before.is_some_and(|it| is(it, '!')) { 2 } else { 1 };
                let is_attribute = group.delimiter() == Delimiter::Bracket
                    && at.checked_sub(marks).is_some_and(|at| is(&tokens[at], '#'));
                let function = before.map(ToString::to_string).unwrap_or_default();
                let is_call = group.delimiter() == Delimiter::Parenthesis;
                let defined = ["fn", "struct"].iter().any(|word| named(&tokens, at, 2, word));
                in_test = is_attribute && group.to_string().replace(' ', "") == "[cfg(test)]";
                if is_attribute || is_call && UNSEEN.contains(&&*function) {
                    continue;
                }
                if is_call && !defined && KEYED.contains(&&*function) {
                    keyed(place, &function, group.stream(), scan);
                    continue;
                }
                let is_view = before.is_some_and(|it| is(it, '!')) && named(&tokens, at, 2, "view");
                walk(place, group.stream(), view || is_view, scan);
            }
            TokenTree::Literal(literal) => {
                let Some(text) = unquoted(&literal.to_string()) else { continue };
                let shown = match value_of(&tokens, at).filter(|_| view) {
                    Some(attribute) if SHOWN.contains(&&*attribute) => has_letters(&text),
                    Some(_) => false,
                    None if view && is_text(&tokens, at) => has_letters(&text),
                    None => !scan.samples && looks_like_words(&text),
                };
                if NO_WORDS.contains(&&*text) {
                    scan.no_words.insert(text);
                } else if shown {
                    scan.bare.push(Found { text, place: place.to_owned() });
                }
            }
            _ => {}
        }
    }
}

/// A call that takes a key: the key is a literal, or a name that says so elsewhere; values are as many as there are places.
fn keyed(place: &str, function: &str, arguments: TokenStream, scan: &mut Scan) {
    let arguments: Vec<TokenTree> = arguments.into_iter().collect();
    let texts: Vec<String> = arguments
        .iter()
        .filter_map(|token| match token {
            TokenTree::Literal(literal) => unquoted(&literal.to_string()),
            _ => None,
        })
        .collect();
    let mut wrong = |text: &str| scan.wrong.push(Found { text: text.to_owned(), place: place.to_owned() });
    match (function, texts.as_slice()) {
        ("Word" | "t" | "keyed", [key]) => {
            if !places(key).is_empty() {
                wrong(key);
            }
            scan.keys.insert(key.clone());
        }
        // A name: what it stands for is `keyed` where it is made.
        ("Word" | "t", []) => walk(place, arguments.into_iter().collect(), false, scan),
        ("tf", [key, ..]) => {
            if places(key).len() != values(&arguments) {
                wrong(key);
            }
            scan.keys.insert(key.clone());
            walk(place, arguments.into_iter().skip(1).collect(), false, scan);
        }
        ("tn", [one, many]) => {
            if scan.counts.insert(one.clone(), many.clone()).is_some_and(|had| had != *many) {
                wrong(one);
            }
        }
        _ => wrong(function),
    }
}

/// How many values a call gives: the elements of its last list.
fn values(arguments: &[TokenTree]) -> usize {
    let Some(TokenTree::Group(list)) = arguments.iter().rev().find(|it| matches!(it, TokenTree::Group(_)))
    else {
        return 0;
    };
    let elements: Vec<TokenTree> = list.stream().into_iter().collect();
    let commas = elements.iter().filter(|it| is(it, ',')).count();
    let ends_with_one = elements.last().is_some_and(|it| is(it, ','));
    if elements.is_empty() { 0 } else { commas + usize::from(!ends_with_one) }
}

fn is(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

fn named(tokens: &[TokenTree], at: usize, back: usize, name: &str) -> bool {
    at.checked_sub(back).is_some_and(|at| matches!(&tokens[at], TokenTree::Ident(ident) if ident == name))
}

/// The attribute that this is the value of: `aria-label="…"`.
fn value_of(tokens: &[TokenTree], at: usize) -> Option<String> {
    let mut at = at.checked_sub(1).filter(|at| is(&tokens[*at], '='))?;
    let mut name = String::new();
    while let Some(before) = at.checked_sub(1) {
        at = before;
        let joined = at.checked_sub(1).is_some_and(|at| is(&tokens[at], '-') || is(&tokens[at], ':'));
        name.insert_str(0, &tokens[at].to_string());
        if !joined && !is(&tokens[at], '-') && !is(&tokens[at], ':') {
            break;
        }
    }
    // In Rust itself: `==`, `>=`, `let x = "…"`.
    name.starts_with(|letter: char| letter.is_ascii_alphabetic()).then_some(name)
}

/// Whether this stands as a text in a document: after a tag, after another text or a block, or first of all.
fn is_text(tokens: &[TokenTree], at: usize) -> bool {
    let Some(before) = at.checked_sub(1) else { return false };
    match &tokens[before] {
        TokenTree::Punct(punct) if punct.as_char() == '>' => {
            let arrow = before.checked_sub(1).is_some_and(|at| {
                matches!(&tokens[at], TokenTree::Punct(punct) if matches!(punct.as_char(), '=' | '-')
                    && punct.spacing() == proc_macro2::Spacing::Joint)
            });
            !arrow
        }
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Literal(_) => true,
        _ => false,
    }
}

/// The text of a literal; `None` for numbers, letters and bytes.
fn unquoted(literal: &str) -> Option<String> {
    if let Some(raw) = literal.strip_prefix('r') {
        return Some(raw.trim_matches('#').trim_matches('"').to_owned());
    }
    let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
    let (mut text, mut rest) = (String::new(), inner);
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let mut letters = after.chars();
        rest = match letters.next() {
            Some('n') => {
                text.push('\n');
                letters.as_str()
            }
            // Goes on with the next line.
            Some('\n') => letters.as_str().trim_start(),
            Some('u') => {
                let (code, rest) = after.split_once('}').expect("an escape");
                let code = u32::from_str_radix(code.trim_start_matches("u{"), 16).expect("an escape");
                text.push(char::from_u32(code).expect("a letter"));
                rest
            }
            Some(letter) => {
                text.push(letter);
                letters.as_str()
            }
            None => "",
        };
    }
    text.push_str(rest);
    Some(text)
}

fn without_places(text: &str) -> String {
    let mut parts = text.split('{');
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push('·');
        kept.push_str(part.split_once('}').map_or(part, |(_, rest)| rest));
    }
    kept
}

fn has_letters(text: &str) -> bool {
    without_places(text).chars().any(char::is_alphabetic)
}

fn looks_like_words(text: &str) -> bool {
    let letters: Vec<char> = without_places(text).chars().collect();
    let is_capital = letters.first().is_some_and(|first| first.is_uppercase())
        && letters.get(1).is_some_and(|second| second.is_lowercase() || *second == ' ');
    let spaced = letters.windows(3).any(|it| {
        let before = it[0].is_alphabetic() || matches!(it[0], '·' | ',' | '.' | ':');
        before && it[1] == ' ' && (it[2].is_alphabetic() || it[2] == '·')
    });
    has_letters(text) && (is_capital || spaced)
}

/// The values that a text takes, by their number.
fn places(text: &str) -> BTreeSet<usize> {
    let inner = text.split('{').skip(1).map(|part| part.split('}').next().unwrap_or_default());
    inner.enumerate().map(|(at, place)| place.parse().unwrap_or(at)).collect()
}

fn catalogue() -> (String, BTreeMap<String, Vec<String>>) {
    let text = std::fs::read_to_string(web().join("words/de.json")).expect("the German words");
    let read: BTreeMap<String, Value> = serde_json::from_str(&text).expect("JSON");
    let texts = |value: Value| match value {
        Value::String(text) => vec![text],
        Value::Array(texts) => texts.iter().map(|text| text.as_str().expect("a text").to_owned()).collect(),
        other => panic!("{other} is no text"),
    };
    (text, read.into_iter().map(|(english, value)| (english, texts(value))).collect())
}

/// What the static shell says.
fn said_by_the_shell() -> Vec<String> {
    let document = std::fs::read_to_string(web().join("page/index.html")).expect("the document");
    let said = document.split("{{say ").skip(1);
    said.map(|part| part.split_once("}}").expect("an end").0.to_owned()).collect()
}

/// Why a typed text is refused, as the page says it; each variant once.
fn refusals() -> Vec<String> {
    use TextError::*;
    let all = [Name, Title, Password, Empty, TooLong, Topic, Status, Reason, Emoji, InviteCode];
    all.map(|why| {
        let text = why.to_string();
        let (first, rest) = text.split_at(1);
        format!("{}{rest}.", first.to_uppercase())
    })
    .into()
}

fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn every_text_that_people_see_has_a_key() {
    let scan = scan();
    let told =
        |found: &[Found]| found.iter().map(|it| format!("{}: {:?}", it.place, it.text)).collect::<Vec<_>>();
    none("texts without a key: give them to t, tf or tn, or name them in NO_WORDS", &told(&scan.bare));
    none("keys that are not used as they must be", &told(&scan.wrong));
    let stale = NO_WORDS.iter().filter(|text| !scan.no_words.contains(**text)).map(ToString::to_string);
    none("names that nobody uses any more", &stale.collect::<Vec<_>>());
}

#[test]
fn every_key_has_its_german_and_nothing_else_does() {
    let (scan, (_, words)) = (scan(), catalogue());
    let mut used: BTreeSet<String> = scan.keys.clone();
    used.extend(scan.counts.keys().cloned());
    used.extend(said_by_the_shell());
    used.extend(refusals());
    let missing: Vec<String> = used.iter().filter(|key| !words.contains_key(*key)).cloned().collect();
    none("keys without German", &missing);
    let unused: Vec<String> = words.keys().filter(|key| !used.contains(*key)).cloned().collect();
    none("German without a key", &unused);
    for one in scan.counts.keys() {
        assert_eq!(words[one].len(), 2, "{one:?} is a count: it has a text for one and another for more");
    }
    let plain = scan.keys.iter().filter(|key| words[*key].len() != 1).cloned().collect::<Vec<_>>();
    none("texts that are no counts and have several", &plain);
}

#[test]
fn both_languages_take_the_same_values() {
    let (scan, (_, words)) = (scan(), catalogue());
    for (english, german) in &words {
        for text in german {
            assert_eq!(places(english), places(text), "{english:?} and {text:?}");
            let ends = |text: &str| (text.starts_with(' '), text.ends_with(' '));
            assert_eq!(ends(english), ends(text), "{english:?} and {text:?} differ in white space");
            assert!(!text.trim().is_empty(), "{english:?} has no German");
        }
    }
    for (one, many) in &scan.counts {
        assert_eq!((places(one).len(), places(many).len()), (1, 1), "{one:?} and {many:?} are of a count");
    }
}

#[test]
fn the_catalogue_is_in_order_a_line_each() {
    let (text, words) = catalogue();
    let quoted = |text: &String| serde_json::to_string(text).expect("JSON");
    let lines: Vec<String> = words
        .iter()
        .map(|(english, german)| match german.as_slice() {
            [one] => format!("  {}: {}", quoted(english), quoted(one)),
            some => {
                let some: Vec<String> = some.iter().map(quoted).collect();
                format!("  {}: [{}]", quoted(english), some.join(", "))
            }
        })
        .collect();
    assert!(
        text == format!("{{\n{}\n}}\n", lines.join(",\n")),
        "words/de.json is not sorted, or not a line each"
    );
}

#[test]
fn the_scan_sees_what_it_must() {
    let source = r#"
        fn t(english: &str) {}
        /// Not this.
        fn draw() {
            let one = t("Keyed"); let two = tf("{} of {}", &[&1, &2]); let three = tn(2, "{} day", "{} days");
            let four = tf("{} only", &[&1, &2]);
            view! { <p class="some words" title="Shown">"text"{if one { "Also shown" } else { t("Keyed too") }}" · "</p> }
            say("Bare words"); name("kept"); let x = "so_it_is"; y.expect("Proof that holds");
        }
    "#;
    let mut scan = Scan::default();
    walk("here", source.parse().expect("Rust"), false, &mut scan);
    let bare: Vec<&str> = scan.bare.iter().map(|it| &*it.text).collect();
    assert_eq!(bare, ["Shown", "text", "Also shown", "Bare words"]);
    assert_eq!(scan.keys.iter().collect::<Vec<_>>(), ["Keyed", "Keyed too", "{} of {}", "{} only"]);
    assert_eq!(scan.counts.get("{} day").map(String::as_str), Some("{} days"));
    assert_eq!(scan.wrong.iter().map(|it| &*it.text).collect::<Vec<_>>(), ["{} only"]);
}
