//! From a classifier of texts to its manifest: scikit-learn's text features, or a net with its tokenizer.

use std::collections::BTreeMap;

use bundle::manifest::Input;
use bundle::{Engine, Limits, ModelFormat, Output, TextsSchema};
use serde_json::json;

use super::{Choices, DraftError, Drafted, TOKENIZER_FILE, probabilities_param};
use crate::onnx::Net;
use crate::table_model::PROBABILITIES;
use crate::text_model::TextEngine;
use crate::text_net::{TextNet, TextNetError};
use crate::tfidf::TfidfModel;

/// The example's text.
const EXAMPLE: &str = "A text to classify.";

/// Of a file of scikit-learn's.
pub(super) fn of_features(file: &str, bytes: &[u8], choices: &Choices) -> Result<Drafted, DraftError> {
    let kind = "a classifier of text features";
    choices.refuse_for(kind, &["features", "alphabet", "categories", "tokenizer"])?;
    let model = TfidfModel::read(bytes).map_err(|error| DraftError::Load(Box::new(error)))?;
    let engine = Engine::new(ModelFormat::TfidfLinear, file);
    let mut drafted = drafted(engine, choices, &model, None, 1e-9)?;
    let (estimator, scikit_learn) = model.estimator();
    drafted.manifest.training = toml::Table::from_iter([
        ("library".to_owned(), format!("scikit-learn {scikit_learn}").into()),
        ("estimator".to_owned(), estimator.into()),
    ]);
    if !model.has_probabilities() {
        drafted.manifest.params.remove(PROBABILITIES);
    }
    Ok(drafted)
}

/// Of a net.
pub(super) fn of_net(file: &str, net: Net, choices: &Choices) -> Result<Drafted, DraftError> {
    choices.refuse_for("a net that classifies texts", &["features", "alphabet", "categories"])?;
    let tokenizer = choices.tokenizer.as_ref().ok_or_else(|| {
        DraftError::Unsaid(
            "the net takes tokens; name the tokenizer that makes them of texts with --tokenizer FILE".into(),
        )
    })?;
    let model = TextNet::new(net, tokenizer, None).map_err(|error| match error {
        TextNetError::Ports(fault) => DraftError::Contradiction(fault),
        TextNetError::Tokenizer(error) => DraftError::Load(Box::new(error)),
    })?;
    let mut engine = Engine::new(ModelFormat::Onnx, file);
    engine.tokenizer = Some(TOKENIZER_FILE.to_owned());
    // Processors with other vector units add in another order.
    drafted(engine, choices, &model, Some(60 * 60), 1e-5)
}

fn drafted(
    engine: Engine,
    choices: &Choices,
    model: &dyn TextEngine,
    max_seconds: Option<u64>,
    tolerance: f64,
) -> Result<Drafted, DraftError> {
    let labels = match (&choices.labels, model.classes()) {
        (Some(labels), Some(classes)) if labels.len() != classes => {
            let given = labels.len();
            return Err(DraftError::Contradiction(format!(
                "the model has {classes} classes, but --labels names {given}"
            )));
        }
        (Some(labels), _) => labels.clone(),
        (None, Some(classes)) => match model.labels() {
            Some(labels) => labels.to_vec(),
            None => (0..classes).map(|class| class.to_string()).collect(),
        },
        (None, None) => {
            let fault = "the net does not say how many classes it has; name them with --labels a,b,...";
            return Err(DraftError::Unsaid(fault.to_owned()));
        }
    };
    let mut manifest = choices.manifest(engine, Input::Texts(TextsSchema::default()), Output::Label { labels });
    let limits = Limits::default();
    manifest.limits = Limits { max_rows: 1, max_seconds: max_seconds.unwrap_or(limits.max_seconds), ..limits };
    manifest.params = BTreeMap::from([(PROBABILITIES.to_owned(), probabilities_param())]);
    Ok(Drafted { manifest, input: json!({"text": {"0": EXAMPLE}}).to_string(), tolerance })
}
