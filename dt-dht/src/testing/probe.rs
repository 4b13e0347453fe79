//! A node that does what a request tells it to, and counts what reaches it: what a transport does is seen at both of its ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use dt_model::{Digest, Domain, PartyId, Timestamp};

use super::liar::read_request;
use crate::{Replica, request_digest};

/// What a request's nonce tells a probe to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// To give [`expected_reply`] of so many bytes.
    Reply(u32),
    /// To say nothing.
    Silence,
}

/// A replica that obeys [`Order`]s; other requests it answers as ever.
pub(super) struct Probe {
    replica: Arc<Replica>,
    now: Timestamp,
    seen: Mutex<BTreeMap<Digest, u32>>,
}

/// Such a nonce starts with this.
const MARK: &[u8; 5] = b"suite";

impl Order {
    /// The nonce of the request with this number.
    pub(super) fn nonce(self, number: u32) -> [u8; 16] {
        let (tag, bytes) = match self {
            Self::Reply(bytes) => (0, bytes),
            Self::Silence => (1, 0),
        };
        let mut nonce = [0; 16];
        nonce[..5].copy_from_slice(MARK);
        nonce[5] = tag;
        nonce[6..10].copy_from_slice(&bytes.to_le_bytes());
        nonce[10..14].copy_from_slice(&number.to_le_bytes());
        nonce
    }

    fn of(nonce: &[u8; 16]) -> Option<Self> {
        let bytes = u32::from_le_bytes([nonce[6], nonce[7], nonce[8], nonce[9]]);
        match (nonce.starts_with(MARK), nonce[5]) {
            (true, 0) => Some(Self::Reply(bytes)),
            (true, 1) => Some(Self::Silence),
            _ => None,
        }
    }
}

impl Probe {
    pub(super) fn new(replica: Arc<Replica>, now: Timestamp) -> Self {
        Self { replica, now, seen: Mutex::default() }
    }

    pub(super) fn party(&self) -> PartyId {
        self.replica.party()
    }

    /// How often `request` has come here.
    pub(super) fn seen(&self, request: &[u8]) -> u32 {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&request_digest(request)).copied().unwrap_or_default()
    }

    pub(super) fn answer(&self, request: &[u8]) -> Option<Bytes> {
        let digest = request_digest(request);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner).entry(digest).or_default() += 1;
        match read_request(request).and_then(|content| Order::of(&content.nonce)) {
            None => Some(self.replica.handle(request, self.now)),
            Some(Order::Reply(bytes)) => Some(expected_reply(&self.party(), request, bytes)),
            Some(Order::Silence) => None,
        }
    }
}

/// Pseudorandom bytes that follow from the node and the request: no other node, and no other request, has the same.
pub(super) fn expected_reply(node: &PartyId, request: &[u8], bytes: u32) -> Bytes {
    let seed = Domain::new("dt/dht/suite-reply/v1").blake3(&[node.as_bytes(), request]);
    let mut reply = vec![0; bytes as usize];
    blake3::Hasher::new_keyed(seed.as_bytes()).finalize_xof().fill(&mut reply);
    reply.into()
}
