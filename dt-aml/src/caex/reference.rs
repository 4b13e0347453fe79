//! References: where CAEX names one element in another, and how such a name can be read.
//!
//! | in | XML attribute | names |
//! |---|---|---|
//! | InternalLink | `RefPartnerSideA`, `RefPartnerSideB` | an interface: `GUID:name` in 2.15, its ID in 3.0 |
//! | InternalElement | `RefBaseSystemUnitPath` | a SystemUnitClass by path; or, in a mirror, its master by ID |
//! | ExternalInterface | `RefBaseClassPath` | an InterfaceClass by path; or, in a mirror, its master by ID |
//! | InterfaceClass, RoleClass, SystemUnitClass | `RefBaseClassPath` | a class of the same family by path |
//! | RoleRequirements | `RefBaseRoleClassPath` | a RoleClass by path |
//! | SupportedRoleClass | `RefRoleClassPath` | a RoleClass by path |
//! | Attribute, AttributeType | `RefAttributeType` | an AttributeType by path |
//! | AttributeNameMapping | `SystemUnitAttributeName` | an attribute of the element that the mapping stands in |
//! | InterfaceNameMapping | `SystemUnitInterfaceName` | an interface of that element |
//! | InterfaceIDMapping | `SystemUnitInterfaceID`, `RoleInterfaceID` | an interface by ID |
//! | Value in an Attribute of type `xs:IDREF`, `xs:IDREFS` | its text | elements by ID |

use std::borrow::Cow;

use super::class::{self, Family};
use crate::arena::key::Key;
use crate::arena::tree::{NodeId, Tree};
use crate::document::Document;
use crate::kind::Kind;
use crate::xml;

/// An XML attribute that holds a reference, and what it may name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// The XML attribute; empty for the text of a value.
    pub(crate) attribute: &'static str,
    /// May name an element by its ID.
    by_id: bool,
    /// May name a class by its path.
    by_path: Option<Family>,
    /// Names a part of the element that it stands in, by its name.
    by_name: Option<Kind>,
}

const fn by_id(attribute: &'static str) -> Field {
    Field { attribute, by_id: true, by_path: None, by_name: None }
}

const fn by_path(attribute: &'static str, family: Family) -> Field {
    Field { attribute, by_id: false, by_path: Some(family), by_name: None }
}

const fn by_path_or_id(attribute: &'static str, family: Family) -> Field {
    Field { attribute, by_id: true, by_path: Some(family), by_name: None }
}

const fn by_name(attribute: &'static str, kind: Kind) -> Field {
    Field { attribute, by_id: false, by_path: None, by_name: Some(kind) }
}

/// The XML attributes in which an element of this kind refers to others.
fn fields(kind: Kind) -> &'static [Field] {
    const BASE: &str = "RefBaseClassPath";
    match kind {
        Kind::InternalLink => const { &[by_id(LINK_ENDS[0]), by_id(LINK_ENDS[1])] },
        Kind::InternalElement => const { &[by_path_or_id(UNIT, Family::Unit)] },
        Kind::ExternalInterface => const { &[by_path_or_id(BASE, Family::Interface)] },
        Kind::InterfaceClass => const { &[by_path(BASE, Family::Interface)] },
        Kind::RoleClass => const { &[by_path(BASE, Family::Role)] },
        Kind::SystemUnitClass => const { &[by_path(BASE, Family::Unit)] },
        Kind::RoleRequirements => const { &[by_path("RefBaseRoleClassPath", Family::Role)] },
        Kind::SupportedRoleClass => const { &[by_path("RefRoleClassPath", Family::Role)] },
        Kind::Attribute | Kind::AttributeType => {
            const { &[by_path("RefAttributeType", Family::AttributeType)] }
        }
        Kind::AttributeNameMapping => const { &[by_name("SystemUnitAttributeName", Kind::Attribute)] },
        Kind::InterfaceNameMapping => {
            const { &[by_name("SystemUnitInterfaceName", Kind::ExternalInterface)] }
        }
        Kind::InterfaceIdMapping => const { &[by_id("SystemUnitInterfaceID"), by_id("RoleInterfaceID")] },
        _ => &[],
    }
}

/// The text of a value, where that is a reference.
const TEXT: Field = by_id("");

/// The attributes of an InternalLink that name its ends.
pub(crate) const LINK_ENDS: [&str; 2] = ["RefPartnerSideA", "RefPartnerSideB"];
/// The attribute of an InternalElement that names its class, or the element that it mirrors.
pub(crate) const UNIT: &str = "RefBaseSystemUnitPath";

/// The XML attribute `name` of an element of this kind, if it refers to others.
pub(crate) fn field(kind: Kind, name: &str) -> Option<&'static Field> {
    // Nearly all attributes fail here, without a look at the table.
    let may_refer = name.starts_with("Ref") || name.starts_with("SystemUnit") || name.starts_with("RoleI");
    if may_refer { fields(kind).iter().find(|field| field.attribute == name) } else { None }
}

/// Whether elements of this kind map one name to another.
pub(crate) fn is_mapping(kind: Kind) -> bool {
    matches!(kind, Kind::AttributeNameMapping | Kind::InterfaceNameMapping)
}

/// Whether elements of this kind hold the value of an attribute.
pub(crate) fn holds_value(kind: Kind) -> bool {
    matches!(kind, Kind::Value | Kind::DefaultValue)
}

/// Whether elements of this kind are parts that mappings name.
pub(crate) fn is_part(kind: Kind) -> bool {
    matches!(kind, Kind::Attribute | Kind::ExternalInterface)
}

/// Whether an element of this kind is nothing but a reference, so that it goes with what it refers to.
pub(crate) fn is_only_a_reference(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::InternalLink
            | Kind::RoleRequirements
            | Kind::SupportedRoleClass
            | Kind::AttributeNameMapping
            | Kind::InterfaceNameMapping
            | Kind::InterfaceIdMapping
            | Kind::Value
            | Kind::DefaultValue
    )
}

/// Calls `tell` with the keys under which a reference is found again.
pub(crate) fn keys(field: &Field, value: &str, tell: &mut impl FnMut(Key)) {
    if field.by_id {
        readings(value).for_each(|(target, _)| tell(Key::reference(target)));
    }
    if let Some(family) = field.by_path {
        tell(class::reference_key(family, value));
    }
}

/// A reference, as it stands in an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    /// The referring element.
    pub(crate) from: NodeId,
    pub(crate) field: &'static Field,
    pub(crate) value: String,
}

/// Something that references can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// An element by its ID.
    Id(String),
    /// An interface by its owner's ID and its name.
    Interface { owner: String, name: String },
    /// A class by its path, library first.
    Class { family: Family, names: Vec<String> },
    /// An attribute or interface by its name in the element that has it.
    Part { owner: NodeId, kind: Kind, name: String },
}

impl Target {
    /// What can be named of an element: calls `tell` with each.
    pub(crate) fn of(tree: &Tree, node: NodeId, tell: &mut impl FnMut(Self)) {
        let kind = tree.node(node).kind;
        if let Some(id) = index_id(tree, node) {
            tell(Self::Id(id));
        }
        if kind == Kind::ExternalInterface
            && let Some(name) = xml::attribute(tree.head(node), "Name")
            && let Some(owner) = tree.node(node).parent.and_then(|owner| index_id(tree, owner))
        {
            tell(Self::Interface { owner, name: name.into_owned() });
        }
        if let Some((family, names)) = class::path_of(tree, node) {
            tell(Self::Class { family, names });
        }
        if let Some((owner, name)) = part(tree, node) {
            tell(Self::Part { owner, kind, name });
        }
    }

    /// The key of references to it.
    fn key(&self) -> Key {
        match self {
            Self::Id(id) | Self::Interface { owner: id, .. } => Key::reference(id),
            Self::Class { family, names } => {
                Key::class_reference(family.library(), names.iter().map(String::as_str))
            }
            Self::Part { owner, name, .. } => Key::mapped(*owner, name),
        }
    }

    /// Whether there is something by this name.
    fn exists(&self, document: &Document) -> bool {
        let Document { tree, index, .. } = document;
        match self {
            Self::Id(id) => index.with_id(tree, id).next().is_some(),
            Self::Interface { owner, name } => has_interface(document, owner, name),
            Self::Class { family, names } => document.classes(*family, names).next().is_some(),
            Self::Part { owner, kind, name } => has_part(document, *owner, *kind, name),
        }
    }

    /// The references that name it and lead nowhere, if it is gone.
    pub(crate) fn dangling<'d>(&'d self, document: &'d Document) -> impl Iterator<Item = Pointer> + 'd {
        let gone = !self.exists(document);
        let candidates = gone.then(|| document.index.candidates(self.key()));
        let pointers = candidates.into_iter().flatten().flat_map(|from| pointers(&document.tree, from));
        pointers
            .filter(|pointer| pointer.may_mean(&document.tree, self) && !pointer.leads_somewhere(document))
    }
}

impl Pointer {
    /// How the XML attribute is called in which it stands; `Value` for the text of a value.
    pub(crate) fn attribute(&self) -> &'static str {
        if self.field.attribute.is_empty() { "Value" } else { self.field.attribute }
    }

    fn may_mean(&self, tree: &Tree, target: &Target) -> bool {
        match target {
            Target::Id(id) => self.field.by_id && readings(&self.value).any(|(target, _)| target == id),
            Target::Interface { owner, name } => {
                let meant = (owner.as_str(), Some(name.as_str()));
                self.field.by_id && readings(&self.value).any(|reading| reading == meant)
            }
            Target::Class { family, names } => {
                self.field.by_path == Some(*family) && class::names(&self.value) == *names
            }
            Target::Part { owner, kind, name } => {
                self.field.by_name == Some(*kind)
                    && mapped(tree, self.from).is_some_and(|(at, named)| at == *owner && named == *name)
            }
        }
    }

    /// Whether it names something that is in the document.
    pub(crate) fn leads_somewhere(&self, document: &Document) -> bool {
        let by_id = || {
            readings(&self.value).any(|(id, interface)| match interface {
                None => document.index.with_id(&document.tree, id).next().is_some(),
                Some(name) => has_interface(document, id, name),
            })
        };
        let by_path = |family: Family| document.classes(family, &class::names(&self.value)).next().is_some();
        let by_name = |kind: Kind| {
            mapped(&document.tree, self.from)
                .is_some_and(|(owner, name)| has_part(document, owner, kind, &name))
        };
        (self.field.by_id && by_id())
            || self.field.by_path.is_some_and(by_path)
            || self.field.by_name.is_some_and(by_name)
    }
}

/// The references that an element holds.
pub(crate) fn pointers(tree: &Tree, from: NodeId) -> Vec<Pointer> {
    let fields = fields(tree.node(from).kind).iter();
    let value =
        |field: &'static Field| Some((field, xml::attribute(tree.head(from), field.attribute)?.into_owned()));
    let mut found: Vec<Pointer> =
        fields.filter_map(value).map(|(field, value)| Pointer { from, field, value }).collect();
    if is_idref(tree, from) {
        let text = value_of(tree, from);
        let ids = text.split(xml::WHITE).filter(|id| !id.is_empty());
        found.extend(ids.map(|id| Pointer { from, field: &TEXT, value: id.to_owned() }));
    }
    found
}

/// How a reference by ID can be read, as ID and interface name.
///
/// CAEX 3.0 writes the interface's ID, CAEX 2.15 writes `{ID}:name` or `ID:name`. IDs need not be GUIDs, and both
/// may hold colons, so it can be split at the first and at the last one.
pub(crate) fn readings(value: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let (first, last) = (value.find(':'), value.rfind(':').filter(|last| value.find(':') != Some(*last)));
    let colons = first.into_iter().chain(last);
    let split = colons.map(move |at| (&value[..at], Some(&value[at + 1..])));
    std::iter::once((value, None)).chain(split).flat_map(|(target, name)| {
        let bare = target.strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
        std::iter::once((target, name)).chain(bare.map(|bare| (bare, name)))
    })
}

/// Whether the element is the value of an attribute whose values are references.
pub(crate) fn is_idref(tree: &Tree, node: NodeId) -> bool {
    let Some(parent) = tree.node(node).parent.filter(|_| holds_value(tree.node(node).kind)) else {
        return false;
    };
    let data_type = xml::attribute(tree.head(parent), "AttributeDataType");
    data_type.is_some_and(|name| name.ends_with("IDREF") || name.ends_with("IDREFS"))
}

/// The text of a value.
pub(crate) fn value_of(tree: &Tree, node: NodeId) -> String {
    let mut text = String::new();
    for child in tree.children(node) {
        xml::push_text(tree.text(tree.node(child).gap), &mut text);
    }
    xml::push_text(tree.text(tree.node(node).tail), &mut text);
    text
}

/// What a mapping between names maps: the element whose part it is, and the name of the part.
pub(crate) fn mapped(tree: &Tree, node: NodeId) -> Option<(NodeId, Cow<'_, str>)> {
    let kind = tree.node(node).kind;
    let field = fields(kind).first().filter(|_| is_mapping(kind))?;
    Some((owner(tree, node)?, xml::attribute(tree.head(node), field.attribute)?))
}

/// The element that has the mapping, attribute or interface `node`.
fn owner(tree: &Tree, node: NodeId) -> Option<NodeId> {
    let is_owner =
        |node: &NodeId| matches!(tree.node(*node).kind, Kind::InternalElement | Kind::SystemUnitClass);
    tree.ancestors(node).skip(1).find(is_owner)
}

/// An attribute or interface as a part: the element that has it, and its name; names of nested attributes are joined by slashes.
fn part(tree: &Tree, node: NodeId) -> Option<(NodeId, String)> {
    let kind = tree.node(node).kind;
    if !is_part(kind) {
        return None;
    }
    let owner = owner(tree, node)?;
    let mut names = Vec::new();
    for ancestor in tree.ancestors(node).take_while(|ancestor| *ancestor != owner) {
        if tree.node(ancestor).kind != kind {
            return None;
        }
        names.push(xml::attribute(tree.head(ancestor), "Name")?);
    }
    names.reverse();
    Some((owner, names.join("/")))
}

fn has_part(document: &Document, owner: NodeId, kind: Kind, path: &str) -> bool {
    let Document { tree, index, .. } = document;
    if index.named_children(tree, owner, kind, path).next().is_some() {
        return true;
    }
    // Names may be repeated where files are broken, so all ways are followed: which one was there first, not every replica knows.
    let mut reached = vec![owner];
    for name in path.split('/') {
        reached = reached.iter().flat_map(|at| index.named_children(tree, *at, kind, name)).collect();
    }
    !reached.is_empty()
}

fn has_interface(document: &Document, owner: &str, name: &str) -> bool {
    let Document { tree, index, .. } = document;
    index
        .with_id(tree, owner)
        .any(|owner| index.named_children(tree, owner, Kind::ExternalInterface, name).next().is_some())
}

fn index_id(tree: &Tree, node: NodeId) -> Option<String> {
    crate::arena::index::id_of(tree, node).map(Cow::into_owned)
}
