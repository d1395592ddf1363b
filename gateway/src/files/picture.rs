//! Images looked into: how large they are, and a small one of each.
//!
//! Decoding is the one thing here that a stranger's bytes can make expensive: the size is read from the header before, and those
//! that are decoded at a time share one bound of pixels.

use std::io::Cursor;
use std::sync::Arc;

use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits};
use quorate_proto::limits::{IMAGE_PIXELS_MAX, THUMBNAIL_PIXELS_MAX};
use tokio::sync::Semaphore;

use super::strip::strip;

/// Pixels in one permit of the bound.
const PERMIT_PIXELS: u64 = 1_000_000;
/// Bytes that a decoder may take for itself: the largest image at four bytes a pixel, and as much again for what it needs beside.
const DECODER_BYTES_MAX: u64 = 2 * 4 * IMAGE_PIXELS_MAX;
/// Longer side of an image, whatever its pixels: beyond it even a line is expensive.
const SIDE_MAX: u32 = 32_768;
/// Of 100: at 320 pixels nobody sees a difference above.
const THUMBNAIL_QUALITY: u8 = 80;

/// What was made of an image.
#[derive(Debug, PartialEq, Eq)]
pub struct Picture {
    /// The file without metadata.
    pub bytes: Vec<u8>,
    /// As it is shown, turned the right way.
    pub width: u32,
    /// As it is shown, turned the right way.
    pub height: u32,
    /// PNG or JPEG; none of an image that is too large to be looked into, or damaged inside.
    pub thumbnail: Option<Vec<u8>>,
}

/// Looks into images, few at a time.
#[derive(Debug)]
pub struct Studio {
    pixels: Arc<Semaphore>,
}

impl Default for Studio {
    fn default() -> Self {
        Self { pixels: Arc::new(Semaphore::new((IMAGE_PIXELS_MAX / PERMIT_PIXELS) as usize)) }
    }
}

fn format_of(media_type: &str) -> Option<ImageFormat> {
    match media_type {
        "image/png" => Some(ImageFormat::Png),
        "image/jpeg" => Some(ImageFormat::Jpeg),
        "image/gif" => Some(ImageFormat::Gif),
        "image/webp" => Some(ImageFormat::WebP),
        _ => None,
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(DECODER_BYTES_MAX);
    limits
}

fn size(bytes: &[u8], format: ImageFormat) -> Option<(u32, u32)> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits());
    reader.into_dimensions().ok()
}

fn is_turned(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate90FlipH | Rotate270 | Rotate270FlipH)
}

/// The small one, and whether the image is shown turned by a quarter.
fn thumbnail(bytes: &[u8], format: ImageFormat) -> Option<(Vec<u8>, bool)> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits());
    let mut decoder = reader.into_decoder().ok()?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).ok()?;
    let side = THUMBNAIL_PIXELS_MAX;
    let is_small = image.width() <= side && image.height() <= side;
    let mut small = if is_small { image } else { image.thumbnail(side, side) };
    small.apply_orientation(orientation);
    let mut out = Cursor::new(Vec::new());
    if small.color().has_alpha() {
        DynamicImage::ImageRgba8(small.to_rgba8()).write_to(&mut out, ImageFormat::Png).ok()?;
    } else {
        small
            .to_rgb8()
            .write_with_encoder(JpegEncoder::new_with_quality(&mut out, THUMBNAIL_QUALITY))
            .ok()?;
    }
    Some((out.into_inner(), is_turned(orientation)))
}

impl Studio {
    /// Takes the metadata from an image and makes a small one; `None` when it is no image of that kind after all. `place` is kept for as
    /// long as the bytes are, also when nobody waits for the picture any more: a thread that has begun goes on.
    pub async fn look_into(
        &self,
        media_type: &'static str,
        bytes: Vec<u8>,
        place: impl Send + 'static,
    ) -> Option<Picture> {
        let format = format_of(media_type)?;
        let stripping = move || {
            let bytes = strip(media_type, &bytes)?.ok()?;
            let size = size(&bytes, format)?;
            Some((bytes, size, place))
        };
        let (bytes, (width, height), place) = tokio::task::spawn_blocking(stripping).await.ok()??;
        let pixels = u64::from(width) * u64::from(height);
        if pixels > IMAGE_PIXELS_MAX || width.max(height) > SIDE_MAX {
            return Some(Picture { bytes, width, height, thumbnail: None });
        }
        let permits = u32::try_from(pixels.div_ceil(PERMIT_PIXELS).max(1)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.pixels).acquire_many_owned(permits).await.ok()?;
        let making = move || {
            let made = thumbnail(&bytes, format);
            drop((permit, place));
            (bytes, made)
        };
        let (bytes, made) = tokio::task::spawn_blocking(making).await.ok()?;
        let is_turned = made.as_ref().is_some_and(|(_, is_turned)| *is_turned);
        let (width, height) = if is_turned { (height, width) } else { (width, height) };
        Some(Picture { bytes, width, height, thumbnail: made.map(|(bytes, _)| bytes) })
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;
    use crate::files::kind::media_type;

    fn encoded(image: DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[tokio::test]
    async fn a_large_image_gets_a_small_one() {
        let wide = RgbImage::from_fn(1_000, 500, |x, y| Rgb([x as u8, y as u8, 7]));
        let bytes = encoded(DynamicImage::ImageRgb8(wide), ImageFormat::Jpeg);
        let picture = Studio::default().look_into("image/jpeg", bytes.clone(), ()).await.unwrap();
        assert_eq!((picture.width, picture.height), (1_000, 500));
        let small = picture.thumbnail.unwrap();
        assert_eq!(media_type(&small), "image/jpeg");
        assert_eq!(size(&small, ImageFormat::Jpeg), Some((320, 160)));
        assert!(small.len() < bytes.len());
        let clear = RgbaImage::from_pixel(10, 20, Rgba([1, 2, 3, 0]));
        let bytes = encoded(DynamicImage::ImageRgba8(clear), ImageFormat::Png);
        let picture = Studio::default().look_into("image/png", bytes, ()).await.unwrap();
        assert_eq!(
            size(&picture.thumbnail.unwrap(), ImageFormat::Png),
            Some((10, 20)),
            "none is made larger"
        );
    }

    #[test]
    fn whoever_leaves_keeps_her_places_until_the_thread_is_done() {
        // The one thread is held up between the two pieces of work, which come in the order in which they were given: when she leaves,
        // the picture is not begun, however fast it is made and whatever else the machine does.
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let wide = RgbImage::from_fn(2_000, 1_500, |x, y| Rgb([x as u8, y as u8, 7]));
            let bytes = encoded(DynamicImage::ImageRgb8(wide), ImageFormat::Png);
            let (studio, place) = (Studio::default(), Arc::new(()));
            let all = studio.pixels.available_permits();
            let mut call = Box::pin(studio.look_into("image/png", bytes, Arc::clone(&place)));
            assert!(polled(&mut call).await.is_none(), "the metadata is being taken away");
            let (go_on, held_up) = std::sync::mpsc::sync_channel::<()>(0);
            let hold_up = tokio::task::spawn_blocking(move || held_up.recv());
            while studio.pixels.available_permits() == all {
                assert!(polled(&mut call).await.is_none());
                tokio::task::yield_now().await;
            }
            drop(call);
            assert_eq!((studio.pixels.available_permits(), Arc::strong_count(&place)), (all - 3, 2));
            drop(go_on);
            hold_up.await.unwrap().unwrap_err();
            while Arc::strong_count(&place) > 1 {
                tokio::task::yield_now().await;
            }
            assert_eq!(studio.pixels.available_permits(), all);
        });
    }

    /// What comes of a future when it is asked once.
    async fn polled<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }

    #[tokio::test]
    async fn a_flood_of_pixels_is_not_decoded() {
        // What the header says is what would have to be made room for.
        let tiny = RgbaImage::from_pixel(1, 1, Rgba([0; 4]));
        let mut bytes = encoded(DynamicImage::ImageRgba8(tiny), ImageFormat::Png);
        bytes[16..20].copy_from_slice(&30_000_u32.to_be_bytes());
        bytes[20..24].copy_from_slice(&30_000_u32.to_be_bytes());
        let crc = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        let picture = Studio::default().look_into("image/png", bytes, ()).await;
        assert!(picture.is_none_or(|picture| picture.thumbnail.is_none()));
        assert_eq!(Studio::default().look_into("image/gif", b"GIF89a<script>".to_vec(), ()).await, None);
        assert_eq!(Studio::default().look_into("application/pdf", b"%PDF-".to_vec(), ()).await, None);
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |crc, byte| {
            (0..8)
                .fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
        })
    }
}
