//! Reading: a file or standard input, a document or a package that holds one.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use dt_aml::{Document, Element, Limits, Package, PackageLimits};

use crate::failure::Failure;

/// A document, and where it came from.
pub(crate) struct Input {
    /// The file as the user named it.
    pub(crate) name: String,
    /// The package around the document.
    pub(crate) package: Option<Package>,
    pub(crate) document: Document,
}

impl Input {
    /// Reads a document or a package; `-` is standard input.
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        let name = if is_standard(file) { "standard input".to_owned() } else { file.display().to_string() };
        let bytes = bytes(file).map_err(|cause| Failure::Read { file: name.clone(), cause })?;
        let limits = Limits::default();
        if !Package::is_one(&bytes) {
            return match Document::parse(&bytes, &limits) {
                Ok(document) => Ok(Self { name, package: None, document }),
                Err(cause) => Err(Failure::Parse { file: name, cause }),
            };
        }
        let package = Package::read(&bytes, &PackageLimits::default());
        let read = package.and_then(|package| Ok((package.document(&limits)?, package)));
        match read {
            Ok((document, package)) => Ok(Self { name, package: Some(package), document }),
            Err(cause) => Err(Failure::Package { file: name, cause }),
        }
    }

    /// The element at an address, or at a CAEX path.
    pub(crate) fn find(&self, address: &str) -> Result<Element<'_>, Failure> {
        let failure = |cause| Failure::Find { file: self.name.clone(), address: address.to_owned(), cause };
        let found = self.document.find(address);
        found.or_else(|cause| self.document.find_path(address).map_err(|_| failure(cause)))
    }
}

/// Whether a name stands for standard input.
pub(crate) fn is_standard(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// The bytes, and at most one more than any limit allows: then the limit answers.
fn bytes(file: &Path) -> io::Result<Vec<u8>> {
    let most = Limits::default().bytes.max(PackageLimits::default().bytes).saturating_add(1);
    let mut bytes = Vec::new();
    if is_standard(file) {
        io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    } else {
        File::open(file)?.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
