//! A label for a picture.

use bundle::{Data, Dim, ImageSchema, Manifest, ParamKind, Params};

use super::prepare::{Preparation, Region};
use crate::classes::{Labelled, Scores};
use crate::model::{Answer, Control, LoadError, Model, RunError};
use crate::onnx::Net;
use crate::picture::{Filter, decode};
use crate::table_model::PROBABILITIES;

struct ImageClasses {
    max_pixels: u64,
    preparation: Preparation,
    width: usize,
    height: usize,
    crop: Option<f64>,
    labels: Vec<String>,
    scores: Scores,
    input: String,
    net: Net,
}

pub(super) fn load(
    manifest: &Manifest,
    schema: &ImageSchema,
    labels: &[String],
    net: Net,
) -> Result<Box<dyn Model>, LoadError> {
    let contradiction = |why: String| Err(LoadError::Contradiction(why));
    let (input, [fixed_height, fixed_width]) = super::input(schema, &net).map_err(LoadError::Contradiction)?;
    let output = super::output(&net, 2).map_err(LoadError::Contradiction)?;
    let Some(size) = schema.size else {
        return contradiction("[input] lacks the size that the net takes: size = { width = 224, height = 224 }".into());
    };
    let (width, height) = (size.width, size.height);
    for (name, ours, theirs) in [("width", width, fixed_width), ("height", height, fixed_height)] {
        if let Some(theirs) = theirs.filter(|theirs| *theirs != ours) {
            return contradiction(format!("[input] size has a {name} of {ours}, the net of {theirs}"));
        }
    }
    let classes = match output.shape.as_deref() {
        Some([_, Dim::Fixed(1)]) => Some(2),
        Some([_, Dim::Fixed(classes)]) => Some(*classes),
        _ => None,
    };
    if let Some(classes) = classes.filter(|classes| *classes != labels.len()) {
        return contradiction(format!("[output] has {} labels, the net {classes} classes", labels.len()));
    }
    if manifest.params.get(PROBABILITIES).is_some_and(|param| param.kind != ParamKind::Boolean) {
        return contradiction(format!("[params.{PROBABILITIES}] must be a boolean"));
    }
    Ok(Box::new(ImageClasses {
        max_pixels: schema.max_pixels,
        preparation: Preparation::new(schema),
        width,
        height,
        crop: size.crop,
        labels: labels.to_vec(),
        scores: Scores::of(&net, 0),
        input,
        net,
    }))
}

impl Model for ImageClasses {
    fn run(&self, input: &[u8], params: &Params, control: &Control) -> Result<Answer, RunError> {
        let picture = decode(input, self.max_pixels)?.upright();
        if control.is_cancelled() {
            return Err(RunError::Cancelled);
        }
        let (width, height) = (self.width, self.height);
        // As torchvision and timm prepare pictures by default.
        let picture = picture.resized(width, height, self.crop, Filter::Bilinear);
        let picture = self.preparation.channels(picture);
        let tensor = self.preparation.tensor(&picture, Region { left: 0, top: 0, width, height });
        let outputs = self.net.run(vec![(&*self.input, tensor)])?;
        let numbers = match outputs.first().map(|output| &output.data) {
            Some(Data::Fp32(numbers)) if numbers.len() == 1 || numbers.len() == self.labels.len() => numbers,
            _ => return Err(RunError::Failed("the net did not answer one number for each label".to_owned())),
        };
        let all = params.flag(PROBABILITIES);
        let answer = Labelled::new(&self.labels, &self.scores.probabilities(numbers), all)
            .ok_or_else(|| RunError::Failed("the net answered what is not a number".to_owned()))?;
        let body = serde_json::to_vec(&answer).map_err(|error| RunError::Failed(error.to_string()))?;
        Ok(Answer { body, content_type: "application/json", extension: "json" })
    }

    fn memory_bytes(&self) -> u64 {
        self.net.memory_bytes()
    }
}
