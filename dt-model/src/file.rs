//! Files that appear and change as a whole, whenever the process dies: identities, journals, stores.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

/// Replaces the file at `path` by `bytes`, readable by its owner alone (on Unix): a crash at any moment leaves the former file or the new
/// one, whole.
///
/// The file beside it has the same name and `.saving` after it; one that a crash left is replaced, and a failure leaves none.
///
/// # Errors
/// What the system says. Unless only the flush of the folder failed, the former file is then still in place.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, |temporary| write_new(temporary, bytes))
}

/// Makes the file at `path` unless there is one: `make` is given another path beside it, where nothing is, and what it leaves there, flushed
/// to disk, is put in place. So a crash at any moment leaves no file at `path`, or a whole one.
///
/// # Errors
/// What `make` or the system says. Unless only the flush of the folder failed, there is then no file at `path`.
pub fn make_whole(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    if path.exists() { Ok(()) } else { replace(path, make) }
}

/// Puts what `make` leaves beside `path` in its place, in one step.
fn replace(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".saving");
    let temporary = path.with_file_name(name);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let made = make(&temporary).and_then(|()| fs::rename(&temporary, path));
    if made.is_err() {
        // Keys must not lie about. If this fails as well, the first error is the one that says why.
        let _ = fs::remove_file(&temporary);
    }
    made?;
    // A rename is durable once its folder is; only Unix can flush one.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Writes a new file that only its owner may read, flushed to disk.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
