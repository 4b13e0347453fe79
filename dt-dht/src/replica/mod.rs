//! A node's side: bytes of a request in, bytes of a signed reply out. Sans-IO but for the store.
//!
//! Here stand admission and dispatch; what is done about a request stands in the module of what it is about.

mod agreed;
mod neighbours;
mod records;
mod settled;
mod shards;
mod verified;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use dt_model::{Digest, OpenError, PartyId, Signer, Timestamp};

use self::verified::Verified;
use crate::agreement::Remembered;
use crate::message::request_digest;
use crate::rows::{Rows, RowsError};
use crate::upkeep::{Gate, Pass, Policy};
use crate::{
    Address, Kind, MAX_MESSAGE_BYTES, MAX_REQUEST_AGE, Membership, Parcel, RecordStore, Refusal, Reply,
    ReplyBody, Request, RequestBody, Validator,
};

/// Stores records and shards for others, as one node.
///
/// # Invariants
/// - A receipt is signed only after the record is durable, and the version at a key never goes down: the two promises that quorums
///   build on. So a replica MUST NOT be started on a store that lost writes.
/// - Of one version, the record that came first stays. Another one of that version by the same writer is kept as evidence.
/// - Whatever arrives, there is a reply and no panic, and an unregistered sender costs at most one signature check and one signature.
pub struct Replica {
    signer: Arc<dyn Signer>,
    party: PartyId,
    store: Arc<dyn RecordStore>,
    membership: RwLock<Membership>,
    validators: BTreeMap<Kind, Arc<dyn Validator>>,
    /// One lock per group of addresses: a record is judged and stored before the next one at its address is.
    locks: [Mutex<()>; LOCKS],
    totals: Mutex<()>,
    /// Certificates that hold under the membership.
    remembered: Remembered,
    verified: Verified,
    policy: Policy,
    gate: Gate,
}

/// Enough that requests for different addresses seldom wait for each other.
const LOCKS: usize = 64;

impl Replica {
    /// The node of `signer`, which keeps its rows in `store`. Of several validators for a kind, the last one judges.
    ///
    /// It limits nothing ([`Policy::open`]): on a network, use [`Replica::with_policy`].
    #[must_use]
    pub fn new(
        signer: Arc<dyn Signer>,
        store: Arc<dyn RecordStore>,
        membership: Membership,
        validators: Vec<Arc<dyn Validator>>,
    ) -> Self {
        Self::with_policy(signer, store, membership, validators, Policy::open())
    }

    /// [`Replica::new`] for a node that is run by `policy`.
    #[must_use]
    pub fn with_policy(
        signer: Arc<dyn Signer>,
        store: Arc<dyn RecordStore>,
        membership: Membership,
        validators: Vec<Arc<dyn Validator>>,
        policy: Policy,
    ) -> Self {
        let validators = validators.into_iter().map(|validator| (validator.kind(), validator)).collect();
        Self {
            party: signer.party(),
            signer,
            store,
            membership: RwLock::new(membership),
            validators,
            locks: [const { Mutex::new(()) }; LOCKS],
            totals: Mutex::new(()),
            remembered: Remembered::default(),
            verified: Verified::default(),
            gate: Gate::new(policy.limits),
            policy,
        }
    }

    /// How it is run.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn shared_signer(&self) -> Arc<dyn Signer> {
        self.signer.clone()
    }

    /// What signs its replies.
    pub(crate) fn signer(&self) -> &dyn Signer {
        &*self.signer
    }

    /// Whose node it is.
    #[must_use]
    pub const fn party(&self) -> PartyId {
        self.party
    }

    /// Where its rows are.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn RecordStore> {
        &self.store
    }

    /// The membership that requests are judged under now.
    #[must_use]
    pub fn membership(&self) -> Membership {
        self.membership.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Judges further requests under `membership`, when those under way are answered: what this node lists in a joint epoch is final.
    pub fn update_membership(&self, membership: Membership) {
        self.gate.retain(|party| membership.is_registered(party));
        *self.membership.write().unwrap_or_else(PoisonError::into_inner) = membership;
        self.remembered.clear();
    }

    /// Carries out a request, and gives the signed reply. It is empty only if the node's signer fails.
    ///
    /// Bytes that are no request, too, get a signed refusal, which names them by their digest.
    #[must_use]
    pub fn handle(&self, request: &[u8], now: Timestamp) -> Bytes {
        // Held to the end: no request of a former epoch writes anything after the epoch has changed.
        let held = self.membership.read().unwrap_or_else(PoisonError::into_inner);
        let membership = &*held;
        let body = self
            .admit(membership, request, now)
            .and_then(|(sender, request, _pass)| self.answer(membership, &sender, request, now))
            .unwrap_or_else(|refusal| ReplyBody::Refused { refusal });
        let digest = if request.len() > MAX_MESSAGE_BYTES { Digest::ZERO } else { request_digest(request) };
        let reply = Reply { network: membership.network(), epoch: membership.epoch(), request: digest, body };
        Parcel::new(reply, &*self.signer).map(|reply| reply.encode()).unwrap_or_default()
    }

    /// The request, if it is one that this node answers, and its place among those that are worked on.
    fn admit(
        &self,
        membership: &Membership,
        request: &[u8],
        now: Timestamp,
    ) -> Result<(PartyId, Request, Pass<'_>), Refusal> {
        let parcel = Parcel::<Request>::decode(request).map_err(|_| Refusal::Malformed)?;
        let (sender, bytes) = (parcel.signer(), request.len());
        // Who is unknown is refused before his signature costs anything.
        if !membership.is_registered(&sender) {
            return Err(Refusal::UnknownParty);
        }
        let mut pass = self.gate.enter(sender, bytes, now)?;
        let request = parcel.open().inspect_err(|_| pass.forged(now));
        let request = request.map_err(|error| match error {
            OpenError::Signature(_) => Refusal::NotPermitted,
            _ => Refusal::Malformed,
        })?;
        pass.prove(now)?;
        if request.network != membership.network() || request.node != self.party {
            return Err(Refusal::WrongAddress);
        }
        let age = now.since(request.time).max(request.time.since(now));
        if request.epoch != membership.epoch() || age > MAX_REQUEST_AGE {
            return Err(Refusal::Outdated);
        }
        Ok((sender, request, pass))
    }

    fn answer(
        &self,
        membership: &Membership,
        sender: &PartyId,
        request: Request,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        match request.body {
            RequestBody::Put { record } => self.put(membership, record, now),
            RequestBody::Get { key } => self.get(membership, &key, sender, now),
            RequestBody::GetEvidence { key } => {
                self.require_replica(membership, &key.address)?;
                Ok(ReplyBody::Evidence { evidence: self.rows().evidence(&key).map_err(unavailable)? })
            }
            RequestBody::PutShard { blob, index, shard } => {
                self.put_shard(membership, sender, (blob, index, shard), now)
            }
            RequestBody::RenewShard { blob, index } => {
                self.renew_shard(membership, sender, (&blob, index), now)
            }
            RequestBody::KeepCertificate { blob, certificate } => {
                self.keep_certificate(membership, sender, (&blob, certificate), now)
            }
            RequestBody::Upkeep { request } => self.answer_upkeep(membership, sender, request, now),
            RequestBody::GetShard { blob, index } => self.get_shard(membership, &blob, index),
            RequestBody::GetState { address } => self.state(membership, &address, sender, now),
            RequestBody::Propose { sequence, ballot, record, promises } => {
                let proposal = agreed::Proposal { sequence, ballot, record, promises };
                self.propose(membership, proposal, sender, now)
            }
            RequestBody::Commit { record, certificate } => self.commit(membership, record, certificate, now),
            RequestBody::Adopt { certificate, records } => self.adopt(membership, certificate, records, now),
            RequestBody::Promise { bid, titles } => self.promise(membership, bid, &titles, sender, now),
            RequestBody::GetPast { key, version } => self.past(membership, &key, version, sender, now),
        }
    }

    fn require_replica(&self, membership: &Membership, address: &Address) -> Result<(), Refusal> {
        let is_replica = membership.is_replica(&self.party, address);
        if is_replica { Ok(()) } else { Err(Refusal::NotAReplica) }
    }

    pub(crate) fn rows(&self) -> Rows<'_> {
        Rows::new(&*self.store, &self.totals, &self.policy.quotas)
    }

    /// Holds `address`, and finishes its removal if that was begun.
    pub(crate) fn lock(&self, address: &Address) -> Result<MutexGuard<'_, ()>, Refusal> {
        let held = self.lock_only(address);
        self.finish_removal(address)?;
        Ok(held)
    }

    pub(crate) fn lock_only(&self, address: &Address) -> MutexGuard<'_, ()> {
        let group = usize::from(address.as_bytes()[0]) % LOCKS;
        // A lock guards no data of its own, so one that a panicking validator poisoned is as good as before.
        self.locks[group].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unavailable(error: RowsError) -> Refusal {
    error.refusal()
}
