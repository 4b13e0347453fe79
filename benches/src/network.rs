//! Clients on a network in this process.

use std::sync::Arc;

use dt_dht::Client;
use dt_dht::testing::Network;
use dt_model::Signer;
use dt_model::testing::SeedRng;

/// A client that reaches the nodes directly. That of [`Network::client`] goes through what can make nodes lie, which opens every message
/// to look at it: more than some operations cost themselves.
#[must_use]
pub fn client(network: &Network, signer: Arc<dyn Signer>) -> Client {
    Client::new(signer, network.in_process().clone(), network.membership().clone(), SeedRng::new(7))
}
