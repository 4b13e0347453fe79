//! Queries: InternalElements by name, role class and system unit class, and ExternalInterfaces by interface class.
//!
//! Classes count with their inheritance. An element **has a role** if one of the role classes that it names in its
//! RoleRequirements or SupportedRoleClass is, or inherits from, the role; or if its system unit class, or one that it
//! inherits from, supports such a role class. It is **of a unit class** if the class in its `RefBaseSystemUnitPath` is, or
//! inherits from, that class. A class is told by its path, so one in an external file is found too, though not what
//! inherits from it there.
//!
//! A query reads the elements it searches once. Each class path is looked up once, and each class is judged once, however
//! many elements name it; a circle of classes ends where it closes. So its cost is linear in the document, whatever the
//! libraries look like.

use std::collections::{BTreeMap, BTreeSet};

use super::class::Family;
use super::path::CaexPath;
use super::reference;
use crate::arena::tree::{NodeId, Visit, Walk};
use crate::document::Document;
use crate::element::Element;
use crate::kind::Kind;

impl Document {
    /// A query for InternalElements; without conditions it finds all of them.
    ///
    /// # Examples
    /// ```
    /// use dt_aml::{Document, Limits};
    ///
    /// let aml = r#"<CAEXFile><InstanceHierarchy Name="Plant">
    ///   <InternalElement Name="T1" ID="t1"><RoleRequirements RefBaseRoleClassPath="Roles/Thermometer"/></InternalElement>
    ///   <InternalElement Name="M1" ID="m1"/>
    /// </InstanceHierarchy>
    /// <RoleClassLib Name="Roles">
    ///   <RoleClass Name="Sensor"/><RoleClass Name="Thermometer" RefBaseClassPath="Roles/Sensor"/>
    /// </RoleClassLib></CAEXFile>"#;
    /// let document = Document::parse(aml, &Limits::default())?;
    /// let sensors: Vec<_> = document.query().with_role("Roles/Sensor").iter().filter_map(|found| found.id()).collect();
    /// assert_eq!(sensors, ["t1"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn query(&self) -> Query<'_> {
        Query { top: self.root(), name: None, role: None, unit: None }
    }

    /// A query for ExternalInterfaces; without conditions it finds all of them.
    pub fn query_interfaces(&self) -> InterfaceQuery<'_> {
        InterfaceQuery { top: self.root(), name: None, class: None }
    }
}

/// A query for InternalElements. All its conditions hold for what it finds.
#[derive(Clone, Debug)]
#[must_use]
pub struct Query<'d> {
    top: Element<'d>,
    name: Option<String>,
    role: Option<String>,
    unit: Option<String>,
}

impl<'d> Query<'d> {
    /// Only elements with this `Name`, character by character.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Only elements that have the role at this CAEX path, or one that inherits from it. None if it is not the path of a
    /// class.
    pub fn with_role(self, path: impl Into<String>) -> Self {
        Self { role: Some(path.into()), ..self }
    }

    /// Only elements of the system unit class at this CAEX path, or one that inherits from it. None if it is not the path
    /// of a class.
    pub fn of_unit_class(self, path: impl Into<String>) -> Self {
        Self { unit: Some(path.into()), ..self }
    }

    /// Only elements in `element`, at any depth, itself apart. The query goes over that element's document.
    pub fn within(self, element: Element<'d>) -> Self {
        Self { top: element, ..self }
    }

    /// What it finds, in document order.
    pub fn iter(&self) -> Matches<'d> {
        let document = self.top.document;
        Matches {
            scan: Scan::new(self.top, Kind::InternalElement, self.name.clone()),
            role: self.role.as_deref().map(|path| Roles::new(document, path)),
            unit: self.unit.as_deref().map(|path| Heirs::new(document, Family::Unit, path)),
        }
    }
}

impl<'d> IntoIterator for Query<'d> {
    type Item = Element<'d>;
    type IntoIter = Matches<'d>;

    fn into_iter(self) -> Matches<'d> {
        self.iter()
    }
}

/// A query for ExternalInterfaces. All its conditions hold for what it finds.
#[derive(Clone, Debug)]
#[must_use]
pub struct InterfaceQuery<'d> {
    top: Element<'d>,
    name: Option<String>,
    class: Option<String>,
}

impl<'d> InterfaceQuery<'d> {
    /// Only interfaces with this `Name`, character by character.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Only interfaces of the interface class at this CAEX path, or one that inherits from it. None if it is not the path
    /// of a class.
    pub fn of_class(self, path: impl Into<String>) -> Self {
        Self { class: Some(path.into()), ..self }
    }

    /// Only interfaces in `element`, at any depth, itself apart. The query goes over that element's document.
    pub fn within(self, element: Element<'d>) -> Self {
        Self { top: element, ..self }
    }

    /// What it finds, in document order.
    pub fn iter(&self) -> InterfaceMatches<'d> {
        let class = self.class.as_deref().map(|path| Heirs::new(self.top.document, Family::Interface, path));
        InterfaceMatches { scan: Scan::new(self.top, Kind::ExternalInterface, self.name.clone()), class }
    }
}

impl<'d> IntoIterator for InterfaceQuery<'d> {
    type Item = Element<'d>;
    type IntoIter = InterfaceMatches<'d>;

    fn into_iter(self) -> InterfaceMatches<'d> {
        self.iter()
    }
}

/// Iterator of [`Query::iter`].
pub struct Matches<'d> {
    scan: Scan<'d>,
    role: Option<Roles<'d>>,
    unit: Option<Heirs<'d>>,
}

impl<'d> Iterator for Matches<'d> {
    type Item = Element<'d>;

    fn next(&mut self) -> Option<Element<'d>> {
        let Self { scan, role, unit } = self;
        scan.find(|element| {
            unit.as_mut().is_none_or(|unit| unit.is_named_by(*element, reference::UNIT))
                && role.as_mut().is_none_or(|role| role.are_of(*element))
        })
    }
}

/// Iterator of [`InterfaceQuery::iter`].
pub struct InterfaceMatches<'d> {
    scan: Scan<'d>,
    class: Option<Heirs<'d>>,
}

impl<'d> Iterator for InterfaceMatches<'d> {
    type Item = Element<'d>;

    fn next(&mut self) -> Option<Element<'d>> {
        let Self { scan, class } = self;
        scan.find(|interface| {
            class.as_mut().is_none_or(|class| class.is_named_by(*interface, "RefBaseClassPath"))
        })
    }
}

/// The elements of one kind, and of one name if there is one, below an element.
struct Scan<'d> {
    top: Element<'d>,
    walk: Walk<'d>,
    kind: Kind,
    name: Option<String>,
}

impl<'d> Scan<'d> {
    fn new(top: Element<'d>, kind: Kind, name: Option<String>) -> Self {
        Self { top, walk: top.document.tree.walk(top.node), kind, name }
    }
}

impl<'d> Iterator for Scan<'d> {
    type Item = Element<'d>;

    fn next(&mut self) -> Option<Element<'d>> {
        let Self { top, walk, kind, name } = self;
        walk.filter_map(|visit| match visit {
            Visit::Enter(node) if node != top.node => Some(top.document.element(node)),
            Visit::Enter(_) | Visit::Leave(_) => None,
        })
        .filter(|element| element.kind() == *kind)
        .find(|element| name.is_none() || element.name().as_deref() == name.as_deref())
    }
}

/// Which classes are a certain class or inherit from it.
struct Heirs<'d> {
    document: &'d Document,
    family: Family,
    /// The class that is sought; none if its path is not that of a class, so that nothing is one.
    sought: Option<Names>,
    /// The class itself, if it is in this document.
    class: Option<NodeId>,
    /// The verdicts on paths so far.
    paths: BTreeMap<String, bool>,
    /// The verdicts on classes so far.
    classes: BTreeMap<NodeId, bool>,
}

/// What the path of a class says: the alias of another file, and the names of the library and of at least one class.
type Names = (Option<String>, Vec<String>);

fn names(path: &str) -> Option<Names> {
    let path = CaexPath::parse(path).ok()?;
    let alias = path.alias.clone().map(|alias| alias.into_owned());
    let names: Vec<_> = path.into_names()?.into_iter().map(|name| name.into_owned()).collect();
    (names.len() > 1).then_some((alias, names))
}

impl<'d> Heirs<'d> {
    fn new(document: &'d Document, family: Family, path: &str) -> Self {
        Self {
            document,
            family,
            sought: names(path),
            class: document.class(family, path).map(|class| class.node),
            paths: BTreeMap::new(),
            classes: BTreeMap::new(),
        }
    }

    /// Whether the class that `element` names in this XML attribute is one.
    fn is_named_by(&mut self, element: Element<'_>, attribute: &str) -> bool {
        element.attribute_value(attribute).is_some_and(|path| self.include(&path))
    }

    /// Whether the class at `path` is one.
    fn include(&mut self, path: &str) -> bool {
        if let Some(verdict) = self.paths.get(path) {
            return *verdict;
        }
        let class = || self.document.class(self.family, path);
        let verdict = self.is_sought(path) || class().is_some_and(|class| self.includes_class(class));
        self.paths.insert(path.to_owned(), verdict);
        verdict
    }

    fn is_sought(&self, path: &str) -> bool {
        self.sought.is_some() && names(path) == self.sought
    }

    /// Whether a class of this document is one. Goes up until that is known.
    fn includes_class(&mut self, class: Element<'d>) -> bool {
        let mut passed = BTreeSet::new();
        let mut next = Some(class);
        let mut verdict = false;
        while let Some(class) = next {
            if let Some(known) = self.classes.get(&class.node) {
                verdict = *known;
                break;
            }
            if !passed.insert(class.node) {
                break;
            }
            let base = self.document.base(self.family, class);
            verdict =
                self.class == Some(class.node) || base.as_ref().is_some_and(|(path, _)| self.is_sought(path));
            next = base.and_then(|(_, base)| base).filter(|_| !verdict);
        }
        self.classes.extend(passed.into_iter().map(|class| (class, verdict)));
        verdict
    }
}

/// Which elements have a role.
struct Roles<'d> {
    document: &'d Document,
    heirs: Heirs<'d>,
    /// The verdicts on the paths of system unit classes so far.
    units: BTreeMap<String, bool>,
    /// The verdicts on system unit classes so far.
    classes: BTreeMap<NodeId, bool>,
}

impl<'d> Roles<'d> {
    fn new(document: &'d Document, path: &str) -> Self {
        let heirs = Heirs::new(document, Family::Role, path);
        Self { document, heirs, units: BTreeMap::new(), classes: BTreeMap::new() }
    }

    /// Whether `element` has the role, by itself or by its class.
    fn are_of(&mut self, element: Element<'d>) -> bool {
        self.are_named_by(element)
            || element.attribute_value(reference::UNIT).is_some_and(|path| self.are_of_unit(&path))
    }

    fn are_named_by(&mut self, element: Element<'d>) -> bool {
        roles(element).any(|role| self.heirs.include(&role))
    }

    fn are_of_unit(&mut self, path: &str) -> bool {
        if let Some(verdict) = self.units.get(path) {
            return *verdict;
        }
        let verdict = self.document.class(Family::Unit, path).is_some_and(|class| self.are_of_class(class));
        self.units.insert(path.to_owned(), verdict);
        verdict
    }

    /// Whether a system unit class of this document supports the role. Goes up until that is known.
    fn are_of_class(&mut self, class: Element<'d>) -> bool {
        let mut passed = BTreeSet::new();
        let mut next = Some(class);
        let mut verdict = false;
        while let Some(class) = next {
            if let Some(known) = self.classes.get(&class.node) {
                verdict = *known;
                break;
            }
            if !passed.insert(class.node) {
                break;
            }
            verdict = self.are_named_by(class);
            let base = self.document.base(Family::Unit, class);
            next = base.and_then(|(_, base)| base).filter(|_| !verdict);
        }
        self.classes.extend(passed.into_iter().map(|class| (class, verdict)));
        verdict
    }
}

/// The paths of the roles that an element or a system unit class names.
pub(crate) fn roles(element: Element<'_>) -> impl Iterator<Item = String> {
    element.children().filter_map(|child| {
        let attribute = match child.kind() {
            Kind::RoleRequirements => "RefBaseRoleClassPath",
            Kind::SupportedRoleClass => "RefRoleClassPath",
            _ => return None,
        };
        child.attribute_value(attribute).map(|path| path.into_owned())
    })
}
