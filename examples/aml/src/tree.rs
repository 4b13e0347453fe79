//! `aml tree`: the elements that carry structure.

use std::io::{self, Write};

use dt_aml::{Element, Kind};

use crate::info::is_structure;
use crate::words::{FAINT, plain, title};

/// Prints a tree from `from` downwards, so many levels deep, with attributes if they are wanted.
pub(crate) fn print(
    from: Element<'_>,
    depth: Option<usize>,
    attributes: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let tree = Tree { depth: depth.unwrap_or(usize::MAX), attributes };
    writeln!(out, "{}", line(from))?;
    tree.branches(from, 1, &mut String::new(), out)
}

struct Tree {
    depth: usize,
    attributes: bool,
}

impl Tree {
    /// What is in `parent`. Documents nest no deeper than their limits allow, so this may call itself.
    fn branches(
        &self,
        parent: Element<'_>,
        level: usize,
        indent: &mut String,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let children: Vec<_> = parent.children().filter(|child| self.shows(*child)).collect();
        if level > self.depth {
            if !children.is_empty() {
                writeln!(out, "{FAINT}{indent}└─ … {} more{FAINT:#}", children.len())?;
            }
            return Ok(());
        }
        for (number, child) in children.iter().enumerate() {
            let is_last = number + 1 == children.len();
            let branch = if is_last { "└─" } else { "├─" };
            writeln!(out, "{FAINT}{indent}{branch}{FAINT:#} {}", line(*child))?;
            let length = indent.len();
            indent.push_str(if is_last { "   " } else { "│  " });
            self.branches(*child, level + 1, indent, out)?;
            indent.truncate(length);
        }
        Ok(())
    }

    fn shows(&self, element: Element<'_>) -> bool {
        is_structure(element) || self.attributes && element.kind() == Kind::Attribute
    }
}

/// An element on one line: kind, name, and its ID, or its value if it is an attribute.
fn line(element: Element<'_>) -> String {
    let mut line = title(element);
    if element.kind() == Kind::Attribute {
        if let Some(value) = element.children_of(Kind::Value).next() {
            line.push_str(&format!(" = {}", plain(&value.text())));
            let unit = element.attribute_value("Unit").filter(|unit| !unit.is_empty());
            line.extend(unit.map(|unit| format!(" {}", plain(&unit))));
        }
    } else if let Some(id) = element.id() {
        line.push_str(&format!("  {FAINT}{}{FAINT:#}", plain(&id)));
    }
    line
}
