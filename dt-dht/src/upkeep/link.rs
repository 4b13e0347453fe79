//! A node's own requests to other nodes.

use std::sync::{Arc, Mutex, PoisonError};

use dt_model::{PartyId, Timestamp};
use rand_core::CryptoRng;

use super::{UpkeepReply, UpkeepRequest};
use crate::{Call, Membership, Replica, ReplyBody, RequestBody, Transport};

/// Sends requests as one node, and reads the replies.
pub(crate) struct Link {
    replica: Arc<Replica>,
    transport: Arc<dyn Transport>,
    rng: Mutex<Box<dyn CryptoRng + Send>>,
}

/// A reply, and what it cost.
pub(crate) struct Answer {
    pub(crate) body: ReplyBody,
    pub(crate) bytes: u64,
}

impl Link {
    pub(crate) fn new(
        replica: Arc<Replica>,
        transport: Arc<dyn Transport>,
        rng: impl CryptoRng + Send + 'static,
    ) -> Self {
        Self { replica, transport, rng: Mutex::new(Box::new(rng)) }
    }

    /// What `node` answers; `None` if it does not, or nothing that counts.
    pub(crate) async fn ask(
        &self,
        membership: &Membership,
        node: PartyId,
        body: RequestBody,
        now: Timestamp,
    ) -> Option<Answer> {
        let mut nonce = [0; 16];
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut nonce);
        let call = Call::new(self.replica.signer(), membership, node, nonce, now, body).ok()?;
        let reply = self.transport.request(&node, call.bytes().clone()).await.ok()?;
        let bytes = (call.bytes().len() + reply.len()) as u64;
        Some(Answer { body: call.read(&reply).ok()?, bytes })
    }
}

/// A request of upkeep.
pub(crate) const fn upkeep(request: UpkeepRequest) -> RequestBody {
    RequestBody::Upkeep { request }
}

/// The answer to one, if it is one.
pub(crate) fn upkeep_reply(answer: Option<&Answer>) -> Option<&UpkeepReply> {
    match answer {
        Some(Answer { body: ReplyBody::Upkeep { reply }, .. }) => Some(reply),
        _ => None,
    }
}
