//! Proof of storage: a replica's receipt, and the certificate that a quorum of receipts makes.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Domain, Envelope, Message, OpenError, PartyId, Signed, Timestamp};
use thiserror::Error;

use crate::{Key, Membership, Record};

/// A replica's word that it has stored a record durably.
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

impl Receipt {
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

    /// What the receipts agree on.
    fn open(&self, membership: &Membership) -> Result<Receipt, CertificateError> {
        let needed = membership.resilience().quorum();
        let too_few = CertificateError::TooFew { receipts: self.receipts.len(), needed };
        if self.receipts.len() < needed {
            return Err(too_few);
        }
        if let Some(pair) = self.receipts.windows(2).find(|pair| pair[0].signer() >= pair[1].signer()) {
            return Err(CertificateError::DuplicateNode(pair[1].signer()));
        }
        let mut agreed: Option<Signed<Receipt>> = None;
        let mut replicas = Vec::new();
        for envelope in &self.receipts {
            let node = envelope.signer();
            let first = agreed.is_none();
            let receipt = envelope.clone().open()?;
            if receipt.network != membership.network() || receipt.epoch != membership.epoch() {
                return Err(CertificateError::OtherMembership);
            }
            if first {
                replicas = membership.replicas(&receipt.key.address);
            }
            if !replicas.contains(&node) {
                return Err(CertificateError::NotAReplica(node));
            }
            match &agreed {
                Some(agreed) if !agreed.agrees_with(&receipt) => {
                    return Err(CertificateError::Disagreement(node));
                }
                Some(_) => {}
                None => agreed = Some(receipt),
            }
        }
        agreed.map(Signed::into_value).ok_or(too_few)
    }
}
