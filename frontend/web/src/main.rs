//! The page. Draws what the rules in `quorate-client` decide, and carries out what they ask of a browser.
//!
//! ```text
//!  quorate-client (model, pure) ──▶ driver (socket, timer, storage, fetch) ──▶ context (signals) ──▶ ui (components)
//!          ▲                                                                                            │
//!          └───────────────────────────── Input (what a person does) ◀──────────────────────────────────┘
//! ```

mod clock;
mod context;
mod driver;
mod follow;
mod keys;
mod route;
mod theme;
mod ui;

fn main() {
    std::panic::set_hook(Box::new(|info| {
        web_sys::console::error_1(&info.to_string().into());
    }));
    leptos::mount::mount_to_body(ui::App);
    // The static shell has done its duty.
    if let Some(shell) = leptos::prelude::document().get_element_by_id("shell") {
        shell.remove();
    }
}
