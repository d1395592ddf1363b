//! A button that keeps an export on this device.

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::context::{App, unless_gone};
use crate::driver::files;
use crate::words::t;

/// Fetches what stands at `path` and keeps it as `name`; in `error` why not. `label` is what the button is called where its
/// words alone do not say of what.
#[component]
pub(crate) fn Keep(
    words: &'static str,
    #[prop(into)] label: String,
    path: StoredValue<String>,
    #[prop(into)] name: String,
    error: RwSignal<String>,
    #[prop(default = "link-button")] class: &'static str,
    #[prop(default = "export")] testid: &'static str,
) -> impl IntoView {
    let app = App::of_context();
    let busy = RwSignal::new(false);
    let name = StoredValue::new(name);
    let keep = move |_| {
        if busy.get_untracked() {
            return;
        }
        busy.set(true);
        error.set(String::new());
        let (path, name) = (path.get_value(), name.get_value());
        spawn_local(async move {
            let kept = files::keep(app, &path, &name).await;
            unless_gone(busy.try_set(false));
            // The part of the page that asked may be gone.
            if let Err(Some(why)) = kept.map_err(|why| error.try_set(why)) {
                app.warn(&why);
            }
        });
    };
    view! {
        <button type="button" class=class aria-label=label data-testid=testid aria-busy=move || busy.get().to_string() aria-disabled=move || busy.get().to_string() on:click=keep>
            {move || if busy.get() { t("Fetching…") } else { words }}
        </button>
    }
}
