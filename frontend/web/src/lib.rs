//! The page, as two programs of which a browser loads the one that it needs: the chat, and the desk of admins. Draws what the rules in `quorate-client` decide, and carries out what they ask of a browser.
//!
//! ```text
//!  quorate-client (model, pure) ──▶ driver (socket, timer, storage, fetch) ──▶ context (signals) ──▶ ui (components)
//!          ▲                                                                                            │
//!          └───────────────────────────── Input (what a person does) ◀──────────────────────────────────┘
//! ```

mod clock;
mod context;
mod desk;
mod driver;
mod follow;
mod keys;
mod route;
mod theme;
mod ui;
mod words;

/// The chat, at `/`.
pub fn chat() {
    begin(|| leptos::mount::mount_to_body(ui::App));
}

/// What admins see and do, at `/desk`; the design system, at `/design`.
pub fn desk() {
    if desk::design::is_asked() {
        begin(|| leptos::mount::mount_to_body(desk::design::Design));
    } else {
        begin(|| leptos::mount::mount_to_body(desk::Desk));
    }
}

fn begin(mount: fn()) {
    std::panic::set_hook(Box::new(|info| {
        web_sys::console::error_1(&info.to_string().into());
    }));
    words::load();
    mount();
    // The static shell has done its duty.
    if let Some(shell) = leptos::prelude::document().get_element_by_id("shell") {
        shell.remove();
    }
}
