//! A net that classifies texts: a tokenizer before it, an ONNX graph from token ids to a number for each class.

use bundle::{Datatype, Dim, Port};

use crate::classes::{Scores, likeliest};
use crate::model::{Control, RunError};
use crate::onnx::{Data, Net, Tensor};
use crate::text_model::{TextEngine, Verdict};
use crate::tokens::{Padding, TextTokenizer, TokenizerError, Tokens};

/// The most tokens of a batch, padding included: what bounds the memory of a run. More make a run no faster per token.
const MAX_BATCH_TOKENS: usize = 2048;
/// The most texts of a batch.
const MAX_BATCH_TEXTS: usize = 32;

/// Why a net cannot be one that classifies texts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TextNetError {
    #[error("{0}")]
    Ports(String),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// What an input of the net gets of the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    InputIds,
    AttentionMask,
    TokenTypeIds,
}

impl Role {
    /// By the names that exporters give.
    fn of(name: &str) -> Option<Self> {
        match name {
            "input_ids" => Some(Self::InputIds),
            "attention_mask" => Some(Self::AttentionMask),
            "token_type_ids" => Some(Self::TokenTypeIds),
            _ => None,
        }
    }
}

/// A net and its tokenizer.
pub(crate) struct TextNet {
    net: Net,
    tokenizer: TextTokenizer,
    roles: Vec<Role>,
    /// The output with the classes' numbers.
    output: usize,
    scores: Scores,
    /// The classes, if the graph says how many.
    classes: Option<usize>,
    /// How many texts a run takes, if the graph takes one number only.
    texts: Option<usize>,
    /// How many tokens each text has, if the graph takes one number only.
    length: Option<usize>,
}

fn fixed(dim: Option<&Dim>) -> Option<usize> {
    match dim {
        Some(Dim::Fixed(size)) => Some(*size),
        _ => None,
    }
}

impl TextNet {
    pub(crate) fn new(net: Net, tokenizer: &[u8], max_tokens: Option<usize>) -> Result<Self, TextNetError> {
        let ports = |why: String| Err(TextNetError::Ports(why));
        let mut roles = Vec::new();
        for port in net.inputs() {
            // An only input is the ids, whatever its name.
            let role = Role::of(&port.name).or((net.inputs().len() == 1).then_some(Role::InputIds));
            let Some(role) = role else {
                let names: Vec<&str> = net.inputs().iter().map(|port| port.name.as_str()).collect();
                return ports(format!(
                    "the net's inputs are {}; a net for texts takes input_ids, and perhaps attention_mask and token_type_ids",
                    names.join(", ").chars().take(200).collect::<String>()
                ));
            };
            if port.shape.as_ref().is_some_and(|shape| shape.len() != 2) || filled(port.datatype, Vec::new()).is_none()
            {
                return ports(format!("the net's input {} does not take texts × tokens of whole numbers", port.name));
            }
            roles.push(role);
        }
        if !roles.contains(&Role::InputIds) {
            return ports("the net takes no input_ids".to_owned());
        }
        let output = match net.outputs() {
            [_] => Some(0),
            outputs => outputs.iter().position(|port| port.name == "logits"),
        };
        let Some(output) = output else {
            return ports("the net has several outputs, and none is called logits".to_owned());
        };
        let Port { name, datatype, shape } = &net.outputs()[output];
        if *datatype != Datatype::Fp32 || shape.as_ref().is_some_and(|shape| shape.len() != 2) {
            return ports(format!("the net's output {name} is not texts × classes of FP32"));
        }
        // A single number is that of the second of two classes.
        let classes = fixed(shape.as_ref().and_then(|shape| shape.get(1))).map(|width| width.max(2));
        let sizes = |at: usize| {
            let found = net.inputs().iter().filter_map(|port| fixed(port.shape.as_ref()?.get(at))).collect::<Vec<_>>();
            found.first().copied()
        };
        let (texts, length) = (sizes(0), sizes(1));
        if texts.is_some_and(|texts| texts == 0 || texts > MAX_BATCH_TEXTS) || length == Some(0) {
            return ports(format!("the net takes {texts:?} texts of {length:?} tokens at once"));
        }
        let tokenizer = TextTokenizer::read(tokenizer, max_tokens, length)?;
        let scores = Scores::of(&net, output);
        Ok(Self { net, tokenizer, roles, output, scores, classes, texts, length })
    }

    /// Runs the net on some texts' tokens; a row of numbers for each text.
    fn run(&self, batch: &[&Tokens]) -> Result<Vec<Vec<f32>>, RunError> {
        let padding = self.tokenizer.padding();
        let length = self.length.unwrap_or_else(|| padded(batch.iter().map(|tokens| tokens.ids.len()).max(), padding));
        let count = self.texts.unwrap_or(batch.len());
        let left = padding.is_some_and(|padding| padding.left);
        let (pad_id, pad_type) = padding.map_or((0, 0), |padding| (padding.id, padding.type_id));
        let rows = |of: &dyn Fn(&Tokens) -> Vec<u32>, pad: u32| {
            let mut all = Vec::with_capacity(count * length);
            for tokens in batch {
                let row = of(tokens);
                let gap = length.saturating_sub(row.len());
                all.extend(std::iter::repeat_n(pad, if left { gap } else { 0 }));
                all.extend(row);
                all.extend(std::iter::repeat_n(pad, if left { 0 } else { gap }));
            }
            // Rows that nobody asked for, where the net takes no fewer.
            all.resize(count * length, pad);
            all
        };
        let tensors = self.net.inputs().iter().zip(&self.roles).map(|(port, role)| {
            let numbers = match role {
                Role::InputIds => rows(&|tokens| tokens.ids.clone(), pad_id),
                Role::AttentionMask => rows(&|tokens| vec![1; tokens.ids.len()], 0),
                Role::TokenTypeIds => rows(&|tokens| tokens.type_ids.clone(), pad_type),
            };
            let data = filled(port.datatype, numbers).ok_or_else(|| RunError::Failed("no whole numbers".to_owned()))?;
            Ok((port.name.as_str(), Tensor { shape: vec![count, length], data }))
        });
        let tensors = tensors.collect::<Result<Vec<_>, RunError>>()?;
        let mut answers = self.net.run(tensors)?;
        let Tensor { shape, data } = answers.swap_remove(self.output);
        match (&shape[..], data) {
            ([rows, width], Data::Fp32(numbers)) if *rows == count && *width > 0 => {
                Ok(numbers.chunks(*width).take(batch.len()).map(<[f32]>::to_vec).collect())
            }
            _ => Err(RunError::Failed(format!("the net answered {count} texts with the shape {shape:?}"))),
        }
    }

    fn verdict(&self, row: &[f32], classes: usize) -> Result<Verdict, RunError> {
        let probabilities: Vec<f64> = self.scores.probabilities(row).into_iter().map(f64::from).collect();
        if probabilities.len() != classes {
            let count = probabilities.len();
            return Err(RunError::Failed(format!("the net has {count} classes, the bundle {classes} labels")));
        }
        let class = likeliest(&probabilities)
            .ok_or_else(|| RunError::Failed("the net's numbers grew beyond all bounds".to_owned()))?;
        Ok(Verdict { class, probabilities })
    }

    /// Whether rows of different lengths can run together: the net learns from the mask, or its tokenizer says how to pad.
    fn pads(&self) -> bool {
        self.length.is_some() || self.tokenizer.padding().is_some() || self.roles.contains(&Role::AttentionMask)
    }

    /// Cuts texts, sorted by length, into batches.
    fn batches<'a>(&self, sorted: &'a [usize], lengths: &[usize]) -> Vec<&'a [usize]> {
        let mut batches = Vec::new();
        let mut rest = sorted;
        while let Some(first) = rest.first() {
            let fits = |taken: usize, longest: usize| {
                let length = self.length.unwrap_or_else(|| padded(Some(longest), self.tokenizer.padding()));
                taken <= self.texts.unwrap_or(MAX_BATCH_TEXTS)
                    && taken * length <= MAX_BATCH_TOKENS
                    && (self.pads() || longest == lengths[*first])
            };
            let more = rest.iter().enumerate().skip(1).take_while(|(at, text)| fits(at + 1, lengths[**text])).count();
            let (batch, others) = rest.split_at(1 + more);
            batches.push(batch);
            rest = others;
        }
        batches
    }
}

/// The length that texts of at most `longest` tokens are brought to; at least one token, so that the net has something to run on.
fn padded(longest: Option<usize>, padding: Option<Padding>) -> usize {
    let (at_least, multiple) = padding.map_or((1, 1), |padding| (padding.at_least.max(1), padding.multiple));
    longest.unwrap_or(0).max(at_least).next_multiple_of(multiple)
}

/// Numbers as the net takes them.
fn filled(datatype: Datatype, numbers: Vec<u32>) -> Option<Data> {
    match datatype {
        Datatype::Int64 => Some(Data::Int64(numbers.into_iter().map(i64::from).collect())),
        // Ids beyond an i32 are no vocabulary's.
        Datatype::Int32 => Some(Data::Int32(numbers.into_iter().map(u32::cast_signed).collect())),
        Datatype::Fp32 => Some(Data::Fp32(numbers.into_iter().map(|number| number as f32).collect())),
        Datatype::Bool => Some(Data::Bool(numbers.into_iter().map(|number| number != 0).collect())),
        _ => None,
    }
}

impl TextEngine for TextNet {
    fn classes(&self) -> Option<usize> {
        self.classes
    }

    fn labels(&self) -> Option<&[String]> {
        None
    }

    fn classify(&self, texts: &[String], classes: usize, control: &Control) -> Result<Vec<Verdict>, RunError> {
        let mut tokens = Vec::with_capacity(texts.len());
        for text in texts {
            if control.is_cancelled() {
                return Err(RunError::Cancelled);
            }
            tokens.push(self.tokenizer.encode(text).map_err(|why| RunError::Failed(format!("the tokenizer {why}")))?);
        }
        let lengths: Vec<usize> = tokens.iter().map(|tokens| tokens.ids.len()).collect();
        let mut sorted: Vec<usize> = (0..texts.len()).collect();
        sorted.sort_by_key(|text| lengths[*text]);
        let mut verdicts = vec![Verdict { class: 0, probabilities: Vec::new() }; texts.len()];
        let mut done = 0;
        for batch in self.batches(&sorted, &lengths) {
            if control.is_cancelled() {
                return Err(RunError::Cancelled);
            }
            let rows = self.run(&batch.iter().map(|text| &tokens[*text]).collect::<Vec<_>>())?;
            for (text, row) in batch.iter().zip(rows) {
                verdicts[*text] = self.verdict(&row, classes)?;
            }
            done += batch.len() as u64;
            control.report(done, texts.len() as u64);
        }
        Ok(verdicts)
    }

    fn memory_bytes(&self) -> u64 {
        self.net.memory_bytes() + self.tokenizer.memory_bytes()
    }
}
