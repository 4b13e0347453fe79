//! A node that lies in what it says, with its own key. Sans-IO, so that any transport can have liars.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use dt_model::{Envelope, Signed, Signer};

use super::Fault;
use crate::{
    Address, Key, Parcel, Place, Receipt, Record, Reply, ReplyBody, Request, RequestBody, UpkeepReply,
    UpkeepRequest, request_digest,
};

/// A node with a fault.
#[derive(Clone)]
pub(super) struct Liar {
    pub(super) signer: Arc<dyn Signer>,
    pub(super) fault: Fault,
}

/// What a node was sent and has answered: some lies need its past.
#[derive(Default)]
pub(super) struct Past {
    first_put: BTreeMap<Key, Envelope<Record>>,
    first_reply: Option<Bytes>,
}

/// What a liar does about a request.
pub(super) enum Conduct {
    /// It never answers, and the transport says so.
    Silence,
    /// It never answers, and the transport waits for ever.
    Hang,
    /// It says this.
    Say(Bytes),
    /// It asks its replica, and may alter the reply.
    Ask,
}

impl Past {
    /// Remembers a request that the node gets.
    pub(super) fn note_request(&mut self, request: &[u8]) {
        if let Some(Request { body: RequestBody::Put { record: envelope }, .. }) = read_request(request)
            && let Ok(record) = envelope.clone().open()
        {
            self.first_put.entry(record.key).or_insert(envelope);
        }
    }

    /// Remembers a reply that the node gives.
    pub(super) fn note_reply(&mut self, reply: &Bytes) {
        self.first_reply.get_or_insert_with(|| reply.clone());
    }
}

impl Liar {
    /// What it does about `request`, before its replica sees it.
    pub(super) fn conduct(&self, past: &Past, request: &[u8]) -> Conduct {
        match self.fault {
            Fault::Silent => return Conduct::Silence,
            Fault::Hanging => return Conduct::Hang,
            Fault::Garbage => {
                let mut garbage = vec![0; 300];
                blake3::Hasher::new().update(request).finalize_xof().fill(&mut garbage);
                return Conduct::Say(garbage.into());
            }
            Fault::Zeros | Fault::Replay | Fault::CorruptShards => return Conduct::Ask,
            _ => {}
        }
        let Some(content) = read_request(request) else { return Conduct::Ask };
        match self.lie(past, &content) {
            Some(body) => Conduct::Say(sign_reply(&*self.signer, &content, request, body)),
            None => Conduct::Ask,
        }
    }

    /// What it makes of its replica's `reply` to `request`.
    pub(super) fn alter(&self, past: &Past, request: &[u8], reply: Bytes) -> Bytes {
        match self.fault {
            Fault::Zeros => vec![0; reply.len()].into(),
            Fault::Replay => past.first_reply.clone().unwrap_or(reply),
            Fault::CorruptShards => match (read_request(request), read_reply(&reply)) {
                (Some(content), Some(ReplyBody::Shard { shard: Some(shard) })) => {
                    let mut bytes = shard.into_bytes().to_vec();
                    bytes.first_mut().into_iter().for_each(|byte| *byte ^= 1);
                    let body = ReplyBody::Shard { shard: Some(Bytes::from(bytes).into()) };
                    sign_reply(&*self.signer, &content, request, body)
                }
                _ => reply,
            },
            Fault::DeniedProofs => match (read_request(request), read_reply(&reply)) {
                (Some(content), Some(ReplyBody::Upkeep { reply: UpkeepReply::Listing(mut listing) })) => {
                    let shards = listing.holdings.iter_mut().filter(|held| held.place == Place::Shard);
                    shards.for_each(|held| held.version = 0);
                    let body = ReplyBody::Upkeep { reply: UpkeepReply::Listing(listing) };
                    sign_reply(&*self.signer, &content, request, body)
                }
                _ => reply,
            },
            _ => reply,
        }
    }

    /// What it says instead of asking its replica.
    fn lie(&self, past: &Past, request: &Request) -> Option<ReplyBody> {
        match (self.fault, &request.body) {
            (Fault::ForgedNewer, RequestBody::Get { key }) => {
                // As plausible as it gets without the writer's key: the body is whatever the first writer wrote.
                let first = past.first_put.get(key).and_then(|known| known.clone().open().ok());
                let body = first.map(|known| known.body.clone()).unwrap_or_default();
                let forged = Record { key: *key, version: u64::MAX, body };
                let record = Signed::new(forged, &*self.signer).ok()?.into_envelope();
                Some(ReplyBody::Record { record: Some(record) })
            }
            (Fault::NothingStored | Fault::Pretend, RequestBody::Get { .. }) => {
                Some(ReplyBody::Record { record: None })
            }
            (Fault::Stale, RequestBody::Get { key }) => {
                Some(ReplyBody::Record { record: past.first_put.get(key).cloned() })
            }
            (Fault::WithheldShards | Fault::Pretend, RequestBody::GetShard { .. }) => {
                Some(ReplyBody::Shard { shard: None })
            }
            (Fault::WithheldShards, RequestBody::Upkeep { request: UpkeepRequest::FetchShard { .. } }) => {
                Some(ReplyBody::Upkeep { reply: UpkeepReply::Shard(None) })
            }
            (
                Fault::DeniedProofs,
                RequestBody::Upkeep { request: UpkeepRequest::FetchCertificate { .. } },
            ) => Some(ReplyBody::Upkeep { reply: UpkeepReply::Certificate(None) }),
            (Fault::Pretend, RequestBody::PutShard { blob, .. }) => {
                self.pretend_shards(request, &blob.address())
            }
            (Fault::Pretend, RequestBody::RenewShard { blob, .. }) => self.pretend_shards(request, blob),
            (Fault::Pretend, RequestBody::KeepCertificate { .. }) => Some(ReplyBody::CertificateKept),
            (Fault::Pretend, RequestBody::Put { record }) => self.pretend(request, record),
            (Fault::Refuse(refusal), _) => Some(ReplyBody::Refused { refusal }),
            _ => None,
        }
    }

    /// A receipt for a record that is not stored.
    fn pretend(&self, request: &Request, envelope: &Envelope<Record>) -> Option<ReplyBody> {
        let record = envelope.clone().open().ok()?;
        let receipt = Receipt {
            network: request.network,
            key: record.key,
            version: record.version,
            record: record.digest(),
            epoch: request.epoch,
            time: request.time,
        };
        Some(ReplyBody::Stored { receipt: Signed::new(receipt, &*self.signer).ok()?.into_envelope() })
    }

    /// A receipt for shards that are not stored.
    fn pretend_shards(&self, request: &Request, blob: &Address) -> Option<ReplyBody> {
        let receipt = Receipt::of_shards(request.network, request.epoch, blob, request.time);
        let receipt = Signed::new(receipt, &*self.signer).ok()?.into_envelope();
        Some(ReplyBody::ShardStored { receipt: Some(receipt) })
    }
}

/// The content of a request, if it is one.
pub(super) fn read_request(bytes: &[u8]) -> Option<Request> {
    Parcel::decode(bytes).ok()?.open().ok()
}

/// The content of a reply, if it is one.
pub(super) fn read_reply(bytes: &[u8]) -> Option<ReplyBody> {
    Some(Parcel::<Reply>::decode(bytes).ok()?.open().ok()?.body)
}

/// A reply that is sound in every way but its content.
pub(super) fn sign_reply(signer: &dyn Signer, request: &Request, bytes: &[u8], body: ReplyBody) -> Bytes {
    let reply =
        Reply { network: request.network, epoch: request.epoch, request: request_digest(bytes), body };
    Parcel::new(reply, signer).map(|reply| reply.encode()).unwrap_or_default()
}
