//! The party's side: thin drivers that send what the quorum types ask for and feed them the replies.

use core::future::Future;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use dt_model::{PartyId, Signed, Signer, SignerError, Timestamp};
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{FutureExt, Stream};
use rand_core::CryptoRng;
use thiserror::Error;

use crate::agreement::Remembered;
use crate::blob::{BlobError, Peers, Timer};
use crate::operation::{Operation, Outgoing};
use crate::quorum::WrittenBack;
use crate::tally::{Tally, Verdict};
use crate::{
    Call, Check, Equivocation, GetQuorum, Key, Membership, PutQuorum, QuorumCertificate, Record, Refusal,
    ReplyBody, RequestBody, Transport, WriteBack,
};

/// Why something was not written. It may have reached some replicas nevertheless: putting the same again is safe.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PutError {
    /// At least one honest replica refuses: more replicas than can lie gave this reason.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Too few replicas receipted, for no common reason.
    #[error("{receipts} replicas have it, {needed} are needed")]
    NoQuorum {
        /// How many receipted.
        receipts: usize,
        /// How many are needed.
        needed: usize,
        /// Who refused, and why. The others did not answer, or nothing that counts.
        refusals: Vec<(PartyId, Refusal)>,
    },
    /// Others propose here all the time, or left a proposal that stands for a while yet: the record may be settled still, or not. To try
    /// again is safe.
    #[error("others contend for sequence {sequence}")]
    Contended {
        /// The sequence that could not be settled.
        sequence: u64,
    },
    /// The blob is too long. (A record that is too long cannot be signed.)
    #[error("{size} bytes are more than the limit of {limit}")]
    TooLarge {
        /// Bytes offered.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The blob cannot be cut in so many shards.
    #[error(transparent)]
    Blob(BlobError),
    /// An earlier part of the blob was not stored: take the checkpoint and resume there.
    #[error("the put broke off before, and can be resumed at its checkpoint")]
    BrokenOff,
    /// The party's own signer failed.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

/// Why something was not read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GetError {
    /// At least one honest replica refuses to serve: more replicas than can lie gave this reason.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Something is stored, but the caller's check refuses it: more replicas than can lie show it, or something like it.
    #[error("what is stored is not acceptable: {0}")]
    Unacceptable(Refusal),
    /// Too few replicas answered, or took the record in the write-back.
    #[error("{replies} replicas answered, {needed} are needed")]
    NoQuorum {
        /// How many answered.
        replies: usize,
        /// How many are needed.
        needed: usize,
        /// Who refused, and why. The others did not answer, or nothing that counts.
        refusals: Vec<(PartyId, Refusal)>,
    },
    /// The writer signed two records of the newest version: here is the evidence.
    #[error("the writer signed two records of one version")]
    Equivocation(Box<Equivocation>),
    /// Two writers each wrote the newest version, and neither is known to have won.
    #[error("two writers wrote version {}", first.version)]
    Conflict {
        /// One of the records.
        first: Box<Signed<Record>>,
        /// The other.
        second: Box<Signed<Record>>,
    },
    /// A record may have been settled that cannot be finished now: others contend for it. Or each one that was read was replaced before a
    /// quorum was seen to hold it, and nobody refused it. To try again is safe.
    #[error("others contend for sequence {sequence}")]
    Contended {
        /// The sequence whose record is not known yet; for records of order [`crate::Order::Newest`] the version that was replaced.
        sequence: u64,
    },
    /// The blob cannot be restored: too few shards, or a bad encoding.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The blob was cut for another resilience than the network has now.
    #[error("the blob has {shards} shards, an address has {replicas} replicas")]
    OtherResilience {
        /// Shards of the blob.
        shards: usize,
        /// Replicas of an address.
        replicas: usize,
    },
    /// The party's own signer failed.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

impl From<GetError> for PutError {
    /// What has to be read before it can be written could not be read.
    fn from(error: GetError) -> Self {
        match error {
            GetError::Refused(refusal) => Self::Refused(refusal),
            GetError::NoQuorum { replies, needed, refusals } => {
                Self::NoQuorum { receipts: replies, needed, refusals }
            }
            GetError::Contended { sequence } => Self::Contended { sequence },
            GetError::Signer(error) => Self::Signer(error),
            GetError::Blob(error) => Self::Blob(error),
            GetError::Unacceptable(refusal) => Self::Refused(refusal),
            GetError::OtherResilience { .. } | GetError::Equivocation(_) | GetError::Conflict { .. } => {
                Self::Refused(Refusal::Conflict)
            }
        }
    }
}

impl PutError {
    pub(crate) fn no_quorum(tally: &Tally) -> Self {
        Self::NoQuorum { receipts: tally.good(), needed: tally.needed(), refusals: tally.refusals() }
    }
}

impl GetError {
    pub(crate) fn no_quorum(tally: &Tally) -> Self {
        Self::NoQuorum { replies: tally.good(), needed: tally.needed(), refusals: tally.refusals() }
    }
}

/// How often a get starts again because the writer is faster than the write-back.
const GET_ATTEMPTS: u32 = 16;

/// While this version was written back, something newer came, by the word of replicas that may lie.
struct Overtaken {
    version: u64,
    /// Who took it, and who refused it.
    written: Tally,
}

impl From<Overtaken> for GetError {
    /// Where replicas refused it, they have to be heard: liars can say for ever that there is something newer, and those that refuse may be
    /// honest and lack something else first.
    fn from(overtaken: Overtaken) -> Self {
        match overtaken.written.refusals().is_empty() {
            true => Self::Contended { sequence: overtaken.version },
            false => Self::no_quorum(&overtaken.written),
        }
    }
}

/// A node and its reply, if one came that counts.
pub(crate) type Answered = (PartyId, Option<ReplyBody>);

/// Reads and writes as one party.
///
/// # Algorithm
/// Attiya, Bar-Noy and Dolev's register ("Sharing Memory Robustly in Message-Passing Systems", 1995) for signed records and replicas that
/// may lie. Of *n* replicas at most *k* are malicious, and a quorum is *q* = ⌈(n + k + 1) / 2⌉.
///
/// - **put**: the record goes to all *n*; *q* receipts make it written.
/// - **get**: all *n* are asked. Of *q* answers, the highest version wins whose signature, key and `check` hold. Replicas that answered
///   something older are brought up to date until *q* hold the winner, and only then is it returned: so no later get returns an older one,
///   or another one of that version. Where something newer has come meanwhile, the get starts again: a replica that has it cannot say
///   which record it had before, and the writer may have signed two.
///
/// What *k* liars cannot do:
/// - **roll back**: two quorums share at least 2q − n ≥ k + 1 replicas. So among any *q* answers is one of an honest replica that receipted
///   the last completed write, and an honest replica never goes back.
/// - **forge**: a record counts only with its writer's signature, and the right to write that `check` confirms.
/// - **block**: the n − k ≥ q honest replicas are enough, and nobody waits for more.
/// - **refuse in the name of all**: a refusal is believed only from k + 1 replicas, of which one is honest.
///
/// Completed means acknowledged: a put that failed may still be found, or not, until it is put again or something newer is written; once a
/// get has returned it, it stays. The decisions are [`PutQuorum`] and [`GetQuorum`], which do no I/O; this type sends what they ask for.
///
/// What they can do: a kind whose validator refuses gaps ([`Refusal::Gap`]) needs replicas that have the version before. One that was down
/// catches up when it answers a get; until then it refuses the next version, and *k* silent liars besides make that put fail. So who
/// writes such a kind SHOULD read before he writes.
///
/// A future that is dropped leaves a write in doubt, as a failure does.
pub struct Client {
    signer: Arc<dyn Signer>,
    transport: Arc<dyn Transport>,
    membership: RwLock<Membership>,
    rng: Mutex<Box<dyn CryptoRng + Send>>,
    /// Certificates that hold under the membership.
    pub(crate) remembered: Remembered,
    pub(crate) timer: Option<Arc<dyn Timer>>,
    pub(crate) peers: Peers,
}

impl Client {
    /// A client that signs with `signer`, sends through `transport`, and draws its nonces from `rng`.
    pub fn new(
        signer: Arc<dyn Signer>,
        transport: Arc<dyn Transport>,
        membership: Membership,
        rng: impl CryptoRng + Send + 'static,
    ) -> Self {
        let (membership, rng) = (RwLock::new(membership), Mutex::new(Box::new(rng) as Box<_>));
        let (timer, peers, remembered) = (None, Peers::default(), Remembered::default());
        Self { signer, transport, membership, rng, timer, peers, remembered }
    }

    /// Whose client it is.
    #[must_use]
    pub fn signer(&self) -> &dyn Signer {
        &*self.signer
    }

    /// The membership that requests are made under now.
    #[must_use]
    pub fn membership(&self) -> Membership {
        self.membership.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes further requests under `membership`, and tells the transport; those under way finish under the former.
    pub fn update_membership(&self, membership: Membership) {
        self.transport.update_membership(&membership);
        *self.membership.write().unwrap_or_else(PoisonError::into_inner) = membership;
        self.remembered.clear();
    }

    /// Stores `record` at a quorum of the replicas of its address.
    ///
    /// All replicas are sent the record; those that are slow get it too, but are not waited for.
    ///
    /// # Errors
    /// [`PutError`].
    pub async fn put(&self, record: &Signed<Record>, now: Timestamp) -> Result<QuorumCertificate, PutError> {
        let membership = self.membership();
        let mut quorum = PutQuorum::new(&membership, record);
        let body = RequestBody::Put { record: record.envelope().clone() };
        let bodies = quorum.replicas().iter().map(|node| (*node, body.clone())).collect();
        let mut replies = self.send_all(&membership, bodies, now)?;
        while !quorum.is_decided() {
            match replies.next().await {
                Some((node, reply)) => quorum.answer(node, reply.as_ref()),
                None => break,
            }
        }
        take_ready(&mut replies, |(node, reply)| quorum.answer(node, reply.as_ref()));
        quorum.outcome().unwrap_or_else(|| Err(quorum.unfinished()))
    }

    /// The newest record at `key` that `check` accepts, or `None` if a quorum has nothing there.
    ///
    /// Before it is returned, a quorum holds it: no later get returns an older one.
    ///
    /// # Errors
    /// [`GetError`].
    pub async fn get(
        &self,
        key: Key,
        check: &Check<'_>,
        now: Timestamp,
    ) -> Result<Option<Signed<Record>>, GetError> {
        let mut attempt = 1;
        loop {
            match self.try_get(key, check, now).await? {
                Ok(found) => return Ok(found),
                Err(overtaken) if attempt == GET_ATTEMPTS => return Err(overtaken.into()),
                Err(_) => attempt += 1,
            }
        }
    }

    /// One attempt to get what is newest.
    async fn try_get(
        &self,
        key: Key,
        check: &Check<'_>,
        now: Timestamp,
    ) -> Result<Result<Option<Signed<Record>>, Overtaken>, GetError> {
        let membership = self.membership();
        let mut quorum = GetQuorum::new(&membership, key);
        let bodies = quorum.replicas().iter().map(|node| (*node, RequestBody::Get { key })).collect();
        let mut replies = self.send_all(&membership, bodies, now)?;
        while !quorum.is_decided() {
            match replies.next().await {
                Some((node, reply)) => quorum.answer(node, reply, check),
                None => break,
            }
        }
        // What has come in by now is taken into account, so that laggards are found and repaired.
        take_ready(&mut replies, |(node, reply)| quorum.answer(node, reply, check));
        while let Some(winner) = quorum.winner()? {
            let written = self.write_back(&membership, &quorum, &winner, now).await?;
            if written.tally.verdict() == Verdict::Reached {
                return Ok(Ok(Some(winner)));
            }
            if written.is_overtaken() {
                return Ok(Err(Overtaken { version: winner.version, written: written.tally }));
            }
            // If it cannot have been written, what was written instead is among the answers of all.
            while let Some((node, reply)) = replies.next().await {
                quorum.answer(node, reply, check);
            }
            if !quorum.skip(&winner, &written.tally) {
                return Err(GetError::no_quorum(&written.tally));
            }
        }
        Ok(Ok(None))
    }

    /// Brings laggards up to date until a quorum holds `winner`, or cannot.
    async fn write_back(
        &self,
        membership: &Membership,
        quorum: &GetQuorum,
        winner: &Signed<Record>,
        now: Timestamp,
    ) -> Result<WrittenBack, SignerError> {
        let mut written = WrittenBack::new(quorum, winner);
        let expected = PutQuorum::new(membership, winner);
        let mut chains: FuturesUnordered<_> = quorum
            .write_backs(winner)
            .into_iter()
            .map(|chain| self.send_chain(membership, chain, now))
            .collect();
        // Also when it cannot succeed any more: who refuses tells whether the winner can have been written at all.
        while !written.is_decided() {
            let Some(sent) = chains.next().await else { break };
            let (node, reply) = sent?;
            written.answer(quorum, &expected, node, reply.as_ref());
        }
        take_ready(&mut chains, drop);
        Ok(written)
    }

    /// Sends a laggard the records it lacks, in order; its answer to the last one.
    async fn send_chain(
        &self,
        membership: &Membership,
        chain: WriteBack,
        now: Timestamp,
    ) -> Result<Answered, SignerError> {
        let mut last = None;
        for record in chain.records {
            let body = RequestBody::Put { record: record.into_envelope() };
            let call = self.call(membership, chain.node, body, now)?;
            last = self.exchange(call).await.1;
        }
        Ok((chain.node, last))
    }

    /// Carries out `operation`: sends what it asks for, and feeds it the replies, until it has an outcome. What is under way then is
    /// delivered, but not waited for.
    pub(crate) async fn drive<O: Operation>(
        &self,
        membership: &Membership,
        mut operation: O,
        now: Timestamp,
    ) -> Result<O::Outcome, SignerError> {
        let mut replies = FuturesUnordered::new();
        loop {
            for (node, body) in operation.requests() {
                replies.push(self.exchange(self.call(membership, node, body, now)?));
            }
            if let Some(outcome) = operation.outcome() {
                take_ready(&mut replies, |(node, reply)| operation.answer(node, reply));
                return Ok(operation.outcome().unwrap_or(outcome));
            }
            match replies.next().await {
                Some((node, reply)) => operation.answer(node, reply),
                None => return Ok(operation.unfinished()),
            }
        }
    }

    /// Sends requests whose replies do not matter.
    pub(crate) fn announce(
        &self,
        membership: &Membership,
        requests: Vec<Outgoing>,
        now: Timestamp,
    ) -> Result<(), SignerError> {
        take_ready(&mut self.send_all(membership, requests, now)?, drop);
        Ok(())
    }

    /// A random number below `limit`.
    pub(crate) fn draw(&self, limit: u32) -> u32 {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).next_u32() % limit.max(1)
    }

    /// Signs all requests, and gives the replies as they come; `None` for a reply that did not, or does not count.
    pub(crate) fn send_all<'a>(
        &'a self,
        membership: &Membership,
        bodies: Vec<(PartyId, RequestBody)>,
        now: Timestamp,
    ) -> Result<FuturesUnordered<impl Future<Output = Answered> + Send + use<'a>>, SignerError> {
        let calls = bodies.into_iter().map(|(node, body)| self.call(membership, node, body, now));
        let calls = calls.collect::<Result<Vec<_>, _>>()?;
        Ok(calls.into_iter().map(|call| self.exchange(call)).collect())
    }

    pub(crate) fn call(
        &self,
        membership: &Membership,
        node: PartyId,
        body: RequestBody,
        now: Timestamp,
    ) -> Result<Call, SignerError> {
        let mut nonce = [0; 16];
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut nonce);
        Call::new(&*self.signer, membership, node, nonce, now, body)
    }

    pub(crate) async fn exchange(&self, call: Call) -> Answered {
        let reply = self.transport.request(&call.node(), call.bytes().clone()).await;
        (call.node(), reply.ok().and_then(|reply| call.read(&reply).ok()))
    }
}

/// Takes what is ready, without waiting. It also polls once what was not polled yet, so that every request is under way.
pub(crate) fn take_ready<S: Stream + Unpin>(stream: &mut S, mut take: impl FnMut(S::Item)) {
    while let Some(Some(item)) = stream.next().now_or_never() {
        take(item);
    }
}
