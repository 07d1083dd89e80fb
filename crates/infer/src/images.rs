//! Nets that take pictures: the answer is another picture ([`to_image`]) or a label ([`classes`]).
//!
//! ```text
//! file -> decode -> shrink, turn upright -> tiles, edges repeated -> net -> tiles put together -> PNG or JPEG
//! file -> decode -> turn upright, crop and resize to the net's size -> net -> label
//! ```

mod classes;
mod prepare;
mod tiles;
mod to_image;

use bundle::{Datatype, Dim, ImageSchema, Manifest, Output, Port};

use crate::model::{LoadError, Model};
use crate::onnx::Net;

pub(crate) use to_image::{FORMAT, MAX_SIDE, QUALITY};

/// A model of pictures around a net.
pub(crate) fn load(manifest: &Manifest, schema: &ImageSchema, net: Net) -> Result<Box<dyn Model>, LoadError> {
    match &manifest.output {
        Output::Image { black, white, .. } => to_image::load(schema, (*black, *white), net),
        Output::Label { labels } => classes::load(manifest, schema, labels, net),
        _ => Err(LoadError::Contradiction("a model of pictures answers an image or a label".to_owned())),
    }
}

/// The net's one input, and the height and width that it insists on.
fn input(schema: &ImageSchema, net: &Net) -> Result<(String, [Option<usize>; 2]), String> {
    let [port] = net.inputs() else {
        return Err(format!("the net has {} inputs; a picture goes into one", net.inputs().len()));
    };
    let picture = "the net's input is no picture of f32, N x channels x height x width";
    let (Datatype::Fp32, Some([number, channels, height, width])) = (port.datatype, port.shape.as_deref()) else {
        return Err(picture.to_owned());
    };
    let fixed = |dim: &Dim| if let Dim::Fixed(size) = dim { Some(*size) } else { None };
    if fixed(number).is_some_and(|number| number != 1) {
        return Err("the net takes several pictures at once; export it for one, or for any number".to_owned());
    }
    let ours = schema.channels.count();
    match fixed(channels) {
        Some(theirs) if theirs != ours => Err(format!("[input] has {ours} channels, the net {theirs}")),
        _ => Ok((port.name.clone(), [fixed(height), fixed(width)])),
    }
}

/// The net's first output, which must be of f32 and of this rank if the file says. Others are not looked at.
pub(crate) fn output(net: &Net, rank: usize) -> Result<&Port, String> {
    let port = net.outputs().first().ok_or("the net has no output")?;
    let fits = port.shape.as_ref().is_none_or(|shape| shape.len() == rank);
    if port.datatype == Datatype::Fp32 && fits {
        Ok(port)
    } else {
        Err(format!("the net's first output is not of f32 with {rank} dimensions"))
    }
}
