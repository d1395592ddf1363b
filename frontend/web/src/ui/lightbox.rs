//! One image as a whole, over everything else. Esc closes it, and the focus goes back to where it was.

use leptos::html;
use leptos::prelude::*;
use quorate_client::proto::frame::Attachment;
use quorate_client::view::{content_path, size_words};
use wasm_bindgen::JsCast;
use web_sys::{Element, MouseEvent};

use super::files::{Download, fetch_image};
use super::icons::{Glyph, Icon};
use crate::context::{App, ShownBy};
use crate::driver::files;
use crate::follow::follow;
use crate::words::{Word, t};

/// See the module. Its body is made anew for each image.
#[component]
pub(crate) fn Lightbox() -> impl IntoView {
    let app = App::of_context();
    let dialog = NodeRef::<html::Dialog>::new();
    follow(move || {
        let Some(dialog) = dialog.get() else { return };
        let wanted = app.lightbox.with(Option::is_some);
        if wanted && !dialog.open() {
            // Fails only when it is open already.
            let _ = dialog.show_modal();
        } else if !wanted && dialog.open() {
            dialog.close();
        }
    });
    // A click beside the image closes.
    let clicked = move |event: MouseEvent| {
        let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
        if target.is_some_and(|target| matches!(target.class_name().as_str(), "lightbox" | "lightbox-stage"))
        {
            app.lightbox.set(None);
        }
    };
    let label = move || {
        app.lightbox.with(|shown| shown.as_ref().map_or_else(String::new, |(file, _)| file.name.clone()))
    };
    view! {
        <dialog
            node_ref=dialog
            class="lightbox"
            aria-label=label
            data-testid="lightbox"
            on:close=move |_| app.lightbox.set(None)
            on:click=clicked
        >
            {move || app.lightbox.get().map(|(file, shown_by)| view! { <Whole file shown_by/> })}
        </dialog>
    }
}

#[component]
fn Whole(file: Attachment, shown_by: Option<ShownBy>) -> impl IntoView {
    let app = App::of_context();
    let address = RwSignal::new(None::<String>);
    let failed = RwSignal::new(false);
    let path = StoredValue::new(content_path(&file, shown_by, false));
    let fetch = move || {
        failed.set(false);
        fetch_image(app, path.get_value(), address, failed);
    };
    fetch();
    on_cleanup(move || {
        if let Some(address) = address.try_update(Option::take).flatten() {
            files::revoke(&address);
        }
    });
    let name = file.name.clone();
    let about = size_words(file.size);
    let shown_by = Callback::new(move |()| shown_by);
    view! {
        <div class="lightbox-head">
            <span class="file-words"><b dir="auto">{name.clone()}</b><small>{about}</small></span>
            <Download file app shown_by/>
            <button type="button" class="icon-button" aria-label=t("Close") title=t("Close (Esc)") data-testid="lightbox-close" on:click=move |_| app.lightbox.set(None)>
                <Glyph icon=Icon::Close/>
            </button>
        </div>
        <div class="lightbox-stage">
            {move || match (address.get(), failed.get()) {
                (Some(address), _) => view! { <img src=address alt=name.clone() data-testid="lightbox-image"/> }.into_any(),
                (None, true) => view! { <p role="alert">{Word("The image could not be fetched.")}" "<button type="button" class="again" on:click=move |_| fetch()>{Word("Try again")}</button></p> }.into_any(),
                (None, false) => view! { <p role="status">{Word("Loading…")}</p> }.into_any(),
            }}
        </div>
    }
}
