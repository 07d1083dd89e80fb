//! Shrinking, turning and enlarging.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::metadata::Orientation;

use super::{Channels, Picture};

/// What weighs the samples that a new one is made of. Both average over all that shrinking leaves out, as Pillow does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Pillow's `BILINEAR`.
    Bilinear,
    /// Pillow's `LANCZOS`: a window of three lobes.
    Lanczos,
}

impl Picture {
    /// The picture at another size. With `crop`, that much of the largest centred part of the new aspect is kept; without, the whole is
    /// stretched.
    #[must_use]
    pub fn resized(&self, width: usize, height: usize, crop: Option<f64>, filter: Filter) -> Picture {
        let crop = crop.map(|crop| {
            let (own_width, own_height) = (self.width as f64, self.height as f64);
            let scale = (own_width / width as f64).min(own_height / height as f64) * crop;
            let (width, height) = (width as f64 * scale, height as f64 * scale);
            ((own_width - width) / 2.0, (own_height - height) / 2.0, width, height)
        });
        resize(self, width, height, crop, filter)
    }
}

/// Shrinks the longer side to `max_side`, keeping the aspect; what is no longer stays as it is.
pub(super) fn fit(picture: Picture, max_side: usize) -> Picture {
    let longer = picture.width.max(picture.height);
    if longer <= max_side {
        return picture;
    }
    let side = |side: usize| ((side as f64 * max_side as f64 / longer as f64).round() as usize).max(1);
    let (width, height) = (side(picture.width), side(picture.height));
    resize(&picture, width, height, None, Filter::Lanczos)
}

/// Resamples a picture, or a part of it: left, top, width and height, in pixels.
fn resize(
    picture: &Picture,
    width: usize,
    height: usize,
    crop: Option<(f64, f64, f64, f64)>,
    filter: Filter,
) -> Picture {
    let kind = match picture.channels {
        Channels::Grey => PixelType::U8,
        Channels::Rgb => PixelType::U8x3,
    };
    let side = |side: usize| u32::try_from(side).expect("sides are far below 2^32");
    let source = ImageRef::new(side(picture.width), side(picture.height), &picture.samples, kind);
    let source = source.expect("a picture has all of its samples");
    let filter = match filter {
        Filter::Bilinear => FilterType::Bilinear,
        Filter::Lanczos => FilterType::Lanczos3,
    };
    let mut target = Image::new(side(width), side(height), kind);
    let mut options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
    if let Some((left, top, width, height)) = crop {
        options = options.crop(left, top, width, height);
    }
    Resizer::new().resize(&source, &mut target, &options).expect("both are of one kind, and a crop lies within");
    Picture { width, height, channels: picture.channels, samples: target.into_vec() }
}

/// Turns a picture as its EXIF orientation says.
pub(super) fn turn(picture: Picture, orientation: Orientation) -> Picture {
    // (swap the axes, from the right, from the bottom): where the target's pixel (0, 0) comes from, and which way rows run there.
    let (swap, right, bottom) = match orientation {
        Orientation::NoTransforms => return picture,
        Orientation::FlipHorizontal => (false, true, false),
        Orientation::Rotate180 => (false, true, true),
        Orientation::FlipVertical => (false, false, true),
        Orientation::Rotate90FlipH => (true, false, false),
        Orientation::Rotate90 => (true, false, true),
        Orientation::Rotate270FlipH => (true, true, true),
        Orientation::Rotate270 => (true, true, false),
    };
    let Picture { width, height, channels, samples } = picture;
    let count = channels.count();
    let (out_width, out_height) = if swap { (height, width) } else { (width, height) };
    let mut out = Vec::with_capacity(samples.len());
    for y in 0..out_height {
        for x in 0..out_width {
            let (x, y) = if swap { (y, x) } else { (x, y) };
            let x = if right { width - 1 - x } else { x };
            let y = if bottom { height - 1 - y } else { y };
            let at = (y * width + x) * count;
            out.extend_from_slice(&samples[at..at + count]);
        }
    }
    Picture { width: out_width, height: out_height, channels, samples: out }
}
