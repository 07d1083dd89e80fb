//! Pictures: what a model of them takes, and how their samples become a net's numbers.
//!
//! A picture comes as the bytes of a file, so it is always uploaded or dropped. This module looks at the first of them alone; who decodes
//! pictures is the engine.

use serde::{Deserialize, Serialize};

use crate::InputError;

/// What a model of pictures takes. Of a sample s, 0 to 255, the net gets (s / 255 × white − mean) / std.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSchema {
    /// The most pixels of a picture.
    #[serde(default = "fifty_million")]
    pub max_pixels: u64,
    /// What the net's channels are.
    #[serde(default)]
    pub channels: ImageChannels,
    /// What a white sample is before mean and std: 1, or 255 for a net that takes samples as they are.
    #[serde(default = "one")]
    pub white: f64,
    /// What is taken off each channel; nothing if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mean: Vec<f64>,
    /// What each channel is then divided by; 1 if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub std: Vec<f64>,
    /// Height and width as the net gets them are multiples of this: edges are repeated on the right and below, and cut off afterwards.
    #[serde(default = "one_pixel")]
    pub multiple: usize,
    /// How larger pictures are cut up; absent, the net gets them whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tile: Option<Tile>,
    /// The one size that the net takes, for a model that does not answer with a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
}

/// What a net's channels are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageChannels {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// Lightness alone.
    Grey,
}

impl ImageChannels {
    /// How many there are.
    pub fn count(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Grey => 1,
        }
    }
}

/// The tiles that a large picture is cut into, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tile {
    /// The longest side of a tile.
    pub side: usize,
    /// How far a tile reaches into its neighbours on each side. As far as a pixel sees in the net, seams do not show.
    pub overlap: usize,
}

/// The size that pictures are brought to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// How much of the largest centred part of the same aspect is kept, 0.875 say; absent, the whole picture is stretched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<f64>,
}

fn fifty_million() -> u64 {
    ImageSchema::DEFAULT_MAX_PIXELS
}

fn one() -> f64 {
    1.0
}

fn one_pixel() -> usize {
    1
}

/// The longest side of what a net gets at once.
const MAX_SIDE: usize = 8192;

impl ImageSchema {
    /// The most pixels where a manifest says nothing else: 50 megapixels.
    pub const DEFAULT_MAX_PIXELS: u64 = 50_000_000;

    pub(crate) fn check(&self) -> Result<(), String> {
        let fault = |why: &str| Err(format!("[input] {why}"));
        let count = self.channels.count();
        if self.max_pixels == 0 || self.max_pixels > 1 << 30 {
            return fault("max_pixels must be from 1 to 2^30");
        }
        if !self.white.is_finite() || self.white <= 0.0 {
            return fault("white must be a number above 0");
        }
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            if !(values.is_empty() || values.len() == count) || !values.iter().all(|value| value.is_finite()) {
                return fault(&format!("{name} must have one number for each of the {count} channels"));
            }
        }
        if self.std.iter().any(|std| *std <= 0.0) {
            return fault("std must be above 0");
        }
        let multiple = self.multiple;
        if multiple == 0 || multiple > MAX_SIDE {
            return fault(&format!("multiple must be from 1 to {MAX_SIDE}"));
        }
        if let Some(Tile { side, overlap }) = self.tile {
            if side > MAX_SIDE || side <= overlap.saturating_mul(2) {
                return fault(&format!("tile.side must be above twice the overlap and at most {MAX_SIDE}"));
            }
            if side % multiple != 0 || overlap % multiple != 0 {
                return fault(&format!("tile.side and tile.overlap must be multiples of {multiple}"));
            }
        }
        if let Some(Size { width, height, crop }) = self.size {
            if ![width, height].iter().all(|side| (1..=MAX_SIDE).contains(side)) {
                return fault(&format!("size.width and size.height must be from 1 to {MAX_SIDE}"));
            }
            if crop.is_some_and(|crop| !(crop > 0.0 && crop <= 1.0)) {
                return fault("size.crop must be above 0 and at most 1");
            }
        }
        Ok(())
    }
}

/// The kinds of files that pictures come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// WebP.
    Webp,
}

/// The media types of [`ImageKind`].
pub const MEDIA_TYPES: [&str; 3] = ["image/jpeg", "image/png", "image/webp"];

impl ImageKind {
    /// The kind that a file's first bytes promise.
    ///
    /// # Errors
    ///
    /// What people send by mistake is named.
    pub fn of(bytes: &[u8]) -> Result<Self, InputError> {
        let riff = |form: &[u8]| bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(form);
        if bytes.is_empty() {
            return Err(InputError::Empty("the input has no content".to_owned()));
        } else if bytes.starts_with(b"\xff\xd8") {
            return Ok(Self::Jpeg);
        } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            return Ok(Self::Png);
        } else if riff(b"WEBP") {
            return Ok(Self::Webp);
        }
        let brand = match (bytes.get(4..8), bytes.get(8..12)) {
            (Some(b"ftyp"), Some(brand)) => brand,
            _ => b"",
        };
        let other = match bytes {
            _ if matches!(brand, b"heic" | b"heix" | b"hevc" | b"mif1" | b"msf1") => "a HEIC picture",
            _ if matches!(brand, b"avif" | b"avis") => "an AVIF picture",
            [b'G', b'I', b'F', b'8', ..] => "a GIF",
            [b'B', b'M', ..] => "a BMP picture",
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => "a TIFF picture",
            [b'%', b'P', b'D', b'F', ..] => "a PDF document",
            _ if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() => {
                let why = "the model takes a picture, not JSON; send it as an upload: JPEG, PNG or WebP";
                return Err(InputError::Invalid(why.to_owned()));
            }
            _ => "no picture",
        };
        Err(InputError::Invalid(format!("the input is {other}; the model takes JPEG, PNG and WebP")))
    }

    /// Refuses a media type that names something else. What says nothing, such as `application/octet-stream`, passes.
    pub(crate) fn check_content_type(content_type: &str) -> Result<(), InputError> {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let good = MEDIA_TYPES.contains(&&*essence) || matches!(&*essence, "image/jpg" | "image/pjpeg" | "image/*");
        let other = essence.starts_with("image/")
            || essence.starts_with("text/")
            || essence.starts_with("video/")
            || essence.starts_with("audio/")
            || matches!(&*essence, "application/json" | "application/pdf");
        if good || !other {
            return Ok(());
        }
        Err(InputError::Invalid(format!(
            "the model takes {}, not {}",
            MEDIA_TYPES.join(", "),
            crate::table::quote(&essence)
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> ImageSchema {
        serde_json::from_str("{}").unwrap()
    }

    #[test]
    fn schemas_that_make_no_sense_are_refused() {
        assert_eq!(schema().check(), Ok(()));
        let tile = |side, overlap| Some(Tile { side, overlap });
        let faults = [
            ImageSchema { max_pixels: 0, ..schema() },
            ImageSchema { white: f64::NAN, ..schema() },
            ImageSchema { mean: vec![0.5], ..schema() },
            ImageSchema { channels: ImageChannels::Grey, mean: vec![f64::INFINITY], ..schema() },
            ImageSchema { std: vec![1.0, 0.0, 1.0], ..schema() },
            ImageSchema { multiple: 0, ..schema() },
            ImageSchema { tile: tile(64, 32), ..schema() },
            ImageSchema { tile: tile(8196, 0), ..schema() },
            ImageSchema { multiple: 8, tile: tile(68, 8), ..schema() },
            ImageSchema { size: Some(Size { width: 0, height: 8, crop: None }), ..schema() },
            ImageSchema { size: Some(Size { width: 8, height: 8, crop: Some(1.5) }), ..schema() },
        ];
        let faults: Vec<String> = faults.iter().map(|schema| schema.check().unwrap_err()).collect();
        insta::assert_snapshot!(faults.join("\n"));
    }

    #[test]
    fn what_is_no_picture_is_named() {
        assert_eq!(ImageKind::of(b"\xff\xd8\xff"), Ok(ImageKind::Jpeg));
        assert_eq!(ImageKind::of(b"RIFF\0\0\0\0WEBPVP8 "), Ok(ImageKind::Webp));
        let inputs: [&[u8]; 7] =
            [b"", b"{\"a\": 1}", b"\"aGk=\"", b"GIF89a", b"\0\0\0\x18ftypheic", b"%PDF-1.7", b"RIFF\0\0\0\0WAVE"];
        let faults: Vec<String> = inputs.iter().map(|bytes| ImageKind::of(bytes).unwrap_err().to_string()).collect();
        insta::assert_snapshot!(faults.join("\n"));
    }

    #[test]
    fn media_types_of_other_things_are_refused() {
        for good in ["image/jpeg", "IMAGE/PNG", "image/webp; q=1", "application/octet-stream", "image/jpg"] {
            assert_eq!(ImageKind::check_content_type(good), Ok(()), "{good}");
        }
        for bad in ["image/heic", "text/csv", "application/json; charset=utf-8", "video/mp4"] {
            assert!(ImageKind::check_content_type(bad).is_err(), "{bad}");
        }
        let error = ImageKind::check_content_type("image/gif").unwrap_err().to_string();
        assert_eq!(error, "the model takes image/jpeg, image/png, image/webp, not \"image/gif\"");
    }
}
