//! A node's own requests to other nodes.

use core::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use dt_model::{PartyId, Timestamp};
use rand_core::{CryptoRng, Rng, TryCryptoRng, TryRng};

use super::{UpkeepReply, UpkeepRequest};
use crate::{Call, Client, Membership, Replica, ReplyBody, RequestBody, Transport};

/// Sends requests as one node, and reads the replies.
pub(crate) struct Link {
    replica: Arc<Replica>,
    transport: Arc<dyn Transport>,
    rng: SharedRng,
    /// For what takes a quorum.
    client: Client,
}

/// A random source with two users.
#[derive(Clone)]
struct SharedRng(Arc<Mutex<Box<dyn CryptoRng + Send>>>);

impl TryRng for SharedRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).next_u64())
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), Infallible> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(destination);
        Ok(())
    }
}

impl TryCryptoRng for SharedRng {}

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
        let rng = SharedRng(Arc::new(Mutex::new(Box::new(rng))));
        let client =
            Client::new(replica.shared_signer(), transport.clone(), replica.membership(), rng.clone());
        Self { replica, transport, rng, client }
    }

    /// One of `nodes`, each as likely as another.
    pub(crate) fn choose<'a>(&self, nodes: impl ExactSizeIterator<Item = &'a PartyId>) -> Option<PartyId> {
        let at = self.client.draw(u32::try_from(nodes.len()).unwrap_or(u32::MAX));
        nodes.zip(0..).find(|(_, number)| *number == at).map(|(node, _)| *node)
    }

    /// Tells the transport who takes part.
    pub(crate) fn follow(&self, membership: &Membership) {
        self.transport.update_membership(membership);
    }

    /// The node as a client in `membership`.
    pub(crate) fn client(&self, membership: &Membership) -> &Client {
        if self.client.membership().epoch() != membership.epoch() {
            self.client.update_membership(membership.clone());
        }
        &self.client
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
        self.rng.clone().fill_bytes(&mut nonce);
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
