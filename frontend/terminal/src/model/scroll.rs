//! Where in a timeline the reader is. Kept by the row at the lower edge, not by a number of lines: what is loaded above, and
//! what arrives below, moves nothing under her eyes.

use quorate_client::view::Row;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Scroll {
    /// At the newest message, and with it.
    #[default]
    Newest,
    /// This line of the row with this key is the lowest that is shown.
    At {
        /// See [`key`].
        key: String,
        /// From 0.
        line: usize,
    },
}

/// A row and one of its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which row.
    pub row: usize,
    /// Which of its lines.
    pub line: usize,
}

/// What names a row, whatever comes before or behind it.
pub fn key(row: &Row) -> String {
    match row {
        Row::Day { day, .. } => format!("day {day}"),
        Row::New => "new".to_owned(),
        Row::Notice { version, .. } => format!("notice {version}"),
        Row::Message(message) => message.key.clone(),
    }
}

impl Scroll {
    /// The lowest line that is shown; `height_of` says how many lines a row has, at least 1 each.
    pub fn place(&self, rows: &[Row], height_of: impl Fn(usize) -> usize) -> Option<Place> {
        let last = rows.len().checked_sub(1)?;
        let newest = || Place { row: last, line: height_of(last) - 1 };
        match self {
            Scroll::Newest => Some(newest()),
            Scroll::At { key: at, line } => {
                // From the end: who scrolls is mostly near it.
                let found = rows.iter().rposition(|row| key(row) == *at);
                Some(found.map_or_else(newest, |row| Place { row, line: (*line).min(height_of(row) - 1) }))
            }
        }
    }

    /// Moved by so many lines, up if negative; `height`: how many are shown. Stops where the oldest line is at the top, and
    /// stays with the newest once it is reached.
    #[must_use]
    pub fn moved(&self, rows: &[Row], height_of: impl Fn(usize) -> usize, height: usize, by: isize) -> Self {
        let Some(mut place) = self.place(rows, &height_of) else { return Scroll::Newest };
        let mut left = by.unsigned_abs();
        if by < 0 {
            while left > place.line && place.row > 0 {
                left -= place.line + 1;
                place.row -= 1;
                place.line = height_of(place.row) - 1;
            }
            place.line = place.line.saturating_sub(left);
            place = place.max(lowest(rows, &height_of, height));
        } else {
            while left >= height_of(place.row) - place.line && place.row + 1 < rows.len() {
                left -= height_of(place.row) - place.line;
                place = Place { row: place.row + 1, line: 0 };
            }
            place.line = (place.line + left).min(height_of(place.row) - 1);
        }
        let at_end = place.row + 1 == rows.len() && place.line + 1 == height_of(place.row);
        if at_end { Scroll::Newest } else { Scroll::At { key: key(&rows[place.row]), line: place.line } }
    }
}

/// The lowest shown line when the oldest is at the top. `rows` is not empty.
fn lowest(rows: &[Row], height_of: impl Fn(usize) -> usize, height: usize) -> Place {
    let mut left = height.max(1);
    for row in 0..rows.len() {
        let lines = height_of(row);
        if lines >= left || row + 1 == rows.len() {
            return Place { row, line: left.min(lines) - 1 };
        }
        left -= lines;
    }
    Place { row: 0, line: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(from: u64, to: u64) -> Vec<Row> {
        (from..to).map(|version| Row::Notice { version, text: String::new(), time: 0 }).collect()
    }

    fn at(row: u64, line: usize) -> Scroll {
        Scroll::At { key: format!("notice {row}"), line }
    }

    /// Each row has two lines.
    fn moved(scroll: &Scroll, rows: &[Row], by: isize) -> Scroll {
        scroll.moved(rows, |_| 2, 5, by)
    }

    #[test]
    fn it_moves_line_by_line_and_stops_at_both_ends() {
        let rows = rows(0, 10);
        let up = moved(&Scroll::Newest, &rows, -1);
        assert_eq!(up, at(9, 0));
        assert_eq!(moved(&up, &rows, -3), at(7, 1));
        assert_eq!(moved(&up, &rows, 1), Scroll::Newest);
        assert_eq!(moved(&at(7, 1), &rows, 2), at(8, 1));
        let top = moved(&Scroll::Newest, &rows, -99);
        assert_eq!(top, at(2, 0), "five lines: the oldest is at the top");
        assert_eq!(moved(&top, &rows, -1), top);
        assert_eq!(moved(&top, &rows, 99), Scroll::Newest);
    }

    #[test]
    fn what_is_loaded_above_moves_nothing() {
        let scroll = at(7, 1);
        assert_eq!(scroll.place(&rows(5, 10), |_| 2), Some(Place { row: 2, line: 1 }));
        assert_eq!(scroll.place(&rows(0, 12), |_| 2), Some(Place { row: 7, line: 1 }));
        assert_eq!(scroll.place(&rows(0, 12), |_| 1), Some(Place { row: 7, line: 0 }), "a wider window");
    }

    #[test]
    fn a_row_that_is_gone_leads_to_the_newest_and_nothing_has_no_place() {
        assert_eq!(at(99, 0).place(&rows(0, 3), |_| 2), Some(Place { row: 2, line: 1 }));
        assert_eq!(at(99, 0).place(&[], |_| 2), None);
        assert_eq!(moved(&at(1, 0), &[], -3), Scroll::Newest);
        let few = rows(0, 2);
        assert_eq!(moved(&Scroll::Newest, &few, -9), Scroll::Newest, "all of it is in view");
    }
}
