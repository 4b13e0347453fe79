//! What the organisations agree on before the first block: who they are, their authorities and validators, and how they change that.

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Domain, Name, PartyId, Timestamp, codec};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::membership::consortium::{Approval, Consortium, MAX_MEMBERS, Organisation, OrganisationRecord};
use crate::record::StateKey;

/// The root of trust of a chain: whoever audits it needs this and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Genesis {
    /// What people call the chain.
    pub name: Name,
    /// When it begins; the first block is not earlier.
    pub time: Timestamp,
    /// The organisations, each with its authority and its validators.
    pub organisations: Vec<Organisation>,
    /// How many organisations must agree to change any of this.
    pub approval: Approval,
    /// How many validators one organisation may name, so that none grows beyond its share.
    pub seats: u8,
}

/// Why a genesis cannot begin a chain.
#[derive(Debug, Error, PartialEq, Eq, Clone)]
#[non_exhaustive]
pub enum GenesisError {
    /// A chain without organisations has no parties; one without validators has no blocks.
    #[error("a genesis names at least one organisation and one validator, and leaves each a seat")]
    Empty,
    /// More organisations or validators than a chain can have.
    #[error("a genesis names at most {MAX_MEMBERS} organisations and validators")]
    TooMany,
    /// An organisation has more validators than the genesis leaves it.
    #[error("the organisation of {} has more than {seats} validators", authority.short())]
    Seats {
        /// The organisation's authority.
        authority: PartyId,
        /// How many it may have.
        seats: u8,
    },
    /// A key stands twice among the authorities or among the validators.
    #[error("the key {} stands twice", .0.short())]
    Repeated(PartyId),
}

const DOMAIN: Domain = Domain::new("dt/ledger/genesis/v1");

impl Genesis {
    /// The name of the chain: a digest of all this. It stands first in every transaction and block.
    #[must_use]
    pub fn chain(&self) -> Digest {
        DOMAIN.sha256_of(self)
    }

    /// The keys whose signatures commit the first blocks: those of all organisations, sorted.
    #[must_use]
    pub fn validators(&self) -> Vec<PartyId> {
        let mut all: Vec<_> =
            self.organisations.iter().flat_map(|one| one.validators.iter().copied()).collect();
        all.sort_unstable();
        all
    }

    /// Checks that a chain can begin with this.
    ///
    /// # Errors
    /// [`GenesisError`].
    pub fn check(&self) -> Result<(), GenesisError> {
        let authorities: Vec<_> = self.organisations.iter().map(|one| one.authority).collect();
        for keys in [authorities, self.validators()] {
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
        let seats = self.seats;
        match self.organisations.iter().find(|one| one.validators.len() > usize::from(seats)) {
            Some(one) => Err(GenesisError::Seats { authority: one.authority, seats }),
            None => Ok(()),
        }
    }

    /// The rows of the state that the chain begins with.
    pub(crate) fn rows(&self) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        let mut rows = BTreeMap::new();
        for (term, organisation) in (1..).zip(&self.organisations) {
            let record = OrganisationRecord::new(organisation, self.time, term);
            let key = StateKey::Organisation(organisation.authority);
            rows.insert(key.to_bytes(), Some(codec::encode(&record)));
        }
        let consortium = Consortium {
            approval: self.approval,
            seats: self.seats,
            organisations: self.organisations.iter().map(|one| one.authority).collect(),
            terms: self.organisations.len() as u64,
        };
        rows.insert(StateKey::Consortium.to_bytes(), Some(codec::encode(&consortium)));
        rows.insert(StateKey::Validators.to_bytes(), Some(codec::encode(&self.validators())));
        rows
    }
}
