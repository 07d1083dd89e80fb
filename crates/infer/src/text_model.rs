//! A classifier of texts behind a schema: JSON texts in, a label each out; perhaps with a second, faster engine.

use bundle::manifest::Input;
use bundle::{Manifest, Output, ParamKind, Params, Texts, TextsForm, TextsSchema};
use serde::{Serialize, Serializer};

use crate::classes::Labelled;
use crate::model::{Answer, Control, LoadError, Model, RunError};
use crate::table_model::{PROBABILITIES, swapped};
use crate::tfidf::{Scratch, TfidfModel};

/// Texts between two looks at the control.
const BLOCK_TEXTS: usize = 64;

/// What an engine says of one text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    /// The class's place among the labels.
    pub(crate) class: usize,
    /// Each class's probability; empty if the engine has none.
    pub(crate) probabilities: Vec<f64>,
}

/// What classifies texts.
pub(crate) trait TextEngine: Send + Sync {
    /// How many classes it has; nothing if its file doesn't say.
    fn classes(&self) -> Option<usize>;

    /// Its file's own names for its classes, if there are any.
    fn labels(&self) -> Option<&[String]>;

    /// Classifies texts, in their order. `classes` is how many labels there are.
    fn classify(&self, texts: &[String], classes: usize, control: &Control) -> Result<Vec<Verdict>, RunError>;

    /// About how much memory it holds, in bytes.
    fn memory_bytes(&self) -> u64;
}

struct TextModel {
    schema: TextsSchema,
    labels: Vec<String>,
    engine: Box<dyn TextEngine>,
    fast: Option<Box<dyn TextEngine>>,
}

/// A model around an engine, and around a fast one if the bundle has two.
pub(crate) fn model(
    manifest: &Manifest,
    engine: Box<dyn TextEngine>,
    fast: Option<Box<dyn TextEngine>>,
) -> Result<Box<dyn Model>, LoadError> {
    let contradiction = |why: String| Err(LoadError::Contradiction(why));
    let (Input::Texts(schema), Output::Label { labels }) = (&manifest.input, &manifest.output) else {
        return contradiction("a model that classifies texts takes texts and answers a label".to_owned());
    };
    for engine in [Some(&engine), fast.as_ref()].into_iter().flatten() {
        if let Some(classes) = engine.classes().filter(|classes| *classes != labels.len()) {
            return contradiction(format!("it has {} labels, the model file {classes} classes", labels.len()));
        }
        // Other names than the file's are a translation; its own in another order would swap the answers.
        if engine.labels().is_some_and(|theirs| swapped(labels, theirs)) {
            return contradiction("its labels are the model file's in another order".to_owned());
        }
    }
    if manifest.params.get(PROBABILITIES).is_some_and(|param| param.kind != ParamKind::Boolean) {
        return contradiction(format!("[params.{PROBABILITIES}] must be a boolean"));
    }
    Ok(Box::new(TextModel { schema: schema.clone(), labels: labels.clone(), engine, fast }))
}

impl Model for TextModel {
    fn run(&self, input: &[u8], params: &Params, control: &Control) -> Result<Answer, RunError> {
        let Texts { texts, form, do_fast } = Texts::from_json(&self.schema, self.fast.is_some(), input)?;
        let engine = self.fast.as_ref().filter(|_| do_fast).unwrap_or(&self.engine);
        let verdicts = engine.classify(&texts, self.labels.len(), control)?;
        let all = params.flag(PROBABILITIES);
        let answer = |Verdict { class, probabilities }| Labelled::chosen(&self.labels, class, probabilities, all);
        let answers = verdicts.into_iter().map(answer).collect();
        let body =
            serde_json::to_vec(&Answers { form, answers }).map_err(|error| RunError::Failed(error.to_string()))?;
        Ok(Answer { body, content_type: "application/json", extension: "json" })
    }

    fn memory_bytes(&self) -> u64 {
        self.engine.memory_bytes() + self.fast.as_ref().map_or(0, |engine| engine.memory_bytes())
    }
}

struct Answers<'a> {
    form: TextsForm,
    answers: Vec<Labelled<'a>>,
}

impl Serialize for Answers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.form.serialize(&self.answers, serializer)
    }
}

impl TextEngine for TfidfModel {
    fn classes(&self) -> Option<usize> {
        Some(self.labels().len())
    }

    fn labels(&self) -> Option<&[String]> {
        Some(self.labels())
    }

    fn classify(&self, texts: &[String], _: usize, control: &Control) -> Result<Vec<Verdict>, RunError> {
        let mut scratch = Scratch::default();
        let mut verdicts = Vec::with_capacity(texts.len());
        for block in texts.chunks(BLOCK_TEXTS) {
            if control.is_cancelled() {
                return Err(RunError::Cancelled);
            }
            verdicts.extend(block.iter().map(|text| {
                let decision = self.decide(text, &mut scratch);
                Verdict { class: self.class(&decision), probabilities: self.probabilities(&decision) }
            }));
            control.report(verdicts.len() as u64, texts.len() as u64);
        }
        Ok(verdicts)
    }

    fn memory_bytes(&self) -> u64 {
        self.memory_bytes()
    }
}
