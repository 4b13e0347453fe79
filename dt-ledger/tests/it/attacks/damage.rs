//! Rows that are not what was written.

use bytes::Bytes;
use dt_ledger::store::{Batch, Table, scan_prefix};
use dt_ledger::testing::Fixture;
use dt_ledger::{
    EventCursor, EventFilter, LedgerStore as _, MemoryStore, Query, Replica, Resource, Scope, State as _,
    TwinCall,
};
use dt_model::{Permission, Signer as _, codec};

use crate::support::*;

/// Rows that somebody damaged on disk are errors wherever they are met, or other values; never a panic.
#[test]
fn damaged_rows_are_errors() {
    let store = MemoryStore::default();
    let plant = Plant::over(Fixture::new(std::sync::Arc::new(store.clone()), 1, 1));
    let document = plant.document(&plant.owner, Some("tank"));
    plant.call(&plant.owner, edit([insert("pump", "tank")])).unwrap();
    plant.call(&plant.maintainer, TwinCall::CallProgram(set_speed("30", "slow"))).unwrap();
    let attempts = [
        plant.chain.sign(&plant.owner, vec![plant.on(edit([remove("pump")]))]),
        plant.chain.sign(&plant.maintainer, vec![plant.on(add_document(Some("tank")))]),
        plant.chain.sign(&plant.agent, vec![plant.on(TwinCall::ClaimCalls { epoch: 1 })]),
    ];
    let attempts: Vec<Bytes> = attempts.iter().map(|t| codec::encode(t).into()).collect();
    let heights = plant.chain.replica().tip().height;
    let view = store.view().unwrap();
    let mut tried = 0usize;
    for table in Table::ALL {
        for (key, value) in scan_prefix(&*view, table, &[], usize::MAX).unwrap() {
            for damage in 0..6 {
                tried += 1;
                let mut damaged = value.clone();
                if damaged.is_empty() {
                    damaged.push(0);
                }
                let at = (tried * 37) % damaged.len();
                match damage % 3 {
                    0 => damaged[at] ^= 1 << (tried % 8),
                    1 => damaged.truncate(at),
                    _ => damaged[at] = 0xff,
                }
                let copy = MemoryStore::default();
                let mut batch = Batch::default();
                for of in Table::ALL {
                    for (key, value) in scan_prefix(&*view, of, &[], usize::MAX).unwrap() {
                        batch.put(of, key, value);
                    }
                }
                batch.put(table, key.clone(), damaged);
                copy.commit(batch).unwrap();
                use_all(copy, &plant, document, &attempts, heights);
            }
        }
    }
    assert!(tried > 300, "{tried}");
}

/// Everything that reads; whether it succeeds is another matter.
fn use_all(
    store: MemoryStore,
    plant: &Plant,
    document: dt_ledger::DocumentId,
    attempts: &[Bytes],
    heights: u64,
) {
    let Ok(replica) = Replica::load(std::sync::Arc::new(store)) else { return };
    let twin = plant.twin;
    if let Ok((block, _)) = replica.assemble(attempts.to_vec(), plant.chain.now()) {
        let votes = plant.chain.certify(&block.header);
        let _ = replica.commit(block, votes);
    }
    (0..=heights + 1).for_each(|height| drop(replica.block(height)));
    let _ = replica.trace(&Resource::Document(twin, document));
    let _ = replica.trace(&Resource::Element(twin, component("tank")));
    let _ = replica.query(&Query { scope: Some(Scope::Twin(twin)), ..Query::default() });
    let _ = replica.events(EventCursor::BEGINNING, &EventFilter::default(), u32::MAX);
    let Ok(state) = replica.snapshot() else { return };
    let _ = (state.parties().is_ok(), state.participants(&twin).is_ok(), state.documents(&twin).is_ok());
    let _ = (state.twin(&twin).is_ok(), state.call(&twin, 1).is_ok(), state.root().is_ok());
    for party in [&plant.owner, &plant.outsider] {
        let key = dt_ledger::StateKey::Roles(twin, party.party());
        let _ = state.prove(&key).map(|proof| proof.verify(&digest(1), &key.to_bytes(), None));
        let read = Permission::new(dt_model::Operation::Read, dt_model::DataClass::Document);
        let _ = state.authorize(&twin, &party.party(), read, Some(&component("valve")), plant.chain.now());
    }
}
