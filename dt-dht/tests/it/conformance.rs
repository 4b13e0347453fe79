//! The references pass the suites of their seams.

use std::sync::Arc;

use dt_dht::testing::{store_suite, transport_suite};
use dt_dht::{MemoryStore, RedbStore};
use dt_model::Signer;
use dt_model::testing::identity;

use crate::support::*;

#[test]
fn memory_store() {
    store_suite(|closed: Option<MemoryStore>| closed.unwrap_or_default());
}

#[test]
fn redb_store() {
    let folder = tempfile::tempdir().unwrap();
    store_suite(|closed: Option<RedbStore>| {
        drop(closed);
        RedbStore::open(folder.path().join("rows.redb")).unwrap()
    });
}

#[tokio::test]
async fn in_process_transport() {
    let network = network(1);
    let stranger = identity(STRANGER).party();
    let signer = Arc::new(identity(WRITER));
    transport_suite(network.in_process().clone(), network.membership(), signer, &stranger, network.now())
        .await;
}

#[tokio::test]
async fn wrapped_transport() {
    let network = network(2);
    let stranger = identity(STRANGER).party();
    let signer = Arc::new(identity(WRITER));
    transport_suite(network.faulty().clone(), network.membership(), signer, &stranger, network.now()).await;
}
