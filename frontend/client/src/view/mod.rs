//! What a view shows, computed from the model: rows of a timeline, the ordered list, a text as a safe tree, names.
//!
//! Pure functions, so that the page and a terminal show the same and tests need neither. Local days come in as a function:
//! time zones are the caller's.

pub mod cluster;
mod complete;
pub mod demo;
mod emoji;
mod excerpt;
mod files;
pub mod film;
mod links;
mod list;
mod markdown;
mod notice;
mod people;
mod portrait;
mod rows;
pub mod stages;

pub use complete::{Naming, Sign, byte_of_utf16, candidates, complete, naming, rooms, utf16_of_byte};
pub use emoji::{EMOJI, QUICK_EMOJI, find_emoji};
pub use excerpt::excerpt;
pub use files::{
    UploadRow, UploadState, box_of, content_path, files_line, is_picture, kind_words, said, size_words,
    thumbnail_path, uploads,
};
pub use links::{Piece, pieces};
pub use list::{ListRow, list, matches_query};
pub use markdown::{Block, ListItem, Span, blocks, plain, room_link, rooms_as_words, safe_address};
pub use notice::{Notice, notice};
pub use people::{called, duration, hue, initials, one_line, sentence};
pub use portrait::{Portrait, Whose, portrait_of, portrait_of_group};
pub use rows::{
    GROUP_MS_MAX, May, MessageRow, MessageState, PendingEdit, Quote, ReactionRow, Row, may, quote, rows,
};
