//! What the tests share: four nodes, an owner, readings, and a single replica's shelf.

use std::collections::BTreeMap;
use std::sync::Arc;

use core::time::Duration;

use dt_dht::testing::Network;
use dt_dht::{Client, Neighbours, Record, Refusal, Resilience, Site, Slot, Validator};
use dt_feed::{BatchPolicy, Entry, EpochKey, Manifest, Publisher, SignedHead, SignedSegment, validators};
use dt_model::testing::{SeedRng, identity};
use dt_model::{Identity, Secret, Signed, Signer, Timestamp, TwinId};

pub const OWNER: u64 = 1;
pub const STRANGER: u64 = 2;

pub fn manifest() -> Manifest {
    Manifest {
        twin: TwinId::from([7; 32]),
        component: "{3c1f}-filler".parse().unwrap(),
        owner: identity(OWNER).party(),
        topic: "pressure".parse().unwrap(),
        media_type: "application/json".parse().unwrap(),
    }
}

pub fn key(epoch: u64) -> EpochKey {
    EpochKey::new(epoch, secret(epoch))
}

pub fn secret(epoch: u64) -> Secret {
    Secret::from_bytes([epoch as u8; 32])
}

pub fn all_keys(epoch: u64) -> Option<Secret> {
    Some(secret(epoch))
}

pub fn network() -> Network {
    let parties = [OWNER, STRANGER].map(|seed| identity(seed).party());
    Network::new(Resilience::tolerating(1).unwrap(), 4, parties, &validators())
}

pub fn client(network: &Network, seed: u64) -> Client {
    network.client(Arc::new(identity(seed)))
}

pub fn policy(entries: u32) -> BatchPolicy {
    BatchPolicy::new(entries, 1024 * 1024, Duration::from_millis(100)).unwrap()
}

pub const START: u64 = 1_700_000_000_000;

/// The reading `index`: one each 10 ms, in pairs of equal time.
pub fn reading(index: u64) -> Entry {
    Entry::new(Timestamp::from_millis(START + index / 2 * 20), format!("{{\"bar\":{}}}", index % 7))
}

/// A publisher that has published the first `count` readings, in batches of `batch`.
pub async fn published(network: &Network, client: &Client, count: u64, batch: u32) -> Publisher {
    let mut publisher =
        Publisher::create(client, manifest(), policy(batch), key(1), network.now()).await.unwrap();
    extend(network, client, &mut publisher, 0..count).await;
    publisher
}

pub async fn extend(
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
pub struct Shelf(pub BTreeMap<Slot, Signed<Record>>);

impl Neighbours for Shelf {
    fn record(&self, slot: Slot) -> Option<Signed<Record>> {
        self.0.get(&slot).cloned()
    }
}

impl Shelf {
    pub fn with_manifest() -> Self {
        let mut shelf = Self::default();
        shelf.offer(&sign(manifest().record())).unwrap();
        shelf
    }

    pub fn offer(&mut self, offered: &Signed<Record>) -> Result<(), Refusal> {
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

    pub fn take(&mut self, step: &Step) -> Result<(), Refusal> {
        self.offer(step.segment.record())?;
        self.offer(step.head.record())
    }
}

pub fn sign(record: Record) -> Signed<Record> {
    sign_as(record, &identity(OWNER))
}

pub fn sign_as(record: Record, signer: &Identity) -> Signed<Record> {
    Signed::new(record, signer).unwrap()
}

/// What one batch puts.
#[derive(Clone)]
pub struct Step {
    pub segment: SignedSegment,
    pub head: SignedHead,
}

/// The steps of a log whose batches hold `counts` readings, made at the times that follow `seed`; all readings from `seed` on.
pub fn steps(head: Option<SignedHead>, counts: &[u64], seed: u64) -> Vec<Step> {
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
