//! Signatures under watch: an honest node never lets two votes for one height and round out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dt_model::{
    Digest, EncryptionKey, Identity, Message as _, PartyId, Secret, Signature, Signer, SignerError, codec,
};

use crate::Commit;

/// An identity whose [`Commit`]s are noted.
pub(super) struct Watched {
    identity: Identity,
    votes: Mutex<Votes>,
}

#[derive(Default)]
struct Votes {
    /// Signed, and not seen in a message yet: it may never have left the node.
    signed: Vec<(Signature, Commit)>,
    sent: BTreeMap<(u64, u32), Digest>,
}

/// Two votes of one node for the same height and round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doubled {
    pub(super) height: u64,
    pub(super) round: u32,
}

impl Watched {
    pub(super) fn new(identity: Identity) -> Arc<Self> {
        Arc::new(Self { identity, votes: Mutex::default() })
    }

    /// Takes note of what the node sends.
    pub(super) fn sends(&self, bytes: &[u8]) -> Result<(), Doubled> {
        let mut votes = self.lock();
        let Votes { signed, sent } = &mut *votes;
        let leaves = |signature: &Signature| {
            let signature: &[u8] = signature.as_ref();
            bytes.windows(signature.len()).any(|window| window == signature)
        };
        for (_, vote) in signed.extract_if(.., |(signature, _)| leaves(signature)) {
            let (height, round) = (vote.height, vote.round);
            if *sent.entry((height, round)).or_insert(vote.block) != vote.block {
                return Err(Doubled { height, round });
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Votes> {
        self.votes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Signer for Watched {
    fn party(&self) -> PartyId {
        self.identity.party()
    }

    fn encryption_key(&self) -> EncryptionKey {
        self.identity.encryption_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignerError> {
        let signature = self.identity.sign(message)?;
        let prefix = [&Commit::DOMAIN.prefix()[..], self.party().as_bytes()].concat();
        let body = message.strip_prefix(&prefix[..]);
        if let Some(vote) = body.and_then(|body| codec::decode::<Commit>(body, Commit::MAX_BYTES).ok()) {
            let mut votes = self.lock();
            if !votes.signed.iter().any(|(known, _)| *known == signature) {
                votes.signed.push((signature, vote));
            }
        }
        Ok(signature)
    }

    fn agree(&self, own: &EncryptionKey, peer: &EncryptionKey) -> Result<Secret, SignerError> {
        self.identity.agree(own, peer)
    }
}
