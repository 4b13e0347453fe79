//! Validators in one process agree.

use dt_ledger::{Consensus as _, Verifier};
use dt_ledger_malachite::Start;

use crate::cluster::*;

#[test]
fn four_validators_commit_what_any_of_them_is_given() {
    run(60, async {
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

#[test]
fn a_validator_that_was_away_catches_up_by_blocks() {
    run(60, async {
        let mut cluster = Cluster::start(4).await;
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
