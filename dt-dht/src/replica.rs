//! A node's side: bytes of a request in, bytes of a signed reply out. Sans-IO but for the store.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use dt_model::{Digest, Envelope, OpenError, PartyId, Signed, Signer, Timestamp};

use crate::equivocation::contradict;
use crate::message::request_digest;
use crate::rows::{EVIDENCE, RECORDS, RecordRow, Rows, RowsError, ShardRow, record_key, shard_key};
use crate::{
    Address, BlobRef, Equivocation, Key, Kind, MAX_MESSAGE_BYTES, MAX_REQUEST_AGE, Membership, Neighbours,
    Parcel, Receipt, Record, RecordStore, Refusal, Reply, ReplyBody, Request, RequestBody, Shard, Site, Slot,
    Validator,
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
}

/// Enough that requests for different addresses seldom wait for each other.
const LOCKS: usize = 64;

impl Replica {
    /// The node of `signer`, which keeps its rows in `store`. Of several validators for a kind, the last one judges.
    #[must_use]
    pub fn new(
        signer: Arc<dyn Signer>,
        store: Arc<dyn RecordStore>,
        membership: Membership,
        validators: Vec<Arc<dyn Validator>>,
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
        }
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

    /// Judges further requests under `membership`.
    pub fn update_membership(&self, membership: Membership) {
        *self.membership.write().unwrap_or_else(PoisonError::into_inner) = membership;
    }

    /// Carries out a request, and gives the signed reply. It is empty only if the node's signer fails.
    ///
    /// Bytes that are no request, too, get a signed refusal, which names them by their digest.
    #[must_use]
    pub fn handle(&self, request: &[u8], now: Timestamp) -> Bytes {
        let membership = self.membership();
        let body = self
            .admit(&membership, request, now)
            .and_then(|(sender, request)| self.answer(&membership, &sender, request, now))
            .unwrap_or_else(|refusal| ReplyBody::Refused { refusal });
        let digest = if request.len() > MAX_MESSAGE_BYTES { Digest::ZERO } else { request_digest(request) };
        let reply = Reply { network: membership.network(), epoch: membership.epoch(), request: digest, body };
        Parcel::new(reply, &*self.signer).map(|reply| reply.encode()).unwrap_or_default()
    }

    /// The request, if it is one that this node answers.
    fn admit(
        &self,
        membership: &Membership,
        request: &[u8],
        now: Timestamp,
    ) -> Result<(PartyId, Request), Refusal> {
        let parcel = Parcel::<Request>::decode(request).map_err(|_| Refusal::Malformed)?;
        let sender = parcel.signer();
        // Who is unknown is refused before his signature costs anything.
        if !membership.is_registered(&sender) {
            return Err(Refusal::UnknownParty);
        }
        let request = parcel.open().map_err(|error| match error {
            OpenError::Signature(_) => Refusal::NotPermitted,
            _ => Refusal::Malformed,
        })?;
        if request.network != membership.network() || request.node != self.party {
            return Err(Refusal::WrongAddress);
        }
        let age = now.since(request.time).max(request.time.since(now));
        if request.epoch != membership.epoch() || age > MAX_REQUEST_AGE {
            return Err(Refusal::Outdated);
        }
        Ok((sender, request))
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
                self.put_shard(membership, blob, index, shard, now)
            }
            RequestBody::RenewShard { blob, index } => self.renew_shard(membership, &blob, index, now),
            RequestBody::GetShard { blob, index } => self.get_shard(membership, &blob, index),
        }
    }

    fn put(
        &self,
        membership: &Membership,
        record: Envelope<Record>,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        let offered = record.open().map_err(|error| match error {
            OpenError::Signature(_) => Refusal::NotPermitted,
            _ => Refusal::Malformed,
        })?;
        self.require_replica(membership, &offered.key.address)?;
        let validator = self.validators.get(&offered.key.slot.kind).ok_or(Refusal::UnknownKind)?;
        if offered.version == 0 {
            return Err(Refusal::Malformed);
        }
        let _held = self.lock(&offered.key.address);
        let stored = self.load(&offered.key)?;
        let leased = match &stored {
            Some((stored, leased)) if stored.digest() == offered.digest() => now.max(*leased),
            _ => {
                let stored = stored.as_ref().map(|(stored, _)| stored);
                self.judge(&**validator, stored, &offered, now)?;
                now
            }
        };
        let row = RecordRow { record: offered.envelope().clone(), leased };
        self.rows().write(record_key(RECORDS, &offered.key), &row).map_err(unavailable)?;
        self.receipt(membership, &offered, now)
    }

    /// Whether `offered` may take the place of `stored`; evidence against its writer is kept.
    fn judge(
        &self,
        validator: &dyn Validator,
        stored: Option<&Signed<Record>>,
        offered: &Signed<Record>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if let Some(stored) = stored {
            if offered.version < stored.version {
                return Err(Refusal::Stale { stored: stored.version });
            }
            if contradict(stored, offered) {
                if let Some(evidence) = Equivocation::between(stored, offered) {
                    self.keep(&offered.key, &evidence)?;
                }
                return Err(Refusal::Conflict);
            }
        }
        let neighbours = StoredNeighbours::new(self, offered.key.address);
        let verdict = validator.admit(&Site { now, stored, neighbours: &neighbours }, offered);
        neighbours.finish()?;
        verdict
    }

    /// Keeps the first evidence at a key; one is enough.
    fn keep(&self, key: &Key, evidence: &Equivocation) -> Result<(), Refusal> {
        if self.rows().evidence(key).map_err(unavailable)?.is_none() {
            self.rows().write(record_key(EVIDENCE, key), evidence).map_err(unavailable)?;
        }
        Ok(())
    }

    fn receipt(
        &self,
        membership: &Membership,
        stored: &Signed<Record>,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        let receipt = Receipt {
            network: membership.network(),
            key: stored.key,
            version: stored.version,
            record: stored.digest(),
            epoch: membership.epoch(),
            time: now,
        };
        let receipt = Signed::new(receipt, &*self.signer).map_err(|_| Refusal::Unavailable)?;
        Ok(ReplyBody::Stored { receipt: receipt.into_envelope() })
    }

    fn get(
        &self,
        membership: &Membership,
        key: &Key,
        reader: &PartyId,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        self.require_replica(membership, &key.address)?;
        let validator = self.validators.get(&key.slot.kind).ok_or(Refusal::UnknownKind)?;
        let _held = self.lock(&key.address);
        let Some((stored, _)) = self.load(key)? else {
            return Ok(ReplyBody::Record { record: None });
        };
        let neighbours = StoredNeighbours::new(self, key.address);
        let site = Site { now, stored: Some(&stored), neighbours: &neighbours };
        let verdict = validator.serve(&site, reader, &stored);
        neighbours.finish()?;
        verdict?;
        Ok(ReplyBody::Record { record: Some(stored.into_envelope()) })
    }

    fn put_shard(
        &self,
        membership: &Membership,
        blob: BlobRef,
        index: u16,
        shard: Shard,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        if !blob.fits(membership.resilience()) {
            return Err(Refusal::Malformed);
        }
        let address = blob.address();
        if membership.replicas(&address).get(usize::from(index)) != Some(&self.party) {
            return Err(Refusal::NotAReplica);
        }
        if !blob.names(index, &shard) {
            return Err(Refusal::Inconsistent);
        }
        let _held = self.lock(&address);
        let row = ShardRow { blob, index, leased: now, bytes: shard.into_bytes() };
        self.rows().write(shard_key(&address, index), &row).map_err(unavailable)?;
        Ok(ReplyBody::ShardStored)
    }

    fn renew_shard(
        &self,
        membership: &Membership,
        blob: &Address,
        index: u16,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        if membership.replicas(blob).get(usize::from(index)) != Some(&self.party) {
            return Err(Refusal::NotAReplica);
        }
        let _held = self.lock(blob);
        let key = shard_key(blob, index);
        let Some(row) = self.rows().read::<ShardRow>(&key).map_err(unavailable)? else {
            return Ok(ReplyBody::Shard { shard: None });
        };
        let row = ShardRow { leased: now.max(row.leased), ..row };
        self.rows().write(key, &row).map_err(unavailable)?;
        Ok(ReplyBody::ShardStored)
    }

    fn get_shard(&self, membership: &Membership, blob: &Address, index: u16) -> Result<ReplyBody, Refusal> {
        let row: Option<ShardRow> = self.rows().read(&shard_key(blob, index)).map_err(unavailable)?;
        if row.is_none() {
            self.require_replica(membership, blob)?;
        }
        let shard = row.and_then(|row| {
            let digest = row.blob.shards().get(usize::from(row.index))?;
            Some(Shard::known(*digest, row.bytes))
        });
        Ok(ReplyBody::Shard { shard })
    }

    fn require_replica(&self, membership: &Membership, address: &Address) -> Result<(), Refusal> {
        let is_replica = membership.replicas(address).contains(&self.party);
        if is_replica { Ok(()) } else { Err(Refusal::NotAReplica) }
    }

    /// What is stored at `key`, and since when it is leased.
    fn load(&self, key: &Key) -> Result<Option<(Signed<Record>, Timestamp)>, Refusal> {
        let Some(row) = self.rows().read::<RecordRow>(&record_key(RECORDS, key)).map_err(unavailable)? else {
            return Ok(None);
        };
        let record = row.record.open().map_err(|_| Refusal::Unavailable)?;
        if record.key == *key { Ok(Some((record, row.leased))) } else { Err(Refusal::Unavailable) }
    }

    fn rows(&self) -> Rows<'_> {
        Rows::new(&*self.store, &self.totals)
    }

    fn lock(&self, address: &Address) -> MutexGuard<'_, ()> {
        let group = usize::from(address.as_bytes()[0]) % LOCKS;
        // A lock guards no data of its own, so one that a panicking validator poisoned is as good as before.
        self.locks[group].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A row that cannot be read or written is the operator's concern; a sender only learns that this node cannot help.
fn unavailable(_: RowsError) -> Refusal {
    Refusal::Unavailable
}

/// The other slots of an address, read when a validator asks for them.
struct StoredNeighbours<'a> {
    replica: &'a Replica,
    address: Address,
    /// Whether a row could not be read: then the verdict is worthless.
    failed: Cell<bool>,
}

impl<'a> StoredNeighbours<'a> {
    fn new(replica: &'a Replica, address: Address) -> Self {
        Self { replica, address, failed: Cell::new(false) }
    }

    fn finish(&self) -> Result<(), Refusal> {
        if self.failed.get() { Err(Refusal::Unavailable) } else { Ok(()) }
    }
}

impl Neighbours for StoredNeighbours<'_> {
    fn record(&self, slot: Slot) -> Option<Signed<Record>> {
        match self.replica.load(&Key { address: self.address, slot }) {
            Ok(stored) => stored.map(|(record, _)| record),
            Err(_) => {
                self.failed.set(true);
                None
            }
        }
    }
}
