use super::*;

fn asked(typed: &str) -> SearchQuery {
    parse(typed, 0).unwrap_or_else(|error| panic!("{typed}: {error}"))
}

fn refused(typed: &str) -> String {
    parse(typed, 0).expect_err(typed).to_string()
}

fn words(texts: &[&str]) -> Vec<Words> {
    texts.iter().map(|text| Words { text: (*text).to_owned(), is_prefix: false }).collect()
}

#[test]
fn words_phrases_and_filters_are_told_apart() {
    let query = asked(r#"deploy "rolling restart" From:@Ana in:12 in:"Release team" in:@bob has:LINK"#);
    assert_eq!(query.words, words(&["deploy", "rolling restart"]));
    assert_eq!(query.from, ["ana"]);
    let title = Place::Title("Release team".to_owned());
    assert_eq!(query.places, [Place::Number(12), title, Place::With("bob".to_owned())]);
    assert_eq!(query.has, [Has::Link]);
    assert_eq!(asked(r#"in:"12""#).places, [Place::Title("12".to_owned())], "a quoted number is a title");
}

#[test]
fn what_only_looks_like_a_filter_is_words() {
    assert_eq!(
        asked("https://example.org 12:30 subject:x").words,
        words(&["https://example.org", "12:30", "subject:x"])
    );
    assert_eq!(asked("before the storm").words, words(&["before", "the", "storm"]));
    assert_eq!(asked("a - b & c").words, words(&["a", "b", "c"]), "marks alone are left out");
    assert_eq!(
        asked("東京 \u{201c}rolling restart\u{201d}x").words,
        words(&["東京", "rolling restart", "x"])
    );
}

#[test]
fn a_star_makes_a_beginning() {
    let query = asked("resta* a* * c++*");
    let prefixes: Vec<_> = query.words.iter().map(|each| (each.text.as_str(), each.is_prefix)).collect();
    assert_eq!(prefixes, [("resta", true), ("a*", false), ("c++", false)]);
}

#[test]
fn days_are_whole_days_of_the_readers_zone() {
    let day = 1_769_817_600_000; // 2026-01-31T00:00:00Z
    assert_eq!(asked("before:2026-01-31").before_ms, Some(day));
    assert_eq!(asked("after:2026-01-31").after_ms, Some(day + 86_400_000), "the day itself is not after it");
    let east = parse("before:2026-01-31", 120).expect("a day");
    assert_eq!(east.before_ms, Some(day - 7_200_000), "midnight is earlier in the east");
    let narrow = asked("before:2026-03-01 before:2026-01-31 after:2020-01-01 after:2026-01-01");
    assert_eq!((narrow.before_ms, day_of(narrow.after_ms.unwrap()).as_str()), (Some(day), "2026-01-02"));
    assert_eq!(asked("before:1970-01-01").before_ms, Some(0));
    assert_eq!(asked("before:2024-02-29").before_ms, Some(1_709_164_800_000));
    assert_eq!(parse("x", 24 * 60), Err(QueryError::Offset));
}

#[test]
fn each_refusal_says_what_to_write() {
    for (typed, advice) in [
        ("", "write a word"),
        (" - ", "write a word"),
        ("\"open", "close the phrase"),
        ("in:\"open", "close the phrase"),
        ("from:", "from:ana"),
        ("from:@", "from:ana"),
        ("from:ä", "from:ana"),
        ("in:", "in:12"),
        ("in:@", "in:@ana"),
        ("before:", "before:2026-01-31"),
        ("before:yesterday", "before:2026-01-31"),
        ("after:2026-02-30", "after:2026-01-31"),
        ("after:2026-1-1-1", "after:2026-01-31"),
        ("after:1969-12-31", "after:2026-01-31"),
        ("has:", "has:link"),
        ("has:cake", "has:link"),
        (&"x".repeat(SEARCH_BYTES_MAX + 1), "at most"),
        (&"x ".repeat(SEARCH_ITEMS_MAX + 1), "at most"),
    ] {
        assert!(refused(typed).contains(advice), "{typed:?}: {}", refused(typed));
    }
}

/// Small steps of a linear congruence: the same strings in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

#[test]
fn whatever_is_typed_is_read_or_refused_and_reads_the_same_again() {
    const PIECES: [&str; 32] = [
        "\"",
        "“",
        "”",
        " ",
        " ",
        "\t",
        "*",
        ":",
        "from:",
        "in:",
        "before:",
        "after:",
        "has:",
        "ana",
        "@",
        "link",
        "file",
        "12",
        "2026-01-31",
        "2026-02-30",
        "-",
        "é",
        "東京",
        "สวัสดี",
        "🙂",
        "a",
        "FROM:",
        "\u{301}",
        "\0",
        "x*",
        "in:\"",
        "_",
    ];
    let mut chance = Chance(7);
    let mut read = 0;
    for _ in 0..20_000 {
        let count = 1 + chance.below(12);
        let typed: String = (0..count).map(|_| PIECES[chance.below(PIECES.len())]).collect();
        let Ok(query) = parse(&typed, 0) else { continue };
        read += 1;
        assert!(query.words.iter().all(|each| each.text.chars().any(char::is_alphanumeric)), "{typed:?}");
        let again = parse(&query.to_string(), 0);
        assert_eq!(again.as_ref(), Ok(&query), "{typed:?} as {query}");
    }
    assert!(read > 2_000, "only {read} could be read");
}

#[test]
fn a_day_is_written_as_it_is_read() {
    for day in (0..1_000_000_i64).step_by(97) {
        let written = day_of((day * DAY_MS) as u64);
        if written.len() == 10 {
            assert_eq!(days_since_epoch(&written), Some(day), "{written}");
        }
    }
}
