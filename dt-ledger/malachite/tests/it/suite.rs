//! The conformance suite of `dt_ledger::testing`, for a chain with one validator.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use dt_ledger::testing::consensus_suite;
use dt_ledger::{CommittedBlock, Consensus, ConsensusError, Replica, Status, Transaction};
use dt_ledger_malachite::{Malachite, Start};
use dt_model::{Digest, Envelope, Signer};

use crate::cluster::{Plan, clock, run};

/// A node that somebody else can stop before another one takes its folder and ports.
struct Shared(Arc<Malachite>);

#[async_trait]
impl Consensus for Shared {
    async fn submit(&self, transaction: Envelope<Transaction>) -> Result<Digest, ConsensusError> {
        self.0.submit(transaction).await
    }

    async fn committed(&self, height: u64) -> Result<Arc<CommittedBlock>, ConsensusError> {
        self.0.committed(height).await
    }

    fn status(&self) -> Status {
        self.0.status()
    }
}

#[test]
fn the_conformance_suite_passes() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::new(folder.path().into(), 1, 1);
    // The suite's validator has voted already, for the blocks that the suite makes itself: as if its journal were empty by now.
    std::fs::create_dir_all(plan.folder(0).join("journal")).unwrap();
    std::fs::write(plan.folder(0).join("journal").join("wal"), b"").unwrap();
    let former: Mutex<Option<Arc<Malachite>>> = Mutex::default();
    let make = async |replica: Arc<Replica>, keys: Arc<dyn Signer>| {
        let before = former.lock().unwrap().take();
        if let Some(before) = before {
            before.shutdown().await;
        }
        let node = Malachite::start(replica, keys, clock(), plan.config(0, Start::Resume)).await.unwrap();
        let node = Arc::new(node);
        *former.lock().unwrap() = Some(Arc::clone(&node));
        Arc::new(Shared(node)) as Arc<dyn Consensus>
    };
    run(180, consensus_suite(make));
}
