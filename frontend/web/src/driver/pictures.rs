//! Pictures of people and groups: each fetched once for all who show it, let go when nobody has for a while.

use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::shelf::{ASKED_MAX, Asking};
use quorate_client::view::Portrait;
use uuid::Uuid;

use super::files;
use crate::context::{App, sleep};

/// How much longer each takes while many are wanted, ms: with as many as are asked for at a time some 7 in a second, of the 10 that a
/// server allows a user for good.
const PAUSE_MS: i32 = 400;

/// Where whoever shows a picture learns of its address in the page. No component's own: it outlives those who read it.
pub(crate) type Place = ArcRwSignal<Option<String>>;

/// Somebody shows a picture; [`release`] says when she no longer does.
pub(crate) fn take(app: App, portrait: Portrait) -> Option<Place> {
    let place = app.driver.try_update_value(|driver| {
        let now_ms = driver.clock.now_ms();
        driver.pictures.take(portrait, now_ms, || ArcRwSignal::new(None))
    })?;
    work(app);
    Some(place)
}

/// Fetches what is wanted, as the shelf says.
fn work(app: App) {
    let next = move || app.driver.try_update_value(|driver| driver.pictures.ask()).flatten();
    let Some(mut asking) = next() else { return };
    spawn_local(async move {
        loop {
            let found = files::image(app, asking.portrait.path()).await;
            if asking.slowly {
                sleep(PAUSE_MS).await;
            }
            arrived(app, asking, found);
            match next() {
                Some(other) => asking = other,
                None => return,
            }
        }
    });
}

/// The connection is back: what was not to be had meanwhile is asked for again.
pub(crate) fn again(app: App) {
    app.driver.update_value(|driver| driver.pictures.again());
    for _ in 0..ASKED_MAX {
        work(app);
    }
}

fn arrived(app: App, asking: Asking, found: Option<String>) {
    let told = app.driver.try_update_value(|driver| {
        let now_ms = driver.clock.now_ms();
        driver.pictures.arrived(asking, found.clone(), now_ms)
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
