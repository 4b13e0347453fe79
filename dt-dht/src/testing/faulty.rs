//! A transport on which chosen nodes lie, each with its own key.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use dt_model::{PartyId, Signer};

use super::liar::{Conduct, Liar, Past};
use crate::{Membership, Refusal, Transport, TransportError};

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
    /// It says that it has no proof of any blob's storage, and lists none.
    DeniedProofs,
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
    pasts: BTreeMap<PartyId, Past>,
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
    async fn pass(&self, node: &PartyId, request: Bytes) -> Result<Bytes, TransportError> {
        self.state().pasts.entry(*node).or_default().note_request(&request);
        let reply = self.inner.request(node, request).await?;
        self.state().pasts.entry(*node).or_default().note_reply(&reply);
        Ok(reply)
    }
}

#[async_trait]
impl Transport for Faulty {
    async fn request(&self, node: &PartyId, request: Bytes) -> Result<Bytes, TransportError> {
        let conduct = {
            let state = &mut *self.state();
            let past = state.pasts.entry(*node).or_default();
            state.liars.get(node).map(|liar| (liar.clone(), liar.conduct(past, &request)))
        };
        match conduct {
            None => self.pass(node, request).await,
            Some((_, Conduct::Silence)) => Err(TransportError::TimedOut(*node)),
            Some((_, Conduct::Hang)) => futures_util::future::pending().await,
            Some((_, Conduct::Say(reply))) => Ok(reply),
            Some((liar, Conduct::Ask)) => {
                let reply = self.pass(node, request.clone()).await?;
                let mut state = self.state();
                Ok(liar.alter(state.pasts.entry(*node).or_default(), &request, reply))
            }
        }
    }

    fn update_membership(&self, membership: &Membership) {
        self.inner.update_membership(membership);
    }
}
