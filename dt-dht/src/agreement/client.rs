//! The party's side of agreement.

use dt_model::{Digest, Signed, Timestamp};

use super::Settled;
use crate::tally::Tally;
use crate::{Address, Client, GetError, Key, PutError, Record};

impl Client {
    /// The agreed records at `address` that were decided last, consistent with each other, or `None` if a quorum has nothing there.
    ///
    /// # Errors
    /// [`GetError`].
    pub async fn state(&self, address: Address, now: Timestamp) -> Result<Option<Settled>, GetError> {
        let membership = self.membership();
        let _ = now;
        Err(GetError::no_quorum(&Tally::new(&membership, membership.replicas(&address))))
    }

    /// Settles `record` as the next agreed one at its address.
    ///
    /// A record that is in the state already is a success.
    ///
    /// # Errors
    /// [`PutError`].
    pub async fn settle(&self, record: &Signed<Record>, now: Timestamp) -> Result<Settled, PutError> {
        let membership = self.membership();
        let _ = now;
        Err(PutError::no_quorum(&Tally::new(&membership, membership.replicas(&record.key.address))))
    }

    /// The agreed record that lay at `key` in `version` and has this `digest`, if a replica still has it.
    ///
    /// # Errors
    /// [`GetError`].
    pub async fn past(
        &self,
        key: Key,
        version: u64,
        digest: Digest,
        now: Timestamp,
    ) -> Result<Option<Signed<Record>>, GetError> {
        let membership = self.membership();
        let _ = (version, digest, now);
        Err(GetError::no_quorum(&Tally::new(&membership, membership.replicas(&key.address))))
    }
}
