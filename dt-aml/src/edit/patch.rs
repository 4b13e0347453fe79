//! Patches: edits that lead from one document to another, both known by their hash.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use super::error::EditError;
use super::model::{Edit, Outcome};
use super::transaction::{Rules, Transaction};
use crate::arena::hash::SubtreeHash;
use crate::document::Document;

/// Edits that turn the document with the root hash `from` into the one with the root hash `to`, byte for byte.
///
/// What [`Document::apply`] returns to take its edits back, and what [`Document::diff`] finds between two documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub struct Patch {
    /// The root hash of the document that it is for.
    pub from: SubtreeHash,
    /// The root hash of the document that comes of it.
    pub to: SubtreeHash,
    /// The edits, in order.
    pub edits: Vec<Edit>,
}

/// Why a patch was refused. The document is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// The patch is for another document, or for another version of this one.
    #[error("the patch is for the document {expected}, not for {found}")]
    OtherDocument {
        /// The root hash that the patch names.
        expected: SubtreeHash,
        /// The root hash of the document.
        found: SubtreeHash,
    },
    /// The edits lead elsewhere.
    #[error("the patch promises the document {promised}, but leads to {found}")]
    OtherResult {
        /// The root hash that the patch names.
        promised: SubtreeHash,
        /// The root hash that came of it.
        found: SubtreeHash,
    },
    /// An edit cannot be made.
    #[error(transparent)]
    Edit(#[from] EditError),
}

impl Document {
    /// Applies a patch: all of it, or nothing.
    ///
    /// The result is bound by its hash, so it is not held against the rules of CAEX again: a document that broke them when it was loaded
    /// can be restored. Whoever takes a patch from others MUST know that they may set the document to [`Patch::to`]; to take their word
    /// for the edits alone, give [`Patch::edits`] to [`Document::apply`].
    ///
    /// # Errors
    /// [`PatchError`]. On error the document is unchanged.
    ///
    /// # Examples
    /// ```
    /// use dt_aml::{Document, Limits};
    ///
    /// let aml = r#"<CAEXFile><InstanceHierarchy Name="Plant"/></CAEXFile>"#;
    /// let mut document = Document::parse(aml, &Limits::default())?;
    /// let motor = r#"<InternalElement Name="Motor" ID="m1"/>"#;
    /// let outcome = document.insert(motor, "/InstanceHierarchy[Plant]", None)?;
    /// document.apply_patch(&outcome.inverse)?;
    /// assert_eq!(document.to_bytes(), aml.as_bytes());
    /// assert!(document.apply_patch(&outcome.inverse).is_err(), "it is for the document with the motor");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn apply_patch(&mut self, patch: &Patch) -> Result<Outcome, PatchError> {
        if self.root_hash != patch.from {
            return Err(PatchError::OtherDocument { expected: patch.from, found: self.root_hash });
        }
        let mut transaction = Transaction::new(self, Rules::WellFormed);
        let result = transaction.apply_all(&patch.edits).map_err(PatchError::Edit).and_then(|changes| {
            let found = transaction.root_hash();
            let promised = patch.to;
            if found == promised { Ok(changes) } else { Err(PatchError::OtherResult { promised, found }) }
        });
        match result {
            Ok(changes) => Ok(Outcome { changes, inverse: transaction.commit() }),
            Err(error) => {
                transaction.roll_back();
                Err(error)
            }
        }
    }
}
