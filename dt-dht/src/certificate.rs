//! Proof of storage: a replica's receipt, and the certificate that a quorum of receipts makes.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Domain, Envelope, Message, OpenError, PartyId, Signed, Timestamp, codec};
use thiserror::Error;

use crate::{Address, Key, Kind, MAX_REQUEST_AGE, Membership, Record};

/// A replica's word that it has stored a record durably; or all shards of a blob that are its own: [`Receipt::of_shards`].
///
/// # Two receipts convict nobody
/// An honest replica may sign receipts for two records of one key and version, or for an older version after a newer one. When a lease ends it
/// forgets the record, and takes what is put then; how long a lease is, is the node's own policy and stands in no receipt. Where it has left the
/// replicas of an address and is one of them again, it has forgotten as well. So whoever has two such receipts has shown nothing, and there is no type for such evidence. The record's
/// writer is convicted by the records themselves ([`crate::Equivocation`]). Receipts for shards cannot contradict each other: what lies at the address
/// of a blob is named by it. The same holds for a [`crate::Vote`]: a replica whose lease of an address ended votes on its first sequence anew.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Receipt {
    /// The ledger's chain ID.
    pub network: Digest,
    /// Where the record lies.
    pub key: Key,
    /// The record's version.
    pub version: u64,
    /// [`Envelope::digest`] of the record.
    pub record: Digest,
    /// The membership epoch in which the signer is a replica of the address.
    pub epoch: u64,
    /// The replica's time.
    pub time: Timestamp,
}

impl Message for Receipt {
    const DOMAIN: Domain = Domain::new("dt/dht/receipt/v1");
    const MAX_BYTES: usize = 256;
}

/// Marks receipts for shards. No record has this kind: no record's digest is its own address.
const SHARDS: Kind = Kind::new(*b"blob");

impl Receipt {
    /// A word for the shards of a blob: what lies at its address, and is named by it.
    #[must_use]
    pub fn of_shards(network: Digest, epoch: u64, blob: &Address, time: Timestamp) -> Self {
        let (key, record) = (Key::new(*blob, SHARDS, 0), Digest::from(*blob.as_bytes()));
        Self { network, key, version: 1, record, epoch, time }
    }

    /// Whether this receipt and `other` are for the same record in the same epoch; their times may differ.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        let of =
            |receipt: &Self| (receipt.network, receipt.key, receipt.version, receipt.record, receipt.epoch);
        of(self) == of(other)
    }
}

/// Why a certificate proves nothing.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateError {
    /// There are fewer receipts than a quorum.
    #[error("{receipts} receipts, where {needed} are needed")]
    TooFew {
        /// Receipts in the certificate.
        receipts: usize,
        /// The quorum.
        needed: usize,
    },
    /// A node's receipt stands there twice, or the receipts are not sorted by node.
    #[error("the receipt of {} is repeated or out of order", .0.short())]
    DuplicateNode(PartyId),
    /// The signer is no replica of the address in this membership.
    #[error("{} is not a replica of the address", .0.short())]
    NotAReplica(PartyId),
    /// The receipts are for different records.
    #[error("the receipt of {} is for another record", .0.short())]
    Disagreement(PartyId),
    /// The receipts are for another network or another epoch than the membership.
    #[error("the receipts are for another network or epoch")]
    OtherMembership,
    /// The receipts for a blob's shards are not of one put: the replicas' times are too far apart.
    #[error("the receipts are too far apart in time")]
    Apart,
    /// A receipt's signature or body is not acceptable.
    #[error("a receipt does not open")]
    Receipt(#[from] OpenError),
    /// The certificate is sound, but for another record than the caller's.
    #[error("the certificate is for another record")]
    OtherRecord,
}

/// Proof, for anybody and without a network, that a quorum of replicas stored a record: of them at least k + 1 are honest, so every
/// later quorum read finds it or something newer.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct QuorumCertificate {
    /// The receipts, sorted by signer.
    pub receipts: Vec<Envelope<Receipt>>,
}

/// The longest encoded certificate that a decoder needs to accept: a receipt of each of 65,535 replicas.
pub const MAX_CERTIFICATE_BYTES: usize = 65_536 * 512;

impl QuorumCertificate {
    /// Checks everything: a quorum of distinct replicas of the address in `membership` signed receipts for one record.
    ///
    /// A certificate made in an earlier epoch is checked against that epoch's membership.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn verify(&self, membership: &Membership) -> Result<(), CertificateError> {
        self.open(membership).map(drop)
    }

    /// [`QuorumCertificate::verify`], and that it is `record` that was stored.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn verify_for(
        &self,
        membership: &Membership,
        record: &Signed<Record>,
    ) -> Result<(), CertificateError> {
        let receipt = self.open(membership)?;
        let same = receipt.record == record.digest()
            && receipt.key == record.key
            && receipt.version == record.version;
        if same { Ok(()) } else { Err(CertificateError::OtherRecord) }
    }

    /// Checks that a quorum of replicas said, in one put, that they hold their shards of `blob`; and gives the earliest of their times.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn verify_blob(
        &self,
        membership: &Membership,
        blob: &Address,
    ) -> Result<Timestamp, CertificateError> {
        let claim = self.open(membership)?;
        if claim != Receipt::of_shards(claim.network, claim.epoch, blob, claim.time) {
            return Err(CertificateError::OtherRecord);
        }
        let (first, last) = self.times().ok_or(CertificateError::Apart)?;
        if last.since(first) > 2 * MAX_REQUEST_AGE {
            return Err(CertificateError::Apart);
        }
        Ok(first)
    }

    /// Whether every receipt is signed as it says: what can be said of a stored certificate without a membership.
    pub(crate) fn is_signed(&self) -> bool {
        !self.receipts.is_empty() && self.receipts.iter().all(|receipt| receipt.clone().open().is_ok())
    }

    /// The earliest and the latest time in the receipts.
    fn times(&self) -> Option<(Timestamp, Timestamp)> {
        let mut times = self.receipts.iter().filter_map(|receipt| body(receipt).ok()).map(|body| body.time);
        let first = times.next()?;
        Some(times.fold((first, first), |(first, last), time| (first.min(time), last.max(time))))
    }

    /// The epoch of the receipts, which nobody has checked.
    pub(crate) fn claimed_epoch(&self) -> Option<u64> {
        self.receipts.first().and_then(|first| body(first).ok()).map(|claim| claim.epoch)
    }

    /// What the receipts agree on.
    fn open(&self, membership: &Membership) -> Result<Receipt, CertificateError> {
        let needed = membership.resilience().quorum();
        let too_few = CertificateError::TooFew { receipts: self.receipts.len(), needed };
        let Some(first) = self.receipts.first() else { return Err(too_few) };
        let claim = body(first)?;
        if claim.network != membership.network() {
            return Err(CertificateError::OtherMembership);
        }
        let groups =
            membership.groups_in(claim.epoch, &claim.key.address).ok_or(CertificateError::OtherMembership)?;
        check_signers(&groups, needed, self.receipts.iter().map(Envelope::signer))?;
        for envelope in &self.receipts {
            let receipt = envelope.clone().open()?;
            if !receipt.agrees_with(&claim) {
                return Err(CertificateError::Disagreement(envelope.signer()));
            }
        }
        Ok(claim)
    }
}

/// What a receipt says; its signature is not checked.
pub(crate) fn body(receipt: &Envelope<Receipt>) -> Result<Receipt, OpenError> {
    codec::decode(receipt.body(), Receipt::MAX_BYTES).map_err(OpenError::from)
}

/// Whether `signers` are sorted, distinct, all of the groups of replicas, and at least `needed` of each group.
pub(crate) fn check_signers(
    groups: &[Vec<PartyId>],
    needed: usize,
    signers: impl Iterator<Item = PartyId> + Clone,
) -> Result<(), CertificateError> {
    let mut last = None;
    for signer in signers.clone() {
        if last.is_some_and(|last| last >= signer) {
            return Err(CertificateError::DuplicateNode(signer));
        }
        if !groups.iter().any(|group| group.contains(&signer)) {
            return Err(CertificateError::NotAReplica(signer));
        }
        last = Some(signer);
    }
    for group in groups {
        let receipts = signers.clone().filter(|signer| group.contains(signer)).count();
        if receipts < needed {
            return Err(CertificateError::TooFew { receipts, needed });
        }
    }
    Ok(())
}
