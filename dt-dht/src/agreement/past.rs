//! Looking up a record by its digest: any replica that has it will do.

use dt_model::{Digest, PartyId, Signed};

use crate::operation::{Operation, Outgoing};
use crate::tally::{Answer, Tally, Verdict};
use crate::{GetError, Key, Membership, Record, ReplyBody, RequestBody};

/// Asks all replicas, until one shows the record.
pub(crate) struct PastQuorum {
    key: Key,
    version: u64,
    digest: Digest,
    tally: Tally,
    found: Option<Signed<Record>>,
    outgoing: Vec<Outgoing>,
}

impl PastQuorum {
    pub(crate) fn new(membership: &Membership, key: Key, version: u64, digest: Digest) -> Self {
        let replicas = membership.replicas(&key.address).into_iter();
        let outgoing = replicas.map(|node| (node, RequestBody::GetPast { key, version })).collect();
        let tally = Tally::new(membership, &key.address);
        Self { key, version, digest, tally, found: None, outgoing }
    }
}

impl Operation for PastQuorum {
    type Outcome = Result<Option<Signed<Record>>, GetError>;

    fn requests(&mut self) -> Vec<Outgoing> {
        core::mem::take(&mut self.outgoing)
    }

    fn answer(&mut self, node: PartyId, reply: Option<ReplyBody>) {
        let answer = match reply {
            Some(ReplyBody::Record { record: None }) => Answer::Good,
            Some(ReplyBody::Record { record: Some(record) }) if record.digest() == self.digest => {
                let named = (self.key, self.version);
                match record.open().ok().filter(|record| (record.key, record.version) == named) {
                    Some(record) => {
                        self.found = Some(record);
                        Answer::Good
                    }
                    None => Answer::Failed,
                }
            }
            // Another record of that version, which was never agreed on.
            Some(ReplyBody::Record { .. }) | None => Answer::Failed,
            Some(ReplyBody::Refused { refusal }) => Answer::Refused(refusal),
            Some(_) => Answer::Failed,
        };
        self.tally.answer(node, answer);
    }

    fn outcome(&mut self) -> Option<Self::Outcome> {
        if let Some(found) = &self.found {
            return Some(Ok(Some(found.clone())));
        }
        match self.tally.verdict() {
            // A quorum lacks it, and so may the rest; but one of those that are still to answer may have it.
            Verdict::Reached if !self.tally.is_open() => Some(Ok(None)),
            Verdict::Reached | Verdict::Pending => None,
            Verdict::Refused(refusal) => Some(Err(GetError::Refused(refusal))),
            Verdict::Failed => Some(self.unfinished()),
        }
    }

    fn unfinished(&mut self) -> Self::Outcome {
        match self.tally.verdict() {
            Verdict::Reached => Ok(None),
            _ => Err(GetError::no_quorum(&self.tally)),
        }
    }
}
