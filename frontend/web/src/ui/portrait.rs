//! Choosing a picture for oneself or a group: an image of this device is cut to a square, uploaded like any file, and set.

use js_sys::{Promise, Reflect};
use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::Input;
use quorate_client::proto::frame::{Action, NewAvatar};
use quorate_client::upload::{NOBODYS, Phase, UploadId};
use quorate_client::view::{UploadState, Whose, sentence, uploads};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, CanvasRenderingContext2d, HtmlCanvasElement, ImageBitmap};

use super::avatar::{Avatar, Face};
use super::sheet::Asking;
use crate::context::App;
use crate::driver::files;
use crate::follow::{follow, memo};
use crate::words::{Word, t};

/// Pixels of a side at most: the servers make a smaller one of it for lists.
const SIDE_MAX: u32 = 512;

/// The command that sets it.
fn action(whose: Whose, picture: NewAvatar) -> Action {
    let avatar = Some(picture);
    match whose {
        Whose::User(_) => Action::SetProfile { display_name: None, status: None, avatar },
        Whose::Group(conversation) => Action::ChangeConversation {
            conversation,
            title: None,
            topic: None,
            public: None,
            announcement: None,
            retention_ms: None,
            avatar,
        },
    }
}

/// See the module. `face` is how it looks now.
#[component]
pub(super) fn SetPortrait(whose: Whose, face: Memo<Face>) -> impl IntoView {
    let app = App::of_context();
    let input = NodeRef::<html::Input>::new();
    let said = RwSignal::new(String::new());
    let upload = RwSignal::new(None::<UploadId>);
    let preparing = RwSignal::new(false);
    let asking = Asking::new(app, move |_| said.set(t("Saved.").to_owned()));
    let error = asking.error;
    let busy = move || preparing.get() || upload.get().is_some() || asking.busy();
    let begin = move |blob: Blob| {
        let name = if blob.type_() == "image/jpeg" { "picture.jpg" } else { "picture.png" };
        upload.set(files::upload(app, NOBODYS, blob, name));
        if upload.with_untracked(Option::is_none) {
            error.set(t("Other files are on their way. Try again when they are there.").to_owned());
        }
    };
    let chosen = move |_| {
        let Some(field) = input.get_untracked() else { return };
        let Some(file) = field.files().and_then(|files| files.get(0)) else { return };
        // The same file may be chosen again.
        field.set_value("");
        error.set(String::new());
        said.set(t("Preparing the picture…").to_owned());
        preparing.set(true);
        spawn_local(async move {
            let square = square(&file).await;
            // The dialog may have been closed meanwhile: nothing is uploaded then.
            if preparing.try_set(false).is_some() {
                return;
            }
            match square {
                Ok(blob) => begin(blob),
                Err(_) => {
                    error.set(
                        t("This file cannot be read as an image. Choose a JPEG, PNG, GIF or WebP.")
                            .to_owned(),
                    );
                }
            }
        });
    };
    follow(move || {
        app.nobodys.track();
        let Some(id) = upload.get() else { return };
        let phase = app.with(|client| {
            client.uploads().of(NOBODYS).find(|one| one.id == id).map(|one| one.phase.clone())
        });
        match phase {
            Some(Phase::Committed(file)) => {
                upload.set(None);
                app.input(Input::LetGo(id));
                if file.thumbnail {
                    said.set(t("Saving…").to_owned());
                    asking.ask(action(whose, NewAvatar(Some(file.file))));
                } else {
                    error.set(t("The server could not read this image. Choose another one.").to_owned());
                }
            }
            Some(Phase::Failed(why)) => {
                upload.set(None);
                app.input(Input::LetGo(id));
                error.set(sentence(&why));
            }
            Some(_) => {
                let (rows, _) = app.with(|client| uploads(client, NOBODYS));
                let row = rows.into_iter().find(|row| row.id == id);
                let words = row.map_or_else(String::new, |row| match row.state {
                    UploadState::Cut => t("Interrupted: it goes on by itself.").to_owned(),
                    _ => t("Uploading…").to_owned(),
                });
                said.set(words);
            }
            None => upload.set(None),
        }
    });
    on_cleanup(move || {
        if let Some(id) = upload.try_get_untracked().flatten() {
            app.input(Input::Detach(id));
        }
    });
    let has = memo(move || face.with(|(_, portrait)| portrait.is_some()));
    let choose = move |_| {
        if let Some(input) = input.get_untracked().filter(|_| !untrack(busy)) {
            input.click();
        }
    };
    let remove = move |_| {
        if !untrack(busy) {
            asking.ask(action(whose, NewAvatar(None)));
        }
    };
    let of = match whose {
        Whose::User(_) => t("Your picture"),
        Whose::Group(_) => t("Picture of the group"),
    };
    view! {
        <div class="set-portrait" role="group" aria-label=of data-testid="set-portrait">
            {move || {
                let (name, portrait) = face.get();
                view! { <Avatar name portrait size="large"/> }
            }}
            <div>
                <p class="acts">
                    <button type="button" class="button" data-testid="choose-portrait" aria-disabled=move || busy().to_string() on:click=choose>
                        {move || if has.get() { t("Change picture") } else { t("Choose a picture") }}
                    </button>
                    {move || has.get().then(|| view! {
                        <button type="button" class="link-button" data-testid="remove-portrait" aria-disabled=move || busy().to_string() on:click=remove>{Word("Remove picture")}</button>
                    })}
                </p>
                <p class="hint" role="status">{move || error.with(String::is_empty).then(|| said.get())}</p>
                <div class="error" role="alert">{error}</div>
            </div>
            <input node_ref=input type="file" accept="image/*" class="visually-hidden" tabindex="-1" aria-hidden="true" data-testid="portrait-input" on:change=chosen/>
        </div>
    }
}

/// The middle of an image as a square of at most [`SIDE_MAX`] pixels: JPEG of a JPEG, PNG of all others, which may be see-through.
async fn square(file: &Blob) -> Result<Blob, JsValue> {
    let bitmap: ImageBitmap =
        JsFuture::from(window().create_image_bitmap_with_blob(file)?).await?.dyn_into()?;
    let (width, height) = (bitmap.width(), bitmap.height());
    let side = width.min(height);
    let to = side.min(SIDE_MAX);
    let canvas: HtmlCanvasElement = document().create_element("canvas")?.dyn_into()?;
    canvas.set_width(to);
    canvas.set_height(to);
    let context: CanvasRenderingContext2d = canvas.get_context("2d")?.ok_or(JsValue::NULL)?.unchecked_into();
    Reflect::set(&context, &"imageSmoothingQuality".into(), &"high".into())?;
    let (left, top) = (f64::from(width - side) / 2.0, f64::from(height - side) / 2.0);
    let (side, to) = (f64::from(side), f64::from(to));
    context.draw_image_with_image_bitmap_and_sw_and_sh_and_dx_and_dy_and_dw_and_dh(
        &bitmap, left, top, side, side, 0.0, 0.0, to, to,
    )?;
    bitmap.close();
    let kind = if file.type_() == "image/jpeg" { "image/jpeg" } else { "image/png" };
    let mut asked = Ok(());
    let made = Promise::new(&mut |resolve, reject| {
        asked = canvas.to_blob_with_type(&resolve, kind);
        if asked.is_err() {
            // Nothing is thrown by rejecting.
            let _ = reject.call0(&JsValue::NULL);
        }
    });
    JsFuture::from(made).await?.dyn_into()
}
