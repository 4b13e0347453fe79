//! Which file of a package is its document.

use super::error::{PackageError, RelationshipsFault};
use super::{Entry, MANIFEST, ROOT_DOCUMENT, name};
use crate::edit::MAX_REPORTED;
use crate::limits::{Limits, Position};
use crate::xml::{self, Reader, Refusal, Scope, Shape, Tag};

/// Where the relationships of a package stand (ISO/IEC 29500-2, relationships part).
const RELATIONSHIPS: &str = "_rels/.rels";
/// How documents in a plain zip end.
const SUFFIX: &str = ".aml";

/// The number of the entry that is the document: the one that the relationships name, or else the manifest, or else the
/// only document there is.
pub(super) fn find(entries: &[Entry]) -> Result<usize, PackageError> {
    let named = |name: &str| {
        let key = name::key(name);
        entries.iter().position(|entry| name::key(&entry.name) == key)
    };
    if let Some(relationships) = named(RELATIONSHIPS) {
        let targets =
            targets(&entries[relationships].bytes).map_err(|cause| PackageError::Relationships { cause })?;
        match targets.as_slice() {
            [] => {}
            [target] => {
                let found = named(&path_of(target));
                return found.ok_or_else(|| PackageError::NoSuchRoot { target: target.clone() });
            }
            many => {
                return Err(PackageError::ManyRoots {
                    candidates: many.iter().take(MAX_REPORTED).cloned().collect(),
                });
            }
        }
    }
    if let Some(manifest) = named(MANIFEST) {
        return Ok(manifest);
    }
    let is_document = |entry: &Entry| name::key(&entry.name).ends_with(SUFFIX);
    let mut documents = entries.iter().enumerate().filter(|(_, entry)| is_document(entry));
    match (documents.next(), documents.next()) {
        (Some((only, _)), None) => Ok(only),
        (None, _) => Err(PackageError::NoRoot),
        (Some(_), Some(_)) => {
            let names = entries.iter().filter(|entry| is_document(entry)).map(|entry| entry.name.clone());
            Err(PackageError::ManyRoots { candidates: names.take(MAX_REPORTED).collect() })
        }
    }
}

/// The targets of all relationships of type [`ROOT_DOCUMENT`] that lead into the package.
fn targets(bytes: &[u8]) -> Result<Vec<String>, RelationshipsFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| RelationshipsFault::NotUtf8)?;
    let limits = Limits::default();
    let refuse = |refusal: Refusal| match refusal {
        Refusal::Limit(limit) => RelationshipsFault::Limit(limit),
        Refusal::Fault(fault) => RelationshipsFault::NotWellFormed {
            position: Position::at(text, fault.offset),
            cause: fault.cause,
        },
    };
    let mut reader = Reader::new(text, Shape::Document, Scope::default(), 0, &limits)
        .map_err(|fault| refuse(Refusal::Fault(fault)))?;
    let mut targets = Vec::new();
    while let Some(tag) = reader.next_tag().map_err(refuse)? {
        let Tag::Start { range, local: "Relationship", .. } = tag else { continue };
        let value = |name: &str| xml::attribute(&text[range.clone()], name).unwrap_or_default();
        let leads_out = value("TargetMode").eq_ignore_ascii_case("External");
        if value("Type").eq_ignore_ascii_case(ROOT_DOCUMENT) && !leads_out {
            targets.push(value("Target").into_owned());
        }
    }
    Ok(targets)
}

/// The name that a target denotes. Targets are relative to the package's root; some writers make them absolute, or
/// even `file:` URIs.
fn path_of(target: &str) -> String {
    let path = target.strip_prefix("file://").unwrap_or(target);
    let path = path.trim_start_matches("./").trim_start_matches('/');
    path.split(['?', '#']).next().unwrap_or_default().to_owned()
}
