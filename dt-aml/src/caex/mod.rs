//! What CAEX means by the elements of a document, and how they are asked for it.
//!
//! ```text
//!   query ──► class ──► path                 by name, role, class, with inheritance
//!   link ───► reference                      what refers to what
//!   program ──► mtp, attribute ──► constraint ──► value
//!   issues                                   what is wrong with it
//! ```

mod attribute;
pub(crate) mod class;
mod constraint;
mod issues;
mod link;
mod mtp;
pub mod path;
mod program;
mod query;
pub(crate) mod reference;
pub mod value;

pub use attribute::Attribute;
pub use constraint::{Bound, Constraint, Requirement, Verdict, Violation};
pub use issues::{Issue, Problem};
pub use link::{End, Link, Target};
pub use path::PathError;
pub use program::{Parameter, Program};
pub use query::{InterfaceMatches, InterfaceQuery, Matches, Query};
pub use value::DataType;
