//! A transport on which chosen nodes lie, each with its own key.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use dt_model::{Envelope, PartyId, Signed, Signer};

use crate::{
    Key, Parcel, Receipt, Record, Refusal, Reply, ReplyBody, Request, RequestBody, Transport, TransportError,
    request_digest,
};

/// How a node misbehaves. What a fault does not concern, the node does properly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It never answers, and the transport says so.
    Silent,
    /// It never answers, and the transport waits for ever (which a transport must not).
    Hanging,
    /// It answers with random bytes.
    Garbage,
    /// It answers with zeros, as many as its answer would have bytes.
    Zeros,
    /// It answers with an answer that it gave before: to the first request of all.
    Replay,
    /// To a get it shows a newer record, which it signed itself.
    ForgedNewer,
    /// To a get it says, with its own signature, that nothing is stored.
    NothingStored,
    /// To a get it shows the first record that it was ever sent for that key.
    Stale,
    /// It shows shards with a flipped bit.
    CorruptShards,
    /// It says that it has no shards.
    WithheldShards,
    /// It gives receipts, and stores nothing.
    Pretend,
    /// It refuses everything, with this reason.
    Refuse(Refusal),
}

/// Wraps a transport; nodes behave as behind the inner one unless [`Faulty::corrupt`] says otherwise.
pub struct Faulty {
    inner: Arc<dyn Transport>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    liars: BTreeMap<PartyId, Liar>,
    first_put: BTreeMap<(PartyId, Key), Envelope<Record>>,
    first_reply: BTreeMap<PartyId, Bytes>,
}

#[derive(Clone)]
struct Liar {
    signer: Arc<dyn Signer>,
    fault: Fault,
}

impl Faulty {
    /// All nodes of `inner`, honest so far.
    #[must_use]
    pub fn new(inner: Arc<dyn Transport>) -> Self {
        Self { inner, state: Mutex::default() }
    }

    /// From now on the node of `signer` misbehaves. A liar has its node's key: nothing it says is given away by the signature.
    pub fn corrupt(&self, signer: Arc<dyn Signer>, fault: Fault) {
        self.state().liars.insert(signer.party(), Liar { signer, fault });
    }

    /// Makes `node` honest again.
    pub fn heal(&self, node: &PartyId) {
        self.state().liars.remove(node);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what a node is sent and answers, for the faults that need its past.
    async fn pass(&self, node: &PartyId, bytes: Bytes) -> Result<Bytes, TransportError> {
        if let Some(Request { body: RequestBody::Put { record: envelope }, .. }) = read(&bytes)
            && let Ok(record) = envelope.clone().open()
        {
            self.state().first_put.entry((*node, record.key)).or_insert(envelope);
        }
        let reply = self.inner.request(node, bytes).await?;
        self.state().first_reply.entry(*node).or_insert_with(|| reply.clone());
        Ok(reply)
    }
}

#[async_trait]
impl Transport for Faulty {
    async fn request(&self, node: &PartyId, bytes: Bytes) -> Result<Bytes, TransportError> {
        let liar = self.state().liars.get(node).cloned();
        let Some(liar) = liar else {
            return self.pass(node, bytes).await;
        };
        match liar.fault {
            Fault::Silent => return Err(TransportError::TimedOut(*node)),
            Fault::Hanging => return futures_util::future::pending().await,
            Fault::Garbage => {
                let mut garbage = vec![0; 300];
                blake3::Hasher::new().update(&bytes).finalize_xof().fill(&mut garbage);
                return Ok(garbage.into());
            }
            Fault::Zeros => {
                let reply = self.pass(node, bytes).await?;
                return Ok(vec![0; reply.len()].into());
            }
            Fault::Replay => {
                let reply = self.pass(node, bytes).await?;
                return Ok(self.state().first_reply.get(node).cloned().unwrap_or(reply));
            }
            _ => {}
        }
        let Some(request) = read(&bytes) else {
            return self.pass(node, bytes).await;
        };
        let first = |key: &Key| self.state().first_put.get(&(*node, *key)).cloned();
        match lie(&liar, &request, first) {
            Some(body) => Ok(sign(&liar, &request, &bytes, body)),
            None => {
                let reply = self.pass(node, bytes.clone()).await?;
                Ok(alter(&liar, &reply).map_or(reply, |body| sign(&liar, &request, &bytes, body)))
            }
        }
    }
}

/// What a liar says instead of asking its replica.
fn lie(
    liar: &Liar,
    request: &Request,
    first: impl Fn(&Key) -> Option<Envelope<Record>>,
) -> Option<ReplyBody> {
    match (liar.fault, &request.body) {
        (Fault::ForgedNewer, RequestBody::Get { key }) => {
            // As plausible as it gets without the writer's key: the body is whatever the first writer wrote.
            let body = first(key).and_then(|known| known.open().ok()).map(|known| known.body.clone());
            let forged = Record { key: *key, version: 1 << 60, body: body.unwrap_or_default() };
            let record = Signed::new(forged, &*liar.signer).ok()?.into_envelope();
            Some(ReplyBody::Record { record: Some(record) })
        }
        (Fault::NothingStored | Fault::Pretend, RequestBody::Get { .. }) => {
            Some(ReplyBody::Record { record: None })
        }
        (Fault::Stale, RequestBody::Get { key }) => Some(ReplyBody::Record { record: first(key) }),
        (Fault::WithheldShards | Fault::Pretend, RequestBody::GetShard { .. }) => {
            Some(ReplyBody::Shard { shard: None })
        }
        (Fault::Pretend, RequestBody::PutShard { .. } | RequestBody::RenewShard { .. }) => {
            Some(ReplyBody::ShardStored)
        }
        (Fault::Pretend, RequestBody::Put { record }) => pretend(liar, request, record),
        (Fault::Refuse(refusal), _) => Some(ReplyBody::Refused { refusal }),
        _ => None,
    }
}

/// A receipt for a record that is not stored.
fn pretend(liar: &Liar, request: &Request, envelope: &Envelope<Record>) -> Option<ReplyBody> {
    let record = envelope.clone().open().ok()?;
    let receipt = Receipt {
        network: request.network,
        key: record.key,
        version: record.version,
        record: record.digest(),
        epoch: request.epoch,
        time: request.time,
    };
    Some(ReplyBody::Stored { receipt: Signed::new(receipt, &*liar.signer).ok()?.into_envelope() })
}

/// What a liar makes of its replica's answer.
fn alter(liar: &Liar, reply: &[u8]) -> Option<ReplyBody> {
    match (liar.fault, Parcel::<Reply>::decode(reply).ok()?.open().ok()?.body) {
        (Fault::CorruptShards, ReplyBody::Shard { shard: Some(shard) }) => {
            let mut bytes = shard.into_bytes().to_vec();
            *bytes.first_mut()? ^= 1;
            Some(ReplyBody::Shard { shard: Some(Bytes::from(bytes).into()) })
        }
        _ => None,
    }
}

fn read(bytes: &[u8]) -> Option<Request> {
    Parcel::decode(bytes).ok()?.open().ok()
}

/// A reply that is sound in every way but its content.
fn sign(liar: &Liar, request: &Request, bytes: &[u8], body: ReplyBody) -> Bytes {
    let reply =
        Reply { network: request.network, epoch: request.epoch, request: request_digest(bytes), body };
    Parcel::new(reply, &*liar.signer).map(|reply| reply.encode()).unwrap_or_default()
}
