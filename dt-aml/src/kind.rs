//! The element kinds of CAEX and the two versions of its schema.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// The namespace of CAEX 3.0. CAEX 2.15 has none.
pub const CAEX_3_NAMESPACE: &str = "http://www.dke.de/CAEX";

/// The schema version a document is written in, told by the namespace of its root element.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
pub enum Version {
    /// CAEX 2.15 (IEC 62424:2008), without a namespace.
    Caex215,
    /// CAEX 3.0 (IEC 62424:2016), in [`CAEX_3_NAMESPACE`].
    Caex30,
}

impl Version {
    /// The version whose elements live in `namespace` (empty: none).
    pub(crate) fn of_namespace(namespace: &str) -> Option<Self> {
        match namespace {
            "" => Some(Self::Caex215),
            CAEX_3_NAMESPACE => Some(Self::Caex30),
            _ => None,
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $tag:literal,)*) => {
        /// The kind of an element: one for each element name of CAEX 2.15 and 3.0.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
            /// Not an element of CAEX: another namespace, an unknown name, or content of an
            /// `AdditionalInformation`, which is free.
            Other,
        }

        impl Kind {
            /// The kind of the CAEX element with this local name.
            pub(crate) fn of_tag(tag: &str) -> Self {
                match tag {
                    $($tag => Self::$kind,)*
                    _ => Self::Other,
                }
            }

            /// The local name of elements of this kind; `None` for [`Kind::Other`].
            pub fn tag(self) -> Option<&'static str> {
                match self {
                    $(Self::$kind => Some($tag),)*
                    Self::Other => None,
                }
            }
        }
    };
}

kinds! {
    /// Free content, such as a tool's own data.
    AdditionalInformation = "AdditionalInformation",
    /// A property with value, unit, data type and constraints.
    Attribute = "Attribute",
    /// Maps an attribute's name to a role's.
    AttributeNameMapping = "AttributeNameMapping",
    /// A reusable attribute definition (3.0).
    AttributeType = "AttributeType",
    /// A library of attribute types (3.0).
    AttributeTypeLib = "AttributeTypeLib",
    /// Who made a revision.
    AuthorName = "AuthorName",
    /// The root element.
    CaexFile = "CAEXFile",
    /// A revision's remark.
    Comment = "Comment",
    /// A restriction of an attribute's value.
    Constraint = "Constraint",
    /// A legal notice.
    Copyright = "Copyright",
    /// An attribute's default.
    DefaultValue = "DefaultValue",
    /// A text for people.
    Description = "Description",
    /// A port of an element or a class.
    ExternalInterface = "ExternalInterface",
    /// An alias for another CAEX file.
    ExternalReference = "ExternalReference",
    /// A tree of instances.
    InstanceHierarchy = "InstanceHierarchy",
    /// A class of interfaces.
    InterfaceClass = "InterfaceClass",
    /// A library of interface classes.
    InterfaceClassLib = "InterfaceClassLib",
    /// Maps an interface to a role's, by ID (3.0).
    InterfaceIdMapping = "InterfaceIDMapping",
    /// Maps an interface to a role's, by name (2.15).
    InterfaceNameMapping = "InterfaceNameMapping",
    /// An instance: a machine, a part, a program.
    InternalElement = "InternalElement",
    /// Joins two interfaces.
    InternalLink = "InternalLink",
    /// Holds the mappings between an element and a role.
    MappingObject = "MappingObject",
    /// A revision's version after it.
    NewVersion = "NewVersion",
    /// A constraint: one of a set of values.
    NominalScaledType = "NominalScaledType",
    /// A revision's version before it.
    OldVersion = "OldVersion",
    /// A constraint: between bounds.
    OrdinalScaledType = "OrdinalScaledType",
    /// What an attribute means, by reference.
    RefSemantic = "RefSemantic",
    /// An upper bound.
    RequiredMaxValue = "RequiredMaxValue",
    /// A lower bound.
    RequiredMinValue = "RequiredMinValue",
    /// A value that is asked for.
    RequiredValue = "RequiredValue",
    /// A constraint in words.
    Requirements = "Requirements",
    /// An entry of a change history.
    Revision = "Revision",
    /// When a revision was made.
    RevisionDate = "RevisionDate",
    /// A class of roles.
    RoleClass = "RoleClass",
    /// A library of role classes.
    RoleClassLib = "RoleClassLib",
    /// The role that an element plays.
    RoleRequirements = "RoleRequirements",
    /// The tool a document came from (3.0).
    SourceDocumentInformation = "SourceDocumentInformation",
    /// Where an object came from (3.0).
    SourceObjectInformation = "SourceObjectInformation",
    /// The standard on top of CAEX (3.0).
    SuperiorStandardVersion = "SuperiorStandardVersion",
    /// A role that a unit can play.
    SupportedRoleClass = "SupportedRoleClass",
    /// A class of units: a template for instances.
    SystemUnitClass = "SystemUnitClass",
    /// A library of system unit classes.
    SystemUnitClassLib = "SystemUnitClassLib",
    /// A constraint that no program can evaluate.
    UnknownType = "UnknownType",
    /// An attribute's value.
    Value = "Value",
    /// A version, as text.
    Version = "Version",
}

impl Kind {
    /// Kinds that are told apart by their name among their siblings, so a name MUST occur once.
    pub(crate) fn is_named_uniquely(self) -> bool {
        matches!(
            self,
            Self::Attribute
                | Self::AttributeType
                | Self::AttributeTypeLib
                | Self::InstanceHierarchy
                | Self::InterfaceClass
                | Self::InterfaceClassLib
                | Self::RoleClass
                | Self::RoleClassLib
                | Self::SystemUnitClass
                | Self::SystemUnitClassLib
        )
    }

    /// Kinds whose `Name` the schema requires.
    pub(crate) fn needs_name(self) -> bool {
        self.is_named_uniquely()
            || matches!(
                self,
                Self::InternalElement | Self::ExternalInterface | Self::InternalLink | Self::Constraint
            )
    }
}
