//! `aml insert` and `aml remove`: the edited document goes out, what changed is said on standard error.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use dt_aml::{Change, Edit, RemovePolicy};

use crate::failure::Failure;
use crate::input::{Input, is_standard};
use crate::output;
use crate::words::{BAD, GOOD, place_of, plain};

#[derive(clap::Args)]
pub(crate) struct Insert {
    /// The document or package.
    file: PathBuf,
    /// The element to insert, as AML code; - reads it from standard input.
    fragment: String,
    /// Insert it in this element.
    #[arg(long, value_name = "ADDRESS")]
    parent: String,
    /// Insert it directly behind this child of the parent; without it, at the end of its kind.
    #[arg(long, value_name = "ADDRESS")]
    after: Option<String>,
    /// Write to this file instead of standard output; it may be FILE itself.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct Remove {
    /// The document or package.
    file: PathBuf,
    /// The element to remove, with everything in it.
    address: String,
    /// What becomes of references from elsewhere to what is removed.
    #[arg(long, value_enum, default_value_t)]
    policy: Policy,
    /// Write to this file instead of standard output; it may be FILE itself.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Policy {
    /// Nothing is removed if there are any.
    #[default]
    Restrict,
    /// They stay, and point nowhere.
    OpenLinks,
    /// They go too.
    Cascade,
}

impl From<Policy> for RemovePolicy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Restrict => Self::Restrict,
            Policy::OpenLinks => Self::OpenLinks,
            Policy::Cascade => Self::Cascade,
        }
    }
}

pub(crate) fn insert(insert: Insert) -> Result<(), Failure> {
    let Insert { file, fragment, parent, after, output } = insert;
    let fragment = if fragment == "-" { standard_fragment(&file)? } else { fragment };
    apply(&file, Edit::Insert { fragment, parent, after }, output.as_deref())
}

pub(crate) fn remove(remove: Remove) -> Result<(), Failure> {
    let Remove { file, address, policy, output } = remove;
    apply(&file, Edit::Remove { address, policy: policy.into() }, output.as_deref())
}

/// The fragment from standard input, if the file does not come from there, and at most one byte more than is allowed.
fn standard_fragment(file: &Path) -> Result<String, Failure> {
    if is_standard(file) {
        return Err(Failure::OneInput);
    }
    let most = dt_aml::Limits::default().fragment.saturating_add(1);
    let mut fragment = String::new();
    io::stdin().lock().take(most).read_to_string(&mut fragment).map_err(Failure::Fragment)?;
    Ok(fragment)
}

fn apply(file: &Path, edit: Edit, output: Option<&Path>) -> Result<(), Failure> {
    let mut input = Input::read(file)?;
    if input.package.is_some() && output.is_some_and(|output| output::is_same(file, output)) {
        return Err(Failure::OverPackage { file: input.name });
    }
    let is_removal = matches!(edit, Edit::Remove { .. });
    let outcome = input.document.apply(&[edit]);
    let changes = outcome.map_err(|cause| Failure::Edit { file: input.name.clone(), cause })?.changes;
    output::document(&input.document, output)?;
    for (number, change) in changes.iter().enumerate() {
        say(change, is_removal, number > 0);
    }
    Ok(())
}

/// Says what an edit touched, or what went with it.
fn say(change: &Change, is_removal: bool, is_consequence: bool) {
    let Change { address, parent, opened, .. } = change;
    let (address, parent) = (plain(address), plain(parent));
    let (verb, place) = if is_removal { ("removed", "from") } else { ("inserted", "in") };
    if is_consequence {
        anstream::eprintln!("{BAD}with it:{BAD:#} what refers to it at {address} {place} {parent}");
    } else {
        anstream::eprintln!("{GOOD}{verb}{GOOD:#} {address} {place} {parent}");
    }
    for reference in opened {
        anstream::eprintln!("{BAD}open:{BAD:#} {}", place_of(reference));
    }
}
