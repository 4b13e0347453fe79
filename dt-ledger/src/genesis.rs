//! What the parties agree on before the first block: organisations, their authorities, and the validators.

use std::collections::BTreeSet;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Domain, Name, PartyId, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An organisation and the key of its certificate authority.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Organisation {
    /// What people call it.
    pub name: Name,
    /// The key that signs its parties' certificates.
    pub authority: PartyId,
}

/// The root of trust of a chain: whoever audits it needs this and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Genesis {
    /// What people call the chain.
    pub name: Name,
    /// When it begins; the first block is not earlier.
    pub time: Timestamp,
    /// The organisations.
    pub organisations: Vec<Organisation>,
    /// The keys whose signatures commit a block.
    pub validators: Vec<PartyId>,
}

/// Why a genesis cannot begin a chain.
#[derive(Debug, Error, PartialEq, Eq, Clone)]
#[non_exhaustive]
pub enum GenesisError {
    /// A chain without organisations has no parties; one without validators has no blocks.
    #[error("a genesis names at least one organisation and one validator")]
    Empty,
    /// More organisations or validators than a chain can have.
    #[error("a genesis names at most {MAX_MEMBERS} organisations and validators")]
    TooMany,
    /// A key stands twice among the authorities or among the validators.
    #[error("the key {} stands twice", .0.short())]
    Repeated(PartyId),
}

/// Bounds the work of checking one block's certificate.
const MAX_MEMBERS: usize = 256;

const DOMAIN: Domain = Domain::new("dt/ledger/genesis/v1");

impl Genesis {
    /// The name of the chain: a digest of all this. It stands first in every transaction and block.
    #[must_use]
    pub fn chain(&self) -> Digest {
        DOMAIN.sha256_of(self)
    }

    /// Checks that a chain can begin with this.
    ///
    /// # Errors
    /// [`GenesisError`].
    pub fn check(&self) -> Result<(), GenesisError> {
        let authorities = self.organisations.iter().map(|organisation| organisation.authority);
        for keys in [authorities.collect::<Vec<_>>(), self.validators.clone()] {
            if keys.is_empty() {
                return Err(GenesisError::Empty);
            }
            if keys.len() > MAX_MEMBERS {
                return Err(GenesisError::TooMany);
            }
            let mut seen = BTreeSet::new();
            if let Some(repeated) = keys.into_iter().find(|key| !seen.insert(*key)) {
                return Err(GenesisError::Repeated(repeated));
            }
        }
        Ok(())
    }
}
