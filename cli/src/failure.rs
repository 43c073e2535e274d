//! Why a program ends, and the exit code that tells scripts so.

use std::{io, process::ExitCode};

/// A program's failure; the text is for people and holds no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line asks for what cannot be.
    #[error("{0}")]
    Usage(String),
    /// A configuration that is not valid.
    #[error("{0}")]
    Configuration(String),
    /// Whatever went wrong at run time.
    #[error("{0}")]
    Runtime(String),
    /// There is a difference, and the command was to fail then; the result has been printed.
    #[error("there is a difference")]
    Drift,
    /// Whoever read the result has read enough.
    #[error("the output was closed")]
    OutputClosed,
}

// === impl Failure ===

impl Failure {
    /// 0 fine, 1 failure at run time, 2 usage, 78 bad configuration.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Runtime(_) | Failure::Drift => ExitCode::from(1),
            Failure::Usage(_) => ExitCode::from(2),
            Failure::Configuration(_) => ExitCode::from(78),
            Failure::OutputClosed => ExitCode::SUCCESS,
        }
    }

    /// What stopped a plane from starting: the machine, or what it was told to be.
    pub(crate) fn of_start(error: anyhow::Error) -> Failure {
        let machine = error.chain().any(|cause| cause.is::<io::Error>());
        let text = format!("{error:#}");
        if machine { Failure::Runtime(text) } else { Failure::Configuration(text) }
    }

    /// Whether the text is worth printing.
    pub(crate) fn is_told(&self) -> bool {
        match self {
            Failure::Usage(_) | Failure::Configuration(_) | Failure::Runtime(_) => true,
            Failure::Drift | Failure::OutputClosed => false,
        }
    }
}

/// What a running plane failed at.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Runtime(format!("{error:#}"))
    }
}

/// A failure to write a result.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Runtime(format!("failed to write the result: {error}")),
        }
    }
}
