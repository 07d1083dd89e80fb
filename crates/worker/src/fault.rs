//! Everything that can go wrong with a job, and what follows from it.

use std::time::Duration;

use bundle::InputError;
use cloud::StoreError;
use infer::{LoadError, RunError};
use job::Problem;
use job::error::{Code, causes};
use ledger::LedgerError;
use registry::RegistryError;

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("the storage took too long to answer")]
    Slow,
    /// The job can't be answered, whoever tries.
    #[error("{0}")]
    Refused(Problem),
    #[error("the parameters do not fit the model")]
    Params(#[source] InputError),
    #[error("the model could not be loaded")]
    Load(#[from] LoadError),
    #[error("the model panicked while it was loaded")]
    LoadPanicked,
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("the model panicked")]
    Panicked,
    #[error("the model took longer than {} s", .0.as_secs())]
    TimedOut(Duration),
    /// Even after it was told to stop.
    #[error("the model took longer than {} s and does not stop", .0.as_secs())]
    Hung(Duration),
}

/// What a fault means for its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Another attempt would fail as well.
    Permanent,
    /// Another attempt may succeed.
    Transient,
    /// A document can't be read. It may be a newer program's, so nothing is concluded from it: the message goes back, and
    /// in the end to the dead letters.
    Unreadable,
}

impl Fault {
    pub(crate) fn refused(code: Code, detail: impl Into<String>) -> Self {
        Self::Refused(Problem::new(code, detail))
    }

    pub(crate) fn class(&self) -> Class {
        let transient = |transient| if transient { Class::Transient } else { Class::Permanent };
        match self {
            Self::Ledger(LedgerError::Corrupt { .. }) => Class::Unreadable,
            Self::Ledger(error @ (LedgerError::Store(_) | LedgerError::Queue(_))) => transient(error.is_transient()),
            Self::Store(error) => transient(error.is_transient()),
            Self::Registry(error) => transient(error.is_transient()),
            Self::Slow | Self::Panicked | Self::TimedOut(_) => Class::Transient,
            // Nobody but us cancels a run, and then its answer is not looked at.
            Self::Run(RunError::Cancelled) => Class::Transient,
            Self::Refused(_)
            | Self::Params(_)
            | Self::Load(_)
            | Self::LoadPanicked
            | Self::Run(RunError::Input(_) | RunError::Failed(_)) => Class::Permanent,
            // It costs a worker each time, so it is not tried again.
            Self::Hung(_) => Class::Permanent,
        }
    }

    /// What the client is told.
    pub(crate) fn problem(&self) -> Problem {
        match self {
            Self::Ledger(error) => error.problem(),
            Self::Store(error) if error.is_transient() => storage_problem(),
            Self::Store(_) => Problem::new(Code::Internal, "the storage refused a request of ours"),
            Self::Registry(error) => error.problem(),
            Self::Slow => storage_problem(),
            Self::Refused(problem) => problem.clone(),
            Self::Params(error) => Problem::new(Code::InvalidParams, error.to_string()),
            Self::Load(_) | Self::LoadPanicked => {
                Problem::new(Code::ModelBroken, "the model's bundle cannot be loaded; its operator has to mend it")
            }
            Self::Run(RunError::Input(error)) => registry::input_problem(error),
            Self::Run(RunError::Cancelled) => Problem::new(Code::Internal, "the attempt was stopped"),
            Self::Run(RunError::Failed(why)) => Problem::new(Code::ModelFailed, why.clone()),
            Self::Panicked => Problem::new(Code::ModelPanicked, "the model crashed; the other jobs are not affected"),
            Self::TimedOut(limit) | Self::Hung(limit) => {
                Problem::new(Code::TimedOut, format!("the model may take {} s", limit.as_secs()))
            }
        }
    }

    /// Writes the one log line that has the whole story; clients see [`Fault::problem`] only. Whose attempt it was, the span
    /// says.
    pub(crate) fn log(&self) {
        tracing::warn!(code = %self.problem().code, class = ?self.class(), "{}", self.story());
    }

    /// What the log may know. What is wrong with an input is told by quoting it, and that is between the client and us.
    fn story(&self) -> String {
        match self {
            Self::Refused(problem) => problem.title.clone(),
            Self::Params(_) => self.to_string(),
            Self::Run(RunError::Input(_)) => "the input does not fit the model".to_owned(),
            Self::Ledger(_)
            | Self::Store(_)
            | Self::Registry(_)
            | Self::Slow
            | Self::Load(_)
            | Self::LoadPanicked
            | Self::Run(RunError::Cancelled | RunError::Failed(_))
            | Self::Panicked
            | Self::TimedOut(_)
            | Self::Hung(_) => format!("{self}{}", causes(self)),
        }
    }
}

fn storage_problem() -> Problem {
    Problem::new(Code::StorageUnavailable, "the storage did not answer")
}
