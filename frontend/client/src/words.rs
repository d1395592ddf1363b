//! What people read, in their language. English stands in the code and is the key; a catalogue has what another language says.
//!
//! Owns: the lookup, and how values and counts get into a text. Must not know: which languages there are, and where a catalogue comes
//! from. A client that takes none speaks English.

use std::fmt::{Display, Write as _};
use std::sync::OnceLock;

use serde_json::Value;

/// A text in English, and what the catalogue has for it: for one, and for all other counts.
struct Entry {
    english: String,
    forms: [String; 2],
}

/// In order of their English.
static CATALOGUE: OnceLock<Vec<Entry>> = OnceLock::new();

/// Takes a catalogue over, as JSON in the order of its keys: English → text, or its texts for one and for other counts. The first that can be read stays for
/// the life of the program.
pub fn take(catalogue: &str) {
    let Ok(Value::Object(found)) = serde_json::from_str(catalogue) else { return };
    // A second one changes nothing.
    let _ = CATALOGUE.set(entries(found));
}

fn entries(found: serde_json::Map<String, Value>) -> Vec<Entry> {
    let entries = found.into_iter().filter_map(|(english, value)| {
        let forms = match value {
            Value::String(text) => [text.clone(), text],
            Value::Array(forms) => {
                let mut forms = forms.iter().filter_map(Value::as_str).map(ToOwned::to_owned);
                [forms.next()?, forms.next()?]
            }
            _ => return None,
        };
        Some(Entry { english, forms })
    });
    entries.collect()
}

fn find(english: &str) -> Option<&'static [String; 2]> {
    let entries = CATALOGUE.get()?;
    let at = entries.binary_search_by(|entry| entry.english.as_str().cmp(english)).ok()?;
    entries.get(at).map(|entry| &entry.forms)
}

/// What the catalogue has for a text that was made elsewhere.
pub fn known(english: &str) -> Option<&'static str> {
    find(english).map(|[text, _]| text.as_str())
}

/// A text in the reader's language.
pub fn t(english: &'static str) -> &'static str {
    known(english).unwrap_or(english)
}

/// The same with values in the places of `{}`, in their order, or of `{0}`, `{1}`, where another language has another order.
pub fn tf(english: &'static str, values: &[&dyn Display]) -> String {
    fill(t(english), values)
}

/// So many of something, by the rule that English and German have: one, or any other count.
pub fn tn(count: u64, one: &'static str, many: &'static str) -> String {
    let [one, many] = find(one).map_or([one, many], |[one, many]| [one.as_str(), many]);
    fill(if count == 1 { one } else { many }, &[&crate::view::cluster::grouped(count)])
}

/// Says that a text has a key here and is looked up elsewhere: in constants, and where its English is needed as well.
pub const fn keyed(english: &'static str) -> &'static str {
    english
}

fn fill(text: &str, values: &[&dyn Display]) -> String {
    let mut filled = String::with_capacity(text.len() + 16);
    let (mut rest, mut next) = (text, 0);
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((place, after)) = after.split_once('}') else { return filled };
        let at = place.parse().unwrap_or(next);
        next = at + 1;
        if let Some(value) = values.get(at) {
            // Writing into a text fails in no way.
            let _ = write!(filled, "{value}");
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_a_language_wants_them() {
        assert_eq!(fill("{} of {}", &[&1, &"two"]), "1 of two");
        assert_eq!(fill("{1}: {0}, {0}", &[&1, &"two"]), "two: 1, 1");
        assert_eq!(fill("no {", &[&1]), "no ");
        assert_eq!(fill("{} and {}", &[&1]), "1 and ");
    }

    #[test]
    fn without_a_catalogue_everything_is_english() {
        assert_eq!((t("Send"), tf("{} sent", &[&3])), ("Send", "3 sent".to_owned()));
        assert_eq!(
            [0, 1, 1_204].map(|count| tn(count, "{} day", "{} days")),
            ["0 days", "1 day", "1,204 days"]
        );
    }

    #[test]
    fn what_is_no_text_is_left_out() {
        let found = serde_json::json!({ "a": ["one", "many"], "b": "B", "c": 3, "d": ["one"] });
        let Value::Object(found) = found else { unreachable!("an object was written") };
        let read: Vec<_> = entries(found).into_iter().map(|entry| (entry.english, entry.forms)).collect();
        let of =
            |english: &str, one: &str, many: &str| (english.to_owned(), [one.to_owned(), many.to_owned()]);
        assert_eq!(read, [of("a", "one", "many"), of("b", "B", "B")]);
    }
}
