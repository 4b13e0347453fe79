//! `aml diff`: the edits that turn one document into another, as people read them.

use std::io::{self, Write};

use dt_aml::{Document, Edit, Patch, PatchError};

use crate::Outcome;
use crate::failure::Failure;
use crate::input::Input;
use crate::words::{BAD, FAINT, GOOD, KIND, count, plain, plain_lines};

/// Prints what differs; says so if nothing does.
pub(crate) fn print(old: &Input, new: &Input, out: &mut impl Write) -> Result<Outcome, Failure> {
    let found = old.document.diff(&new.document).map_err(PatchError::Edit).and_then(|patch| {
        let former = former(&old.document, &patch)?;
        Ok((patch, former))
    });
    let (patch, former) = found.map_err(|cause| Failure::Diff { file: old.name.clone(), cause })?;
    for (edit, former) in patch.edits.iter().zip(&former) {
        step(edit, former, out)?;
    }
    let differs = !patch.edits.is_empty();
    if differs {
        let only_form = old.document.semantic_hash() == new.document.semantic_hash();
        let note = if only_form { "; the content is the same" } else { "" };
        writeln!(out, "{FAINT}{}{note}{FAINT:#}", count(patch.edits.len(), "difference", "differences"))?;
    }
    Ok(if differs { Outcome::Found } else { Outcome::Done })
}

/// For each edit what stood there before: what takes the edits back says it.
fn former(document: &Document, patch: &Patch) -> Result<Vec<String>, PatchError> {
    let mut edited = document.clone();
    let outcome = edited.apply_patch(patch)?;
    let mut undo = outcome.inverse.edits.into_iter().rev();
    let former = patch.edits.iter().map(|edit| {
        let is_splice = matches!(edit, Edit::Splice { .. });
        undo.find_map(|undo| match undo {
            Edit::Splice { content, .. } if is_splice => Some(content),
            Edit::Retag { start, .. } if !is_splice => Some(start),
            _ => None,
        })
    });
    Ok(former.map(Option::unwrap_or_default).collect())
}

fn step(edit: &Edit, former: &str, out: &mut impl Write) -> io::Result<()> {
    match edit {
        Edit::Splice { parent, after, before, content, .. } => {
            let place = match (after, before) {
                (Some(after), _) => format!("behind {after}"),
                (None, Some(before)) => format!("before {before}"),
                (None, None) => "content".to_owned(),
            };
            let parent = if parent.is_empty() { "document" } else { parent };
            writeln!(out, "{KIND}{}{KIND:#} {FAINT}{}{FAINT:#}", plain(parent), plain(&place))?;
            lines(former, content, out)
        }
        Edit::Retag { address, start, .. } => {
            writeln!(out, "{KIND}{}{KIND:#} {FAINT}start tag{FAINT:#}", plain(address))?;
            lines(former, start, out)
        }
        // A difference holds no other edits.
        _ => Ok(()),
    }
}

/// The lines that go and those that come, without those at both ends that stay.
fn lines(old: &str, new: &str, out: &mut impl Write) -> io::Result<()> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.split('\n').collect(), new.split('\n').collect());
    let head = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[head..], &new[head..]);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    for line in &old[..old.len() - tail] {
        writeln!(out, "{BAD}- {}{BAD:#}", visible(line))?;
    }
    for line in &new[..new.len() - tail] {
        writeln!(out, "{GOOD}+ {}{GOOD:#}", visible(line))?;
    }
    Ok(())
}

/// A line, in which white space that nobody would see is written out.
fn visible(line: &str) -> String {
    if line.trim().is_empty() || line.ends_with(char::is_whitespace) {
        format!("{}", line.escape_debug())
    } else {
        plain_lines(line)
    }
}
