//! Interfaces, the links between them, and mirrors.
//!
//! An InternalLink names two interfaces: CAEX 3.0 by their IDs, CAEX 2.15 as `{ID}:name` or `ID:name` with the ID of the
//! element that has the interface. Both are read in both versions, as files mix them. An InternalElement whose
//! `RefBaseSystemUnitPath` is the ID of another is that one's **mirror**: the same object in another place.

use std::collections::BTreeSet;

use crate::class::Family;
use crate::document::Document;
use crate::element::Element;
use crate::key::Key;
use crate::kind::Kind;
use crate::reference::{self, LINK_ENDS};
use crate::tree::NodeId;

/// An InternalLink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link<'d> {
    /// The `InternalLink` element.
    pub element: Element<'d>,
    /// `RefPartnerSideA`.
    pub a: End<'d>,
    /// `RefPartnerSideB`.
    pub b: End<'d>,
}

/// An end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End<'d> {
    /// The reference as written; empty if the end is open.
    pub reference: String,
    /// What it refers to.
    pub target: Target<'d>,
}

/// What an end of a link refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target<'d> {
    /// Nothing: the end is open.
    Open,
    /// An interface.
    Interface {
        /// The element or class that has it: the nearest one around it that is no interface itself.
        owner: Element<'d>,
        /// The ExternalInterface.
        interface: Element<'d>,
    },
    /// An element that is no interface, though only interfaces can be linked.
    Element(Element<'d>),
    /// Something that does not exist.
    Missing,
    /// Several elements; none of them is "the first".
    Ambiguous {
        /// How many.
        count: usize,
    },
}

impl<'d> End<'d> {
    fn of(link: Element<'d>, attribute: &str) -> Self {
        let reference = link.attribute_value(attribute).unwrap_or_default().into_owned();
        let target = resolve(link.document, &reference);
        Self { reference, target }
    }

    /// The interface it refers to, if it refers to one.
    pub fn interface(&self) -> Option<Element<'d>> {
        match self.target {
            Target::Interface { interface, .. } => Some(interface),
            _ => None,
        }
    }

    /// The element that has this interface.
    pub fn owner(&self) -> Option<Element<'d>> {
        match self.target {
            Target::Interface { owner, .. } => Some(owner),
            _ => None,
        }
    }
}

impl<'d> Link<'d> {
    fn of(element: Element<'d>) -> Self {
        let [a, b] = LINK_ENDS;
        Self { element, a: End::of(element, a), b: End::of(element, b) }
    }
}

/// What a reference to an interface leads to, however it can be read.
pub(crate) fn resolve<'d>(document: &'d Document, reference: &str) -> Target<'d> {
    if reference.is_empty() {
        return Target::Open;
    }
    let (tree, index) = (&document.tree, &document.index);
    let mut found = BTreeSet::new();
    for (id, interface) in reference::readings(reference) {
        for owner in index.with_id(tree, id) {
            match interface {
                None => _ = found.insert(owner),
                Some(name) => {
                    found.extend(index.named_children(tree, owner, Kind::ExternalInterface, name));
                }
            }
        }
    }
    match (found.first(), found.len()) {
        (None, _) => Target::Missing,
        (Some(node), 1) => {
            let element = document.element(*node);
            match owner(element) {
                Some(owner) => Target::Interface { owner, interface: element },
                None => Target::Element(element),
            }
        }
        (_, count) => Target::Ambiguous { count },
    }
}

/// What has an interface; `None` if `interface` is none.
fn owner(interface: Element<'_>) -> Option<Element<'_>> {
    let mut around = Some(interface).filter(|element| element.kind() == Kind::ExternalInterface)?.ancestors();
    around.find(|element| element.kind() != Kind::ExternalInterface)
}

impl Document {
    /// Every InternalLink, in document order, with what its ends refer to.
    ///
    /// # Examples
    /// ```
    /// use dt_aml::{Document, Limits};
    ///
    /// let aml = r#"<CAEXFile><InstanceHierarchy Name="Plant"><InternalElement Name="Line" ID="l">
    ///   <InternalElement Name="Motor" ID="m"><ExternalInterface Name="In"/></InternalElement>
    ///   <InternalElement Name="Drive" ID="d"><ExternalInterface Name="Out"/></InternalElement>
    ///   <InternalLink Name="Power" RefPartnerSideA="{d}:Out" RefPartnerSideB="{m}:In"/>
    /// </InternalElement></InstanceHierarchy></CAEXFile>"#;
    /// let document = Document::parse(aml, &Limits::default())?;
    /// let link = document.links().next().ok_or("no link")?;
    /// assert_eq!(link.a.owner(), Some(document.find("d")?));
    /// assert_eq!(document.find("m")?.connected(), [link]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn links(&self) -> impl Iterator<Item = Link<'_>> {
        self.elements().filter(|element| element.kind() == Kind::InternalLink).map(Link::of)
    }
}

impl<'d> Element<'d> {
    /// The ExternalInterfaces directly in it, in document order.
    pub fn interfaces(&self) -> impl Iterator<Item = Self> + use<'d> {
        self.children_of(Kind::ExternalInterface)
    }

    /// The ExternalInterface directly in it with this `Name`; `None` if there is none, or several.
    pub fn interface(&self, name: &str) -> Option<Self> {
        let Document { tree, index, .. } = self.document;
        let mut named = index.named_children(tree, self.node, Kind::ExternalInterface, name);
        let interface = named.next().filter(|_| named.next().is_none())?;
        Some(self.document.element(interface))
    }

    /// The InternalLinks directly in it, in document order.
    pub fn links(&self) -> impl Iterator<Item = Link<'d>> + use<'d> {
        self.children_of(Kind::InternalLink).map(Link::of)
    }

    /// The links that end at an interface of this element, wherever they stand, in document order.
    ///
    /// Interfaces in interfaces are its own; those of elements in it are not. A link that ends at several interfaces at
    /// once, because they share an ID, ends at none.
    pub fn connected(&self) -> Vec<Link<'d>> {
        let document = self.document;
        let mut candidates = BTreeSet::new();
        let mut open = vec![*self];
        while let Some(element) = open.pop() {
            open.extend(element.interfaces());
            candidates.extend(referring(element, Kind::InternalLink));
        }
        let links =
            document.tree.in_document_order(&candidates).into_iter().map(|node| document.element(node));
        links
            .map(Link::of)
            .filter(|link| link.a.owner() == Some(*self) || link.b.owner() == Some(*self))
            .collect()
    }

    /// The InternalElement that this one mirrors: the one whose ID is its `RefBaseSystemUnitPath`. `None` if it names a
    /// class, nothing, or an ID that is not that of one InternalElement.
    pub fn master(&self) -> Option<Self> {
        let reference =
            self.attribute_value(reference::UNIT).filter(|_| self.kind() == Kind::InternalElement)?;
        if self.document.class(Family::Unit, &reference).is_some() {
            return None;
        }
        match resolve(self.document, &reference) {
            Target::Element(master) if master.kind() == Kind::InternalElement => Some(master),
            _ => None,
        }
    }

    /// The mirrors of this element, in document order.
    pub fn mirrors(&self) -> Vec<Self> {
        let document = self.document;
        let candidates: BTreeSet<NodeId> = referring(*self, Kind::InternalElement).collect();
        let elements =
            document.tree.in_document_order(&candidates).into_iter().map(|node| document.element(node));
        elements.filter(|element| element.master() == Some(*self)).collect()
    }
}

/// The elements of one kind that may refer to `element` by its ID, in no order that means anything.
fn referring(element: Element<'_>, kind: Kind) -> impl Iterator<Item = NodeId> {
    let Document { tree, index, .. } = element.document;
    let key = element.id().map(|id| Key::reference(&id));
    let candidates = key.into_iter().flat_map(|key| index.candidates(key));
    candidates.filter(move |node| tree.node(*node).kind == kind)
}
