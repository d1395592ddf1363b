//! Images without what they say of who made them, where and with what.
//!
//! The picture itself is not encoded again and loses nothing: only those parts of the file are kept that say how it is shown
//! (colours, transparency, animation, and of Exif the orientation alone), and nothing behind its end. What is not built as such
//! a file must be is no image.

/// Why a file is no image of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoImage;

type Stripped = Result<Vec<u8>, NoImage>;

/// The same picture without metadata; `None` for a kind that is not known here.
pub fn strip(media_type: &str, bytes: &[u8]) -> Option<Stripped> {
    match media_type {
        "image/png" => Some(png(bytes)),
        "image/jpeg" => Some(jpeg(bytes)),
        "image/gif" => Some(gif(bytes)),
        "image/webp" => Some(webp(bytes)),
        _ => None,
    }
}

/// What is left to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], NoImage> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(NoImage)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, NoImage> {
        Ok(self.take(1)?[0])
    }
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

fn png(bytes: &[u8]) -> Stripped {
    const KEPT: [&[u8; 4]; 19] = [
        b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD",
        b"pHYs", b"acTL", b"fcTL", b"fdAT", b"cICP", b"mDCV", b"cLLI", b"sPLT",
    ];
    let mut rest = Rest(bytes);
    let mut out = rest.take(8)?.to_vec();
    loop {
        let whole = rest.0;
        let length = number(rest.take(4)?);
        let kind = rest.take(4)?;
        rest.take(length.checked_add(4).ok_or(NoImage)?)?;
        if KEPT.iter().any(|kept| kept[..] == *kind) {
            out.extend_from_slice(&whole[..length + 12]);
        }
        if kind == b"IEND" {
            return Ok(out);
        }
    }
}

/// The orientation that an Exif segment tells: 1 to 8.
fn orientation(segment: &[u8]) -> Option<u8> {
    let tiff = segment.strip_prefix(b"Exif\0\0")?;
    let little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let read = |at: usize, count: usize| {
        let bytes = tiff.get(at..at.checked_add(count)?)?;
        Some(if little { bytes.iter().rev().fold(0, |n, b| n << 8 | usize::from(*b)) } else { number(bytes) })
    };
    let directory = read(4, 4)?;
    // A directory has at most 65,535 entries, and the segment 64 KiB.
    (0..read(directory, 2)?).find_map(|entry| {
        let at = directory + 2 + entry * 12;
        let is_orientation = read(at, 2)? == 0x0112 && read(at + 2, 2)? == 3;
        let value = is_orientation.then(|| read(at + 8, 2)).flatten()?;
        (1..=8).contains(&value).then_some(value as u8)
    })
}

/// An Exif segment that tells the orientation and nothing else.
fn exif_of(orientation: u8) -> Vec<u8> {
    let mut segment = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    segment.extend_from_slice(&[orientation, 0, 0, 0, 0, 0, 0]);
    segment
}

fn jpeg(bytes: &[u8]) -> Stripped {
    let mut rest = Rest(bytes);
    if rest.take(2)? != b"\xff\xd8" {
        return Err(NoImage);
    }
    let mut out = vec![0xff, 0xd8];
    loop {
        if rest.byte()? != 0xff {
            return Err(NoImage);
        }
        let mut marker = rest.byte()?;
        // Any number of these may come before a marker.
        while marker == 0xff {
            marker = rest.byte()?;
        }
        if marker == 0xd9 {
            out.extend_from_slice(&[0xff, marker]);
            return Ok(out);
        }
        if matches!(marker, 0x00 | 0x01 | 0xd0..=0xd8) {
            return Err(NoImage);
        }
        let length = number(rest.take(2)?);
        let segment = rest.take(length.checked_sub(2).ok_or(NoImage)?)?;
        let is_kept = match marker {
            // JFIF; colours by a profile; Adobe's word on how colours are coded.
            0xe0 | 0xee => true,
            0xe2 => segment.starts_with(b"ICC_PROFILE\0"),
            0xe1 => {
                if let Some(turned) = orientation(segment).filter(|turned| *turned != 1) {
                    out.extend_from_slice(&exif_of(turned));
                }
                false
            }
            0xe3..=0xef | 0xfe => false,
            _ => true,
        };
        if is_kept {
            out.extend_from_slice(&[0xff, marker]);
            out.extend_from_slice(&(length as u16).to_be_bytes());
            out.extend_from_slice(segment);
        }
        if marker == 0xda {
            // Coded data, up to a marker that is neither a stuffed byte nor a restart.
            let data = rest.0;
            let is_end = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xd0..=0xd7 | 0xff);
            let end = data.windows(2).position(is_end).ok_or(NoImage)?;
            out.extend_from_slice(rest.take(end)?);
        }
    }
}

fn gif(bytes: &[u8]) -> Stripped {
    /// Bytes of a colour table, by the byte that tells of it.
    fn table(flags: u8) -> usize {
        if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
    }
    /// A row of blocks, each with its length before it, up to an empty one.
    fn blocks(rest: &mut Rest<'_>) -> Result<(), NoImage> {
        loop {
            match rest.byte()? {
                0 => return Ok(()),
                length => drop(rest.take(usize::from(length))?),
            }
        }
    }
    let mut rest = Rest(bytes);
    rest.take(10)?;
    let flags = rest.byte()?;
    rest.take(2 + table(flags))?;
    let mut out = bytes[..bytes.len() - rest.0.len()].to_vec();
    loop {
        let whole = rest.0;
        let is_kept = match rest.byte()? {
            0x3b => {
                out.push(0x3b);
                return Ok(out);
            }
            0x2c => {
                let descriptor = rest.take(9)?;
                rest.take(table(descriptor[8]) + 1)?;
                blocks(&mut rest)?;
                true
            }
            0x21 => {
                let label = rest.byte()?;
                let loops =
                    rest.0.get(1..12).is_some_and(|name| name == b"NETSCAPE2.0" || name == b"ANIMEXTS1.0");
                blocks(&mut rest)?;
                label == 0xf9 || (label == 0xff && loops)
            }
            _ => return Err(NoImage),
        };
        if is_kept {
            out.extend_from_slice(&whole[..whole.len() - rest.0.len()]);
        }
    }
}

fn webp(bytes: &[u8]) -> Stripped {
    const KEPT: [&[u8; 4]; 7] = [b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"];
    let little = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte));
    let mut rest = Rest(bytes);
    rest.take(4)?;
    let length = little(rest.take(4)?);
    let mut rest = Rest(rest.take(length)?);
    let mut out = b"RIFF\0\0\0\0".to_vec();
    out.extend_from_slice(rest.take(4)?);
    while !rest.0.is_empty() {
        let whole = rest.0;
        let kind = rest.take(4)?;
        let length = little(rest.take(4)?);
        rest.take(length)?;
        if length % 2 == 1 && !rest.0.is_empty() {
            rest.take(1)?;
        }
        if KEPT.iter().any(|kept| kept[..] == *kind) {
            let at = out.len();
            out.extend_from_slice(&whole[..8 + length]);
            if length % 2 == 1 {
                out.push(0);
            }
            // It says which parts there are: no Exif, no XMP.
            if kind == b"VP8X" && length > 0 {
                out[at + 8] &= !0x0c;
            }
        }
    }
    let size = u32::try_from(out.len() - 8).map_err(|_| NoImage)?;
    out[4..8].copy_from_slice(&size.to_le_bytes());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, ImageFormat, RgbaImage};

    use super::*;

    const SECRET: &[u8] = b"52.5200N 13.4050E by Ana";

    fn picture(format: ImageFormat) -> Vec<u8> {
        let image = RgbaImage::from_fn(37, 21, |x, y| image::Rgba([x as u8 * 6, y as u8 * 11, 90, 255]));
        let image = DynamicImage::ImageRgba8(image);
        let image =
            if format == ImageFormat::Jpeg { DynamicImage::ImageRgb8(image.to_rgb8()) } else { image };
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn pixels(bytes: &[u8], format: ImageFormat) -> Vec<u8> {
        image::load_from_memory_with_format(bytes, format).unwrap().to_rgba8().into_raw()
    }

    fn holds(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    fn insert(bytes: &mut Vec<u8>, at: usize, part: &[u8]) {
        bytes.splice(at..at, part.iter().copied());
    }

    /// With a secret in every place for one, and a page behind the end.
    fn telling(format: ImageFormat) -> Vec<u8> {
        let mut bytes = picture(format);
        match format {
            ImageFormat::Png => {
                let mut text = (SECRET.len() as u32).to_be_bytes().to_vec();
                text.extend_from_slice(b"tEXt");
                text.extend_from_slice(SECRET);
                text.extend_from_slice(&[0; 4]);
                insert(&mut bytes, 33, &text);
            }
            ImageFormat::Jpeg => {
                let segment = |marker: u8, head: &[u8]| {
                    let length = (head.len() + SECRET.len() + 2) as u16;
                    [&[0xff, marker], &length.to_be_bytes()[..], head, SECRET].concat()
                };
                insert(&mut bytes, 2, &segment(0xfe, b""));
                insert(&mut bytes, 2, &segment(0xed, b"Photoshop 3.0\0"));
                // Little-endian, as cameras write it: turned by 90 degrees.
                let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
                insert(&mut bytes, 2, &segment(0xe1, exif));
            }
            ImageFormat::Gif => {
                let comment = [&[0x21, 0xfe, SECRET.len() as u8], SECRET, &[0]].concat();
                let at = 13 + (3 << ((bytes[10] & 7) + 1)) * usize::from(bytes[10] >> 7);
                insert(&mut bytes, at, &comment);
            }
            ImageFormat::WebP => {
                let mut part = b"EXIF".to_vec();
                part.extend_from_slice(&(SECRET.len() as u32).to_le_bytes());
                part.extend_from_slice(SECRET);
                bytes.extend_from_slice(&part);
                let size = (bytes.len() - 8) as u32;
                bytes[4..8].copy_from_slice(&size.to_le_bytes());
            }
            _ => unreachable!("four kinds"),
        }
        bytes.extend_from_slice(b"<script>alert(1)</script>");
        bytes
    }

    const KINDS: [(ImageFormat, &str); 4] = [
        (ImageFormat::Png, "image/png"),
        (ImageFormat::Jpeg, "image/jpeg"),
        (ImageFormat::Gif, "image/gif"),
        (ImageFormat::WebP, "image/webp"),
    ];

    #[test]
    fn the_picture_stays_and_the_rest_goes() {
        for (format, kind) in KINDS {
            let telling = telling(format);
            assert!(holds(&telling, SECRET), "{kind}");
            let stripped = strip(kind, &telling).unwrap().unwrap();
            assert!(!holds(&stripped, SECRET) && !holds(&stripped, b"<script>"), "{kind}");
            assert_eq!(pixels(&stripped, format), pixels(&picture(format), format), "{kind}");
            assert_eq!(strip(kind, &stripped), Some(Ok(stripped.clone())), "{kind}: done once is done");
        }
        let jpeg = strip("image/jpeg", &telling(ImageFormat::Jpeg)).unwrap().unwrap();
        assert!(holds(&jpeg, &exif_of(6)), "which way is up is kept");
        assert_eq!(exif_of(6).len(), 36);
        assert_eq!(strip("text/plain", b"text"), None);
    }

    #[test]
    fn what_is_cut_or_twisted_is_no_image_and_ends() {
        for (format, kind) in KINDS {
            let whole = telling(format);
            for length in 0..picture(format).len() - 2 {
                let _ = strip(kind, &whole[..length]).unwrap();
            }
            assert_eq!(strip(kind, &whole[..20]), Some(Err(NoImage)), "{kind}");
            for at in 0..whole.len() {
                let mut twisted = whole.clone();
                twisted[at] ^= 0xff;
                let _ = strip(kind, &twisted).unwrap();
            }
        }
    }
}
