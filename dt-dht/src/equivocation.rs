//! Evidence that a writer signed two different records of one version: portable, and proof to anybody.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Envelope, OpenError, PartyId, Signed};
use thiserror::Error;

use crate::{Key, Record};

/// Two records that one writer should not both have signed.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Equivocation {
    /// The one that was seen first.
    pub first: Envelope<Record>,
    /// The other one.
    pub second: Envelope<Record>,
}

/// Why two envelopes prove nothing against their signer.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EquivocationError {
    /// One of the two was not signed as it says.
    #[error("one of the records does not open")]
    Record(#[from] OpenError),
    /// They are by different writers, at different keys, of different versions, or one and the same.
    #[error("the records do not contradict each other")]
    NoContradiction,
}

/// What an [`Equivocation`] proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Culprit {
    /// Who signed both.
    pub writer: PartyId,
    /// At which key.
    pub key: Key,
    /// In which version.
    pub version: u64,
}

impl Equivocation {
    /// The evidence that `first` and `second` make, if they do.
    #[must_use]
    pub fn between(first: &Signed<Record>, second: &Signed<Record>) -> Option<Self> {
        (first.signer() == second.signer() && contradict(first, second))
            .then(|| Self { first: first.envelope().clone(), second: second.envelope().clone() })
    }

    /// Checks the evidence, offline, and says whom it convicts of what.
    ///
    /// # Errors
    /// [`EquivocationError`].
    pub fn verify(&self) -> Result<Culprit, EquivocationError> {
        let (first, second) = (self.first.clone().open()?, self.second.clone().open()?);
        if first.signer() != second.signer() || !contradict(&first, &second) {
            return Err(EquivocationError::NoContradiction);
        }
        Ok(Culprit { writer: first.signer(), key: first.key, version: first.version })
    }
}

/// Whether both claim to be the one record of a version at a key.
pub(crate) fn contradict(first: &Signed<Record>, second: &Signed<Record>) -> bool {
    first.key == second.key && first.version == second.version && first.digest() != second.digest()
}
