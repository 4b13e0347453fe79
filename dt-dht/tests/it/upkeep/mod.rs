//! Leases, quotas, limits, repair and hand-over, tried from outside.

mod agreed;
mod handover;
mod kept_back;
mod lapses;
mod leases;
mod liars;
mod limits;
mod past;
mod placement;
mod quotas;
mod repair;
mod unproven;

use std::sync::Arc;

use dt_dht::testing::Network;
use dt_dht::{
    Call, Membership, MemoryStore, Node, OwnedRecords, Policy, Record, RecordStore, Replica, ReplyBody,
    RequestBody, Resilience,
};
use dt_model::testing::identity;
use dt_model::{Digest, Identity, Signed, Signer, Timestamp};

pub(crate) use self::repair::FAST;
use crate::support::*;

/// A single node (of four) that is run by a policy, asked directly.
struct Single {
    replica: Replica,
    store: Arc<dyn RecordStore>,
    membership: Membership,
    now: Timestamp,
    nonce: u64,
}

impl Single {
    fn new(policy: Policy) -> Self {
        Self::on(Arc::new(MemoryStore::new()), policy)
    }

    fn on(store: Arc<dyn RecordStore>, policy: Policy) -> Self {
        let nodes = (100..104).map(|seed| Node { party: identity(seed).party(), endpoints: Vec::new() });
        let parties = [WRITER, READER].map(|seed| identity(seed).party());
        let resilience = Resilience::tolerating(1).unwrap();
        let membership =
            Membership::new(Digest::from([7; 32]), 1, resilience, nodes.collect(), parties.into()).unwrap();
        let node: Arc<Identity> = Arc::new(identity(100));
        let replica = Replica::with_policy(
            node,
            store.clone(),
            membership.clone(),
            vec![Arc::new(OwnedRecords)],
            policy,
        );
        let now = Timestamp::from_millis(1_700_000_000_000);
        Self { replica, store, membership, now, nonce: 0 }
    }

    fn request(&mut self, seed: u64, body: RequestBody) -> Call {
        self.nonce += 1;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.nonce.to_le_bytes());
        Call::new(&identity(seed), &self.membership, self.replica.party(), nonce, self.now, body).unwrap()
    }

    fn ask(&mut self, seed: u64, body: RequestBody) -> ReplyBody {
        let call = self.request(seed, body);
        call.read(&self.replica.handle(call.bytes(), self.now)).unwrap()
    }

    fn put(&mut self, record: &Signed<Record>) -> Result<(), dt_dht::Refusal> {
        match self.ask(WRITER, put(record)) {
            ReplyBody::Stored { .. } => Ok(()),
            ReplyBody::Refused { refusal } => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    fn get(&mut self, record: &Signed<Record>) -> Option<Signed<Record>> {
        match self.ask(READER, RequestBody::Get { key: record.key }) {
            ReplyBody::Record { record } => record.map(|record| record.open().unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

/// A record of `seed` with a body of `length` bytes.
fn sized(seed: u64, name: &str, version: u64, length: usize) -> Signed<Record> {
    let writer = identity(seed);
    let record = OwnedRecords::record(writer.party(), name.parse().unwrap(), version, vec![7; length]);
    Signed::new(record, &writer).unwrap()
}

/// A store that fails after some number of writes, as if the process had died: what was written before is there.
struct Dying {
    inner: Arc<MemoryStore>,
    left: std::sync::atomic::AtomicI64,
}

impl Dying {
    fn new(inner: Arc<MemoryStore>, writes: i64) -> Self {
        Self { inner, left: writes.into() }
    }

    fn live(&self) -> Result<(), dt_dht::StoreError> {
        use std::sync::atomic::Ordering::SeqCst;
        if self.left.fetch_sub(1, SeqCst) > 0 { Ok(()) } else { Err(dt_dht::StoreError::ReadOnly) }
    }

    fn is_dead(&self) -> bool {
        self.left.load(std::sync::atomic::Ordering::SeqCst) < 0
    }
}

impl RecordStore for Dying {
    fn get(&self, key: &[u8]) -> Result<Option<bytes::Bytes>, dt_dht::StoreError> {
        self.inner.get(key)
    }

    fn put(&self, rows: &[dt_dht::Row]) -> Result<(), dt_dht::StoreError> {
        self.live()?;
        self.inner.put(rows)
    }

    fn remove(&self, keys: &[bytes::Bytes]) -> Result<(), dt_dht::StoreError> {
        self.live()?;
        self.inner.remove(keys)
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<dt_dht::Row>, dt_dht::StoreError> {
        self.inner.scan(prefix, after, limit)
    }
}

fn audit(network: &Network) {
    for node in network.nodes() {
        dt_dht::verify_store(&**network.replica(&node.party()).store()).unwrap();
    }
}
