//! What operators choose about suggestions.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Default of [`Settings::timeout_ms`]: later the moment for a short reply is over.
const TIMEOUT_MS: u64 = 4_000;
/// Where a key is looked for when no file is named.
pub(super) const KEY_VARIABLE: &str = "QUORATE_SUGGESTIONS_KEY";

/// Who makes suggestions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Nobody.
    Off,
    /// This process itself: see `docs/suggestions.md` for what it does and how well.
    #[default]
    Embedded,
    /// Google's Gemini interface (`models/*:generateContent`).
    Gemini,
    /// Any server that speaks OpenAI's `chat/completions`.
    Openai,
}

/// The `[suggestions]` of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Who makes them.
    pub provider: Provider,
    /// Address of the provider elsewhere, without the part that its interface prescribes, such as `http://127.0.0.1:11434`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// Its model.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// File that holds its key; without it the environment's `QUORATE_SUGGESTIONS_KEY`, if that is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Time for one answer, ms.
    pub timeout_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            provider: Provider::default(),
            url: String::new(),
            model: String::new(),
            key_file: None,
            timeout_ms: TIMEOUT_MS,
        }
    }
}

impl Settings {
    /// Whether a provider elsewhere was chosen.
    pub(super) fn is_external(&self) -> bool {
        matches!(self.provider, Provider::Gemini | Provider::Openai)
    }

    /// Checks what was chosen.
    ///
    /// # Errors
    /// One line that says what to do.
    pub fn check(&self) -> Result<(), String> {
        if !(100..=30_000).contains(&self.timeout_ms) {
            return Err(format!("suggestions.timeout_ms is 100 to 30000, not {}", self.timeout_ms));
        }
        if !self.is_external() {
            return Ok(());
        }
        let scheme_ok = self.url.starts_with("https://") || self.url.starts_with("http://");
        if !scheme_ok || self.url.ends_with('/') || self.url.contains(['?', '#', '@', ' ']) {
            return Err(format!(
                "suggestions.url {:?} must be like https://host or http://127.0.0.1:11434, without a slash at its end",
                self.url
            ));
        }
        let model_ok = !self.model.is_empty()
            && self
                .model
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':' | b'/'));
        if !model_ok {
            return Err(
                "suggestions.model names the provider's model: letters, digits, and . _ - : /".to_owned()
            );
        }
        Ok(())
    }

    /// The provider's key; `None` where none is configured, as servers on one's own machine need none.
    ///
    /// # Errors
    /// One line that says what to do.
    pub(super) fn key(&self) -> Result<Option<String>, String> {
        let key = match &self.key_file {
            Some(path) => std::fs::read_to_string(path).map_err(|error| {
                format!("cannot read suggestions.key_file {}: {error}; name a readable file", path.display())
            })?,
            None => std::env::var(KEY_VARIABLE).unwrap_or_default(),
        };
        let key = key.trim();
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "the key of the provider of suggestions holds more than visible ASCII: check the file"
                    .to_owned(),
            );
        }
        Ok((!key.is_empty()).then(|| key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_choices_earn_a_line_that_says_what_to_do() {
        let external = |url: &str, model: &str| Settings {
            provider: Provider::Openai,
            url: url.to_owned(),
            model: model.to_owned(),
            ..Settings::default()
        };
        assert_eq!(Settings::default().check(), Ok(()));
        assert_eq!(external("http://127.0.0.1:1", "m").check(), Ok(()));
        for wrong in [
            external("", "m"),
            external("ftp://x", "m"),
            external("http://x/", "m"),
            external("http://u@x", "m"),
            external("http://x", ""),
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
        assert!(Settings { timeout_ms: 0, ..Settings::default() }.check().is_err());
        assert!(Settings { key_file: Some("/nowhere/key".into()), ..Settings::default() }.key().is_err());
    }
}
