//! Evidence that a validator showed two chains: portable, and proof to anybody who knows its key.
//!
//! Of what validators sign by themselves, a [`Commit`](crate::Commit) is one vote among others, and engines keep watch over double votes. A
//! [`Checkpoint`] goes to outsiders, one by one, who have nothing but it. A validator signs checkpoints of committed blocks only, and
//! all of these lie on one chain. So it has lied, or runs its key on two chains, if it signed two that no chain has both.
//!
//! A [`Receipt`](crate::Receipt) is signed by nobody: it counts by its place under a block's header, which has votes.
//!
//! # Limit
//! Two checkpoints of different heights whose logs have different sizes may belong to different chains, too. That is seen by whoever asks for the
//! consistency proof between the two, and gets none; it is not shown by the two alone.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, PartyId, SignatureError};
use thiserror::Error;

use crate::evidence::checkpoint::{Checkpoint, CheckpointError};
use crate::evidence::note::SignedNote;

/// The longest encoded evidence that a decoder needs to accept: two checkpoints with a signature each, several times over.
pub const MAX_SPLIT_VIEW_BYTES: usize = 4096;

/// Two checkpoints that one validator should not both have signed.
///
/// # Invariant
/// Nothing is verified: ask [`SplitView::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitView {
    validator: PartyId,
    first: SignedNote,
    second: SignedNote,
}

/// What a [`SplitView`] proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// Who signed both.
    pub validator: PartyId,
    /// Of which chain.
    pub chain: Digest,
    /// The heights of the two.
    pub heights: [u64; 2],
}

/// Why two notes prove nothing against a validator.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SplitViewError {
    /// One of the two is no checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The validator did not sign both.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// They are of different chains, or one chain may have both.
    #[error("the checkpoints do not contradict each other")]
    NoContradiction,
}

impl SplitView {
    /// The evidence that two notes make against `validator`, if they do. Signatures of others are left out.
    #[must_use]
    pub fn between(validator: PartyId, first: &SignedNote, second: &SignedNote) -> Option<Self> {
        let (first, second) = (signed_by(validator, first)?, signed_by(validator, second)?);
        let found = Self { validator, first, second };
        found.verify().is_ok().then_some(found)
    }

    /// Checks the evidence, offline, and says whom it convicts of what.
    ///
    /// # Errors
    /// [`SplitViewError`].
    pub fn verify(&self) -> Result<Split, SplitViewError> {
        let (first, second) = (open(self.validator, &self.first)?, open(self.validator, &self.second)?);
        if !contradict(&first, &second) {
            return Err(SplitViewError::NoContradiction);
        }
        let heights = [first.height, second.height];
        Ok(Split { validator: self.validator, chain: first.chain, heights })
    }
}

/// The checkpoint in `note`, which `validator` has signed.
fn open(validator: PartyId, note: &SignedNote) -> Result<Checkpoint, SplitViewError> {
    let checkpoint: Checkpoint = note.text().parse()?;
    let key = Checkpoint::key(&checkpoint.chain, validator).map_err(|_| CheckpointError::Malformed)?;
    note.verify(&[key])?;
    Ok(checkpoint)
}

/// `note` with the signature of `validator` alone.
fn signed_by(validator: PartyId, note: &SignedNote) -> Option<SignedNote> {
    let alone = note.signatures().iter().map(|one| SignedNote::new(note.text(), vec![one.clone()]));
    alone.filter_map(Result::ok).find(|note| open(validator, note).is_ok())
}

/// Whether no chain has both: one has one block at a height, and its log never shrinks nor changes.
fn contradict(a: &Checkpoint, b: &Checkpoint) -> bool {
    let (a, b) = if a.height <= b.height { (a, b) } else { (b, a) };
    if a.chain != b.chain {
        return false;
    }
    if a.height == b.height {
        return a != b;
    }
    a.block == b.block || a.log.size > b.log.size || (a.log.size == b.log.size && a.log.root != b.log.root)
}

impl BorshSerialize for SplitView {
    fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        (self.validator, self.first.to_string(), self.second.to_string()).serialize(writer)
    }
}

impl BorshDeserialize for SplitView {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let (validator, first, second) = <(PartyId, String, String)>::deserialize_reader(reader)?;
        let parse = |note: &str| {
            SignedNote::parse(note.as_bytes())
                .map_err(|_| borsh::io::Error::from(borsh::io::ErrorKind::InvalidData))
        };
        Ok(Self { validator, first: parse(&first)?, second: parse(&second)? })
    }
}
