//! A message's text as pieces: plain text, and links that are safe to follow (http and https, nothing else).

/// Part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Shown as it is.
    Text(String),
    /// An address to follow; shown as it is.
    Link(String),
}

/// Splits a text. Every character of it is in exactly one piece, in order.
pub fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain_from = 0;
    let mut at = 0;
    while let Some(start) = next_scheme(text, at) {
        let end = link_end(text, start);
        let scheme_end = start + text[start..].find("://").map_or(0, |found| found + 3);
        if end <= scheme_end || !text[scheme_end..].starts_with(|c: char| c.is_alphanumeric() || c == '[') {
            at = scheme_end.max(start + 1);
            continue;
        }
        if start > plain_from {
            pieces.push(Piece::Text(text[plain_from..start].to_owned()));
        }
        pieces.push(Piece::Link(text[start..end].to_owned()));
        plain_from = end;
        at = end;
    }
    if plain_from < text.len() {
        pieces.push(Piece::Text(text[plain_from..].to_owned()));
    }
    pieces
}

/// Where the next `http://` or `https://` begins, not in the middle of a word.
pub(super) fn next_scheme(text: &str, from: usize) -> Option<usize> {
    let mut from = from;
    loop {
        let found = from + text.get(from..)?.find("http")?;
        let rest = &text[found..];
        let boundary = text[..found].chars().next_back().is_none_or(|c| !c.is_alphanumeric());
        if boundary && (rest.starts_with("http://") || rest.starts_with("https://")) {
            return Some(found);
        }
        from = found + 4;
    }
}

/// Where a link ends: before white space or a quoting character, without trailing punctuation, brackets in balance.
pub(super) fn link_end(text: &str, start: usize) -> usize {
    let stop = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | '`');
    let mut link = &text[start..];
    if let Some(end) = link.find(stop) {
        link = &link[..end];
    }
    while let Some(last) = link.chars().next_back() {
        let unbalanced = |open: char, close: char| {
            last == close && link.matches(close).count() > link.matches(open).count()
        };
        let trailing = matches!(last, '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '_' | '…');
        if !trailing && !unbalanced('(', ')') && !unbalanced('[', ']') {
            break;
        }
        link = &link[..link.len() - last.len_utf8()];
    }
    start + link.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(text: &str) -> Vec<String> {
        pieces(text)
            .into_iter()
            .filter_map(|piece| match piece {
                Piece::Link(link) => Some(link),
                Piece::Text(_) => None,
            })
            .collect()
    }

    #[test]
    fn finds_links_and_leaves_punctuation() {
        assert_eq!(links("see https://example.org/a?b=1#c."), ["https://example.org/a?b=1#c"]);
        assert_eq!(links("(http://example.org/x_(y))"), ["http://example.org/x_(y)"]);
        assert_eq!(links("https://a.b, https://c.d!"), ["https://a.b", "https://c.d"]);
    }

    #[test]
    fn follows_nothing_but_http() {
        for text in
            ["javascript:alert(1)", "xhttp://a.b", "data:text/html,x", "https://", "http://\"", "httpshttp"]
        {
            assert!(links(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn loses_no_character() {
        for text in [
            "",
            "plain",
            "a https://x.y b",
            "https://x.y",
            "é http://ü.example/ä… ok",
            "http http:// https://a",
        ] {
            let whole: String = pieces(text)
                .into_iter()
                .map(|piece| match piece {
                    Piece::Text(part) | Piece::Link(part) => part,
                })
                .collect();
            assert_eq!(whole, text);
        }
    }
}
