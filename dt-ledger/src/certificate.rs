//! Who may take part: certificates by which an organisation's authority enrols a party (paper, sections 4.4 and 4.5).

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Domain, EncryptionKey, Message, Name, PartyId, Timestamp};
use serde::{Deserialize, Serialize};

/// An organisation's statement that a key belongs to one of its parties, signed by the organisation's authority.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Certificate {
    /// The chain on which it is good.
    pub chain: Digest,
    /// The party.
    pub party: PartyId,
    /// What people call it.
    pub name: Name,
    /// The key under which items are wrapped for it at first; the party may rotate it.
    pub encryption_key: EncryptionKey,
    /// The first moment at which it is valid.
    pub not_before: Timestamp,
    /// The first moment at which it is no longer valid.
    pub not_after: Timestamp,
}

impl Certificate {
    /// Whether `now` lies in its time.
    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.not_after
    }
}

impl Message for Certificate {
    const DOMAIN: Domain = Domain::new("dt/ledger/certificate/v1");
    const MAX_BYTES: usize = 1024;
}
