//! `aml info`: what a file is.

use std::collections::BTreeMap;
use std::io::{self, Write};

use dt_aml::{Document, Element, Kind, Version};

use crate::input::Input;
use crate::words::{BAD, FAINT, GOOD, KIND, TITLE, count, plain};

/// Width of the labels.
const LABEL: usize = 12;

/// Prints what the file is.
pub(crate) fn print(input: &Input, out: &mut impl Write) -> io::Result<()> {
    let document = &input.document;
    writeln!(out, "{TITLE}{}{TITLE:#}", plain(&input.name))?;
    let mut fact = |label: &str, value: &str| writeln!(out, "  {KIND}{label:LABEL$}{KIND:#}{}", plain(value));
    if let Some(package) = &input.package {
        let files = count(package.entries().count(), "file", "files");
        fact("package", &format!("{} among {files}", package.root_name()))?;
    }
    fact("version", version(document))?;
    for standard in document.root().children_of(Kind::SuperiorStandardVersion) {
        fact("standard", &standard.text())?;
    }
    for origin in origins(document) {
        fact("origin", &origin)?;
    }
    fact("bytes", &document.len().to_string())?;
    fact("root hash", &document.root_hash().to_string())?;
    fact("IDs", &document.ids().count().to_string())?;
    fact("programs", &document.programs().len().to_string())?;
    for library in document.root().children().filter(|child| is_library(child.kind())) {
        let classes = library.descendants().filter(|element| is_class(element.kind())).count();
        let name = library.name().unwrap_or_default();
        fact("library", &format!("{name} ({}, {})", library.tag(), count(classes, "class", "classes")))?;
    }
    let issues = document.issues().len();
    let style = if issues == 0 { GOOD } else { BAD };
    writeln!(out, "  {KIND}{:LABEL$}{KIND:#}{style}{issues}{style:#}", "issues")?;
    kinds(document, out)
}

fn version(document: &Document) -> &'static str {
    match document.version() {
        Version::Caex215 => "CAEX 2.15",
        Version::Caex30 => "CAEX 3.0",
    }
}

/// The number of elements, and those of each kind, most frequent first.
fn kinds(document: &Document, out: &mut impl Write) -> io::Result<()> {
    let mut counts = BTreeMap::new();
    for element in document.elements() {
        *counts.entry(element.kind()).or_insert(0_usize) += 1;
    }
    let total: usize = counts.values().sum();
    writeln!(out, "  {KIND}{:LABEL$}{KIND:#}{total}", "elements")?;
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (kind, count) in counts {
        writeln!(out, "  {:LABEL$}{count:>8} {FAINT}{}{FAINT:#}", "", kind.tag().unwrap_or("not of CAEX"))?;
    }
    Ok(())
}

/// Which tools wrote the document, when. CAEX 3.0 has an element for that; in 2.15, AutomationML puts a header with the
/// same entries, named otherwise, into the free content (IEC 62714-1).
fn origins(document: &Document) -> Vec<String> {
    let written = document.root().children_of(Kind::SourceDocumentInformation).map(|source| {
        origin(|entry| source.attribute_value(&entry).map(|value| value.into_owned()), "Origin")
    });
    let headers = document.root().children_of(Kind::AdditionalInformation).flat_map(|free| free.children());
    let headers = headers.filter(|header| header.tag() == "WriterHeader").map(|header| {
        let entry =
            |name: String| header.children().find(|entry| entry.tag() == name).map(|entry| entry.text());
        origin(entry, "Writer")
    });
    written.chain(headers).collect()
}

/// The entries of one origin, whose names begin with `prefix`.
fn origin(entry: impl Fn(String) -> Option<String>, prefix: &str) -> String {
    let named =
        ["Name", "Vendor", "Version", "Release", "ProjectTitle"].map(|name| entry(format!("{prefix}{name}")));
    let written = entry("LastWritingDateTime".to_owned());
    let mut known: Vec<String> = named.into_iter().chain([written]).flatten().collect();
    known.retain(|value| !value.trim().is_empty());
    known.dedup();
    known.join(", ")
}

fn is_library(kind: Kind) -> bool {
    use Kind::{AttributeTypeLib, InterfaceClassLib, RoleClassLib, SystemUnitClassLib};
    matches!(kind, AttributeTypeLib | InterfaceClassLib | RoleClassLib | SystemUnitClassLib)
}

fn is_class(kind: Kind) -> bool {
    use Kind::{AttributeType, InterfaceClass, RoleClass, SystemUnitClass};
    matches!(kind, AttributeType | InterfaceClass | RoleClass | SystemUnitClass)
}

/// Whether an element shows in a tree: what has a place in the plant or in a library.
pub(crate) fn is_structure(element: Element<'_>) -> bool {
    use Kind::{CaexFile, ExternalInterface, InstanceHierarchy, InternalElement};
    let kind = element.kind();
    matches!(kind, CaexFile | ExternalInterface | InstanceHierarchy | InternalElement)
        || is_library(kind)
        || is_class(kind)
}
