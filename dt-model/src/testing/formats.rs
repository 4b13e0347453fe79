//! Which formats a crate has, as its sources say: so that none goes without golden bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Compares the formats that the sources of a crate declare with those that are said to have golden values, and these with the golden file.
///
/// A format is a domain (`Domain::new("dt/…")`), or a type that is encoded: one that derives or implements `BorshSerialize`, or is made by
/// `fixed_bytes!`. `golden` names for each the golden value that has its bytes, or begins with `-` and says why there is none. Files and
/// folders called `testing` are left out. The sources are read as text, so a macro of another name hides what it makes.
///
/// # Panics
/// With the formats that are missing on either side, and the values that are not in the file.
pub fn check_formats(sources: &Path, golden: &[(&str, &str)], file: &Path) {
    let mut declared = BTreeSet::new();
    read_folder(sources, &mut declared);
    let known: BTreeMap<&str, &str> = golden.iter().copied().collect();
    let missing: Vec<_> = declared.iter().filter(|name| !known.contains_key(name.as_str())).collect();
    let gone: Vec<_> = known.keys().filter(|name| !declared.contains(**name)).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "without golden bytes: {missing:?}; not declared: {gone:?}"
    );
    let values = fs::read_to_string(file).expect("the golden file can be read");
    for (name, value) in known.into_iter().filter(|(_, value)| !value.starts_with('-')) {
        let line = format!("{value}: ");
        assert!(values.lines().any(|found| found.starts_with(&line)), "{name}: no golden value {value:?}");
    }
}

fn read_folder(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("the sources can be read") {
        let path = entry.expect("the sources can be read").path();
        if path.file_stem().is_some_and(|name| name == "testing") {
            continue;
        }
        if path.is_dir() {
            read_folder(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            read_source(&fs::read_to_string(&path).expect("the sources can be read"), found);
        }
    }
}

/// Adds what one file declares.
fn read_source(source: &str, found: &mut BTreeSet<String>) {
    // Whether what was derived, or a macro, makes the next type a format.
    let (mut in_derive, mut derives) = (false, false);
    for line in source.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        if let Some((_, rest)) = line.split_once("Domain::new(\"") {
            found.extend(rest.split('"').next().map(str::to_owned));
        }
        if let Some((_, rest)) = line.split_once("BorshSerialize for ") {
            found.extend(name(rest));
        }
        in_derive |= line.starts_with("#[derive(");
        derives |= (in_derive && line.contains("BorshSerialize")) || line.contains("fixed_bytes! {");
        in_derive &= !line.ends_with(']');
        let words = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub ")).unwrap_or(line);
        if let Some(rest) = words.strip_prefix("struct ").or(words.strip_prefix("enum "))
            && core::mem::take(&mut derives)
        {
            found.extend(name(rest));
        }
    }
}

/// The name at the beginning of `text`.
fn name(text: &str) -> Option<String> {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}
