//! How the page looks on this device: light, dark, or as the system has it; cosy or compact. `theme.js` applies what is stored before
//! the first paint.

use leptos::prelude::*;

use crate::driver::store;
use crate::words::t;

const THEME_KEY: &str = "quorate.theme";
const DENSITY_KEY: &str = "quorate.density";
const COMPACT: &str = "compact";

/// What was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theme {
    System,
    Light,
    Dark,
}

impl Theme {
    pub(crate) fn stored() -> Self {
        match store::get(THEME_KEY).as_deref() {
            Some("light") => Theme::Light,
            Some("dark") => Theme::Dark,
            _ => Theme::System,
        }
    }

    pub(crate) fn next(self) -> Self {
        match self {
            Theme::System => Theme::Light,
            Theme::Light => Theme::Dark,
            Theme::Dark => Theme::System,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Theme::System => "system",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    /// In the reader's language.
    pub(crate) fn said(self) -> &'static str {
        match self {
            Theme::System => t("system"),
            Theme::Light => t("light"),
            Theme::Dark => t("dark"),
        }
    }

    pub(crate) fn apply(self) {
        wear(THEME_KEY, "data-theme", (self != Theme::System).then(|| self.word()));
    }
}

/// Whether the page puts more on the screen, with less space between.
pub(crate) fn is_compact() -> bool {
    store::get(DENSITY_KEY).as_deref() == Some(COMPACT)
}

/// Compact, or cosy.
pub(crate) fn set_compact(compact: bool) {
    wear(DENSITY_KEY, "data-density", compact.then_some(COMPACT));
}

/// Puts a choice on the document and remembers it; `None` is how it is without one.
fn wear(key: &str, attribute: &str, word: Option<&str>) {
    let Some(root) = document().document_element() else { return };
    // Neither call fails on an attribute with such a name.
    let _ = if let Some(word) = word {
        store::set(key, word);
        root.set_attribute(attribute, word)
    } else {
        store::remove(key);
        root.remove_attribute(attribute)
    };
}
