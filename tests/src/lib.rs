//! What it takes to test a whole cluster: a client of its own, a history of what happened, and a judge.
//!
//! Owns the record of a run and the rules it is held to. The client here shares the frames' types with the product and
//! nothing else: its session rules are written again, so that one mistake cannot hide in both ends.
//!
//! ```text
//!  load ──▶ client (sockets, resume, retries) ──▶ history ──▶ oracle ──▶ violations
//!              │                                     ▲
//!              ▼                                     │ final pages through every gateway
//!           a real cluster (quorate-cluster) ────────┘
//! ```

pub mod bench;
pub mod browser;
pub mod client;
pub mod harness;
pub mod history;
pub mod linear;
pub mod load;
pub mod netlab;
pub mod oracle;
pub mod scene;
pub mod skip;
