//! From a picture's samples to a net's numbers.

use bundle::image::ImageChannels;
use bundle::{Data, ImageSchema, Tensor};

use crate::picture::{Channels, Picture};

/// How samples become numbers: a table for each of the net's channels.
pub(super) struct Preparation {
    channels: ImageChannels,
    tables: Vec<[f32; 256]>,
}

/// A rectangle of the padded picture: beyond the right and the lower edge, the edge is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Preparation {
    pub(super) fn new(schema: &ImageSchema) -> Self {
        let of = |values: &[f64], channel: usize, default: f64| values.get(channel).copied().unwrap_or(default);
        let table = |channel: usize| {
            let (mean, std) = (of(&schema.mean, channel, 0.0), of(&schema.std, channel, 1.0));
            std::array::from_fn(|sample| ((sample as f64 / 255.0 * schema.white - mean) / std) as f32)
        };
        let tables = (0..schema.channels.count()).map(table).collect();
        Self { channels: schema.channels, tables }
    }

    /// The picture in as many channels as the net has.
    pub(super) fn channels(&self, picture: Picture) -> Picture {
        match self.channels {
            ImageChannels::Grey => grey(picture),
            ImageChannels::Rgb | ImageChannels::Bgr => picture,
        }
    }

    /// 1 × channels × height × width numbers of a region that begins within the picture.
    pub(super) fn tensor(&self, picture: &Picture, region: Region) -> Tensor {
        let Region { left, top, width, height } = region;
        let count = picture.channels.count();
        let inside = width.min(picture.width - left);
        let mut data = Vec::with_capacity(self.tables.len() * width * height);
        for (channel, table) in self.tables.iter().enumerate() {
            let plane = if self.channels == ImageChannels::Bgr { count - 1 - channel } else { channel };
            for y in top..top + height {
                let row = y.min(picture.height - 1) * picture.width;
                let samples = &picture.samples[(row + left) * count..(row + left + inside) * count];
                data.extend(samples.iter().skip(plane).step_by(count).map(|sample| table[usize::from(*sample)]));
                let edge = data.last().copied().unwrap_or_default();
                data.resize(data.len() + width - inside, edge);
            }
        }
        Tensor { shape: vec![1, self.tables.len(), height, width], data: Data::Fp32(data) }
    }
}

/// ITU-R BT.601's lightness, in Pillow's arithmetic.
fn grey(picture: Picture) -> Picture {
    if picture.channels == Channels::Grey {
        return picture;
    }
    let lightness = |[r, g, b]: &[u8; 3]| {
        ((u32::from(*r) * 19_595 + u32::from(*g) * 38_470 + u32::from(*b) * 7_471 + 0x8000) >> 16) as u8
    };
    let samples = picture.samples.as_chunks().0.iter().map(lightness).collect();
    Picture { channels: Channels::Grey, samples, ..picture }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(text: &str) -> ImageSchema {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn samples_become_numbers_and_edges_are_repeated() {
        let samples = vec![0, 51, 102, 153, 204, 255];
        let picture = Picture { width: 2, height: 1, channels: Channels::Rgb, samples };
        let region = Region { left: 1, top: 0, width: 2, height: 2 };
        let rgb = Preparation::new(&schema("mean = [0.0, 0.0, 0.5]\nstd = [1.0, 1.0, 0.25]"));
        let tensor = rgb.tensor(&picture, region);
        assert_eq!(tensor.shape, [1, 3, 2, 2]);
        let expected = [[0.6_f32; 4], [0.8; 4], [2.0; 4]].concat();
        assert_eq!(tensor.data, Data::Fp32(expected));
        let bgr = Preparation::new(&schema("channels = \"bgr\"\nwhite = 255.0"));
        let tensor = bgr.tensor(&picture, Region { left: 0, width: 1, height: 1, top: 0 });
        assert_eq!(tensor.data, Data::Fp32(vec![102.0, 51.0, 0.0]));
        let lightness = Preparation::new(&schema("channels = \"grey\"\nwhite = 255.0"));
        let tensor = lightness.tensor(&lightness.channels(picture), region);
        // Pillow: Image.new("RGB", (1, 1), (153, 204, 255)).convert("L")
        assert_eq!((tensor.shape, tensor.data), (vec![1, 1, 2, 2], Data::Fp32(vec![195.0; 4])));
    }
}
