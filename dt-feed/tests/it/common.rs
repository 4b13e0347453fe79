//! What the tests share: four nodes, an owner, readings, and a single replica's shelf.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use core::time::Duration;

use bytes::Bytes;
use dt_dht::testing::Network;
use dt_dht::{
    Client, Key, Neighbours, Parcel, Record, Refusal, Reply, ReplyBody, Request, RequestBody, Resilience,
    Site, Slot, Transport, TransportError, Validator, request_digest,
};
use dt_feed::{BatchPolicy, Entry, EpochKey, Manifest, Publisher, SignedHead, SignedSegment, validators};
use dt_model::testing::{SeedRng, identity};
use dt_model::{Envelope, Identity, PartyId, Secret, Signed, Signer, Timestamp, TwinId};

pub(crate) const OWNER: u64 = 1;
pub(crate) const STRANGER: u64 = 2;

pub(crate) fn manifest() -> Manifest {
    Manifest {
        twin: TwinId::from([7; 32]),
        component: "{3c1f}-filler".parse().unwrap(),
        owner: identity(OWNER).party(),
        topic: "pressure".parse().unwrap(),
        media_type: "application/json".parse().unwrap(),
    }
}

pub(crate) fn key(epoch: u64) -> EpochKey {
    EpochKey::new(epoch, secret(epoch))
}

pub(crate) fn secret(epoch: u64) -> Secret {
    Secret::from_bytes([epoch as u8; 32])
}

pub(crate) fn all_keys(epoch: u64) -> Option<Secret> {
    Some(secret(epoch))
}

pub(crate) fn network() -> Network {
    let parties = [OWNER, STRANGER].map(|seed| identity(seed).party());
    Network::new(Resilience::tolerating(1).unwrap(), 4, parties, &validators())
}

pub(crate) fn client(network: &Network, seed: u64) -> Client {
    network.client(Arc::new(identity(seed)))
}

pub(crate) fn policy(entries: u32) -> BatchPolicy {
    BatchPolicy::new(entries, 1024 * 1024, Duration::from_millis(100)).unwrap()
}

pub(crate) const START: u64 = 1_700_000_000_000;

/// The reading `index`: one each 10 ms, in pairs of equal time.
pub(crate) fn reading(index: u64) -> Entry {
    Entry::new(Timestamp::from_millis(START + index / 2 * 20), format!("{{\"bar\":{}}}", index % 7))
}

/// A publisher that has published the first `count` readings, in batches of `batch`.
pub(crate) async fn published(network: &Network, client: &Client, count: u64, batch: u32) -> Publisher {
    let mut publisher =
        Publisher::create(client, manifest(), policy(batch), key(1), network.now()).await.unwrap();
    extend(network, client, &mut publisher, 0..count).await;
    publisher
}

pub(crate) async fn extend(
    network: &Network,
    client: &Client,
    publisher: &mut Publisher,
    readings: core::ops::Range<u64>,
) {
    let mut rng = SeedRng::new(readings.start);
    for index in readings {
        network.advance(Duration::from_millis(if index % 2 == 1 { 20 } else { 0 }));
        publisher.append(reading(index), network.now()).unwrap();
        if publisher.unpublished() >= 256 {
            publisher.publish(client, network.now(), &mut rng).await.unwrap();
        }
    }
    publisher.flush(client, network.now(), &mut rng).await.unwrap();
}

/// The records of one address, judged as a replica judges them.
#[derive(Default, Clone)]
pub(crate) struct Shelf(pub(crate) BTreeMap<Slot, Signed<Record>>);

impl Neighbours for Shelf {
    fn record(&self, slot: Slot) -> Option<Signed<Record>> {
        self.0.get(&slot).cloned()
    }
}

impl Shelf {
    pub(crate) fn with_manifest() -> Self {
        let mut shelf = Self::default();
        shelf.offer(&sign(manifest().record())).unwrap();
        shelf
    }

    pub(crate) fn offer(&mut self, offered: &Signed<Record>) -> Result<(), Refusal> {
        let slot = offered.key.slot;
        let stored = self.0.get(&slot);
        if stored.is_some_and(|stored| stored.digest() == offered.digest()) {
            return Ok(());
        }
        let validator: Arc<dyn Validator> =
            validators().into_iter().find(|validator| validator.kind() == slot.kind).unwrap();
        let now = Timestamp::from_millis(START);
        validator.admit(&Site { now, stored, neighbours: self }, offered)?;
        self.0.insert(slot, offered.clone());
        Ok(())
    }

    pub(crate) fn take(&mut self, step: &Step) -> Result<(), Refusal> {
        self.offer(step.segment.record())?;
        self.offer(step.head.record())
    }
}

pub(crate) fn sign(record: Record) -> Signed<Record> {
    sign_as(record, &identity(OWNER))
}

pub(crate) fn sign_as(record: Record, signer: &Identity) -> Signed<Record> {
    Signed::new(record, signer).unwrap()
}

/// What one batch puts.
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) segment: SignedSegment,
    pub(crate) head: SignedHead,
}

/// The steps of a log whose batches hold `counts` readings, made at the times that follow `seed`; all readings from `seed` on.
pub(crate) fn steps(head: Option<SignedHead>, counts: &[u64], seed: u64) -> Vec<Step> {
    let owner = identity(OWNER);
    let start = head.as_ref().map_or(0, |head| head.size());
    let mut publisher = Publisher::new(manifest(), policy(256), key(1), head).unwrap();
    let mut rng = SeedRng::new(seed);
    let mut index = start;
    let mut made = Vec::new();
    for count in counts {
        let now = Timestamp::from_millis(START + 1_000_000 + seed * 1000 + index);
        for _ in 0..*count {
            publisher.append(reading(index), now).unwrap();
            index += 1;
        }
        let resilience = Resilience::tolerating(1).unwrap();
        let batch = publisher.batch(resilience, now, &owner, &mut rng).unwrap().unwrap();
        made.push(Step { segment: batch.segment().clone(), head: batch.head().clone() });
        publisher.confirm();
    }
    made
}

/// What is stored at `key`, whatever it is.
pub(crate) async fn stored(client: &Client, key: Key, now: Timestamp) -> Signed<Record> {
    client.get(key, &|_| Ok(()), now).await.unwrap().unwrap()
}

/// What `signer`, a node, replies to the request in `bytes`.
pub(crate) fn reply_as(signer: &Identity, bytes: &Bytes, body: ReplyBody) -> Bytes {
    let request = Parcel::<Request>::decode(bytes).unwrap().open().unwrap();
    let (network, epoch, request) = (request.network, request.epoch, request_digest(bytes));
    Parcel::new(Reply { network, epoch, request, body }, signer).unwrap().encode()
}

/// A transport on which one node answers as it likes, with its own signature, where `lie` gives an answer.
pub(crate) struct Liar<F> {
    inner: Arc<dyn Transport>,
    liar: Arc<Identity>,
    lie: F,
}

/// A client of `seed` who hears `liar` say what `lie` gives.
pub(crate) fn hearing<F>(network: &Network, seed: u64, liar: &Arc<Identity>, lie: F) -> Client
where
    F: Fn(&RequestBody) -> Option<ReplyBody> + Send + Sync + 'static,
{
    let transport = Arc::new(Liar { inner: network.in_process().clone(), liar: liar.clone(), lie });
    Client::new(Arc::new(identity(seed)), transport, network.membership().clone(), SeedRng::new(8))
}

#[async_trait::async_trait]
impl<F: Fn(&RequestBody) -> Option<ReplyBody> + Send + Sync> Transport for Liar<F> {
    async fn request(&self, node: &PartyId, bytes: Bytes) -> Result<Bytes, TransportError> {
        let asked =
            (*node == self.liar.party()).then(|| Parcel::<Request>::decode(&bytes).unwrap().open().unwrap());
        match asked.and_then(|request| (self.lie)(&request.body)) {
            Some(body) => Ok(reply_as(&self.liar, &bytes, body)),
            None => self.inner.request(node, bytes).await,
        }
    }

    fn update_membership(&self, membership: &dt_dht::Membership) {
        self.inner.update_membership(membership);
    }
}

/// A transport on which all nodes show what they are told to, with their own signatures: more liars than the network survives.
pub(crate) struct Lies {
    inner: Arc<dyn Transport>,
    nodes: Vec<Arc<Identity>>,
    shown: Mutex<BTreeMap<Key, Option<Envelope<Record>>>>,
}

/// The lies, none so far, and a client who hears them.
pub(crate) fn lying(network: &Network) -> (Arc<Lies>, Client) {
    let (inner, nodes) = (network.in_process().clone(), network.nodes().to_vec());
    let lies = Arc::new(Lies { inner, nodes, shown: Mutex::default() });
    let signer = Arc::new(identity(STRANGER));
    (lies.clone(), Client::new(signer, lies, network.membership().clone(), SeedRng::new(8)))
}

impl Lies {
    pub(crate) fn show(&self, record: &Signed<Record>) {
        self.show_at(record.key, record);
    }

    pub(crate) fn show_at(&self, key: Key, record: &Signed<Record>) {
        self.shown.lock().unwrap().insert(key, Some(record.envelope().clone()));
    }

    pub(crate) fn hide(&self, key: Key) {
        self.shown.lock().unwrap().insert(key, None);
    }
}

#[async_trait::async_trait]
impl Transport for Lies {
    async fn request(&self, node: &PartyId, bytes: Bytes) -> Result<Bytes, TransportError> {
        let request = Parcel::<Request>::decode(&bytes).unwrap().open().unwrap();
        let shown = match &request.body {
            RequestBody::Get { key } => self.shown.lock().unwrap().get(key).cloned(),
            _ => None,
        };
        let Some(record) = shown else {
            return self.inner.request(node, bytes).await;
        };
        let signer = self.nodes.iter().find(|identity| identity.party() == *node).unwrap();
        Ok(reply_as(signer, &bytes, ReplyBody::Record { record }))
    }

    fn update_membership(&self, membership: &dt_dht::Membership) {
        self.inner.update_membership(membership);
    }
}
