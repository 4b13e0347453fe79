//! Packages: documents that come with what they refer to, in one zip file.
//!
//! ```text
//!   bytes ──► frame ──────────► archive ─────────────► root ─────────────► Package ──► Document
//!             size, end record, names, methods,        which entry is
//!             directory         sizes, checksums       the document
//! ```
//!
//! Three sorts are read, told apart by what is in them:
//!
//! 1. **`.amlx`**, the AutomationML container (IEC 62714-1; AutomationML BPR 008E): an Open Packaging
//!    Conventions package (ISO/IEC 29500-2). Its `_rels/.rels` names the document by the relationship [`ROOT_DOCUMENT`].
//! 2. **`.mtp`** (VDI/VDE/NAMUR 2658-1): the document is [`MANIFEST`].
//! 3. **A plain zip** with one file whose name ends in `.aml`.
//!
//! # What is refused
//!
//! A package from outside is an attack until it is read. Readers of zip files differ in what they make of a damaged or a
//! contradictory one, so nothing is repaired or searched for here: the end record ends the file, the directory stands
//! directly before it and holds what the record says, each entry's own header agrees with the directory, and no byte
//! belongs to two entries. Not read are ZIP64 and archives in several parts, which no package within the limits needs, and
//! what is encrypted, linked, or compressed by anything but deflate. What a name could do on a disk is refused though
//! nothing is written to one: `..`, absolute names, backslashes, two names that differ by case alone.
//!
//! Every limit is checked before the work it bounds. Declared sizes are refused where they are too large and believed
//! nowhere: what counts are the bytes that come out.

mod archive;
mod error;
mod frame;
mod name;
mod root;

use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::limits::Limits;

pub use error::{PackageError, PackageLimit, RelationshipsFault};

/// The relationship type by which an `.amlx` names its document. Compared without regard to case: writers differ.
pub const ROOT_DOCUMENT: &str = "http://schemas.automationml.org/container/relationship/RootDocument";
/// The name of the document in an `.mtp`.
pub const MANIFEST: &str = "Manifest.aml";

/// Largest package in bytes.
pub const MAX_PACKAGE: u64 = 256 << 20;
/// Most entries: packages with a whole plant's geometry have hundreds.
pub const MAX_ENTRIES: u32 = 10_000;
/// Longest name of an entry in bytes.
pub const MAX_NAME: u32 = 1 << 10;
/// Most bytes that entries expand to, one of them or all together. In the field, 2.3 MB become 82 MB.
pub const MAX_EXPANDED: u64 = 256 << 20;

/// The limits under which a package is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageLimits {
    /// Bytes of the package.
    pub bytes: u64,
    /// Entries, directories included.
    pub entries: u32,
    /// Bytes of an entry's name.
    pub name: u32,
    /// Bytes that one entry expands to.
    pub entry: u64,
    /// Bytes that all entries together expand to.
    pub expanded: u64,
}

impl Default for PackageLimits {
    fn default() -> Self {
        Self {
            bytes: MAX_PACKAGE,
            entries: MAX_ENTRIES,
            name: MAX_NAME,
            entry: MAX_EXPANDED,
            expanded: MAX_EXPANDED,
        }
    }
}

/// A package that was read and found sound, with everything in it.
///
/// # Invariants
///
/// - Names are relative, stay inside the package, and differ by more than case.
/// - One entry is the root document. Whether it is AutomationML shows when it is parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The files, in the order of the package's directory.
    entries: Vec<Entry>,
    /// Which of them is the document.
    root: usize,
}

/// A file in a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl Package {
    /// Reads a package: every entry is expanded and held against its checksum.
    ///
    /// # Errors
    /// [`PackageError`]: not a package, beyond the limits, damaged, refused, or without a document.
    ///
    /// # Examples
    /// ```
    /// use std::io::{Cursor, Write};
    ///
    /// use dt_aml::{Limits, Package, PackageLimits};
    /// use zip::write::{SimpleFileOptions, ZipWriter};
    ///
    /// let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    /// zip.start_file("Manifest.aml", SimpleFileOptions::default())?;
    /// zip.write_all(br#"<CAEXFile SchemaVersion="2.15"><InstanceHierarchy Name="Module"/></CAEXFile>"#)?;
    /// let bytes = zip.finish()?.into_inner();
    ///
    /// assert!(Package::is_one(&bytes));
    /// let package = Package::read(&bytes, &PackageLimits::default())?;
    /// assert_eq!(package.root_name(), "Manifest.aml");
    /// let document = package.document(&Limits::default())?;
    /// assert_eq!(document.find("/InstanceHierarchy[Module]")?.tag(), "InstanceHierarchy");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(bytes: &[u8], limits: &PackageLimits) -> Result<Self, PackageError> {
        let entries = archive::read(bytes, limits)?;
        let root = root::find(&entries)?;
        Ok(Self { entries, root })
    }

    /// Whether these bytes begin like a package. No document does: that begins with `<`, white space, or a byte-order mark.
    pub fn is_one(bytes: &[u8]) -> bool {
        frame::begins_like_one(bytes)
    }

    /// The files as (name, bytes), in the order of the package's directory.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.entries.iter().map(|entry| (&*entry.name, &*entry.bytes))
    }

    /// The bytes of the file with this name, exactly as [`Package::entries`] gives it.
    pub fn entry(&self, name: &str) -> Option<&[u8]> {
        self.entries().find(|(other, _)| *other == name).map(|(_, bytes)| bytes)
    }

    /// The name of the root document.
    pub fn root_name(&self) -> &str {
        self.root().0
    }

    /// Parses the root document.
    ///
    /// # Errors
    /// [`PackageError::Document`]: the entry is not a document, or not within the limits.
    pub fn document(&self, limits: &Limits) -> Result<Document, PackageError> {
        let (name, bytes) = self.root();
        Document::parse(bytes, limits)
            .map_err(|cause| PackageError::Document { name: name.to_owned(), cause })
    }

    fn root(&self) -> (&str, &[u8]) {
        self.entries.get(self.root).map_or(("", &[]), |entry| (&entry.name, &entry.bytes))
    }
}
