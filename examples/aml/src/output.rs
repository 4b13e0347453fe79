//! Writing: bytes to standard output as they are, or a file that appears whole or not at all.

use std::fs::{self, Permissions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use dt_aml::Document;

use crate::failure::Failure;

/// Writes bytes to standard output, whatever they are.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Writes a document to a file, or to standard output.
pub(crate) fn document(document: &Document, file: Option<&Path>) -> Result<(), Failure> {
    match file {
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            document.write_to(&mut out)?;
            Ok(out.flush()?)
        }
        Some(file) => write_whole(document, file)
            .map_err(|cause| Failure::Write { file: file.display().to_string(), cause }),
    }
}

/// Writes beside the file, then renames. A link stays, and what it leads to is replaced.
fn write_whole(document: &Document, file: &Path) -> io::Result<()> {
    let (file, there) = match fs::metadata(file) {
        Ok(there) if there.is_file() => (fs::canonicalize(file)?, Some(there.permissions())),
        Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it exists and is no regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (file.to_owned(), None),
        Err(error) => return Err(error),
    };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    let permissions = there.or_else(usual);
    if let Some(permissions) = &permissions {
        builder.permissions(permissions.clone());
    }
    let mut beside = builder.prefix(".aml-").tempfile_in(folder)?;
    let mut out = BufWriter::new(&mut beside);
    document.write_to(&mut out)?;
    out.flush()?;
    drop(out);
    beside.as_file().sync_all()?;
    beside.persist(&file)?;
    Ok(())
}

/// The permissions of a new file, from which the system takes the user's mask.
#[cfg(unix)]
fn usual() -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt as _;
    Some(Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn usual() -> Option<Permissions> {
    None
}

/// Whether two names lead to one file.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| -> Option<PathBuf> { fs::canonicalize(path).ok() };
    real(one).is_some_and(|one| real(other) == Some(one))
}
