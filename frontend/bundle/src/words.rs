//! The catalogue of another language: its asset, and what the static shell says of it.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value};

/// Begins a text of a document that is said in each language.
const SAY: &str = "{{say ";

/// What a language says: English → its text, or its texts for one and for other counts.
#[derive(Debug)]
pub(crate) struct Words {
    language: &'static str,
    texts: Map<String, Value>,
}

impl Words {
    /// Reads `<language>.json`.
    pub(crate) fn read(folder: &Path, language: &'static str) -> anyhow::Result<Self> {
        let path = folder.join(format!("{language}.json"));
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let texts = serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        Ok(Self { language, texts })
    }

    /// As the page loads it, without what only people need.
    pub(crate) fn asset(&self) -> anyhow::Result<Vec<u8>> {
        serde_json::to_vec(&self.texts).context("writing the words")
    }

    /// Puts each `{{say …}}` into English and this language, side by side; the style sheet shows one of them.
    pub(crate) fn say(&self, document: &str) -> anyhow::Result<String> {
        let mut said = String::with_capacity(document.len());
        let mut rest = document;
        while let Some((before, after)) = rest.split_once(SAY) {
            let Some((english, after)) = after.split_once("}}") else {
                bail!("a text of the shell has no end")
            };
            let text = self.texts.get(english).and_then(Value::as_str);
            let text = text.with_context(|| format!("{} has no words for {english:?}", self.language))?;
            let plain = |text: &str| !text.contains(['<', '>', '&']);
            ensure!(plain(english) && plain(text), "{english:?} is no plain text");
            said.push_str(before);
            said.push_str(&format!(
                "<span lang=\"en\">{english}</span><span lang=\"{}\">{text}</span>",
                self.language
            ));
            rest = after;
        }
        said.push_str(rest);
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_says_it_in_each_language() {
        let texts = [("Hello".to_owned(), Value::from("Hallo"))].into_iter().collect();
        let words = Words { language: "de", texts };
        let said = words.say("<p>{{say Hello}}</p>{{style}}").expect("said");
        assert_eq!(said, "<p><span lang=\"en\">Hello</span><span lang=\"de\">Hallo</span></p>{{style}}");
        assert!(words.say("{{say Bye}}").is_err() && words.say("{{say Hello").is_err());
    }
}
