//! Why a package is refused.

use serde::{Deserialize, Serialize};

use crate::document::ParseError;
use crate::limits::{LimitExceeded, Position};
use crate::xml::XmlFault;

/// Why bytes are not a package, or give no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// More than the limits allow.
    #[error("more than {max} {} allowed", match .limit {
        PackageLimit::Bytes => "bytes in a package are",
        PackageLimit::Entries => "entries in a package are",
        PackageLimit::Name => "bytes in the name of an entry are",
        PackageLimit::Entry => "bytes in one entry of a package are",
        PackageLimit::Expanded => "bytes in all entries of a package together are",
    })]
    Limit {
        /// The limit that was hit.
        limit: PackageLimit,
        /// Its value.
        max: u64,
    },
    /// Not a zip file, or one that is cut off, has something before or behind it, or contradicts itself.
    #[error("not a package, or a damaged one: {cause}")]
    NotAPackage {
        /// What does not fit.
        cause: String,
    },
    /// A ZIP64 archive, or one part of several.
    #[error("archives in several parts or with ZIP64 records are not accepted")]
    Unsupported,
    /// A name that leads out of the package or would not be the same everywhere: absolute, with `..`, `.` or nothing
    /// between slashes, with backslashes or control characters.
    #[error("the entry {name:?} has a name that leads out of the package or is not portable")]
    BadName {
        /// The name.
        name: String,
    },
    /// Two entries have one name, or names that differ by case or percent-encoding alone.
    #[error("two entries have the name {name:?}, or names that differ by case alone")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// An entry is encrypted.
    #[error("the entry {name:?} is encrypted")]
    Encrypted {
        /// Its name.
        name: String,
    },
    /// An entry is compressed by something else than deflate.
    #[error("the entry {name:?} is compressed by {method}, but only deflate is accepted")]
    Method {
        /// Its name.
        name: String,
        /// The method.
        method: String,
    },
    /// An entry is a symbolic link.
    #[error("the entry {name:?} is a symbolic link")]
    Link {
        /// Its name.
        name: String,
    },
    /// Bytes of the package belong to several entries, or to an entry and the directory.
    #[error("entries of the package overlap")]
    Overlap,
    /// An entry does not expand, or not to what its size and checksum say.
    #[error("the entry {name:?} is damaged: {cause}")]
    Damaged {
        /// Its name.
        name: String,
        /// What does not fit.
        cause: String,
    },
    /// The package's relationships are not well-formed XML in UTF-8, or exceed a limit.
    #[error("_rels/.rels: {cause}")]
    Relationships {
        /// What is wrong with them.
        cause: RelationshipsFault,
    },
    /// The relationships name a document that is not in the package.
    #[error("the relationships name {target:?} as root document, but it is not in the package")]
    NoSuchRoot {
        /// The relationship's target.
        target: String,
    },
    /// Nothing in the package is its document.
    #[error(
        "the package has no document: neither a relationship that names one, nor Manifest.aml, nor a file that ends in .aml"
    )]
    NoRoot,
    /// Several files could be the document, and nothing tells which.
    #[error("{} files could be the document: {}", candidates.len(), candidates.join(", "))]
    ManyRoots {
        /// Their names, at most [`MAX_REPORTED`](crate::MAX_REPORTED).
        candidates: Vec<String>,
    },
    /// The root document does not parse.
    #[error("{name}: {cause}")]
    Document {
        /// Its name.
        name: String,
        /// Why not.
        cause: ParseError,
    },
}

/// Which limit of a package was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PackageLimit {
    /// [`PackageLimits::bytes`](crate::PackageLimits::bytes).
    Bytes,
    /// [`PackageLimits::entries`](crate::PackageLimits::entries).
    Entries,
    /// [`PackageLimits::name`](crate::PackageLimits::name).
    Name,
    /// [`PackageLimits::entry`](crate::PackageLimits::entry).
    Entry,
    /// [`PackageLimits::expanded`](crate::PackageLimits::expanded).
    Expanded,
}

/// What can be wrong with a package's relationships.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelationshipsFault {
    /// Not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// Not well-formed, or with a document type declaration.
    #[error("{position}: {cause}")]
    NotWellFormed {
        /// Where it shows.
        position: Position,
        /// What is wrong.
        cause: XmlFault,
    },
    /// Nested too deep, for example.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

impl PackageError {
    /// `Ok` while `actual` is within `max`.
    pub(super) fn unless(actual: u64, max: u64, limit: PackageLimit) -> Result<(), Self> {
        if actual <= max { Ok(()) } else { Err(Self::Limit { limit, max }) }
    }

    pub(super) fn broken(cause: impl ToString) -> Self {
        Self::NotAPackage { cause: cause.to_string() }
    }
}
