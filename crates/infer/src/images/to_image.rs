//! A picture for a picture.

use bundle::{Data, ImageSchema, InputError, Params, Tensor};

use super::prepare::{Preparation, Region};
use super::tiles::{Cut, Span};
use crate::model::{Answer, Control, LoadError, Model, RunError};
use crate::onnx::Net;
use crate::picture::{Channels, Format, Picture, decode, encode};

/// The parameter that the longer side is shrunk to, in pixels.
pub(crate) const MAX_SIDE: &str = "max_side";
/// The parameter that says what kind of file the answer is: `png` or `jpeg`.
pub(crate) const FORMAT: &str = "format";
/// The parameter of JPEG answers, 1 to 100.
pub(crate) const QUALITY: &str = "quality";

/// Where the manifest has no such parameter.
const DEFAULT_QUALITY: u8 = 90;

struct ImageToImage {
    max_pixels: u64,
    preparation: Preparation,
    /// Across and down.
    cuts: [Cut; 2],
    /// The net's numbers for black and white.
    black: f32,
    white: f32,
    input: String,
    net: Net,
}

pub(super) fn load(schema: &ImageSchema, range: (f64, f64), net: Net) -> Result<Box<dyn Model>, LoadError> {
    let (input, [height, width]) = super::input(schema, &net).map_err(LoadError::Contradiction)?;
    super::output(&net, 4).map_err(LoadError::Contradiction)?;
    if schema.size.is_some() {
        let why = "[input] size is for models that answer a label; larger pictures are cut into tiles";
        return Err(LoadError::Contradiction(why.to_owned()));
    }
    let cut = |fixed: Option<usize>| {
        let (multiple, tile) = (schema.multiple, schema.tile);
        let overlap = tile.map_or(0, |tile| tile.overlap);
        match fixed {
            None => Ok(Cut { multiple, longest: tile.map_or(usize::MAX, |tile| tile.side), overlap, exact: false }),
            Some(side) if side % multiple == 0 && side > 2 * overlap => {
                Ok(Cut { multiple, longest: side, overlap, exact: true })
            }
            Some(side) => Err(LoadError::Contradiction(format!(
                "the net takes {side} pixels, which is no multiple of [input] multiple or at most twice the tiles' overlap"
            ))),
        }
    };
    let cuts = [cut(width)?, cut(height)?];
    let (black, white) = (range.0 as f32, range.1 as f32);
    let preparation = Preparation::new(schema);
    Ok(Box::new(ImageToImage { max_pixels: schema.max_pixels, preparation, cuts, black, white, input, net }))
}

impl Model for ImageToImage {
    fn run(&self, input: &[u8], params: &Params, control: &Control) -> Result<Answer, RunError> {
        let number = |name: &str| params.get(name).and_then(serde_json::Value::as_u64);
        let quality = number(QUALITY).map_or(DEFAULT_QUALITY, |quality| quality.clamp(1, 100) as u8);
        let format = match params.get(FORMAT).and_then(serde_json::Value::as_str) {
            Some("jpeg") => Format::Jpeg { quality },
            _ => Format::Png,
        };
        let decoded = decode(input, self.max_pixels)?;
        let picture = match number(MAX_SIDE) {
            Some(side) => decoded.fit(usize::try_from(side).unwrap_or(usize::MAX).max(1)),
            None => decoded.upright(),
        };
        let picture = self.preparation.channels(picture);
        let [across, down] = self.cuts;
        let tiles = Tiles { across: across.spans(picture.width), down: down.spans(picture.height) };
        let net = |tensor: Tensor| {
            let outputs = self.net.run(vec![(&*self.input, tensor)])?;
            outputs.into_iter().next().ok_or_else(|| RunError::Failed("the net answered nothing".to_owned()))
        };
        let drawn = tiles.draw(&picture, self, &net, control)?;
        let body = encode(&drawn, format).map_err(RunError::Failed)?;
        Ok(Answer { body, content_type: format.content_type(), extension: format.extension() })
    }

    fn memory_bytes(&self) -> u64 {
        self.net.memory_bytes()
    }
}

struct Tiles {
    across: Vec<Span>,
    down: Vec<Span>,
}

impl Tiles {
    /// Runs the net on each tile and puts together what is kept.
    fn draw(
        &self,
        picture: &Picture,
        model: &ImageToImage,
        net: &dyn Fn(Tensor) -> Result<Tensor, RunError>,
        control: &Control,
    ) -> Result<Picture, RunError> {
        let total = (self.across.len() * self.down.len()) as u64;
        let mut canvas = None;
        for (row, down) in self.down.iter().enumerate() {
            for (column, across) in self.across.iter().enumerate() {
                if control.is_cancelled() {
                    return Err(RunError::Cancelled);
                }
                control.report((row * self.across.len() + column) as u64, total);
                let region = Region { left: across.start, top: down.start, width: across.length, height: down.length };
                let drawn = net(model.preparation.tensor(picture, region))?;
                let canvas = match &mut canvas {
                    Some(canvas) => canvas,
                    empty => empty.insert(Canvas::new(picture, region, &drawn, model)?),
                };
                canvas.put(&drawn, region, across, down)?;
            }
        }
        control.report(total, total);
        canvas.map(|canvas| canvas.picture).ok_or_else(|| RunError::Failed("the picture has no tiles".to_owned()))
    }
}

/// The answer as far as it is drawn.
struct Canvas {
    picture: Picture,
    /// How many of its pixels a pixel of the input becomes, along each side.
    factor: usize,
    black: f32,
    white: f32,
}

impl Canvas {
    /// What the first tile's answer shows: the answer's channels, and how much larger than the picture it is.
    fn new(picture: &Picture, region: Region, drawn: &Tensor, model: &ImageToImage) -> Result<Self, RunError> {
        let fault = || {
            let Region { width, height, .. } = region;
            RunError::Failed(format!(
                "the net answered {:?} for {width} x {height} pixels; expected 1 x 1 or 3 channels x the same height and width, or a \
                 multiple of both",
                drawn.shape
            ))
        };
        let [1, channels, height, width] = drawn.shape[..] else { return Err(fault()) };
        let channels = match channels {
            1 => Channels::Grey,
            3 => Channels::Rgb,
            _ => return Err(fault()),
        };
        let factor = height / region.height;
        if factor == 0 || (height, width) != (region.height * factor, region.width * factor) {
            return Err(fault());
        }
        let (width, height) = (picture.width * factor, picture.height * factor);
        let max = model.max_pixels;
        if (width as u64).saturating_mul(height as u64) > max {
            let why = format!("the answer would have {width} x {height} pixels; the model makes at most {max} in all");
            return Err(InputError::TooLarge(why).into());
        }
        let samples = vec![0; width * height * channels.count()];
        let picture = Picture { width, height, channels, samples };
        Ok(Self { picture, factor, black: model.black, white: model.white })
    }

    /// Writes what is kept of a tile's answer.
    fn put(&mut self, drawn: &Tensor, region: Region, across: &Span, down: &Span) -> Result<(), RunError> {
        let Self { picture, factor, black, white } = self;
        let (factor, count) = (*factor, picture.channels.count());
        let (width, height) = (region.width * factor, region.height * factor);
        let fault = || RunError::Failed("the net's answers for two tiles differ in shape".to_owned());
        let Data::Fp32(numbers) = &drawn.data else { return Err(fault()) };
        if drawn.shape != [1, count, height, width] || numbers.len() != count * height * width {
            return Err(fault());
        }
        let scale = 255.0 / (*white - *black);
        for (channel, plane) in numbers.chunks_exact(width * height).enumerate() {
            for y in down.keep.start * factor..down.keep.end * factor {
                let from = (y - region.top * factor) * width + (across.keep.start - region.left) * factor;
                let kept = across.keep.len() * factor;
                let to = (y * picture.width + across.keep.start * factor) * count + channel;
                let row = picture.samples[to..].iter_mut().step_by(count);
                for (sample, number) in row.zip(&plane[from..from + kept]) {
                    if number.is_nan() {
                        return Err(RunError::Failed("the net answered what is not a number".to_owned()));
                    }
                    // Rounded to the nearest, and within 0..=255.
                    *sample = ((number - *black) * scale + 0.5) as u8;
                }
            }
        }
        Ok(())
    }
}
