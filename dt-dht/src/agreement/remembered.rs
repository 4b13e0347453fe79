//! Certificates that were verified lately: the same one comes from every replica and in every phase, and costs a quorum of signatures.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use borsh::BorshSerialize;
use dt_model::{Digest, Domain};

/// How many are remembered.
const REMEMBERED: usize = 256;

/// Domain of the digests under which certificates are remembered.
const CERTIFICATE: Domain = Domain::new("dt/dht/verified-certificate/v1");

/// The digests of certificates that held, with everything that they were checked against.
#[derive(Debug, Default)]
pub(crate) struct Remembered(Mutex<VecDeque<Digest>>);

impl Remembered {
    /// What `verify` says of `certificate`, which is a function of its bytes alone; only what held is remembered.
    pub(crate) fn check<T: BorshSerialize>(&self, certificate: &T, verify: impl FnOnce() -> bool) -> bool {
        let digest = CERTIFICATE.blake3_of(certificate);
        if self.digests().contains(&digest) {
            return true;
        }
        let holds = verify();
        if holds {
            let mut digests = self.digests();
            digests.truncate(REMEMBERED - 1);
            digests.push_front(digest);
        }
        holds
    }

    /// Forgets everything: what certificates are checked against has changed.
    pub(crate) fn clear(&self) {
        self.digests().clear();
    }

    fn digests(&self) -> std::sync::MutexGuard<'_, VecDeque<Digest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
