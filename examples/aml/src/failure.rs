//! What a command may fail with, and what would be right.

use std::io;

use dt_aml::{EditError, FindError, PackageError, ParseError, PatchError};

use crate::words::{place_of, plain};

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A file cannot be read.
    #[error("{file}: cannot be read: {cause}")]
    Read { file: String, cause: io::Error },
    /// A file is not a document.
    #[error("{file}:{}{}", if has_place(.cause) { "" } else { " " }, plain(&.cause.to_string()))]
    Parse { file: String, cause: ParseError },
    /// A file begins like a package and is none, or has no document.
    #[error("{file}: {}", plain(&.cause.to_string()))]
    Package { file: String, cause: PackageError },
    /// An address finds no element.
    #[error("{file}: {}: {cause}", plain(.address))]
    Find { file: String, address: String, cause: FindError },
    /// An edit is refused; nothing was written.
    #[error("{file}: {}", plain(&.cause.to_string()))]
    Edit { file: String, cause: EditError },
    /// What differs cannot be told.
    #[error("{file}: {}", plain(&.cause.to_string()))]
    Diff { file: String, cause: PatchError },
    /// The fragment cannot be read from standard input.
    #[error("the fragment cannot be read from standard input: {0}")]
    Fragment(io::Error),
    /// Standard input cannot be both.
    #[error("the file and the fragment cannot both come from standard input")]
    OneInput,
    /// A file cannot be written; what was there before is still there.
    #[error("{file}: cannot be written: {cause}")]
    Write { file: String, cause: io::Error },
    /// The package would be overwritten by its document.
    #[error("{file}: is a package, and would be overwritten by its document alone")]
    OverPackage { file: String },
    /// Standard output does not take what is written to it.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// What belongs to the message and needs lines of its own.
    pub(crate) fn details(&self) -> Vec<String> {
        match self {
            Self::Edit { cause: EditError::Referenced { by }, .. } => by.iter().map(place_of).collect(),
            _ => Vec::new(),
        }
    }

    /// What would be right, where that is not plain from the message.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Find { .. } | Self::Edit { cause: EditError::Find { .. }, .. } => {
                Some("`aml tree FILE` shows what there is, with IDs")
            }
            Self::Edit { cause: EditError::Referenced { .. }, .. } => Some(
                "`--policy open-links` removes it and leaves these references open, `--policy cascade` removes them too",
            ),
            Self::Package { cause: PackageError::ManyRoots { .. }, .. } => {
                Some("unpack it and give the document itself")
            }
            Self::OneInput => Some("give one of them by name or as text"),
            Self::OverPackage { .. } => Some("give another name with -o, such as one that ends in .aml"),
            _ => None,
        }
    }
}

/// Whether the message of an error begins with line and column.
fn has_place(cause: &ParseError) -> bool {
    matches!(cause, ParseError::Dtd { .. } | ParseError::NotWellFormed { .. })
}
