//! Files in words and in boxes: what stands in a message, and what is on its way.

use quorate_proto::files::SHOWN_TYPES;
use quorate_proto::frame::{Attachment, Message};
use quorate_proto::ids::{ConversationId, Sequence};

use super::markdown::{blocks, plain};
use super::people::sentence;
use crate::client::Client;
use crate::upload::{Phase, Upload, UploadId};
use crate::words::{t, tf, tn};

/// Pixels of the longer side of an image in a message: that of a thumbnail.
pub const PICTURE_PIXELS_MAX: u32 = 320;
/// Pixels of its shorter side at least: a line of pixels could not be hit with a finger.
pub const PICTURE_PIXELS_MIN: u32 = 44;
/// An image without a thumbnail is shown itself up to so many bytes.
const SHOWN_WHOLE_BYTES_MAX: u64 = 512 * 1024;
/// Letters of a name's ending that say what a file is.
const ENDING_CHARS_MAX: usize = 5;

/// Whether a file is shown as an image; all others are cards.
pub fn is_picture(file: &Attachment) -> bool {
    SHOWN_TYPES.contains(&file.media_type.as_str())
        && file.width.is_some_and(|width| width > 0)
        && file.height.is_some_and(|height| height > 0)
        && (file.thumbnail || file.size <= SHOWN_WHOLE_BYTES_MAX)
}

/// Width and height in pixels that an image takes in a message, known before a byte of it is here.
pub fn box_of(file: &Attachment) -> (u32, u32) {
    let width = u64::from(file.width.unwrap_or(PICTURE_PIXELS_MAX).max(1));
    let height = u64::from(file.height.unwrap_or(PICTURE_PIXELS_MAX).max(1));
    let longer = width.max(height).max(u64::from(PICTURE_PIXELS_MAX));
    let fit = |side: u64| {
        let side = side * u64::from(PICTURE_PIXELS_MAX) / longer;
        u32::try_from(side).unwrap_or(PICTURE_PIXELS_MAX).max(PICTURE_PIXELS_MIN)
    };
    (fit(width), fit(height))
}

/// Where a file's bytes are. A message that shows it is named, if there is one: without it the server may have to look long.
pub fn content_path(
    file: &Attachment,
    shown_by: Option<(ConversationId, Sequence)>,
    download: bool,
) -> String {
    let mut path = format!("/api/v1/files/{}/content", file.file);
    let mut mark = '?';
    if let Some((conversation, sequence)) = shown_by {
        path.push_str(&format!("?conversation={conversation}&sequence={sequence}"));
        mark = '&';
    }
    if download {
        path.push(mark);
        path.push_str("download=true");
    }
    path
}

/// Where its small image is, or its bytes where there is none.
pub fn thumbnail_path(file: &Attachment, shown_by: Option<(ConversationId, Sequence)>) -> String {
    let path = content_path(file, shown_by, false);
    if file.thumbnail { path.replacen("/content", "/thumbnail", 1) } else { path }
}

/// `512 bytes`, `1.4 MB`.
pub fn size_words(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KB", "MB", "GB", "TB"];
    if bytes < 1_000 {
        return tn(bytes, "{} byte", "{} bytes");
    }
    let (mut unit, mut unit_bytes) = (0, 1_000);
    let whole = |unit_bytes: u64| (bytes.saturating_add(unit_bytes / 2)) / unit_bytes;
    // What rounds up to a thousand is one of the next.
    while whole(unit_bytes) >= 1_000 && unit + 1 < UNITS.len() {
        (unit, unit_bytes) = (unit + 1, unit_bytes * 1_000);
    }
    let tenths = bytes.saturating_mul(10).saturating_add(unit_bytes / 2) / unit_bytes;
    if tenths >= 1_000 || tenths.is_multiple_of(10) {
        format!("{} {}", whole(unit_bytes), UNITS[unit])
    } else {
        format!("{}{}{} {}", tenths / 10, t("."), tenths % 10, UNITS[unit])
    }
}

/// What sort of file it is, in a word: by its content where that is known, else by the ending of its name.
pub fn kind_words(file: &Attachment) -> String {
    let kind = file.media_type.split('/').next().unwrap_or_default();
    let word = match (file.media_type.as_str(), kind) {
        ("application/pdf", _) => "PDF",
        ("application/zip", _) if !file.name.ends_with(".zip") => "",
        (
            "application/zip"
            | "application/gzip"
            | "application/zstd"
            | "application/x-xz"
            | "application/x-7z-compressed",
            _,
        ) => t("Archive"),
        (_, "image") => t("Image"),
        (_, "video") => t("Video"),
        (_, "audio") => t("Audio"),
        _ => "",
    };
    if !word.is_empty() {
        return word.to_owned();
    }
    let ending = file.name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let is_plain = (1..=ENDING_CHARS_MAX).contains(&ending.len())
        && ending.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match (is_plain, kind) {
        (true, _) => ending.to_ascii_uppercase(),
        (false, "text") => t("Text").to_owned(),
        _ => t("File").to_owned(),
    }
}

/// Files in one line: `lake.jpg and 2 more`.
pub fn files_line(files: &[Attachment]) -> String {
    match files {
        [] => String::new(),
        [one] => one.name.clone(),
        [first, rest @ ..] => tf("{} and {} more", &[&first.name, &rest.len()]),
    }
}

/// What a message says where there is room for a line: its text without markup, or which files it shows.
pub fn said(message: &Message) -> String {
    said_of(&message.text, &message.attachments)
}

pub(super) fn said_of(text: &str, files: &[Attachment]) -> String {
    if text.trim().is_empty() && !files.is_empty() {
        return format!("📎 {}", files_line(files));
    }
    plain(&blocks(text))
}

/// How far a file for the next message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadState {
    /// It waits for others.
    Queued,
    /// It is on its way.
    Sending,
    /// Something is in the way; it goes on by itself.
    Cut,
    /// It is there.
    Ready,
    /// A person decides.
    Failed,
}

impl UploadState {
    /// In a word, for tests and style sheets.
    pub fn word(self) -> &'static str {
        match self {
            UploadState::Queued => "queued",
            UploadState::Sending => "sending",
            UploadState::Cut => "cut",
            UploadState::Ready => "ready",
            UploadState::Failed => "failed",
        }
    }
}

/// A file for the next message, as a line above the composer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRow {
    /// Which upload.
    pub id: UploadId,
    /// The file's name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Of those, what is there.
    pub there: u64,
    /// How far it has come.
    pub state: UploadState,
    /// The same in words.
    pub words: String,
    /// Trying again can help.
    pub may_retry: bool,
}

/// The files for the next message of a conversation, and whether that waits for them.
pub fn uploads(client: &Client, conversation: ConversationId) -> (Vec<UploadRow>, bool) {
    let rows = client.uploads().of(conversation).map(row).collect();
    (rows, client.uploads().waiting(conversation).is_some())
}

fn row(upload: &Upload) -> UploadRow {
    let size = size_words(upload.size);
    let there = upload.bytes_there();
    let (state, words) = match &upload.phase {
        Phase::Queued => (UploadState::Queued, tf("{}, waiting for the others", &[&size])),
        Phase::Beginning { .. } | Phase::Asking { .. } => {
            (UploadState::Sending, tf("{}, starting", &[&size]))
        }
        Phase::Sending => (UploadState::Sending, tf("{} of {}", &[&size_words(there), &size])),
        Phase::Committing { .. } => (UploadState::Sending, tf("{}, finishing", &[&size])),
        Phase::Cut { .. } => (
            UploadState::Cut,
            tf("{} of {}, interrupted: it goes on by itself", &[&size_words(there), &size]),
        ),
        Phase::Committed(_) => (UploadState::Ready, tf("{}, ready", &[&size])),
        Phase::Failed(why) => (UploadState::Failed, sentence(why)),
    };
    let may_retry = match state {
        UploadState::Failed => upload.hopeful,
        state => state == UploadState::Cut,
    };
    UploadRow { id: upload.id, name: upload.name.clone(), size: upload.size, there, state, words, may_retry }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, media_type: &str, pixels: Option<(u32, u32)>) -> Attachment {
        Attachment {
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            width: pixels.map(|(width, _)| width),
            height: pixels.map(|(_, height)| height),
            thumbnail: pixels.is_some(),
            ..Attachment::default()
        }
    }

    #[test]
    fn sizes_are_said_as_people_say_them() {
        for (bytes, words) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1_000, "1 KB"),
            (1_449, "1.4 KB"),
            (123_456, "123 KB"),
            (999_949, "1 MB"),
            (1_048_576, "1 MB"),
            (1_449_000, "1.4 MB"),
            (536_870_912, "537 MB"),
            (2_147_483_648, "2.1 GB"),
        ] {
            assert_eq!(size_words(bytes), words, "{bytes}");
        }
    }

    #[test]
    fn a_box_keeps_the_shape_and_can_be_hit() {
        for ((width, height), shown) in [
            ((1_600, 1_200), (320, 240)),
            ((100, 50), (100, 50)),
            ((1_200, 1_600), (240, 320)),
            ((10_000, 10), (320, 44)),
            ((1, 1), (44, 44)),
            ((u32::MAX, u32::MAX), (320, 320)),
        ] {
            assert_eq!(box_of(&file("x", "image/png", Some((width, height)))), shown, "{width}x{height}");
        }
    }

    #[test]
    fn only_what_a_browser_may_draw_is_a_picture() {
        assert!(is_picture(&file("a.png", "image/png", Some((5, 5)))));
        assert!(!is_picture(&file("a.png", "image/png", None)), "its dimensions are not known");
        assert!(!is_picture(&file("a.svg", "image/svg+xml", Some((5, 5)))));
        assert!(!is_picture(&file("a.heic", "image/heic", Some((5, 5)))));
        let plain = Attachment { thumbnail: false, size: 100, ..file("a.png", "image/png", Some((5, 5))) };
        assert!(is_picture(&plain));
        assert!(!is_picture(&Attachment { size: 5_000_000, ..plain }), "too much for a line of a chat");
    }

    #[test]
    fn a_file_is_called_by_what_it_is() {
        for (name, media_type, word) in [
            ("a.bin", "application/pdf", "PDF"),
            ("plan.docx", "application/zip", "DOCX"),
            ("a.zip", "application/zip", "Archive"),
            ("x.mov", "video/quicktime", "Video"),
            ("notes", "text/plain", "Text"),
            ("notes.md", "text/plain", "MD"),
            ("data", "application/octet-stream", "File"),
            ("a.sehrlang", "application/octet-stream", "File"),
        ] {
            assert_eq!(kind_words(&file(name, media_type, None)), word, "{name}");
        }
    }

    #[test]
    fn a_message_without_words_says_its_files() {
        let files = [file("lake.jpg", "image/jpeg", None), file("b", "text/plain", None)];
        let mut message = Message { attachments: files.to_vec(), ..Message::default() };
        assert_eq!(said(&message), "📎 lake.jpg and 1 more");
        message.text = "look".to_owned();
        assert_eq!(said(&message), "look");
        assert_eq!(said(&Message::default()), "");
    }

    #[test]
    fn paths_name_the_message_that_shows_a_file() {
        let mut one = file("a.png", "image/png", Some((5, 5)));
        let id = one.file;
        assert_eq!(content_path(&one, None, true), format!("/api/v1/files/{id}/content?download=true"));
        assert_eq!(
            content_path(&one, Some((3, 8)), true),
            format!("/api/v1/files/{id}/content?conversation=3&sequence=8&download=true")
        );
        assert_eq!(
            thumbnail_path(&one, Some((3, 8))),
            format!("/api/v1/files/{id}/thumbnail?conversation=3&sequence=8")
        );
        one.thumbnail = false;
        assert_eq!(thumbnail_path(&one, None), format!("/api/v1/files/{id}/content"));
    }

    #[test]
    fn a_line_of_a_message_has_its_words_and_no_markup() {
        assert_eq!(
            said_of("**Three** of _five_ is `enough`: [#Night](#/c/5)", &[]),
            "Three of five is enough: #Night"
        );
        assert_eq!(said_of("> so\n- a\n- b", &[]), "so\na\nb");
        assert_eq!(said_of("  ", &[]), "");
    }
}
