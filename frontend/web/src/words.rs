//! The page's language: where it is stored, and where its words come from. What is done with them is in [`quorate_client::words`].
//!
//! `theme.js` decides the language, `boot.js` loads `words/<language>.json` before the program starts. Without it everything is English.
//! A language is taken for the life of the page: texts are looked up where they are drawn, and follow no signal.
//!
//! A test of the bundler holds that every key is in the catalogue, that placeholders match, and that no text goes by without a key.

use js_sys::Reflect;
use leptos::prelude::{Render, RenderHtml, document};
use leptos::tachys::html::attribute::any_attribute::AnyAttribute;
use leptos::tachys::hydration::Cursor;
use leptos::tachys::view::{Position, PositionState};
use quorate_client::proto::text::TextError;
use quorate_client::view::sentence;
use quorate_client::words::known;
pub(crate) use quorate_client::words::{keyed, t, tf, tn};

use crate::driver::store;

const LANGUAGE_KEY: &str = "quorate.language";

/// The languages, as their codes and their own names.
pub(crate) const LANGUAGES: [(&str, &str); 2] = [("en", "English"), ("de", "Deutsch")];

/// What was chosen on this device; empty: as the browser has it.
pub(crate) fn chosen() -> String {
    store::get(LANGUAGE_KEY).unwrap_or_default()
}

/// Remembers a language, and loads the page in it.
pub(crate) fn choose(language: &str) {
    if language.is_empty() {
        store::remove(LANGUAGE_KEY);
    } else {
        store::set(LANGUAGE_KEY, language);
    }
    // Fails in no document that is shown.
    let _ = document().location().map(|location| location.reload());
}

/// Takes over what `boot.js` has loaded, if anything.
pub(crate) fn load() {
    let text = Reflect::get(&js_sys::global(), &"quorateWords".into());
    if let Some(text) = text.ok().and_then(|text| text.as_string()) {
        quorate_client::words::take(&text);
    }
}

/// Why a text that somebody typed is refused.
pub(crate) fn refused(why: &TextError) -> String {
    let english = sentence(&why.to_string());
    known(&english).map_or(english, ToOwned::to_owned)
}

/// A text that stands in the document in the reader's language. Looked up where it is drawn: at the hundreds of places that have one it is
/// no more code than the English alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word(pub(crate) &'static str);

impl Render for Word {
    type State = <&'static str as Render>::State;

    fn build(self) -> Self::State {
        t(self.0).build()
    }

    fn rebuild(self, state: &mut Self::State) {
        t(self.0).rebuild(state);
    }
}

leptos::tachys::no_attrs!(Word);

impl RenderHtml for Word {
    type AsyncOutput = Self;
    type Owned = Self;

    const MIN_LENGTH: usize = 0;

    fn dry_resolve(&mut self) {}

    async fn resolve(self) -> Self {
        self
    }

    fn to_html_with_buf(
        self,
        buf: &mut String,
        position: &mut Position,
        escape: bool,
        mark_branches: bool,
        extra_attrs: Vec<AnyAttribute>,
    ) {
        t(self.0).to_html_with_buf(buf, position, escape, mark_branches, extra_attrs);
    }

    fn hydrate<const FROM_SERVER: bool>(self, cursor: &Cursor, position: &PositionState) -> Self::State {
        t(self.0).hydrate::<FROM_SERVER>(cursor, position)
    }

    fn into_owned(self) -> Self {
        self
    }
}
