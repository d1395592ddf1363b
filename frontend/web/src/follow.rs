//! What runs when a signal changes, with the next frame, or after a while. In boxes: one of each for all is a fraction of the code to load.

use std::time::Duration;

use leptos::leptos_dom::helpers::TimeoutHandle;
use leptos::prelude::{Effect, Memo, request_animation_frame, set_timeout_with_handle};

/// Runs soon, and again whenever a signal that it read has changed, for as long as its owner lives.
pub(crate) fn follow(run: impl FnMut() + 'static) {
    follow_boxed(Box::new(run));
}

fn follow_boxed(mut run: Box<dyn FnMut()>) {
    Effect::new(move |_| run());
}

/// A value that follows signals; who reads it hears only of others than before.
pub(crate) fn memo<T: PartialEq + Send + Sync + 'static>(
    of: impl Fn() -> T + Send + Sync + 'static,
) -> Memo<T> {
    memo_boxed(Box::new(of))
}

fn memo_boxed<T: PartialEq + Send + Sync + 'static>(of: Box<dyn Fn() -> T + Send + Sync>) -> Memo<T> {
    Memo::new(move |_| of())
}

/// Runs before the next frame is painted.
pub(crate) fn next_frame(run: impl FnOnce() + 'static) {
    next_frame_boxed(Box::new(run));
}

fn next_frame_boxed(run: Box<dyn FnOnce()>) {
    request_animation_frame(run);
}

/// Runs after a while, unless it is cleared before; `None` where the browser has no timers, and then never.
pub(crate) fn after(wait: Duration, run: impl FnOnce() + 'static) -> Option<TimeoutHandle> {
    after_boxed(wait, Box::new(run))
}

fn after_boxed(wait: Duration, run: Box<dyn FnOnce()>) -> Option<TimeoutHandle> {
    set_timeout_with_handle(run, wait).ok()
}
