//! Interfaces, the links between them, and mirrors.
//!
//! An InternalLink names two interfaces: CAEX 3.0 by their IDs, CAEX 2.15 as `{ID}:name` or `ID:name` with the ID of the
//! element that has the interface. Both are read in both versions, as files mix them. An InternalElement whose
//! `RefBaseSystemUnitPath` is the ID of another is that one's **mirror**: the same object in another place.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::class::Family;
use super::reference::{self, LINK_ENDS};
use crate::arena::key::Key;
use crate::arena::tree::NodeId;
use crate::document::Document;
use crate::element::Element;
use crate::kind::Kind;

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

/// Looks up what references refer to. What many elements share, be it an ID or the name of an interface, is looked up once
/// and remembered, so links cost no more than linear time.
pub(crate) struct Resolver<'d> {
    document: &'d Document,
    /// The interfaces, by name, of the elements that share an ID.
    shared: BTreeMap<String, Shared<'d>>,
    /// References that lead to several elements.
    ambiguous: BTreeMap<String, usize>,
}

/// What the elements that share an ID have.
struct Shared<'d> {
    carriers: usize,
    interfaces: BTreeMap<Cow<'d, str>, Several>,
}

/// Nodes, as far as they matter: one of them, and how many there are.
#[derive(Clone, Copy)]
struct Several {
    one: NodeId,
    count: usize,
}

impl<'d> Resolver<'d> {
    pub(crate) fn new(document: &'d Document) -> Self {
        Self { document, shared: BTreeMap::new(), ambiguous: BTreeMap::new() }
    }

    /// What a reference to an interface leads to, however it can be read.
    pub(crate) fn resolve(&mut self, reference: &str) -> Target<'d> {
        if reference.is_empty() {
            return Target::Open;
        }
        if let Some(count) = self.ambiguous.get(reference) {
            return Target::Ambiguous { count: *count };
        }
        let (mut found, mut more) = (BTreeSet::new(), 0);
        for (id, interface) in reference::readings(reference) {
            more += self.read(id, interface, &mut found);
        }
        match (found.first(), found.len() + more) {
            (_, 0) => Target::Missing,
            (Some(node), 1) => self.target(*node),
            (_, count) => {
                self.ambiguous.insert(reference.to_owned(), count);
                Target::Ambiguous { count }
            }
        }
    }

    /// Adds what one reading leads to, and returns how many elements there are that are not worth adding, as they are
    /// several anyway.
    fn read(&mut self, id: &str, interface: Option<&str>, found: &mut BTreeSet<NodeId>) -> usize {
        let Document { tree, index, .. } = self.document;
        let mut carriers = index.with_id(tree, id);
        let Some(only) = carriers.next() else { return 0 };
        if carriers.next().is_none() {
            match interface {
                None => _ = found.insert(only),
                Some(name) => {
                    found.extend(index.named_children(tree, only, Kind::ExternalInterface, name));
                }
            }
            return 0;
        }
        let shared = self.shared(id);
        match interface.map(|name| shared.interfaces.get(name)) {
            None => shared.carriers,
            Some(None) => 0,
            Some(Some(Several { one, count: 1 })) => {
                found.insert(*one);
                0
            }
            Some(Some(Several { count, .. })) => *count,
        }
    }

    fn shared(&mut self, id: &str) -> &Shared<'d> {
        let document = self.document;
        self.shared.entry(id.to_owned()).or_insert_with(|| {
            let mut shared = Shared { carriers: 0, interfaces: BTreeMap::new() };
            for carrier in document.index.with_id(&document.tree, id) {
                shared.carriers += 1;
                for interface in document.element(carrier).interfaces() {
                    let Some(name) = interface.name() else { continue };
                    let several = Several { one: interface.node, count: 0 };
                    shared.interfaces.entry(name).or_insert(several).count += 1;
                }
            }
            shared
        })
    }

    fn target(&self, node: NodeId) -> Target<'d> {
        let element = self.document.element(node);
        match owner(element) {
            Some(owner) => Target::Interface { owner, interface: element },
            None => Target::Element(element),
        }
    }

    fn link(&mut self, element: Element<'d>) -> Link<'d> {
        let [a, b] = LINK_ENDS.map(|attribute| {
            let reference = element.attribute_value(attribute).unwrap_or_default().into_owned();
            End { target: self.resolve(&reference), reference }
        });
        Link { element, a, b }
    }

    /// The InternalElement that `mirror` mirrors.
    fn master(&mut self, mirror: Element<'d>) -> Option<Element<'d>> {
        let reference =
            mirror.attribute_value(reference::UNIT).filter(|_| mirror.kind() == Kind::InternalElement)?;
        if self.document.class(Family::Unit, &reference).is_some() {
            return None;
        }
        match self.resolve(&reference) {
            Target::Element(master) if master.kind() == Kind::InternalElement => Some(master),
            _ => None,
        }
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
        let mut resolver = Resolver::new(self);
        let elements = self.elements().filter(|element| element.kind() == Kind::InternalLink);
        elements.map(move |element| resolver.link(element))
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
        let mut resolver = Resolver::new(self.document);
        self.children_of(Kind::InternalLink).map(move |element| resolver.link(element))
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
        let mut resolver = Resolver::new(document);
        let ordered = document.tree.in_document_order(&candidates).into_iter();
        ordered
            .map(|node| resolver.link(document.element(node)))
            .filter(|link| link.a.owner() == Some(*self) || link.b.owner() == Some(*self))
            .collect()
    }

    /// The InternalElement that this one mirrors: the one whose ID is its `RefBaseSystemUnitPath`. `None` if it names a
    /// class, nothing, or an ID that is not that of one InternalElement.
    pub fn master(&self) -> Option<Self> {
        Resolver::new(self.document).master(*self)
    }

    /// The mirrors of this element, in document order.
    pub fn mirrors(&self) -> Vec<Self> {
        let document = self.document;
        let candidates: BTreeSet<NodeId> = referring(*self, Kind::InternalElement).collect();
        let mut resolver = Resolver::new(document);
        let ordered =
            document.tree.in_document_order(&candidates).into_iter().map(|node| document.element(node));
        ordered.filter(|element| resolver.master(*element) == Some(*self)).collect()
    }
}

/// The elements of one kind that may refer to `element` by its ID, in no order that means anything.
fn referring(element: Element<'_>, kind: Kind) -> impl Iterator<Item = NodeId> {
    let Document { tree, index, .. } = element.document;
    let key = element.id().map(|id| Key::reference(&id));
    let candidates = key.into_iter().flat_map(|key| index.candidates(key));
    candidates.filter(move |node| tree.node(*node).kind == kind)
}
