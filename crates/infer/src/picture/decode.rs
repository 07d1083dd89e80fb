//! From a file's bytes to an RGB picture.

use std::io::Cursor;

use bundle::InputError;
use bundle::image::ImageKind;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, Limits};

use super::{Channels, Picture, jpeg, resize, webp};
use crate::caught::caught;

/// What PNG's decoder may take beside the pixels: for texts, and for a colour profile, which is compressed. It takes up to twice as much.
const MAX_SIDE_BYTES: u64 = 16 << 20;

/// A decoded picture, as it lies in the file, and how it is to be turned.
#[derive(Debug, Clone)]
pub struct Decoded {
    picture: Picture,
    orientation: Orientation,
}

/// Decodes a picture of at most `max_pixels` to RGB.
///
/// # Errors
///
/// [`InputError::TooLarge`] beyond `max_pixels`, [`InputError::Invalid`] for anything that is no whole picture.
pub fn decode(bytes: &[u8], max_pixels: u64) -> Result<Decoded, InputError> {
    let limits = Limit { max_pixels };
    let kind = ImageKind::of(bytes)?;
    caught(|| decode_kind(kind, bytes, limits)).unwrap_or_else(|why| Err(damaged(name(kind), why)))
}

const fn name(kind: ImageKind) -> &'static str {
    match kind {
        ImageKind::Jpeg => "JPEG",
        ImageKind::Png => "PNG",
        ImageKind::Webp => "WebP",
    }
}

fn decode_kind(kind: ImageKind, bytes: &[u8], limits: Limit) -> Result<Decoded, InputError> {
    match kind {
        ImageKind::Jpeg => {
            let (picture, orientation) = jpeg::decode(bytes, limits)?;
            Ok(Decoded { picture, orientation })
        }
        ImageKind::Png => {
            let mut decoder_limits = Limits::default();
            decoder_limits.max_alloc = Some(MAX_SIDE_BYTES);
            finish(PngDecoder::with_limits(Cursor::new(bytes), decoder_limits), "PNG", limits)
        }
        ImageKind::Webp => {
            webp::check(bytes, limits)?;
            finish(WebPDecoder::new(Cursor::new(bytes)), "WebP", limits)
        }
    }
}

/// The limit that a header is held to before pixels are decoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    max_pixels: u64,
}

impl Limit {
    pub(super) fn check(self, width: u64, height: u64) -> Result<(), InputError> {
        let max = self.max_pixels;
        if width == 0 || height == 0 {
            return Err(InputError::Invalid("the picture has no pixels".to_owned()));
        }
        match width.checked_mul(height) {
            Some(pixels) if pixels <= max => Ok(()),
            _ => Err(InputError::TooLarge(format!(
                "the picture has {width} x {height} pixels; the model takes at most {max} in all"
            ))),
        }
    }
}

pub(super) fn damaged(kind: &str, why: impl std::fmt::Display) -> InputError {
    let why: String = why.to_string().chars().filter(|letter| !letter.is_control()).take(160).collect();
    InputError::Invalid(format!("the {kind} picture is cut off, damaged or of an unknown variety: {why}"))
}

/// Decodes with one of `image`'s decoders, which has read the header.
fn finish(
    decoder: image::ImageResult<impl ImageDecoder>,
    kind: &'static str,
    limits: Limit,
) -> Result<Decoded, InputError> {
    let fault = |error| damaged(kind, Reason(error));
    let mut decoder = decoder.map_err(fault)?;
    let (width, height) = decoder.dimensions();
    limits.check(width.into(), height.into())?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let color = decoder.color_type();
    let bytes = usize::try_from(decoder.total_bytes()).map_err(|_| damaged(kind, "its size overflows"))?;
    let mut samples = vec![0; bytes];
    decoder.read_image(&mut samples).map_err(fault)?;
    let samples = match color {
        ColorType::Rgb8 => samples,
        ColorType::L8 => samples.iter().flat_map(|grey| [*grey; 3]).collect(),
        ColorType::La8 => {
            samples.as_chunks().0.iter().flat_map(|[grey, alpha]| [over_white(*grey, *alpha); 3]).collect()
        }
        ColorType::Rgba8 => shrink(samples, |[r, g, b, alpha]| [r, g, b].map(|value| over_white(value, alpha))),
        ColorType::L16 => samples.as_chunks().0.iter().flat_map(|grey| [eight(u16::from_ne_bytes(*grey)); 3]).collect(),
        ColorType::La16 => shrink(samples, |pixel: [u8; 4]| {
            let [grey, alpha] = words::<4, 2>(pixel);
            [over_white_16(grey, alpha); 3]
        }),
        ColorType::Rgb16 => shrink(samples, |pixel: [u8; 6]| words::<6, 3>(pixel).map(eight)),
        ColorType::Rgba16 => shrink(samples, |pixel: [u8; 8]| {
            let [r, g, b, alpha] = words::<8, 4>(pixel);
            [r, g, b].map(|value| over_white_16(value, alpha))
        }),
        _ => return Err(damaged(kind, "its samples are neither of 8 nor of 16 bits")),
    };
    let picture = Picture { width: width as usize, height: height as usize, channels: Channels::Rgb, samples };
    Ok(Decoded { picture, orientation })
}

/// Writes pixels of `N` bytes as RGB over themselves.
fn shrink<const N: usize>(mut samples: Vec<u8>, pixel: impl Fn([u8; N]) -> [u8; 3]) -> Vec<u8> {
    let pixels = samples.len() / N;
    for at in 0..pixels {
        let wide = *samples[at * N..].first_chunk().expect("a whole pixel");
        samples[at * 3..at * 3 + 3].copy_from_slice(&pixel(wide));
    }
    samples.truncate(pixels * 3);
    samples.shrink_to_fit();
    samples
}

fn words<const N: usize, const M: usize>(pixel: [u8; N]) -> [u16; M] {
    std::array::from_fn(|at| u16::from_ne_bytes([pixel[2 * at], pixel[2 * at + 1]]))
}

/// Rounded to the nearest.
fn eight(value: u16) -> u8 {
    ((u32::from(value) * 255 + 32_767) / 65_535) as u8
}

fn over_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

fn over_white_16(value: u16, alpha: u16) -> u8 {
    let (value, alpha) = (u64::from(value), u64::from(alpha));
    let blend = (value * alpha + 65_535 * (65_535 - alpha) + 32_767) / 65_535;
    eight(blend as u16)
}

/// `image`'s error without the words that it repeats.
struct Reason(image::ImageError);

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use image::ImageError::{Decoding, IoError, Limits};
        match &self.0 {
            Decoding(error) => match std::error::Error::source(error) {
                Some(source) => write!(f, "{source}"),
                None => write!(f, "{error}"),
            },
            Limits(_) => f.write_str("its header asks for too much memory"),
            IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => f.write_str("it ends too early"),
            other => write!(f, "{other}"),
        }
    }
}

impl Decoded {
    /// The picture as it is to be seen.
    #[must_use]
    pub fn upright(self) -> Picture {
        resize::turn(self.picture, self.orientation)
    }

    /// The picture as it is to be seen, its longer side shrunk to `max_side` pixels; one that is no longer keeps its size.
    #[must_use]
    pub fn fit(self, max_side: usize) -> Picture {
        // Shrinking first leaves fewer pixels to turn.
        resize::turn(resize::fit(self.picture, max_side), self.orientation)
    }
}
