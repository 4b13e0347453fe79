//! Checkpoints: what a validator says of the chain after a block, in the form that verifiers of transparency logs read (C2SP,
//! <https://c2sp.org/tlog-checkpoint>): a signed note that names a log, its size and its root.
//!
//! ```text
//! dt-ledger/<chain, hex>              origin, and name of every validator's key
//! 1234                                transactions in the log
//! <base64>                            its RFC 6962 root
//! height 56                           extension lines: the last block,
//! block <base64>                      its digest,
//! state <base64>                      the state's root after it,
//! receipts <base64>                   the root of its receipts
//!
//! — dt-ledger/<chain, hex> <base64>   one line for each validator that signed
//! ```
//!
//! # Invariants
//! - A validator MUST sign checkpoints of committed blocks only: then any two of one chain are consistent.
//! - A checkpoint has one text. A text that differs from it in any byte is none.

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeSet;

use data_encoding::BASE64;
use dt_model::{Digest, PartyId, SignatureError, Signer};
use thiserror::Error;

use crate::block::vote_quorum;
use crate::evidence::log::LogHead;
use crate::evidence::note::{NoteError, NoteKey, NoteSignature, SignedNote};

const ORIGIN: &str = "dt-ledger/";

/// The chain after a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The chain.
    pub chain: Digest,
    /// All its transactions up to the block.
    pub log: LogHead,
    /// The block's height.
    pub height: u64,
    /// The block's digest.
    pub block: Digest,
    /// The state's root after the block.
    pub state_root: Digest,
    /// The RFC 6962 root over the block's receipts.
    pub receipts_root: Digest,
}

/// Why a note is no checkpoint of a chain.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Its text is no checkpoint's.
    #[error("the text is not that of a checkpoint")]
    Malformed,
    /// It is of another chain.
    #[error("the checkpoint is of chain {}", found.short())]
    WrongChain {
        /// That chain.
        found: Digest,
    },
    /// No validator signed it, or the signature of one does not verify.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Too few validators signed it.
    #[error("{signers} of {needed} validators signed the checkpoint")]
    TooFew {
        /// Those who signed.
        signers: usize,
        /// Those who must.
        needed: usize,
    },
}

impl Checkpoint {
    /// The name of the log of `chain`.
    #[must_use]
    pub fn origin(chain: &Digest) -> String {
        format!("{ORIGIN}{chain}")
    }

    /// The key by which `validator` signs checkpoints of `chain`: for the configuration of other verifiers.
    ///
    /// # Errors
    /// None: an origin is a key's name.
    pub fn key(chain: &Digest, validator: PartyId) -> Result<NoteKey, NoteError> {
        NoteKey::new(Self::origin(chain), validator)
    }

    /// The validator's signature, to be put together with others' in a [`Checkpoint::note`].
    ///
    /// # Errors
    /// [`NoteError::Signer`].
    pub fn sign(&self, validator: &dyn Signer) -> Result<NoteSignature, NoteError> {
        NoteSignature::sign(&self.to_string(), &Self::origin(&self.chain), validator)
    }

    /// The checkpoint as a note with these signatures.
    ///
    /// # Errors
    /// [`NoteError`], without signatures or with too many.
    pub fn note(&self, signatures: Vec<NoteSignature>) -> Result<SignedNote, NoteError> {
        SignedNote::new(self.to_string(), signatures)
    }

    /// Reads the checkpoint of `chain` that more than two thirds of `validators` signed, each counted once. Signatures by others are
    /// ignored.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn open(note: &SignedNote, chain: &Digest, validators: &[PartyId]) -> Result<Self, CheckpointError> {
        let checkpoint: Self = note.text().parse()?;
        if checkpoint.chain != *chain {
            return Err(CheckpointError::WrongChain { found: checkpoint.chain });
        }
        let validators: BTreeSet<PartyId> = validators.iter().copied().collect();
        let keys = validators.iter().map(|validator| Self::key(chain, *validator));
        let keys = keys.collect::<Result<Vec<_>, _>>().map_err(|_| CheckpointError::Malformed)?;
        let (signers, needed) = (note.verify(&keys)?.len(), vote_quorum(keys.len()));
        if signers < needed {
            return Err(CheckpointError::TooFew { signers, needed });
        }
        Ok(checkpoint)
    }
}

/// The note's text.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base64 = |digest: &Digest| BASE64.encode(digest.as_bytes());
        writeln!(f, "{}\n{}\n{}", Self::origin(&self.chain), self.log.size, base64(&self.log.root))?;
        writeln!(f, "height {}\nblock {}", self.height, base64(&self.block))?;
        writeln!(f, "state {}\nreceipts {}", base64(&self.state_root), base64(&self.receipts_root))
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let checkpoint = read(text).ok_or(CheckpointError::Malformed)?;
        // Numbers have several forms that are read, such as `+1` and `01`: only the one that is written is accepted.
        if checkpoint.to_string() == text { Ok(checkpoint) } else { Err(CheckpointError::Malformed) }
    }
}

fn read(text: &str) -> Option<Checkpoint> {
    let mut lines = text.lines();
    let mut line = |label: &str| lines.next()?.strip_prefix(label);
    let digest = |line: &str| {
        let bytes = BASE64.decode(line.as_bytes()).ok()?;
        <[u8; 32]>::try_from(bytes).ok().map(Digest::from)
    };
    Some(Checkpoint {
        chain: line(ORIGIN)?.parse().ok()?,
        log: LogHead { size: line("")?.parse().ok()?, root: digest(line("")?)? },
        height: line("height ")?.parse().ok()?,
        block: digest(line("block ")?)?,
        state_root: digest(line("state ")?)?,
        receipts_root: digest(line("receipts ")?)?,
    })
}
