//! The page's icon as pixels: what `icon.svg` draws, for those who install the page. A test holds the two together.

use std::io::Write as _;

/// The drawing's own width and height.
const BOX: f32 = 32.0;
/// The radius of its corners.
const CORNER: f32 = 9.0;
/// The radius of each of the five.
const DOT: f32 = 3.0;
/// Where they stand, and how opaque each is.
const DOTS: [(f32, f32, f32); 5] =
    [(16.0, 7.6, 1.0), (24.0, 13.4, 1.0), (20.9, 22.8, 1.0), (11.1, 22.8, 0.45), (8.0, 13.4, 0.45)];
/// What is behind them.
const GROUND: [u8; 3] = [0x1d, 0x6b, 0x66];
/// A mask may take a fifth at each side away: what is drawn is that much smaller then.
const MASKED: f32 = 0.8;

/// A PNG, square, `side` pixels wide. Maskable: the ground fills it to its corners, and the drawing keeps to its middle.
pub(crate) fn png(side: u16, maskable: bool) -> std::io::Result<Vec<u8>> {
    let mut rows = Vec::with_capacity(usize::from(side) * (usize::from(side) * 4 + 1));
    for y in 0..side {
        // Each row says by which filter it is written: none.
        rows.push(0);
        for x in 0..side {
            rows.extend_from_slice(&pixel(f32::from(x) + 0.5, f32::from(y) + 0.5, f32::from(side), maskable));
        }
    }
    let mut squeezed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    squeezed.write_all(&rows)?;
    let wide = u32::from(side).to_be_bytes();
    // Eight bits a channel, four channels, and nothing unusual.
    let head = [wide.as_slice(), &wide, &[8, 6, 0, 0, 0]].concat();
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, content) in [(b"IHDR", head), (b"IDAT", squeezed.finish()?), (b"IEND", Vec::new())] {
        chunk(&mut bytes, *name, &content);
    }
    Ok(bytes)
}

fn chunk(bytes: &mut Vec<u8>, name: [u8; 4], content: &[u8]) {
    // A picture of this kind is some kilobytes.
    bytes.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&name);
    bytes.extend_from_slice(content);
    let mut sum = flate2::Crc::new();
    sum.update(&name);
    sum.update(content);
    bytes.extend_from_slice(&sum.sum().to_be_bytes());
}

/// Red, green, blue and alpha of the pixel whose middle is there.
fn pixel(x: f32, y: f32, side: f32, maskable: bool) -> [u8; 4] {
    let step = if maskable { BOX / side / MASKED } else { BOX / side };
    let (x, y) = ((x - side / 2.0) * step + BOX / 2.0, (y - side / 2.0) * step + BOX / 2.0);
    // How much of a pixel lies within an edge at that distance.
    let within = |distance: f32| (0.5 - distance / step).clamp(0.0, 1.0);
    let ink = DOTS.iter().map(|(at_x, at_y, opacity)| {
        let distance = (x - at_x).hypot(y - at_y) - DOT;
        within(distance) * opacity
    });
    let ink = ink.fold(0.0, f32::max);
    let inner = BOX / 2.0 - CORNER;
    let (far_x, far_y) = ((x - BOX / 2.0).abs() - inner, (y - BOX / 2.0).abs() - inner);
    let distance = far_x.max(0.0).hypot(far_y.max(0.0)) + far_x.max(far_y).min(0.0) - CORNER;
    let alpha = if maskable { 1.0 } else { within(distance) };
    let [red, green, blue] = GROUND.map(|ground| byte(f32::from(ground) + (255.0 - f32::from(ground)) * ink));
    [red, green, blue, byte(255.0 * alpha)]
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 255, rounded")]
fn byte(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// The pixels of such a picture.
    fn pixels(png: &[u8], side: usize) -> Vec<[u8; 4]> {
        let begin = png.windows(4).position(|name| name == b"IDAT").expect("pixels") + 4;
        let mut rows = Vec::new();
        flate2::read::ZlibDecoder::new(&png[begin..]).read_to_end(&mut rows).expect("squeezed");
        assert_eq!(rows.len(), side * (side * 4 + 1));
        rows.chunks(side * 4 + 1)
            .flat_map(|row| row[1..].chunks(4).map(|pixel| [pixel[0], pixel[1], pixel[2], pixel[3]]))
            .collect()
    }

    #[test]
    fn it_is_the_drawing() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/page/icon.svg");
        let drawing = std::fs::read_to_string(path).expect("icon.svg");
        assert!(drawing.contains("viewBox=\"0 0 32 32\"") && drawing.contains("rx=\"9\" fill=\"#1d6b66\""));
        for (x, y, opacity) in DOTS {
            let paint = if opacity < 1.0 {
                format!(" fill-opacity=\".{}\"", (opacity * 100.0).round())
            } else {
                String::new()
            };
            let circle = format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"3\"{paint}/>");
            assert!(drawing.contains(&circle), "{circle} is not in {drawing}");
        }
        assert_eq!(drawing.matches("<circle").count(), DOTS.len());
    }

    #[test]
    fn corners_are_clear_unless_a_mask_takes_them() {
        let ground = [GROUND[0], GROUND[1], GROUND[2], 255];
        for (maskable, corner) in [(false, 0), (true, 255)] {
            let picture = pixels(&png(192, maskable).expect("a picture"), 192);
            assert_eq!(picture[0][3], corner);
            assert_eq!(picture[192 * 96 + 96], ground, "between the five");
        }
        // The uppermost of the five, in the middle of it.
        let picture = pixels(&png(32, false).expect("a picture"), 32);
        assert_eq!(picture[32 * 7 + 16], [255; 4]);
        // A mask that leaves four fifths cuts none of the five.
        let picture = pixels(&png(100, true).expect("a picture"), 100);
        let inked = |at: &usize| picture[*at] != ground;
        let far = |at: usize| ((at % 100) as f32 - 49.5).hypot((at / 100) as f32 - 49.5);
        assert!((0..10_000).filter(inked).all(|at| far(at) < 40.0));
    }

    #[test]
    fn a_picture_says_its_size() {
        for side in [192_u16, 512] {
            let picture = png(side, false).expect("a picture");
            assert!(
                picture.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") && picture.ends_with(b"IEND\xaeB`\x82")
            );
            assert_eq!(picture[16..20], u32::from(side).to_be_bytes());
            assert!(picture.len() < 20_000, "{}", picture.len());
        }
    }
}
