//! The style sheets as a system: what they draw from, and whether one can read what they draw.
//!
//! Everything comes from `10-tokens.css`, nothing names left or right, and every pair of `pairs.txt` has its contrast in both
//! themes, by the formula of WCAG 2.2.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

const TOKENS: &str = "10-tokens.css";

/// One `property: value` and the sheet it stands in.
#[derive(Debug)]
struct Declaration {
    sheet: String,
    selector: String,
    property: String,
    value: String,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../web/page/styles")
}

/// Name and text of every sheet, without its comments.
fn sheets() -> Vec<(String, String)> {
    let mut sheets: Vec<(String, String)> = folder()
        .read_dir()
        .expect("the folder of style sheets")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "css"))
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, without_comments(&std::fs::read_to_string(&path).expect("a style sheet")))
        })
        .collect();
    sheets.sort();
    assert!(sheets.len() > 5, "the style sheets are elsewhere");
    sheets
}

fn without_comments(css: &str) -> String {
    let mut parts = css.split("/*");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str(part.split_once("*/").map_or("", |(_, rest)| rest));
    }
    kept
}

fn declarations_of(sheet: &str, css: &str) -> Vec<Declaration> {
    let (mut found, mut selectors, mut held) = (Vec::new(), Vec::new(), String::new());
    for letter in css.chars() {
        match letter {
            '{' => selectors.push(std::mem::take(&mut held).trim().to_owned()),
            ';' | '}' => {
                if let Some((property, value)) = held.trim().split_once(':') {
                    found.push(Declaration {
                        sheet: sheet.to_owned(),
                        selector: selectors.last().cloned().unwrap_or_default(),
                        property: property.trim().to_owned(),
                        value: value.trim().to_owned(),
                    });
                }
                held.clear();
                if letter == '}' {
                    selectors.pop();
                }
            }
            _ => held.push(letter),
        }
    }
    assert!(selectors.is_empty() && held.trim().is_empty(), "{sheet} has an open rule");
    found
}

/// All declarations but those of the tokens.
fn declarations() -> Vec<Declaration> {
    let others = sheets().into_iter().filter(|(name, _)| name != TOKENS);
    others.flat_map(|(name, css)| declarations_of(&name, &css)).collect()
}

fn none_of(what: &str, of: impl Iterator<Item = Declaration>) {
    let found: Vec<String> =
        of.map(|it| format!("{}: {} {{ {}: {} }}", it.sheet, it.selector, it.property, it.value)).collect();
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// The parts of a value that white space separates, brackets kept together.
fn parts(value: &str) -> Vec<String> {
    let (mut parts, mut held, mut depth) = (Vec::new(), String::new(), 0_u32);
    for letter in value.chars().chain([' ']) {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if letter.is_whitespace() && depth == 0 {
            if !held.is_empty() {
                parts.push(std::mem::take(&mut held));
            }
        } else {
            held.push(letter);
        }
    }
    parts
}

fn names_a_colour(value: &str) -> bool {
    let hex =
        value.split('#').skip(1).any(|rest| rest.starts_with(|letter: char| letter.is_ascii_hexdigit()));
    let function = ["rgb(", "rgba(", "hsl(", "hsla(", "hwb(", "lab(", "lch(", "color(", "light-dark("];
    let word = |part: String| {
        matches!(part.as_str(), "white" | "black" | "red" | "green" | "blue" | "gray" | "grey")
    };
    hex || function.iter().any(|name| value.contains(name)) || parts(value).into_iter().any(word)
}

#[test]
fn only_the_tokens_name_colours() {
    none_of(
        "a colour of its own: give it a name in 10-tokens.css, with a value for each theme",
        declarations().into_iter().filter(|it| names_a_colour(&it.value)),
    );
    assert!(names_a_colour("1px solid #ABC") && names_a_colour("white") && !names_a_colour("var(--ink)"));
}

#[test]
fn text_corners_layers_and_motion_come_from_tokens() {
    let token = |value: &str, prefix: &str| value.starts_with(prefix) && value.ends_with(')');
    none_of(
        "not from a token of 10-tokens.css",
        declarations().into_iter().filter(|it| match it.property.as_str() {
            "font-size" => {
                !token(&it.value, "var(--text-") && !matches!(it.value.as_str(), "inherit" | "100%")
            }
            "z-index" => !token(&it.value, "var(--z-"),
            "transition" => !it.value.contains("var(--quick)") && !it.value.contains("var(--calm)"),
            "box-shadow" => it.value.contains("px") && !it.value.contains(" 0 0 "),
            property if property.starts_with("border") && property.ends_with("radius") => !parts(&it.value)
                .iter()
                .all(|part| token(part, "var(--r-") || part == "0" || part == "inherit"),
            _ => false,
        }),
    );
}

/// A page that runs from right to left is the same page: what stands at a side stands at the start or the end.
#[test]
fn nothing_names_left_or_right() {
    let names_side = |it: &Declaration| {
        let property = it.property.as_str();
        let side =
            ["left", "right"].iter().any(|side| property == *side || property.ends_with(&format!("-{side}")));
        let aligned =
            matches!(property, "text-align" | "float") && matches!(it.value.as_str(), "left" | "right");
        let four = parts(&it.value);
        let uneven =
            matches!(property, "margin" | "padding" | "inset") && four.len() == 4 && four[1] != four[3];
        (side && !property.starts_with("scroll")) || aligned || uneven
    };
    none_of("names a side: use start and end", declarations().into_iter().filter(names_side));
}

#[test]
fn every_name_that_is_used_is_given_and_every_token_is_used() {
    let sheets = sheets();
    let mut used = BTreeSet::new();
    let mut given = BTreeSet::new();
    for (name, css) in &sheets {
        used.extend(
            css.split("var(--").skip(1).filter_map(|rest| rest.split([')', ',']).next()).map(str::to_owned),
        );
        given.extend(
            declarations_of(name, css)
                .iter()
                .filter_map(|it| it.property.strip_prefix("--"))
                .map(str::to_owned),
        );
    }
    let lost: Vec<_> = used.difference(&given).collect();
    assert!(lost.is_empty(), "used and not given: {lost:?}");
    let idle: Vec<_> = given.difference(&used).collect();
    assert!(idle.is_empty(), "given and not used: {idle:?}");
}

// ---- contrast ----

/// Red, green, blue and opacity, 0 to 1.
type Colour = [f64; 4];

/// Light first.
const THEMES: [&str; 2] = ["light", "dark"];

/// The colours of one theme by the names of their tokens.
fn colours(theme: usize) -> BTreeMap<String, Colour> {
    let (_, css) = sheets().into_iter().find(|(name, _)| name == TOKENS).expect("the tokens");
    declarations_of(TOKENS, &css)
        .into_iter()
        .filter(|it| it.selector == ":root")
        .filter_map(|it| {
            let colour = colour(&of_theme(&it.value, theme))?;
            Some((it.property.trim_start_matches('-').to_owned(), colour))
        })
        .collect()
}

/// `light-dark(a, b)` is `a` or `b`; anything else is itself.
fn of_theme(value: &str, theme: usize) -> String {
    let Some(both) = value.strip_prefix("light-dark(").and_then(|rest| rest.strip_suffix(')')) else {
        return value.to_owned();
    };
    both.split(", ").nth(theme).expect("a value for each theme").to_owned()
}

fn colour(value: &str) -> Option<Colour> {
    if let Some(hex) = value.strip_prefix('#') {
        assert_eq!(hex.len(), 6, "colours have six digits: {value}");
        let part = |at: usize| {
            f64::from(u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits")) / 255.0
        };
        return Some([part(0), part(2), part(4), 1.0]);
    }
    let inner = value.strip_prefix("rgb(")?.strip_suffix(')')?;
    let (rgb, opacity) = inner.split_once(" / ").expect("colours of this form have an opacity");
    let rgb: Vec<f64> = rgb.split(' ').map(|part| part.parse::<f64>().expect("a number") / 255.0).collect();
    let opacity: f64 = opacity.trim_end_matches('%').parse().expect("a percentage");
    Some([rgb[0], rgb[1], rgb[2], opacity / 100.0])
}

fn over(above: Colour, below: Colour) -> Colour {
    let mix = |at: usize| above[at] * above[3] + below[at] * (1.0 - above[3]);
    [mix(0), mix(1), mix(2), 1.0]
}

fn hsl(hue: f64, saturation: f64, lightness: f64) -> Colour {
    let strength = saturation * lightness.min(1.0 - lightness);
    let part = |n: f64| {
        let k = (n + hue / 30.0) % 12.0;
        lightness - strength * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0)
    };
    [part(0.0), part(8.0), part(4.0), 1.0]
}

fn luminance(colour: Colour) -> f64 {
    let linear = |part: f64| if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) };
    0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2])
}

fn contrast(one: Colour, other: Colour) -> f64 {
    let (a, b) = (luminance(one), luminance(other));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn every_pair_has_its_contrast_in_both_themes() {
    let pairs = std::fs::read_to_string(folder().join("pairs.txt")).expect("the pairs");
    let mut poor = Vec::new();
    let mut checked = 0;
    for (theme, called) in THEMES.iter().enumerate() {
        let colours = colours(theme);
        let of = |name: &str| *colours.get(name).unwrap_or_else(|| panic!("there is no colour --{name}"));
        for line in pairs.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (what, grounds, least) = (words[0], &words[1..words.len() - 1], words[words.len() - 1]);
            let least: f64 = least.parse().expect("the contrast it needs");
            for ground in grounds {
                let (base, hover) =
                    ground.split_once('+').map_or((*ground, None), |(base, up)| (base, Some(up)));
                let below = hover.map_or_else(|| of(base), |up| over(of(up), of(base)));
                let has = contrast(of(what), below);
                checked += 1;
                if has < least {
                    poor.push(format!("{called}: {what} on {ground} has {has:.2}, needs {least}"));
                }
            }
        }
    }
    assert!(poor.is_empty(), "{}", poor.join("\n"));
    assert!(checked > 100, "only {checked} pairs were found");
}

#[test]
fn initials_can_be_read_on_every_colour_of_a_face() {
    let (_, css) = sheets().into_iter().find(|(name, _)| name == TOKENS).expect("the tokens");
    let declarations = declarations_of(TOKENS, &css);
    let hues: BTreeSet<u32> = declarations
        .iter()
        .filter(|it| it.property == "--hue")
        .map(|it| it.value.parse().expect("a hue in degrees"))
        .collect();
    assert_eq!(hues.len(), 8, "{hues:?}");
    let read = |name: &str, theme: usize| -> (f64, f64) {
        let both = &declarations.iter().find(|it| it.property == name).expect("the face's colours").value;
        let one = of_theme(both, theme);
        let shares: Vec<f64> = one
            .split('%')
            .filter_map(|part| part.rsplit([' ', ')']).next()?.parse::<f64>().ok())
            .map(|percent| percent / 100.0)
            .collect();
        (shares[0], shares[1])
    };
    for (theme, called) in THEMES.iter().enumerate() {
        let (ground, ink) = (read("--face-ground", theme), read("--face-ink", theme));
        for hue in &hues {
            let hue = f64::from(*hue);
            let has = contrast(hsl(hue, ground.0, ground.1), hsl(hue, ink.0, ink.1));
            assert!(has >= 4.5, "{called}: initials on the hue {hue} have {has:.2}");
        }
    }
}

#[test]
fn contrast_is_what_the_guideline_says() {
    let of = |value| colour(value).expect("a colour");
    assert!((contrast(of("#000000"), of("#ffffff")) - 21.0).abs() < 1e-9);
    // The well-known grey that just passes on white.
    assert!((contrast(of("#767676"), of("#ffffff")) - 4.54).abs() < 0.01);
    assert!((contrast(over(of("rgb(0 0 0 / 50%)"), of("#ffffff")), of("#808080")) - 1.0).abs() < 0.02);
    let teal = hsl(174.0, 0.55, 0.22);
    assert!((teal[0] - 0.099).abs() < 0.001 && (teal[1] - 0.341).abs() < 0.001, "{teal:?}");
}
