//! Files: how many chunks, which names. Pure, and the same at both ends.

use crate::limits::{CHUNK_BYTES, FILE_NAME_BYTES_MAX};

/// The name of a file that has none.
pub const NAMELESS: &str = "file";

/// Media types that a browser may show in the page; all others are downloaded.
pub const SHOWN_TYPES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// How many chunks a file of so many bytes has. An empty one has none.
pub fn chunk_count(size: u64) -> u64 {
    size.div_ceil(CHUNK_BYTES as u64)
}

/// Bytes of a chunk of a file of so many bytes; 0 beyond its end.
pub fn chunk_bytes(size: u64, number: u64) -> u64 {
    size.saturating_sub(number.saturating_mul(CHUNK_BYTES as u64)).min(CHUNK_BYTES as u64)
}

/// Whether a character may stand in a file's name: none that ends a line, turns the direction of writing or is not seen, since
/// with them a name can be made to look like another.
fn is_plain(c: char) -> bool {
    let hidden = matches!(
        c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{ad}'
            | '\u{fff9}'..='\u{fffb}'
    );
    !c.is_control() && !hidden
}

/// The canonical form of a file's name: the last part of a path, without what could lead or mislead anybody; at most
/// [`FILE_NAME_BYTES_MAX`] bytes, of which the ending is kept. Never empty, and itself when made again.
pub fn canonical_file_name(input: &str) -> String {
    let last = input.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = last.chars().filter(|c| is_plain(*c)).collect();
    let trimmed = plain.trim_start_matches(|c: char| c == '.' || c.is_whitespace());
    let trimmed = trimmed.trim_end_matches(|c: char| c == '.' || c.is_whitespace());
    if trimmed.is_empty() {
        return NAMELESS.to_owned();
    }
    if trimmed.len() <= FILE_NAME_BYTES_MAX {
        return trimmed.to_owned();
    }
    let ending = match trimmed.rfind('.') {
        Some(at) if trimmed.len() - at <= ENDING_BYTES_MAX => &trimmed[at..],
        _ => "",
    };
    let mut cut = FILE_NAME_BYTES_MAX - ending.len();
    while !trimmed.is_char_boundary(cut) {
        cut -= 1;
    }
    let stem = trimmed[..cut].trim_end_matches(|c: char| c == '.' || c.is_whitespace());
    format!("{stem}{ending}")
}

/// Longest ending of a name that is kept when it is cut, the dot included.
const ENDING_BYTES_MAX: usize = 16;

/// Whether a media type is of the plain form `type/subtype`, without parameters.
pub fn is_media_type(text: &str) -> bool {
    let word = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-+.".contains(&b))
    };
    text.len() <= 100 && text.split_once('/').is_some_and(|(kind, sub)| word(kind) && word(sub))
}

/// Why a header asks for bytes that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsatisfiable;

/// The bytes that a `Range` header asks for, `[begin, end)`. `None`: all of them, because the header says nothing that is known
/// here (RFC 9110 lets it be ignored), or asks for several ranges.
///
/// # Errors
/// When the header is understood and no byte of it is there.
pub fn range(header: &str, size: u64) -> Result<Option<(u64, u64)>, Unsatisfiable> {
    let Some((unit, ranges)) = header.split_once('=') else { return Ok(None) };
    if !unit.trim().eq_ignore_ascii_case("bytes") || ranges.contains(',') {
        return Ok(None);
    }
    let Some((first, last)) = ranges.trim().split_once('-') else { return Ok(None) };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // A number too large for u64 is beyond every file.
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (number(first), number(last)) {
        (None, Some(suffix)) if first.is_empty() => match suffix.min(size) {
            0 => Err(Unsatisfiable),
            suffix => Ok(Some((size - suffix, size))),
        },
        (Some(begin), None) if last.is_empty() => {
            if begin < size {
                Ok(Some((begin, size)))
            } else {
                Err(Unsatisfiable)
            }
        }
        (Some(begin), Some(last)) if begin <= last => {
            if begin < size {
                Ok(Some((begin, size.min(last.saturating_add(1)))))
            } else {
                Err(Unsatisfiable)
            }
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_sum_of_its_chunks() {
        const CHUNK: u64 = CHUNK_BYTES as u64;
        for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 7 * CHUNK + 3] {
            let count = chunk_count(size);
            assert_eq!((0..count).map(|number| chunk_bytes(size, number)).sum::<u64>(), size);
            assert!((0..count).all(|number| chunk_bytes(size, number) > 0));
            assert_eq!(chunk_bytes(size, count), 0);
        }
        assert_eq!(chunk_bytes(u64::MAX, u64::MAX), 0);
    }

    #[test]
    fn a_name_leads_nowhere_and_looks_like_what_it_is() {
        for (input, name) in [
            ("report.pdf", "report.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\ana\\cv.doc", "cv.doc"),
            ("a\r\nSet-Cookie: x=y", "aSet-Cookie: x=y"),
            ("..", "file"),
            ("", "file"),
            (" .profile ", "profile"),
            ("exe.\u{202e}gnp.exe", "exe.gnp.exe"),
            ("Grüße \"1\".txt", "Grüße \"1\".txt"),
            ("a/", "file"),
        ] {
            assert_eq!(canonical_file_name(input), name, "{input:?}");
        }
        for long in ["é".repeat(400) + ".tar.gz", "x".repeat(300), ".x".repeat(300), "x.".repeat(300)] {
            let name = canonical_file_name(&long);
            assert!(name.len() <= FILE_NAME_BYTES_MAX && !name.is_empty(), "{name}");
            assert_eq!(canonical_file_name(&name), name);
        }
        assert!(canonical_file_name(&("é".repeat(400) + ".jpeg")).ends_with(".jpeg"));
    }

    #[test]
    fn a_range_is_what_the_standard_says() {
        for (header, expected) in [
            ("bytes=0-0", Ok(Some((0, 1)))),
            ("bytes=0-", Ok(Some((0, 100)))),
            ("bytes=90-200", Ok(Some((90, 100)))),
            ("bytes=-10", Ok(Some((90, 100)))),
            ("bytes=-1000", Ok(Some((0, 100)))),
            ("BYTES=5-6", Ok(Some((5, 7)))),
            ("bytes=100-", Err(Unsatisfiable)),
            ("bytes=-0", Err(Unsatisfiable)),
            ("bytes=99999999999999999999999-", Err(Unsatisfiable)),
            ("bytes=0-99999999999999999999999", Ok(Some((0, 100)))),
            ("bytes=5-4", Ok(None)),
            ("bytes=0-1,5-6", Ok(None)),
            ("lines=0-1", Ok(None)),
            ("bytes=a-b", Ok(None)),
            ("bytes=-", Ok(None)),
            ("bytes", Ok(None)),
            ("bytes=+1-2", Ok(None)),
        ] {
            assert_eq!(range(header, 100), expected, "{header}");
        }
        assert_eq!(range("bytes=0-", 0), Err(Unsatisfiable));
    }

    #[test]
    fn every_range_lies_within_the_file() {
        // A linear congruential generator: all of them tried in the same order by everybody.
        let mut seed = 7_u64;
        let mut next = |bound: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % bound
        };
        for _ in 0..20_000 {
            let size = next(50);
            let text = |number: u64| if number > 70 { String::new() } else { number.to_string() };
            let header = format!("bytes={}-{}", text(next(90)), text(next(90)));
            if let Ok(Some((begin, end))) = range(&header, size) {
                assert!(begin < end && end <= size, "{header} of {size}");
            }
        }
    }

    #[test]
    fn a_media_type_is_two_words() {
        for good in ["image/png", "application/octet-stream", "image/svg+xml"] {
            assert!(is_media_type(good), "{good}");
        }
        for bad in ["", "image", "image/", "text/html; charset=utf-8", "a/b/c", "a/b\r\n", "Text/Html"] {
            assert!(!is_media_type(bad), "{bad:?}");
        }
    }
}
