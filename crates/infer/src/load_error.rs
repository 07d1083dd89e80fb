//! Why a file of trees was refused, whichever library wrote it.

use crate::source::OverBudget;
use crate::trees::TreeError;

/// Why a model file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// None of the formats: an XGBoost model in the binary format before 1.0, for one, or a pickle.
    #[error("not an XGBoost model in JSON or UBJ (`save_model` with a name that ends in .json or .ubj writes one)")]
    NotAModel,
    /// The bytes are not well-formed.
    #[error("malformed {format} at byte {at}: {problem}")]
    Syntax {
        /// "JSON", "UBJ" or "ONNX".
        format: &'static str,
        /// Offset into the file.
        at: usize,
        /// What is wrong there.
        problem: &'static str,
    },
    /// A line of a text format is malformed.
    #[error("line {line} is malformed: {problem}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Something every model has isn't there.
    #[error("the model has no {0}")]
    Missing(&'static str),
    /// Its parts make no sense or contradict each other.
    #[error("invalid model: {0}")]
    Invalid(String),
    /// A valid model that this engine can't predict with.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// A tree is malformed.
    #[error("tree {tree} is malformed")]
    Tree {
        /// Its place in the model.
        tree: usize,
        /// What is wrong with it.
        source: TreeError,
    },
    /// No library writes files that are packed so densely.
    #[error(transparent)]
    TooDense(#[from] OverBudget),
}

/// What a tree's reader may find: an error that the [builder](crate::trees::Builder) has, or one of its own.
pub(crate) enum NodeError {
    Tree(TreeError),
    Load(LoadError),
}

impl From<TreeError> for NodeError {
    fn from(error: TreeError) -> Self {
        Self::Tree(error)
    }
}

impl From<LoadError> for NodeError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl NodeError {
    /// The error, of this tree.
    pub(crate) fn of(self, tree: usize) -> LoadError {
        match self {
            Self::Tree(source) => LoadError::Tree { tree, source },
            Self::Load(error) => error,
        }
    }
}
