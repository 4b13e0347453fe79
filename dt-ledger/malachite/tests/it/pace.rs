//! How the chain is paced: under load transactions are gathered, and whoever hands in one after the other waits for none of it.

use std::time::Duration;

use dt_ledger::Consensus as _;
use dt_ledger_malachite::Pace;

use crate::cluster::{Cluster, harmless, quick, run, sign};

/// After a block of more than these the next one waits for more.
const FEW: usize = 4;
/// More of them.
const MANY: u64 = 8;

#[test]
fn under_load_blocks_are_begun_one_after_the_other() {
    const BLOCKS: u64 = 8;
    run(180, async {
        let gather = Duration::from_millis(300);
        let cluster = Cluster::paced(1, Pace { gather, ..quick() }).await;
        let party = cluster.enrol(0, 10).await;
        let (node, mut next, mut loaded) = (cluster.member(0), 1, Vec::new());
        for height in node.status().height + 1.. {
            for number in next..next + MANY {
                node.submit(sign(node.replica(), &party, number, harmless(&party))).await.unwrap();
            }
            next += MANY;
            let block = node.committed(height).await.unwrap();
            if block.receipts.len() > FEW {
                loaded.push(block.block.header.time);
            }
            if loaded.len() as u64 > BLOCKS {
                break;
            }
        }
        // A block's time is that at which it was made, somewhat after it was begun: hence one less.
        let took = loaded.last().unwrap().since(loaded[0]);
        assert!(took >= gather * u32::try_from(BLOCKS - 1).unwrap(), "{BLOCKS} blocks in {took:?}");
    });
}

#[test]
fn one_transaction_after_the_other_is_not_gathered() {
    run(60, async {
        let never = Duration::from_secs(3600);
        let cluster = Cluster::paced(1, Pace { gather: never, idle: never, ..quick() }).await;
        let party = cluster.enrol(0, 10).await;
        let (node, mut height) = (cluster.member(0), 1);
        for number in 1..10 {
            let transaction = sign(node.replica(), &party, number, harmless(&party));
            let digest = node.submit(transaction).await.unwrap();
            height = cluster.find(0, &digest, height).await;
        }
    });
}
