//! CAEX paths: how files name classes, and how people name objects, interfaces and attributes.
//!
//! ```text
//! path = [alias "@"] name (separator name)*
//! name = plain | "[" text "]"
//! ```
//!
//! IEC 62424 and AutomationML Part 1 (IEC 62714-1):
//!
//! - `/` goes from a library or an InstanceHierarchy to an object in it, and from there on to a nested one:
//!   `Lib/Pump/ScrewPump`, `Plant/Line/Motor`.
//! - `:` goes to an ExternalInterface, `.` to an Attribute; behind either, only attributes come: `Plant/Motor:In`,
//!   `Plant/Motor.Speed.Max`, `Lib/Pump:Inlet.Diameter`. CAEX 3.0 dropped both and has `/` lead to interfaces and
//!   attributes too. There all three are accepted.
//! - A name that holds a separator stands in **brackets**: `Lib/[I/O]`. Brackets in it are escaped as the AutomationML
//!   Engine does: `[\[A01\] Server]`. So a name that ends in a backslash cannot stand in brackets.
//! - A path may begin with the **alias** of an external file, `Alias@Lib/Role`. Its classes are not in this document.
//!
//! Real files do not bracket names that merely hold `.` or `:`, such as `Channel 3.Input`. So these may be separators or
//! part of a name, and all readings are followed. Should they lead to several elements, the path is ambiguous.

use std::borrow::Cow;

use crate::arena::tree::{NodeId, Tree};
use crate::document::Document;
use crate::element::Element;
use crate::kind::{Kind, Version};
use crate::xml;

/// Longest CAEX path in bytes that is looked up.
pub const MAX_PATH: usize = 4 << 10;

/// Why a CAEX path leads to no element.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Empty, a name in it is empty, or a bracket is not closed, or closed before the name ends.
    #[error("not a CAEX path: names such as Library/Class, those with separators as [I/O]")]
    Malformed,
    /// Longer than [`MAX_PATH`].
    #[error("a CAEX path is at most {MAX_PATH} bytes long")]
    TooLong,
    /// Nothing is there.
    #[error("no element has this path")]
    Unknown,
    /// Several elements, or several external files, have this path. None of them is "the first".
    #[error("{count} elements have this path")]
    Ambiguous {
        /// How many.
        count: usize,
    },
    /// It begins with an alias that no `ExternalReference` explains.
    #[error("no external file has the alias {alias}")]
    UnknownAlias {
        /// The alias.
        alias: String,
    },
    /// It leads into another file.
    #[error("in another file: {location}")]
    External {
        /// The alias.
        alias: String,
        /// The `Path` of the `ExternalReference` that explains it.
        location: String,
    },
}

impl Document {
    /// The element at a CAEX path, such as `Lib/Class`, `Hierarchy/Element:Interface` or `Hierarchy/Element.Attribute`.
    ///
    /// Paths are how CAEX files name classes. For addresses by ID see [`Document::find`]. The grammar: libraries and
    /// hierarchies first, then `/` and the name of an object, `:` and that of an interface, `.` and that of an attribute.
    /// A name that holds a separator stands in brackets.
    ///
    /// Costs a look-up for each name; where the last one holds `.` or `:`, also a walk over the children around it.
    ///
    /// # Errors
    /// [`PathError`]: malformed, too long, unknown, more than one element, or in another file.
    ///
    /// # Examples
    /// ```
    /// use dt_aml::{Document, Limits, PathError};
    ///
    /// let aml = r#"<CAEXFile>
    ///   <ExternalReference Path="../base.aml" Alias="Base"/>
    ///   <InstanceHierarchy Name="Plant"><InternalElement Name="Motor" ID="m1">
    ///     <Attribute Name="Speed"/><ExternalInterface Name="In" ID="m1.in"/>
    ///   </InternalElement></InstanceHierarchy>
    ///   <RoleClassLib Name="Roles"><RoleClass Name="I/O"/></RoleClassLib>
    /// </CAEXFile>"#;
    /// let document = Document::parse(aml, &Limits::default())?;
    /// assert_eq!(document.find_path("Plant/Motor")?, document.find("m1")?);
    /// assert_eq!(document.find_path("Plant/Motor:In")?, document.find("m1.in")?);
    /// assert_eq!(document.find_path("Plant/Motor.Speed")?, document.find("m1/Attribute[Speed]")?);
    /// assert!(document.find_path("Roles/[I/O]").is_ok());
    /// assert!(matches!(document.find_path("Base@Lib/Role"), Err(PathError::External { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn find_path(&self, path: &str) -> Result<Element<'_>, PathError> {
        let path = CaexPath::parse(path)?;
        if let Some(alias) = path.alias {
            return Err(self.outside(alias));
        }
        let (last, objects) = path.parts.split_last().ok_or(PathError::Malformed)?;
        let mut reached = vec![self.tree.root];
        for part in objects {
            reached = self.below(&reached, part);
        }
        let mut found = self.below(&reached, last);
        if last.pieces.len() > 1 {
            found.extend(reached.iter().flat_map(|node| split_readings(&self.tree, *node, last)));
        }
        match found.as_slice() {
            [] => Err(PathError::Unknown),
            [node] => Ok(self.element(*node)),
            several => Err(PathError::Ambiguous { count: several.len() }),
        }
    }

    /// Why a path that begins with `alias` leads out of the document.
    fn outside(&self, alias: Cow<'_, str>) -> PathError {
        let alias = alias.into_owned();
        let references = self.root().children_of(Kind::ExternalReference);
        let is_named = |reference: &Element<'_>| {
            reference.attribute_value("Alias").is_some_and(|other| other == alias.as_str())
        };
        let named: Vec<_> = references.filter(is_named).collect();
        match named.as_slice() {
            [] => PathError::UnknownAlias { alias },
            [reference] => {
                let location = reference.attribute_value("Path").unwrap_or_default().into_owned();
                PathError::External { alias, location }
            }
            several => PathError::Ambiguous { count: several.len() },
        }
    }

    /// The children of these elements to which `/` and this part of a path, as one name, lead.
    fn below(&self, parents: &[NodeId], part: &Part<'_>) -> Vec<NodeId> {
        let Some(name) = part.name() else { return Vec::new() };
        let name = &*name;
        let (tree, index) = (&self.tree, &self.index);
        let each = parents.iter().flat_map(|parent| {
            let kinds = kinds_below(tree.version, tree.node(*parent).kind).iter();
            kinds.flat_map(move |kind| index.named_children(tree, *parent, *kind, name))
        });
        each.collect()
    }
}

/// What `/` leads to from an element of `kind`.
fn kinds_below(version: Version, kind: Kind) -> &'static [Kind] {
    use Kind::*;
    let v3 = version == crate::kind::Version::Caex30;
    match kind {
        CaexFile => {
            &[InstanceHierarchy, InterfaceClassLib, RoleClassLib, SystemUnitClassLib, AttributeTypeLib]
        }
        InstanceHierarchy => &[InternalElement],
        InterfaceClassLib => &[InterfaceClass],
        RoleClassLib => &[RoleClass],
        SystemUnitClassLib => &[SystemUnitClass],
        AttributeTypeLib => &[AttributeType],
        InternalElement if v3 => &[InternalElement, ExternalInterface, Attribute],
        InternalElement => &[InternalElement],
        SystemUnitClass if v3 => &[SystemUnitClass, InternalElement, ExternalInterface, Attribute],
        SystemUnitClass => &[SystemUnitClass, InternalElement],
        RoleClass if v3 => &[RoleClass, ExternalInterface, Attribute],
        RoleClass => &[RoleClass],
        InterfaceClass if v3 => &[InterfaceClass, ExternalInterface, Attribute],
        InterfaceClass => &[InterfaceClass],
        ExternalInterface if v3 => &[ExternalInterface, Attribute],
        AttributeType if v3 => &[AttributeType, Attribute],
        Attribute if v3 => &[Attribute],
        _ => &[],
    }
}

/// What the last part of a path leads to below `top` if `:` and `.` in it are separators, at least one of them.
///
/// The names on the way to an element say how much of the part they take, so no element is looked at twice.
fn split_readings(tree: &Tree, top: NodeId, part: &Part<'_>) -> Vec<NodeId> {
    let mut found = Vec::new();
    let mut open = vec![(top, 0)];
    while let Some((parent, from)) = open.pop() {
        let parent_kind = tree.node(parent).kind;
        for child in tree.children(parent) {
            let kind = tree.node(child).kind;
            let leads = match part.pieces[from].separator {
                Separator::Slash => kinds_below(tree.version, parent_kind).contains(&kind),
                Separator::Colon => kind == Kind::ExternalInterface,
                Separator::Dot => kind == Kind::Attribute,
            };
            let taken = xml::attribute(tree.head(child), "Name")
                .filter(|name| leads && !name.is_empty())
                .and_then(|name| part.take(from, &name));
            match taken {
                Some(end) if end < part.pieces.len() => open.push((child, end)),
                Some(_) if from > 0 => found.push(child),
                _ => {}
            }
        }
    }
    found
}

/// What stands before a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Separator {
    Slash,
    Colon,
    Dot,
}

impl Separator {
    fn of(c: char) -> Option<Self> {
        match c {
            '/' => Some(Self::Slash),
            ':' => Some(Self::Colon),
            '.' => Some(Self::Dot),
            _ => None,
        }
    }

    fn char(self) -> char {
        match self {
            Self::Slash => '/',
            Self::Colon => ':',
            Self::Dot => '.',
        }
    }
}

/// A CAEX path, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaexPath<'p> {
    /// The alias of an external file.
    pub(crate) alias: Option<Cow<'p, str>>,
    /// What stands between slashes. Never empty.
    parts: Vec<Part<'p>>,
}

/// What stands between two slashes, cut where `:` and `.` may be separators. The first piece has a slash as separator.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part<'p> {
    pieces: Vec<Piece<'p>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece<'p> {
    separator: Separator,
    text: Cow<'p, str>,
    bracketed: bool,
}

impl<'p> CaexPath<'p> {
    pub(crate) fn parse(path: &'p str) -> Result<Self, PathError> {
        if path.len() > MAX_PATH {
            return Err(PathError::TooLong);
        }
        let (alias, mut rest) = split_alias(path)?;
        let mut parts: Vec<Part<'p>> = Vec::new();
        let mut separator = Separator::Slash;
        loop {
            let (piece, tail) = piece(rest, separator)?;
            match parts.last_mut().filter(|_| separator != Separator::Slash) {
                Some(part) => part.pieces.push(piece),
                None => parts.push(Part { pieces: vec![piece] }),
            }
            let Some(next) = tail.chars().next() else { break };
            separator = Separator::of(next).ok_or(PathError::Malformed)?;
            rest = &tail[1..];
        }
        if parts.iter().any(|part| part.name().is_some_and(|name| name.is_empty())) {
            return Err(PathError::Malformed);
        }
        Ok(Self { alias, parts })
    }

    /// What stands between slashes, each as one name: all of the path if it is that of a class. `None` if it cannot be.
    pub(crate) fn into_names(self) -> Option<Vec<Cow<'p, str>>> {
        self.parts.into_iter().map(Part::into_name).collect()
    }
}

impl<'p> Part<'p> {
    /// The part as one name; `None` if a piece in brackets is not all of it.
    fn into_name(mut self) -> Option<Cow<'p, str>> {
        match self.pieces.len() {
            1 => self.pieces.pop().map(|piece| piece.text),
            _ => self.name().map(|name| Cow::Owned(name.into_owned())),
        }
    }

    fn name(&self) -> Option<Cow<'_, str>> {
        if let [piece] = self.pieces.as_slice() {
            return Some(Cow::Borrowed(&piece.text));
        }
        let mut name = String::new();
        for (at, piece) in self.pieces.iter().enumerate() {
            if piece.bracketed {
                return None;
            }
            if at > 0 {
                name.push(piece.separator.char());
            }
            name.push_str(&piece.text);
        }
        Some(Cow::Owned(name))
    }

    /// The piece behind `name`, if the part reads as `name` from piece `from` on. What stands in brackets is a whole name.
    fn take(&self, from: usize, name: &str) -> Option<usize> {
        let mut rest = name;
        for (at, piece) in self.pieces.iter().enumerate().skip(from) {
            if at > from {
                rest = rest.strip_prefix(piece.separator.char())?;
            }
            rest = rest.strip_prefix(&*piece.text)?;
            if rest.is_empty() {
                return Some(at + 1);
            }
            let next = self.pieces.get(at + 1)?;
            if piece.bracketed || next.bracketed {
                return None;
            }
        }
        None
    }
}

/// Splits a path into the alias of an external file, if it has one, and the rest.
fn split_alias(path: &str) -> Result<(Option<Cow<'_, str>>, &str), PathError> {
    if path.starts_with('[') {
        let (alias, tail) = bracketed(path)?;
        return Ok(match tail.strip_prefix('@') {
            Some(rest) => (Some(alias), rest),
            None => (None, path),
        });
    }
    match path.split_once('@') {
        Some(("", _)) => Err(PathError::Malformed),
        Some((alias, rest)) if !alias.contains(['/', '[']) => Ok((Some(Cow::Borrowed(alias)), rest)),
        _ => Ok((None, path)),
    }
}

/// The piece of a name that `rest` begins with, and what comes behind it.
fn piece(rest: &str, separator: Separator) -> Result<(Piece<'_>, &str), PathError> {
    if rest.starts_with('[') {
        let (text, tail) = bracketed(rest)?;
        return Ok((Piece { separator, text, bracketed: true }, tail));
    }
    let end = rest.find(['/', ':', '.']).unwrap_or(rest.len());
    let (text, tail) = rest.split_at(end);
    Ok((Piece { separator, text: Cow::Borrowed(text), bracketed: false }, tail))
}

/// The name in the brackets that `text` begins with, and what comes behind them.
fn bracketed(text: &str) -> Result<(Cow<'_, str>, &str), PathError> {
    let inner = text.strip_prefix('[').ok_or(PathError::Malformed)?;
    let mut escaped = false;
    let mut previous = None;
    for (at, c) in inner.char_indices() {
        let is_escaped = previous == Some('\\');
        match c {
            '[' | ']' if is_escaped => escaped = true,
            '[' => return Err(PathError::Malformed),
            ']' if at == 0 => return Err(PathError::Malformed),
            ']' => {
                let name = &inner[..at];
                let name = match escaped {
                    true => Cow::Owned(name.replace("\\[", "[").replace("\\]", "]")),
                    false => Cow::Borrowed(name),
                };
                return Ok((name, &inner[at + 1..]));
            }
            _ => {}
        }
        previous = Some(c);
    }
    Err(PathError::Malformed)
}
