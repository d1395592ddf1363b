//! How a file is handed to a browser: as a download with its name, and nearly never to be shown (RFC 6266, RFC 8187).

use quorate_proto::files::{SHOWN_TYPES, canonical_file_name};

/// The value of `Content-Disposition`. Only the images that browsers draw themselves may be shown in place.
pub(super) fn disposition(name: &str, media_type: &str, download: bool) -> String {
    let kind = if SHOWN_TYPES.contains(&media_type) && !download { "inline" } else { "attachment" };
    // Names from the state are canonical; whatever else comes is made so.
    let name = canonical_file_name(name);
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%' | '/' | ';') || c == ' ';
    let ascii: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let mut value = format!("{kind}; filename=\"{ascii}\"");
    if ascii != name {
        value.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            // attr-char of RFC 8187.
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                value.push(char::from(byte));
            } else {
                value.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_name_stays_within_its_header() {
        for (name, expected) in [
            ("report.pdf", r#"attachment; filename="report.pdf""#),
            ("a b.txt", r#"attachment; filename="a b.txt""#),
            ("../../x", r#"attachment; filename="x""#),
            ("a\r\nSet-Cookie: b=c", r#"attachment; filename="aSet-Cookie: b=c""#),
            (
                "\"; filename=evil.exe",
                "attachment; filename=\"__ filename=evil.exe\"; filename*=UTF-8''%22%3B%20filename%3Devil.exe",
            ),
            ("Grüße.txt", "attachment; filename=\"Gr__e.txt\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe.txt"),
            ("50%.txt", "attachment; filename=\"50_.txt\"; filename*=UTF-8''50%25.txt"),
        ] {
            let value = disposition(name, "application/pdf", false);
            assert_eq!(value, expected, "{name:?}");
            assert!(HeaderValue::from_str(&value).is_ok());
        }
    }

    #[test]
    fn only_images_that_run_nothing_are_shown() {
        for (kind, download, expected) in [
            ("image/png", false, "inline"),
            ("image/png", true, "attachment"),
            ("image/svg+xml", false, "attachment"),
            ("text/html", false, "attachment"),
            ("application/pdf", false, "attachment"),
            ("text/plain", false, "attachment"),
        ] {
            assert!(disposition("x", kind, download).starts_with(expected), "{kind}");
        }
    }
}
