//! A transport that writes down what is sent, and breaks when told so.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use dt_dht::testing::Network;
use dt_dht::{Address, Client, Parcel, Request, RequestBody, Transport, TransportError};
use dt_model::PartyId;
use dt_model::testing::{SeedRng, identity};

/// What was asked of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asked {
    PutShard(Address, u16),
    RenewShard(Address, u16),
    KeepCertificate(Address),
    GetShard(Address, u16),
    Other,
}

pub(crate) struct Spy {
    inner: Arc<dyn Transport>,
    /// How many requests are let through before all others fail.
    left: AtomicUsize,
    /// What was let through.
    log: Mutex<Vec<(PartyId, Asked)>>,
}

impl Spy {
    pub(crate) fn new(network: &Network) -> Arc<Self> {
        let (inner, log) = (network.faulty().clone(), Mutex::default());
        Arc::new(Self { inner, left: AtomicUsize::new(usize::MAX), log })
    }

    pub(crate) fn break_after(&self, requests: usize) {
        self.left.store(requests, Ordering::SeqCst);
    }

    pub(crate) fn take_log(&self) -> Vec<(PartyId, Asked)> {
        core::mem::take(&mut self.log.lock().unwrap())
    }

    pub(crate) fn client(self: &Arc<Self>, network: &Network, seed: u64) -> Client {
        let membership = network.membership().clone();
        Client::new(Arc::new(identity(seed)), self.clone(), membership, SeedRng::new(seed))
    }
}

#[async_trait]
impl Transport for Spy {
    async fn request(&self, node: &PartyId, request: Bytes) -> Result<Bytes, TransportError> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            return Err(TransportError::Unreachable(*node));
        }
        let asked = match Parcel::<Request>::decode(&request).unwrap().open().unwrap().body {
            RequestBody::PutShard { blob, index, .. } => Asked::PutShard(blob.address(), index),
            RequestBody::RenewShard { blob, index } => Asked::RenewShard(blob, index),
            RequestBody::GetShard { blob, index } => Asked::GetShard(blob, index),
            RequestBody::KeepCertificate { blob, .. } => Asked::KeepCertificate(blob),
            _ => Asked::Other,
        };
        self.log.lock().unwrap().push((*node, asked));
        self.inner.request(node, request).await
    }

    fn update_membership(&self, membership: &dt_dht::Membership) {
        self.inner.update_membership(membership);
    }
}
