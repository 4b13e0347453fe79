//! Validators that are killed, wiped and named anew while transactions go on.

use std::time::Duration;

use dt_ledger::{Call, Consensus as _, Verifier};
use dt_model::{PartyId, Signer as _, Timestamp};
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::{clock, run};
use crate::fleet::{Fleet, Load, Task};

/// Waits until nothing has been committed for so long.
async fn stands_still(fleet: &Fleet, long: Duration) {
    let (mut height, mut since) = (fleet.height(), Instant::now());
    while since.elapsed() < long {
        sleep(Duration::from_millis(50)).await;
        if fleet.height() != height {
            (height, since) = (fleet.height(), Instant::now());
        }
    }
}

/// Waits until a block has a vote of the validator.
async fn votes(fleet: &Fleet, validator: PartyId) {
    for height in fleet.height() + 1.. {
        let block = timeout(Duration::from_secs(120), fleet.watcher.committed(height));
        let block = block.await.expect("the chain grows").unwrap();
        if block.certificate.votes.iter().any(|vote| vote.signer() == validator) {
            return;
        }
    }
}

#[test]
fn killed_and_back() {
    run(300, async {
        let mut fleet = Fleet::start(4, 0).await;
        let party = fleet.enrol(10).await;
        let load = Load::start(&fleet.watcher, party);
        load.progress(&mut fleet).await;

        // One of four is killed: the others go on.
        fleet.kill(3);
        load.progress(&mut fleet).await;
        fleet.grow(10).await;
        fleet.spawn(3, Task::default());
        load.progress(&mut fleet).await;

        // All of them: what was committed is there, and what was not goes on.
        for member in 0..4 {
            fleet.kill(member);
        }
        for member in 0..4 {
            fleet.spawn(member, Task::default());
        }
        load.progress(&mut fleet).await;

        // Two of four: nothing grows until one is back.
        fleet.kill(0);
        fleet.kill(1);
        // What was under way comes to its end first; then an idle chain of three would grow six times.
        stands_still(&fleet, Duration::from_secs(2)).await;
        let stuck = fleet.height();
        sleep(Duration::from_secs(3)).await;
        assert_eq!(fleet.height(), stuck, "two of four commit nothing");
        fleet.spawn(0, Task::default());
        fleet.spawn(1, Task::default());
        load.progress(&mut fleet).await;
        load.finish(&mut fleet).await;
        fleet.finish().await;
    });
}

#[test]
fn a_lost_disk_is_filled_again() {
    run(300, async {
        let mut fleet = Fleet::start(4, 0).await;
        let party = fleet.enrol(10).await;
        let load = Load::start(&fleet.watcher, party);
        fleet.grow(5).await;

        // By blocks, as one who watches: its journal is gone, so it does not vote.
        fleet.wipe(3);
        fleet.spawn(3, Task { watch: true, ..Task::default() });
        fleet.grow(5).await;

        // By an image: the others have removed their old blocks meanwhile.
        for member in 0..3 {
            fleet.kill(member);
            fleet.spawn(member, Task { prune: true, ..Task::default() });
            fleet.grow(3).await;
        }
        fleet.wipe(3);
        fleet.spawn(3, Task { watch: true, restore: true, ..Task::default() });
        load.progress(&mut fleet).await;
        load.finish(&mut fleet).await;
        fleet.finish().await;
    });
}

#[test]
fn validators_come_and_go_by_transaction() {
    run(300, async {
        let mut fleet = Fleet::start(4, 1).await;
        let keys = fleet.plan.keys();
        let key = |number: u64| keys.validator(number).party();
        fleet.spawn(4, Task::default());
        fleet.grow(2).await;
        fleet
            .execute(&keys.authority(0), vec![Call::SetValidators { validators: vec![key(0), key(4)] }])
            .await;
        fleet.grow(3).await;
        let named = fleet.watcher.replica().tip().validators;
        assert!(named.contains(&key(4)) && !named.contains(&key(2)) && named.len() == 4);
        // It takes part: its key stands under a block, by its own hand, as do those of the others.
        votes(&fleet, key(4)).await;
        // The new one is needed now: of four, one is gone.
        fleet.kill(2);
        fleet.kill(1);
        fleet.grow(5).await;
        fleet.spawn(1, Task::default());
        fleet.execute(&keys.authority(0), vec![Call::SetValidators { validators: vec![key(0)] }]).await;
        fleet.grow(3).await;
        assert_eq!(fleet.watcher.replica().tip().validators.len(), 3);
        // It is needed no more, and whoever was named no more has no say.
        fleet.kill(4);
        votes(&fleet, key(0)).await;
        fleet.grow(5).await;
        let (_, votes) = fleet.watcher.replica().header(fleet.height()).unwrap().unwrap();
        assert!(votes.votes.iter().all(|vote| vote.signer() != key(4) && vote.signer() != key(2)));
        // Whoever trusts the genesis alone follows the changes.
        let replica = fleet.watcher.replica();
        let mut verifier = Verifier::new(replica.genesis());
        for change in replica.validator_changes(2).unwrap() {
            let (header, votes) = replica.header(change - 1).unwrap().unwrap();
            verifier.advance(&header, &votes, replica.validators(change).unwrap().unwrap()).unwrap();
        }
        let (header, votes) = replica.header(replica.tip().height).unwrap().unwrap();
        verifier.header(&header, &votes).unwrap();
        fleet.finish().await;
    });
}

#[test]
fn a_proposer_of_invalid_blocks_is_passed_over_and_rests() {
    run(300, async {
        let mut fleet = Fleet::start(4, 0).await;
        fleet.grow(2).await;
        fleet.kill(3);
        fleet.spawn(3, Task { ahead: 3_600_000, ..Task::default() });
        // One of four may rest: he, unless another was late when all of them started.
        let late = fleet.watcher.replica().tip().resting;
        fleet.grow(12).await;
        let tip = fleet.watcher.replica().tip();
        let liar = fleet.plan.keys().validator(3).party();
        let rests = tip.resting.iter().any(|rest| rest.validator == liar);
        assert!(rests || !late.is_empty(), "its turns are left out: {:?}", tip.resting);
        assert!(
            tip.time < clock()().saturating_add(Duration::from_secs(60))
                && tip.time > Timestamp::from_millis(0)
        );
        fleet.finish().await;
    });
}
