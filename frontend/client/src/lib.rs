//! Session rules shared by every client: the page, a terminal, the tests.
//!
//! This crate owns what a client does; it must not know how: no socket, no clock, no randomness, no storage, no browser.
//! All of it is one state machine, [`Client`]. A driver feeds it and carries out what it answers:
//!
//! ```text
//! let mut client = Client::new(Config { device, app, window: None });
//! let effects = client.handle(moment, Input::Granted(grant));      // after POST /api/v1/accounts or /sessions
//! for effect in effects {                                          // in order
//!     match effect {
//!         Effect::Connect(socket) => …,              // open /ws; then Input::Opened(socket), or Closed(socket, 1006)
//!         Effect::Transmit(socket, text) => …,       // one text message
//!         Effect::Close(socket, code) => …,          // close it and forget it
//!         Effect::RefreshToken => …,                 // POST /sessions/refresh; then Granted or RefreshFailed
//!         Effect::Store(item) | Effect::Unstore(id)  // the outbox on disk; before anything later in the list
//!         Effect::Acked(ack) => …,                   // committed by a majority
//!         …
//!     }
//! }
//! // One timer: at client.deadline_ms(now_ms) call client.handle(moment, Input::Tick).
//! ```
//!
//! What a device keeps for a start without a network comes from [`Client::keep`] and goes back by [`Input::Recall`].
//!
//! What the person sees is read from the client after each step: [`Client::conversations`], [`Client::banner`],
//! [`Client::details`], and the pure views in [`view`].

pub mod backoff;
pub mod banner;
pub mod client;
pub mod command;
pub mod conversation;
pub mod drafts;
pub mod event;
pub mod moment;
pub mod ordered;
pub mod outbox;
pub mod own;
pub mod position;
pub mod selection;
pub mod shelf;
pub mod signals;
pub mod timeline;
pub mod upload;
pub mod view;
pub mod words;

pub use client::{Client, Config, Details};
pub use command::Deed;
pub use drafts::{Draft, StoredDraft};
pub use event::{Change, Effect, Input, SocketId};
pub use moment::Moment;
pub use outbox::StoredItem;
pub use quorate_proto as proto;
pub use selection::Selection;
