//! How a node keeps the proof that a quorum holds its shards of a blob: what the receipts have in common once, which is half as long.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Envelope, PartyId, Signature, Timestamp, codec};

use crate::certificate::body;
use crate::{Address, QuorumCertificate, Receipt};

/// The receipts for one blob's shards, whose address is in the row's key.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct ProofRow {
    network: Digest,
    epoch: u64,
    words: Vec<Word>,
    /// Who handed it over, and is charged for it.
    payer: PartyId,
}

/// What one replica signed.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Word {
    node: PartyId,
    time: Timestamp,
    signature: Signature,
}

impl ProofRow {
    /// The row of a certificate that [`QuorumCertificate::verify_blob`] has accepted; `None` of one that it would not accept.
    pub(crate) fn new(certificate: &QuorumCertificate, payer: PartyId) -> Option<Self> {
        let Receipt { network, epoch, .. } = body(certificate.receipts.first()?).ok()?;
        let word = |receipt: &Envelope<Receipt>| {
            let (node, signature) = (receipt.signer(), *receipt.signature());
            Some(Word { node, time: body(receipt).ok()?.time, signature })
        };
        let words = certificate.receipts.iter().map(word).collect::<Option<_>>()?;
        Some(Self { network, epoch, words, payer })
    }

    /// The certificate, as it was.
    pub(crate) fn certificate(&self, blob: &Address) -> QuorumCertificate {
        let receipt = |word: &Word| {
            let body = Receipt::of_shards(self.network, self.epoch, blob, word.time);
            Envelope::unverified(word.node, word.signature, codec::encode(&body).into())
        };
        QuorumCertificate { receipts: self.words.iter().map(receipt).collect() }
    }

    /// Since when the quorum holds them: the earliest time in the receipts.
    pub(crate) fn since(&self) -> Timestamp {
        self.words.iter().map(|word| word.time).min().unwrap_or_default()
    }

    /// The epoch of the receipts.
    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Who is charged for it.
    pub(crate) const fn payer(&self) -> PartyId {
        self.payer
    }
}
