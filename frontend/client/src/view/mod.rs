//! What a view shows, computed from the model: rows of a timeline, the ordered list, links in a text, initials.
//!
//! Pure functions, so that the page and a terminal show the same and tests need neither. Local days come in as a function:
//! time zones are the caller's.

mod links;
mod list;
mod people;
mod rows;

pub use links::{Piece, pieces};
pub use list::{ListRow, list, matches_query};
pub use people::{called, hue, initials, sentence};
pub use rows::{GROUP_MS_MAX, MessageRow, MessageState, Row, rows};
