//! Why a job cannot start or go on: values that travel up to `main`.
//!
//! Three kinds, never mixed: a [`crate::types::Fault`] is a row's problem, an [`Error`] is the
//! job's, and a bug is an assertion. Messages are lower case and say which object, what was
//! expected, what was found and what to do.

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;

/// The result of everything that can stop a job.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a job cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The job file has mistakes: all of them, each with its path in the file.
    #[error("{file}: {} problem{}\n{}", problems.len(), if problems.len() == 1 { "" } else { "s" },
        problems.iter().map(|p| format!("  {p}")).collect::<Vec<_>>().join("\n"))]
    Spec {
        /// The job file.
        file: String,
        /// `path.in.file: what was expected, what was found`.
        problems: Vec<String>,
    },
    /// Several job files of a chain have mistakes: all of them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<Error>),
    /// An input is not what the job says it is: file, column, expected, found, what to do.
    #[error("{0}")]
    Input(String),
    /// A file system call failed.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried: `read`, `create`, `list`.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The run directory holds other bytes under a key that should have been the same.
    #[error(
        "{key}: the run directory holds {found}, and this run made {made}: runs are immutable; \
         use another `run.root`, or remove the directory if nobody needs it"
    )]
    Conflict {
        /// The object.
        key: String,
        /// What is there.
        found: String,
        /// What was made now.
        made: String,
    },
    /// A model's file does not fit the model.
    #[error("{0}")]
    Model(String),
    /// The device asked for is not here, or failed.
    #[error("{0}")]
    Device(String),
    /// Another process of the cluster is gone, or could not be reached.
    #[error("{0}")]
    Cluster(String),
    /// The job stopped before its end; what is committed stays and the next run goes on from there.
    #[error("{0}")]
    Incomplete(String),
}

impl Error {
    /// Wraps a file system error with what was tried on which path.
    pub fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { what, path, source }
    }

    /// The process's exit code: 1 incomplete (resume is possible), 2 could not start.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Incomplete(_) | Error::Conflict { .. } | Error::Cluster(_) => 1,
            _ => 2,
        }
    }
}

/// Says something on standard error. Where that is closed or full nobody hears it, and nothing more
/// can be done: the macro would panic.
pub fn tell(what: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{what}");
}
