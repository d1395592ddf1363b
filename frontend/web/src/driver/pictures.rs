//! Pictures of people and groups: each fetched once for all who show it, let go when nobody has for a while.

use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::view::Portrait;
use uuid::Uuid;

use super::files;
use crate::context::App;

/// Where whoever shows a picture learns of its address in the page. No component's own: it outlives those who read it.
pub(crate) type Place = ArcRwSignal<Option<String>>;

/// Somebody shows a picture; [`release`] says when she no longer does.
pub(crate) fn take(app: App, portrait: Portrait) -> Option<Place> {
    let (place, fetch) = app.driver.try_update_value(|driver| {
        let now_ms = driver.clock.now_ms();
        driver.pictures.take(portrait.file, now_ms, || ArcRwSignal::new(None))
    })?;
    if fetch {
        spawn_local(async move {
            let found = files::image(app, portrait.path()).await;
            arrived(app, portrait.file, found);
        });
    }
    Some(place)
}

fn arrived(app: App, file: Uuid, found: Option<String>) {
    let told = app.driver.try_update_value(|driver| {
        let now_ms = driver.clock.now_ms();
        driver.pictures.arrived(file, found.clone(), now_ms)
    });
    let Some((place, gone)) = told else { return };
    if let Some(place) = place {
        place.set(found);
    }
    gone.iter().for_each(|address| files::revoke(address));
}

/// One of those who show it no longer does.
pub(crate) fn release(app: App, file: Uuid) {
    let gone = app.driver.try_update_value(|driver| driver.pictures.release(file));
    gone.iter().flatten().for_each(|address| files::revoke(address));
}

/// Nobody is signed in any more.
pub(crate) fn forget(app: App) {
    let gone = app.driver.try_update_value(|driver| driver.pictures.clear());
    gone.iter().flatten().for_each(|address| files::revoke(address));
}
