//! When a quorum has answered, and what it says: the decisions of put and get as pure types, fed with replies. The algorithm, and what it
//! withstands, stands at [`crate::Client`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use dt_model::{Digest, Envelope, PartyId, Signed};

use crate::equivocation::contradict;
use crate::tally::{Answer, Tally, Verdict};
use crate::{
    Equivocation, GetError, Key, Membership, PutError, QuorumCertificate, Receipt, Record, Refusal, ReplyBody,
};

/// Whether a record is what its kind allows, in the reader's eyes: the writer's rights, and any floor under the version.
///
/// The signature and the key have been checked. It MUST refuse what the kind's [`crate::Validator`] would not have admitted from
/// anybody: a lying replica validates nothing.
pub type Check<'a> = dyn Fn(&Signed<Record>) -> Result<(), Refusal> + Send + Sync + 'a;

/// The decision of a put: collects receipts.
#[derive(Debug, Clone)]
pub struct PutQuorum {
    expected: Receipt,
    replicas: Vec<PartyId>,
    tally: Tally,
    receipts: Vec<Envelope<Receipt>>,
}

impl PutQuorum {
    /// Starts the put of `record`.
    #[must_use]
    pub fn new(membership: &Membership, record: &Signed<Record>) -> Self {
        let replicas = membership.replicas(&record.key.address);
        let expected = Receipt {
            network: membership.network(),
            key: record.key,
            version: record.version,
            record: record.digest(),
            epoch: membership.epoch(),
            time: dt_model::Timestamp::default(),
        };
        let tally = Tally::new(membership, &record.key.address);
        Self { expected, replicas, tally, receipts: Vec::new() }
    }

    /// Whom the record is to be sent to.
    #[must_use]
    pub fn replicas(&self) -> &[PartyId] {
        &self.replicas
    }

    /// Takes what `node` replied; `None` if it did not, or nothing that counts. A node's first answer stands.
    pub fn answer(&mut self, node: PartyId, reply: Option<&ReplyBody>) {
        let answer = match reply {
            Some(ReplyBody::Stored { receipt }) if self.is_expected(node, receipt) => {
                if self.tally.verdict() != Verdict::Reached && self.tally.awaits(&node) {
                    self.receipts.push(receipt.clone());
                }
                Answer::Good
            }
            Some(ReplyBody::Refused { refusal }) => Answer::Refused(*refusal),
            _ => Answer::Failed,
        };
        self.tally.answer(node, answer);
    }

    /// Whether no further answer is needed.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.tally.verdict() != Verdict::Pending
    }

    /// The outcome, as soon as there is one.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<QuorumCertificate, PutError>> {
        match self.tally.verdict() {
            Verdict::Pending => None,
            Verdict::Reached => {
                let mut receipts = self.receipts.clone();
                receipts.sort_by_key(Envelope::signer);
                Some(Ok(QuorumCertificate { receipts }))
            }
            Verdict::Refused(refusal) => Some(Err(PutError::Refused(refusal))),
            Verdict::Failed => Some(Err(PutError::no_quorum(&self.tally))),
        }
    }

    /// The error when no more answers come although some are outstanding.
    pub(crate) fn unfinished(&self) -> PutError {
        PutError::no_quorum(&self.tally)
    }

    fn is_expected(&self, node: PartyId, receipt: &Envelope<Receipt>) -> bool {
        receipt.signer() == node
            && receipt.clone().open().is_ok_and(|receipt| receipt.agrees_with(&self.expected))
    }
}

/// What a replica holds, in its own words.
#[derive(Debug, Clone)]
enum Held {
    Nothing,
    Record(Signed<Record>),
    /// Properly signed, but the reader's check refuses it.
    Unacceptable(Signed<Record>, Refusal),
}

impl Held {
    fn version(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Record(record) | Self::Unacceptable(record, _) => record.version,
        }
    }
}

/// The decision of a get: collects what replicas hold, and says what to write back.
#[derive(Debug, Clone)]
pub struct GetQuorum {
    key: Key,
    replicas: Vec<PartyId>,
    tally: Tally,
    held: BTreeMap<PartyId, Held>,
    /// Records that never were written: see [`GetQuorum::skip`].
    skipped: BTreeSet<Digest>,
}

/// Records that one replica lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteBack {
    /// The replica.
    pub node: PartyId,
    /// What to send it, one after the other: versions between what it has and the winner go first, since some kinds refuse a gap. Only
    /// its answer to the last one counts.
    pub records: Vec<Signed<Record>>,
}

impl GetQuorum {
    /// Starts the get of `key`.
    #[must_use]
    pub fn new(membership: &Membership, key: Key) -> Self {
        let replicas = membership.replicas(&key.address);
        let tally = Tally::new(membership, &key.address);
        Self { key, replicas, tally, held: BTreeMap::new(), skipped: BTreeSet::new() }
    }

    /// Whom to ask.
    #[must_use]
    pub fn replicas(&self) -> &[PartyId] {
        &self.replicas
    }

    /// Takes what `node` replied; `None` if it did not, or nothing that counts. A node's first answer stands.
    ///
    /// A record whose signature or key is wrong convicts the node: it counts as silent. One that only `check` refuses may be an honest
    /// laggard's: the node has answered, but its record does not win.
    pub fn answer(&mut self, node: PartyId, reply: Option<ReplyBody>, check: &Check<'_>) {
        let answer = match reply {
            Some(ReplyBody::Record { record }) => match self.judge(record, check) {
                Some(held) if self.tally.awaits(&node) => {
                    self.held.insert(node, held);
                    Answer::Good
                }
                _ => Answer::Failed,
            },
            Some(ReplyBody::Refused { refusal }) => Answer::Refused(refusal),
            _ => Answer::Failed,
        };
        self.tally.answer(node, answer);
    }

    /// Whether no further answer is needed.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.tally.verdict() != Verdict::Pending
    }

    /// The record that wins, if anything acceptable is stored. To be asked once [`GetQuorum::is_decided`].
    ///
    /// # Errors
    /// [`GetError::NoQuorum`], [`GetError::Refused`], [`GetError::Unacceptable`], [`GetError::Equivocation`] or
    /// [`GetError::Conflict`].
    pub fn winner(&self) -> Result<Option<Signed<Record>>, GetError> {
        match self.tally.verdict() {
            Verdict::Reached => {}
            Verdict::Refused(refusal) => return Err(GetError::Refused(refusal)),
            Verdict::Failed | Verdict::Pending => return Err(GetError::no_quorum(&self.tally)),
        }
        let acceptable = self.held.values().filter_map(|held| match held {
            Held::Record(record) if !self.skipped.contains(&record.digest()) => Some(record),
            _ => None,
        });
        let Some(winner) = acceptable.clone().max_by_key(|record| record.version) else {
            return self.unacceptable().map_or(Ok(None), |refusal| Err(GetError::Unacceptable(refusal)));
        };
        match acceptable.clone().find(|other| contradict(winner, other)) {
            None => Ok(Some(winner.clone())),
            Some(other) => Err(match Equivocation::between(other, winner) {
                Some(evidence) => GetError::Equivocation(Box::new(evidence)),
                None => {
                    GetError::Conflict { first: Box::new(other.clone()), second: Box::new(winner.clone()) }
                }
            }),
        }
    }

    /// What must be written back before `winner` may be returned: nothing if a quorum has it already.
    #[must_use]
    pub fn write_backs(&self, winner: &Signed<Record>) -> Vec<WriteBack> {
        let digest = winner.digest();
        let holds = |node: &PartyId| self.holds(node, &digest);
        let reached = WrittenBack::new(self, winner).tally.verdict() == Verdict::Reached;
        let known = self.older_than(winner);
        let lacking = self.replicas.iter().filter(|node| !holds(node));
        lacking
            .filter(|node| self.held.contains_key(node) || !reached)
            .map(|node| {
                let version = self.held.get(node).map_or(0, Held::version);
                let missing = known
                    .range((Bound::Excluded(version), Bound::Unbounded))
                    .map(|(_, record)| (*record).clone());
                WriteBack { node: *node, records: missing.chain([winner.clone()]).collect() }
            })
            .collect()
    }

    /// Takes `winner` out of the contest if it cannot have been written, since the replicas that refuse it are so many: then it is in the
    /// store of some liar or laggard only, and whoever wrote it was given no certificate. Whether it was taken out.
    ///
    /// Only replicas count whose own answer is known, since among those is what was written instead; and of these only those that showed
    /// nothing newer: before that, they may have had the winner.
    pub(crate) fn skip(&mut self, winner: &Signed<Record>, write_back: &Tally) -> bool {
        let lacks = |(node, refusal): &(PartyId, Refusal)| {
            let shown = self.held.get(node);
            refusal.is_about_the_record() && shown.is_some_and(|held| held.version() <= winner.version)
        };
        let refusing = write_back.refusals().into_iter().filter(lacks).map(|(node, _)| node).collect();
        self.tally.exclude_quorum(&refusing) && self.skipped.insert(winner.digest())
    }

    /// Whether a replica may have its newest version from a record that was taken out.
    pub(crate) fn is_skipped_version(&self, version: u64) -> bool {
        let skipped = |held: &Held| match held {
            Held::Record(record) => self.skipped.contains(&record.digest()) && record.version >= version,
            _ => false,
        };
        self.held.values().any(skipped)
    }

    fn holds(&self, node: &PartyId, digest: &Digest) -> bool {
        matches!(self.held.get(node), Some(Held::Record(record)) if record.digest() == *digest)
    }

    /// Every older version that some replica showed, by version.
    fn older_than(&self, winner: &Signed<Record>) -> BTreeMap<u64, &Signed<Record>> {
        let records = self.held.values().filter_map(|held| match held {
            Held::Nothing => None,
            Held::Record(record) | Held::Unacceptable(record, _) => Some((record.version, record)),
        });
        records.filter(|(version, _)| *version < winner.version).collect()
    }

    /// Why what is stored is not acceptable, if more replicas than can lie show such a record.
    fn unacceptable(&self) -> Option<Refusal> {
        let said = self.held.iter().filter_map(|(node, held)| match held {
            Held::Unacceptable(_, refusal) => Some((*node, *refusal)),
            _ => None,
        });
        self.tally.common(&said.collect())
    }

    fn judge(&self, record: Option<Envelope<Record>>, check: &Check<'_>) -> Option<Held> {
        let Some(envelope) = record else {
            return Some(Held::Nothing);
        };
        // Most replicas show the same record: its signature is verified once.
        let known = self.held.values().find_map(|held| match held {
            Held::Record(record) if *record.envelope() == envelope => Some(held.clone()),
            _ => None,
        });
        if known.is_some() {
            return known;
        }
        let record = envelope.open().ok().filter(|record| record.key == self.key && record.version > 0)?;
        Some(match check(&record) {
            Ok(()) => Held::Record(record),
            Err(refusal) => Held::Unacceptable(record, refusal),
        })
    }
}

/// What a write-back has come to.
#[derive(Debug)]
pub(crate) struct WrittenBack {
    /// Who holds the winner, and who refuses it.
    pub(crate) tally: Tally,
    /// Who has something newer by now. Whether he had the winner before, or another record of its version, nobody can tell.
    newer: BTreeSet<PartyId>,
}

impl WrittenBack {
    /// Those that hold `winner` have answered already.
    pub(crate) fn new(quorum: &GetQuorum, winner: &Signed<Record>) -> Self {
        let (mut tally, digest) = (quorum.tally.cleared(), winner.digest());
        let holders = quorum.replicas.iter().filter(|node| quorum.holds(node, &digest));
        holders.for_each(|node| tally.answer(*node, Answer::Good));
        Self { tally, newer: BTreeSet::new() }
    }

    /// Takes the answer of `node`: a receipt for the winner, or word that something newer is there. If `quorum` took out what is newer, that is
    /// neither a reason to start again nor a sign that the node lacked the winner.
    pub(crate) fn answer(
        &mut self,
        quorum: &GetQuorum,
        expected: &PutQuorum,
        node: PartyId,
        reply: Option<&ReplyBody>,
    ) {
        let answer = match reply {
            Some(ReplyBody::Stored { receipt }) if expected.is_expected(node, receipt) => Answer::Good,
            Some(ReplyBody::Refused { refusal: Refusal::Stale { stored } })
                if *stored > expected.expected.version =>
            {
                if !quorum.is_skipped_version(*stored) {
                    self.newer.insert(node);
                }
                Answer::Failed
            }
            Some(ReplyBody::Refused { refusal }) => Answer::Refused(*refusal),
            _ => Answer::Failed,
        };
        self.tally.answer(node, answer);
    }

    /// Whether a quorum has the winner or something newer, though not the winner alone. Some of it may be lies.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.tally.is_quorum_with(&self.newer)
    }

    /// Whether no further answer is needed. Liars alone, whose answers may come first each time, do not end it.
    pub(crate) fn is_decided(&self) -> bool {
        let surely = || self.tally.outnumber_liars(|node| self.newer.contains(node));
        self.tally.verdict() == Verdict::Reached || (self.is_overtaken() && surely())
    }
}
