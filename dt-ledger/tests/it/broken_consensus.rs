//! The conformance suite of the consensus finds what is wrong with adapters that break its contract.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dt_ledger::testing::consensus_suite;
use dt_ledger::{CommittedBlock, Consensus, ConsensusError, Replica, Solo, Status, Transaction};
use dt_model::{Digest, Envelope, Signer, Timestamp, codec};

/// What an adapter does wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// It takes whatever it is given, and drops what is not admissible later.
    TakesAll,
    /// It tells the block after the one that was asked for.
    Skips,
    /// It takes only what can be committed next: a sender has to wait for his block each time.
    NoQueue,
    /// After a restart, it tells otherwise of what was.
    Rewrites,
    /// It does not know yet what is committed.
    StatusBehind,
}

struct Broken {
    fault: Fault,
    solo: Solo,
    /// Which start this is.
    start: usize,
    /// Taken, and not ordered yet.
    held: Mutex<Option<Envelope<Transaction>>>,
}

impl Broken {
    async fn order_held(&self) {
        let held = self.held.lock().unwrap().take();
        if let Some(transaction) = held {
            let _ = self.solo.submit(transaction).await;
        }
    }
}

#[async_trait]
impl Consensus for Broken {
    async fn submit(&self, transaction: Envelope<Transaction>) -> Result<Digest, ConsensusError> {
        let digest = transaction.digest();
        match self.fault {
            Fault::TakesAll => {
                let _ = self.solo.submit(transaction).await;
                Ok(digest)
            }
            Fault::NoQueue => {
                let now = self.solo.replica().tip().time;
                self.solo.replica().admit(&codec::encode(&transaction).into(), now)?;
                self.order_held().await;
                *self.held.lock().unwrap() = Some(transaction);
                Ok(digest)
            }
            _ => self.solo.submit(transaction).await,
        }
    }

    async fn committed(&self, height: u64) -> Result<Arc<CommittedBlock>, ConsensusError> {
        self.order_held().await;
        match self.fault {
            Fault::Skips => self.solo.committed(height + 1).await,
            Fault::Rewrites if self.start > 1 && height == 3 => {
                let mut block = CommittedBlock::clone(&*self.solo.committed(height).await?);
                block.block.transactions.clear();
                Ok(Arc::new(block))
            }
            _ => self.solo.committed(height).await,
        }
    }

    fn status(&self) -> Status {
        let Status { height, pending } = self.solo.status();
        match self.fault {
            Fault::StatusBehind => Status { height: height.saturating_sub(1), pending },
            _ => Status { height, pending },
        }
    }
}

/// The sentence with which the suite ends, or that it took too long; nothing if it was content.
fn verdict(fault: Fault) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let starts = std::cell::Cell::new(0);
    let make = async |replica: Arc<Replica>, signer: Arc<dyn Signer>| {
        starts.set(starts.get() + 1);
        let clock = Arc::new(|| Timestamp::from_millis(1));
        let solo = Solo::new(replica, signer, clock);
        let broken = Broken { fault, solo, start: starts.get(), held: Mutex::default() };
        Arc::new(broken) as Arc<dyn Consensus>
    };
    let suite = AssertUnwindSafe(|| {
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), consensus_suite(make)).await })
    });
    match std::panic::catch_unwind(suite) {
        Ok(Ok(())) => None,
        Ok(Err(_)) => Some("it waits for ever".into()),
        Err(panic) => Some(
            panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
                .unwrap(),
        ),
    }
}

#[test]
fn the_suite_finds_them() {
    let expected = [
        (Fault::TakesAll, "is refused"),
        (Fault::Skips, "a height is what it was asked for"),
        (Fault::NoQueue, "a sender's next is taken after the one before"),
        (Fault::Rewrites, "a restart neither loses, skips, repeats nor changes a height"),
        (Fault::StatusBehind, "the status tells what is committed"),
    ];
    for (fault, sentence) in expected {
        let verdict = verdict(fault).unwrap_or_else(|| panic!("the suite is content with {fault:?}"));
        assert!(verdict.contains(sentence), "{fault:?}: {verdict}");
    }
}
