//! Light, dark, or as the system has it. `theme.js` applies the stored choice before the first paint.

use leptos::prelude::*;

use crate::driver::store;

const KEY: &str = "quorate.theme";

/// What was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theme {
    System,
    Light,
    Dark,
}

impl Theme {
    pub(crate) fn stored() -> Self {
        match store::get(KEY).as_deref() {
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

    pub(crate) fn apply(self) {
        let Some(root) = document().document_element() else { return };
        // Neither call fails on an attribute with this name.
        match self {
            Theme::System => {
                store::remove(KEY);
                let _ = root.remove_attribute("data-theme");
            }
            Theme::Light | Theme::Dark => {
                store::set(KEY, self.word());
                let _ = root.set_attribute("data-theme", self.word());
            }
        }
    }
}
