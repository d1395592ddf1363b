//! What a file is, by what is in it. Never by its name, nor by what was said of it.

/// Bytes from the beginning that are looked at: the longest of the signatures is far shorter.
pub const HEAD_BYTES: usize = 4 * 1024;

/// What is not known, and what must not be shown as what it claims to be.
pub const UNKNOWN: &str = "application/octet-stream";
/// Text of any sort: a page or a script is text, too, and is never called anything else.
const TEXT: &str = "text/plain";

/// (where, what stands there, media type)
const SIGNATURES: &[(usize, &[u8], &str)] = &[
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"OggS", "application/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (4, b"ftypqt", "video/quicktime"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftyp", "video/mp4"),
];

/// A media type by the first [`HEAD_BYTES`] of a file.
pub fn media_type(head: &[u8]) -> &'static str {
    let head = &head[..head.len().min(HEAD_BYTES)];
    if let (Some(b"RIFF"), Some(kind)) = (head.get(..4), head.get(8..12)) {
        return match kind {
            b"WEBP" => "image/webp",
            b"WAVE" => "audio/wav",
            _ => UNKNOWN,
        };
    }
    let signed = SIGNATURES.iter().find(|(at, bytes, _)| head.get(*at..at + bytes.len()) == Some(bytes));
    match signed {
        Some((_, _, kind)) => kind,
        None if is_text(head) => TEXT,
        None => UNKNOWN,
    }
}

fn is_text(head: &[u8]) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A character that the end of the head has cut.
        Err(error) if error.error_len().is_none() && head.len() == HEAD_BYTES => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !valid.is_empty() && valid.chars().all(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r' | '\x0c'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_decides_and_nothing_that_runs_is_called_so() {
        for (head, kind) in [
            (&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], "image/png"),
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"GIF89a;<script>alert(1)</script>", "image/gif"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
            (b"RIFF\0\0\0\0AVI LIST", UNKNOWN),
            (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "text/plain"),
            (b"<!doctype html><script>alert(1)</script>", "text/plain"),
            (b"<?xml version='1.0'?><x/>", "text/plain"),
            ("Grüße\r\n".as_bytes(), "text/plain"),
            (b"\x7fELF\x02", UNKNOWN),
            (b"", UNKNOWN),
            (b"a\0b", UNKNOWN),
            (b"%PDF-1.7", "application/pdf"),
            (b"\0\0\0\x20ftypisom", "video/mp4"),
        ] {
            assert_eq!(media_type(head), kind, "{:?}", String::from_utf8_lossy(head));
        }
        let cut = "é".repeat(HEAD_BYTES);
        assert_eq!(media_type(&cut.as_bytes()[..HEAD_BYTES]), "text/plain");
        assert_eq!(
            media_type(&[b"a", cut.as_bytes()].concat()),
            "text/plain",
            "a character is cut by the head's end"
        );
        assert!(quorate_proto::files::is_media_type(UNKNOWN));
        assert!(SIGNATURES.iter().all(|(_, _, kind)| quorate_proto::files::is_media_type(kind)));
    }
}
