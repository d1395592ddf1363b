//! The way to a gateway: where it is, a connection to it, one REST call, one WebSocket. No rules in here.

mod address;
mod dial;
mod rest;
mod socket;

pub use address::Address;
pub use dial::Dial;
pub use rest::{Answer, CallError, Rest};
pub use socket::{Socket, SocketNews, open};
