//! Pictures for the demo's people, drawn here: the repository holds no images of anybody.

use crate::error::{Attempt, Result};

/// Pixels of a side.
const SIDE: u32 = 192;
/// Cells of a side; the pattern is the same on the left and on the right.
const CELLS: u32 = 6;
/// Pixels around the pattern.
const MARGIN: u32 = 24;

/// A PNG of a pattern in one hue on a light ground, the same whenever it is drawn for that name.
///
/// # Errors
/// When it cannot be encoded.
pub(crate) fn png(name: &str, hue: u16) -> Result<Vec<u8>> {
    // FNV-1a: it only has to differ from name to name.
    let pattern = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let [ground, ink, deep] = [rgb(hue, 86), rgb(hue, 46), rgb((hue + 24) % 360, 34)];
    let mut pixels = Vec::new();
    for y in 0..SIDE {
        for x in 0..SIDE {
            pixels.extend(match cell(x).zip(cell(y)) {
                None => ground,
                Some((column, row)) => {
                    let column = column.min(CELLS - 1 - column);
                    let at = row * CELLS / 2 + column;
                    match (pattern >> (2 * at)) & 3 {
                        0 | 1 => ground,
                        2 => ink,
                        _ => deep,
                    }
                }
            });
        }
    }
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, SIDE, SIDE);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().attempt(|| "draw a picture".to_owned())?;
    writer.write_image_data(&pixels).attempt(|| "draw a picture".to_owned())?;
    writer.finish().attempt(|| "draw a picture".to_owned())?;
    Ok(bytes)
}

/// The cell of a pixel; `None` in the margin.
fn cell(at: u32) -> Option<u32> {
    let inner = at.checked_sub(MARGIN)?;
    let size = (SIDE - 2 * MARGIN) / CELLS;
    Some(inner / size).filter(|cell| *cell < CELLS)
}

/// A colour of half saturation. `hue`: degrees; `lightness`: per cent.
fn rgb(hue: u16, lightness: i32) -> [u8; 3] {
    let chroma = (100 - (2 * lightness - 100).abs()) / 2;
    let channel = |turn: i32| {
        // A trapezoid over the circle, in per mille.
        let away = ((i32::from(hue) + turn) % 360 - 180).abs();
        let part = ((away - 60) * 1000 / 60).clamp(0, 1000);
        let per_cent = lightness + chroma * (2 * part - 1000) / 2000;
        u8::try_from((per_cent * 255 / 100).clamp(0, 255)).unwrap_or(u8::MAX)
    };
    [channel(0), channel(240), channel(120)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_a_png_that_differs_by_name_and_stays() {
        let ada = png("ada", 200).unwrap();
        assert_eq!(&ada[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(png("ada", 200).unwrap(), ada);
        assert_ne!(png("ben", 200).unwrap(), ada);
        let decoder = png::Decoder::new(std::io::Cursor::new(ada));
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels.len(), (SIDE * SIDE * 3) as usize);
    }

    #[test]
    fn colours_follow_the_hue() {
        let [red, green, blue] = rgb(0, 50);
        assert!(red > green && red > blue && green == blue, "{red} {green} {blue}");
        let [red, green, blue] = rgb(120, 50);
        assert!(green > red && green > blue, "{red} {green} {blue}");
        let [red, green, blue] = rgb(240, 50);
        assert!(blue > red && blue > green, "{red} {green} {blue}");
    }
}
