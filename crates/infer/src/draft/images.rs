//! From a net to the manifest of a model of pictures.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

use bundle::image::{ImageChannels, Size, Tile};
use bundle::manifest::Input;
use bundle::{Data, Dim, Engine, ImageSchema, Limits, Manifest, ModelFormat, Output, Param, ParamKind, Tensor};
use serde_json::Value;

use super::{Choices, DraftError, Drafted};
use crate::images::{FORMAT, MAX_SIDE, QUALITY};
use crate::model::Control;
use crate::onnx::{Net, NetError};
use crate::picture::{Channels, Format, Picture, encode};
use crate::table_model::PROBABILITIES;

/// The largest file, in bytes: a phone's photo has some ten million.
const MAX_INPUT_BYTES: u64 = 40 << 20;
/// Large enough that little is seen twice, small enough for a worker's memory.
const TILE_SIDE: usize = 512;
const TILE_OVERLAP: usize = 64;
/// What classification nets are trained on if their file does not say.
const SIDE: usize = 224;
const CROP: f64 = 0.875;
/// Of torchvision's nets and most others that were trained on ImageNet.
const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];

/// How samples become a net's numbers, as it was trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pixels {
    /// 0 to 1.
    Unit,
    /// 0 to 255.
    Bytes,
    /// −1 to 1.
    Signed,
    /// 0 to 1, less ImageNet's mean, divided by its standard deviation.
    Imagenet,
}

/// No way of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("samples become 0..1, 0..255, -1..1 or imagenet")]
pub struct UnknownPixels;

impl FromStr for Pixels {
    type Err = UnknownPixels;
    fn from_str(text: &str) -> Result<Self, UnknownPixels> {
        match text {
            "0..1" => Ok(Self::Unit),
            "0..255" => Ok(Self::Bytes),
            "-1..1" => Ok(Self::Signed),
            "imagenet" => Ok(Self::Imagenet),
            _ => Err(UnknownPixels),
        }
    }
}

pub(super) fn to_image(file: &str, net: &Net, choices: &Choices) -> Result<Drafted, DraftError> {
    let others = ["labels", "features", "alphabet", "categories", "tokenizer"];
    choices.refuse_for("a model that makes pictures", &others)?;
    crate::images::output(net, 4).map_err(DraftError::Contradiction)?;
    let (mut schema, [height, width], pixels) = schema(net, choices)?;
    let longest = match (height, width) {
        (Some(height), Some(width)) => height.min(width),
        _ => {
            schema.multiple = multiple(net, schema.channels, [height, width]).map_err(example)?;
            TILE_SIDE.next_multiple_of(schema.multiple)
        }
    };
    let shortest = [height, width].into_iter().flatten().fold(longest, usize::min);
    let overlap = TILE_OVERLAP.min(shortest / 8).next_multiple_of(schema.multiple);
    schema.tile = Some(Tile { side: longest, overlap });
    let (black, white) = match (net.last_operators(0).last().map(String::as_str), pixels) {
        (Some("Sigmoid"), _) => (0.0, 1.0),
        (Some("Tanh"), _) => (-1.0, 1.0),
        (_, Pixels::Bytes) => (0.0, 255.0),
        (_, Pixels::Signed) => (-1.0, 1.0),
        (_, Pixels::Unit | Pixels::Imagenet) => (0.0, 1.0),
    };
    let output = Output::Image { description: String::new(), black, white };
    let mut manifest = choices.manifest(Engine::new(ModelFormat::Onnx, file), Input::Image(schema), output);
    manifest.limits = Limits { max_input_bytes: MAX_INPUT_BYTES, max_rows: 1, ..Limits::default() };
    manifest.params = params();
    Ok(Drafted { manifest, input: String::new(), tolerance: 0.0 })
}

pub(super) fn classification(file: &str, net: &Net, choices: &Choices) -> Result<Drafted, DraftError> {
    choices.refuse_for("a model of pictures", &["features", "alphabet", "categories", "tokenizer"])?;
    let output = crate::images::output(net, 2).map_err(DraftError::Contradiction)?;
    let (mut schema, [height, width], _) = schema(net, choices)?;
    let (height, width) = (height.unwrap_or(SIDE), width.unwrap_or(SIDE));
    schema.size = Some(Size { width, height, crop: Some(CROP) });
    let numbers = match output.shape.as_deref() {
        Some([_, Dim::Fixed(numbers)]) => *numbers,
        _ => try_out(net, schema.channels, [height, width]).map_err(example)?.data.len(),
    };
    let classes = if numbers == 1 { 2 } else { numbers };
    let labels = match &choices.labels {
        Some(labels) if labels.len() != classes => {
            let given = labels.len();
            let fault = format!("the model has {classes} classes, but --labels names {given}");
            return Err(DraftError::Contradiction(fault));
        }
        Some(labels) => labels.clone(),
        None => (0..classes).map(|class| class.to_string()).collect(),
    };
    let (engine, output) = (Engine::new(ModelFormat::Onnx, file), Output::Label { labels });
    let mut manifest = choices.manifest(engine, Input::Image(schema), output);
    manifest.limits = Limits { max_input_bytes: MAX_INPUT_BYTES, max_rows: 1, ..Limits::default() };
    let all = param(ParamKind::Boolean, Value::from(false), None, &[], "answer each label's probability as well");
    manifest.params = BTreeMap::from([(PROBABILITIES.to_owned(), all)]);
    Ok(Drafted { manifest, input: String::new(), tolerance: 0.0 })
}

/// What the net takes as far as its file and the person say, the height and width that it insists on, and how samples become numbers.
fn schema(net: &Net, choices: &Choices) -> Result<(ImageSchema, [Option<usize>; 2], Pixels), DraftError> {
    let contradiction = |why: &str| DraftError::Contradiction(why.to_owned());
    let [port] = net.inputs() else { return Err(contradiction("a picture goes into a net of one input")) };
    let Some([_, channels, height, width]) = port.shape.as_deref() else {
        return Err(contradiction("the net's input is no picture, N x channels x height x width"));
    };
    let channels = if *channels == Dim::Fixed(1) { ImageChannels::Grey } else { ImageChannels::Rgb };
    let pixels = choices.pixels.ok_or_else(|| {
        let why = "the net's file does not say how samples become its numbers; say so with --pixels 0..1, 0..255, -1..1 or \
                   imagenet (0..1, less ImageNet's mean, divided by its standard deviation)";
        DraftError::Unsaid(why.to_owned())
    })?;
    let count = channels.count();
    let (white, mean, std) = match pixels {
        Pixels::Unit => (1.0, Vec::new(), Vec::new()),
        Pixels::Bytes => (255.0, Vec::new(), Vec::new()),
        Pixels::Signed => (1.0, vec![0.5; count], vec![0.5; count]),
        Pixels::Imagenet if count == 3 => (1.0, IMAGENET_MEAN.to_vec(), IMAGENET_STD.to_vec()),
        Pixels::Imagenet => return Err(contradiction("the net takes grey pictures, which ImageNet has none of")),
    };
    let max_pixels = ImageSchema::DEFAULT_MAX_PIXELS;
    let schema = ImageSchema { max_pixels, channels, white, mean, std, multiple: 1, tile: None, size: None };
    let fixed = |dim: &Dim| if let Dim::Fixed(size) = dim { Some(*size) } else { None };
    Ok((schema, [fixed(height), fixed(width)], pixels))
}

/// The least power of two that height and width must be multiples of: nets that halve the size and double it again fail on others, or
/// answer with another size.
fn multiple(net: &Net, channels: ImageChannels, fixed: [Option<usize>; 2]) -> Result<usize, NetError> {
    let mut multiple = 1;
    loop {
        let size = fixed.map(|fixed| fixed.unwrap_or(64 + multiple));
        match try_out(net, channels, size) {
            Ok(answer) if answer.shape.len() == 4 && (0..2).all(|side| answer.shape[2 + side] % size[side] == 0) => {
                return Ok(multiple);
            }
            Err(error) if multiple == 64 => return Err(error),
            Ok(answer) if multiple == 64 => {
                let why = format!("it answers {:?} to a picture of {} x {} pixels", answer.shape, size[1], size[0]);
                return Err(NetError::Run(why));
            }
            _ => multiple *= 2,
        }
    }
}

/// The net's answer to a picture of zeros.
fn try_out(net: &Net, channels: ImageChannels, [height, width]: [usize; 2]) -> Result<Tensor, NetError> {
    let shape = vec![1, channels.count(), height, width];
    let data = Data::Fp32(vec![0.0; shape.iter().product()]);
    let name = net.inputs().first().map(|port| port.name.clone()).unwrap_or_default();
    let outputs = net.run(vec![(&*name, Tensor { shape, data })])?;
    outputs.into_iter().next().ok_or_else(|| NetError::Run("it has no output".to_owned()))
}

fn example(error: NetError) -> DraftError {
    DraftError::Example(Box::new(error))
}

fn params() -> BTreeMap<String, Param> {
    let side = "the longer side of the picture is shrunk to so many pixels; one that is no longer keeps its size";
    let format = "what kind of file the answer is";
    let quality = "of a JPEG answer: the higher, the closer to the drawing and the larger";
    BTreeMap::from([
        (MAX_SIDE.to_owned(), param(ParamKind::Integer, 1024.into(), Some((64.0, 4096.0)), &[], side)),
        (FORMAT.to_owned(), param(ParamKind::String, "png".into(), None, &["png", "jpeg"], format)),
        (QUALITY.to_owned(), param(ParamKind::Integer, 90.into(), Some((1.0, 100.0)), &[], quality)),
    ])
}

fn param(kind: ParamKind, default: Value, range: Option<(f64, f64)>, choices: &[&str], description: &str) -> Param {
    Param {
        kind,
        default,
        min: range.map(|(min, _)| min),
        max: range.map(|(_, max)| max),
        choices: choices.iter().map(|choice| (*choice).to_owned()).collect(),
        description: description.to_owned(),
    }
}

/// Whether it is the manifest of a model of pictures.
pub(super) fn is_of(manifest: &Manifest) -> bool {
    matches!(manifest.input, Input::Image(_))
}

/// Runs the drafted model on a picture that is too large for one tile.
pub(super) fn answer(
    manifest: &Manifest,
    files: &HashMap<String, &[u8]>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (width, height) = (TILE_SIDE + 8, 40);
    let samples = (0..width * height * 3).map(|at| (at % 251) as u8).collect();
    let picture = encode(&Picture { width, height, channels: Channels::Rgb, samples }, Format::Png)?;
    let params = manifest.read_params("")?;
    crate::load(manifest, files)?.run(&picture, &params, &Control::default())?;
    Ok(())
}
