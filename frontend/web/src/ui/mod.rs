//! Components, one a file. They read signals and call [`App`](crate::context::App); no rule lives here.

mod account;
mod app;
mod avatar;
mod banner;
mod chat;
mod composer;
mod details;
mod door;
mod icons;
mod list;
mod message;
mod new_conversation;
mod people_picker;
mod sidebar;
mod switcher;
mod theme_toggle;
mod timeline;
mod toast;

pub(crate) use app::App;
