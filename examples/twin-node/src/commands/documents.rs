//! Documents: from files to the node, and back, without holding them in memory here.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use dt_ledger::DocumentId;
use dt_model::{ContentHash, ContentHasher, Name, TwinId};

use super::show::Show;
use super::words::PutFile;
use crate::api;
use crate::failure::{Failure, Kind, at};
use crate::remote::Remote;

/// A file, and how long it is.
pub(super) fn open(path: &Path) -> Result<(File, u64), Failure> {
    let file = File::open(path).map_err(|error| at(path, error))?;
    let data = file.metadata().map_err(|error| at(path, error))?;
    if data.is_file() { Ok((file, data.len())) } else { Err(at(path, "is no file")) }
}

/// Sends a file's content.
pub(super) fn put(remote: &Remote, put: PutFile, show: &mut Show<'_>) -> Result<(), Failure> {
    let PutFile { twin, file, title, media_type, component, version_of } = put;
    let (mut content, length) = open(&file)?;
    let query = match version_of {
        Some(document) => api::Put { document: Some(document), ..api::Put::default() },
        None => {
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let title = title.unwrap_or_else(|| Name::abridged(&name));
            api::Put { title: Some(title), media_type: Some(media_type), component, document: None }
        }
    };
    let stored: api::Stored =
        remote.send(&format!("/v1/twins/{twin}/documents"), &query, &mut content, length)?;
    show.line(&stored, &format!("{} version {}, {} bytes", stored.document, stored.version, stored.size))
}

/// Streams a document to where it is to go. What does not have the hash that the ledger registered does not stay.
pub(super) fn get(
    remote: &Remote,
    twin: TwinId,
    document: DocumentId,
    version: Option<u32>,
    to: Option<&Path>,
    show: &mut Show<'_>,
) -> Result<(), Failure> {
    let response = remote.fetch(&format!("/v1/twins/{twin}/documents/{document}"), &api::Get { version })?;
    let registered = response.headers().get(api::SHA256_HEADER).and_then(|value| value.to_str().ok());
    let registered: Option<ContentHash> = registered.and_then(|value| value.parse().ok());
    let mut content = response.into_body().into_reader();
    let Some(path) = to else {
        let (hash, _) = copy(&mut content, show.out, Path::new("-"))?;
        return match_registered(registered, hash);
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| at(path, error))?;
    let (hash, length) = copy(&mut content, &mut file, path)?;
    match_registered(registered, hash)?;
    file.as_file().sync_all().map_err(|error| at(path, error))?;
    file.persist(path).map_err(|error| at(path, error))?;
    let got = serde_json::json!({ "document": document, "size": length, "sha256": hash });
    show.line(&got, &format!("{length} bytes, SHA-256 {hash}"))
}

fn match_registered(registered: Option<ContentHash>, found: ContentHash) -> Result<(), Failure> {
    if registered == Some(found) {
        return Ok(());
    }
    Err(Failure::new(Kind::Internal, "the content does not have the hash that the ledger registered"))
}

/// Copies to `to`, which is at `path`.
fn copy(from: &mut dyn Read, to: &mut dyn Write, path: &Path) -> Result<(ContentHash, u64), Failure> {
    let (mut hasher, mut length, mut buffer) = (ContentHasher::default(), 0, vec![0; 64 * 1024]);
    loop {
        let broken = |error| Failure::unreachable(format_args!("the node's answer breaks off: {error}"));
        let read = from.read(&mut buffer).map_err(broken)?;
        if read == 0 {
            return Ok((hasher.finish(), length));
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read]).map_err(|error| at(path, error))?;
        length += read as u64;
    }
}
