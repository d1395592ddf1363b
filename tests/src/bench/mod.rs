//! `tests/bench`: what Quorate costs on this machine, beside its peers, row by row.
//!
//! Owns the loads, the clocks, the peers and the tables. A row is a file in `rows/`: what it measures, of which systems, and a
//! function from a [`stage::Stage`] to figures. The rows know nothing of each other, and the loads nothing of whom they load.
//!
//! ```text
//!  options ─▶ run ─▶ stage (one system at a time) ─▶ rows ─▶ shape (closed loop, open loop) ─▶ writers
//!              │                                      │
//!              └── report (records) ◀── figures ──────┘ ─▶ JSON, Markdown, SVG
//! ```

pub mod clock;
pub mod data_set;
pub mod listen;
pub mod machine;
pub mod options;
pub mod peers;
pub mod plot;
pub mod process;
pub mod quorate;
pub mod record;
pub mod rows;
pub mod run;
pub mod shape;
pub mod stage;
pub mod table;
pub mod thin;
