//! The content model of CAEX: which elements may stand in which, in what order and how often.
//!
//! From the schemas of CAEX 2.15 (IEC 62424:2008) and CAEX 3.0 (IEC 62424:2016). Each element holds groups in a
//! fixed order; the groups of the schema's base type `CAEXBasicObject` come first.

use crate::kind::{Kind, Version};

/// Elements that stand together, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// The kinds to choose from; nearly always one.
    pub(crate) kinds: &'static [Kind],
    /// At least one must be there.
    pub(crate) required: bool,
    /// At most one may be there.
    pub(crate) single: bool,
}

/// What an element may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    /// Elements, group after group, and no text.
    Groups { base: &'static [Group], own: &'static [Group] },
    /// Text only.
    Text,
    /// Anything.
    Free,
}

impl Content {
    /// The groups in order.
    pub(crate) fn groups(self) -> impl Iterator<Item = &'static Group> {
        let (base, own): (&'static [Group], &'static [Group]) = match self {
            Self::Groups { base, own } => (base, own),
            Self::Text | Self::Free => (&[], &[]),
        };
        base.iter().chain(own)
    }

    /// The place of a kind in the order of groups, and its group.
    pub(crate) fn rank(self, kind: Kind) -> Option<(usize, &'static Group)> {
        self.groups().enumerate().find(|(_, group)| group.kinds.contains(&kind))
    }
}

const fn many(kinds: &'static [Kind]) -> Group {
    Group { kinds, required: false, single: false }
}

const fn optional(kinds: &'static [Kind]) -> Group {
    Group { kinds, required: false, single: true }
}

const fn once(kinds: &'static [Kind]) -> Group {
    Group { kinds, required: true, single: true }
}

const fn some(kinds: &'static [Kind]) -> Group {
    Group { kinds, required: true, single: false }
}

/// A list of groups: how often, and which kinds there are to choose from.
macro_rules! groups {
    ($($occurs:ident $($kind:ident)|+),* $(,)?) => {
        const { &[$($occurs(&[$(Kind::$kind),+])),*] as &'static [Group] }
    };
}

/// What an element of `kind` may hold in `version`.
pub(crate) fn content(version: Version, kind: Kind) -> Content {
    use Kind::*;
    let v3 = version == crate::kind::Version::Caex30;
    let own: &'static [Group] = match kind {
        CaexFile if v3 => FILE_3,
        CaexFile => FILE_215,
        InstanceHierarchy => groups![many InternalElement],
        InterfaceClassLib => groups![many InterfaceClass],
        RoleClassLib => groups![many RoleClass],
        SystemUnitClassLib => groups![many SystemUnitClass],
        AttributeTypeLib => groups![many AttributeType],
        InterfaceClass if v3 => groups![many Attribute, many ExternalInterface, many InterfaceClass],
        InterfaceClass => groups![many Attribute, many InterfaceClass],
        RoleClass => groups![many Attribute, many ExternalInterface, many RoleClass],
        SystemUnitClass => UNIT_CLASS,
        InternalElement if v3 => INTERNAL_ELEMENT_3,
        InternalElement => INTERNAL_ELEMENT_215,
        ExternalInterface if v3 => groups![many Attribute, many ExternalInterface],
        ExternalInterface => groups![many Attribute],
        Attribute => ATTRIBUTE,
        AttributeType => ATTRIBUTE_TYPE,
        Constraint => groups![once OrdinalScaledType | NominalScaledType | UnknownType],
        RoleRequirements if v3 => groups![many Attribute, many ExternalInterface, optional MappingObject],
        RoleRequirements => groups![many Attribute, many ExternalInterface],
        SupportedRoleClass => groups![optional MappingObject],
        MappingObject if v3 => groups![many AttributeNameMapping, many InterfaceIdMapping],
        MappingObject => groups![many AttributeNameMapping, many InterfaceNameMapping],
        InternalLink | RefSemantic | AttributeNameMapping | InterfaceIdMapping | InterfaceNameMapping
        | ExternalReference => &[],
        _ => return plain(kind),
    };
    Content::Groups { base: if v3 { BASE_3 } else { BASE_215 }, own }
}

/// The content of elements that do not extend `CAEXBasicObject`.
fn plain(kind: Kind) -> Content {
    use Kind::*;
    let own: &'static [Group] = match kind {
        AdditionalInformation | Other => return Content::Free,
        Revision => REVISION,
        OrdinalScaledType => {
            groups![optional RequiredMaxValue, optional RequiredValue, optional RequiredMinValue]
        }
        NominalScaledType => groups![many RequiredValue],
        UnknownType => groups![once Requirements],
        SourceDocumentInformation | SourceObjectInformation => &[],
        _ => return Content::Text,
    };
    Content::Groups { base: &[], own }
}

const BASE_215: &[Group] = groups![
    optional Description,
    optional Version,
    many Revision,
    optional Copyright,
    many AdditionalInformation,
];

const BASE_3: &[Group] = groups![
    optional Description,
    optional Version,
    many Revision,
    optional Copyright,
    many AdditionalInformation,
    many SourceObjectInformation,
];

const FILE_215: &[Group] = groups![
    many ExternalReference,
    many InstanceHierarchy,
    many InterfaceClassLib,
    many RoleClassLib,
    many SystemUnitClassLib,
];

const FILE_3: &[Group] = groups![
    many SuperiorStandardVersion,
    some SourceDocumentInformation,
    many ExternalReference,
    many InstanceHierarchy,
    many InterfaceClassLib,
    many RoleClassLib,
    many SystemUnitClassLib,
    many AttributeTypeLib,
];

const UNIT_CLASS: &[Group] = groups![
    many Attribute,
    many ExternalInterface,
    many InternalElement,
    many SupportedRoleClass,
    many InternalLink,
    many SystemUnitClass,
];

const INTERNAL_ELEMENT_215: &[Group] = groups![
    many Attribute,
    many ExternalInterface,
    many InternalElement,
    many SupportedRoleClass,
    many InternalLink,
    optional RoleRequirements,
    optional MappingObject,
];

const INTERNAL_ELEMENT_3: &[Group] = groups![
    many Attribute,
    many ExternalInterface,
    many InternalElement,
    many SupportedRoleClass,
    many InternalLink,
    many RoleRequirements,
];

const ATTRIBUTE: &[Group] = groups![
    optional DefaultValue,
    optional Value,
    many RefSemantic,
    many Constraint,
    many Attribute,
];

const ATTRIBUTE_TYPE: &[Group] = groups![
    optional DefaultValue,
    optional Value,
    many RefSemantic,
    many Constraint,
    many Attribute,
    many AttributeType,
];

const REVISION: &[Group] = groups![
    once RevisionDate,
    optional OldVersion,
    optional NewVersion,
    once AuthorName,
    optional Comment,
];
