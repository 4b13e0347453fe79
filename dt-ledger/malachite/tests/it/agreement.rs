//! Validators in one process agree.

use std::sync::Arc;
use std::time::Duration;

use dt_ledger::store::{Batch, Table};
use dt_ledger::{
    Consensus as _, ConsensusError, LedgerStore, MemoryStore, RedbStore, Replica, StateKey, StoreError,
    StoreView, Verifier,
};
use dt_ledger_malachite::{Halt, Malachite, Pace, Start, StartError};
use dt_model::testing::identity;
use dt_model::{Signer as _, codec};

use crate::cluster::*;

#[test]
fn four_validators_commit_what_any_of_them_is_given() {
    run(180, async {
        let cluster = Cluster::start(4).await;
        let mut digests = Vec::new();
        for member in 0..4 {
            let party = cluster.enrol(member, 10 + member as u64).await;
            for number in 0..5 {
                let replica = cluster.member(member).replica();
                let transaction = sign(replica, &party, 1 + number, harmless(&party));
                digests.push(cluster.member(member).submit(transaction).await.unwrap());
            }
        }
        let mut height = 0;
        for digest in &digests {
            height = height.max(cluster.find(3, digest, 1).await);
        }
        cluster.agree(height).await;
        // Somebody who knows the genesis alone follows the votes.
        let replica = cluster.member(2).replica();
        let verifier = Verifier::new(replica.genesis());
        for height in 1..=height {
            let (header, votes) = replica.header(height).unwrap().unwrap();
            verifier.header(&header, &votes).unwrap();
        }
    });
}

/// Without a pause for each block: with nothing to do, the others make one in twenty seconds.
#[test]
fn a_validator_that_was_away_catches_up_by_blocks() {
    run(180, async {
        let pace = Pace { idle: Duration::from_secs(20), ..quick() };
        let mut cluster = Cluster::paced(4, pace).await;
        let party = cluster.enrol(0, 10).await;
        let gone = cluster.members[3].take().unwrap();
        gone.shutdown().await;
        drop(gone);
        let mut last = 0;
        for number in 1..20 {
            let transaction = sign(cluster.member(0).replica(), &party, number, harmless(&party));
            let digest = cluster.member(0).submit(transaction).await.unwrap();
            last = cluster.find(0, &digest, last.max(1)).await;
        }
        cluster.members[3] = Some(cluster.plan.start(3, Start::Resume).await.unwrap());
        cluster.agree(last).await;
    });
}

/// A store that keeps no block that was committed, as one that is killed on the way: what is put there before stays.
struct Breaking(RedbStore);

impl LedgerStore for Breaking {
    fn view(&self) -> Result<Box<dyn StoreView>, StoreError> {
        self.0.view()
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        if batch.tables().any(|(table, _)| table == Table::Blocks) {
            return Err(StoreError::Engine("killed".into()));
        }
        self.0.commit(batch)
    }
}

#[test]
fn a_validator_that_is_killed_while_it_catches_up_goes_on() {
    run(180, async {
        let mut cluster = Cluster::of(4, 3, 4).await;
        let party = cluster.enrol(0, 10).await;
        // The engine knows that the first block is good, and by which votes it is decided; then all that is left of it is on the disk.
        let store = Arc::new(Breaking(cluster.plan.store(3)));
        let killed = cluster.plan.start_over(3, Start::First, store).await.unwrap();
        let halt = killed.halted().await;
        assert!(matches!(*halt, Halt::Store(_)), "{halt}");
        killed.shutdown().await;
        drop(killed);

        cluster.members.push(Some(cluster.plan.start(3, Start::Resume).await.unwrap()));
        let transaction = sign(cluster.member(0).replica(), &party, 1, harmless(&party));
        let digest = cluster.member(0).submit(transaction).await.unwrap();
        let last = cluster.find(0, &digest, 1).await;
        tokio::select! {
            () = cluster.agree(last) => {}
            halt = cluster.member(3).halted() => panic!("it stopped by itself: {halt}"),
        }
    });
}

/// A store that forgets that a party has sent more than three transactions: with it, a replica's transition is another than everybody else's.
struct Twisted {
    store: MemoryStore,
    nonce: Vec<u8>,
}

impl LedgerStore for Twisted {
    fn view(&self) -> Result<Box<dyn StoreView>, StoreError> {
        self.store.view()
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut kept = Batch::default();
        for (table, mut writes) in batch.into_tables() {
            if table == Table::State {
                writes.retain(|key, value| {
                    let count = value.as_deref().and_then(|bytes| codec::decode::<u64>(bytes, 8).ok());
                    *key != self.nonce || count.is_none_or(|count| count <= 3)
                });
            }
            kept.extend(table, writes);
        }
        self.store.commit(kept)
    }
}

#[test]
fn whoever_computes_something_else_stops_and_says_so() {
    run(180, async {
        let mut cluster = Cluster::start(4).await;
        let party = identity(10);
        cluster.members[3].take().unwrap().shutdown().await;
        let nonce = codec::encode(&StateKey::Nonce(party.party()));
        let twisted = Arc::new(Twisted { store: MemoryStore::default(), nonce });
        let replica = Arc::new(Replica::open(twisted, &cluster.plan.genesis()).unwrap());
        let keys = Arc::new(cluster.plan.keys().validator(3));
        let config = cluster.plan.config(3, Start::Resume);
        let other = Malachite::start(replica, keys, clock(), config).await.unwrap();

        let party = cluster.enrol(0, 10).await;
        let mut last = 1;
        for number in 1..10 {
            let transaction = sign(cluster.member(0).replica(), &party, number, harmless(&party));
            let digest = cluster.member(0).submit(transaction).await.unwrap();
            last = cluster.find(0, &digest, last).await;
        }
        let halt = other.halted().await;
        assert!(matches!(*halt, Halt::Diverged { .. }), "{halt}");
        assert!(matches!(other.committed(last).await, Err(ConsensusError::Stopped)));
        cluster.agree(last).await;
    });
}

#[test]
fn a_validator_does_not_start_without_its_journal() {
    run(180, async {
        let mut cluster = Cluster::start(4).await;
        let party = cluster.enrol(0, 10).await;
        cluster.member(3).committed(8).await.unwrap();
        cluster.members[3].take().unwrap().shutdown().await;
        std::fs::remove_dir_all(cluster.plan.folder(3).join("journal")).unwrap();
        for start in [Start::Resume, Start::First] {
            let refused = cluster.plan.start(3, start).await;
            assert!(matches!(refused, Err(StartError::JournalLost(_))), "{start:?}");
        }
        // With its ledger lost too, nothing here tells that the key is not new: but the chain does.
        std::fs::remove_dir_all(cluster.plan.folder(3)).unwrap();
        let again = cluster.plan.start(3, Start::First).await.unwrap();
        let halt = again.halted().await;
        assert!(matches!(*halt, Halt::VotedBefore { .. }), "{halt}");
        again.shutdown().await;
        drop(again);
        // It may watch.
        std::fs::remove_dir_all(cluster.plan.folder(3)).unwrap();
        cluster.members[3] = Some(cluster.plan.start(3, Start::Watch).await.unwrap());
        cluster.member(3).committed(8).await.unwrap();
        let transaction = sign(cluster.member(0).replica(), &party, 1, harmless(&party));
        let digest = cluster.member(3).submit(transaction).await.unwrap();
        let height = cluster.find(3, &digest, 1).await;
        cluster.agree(height).await;
    });
}
