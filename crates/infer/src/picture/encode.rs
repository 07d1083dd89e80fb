//! From a picture to a file's bytes.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use jpeg_encoder::{ColorType, Encoder};

use super::{Channels, Picture};

/// The files that answers come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lossless.
    Png,
    /// Lossy; the quality is from 1 to 100.
    Jpeg {
        /// The smaller, the smaller the file.
        quality: u8,
    },
}

impl Format {
    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg { .. } => "image/jpeg",
        }
    }

    /// A file name's extension, without the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg { .. } => "jpg",
        }
    }
}

/// Encodes a picture.
///
/// # Errors
///
/// A sentence for a picture that the format cannot hold: JPEG's sides have at most 65,535 pixels.
pub fn encode(picture: &Picture, format: Format) -> Result<Vec<u8>, String> {
    let Picture { width, height, channels, samples } = picture;
    let mut file = Vec::new();
    match format {
        Format::Png => {
            let color = match channels {
                Channels::Grey => ExtendedColorType::L8,
                Channels::Rgb => ExtendedColorType::Rgb8,
            };
            let side = |side: usize| u32::try_from(side).map_err(|_| "the picture is too large for PNG".to_owned());
            PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Adaptive)
                .write_image(samples, side(*width)?, side(*height)?, color)
                .map_err(|error| error.to_string())?;
        }
        Format::Jpeg { quality } => {
            let color = match channels {
                Channels::Grey => ColorType::Luma,
                Channels::Rgb => ColorType::Rgb,
            };
            let side = |side: usize| u16::try_from(side).map_err(|_| "the picture is too large for JPEG".to_owned());
            Encoder::new(&mut file, quality)
                .encode(samples, side(*width)?, side(*height)?, color)
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(file)
}
