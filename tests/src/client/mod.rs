//! A client written for the tests: the frames' types are the product's, the rules are written again.

mod person;
pub mod rest;
mod socket;

pub use person::{Person, PersonHandle, Tally};
pub use socket::{Farewell, Received, Socket};
