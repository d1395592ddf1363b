use super::*;

fn text(text: &str) -> Span {
    Span::Text(text.to_owned())
}

fn line(said: &str) -> Vec<Span> {
    match blocks(said).as_slice() {
        [Block::Paragraph(spans)] => spans.clone(),
        other => panic!("{said:?} is not one paragraph: {other:?}"),
    }
}

fn link(address: &str, words: &str) -> Span {
    Span::Link { address: address.to_owned(), spans: vec![text(words)] }
}

#[test]
fn words_are_made_bold_italic_and_struck() {
    assert_eq!(
        line("a **b *c*** ~~d~~ _e_"),
        [
            text("a "),
            Span::Strong(vec![text("b "), Span::Emphasis(vec![text("c")])]),
            text(" "),
            Span::Strike(vec![text("d")]),
            text(" "),
            Span::Emphasis(vec![text("e")]),
        ]
    );
    for plain in ["2 * 3 * 4", "snake_case_name", "a ** b ** c", "*", "****", "~~", "_ _", "** **"] {
        assert_eq!(line(plain), [text(plain)], "{plain}");
    }
    assert_eq!(line("\\*no\\*"), [text("*"), text("no"), text("*")]);
}

#[test]
fn code_is_shown_as_it_is() {
    assert_eq!(line("`**a** @bob`"), [Span::Code("**a** @bob".into())]);
    assert_eq!(line("`` a`b ``"), [Span::Code("a`b".into())]);
    assert_eq!(line("`open"), [text("`open")]);
    let fenced = "```rust\nfn f() {\n    **x**\n}\n```\nafter";
    assert_eq!(
        blocks(fenced),
        [
            Block::Code { language: "rust".into(), text: "fn f() {\n    **x**\n}".into() },
            Block::Paragraph(vec![text("after")]),
        ]
    );
    assert_eq!(blocks("```\nopen"), [Block::Code { language: String::new(), text: "open".into() }]);
}

#[test]
fn lines_quotes_and_lists() {
    assert_eq!(line("a\nb"), [text("a"), Span::Break, text("b")]);
    assert_eq!(blocks("a\n\nb").len(), 2);
    let quote = blocks("> a\n> > b\nc");
    let inner = Block::Quote(vec![Block::Paragraph(vec![text("b")])]);
    let outer = Block::Quote(vec![Block::Paragraph(vec![text("a")]), inner]);
    assert_eq!(quote, [outer, Block::Paragraph(vec![text("c")])]);
    let item = |level, said: &str| ListItem { level, spans: vec![text(said)] };
    assert_eq!(
        blocks("- a\n  - b\n* c"),
        [Block::List { from: None, items: vec![item(0, "a"), item(1, "b"), item(0, "c")] }]
    );
    assert_eq!(
        blocks("3. a\n4) b"),
        [Block::List { from: Some(3), items: vec![item(0, "a"), item(0, "b")] }]
    );
    assert_eq!(blocks("- a\n1. b").len(), 2);
    for not in ["-a", "1.a", "-", "- ", "1234567. a"] {
        assert!(matches!(blocks(not).as_slice(), [Block::Paragraph(_)]), "{not}");
    }
}

#[test]
fn links_and_names() {
    assert_eq!(
        line("see https://a.example/x."),
        [text("see "), link("https://a.example/x", "https://a.example/x"), text(".")]
    );
    assert_eq!(line("[words](https://a.example/b_(c))"), [link("https://a.example/b_(c)", "words")]);
    assert_eq!(line("[me](mailto:me@a.example)"), [link("mailto:me@a.example", "me")]);
    assert_eq!(line("hi @Ana, x@y.z"), [text("hi "), Span::Mention("ana".into()), text(", x@y.z")]);
    assert_eq!(line("**@bob.**"), [Span::Strong(vec![Span::Mention("bob".into()), text(".")])]);
}

/// Every address of a tree.
fn addresses(blocks: &[Block]) -> Vec<(String, String)> {
    fn of_spans(spans: &[Span], found: &mut Vec<(String, String)>) {
        for span in spans {
            match span {
                Span::Link { address, spans } => {
                    let mut words = String::new();
                    plain_spans(spans, &mut words);
                    found.push((address.clone(), words));
                    of_spans(spans, found);
                }
                Span::Strong(inner) | Span::Emphasis(inner) | Span::Strike(inner) => of_spans(inner, found),
                Span::Text(_) | Span::Break | Span::Code(_) | Span::Mention(_) | Span::Room { .. } => {}
            }
        }
    }
    fn of_blocks(blocks: &[Block], found: &mut Vec<(String, String)>) {
        for block in blocks {
            match block {
                Block::Paragraph(spans) => of_spans(spans, found),
                Block::Quote(inner) => of_blocks(inner, found),
                Block::List { items, .. } => items.iter().for_each(|item| of_spans(&item.spans, found)),
                Block::Code { .. } => {}
            }
        }
    }
    let mut found = Vec::new();
    of_blocks(blocks, &mut found);
    found
}

/// What people try on chats, by the filter evasions that OWASP and Markdown libraries' advisories collect.
const ATTACKS: [&str; 40] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<a href=\"javascript:alert(1)\">x</a>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x]( javascript:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](java\nscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](javascript://https://a.example/%0aalert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:msgbox(1))",
    "[x](file:///etc/passwd)",
    "[x](blob:https://a.example/1)",
    "[x](//evil.example)",
    "[x](\\\\evil.example)",
    "[x](/api/v1/sessions)",
    "[x](#/admin)",
    "[x](https:evil.example)",
    "[x](https:/evil.example)",
    "[x](https://)",
    "[x](http://\"onmouseover=alert(1))",
    "[x](https://a.example\" onmouseover=\"alert(1))",
    "[x](https://a.example' onmouseover='alert(1))",
    "[x](https://a.example/><script>alert(1)</script>)",
    "[x](https://bank.example@evil.example/)",
    "[https://bank.example](https://evil.example)",
    "[www.bank.example](https://evil.example)",
    "[x](https://a.example/\u{202e}gpj.exe)",
    "[x](mailto:a@b.example?bcc=c@d.example)",
    "[x](mailto:a@b.example%0d%0aBcc:c)",
    "![x](javascript:alert(1))",
    "[![x](https://a.example/x)](javascript:alert(1))",
    "[x]: javascript:alert(1)\n[x]",
    "<javascript:alert(1)>",
    "[a](<javascript:alert(1)>)",
    "`<script>`[x](javascript:alert`1`)",
];

#[test]
fn nothing_leads_anywhere_but_where_it_says() {
    for attack in ATTACKS {
        for text in [attack.to_owned(), format!("> - **{attack}**"), format!("~~_{attack}_~~")] {
            for (address, words) in addresses(&blocks(&text)) {
                let lower = address.to_lowercase();
                let scheme = ["https://", "http://"].iter().any(|scheme| lower.starts_with(scheme));
                assert!(scheme && safe_address(&address).is_some(), "{text}: {address}");
                assert!(!lower.contains("evil") || words == address, "{text}: {address} as {words}");
                let clean = !address.contains(['<', '>', '"', '\'', ' ', '\n', '\t', '\u{202e}']);
                assert!(clean, "{text}: {address}");
            }
        }
    }
}

#[test]
fn markup_of_browsers_is_text() {
    assert_eq!(line("<b>x</b> &amp;"), [text("<b>x</b> &amp;")]);
    assert_eq!(plain(&blocks("<script>alert(1)</script>")), "<script>alert(1)</script>");
}

#[test]
fn no_letter_is_lost() {
    for said in ["a *b* c_d_ `e` [f](g) ü😀 **h", "[[[((", "@ @a @ab", "https://", "a\\", "\\x", "> ", "~~~~"]
    {
        let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
        assert_eq!(letters(&plain(&blocks(said))), letters(said), "{said}");
    }
}

/// Twelve kilobytes of opening signs took a parser that looked ahead from each of them seconds.
#[test]
fn hostile_texts_cost_no_more_than_others() {
    let signs = [
        "*", "_", "**", "~~", "[", "](", "`", "@", "> ", "- ", "http://", "*a", "_a ", "[x](", "**a*", "``a`",
    ];
    for sign in signs {
        let text = sign.repeat(12 * 1024 / sign.len());
        let begun = std::time::Instant::now();
        let tree = blocks(&text);
        assert!(begun.elapsed().as_millis() < 500, "{sign}: {:?}", begun.elapsed());
        drop(tree);
    }
}

#[test]
fn a_group_is_named_by_its_number_and_reads_as_words() {
    let named = |id, words: &str| Span::Room { id, words: words.to_owned() };
    assert_eq!(line("see [#Night crew](#/c/5)."), [text("see "), named(5, "#Night crew"), text(".")]);
    assert_eq!(room_link(5, "Night [crew] @all"), "[#Night crew all](#/c/5)");
    assert_eq!(line(&room_link(5, "a`b\\")), [named(5, "#ab")]);
    for nothing in ["[a](#/c/)", "[a](#/c/05)", "[a](#/c/5/m/1)", "[a](#/admin)", "[ ](#/c/5)", "[a](#/c/-1)"]
    {
        assert_eq!(line(nothing), [text(nothing)], "{nothing}");
    }
    assert_eq!(plain(&blocks("**a** [#b](#/c/5)")), "a #b");
}

#[test]
fn lines_name_groups_in_words() {
    for (said, words) in [
        ("to [#Crew](#/c/5) and [#B](#/c/6)!", "to #Crew and #B!"),
        ("[a](#/c/x) [#C](#/c/7)", "[a](#/c/x) #C"),
        ("](#/c/5)", "](#/c/5)"),
        ("[x](https://a.b)", "[x](https://a.b)"),
        ("", ""),
    ] {
        assert_eq!(rooms_as_words(said), words, "{said}");
    }
}
