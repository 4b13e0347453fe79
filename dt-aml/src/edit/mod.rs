//! Edits of a document. Paper: `insertAML` and `removeAML`, Listing 1.2.
//!
//! ```text
//!   Edit ──► api ──► apply ──► place: where it goes, and the white space around it
//!                      │  ├───► check ──► schema: whether CAEX allows it there
//!                      │  └───► settle: what becomes of references to what is gone
//!                      ▼
//!                 transaction: fill, retag ──► arena, index, hashes
//!                      ▲  └───► Outcome: changes, and the Patch that takes them back
//!   Patch ─────────────┤
//!   diff ──► align ────┘
//! ```

mod align;
mod api;
mod apply;
pub(crate) mod check;
mod diff;
mod error;
mod model;
mod patch;
mod place;
mod region;
mod retag;
mod room;
mod schema;
mod settle;
mod transaction;

pub use check::SchemaError;
pub use error::{EditError, MAX_REPORTED};
pub use model::{Change, Edit, Outcome, Reference, RemovePolicy};
pub use patch::{Patch, PatchError};
