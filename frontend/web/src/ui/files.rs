//! Files that a message shows: images in boxes that are there before their bytes, all others as cards.

use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::proto::frame::Attachment;
use quorate_client::view::{MessageRow, box_of, is_picture, kind_words, size_words, thumbnail_path};
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{IntersectionObserver, IntersectionObserverEntry};

use super::icons::{Glyph, Icon};
use crate::context::{App, ShownBy, unless_gone};
use crate::driver::files;
use crate::follow::{follow, memo};
use crate::words::{Word, t, tf};

/// See the module. Made anew only when the files are others: a tick changes nothing here.
#[component]
pub(crate) fn Files(row: RwSignal<MessageRow>) -> impl IntoView {
    let app = App::of_context();
    let shown = memo(move || row.with(|row| row.message.attachments.clone()));
    let shown_by = Callback::new(move |()| {
        let sequence = row.with_untracked(|row| row.message.sequence);
        app.focused.get_untracked().filter(|_| sequence > 0).map(|conversation| (conversation, sequence))
    });
    move || {
        let (pictures, others): (Vec<_>, Vec<_>) = shown.get().into_iter().partition(is_picture);
        view! {
            {(!pictures.is_empty()).then(|| view! {
                <div class="pictures">
                    {pictures.into_iter().map(|file| view! { <Picture file shown_by/> }).collect_view()}
                </div>
            })}
            {others.into_iter().map(|file| view! { <Card file shown_by/> }).collect_view()}
        }
    }
}

/// Fetches an image into `address`, or says in `failed` that there is none.
pub(super) fn fetch_image(app: App, path: String, address: RwSignal<Option<String>>, failed: RwSignal<bool>) {
    spawn_local(async move {
        let found = files::image(app, path).await;
        let lost = found.is_none();
        if let Some(unused) = found.and_then(|found| address.try_set(Some(found)).flatten()) {
            // What was to show it is gone meanwhile.
            files::revoke(&unused);
        }
        unless_gone(failed.try_set(lost));
    });
}

/// An image, fetched when it comes into view; its place is there before.
#[component]
fn Picture(file: Attachment, shown_by: Callback<(), Option<ShownBy>>) -> impl IntoView {
    let app = App::of_context();
    let frame = NodeRef::<html::Button>::new();
    let address = RwSignal::new(None::<String>);
    let failed = RwSignal::new(false);
    let (width, height) = box_of(&file);
    let wanted = StoredValue::new(file.clone());
    let fetch = move || {
        let path = wanted.with_value(|file| thumbnail_path(file, shown_by.run(())));
        failed.set(false);
        fetch_image(app, path, address, failed);
    };
    follow(move || {
        let Some(element) = frame.get() else { return };
        let seen = Closure::<dyn FnMut(js_sys::Array, IntersectionObserver)>::new(
            move |entries: js_sys::Array, observer: IntersectionObserver| {
                let near = entries
                    .iter()
                    .any(|entry| entry.unchecked_into::<IntersectionObserverEntry>().is_intersecting());
                if near {
                    observer.disconnect();
                    fetch();
                }
            },
        );
        let Ok(observer) = IntersectionObserver::new(seen.as_ref().unchecked_ref()) else { return fetch() };
        observer.observe(&element);
        let held = StoredValue::new_local(Some((observer, seen)));
        on_cleanup(move || {
            if let Some((observer, _)) = held.try_update_value(Option::take).flatten() {
                observer.disconnect();
            }
        });
    });
    on_cleanup(move || {
        if let Some(address) = address.try_update(Option::take).flatten() {
            files::revoke(&address);
        }
    });
    let (name, alt) = (file.name.clone(), file.name.clone());
    let open = move |_| {
        if failed.get_untracked() {
            return fetch();
        }
        app.lightbox.set(Some((wanted.get_value(), shown_by.run(()))));
    };
    view! {
        <button
            node_ref=frame
            type="button"
            class="picture"
            data-testid="picture"
            data-loaded=move || address.with(Option::is_some).then_some("true")
            title=name.clone()
            aria-label=tf("Image {}, show it", &[&name])
            on:click=open
        >
            // Takes the room: a box of this shape, never wider than the message.
            <svg width=width.to_string() height=height.to_string() viewBox=format!("0 0 {width} {height}") aria-hidden="true"></svg>
            {move || match (address.get(), failed.get()) {
                (Some(address), _) => view! { <img src=address alt=alt.clone() draggable="false"/> }.into_any(),
                (None, true) => view! { <span class="picture-words">{Word("Not loaded. Try again")}</span> }.into_any(),
                (None, false) => ().into_any(),
            }}
        </button>
    }
}

/// A file that is not drawn: what it is, and a way to keep it.
#[component]
fn Card(file: Attachment, shown_by: Callback<(), Option<ShownBy>>) -> impl IntoView {
    let app = App::of_context();
    let kind = kind_words(&file);
    let about = format!("{}, {kind}", size_words(file.size));
    let (name, title, hook) = (file.name.clone(), file.name.clone(), file.name.clone());
    view! {
        <div class="file-card" data-testid="file" data-name=hook>
            <span class="file-kind" aria-hidden="true">{kind}</span>
            <span class="file-words"><b dir="auto" title=title>{name}</b><small>{about}</small></span>
            <Download file app shown_by/>
        </div>
    }
}

/// Keeps a file on this device; while it is being fetched, breaks that off.
#[component]
pub(super) fn Download(file: Attachment, app: App, shown_by: Callback<(), Option<ShownBy>>) -> impl IntoView {
    let id = file.file;
    let busy = memo(move || app.saving.with(|saving| saving.contains(&id)));
    let name = file.name.clone();
    let label = move || {
        if busy.get() { tf("Stop the download of {}", &[&name]) } else { tf("Download {}", &[&name]) }
    };
    view! {
        <button
            type="button"
            class="icon-button"
            data-testid="download"
            title=move || if busy.get() { t("Stop the download") } else { t("Download") }
            aria-label=label
            aria-busy=move || busy.get().to_string()
            on:click=move |_| files::save(app, file.clone(), shown_by.run(()))
        >
            {move || view! { <Glyph icon=if busy.get() { Icon::Close } else { Icon::Down } size=18/> }}
        </button>
    }
}
