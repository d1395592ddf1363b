//! A session: one socket from its upgrade to its end, owned by one task.
//!
//! `protocol` says what a client may do (pure), `delivery` what it gets and in which order (pure), `codec` reads
//! messages, `opening` and `jobs` call the replicas, `outbox` is what the hub fills, `out` what is to be
//! written, `socket` is the task that carries it all out, and `farewell` its last words. Must not know HTTP.

pub mod admission;
pub(crate) mod check;
mod codec;
mod delivery;
pub(crate) mod effect;
mod farewell;
pub(crate) mod jobs;
mod marks;
mod opening;
mod out;
pub mod outbox;
mod presence;
pub(crate) mod protocol;
pub(crate) mod rates;
mod socket;
pub mod users;

pub use farewell::close_refused;
pub use socket::{echo, run};
