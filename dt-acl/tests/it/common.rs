//! Four nodes in one process, and parties by number.

use std::sync::Arc;

use dt_acl::testing::sign_acl;
use dt_acl::{Acl, AclRecord, AclValidator, DataValidator, Grantee, ItemName, Items, Rights};
use dt_dht::testing::Network;
use dt_dht::{Resilience, Validator};
use dt_model::testing::{SeedRng, identity};
use dt_model::{Identity, Signer, Timestamp};

/// How many parties the network serves.
pub(crate) const PARTIES: u64 = 8;

/// A network of `nodes` nodes of which `max_faulty` may lie.
pub(crate) fn network(max_faulty: u16, nodes: usize) -> Network {
    let validators: [Arc<dyn Validator>; 2] = [Arc::new(AclValidator), Arc::new(DataValidator)];
    let parties = (0..PARTIES).map(|seed| identity(seed).party());
    Network::new(Resilience::tolerating(max_faulty).unwrap(), nodes, parties, &validators)
}

/// The items as the party with number `seed` sees them.
pub(crate) fn items(network: &Network, seed: u64) -> Items {
    items_of(network, identity(seed))
}

pub(crate) fn items_of(network: &Network, identity: Identity) -> Items {
    Items::new(Arc::new(network.client(Arc::new(identity))))
}

pub(crate) fn grantee(seed: u64, rights: Rights) -> Grantee {
    let party = identity(seed);
    Grantee::new(party.party(), party.encryption_key(), rights)
}

/// A first list of party 0, signed.
pub(crate) fn first(grantees: &[Grantee], rng: &mut SeedRng) -> Acl {
    let owner = identity(0);
    let record = AclRecord::first(&owner, ItemName::from("item"), grantees, at(0), rng).unwrap();
    Acl::open(&sign_acl(&record, &owner)).unwrap()
}

pub(crate) const fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}
