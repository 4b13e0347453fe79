//! A list as it comes from somewhere: signed, in its place, and by somebody with authority.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_dht::{Record, Refusal};
use dt_model::{Digest, PartyId, Signed, codec};
use serde::{Deserialize, Serialize};

use crate::item::ACL_SLOT;
use crate::{AclRecord, MAX_ACL_BYTES};

/// A version of an item's list: what a data record was admitted under, and what can be anchored on the ledger as the floor below which
/// nothing is believed.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
pub struct AclRef {
    /// The version.
    pub version: u64,
    /// The digest of the signed record.
    pub digest: Digest,
}

/// A list that is well-formed, lies at its item's address, and was signed by the owner or by somebody whom the owner has once appointed
/// manager.
///
/// Whether a manager still was one is known from the version before: a manager's list is to be believed because it was settled, which a
/// quorum of replicas has certified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    signed: Signed<Record>,
    record: AclRecord,
}

impl Acl {
    /// Reads the list in `signed`.
    ///
    /// # Errors
    /// [`Refusal::Malformed`], [`Refusal::WrongAddress`], or [`Refusal::NotPermitted`] if the signer has no mandate.
    pub fn open(signed: &Signed<Record>) -> Result<Self, Refusal> {
        let record: AclRecord = codec::decode(&signed.body, MAX_ACL_BYTES).map_err(|_| Refusal::Malformed)?;
        if signed.key.slot != ACL_SLOT || signed.version != record.version {
            return Err(Refusal::Malformed);
        }
        if signed.key.address != record.item().address() {
            return Err(Refusal::WrongAddress);
        }
        if !record.is_signed_by_authority(&signed.signer()) {
            return Err(Refusal::NotPermitted);
        }
        Ok(Self { signed: signed.clone(), record })
    }

    /// The signed record.
    #[must_use]
    pub const fn signed(&self) -> &Signed<Record> {
        &self.signed
    }

    /// The list itself.
    #[must_use]
    pub const fn record(&self) -> &AclRecord {
        &self.record
    }

    /// Who made this version: the owner or a manager.
    #[must_use]
    pub const fn signer(&self) -> PartyId {
        self.signed.signer()
    }

    /// Its version and digest, for data records and anchors.
    #[must_use]
    pub fn reference(&self) -> AclRef {
        AclRef { version: self.record.version, digest: self.signed.digest() }
    }
}

impl core::ops::Deref for Acl {
    type Target = AclRecord;
    fn deref(&self) -> &AclRecord {
        &self.record
    }
}
