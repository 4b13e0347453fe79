//! Same blocks, same bytes: in every store, after every restart, on every machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use dt_ledger::store::Table;
use dt_ledger::store::scan_prefix;
use dt_ledger::testing::Fixture;
use dt_ledger::{CommittedBlock, LedgerStore, MemoryStore, Policy, RedbStore, Replica, StoreView, TwinCall};
use dt_model::Signer as _;

use crate::support::*;

/// The chain of [`story`] ends with this state, on every machine. It changes when the rules or the encoding do: with that, old chains
/// no longer replay, so it must never change by accident.
const GOLDEN: &str = "9f541eb7aaffb2c622ffc6ddc8b714493eb927ddd10183a9ec9da02d5576fcbd";

/// A short life of a plant, some of it refused.
pub(crate) fn story(store: Arc<dyn LedgerStore>) -> Plant {
    let plant = Plant::over(Fixture::new(store, 2, 4));
    let Plant { chain, owner, maintainer, auditor, agent, .. } = &plant;
    let document = plant.document(maintainer, Some("tank"));
    chain.wait(10);
    plant.call(owner, TwinCall::AddDocumentVersion { document, version: version(2) }).unwrap();
    plant.call(agent, add_feed("level", agent)).unwrap();
    plant.refused(auditor, add_document(None));
    let swap = vec![
        plant.on(remove_feed("level")),
        plant.on(edit([remove("level"), insert("level-2", "tank")])),
        plant.on(add_feed("level-2", agent)),
    ];
    chain.apply(maintainer, swap).unwrap();
    plant
        .call(owner, TwinCall::SetPolicy { component: Some(component("tank")), policy: Policy::none() })
        .unwrap();
    plant.call(maintainer, TwinCall::CallProgram(set_speed("30", "slow"))).unwrap();
    chain.wait(10);
    let many = [
        chain.sign(agent, vec![plant.on(TwinCall::ClaimCalls { epoch: 1 })]),
        chain.sign_ahead(agent, vec![plant.on(TwinCall::StartCall { call: 1, epoch: 1 })], 1),
        chain.sign(owner, vec![plant.on(TwinCall::RemoveDocument { document })]),
        chain.sign(
            maintainer,
            vec![plant.on(TwinCall::AnchorAcl { item: digest(3), version: 1, digest: digest(4) })],
        ),
    ];
    chain.commit(&many);
    plant.call(owner, TwinCall::TransferOwnership { to: maintainer.party() }).unwrap();
    plant
}

pub(crate) fn blocks(replica: &Replica) -> Vec<CommittedBlock> {
    (1..=replica.tip().height).map(|height| replica.block(height).unwrap().unwrap()).collect()
}

type Rows = BTreeMap<&'static str, Vec<dt_ledger::store::Row>>;

fn rows(view: &dyn StoreView) -> Rows {
    Table::ALL.map(|table| (table.name(), scan_prefix(view, table, &[], usize::MAX).unwrap())).into()
}

#[test]
fn a_chain_ends_where_it_ends_everywhere() {
    let plant = story(Arc::new(MemoryStore::default()));
    assert_eq!(plant.chain.replica().tip().state_root.to_string(), GOLDEN);
}

#[test]
fn every_replica_of_the_same_blocks_holds_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let original = MemoryStore::default();
    let plant = story(Arc::new(original.clone()));
    let blocks = blocks(plant.chain.replica());
    let genesis = plant.chain.replica().genesis().clone();
    let memory = MemoryStore::default();
    let disk: Arc<dyn LedgerStore> = Arc::new(RedbStore::open(&directory.path().join("ledger")).unwrap());
    for store in [Arc::new(memory) as Arc<dyn LedgerStore>, disk] {
        let replica = Replica::open(Arc::clone(&store), &genesis).unwrap();
        for block in &blocks {
            assert_eq!(block.block.header.state_root, replica.tip().state_root);
            replica.verify(&block.block).unwrap();
            let replayed = replica.commit(block.block.clone(), block.certificate.clone()).unwrap();
            assert_eq!(*replayed, *block, "receipts and events are the same too");
        }
        assert_eq!(replica.tip(), plant.chain.replica().tip());
        assert!(rows(&*store.view().unwrap()) == rows(&*original.view().unwrap()), "and every row");
    }
}

#[test]
fn a_replica_goes_on_after_a_restart_at_any_height() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger");
    let plant = story(Arc::new(MemoryStore::default()));
    let genesis = plant.chain.replica().genesis();
    let mut tip = None;
    for block in blocks(plant.chain.replica()) {
        let store = Arc::new(RedbStore::open(&path).unwrap());
        let replica = Replica::open(store, genesis).unwrap();
        if let Some(tip) = tip {
            assert_eq!(replica.tip(), tip, "as it was left");
        }
        replica.commit(block.block, block.certificate).unwrap();
        tip = Some(replica.tip());
    }
    assert_eq!(tip.unwrap(), plant.chain.replica().tip());
    let loaded = Replica::load(Arc::new(RedbStore::open(&path).unwrap())).unwrap();
    assert_eq!((loaded.chain(), loaded.tip()), (genesis.chain(), plant.chain.replica().tip()));
}

#[test]
fn the_grouping_into_blocks_does_not_change_what_each_transaction_does() {
    let (one, many) = (Plant::new(), Plant::new());
    let work = |plant: &Plant| {
        [
            (&plant.owner, edit([insert("pump", "tank")])),
            (&plant.maintainer, add_document(Some("pump"))),
            (&plant.auditor, add_document(Some("pump"))),
            (&plant.owner, edit([remove("pump")])),
            (&plant.maintainer, add_document(Some("pump"))),
        ]
        .map(|(who, call)| (who.party(), call))
    };
    let by = |plant: &Plant, party| -> u64 {
        let all = [&plant.owner, &plant.maintainer, &plant.auditor];
        all.iter().position(|who| who.party() == party).unwrap() as u64
    };
    let mut ahead = [0; 3];
    let mut together = Vec::new();
    for (party, call) in work(&many) {
        let who = by(&many, party) as usize;
        let signer = [&many.owner, &many.maintainer, &many.auditor][who];
        together.push(many.chain.sign_ahead(signer, vec![many.on(call)], ahead[who]));
        ahead[who] += 1;
    }
    many.chain.commit(&together);
    for (party, call) in work(&one) {
        let who = by(&one, party) as usize;
        let _ = one.call([&one.owner, &one.maintainer, &one.auditor][who], call);
    }
    let outcomes = |plant: &Plant| -> Vec<_> {
        let all = blocks(plant.chain.replica());
        // What is written tells the height (in the traces), so that it does differ.
        let receipts = all.into_iter().flat_map(|block| block.receipts);
        receipts.map(|receipt| (receipt.transaction, receipt.outcome)).collect()
    };
    assert_eq!(outcomes(&one), outcomes(&many));
    assert_eq!(one.specification_root(), many.specification_root());
}
