//! Repair and anti-entropy: what a node lacks comes back, and liars cost no more than their share.

use core::time::Duration;

use dt_dht::testing::Fault;
use dt_dht::{
    BlobRef, LEASE, Pace, Rate, RequestBody, Step, Transport, Upkeep, UpkeepReport, Validator, verify_store,
};
use dt_model::testing::SeedRng;

use super::*;

/// As fast as can be, since time stands still.
pub(crate) const FAST: Pace = Pace {
    requests: Rate { per_second: u32::MAX, burst: u32::MAX },
    bytes: Rate { per_second: u32::MAX, burst: u32::MAX },
    pause: Duration::from_secs(3600),
};

fn upkeep(network: &Network, node: &Identity) -> Upkeep {
    upkeep_through(network, node, network.faulty().clone())
}

pub(super) fn upkeep_through(network: &Network, node: &Identity, transport: Arc<dyn Transport>) -> Upkeep {
    Upkeep::new(network.replica(&node.party()).clone(), transport, SeedRng::new(9), FAST)
}

/// Steps until there is nothing to do for now.
pub(super) async fn run(upkeep: &mut Upkeep, network: &Network) -> usize {
    for steps in 0..100_000 {
        if let Step::Wait(_) = upkeep.step(network.now()).await.unwrap() {
            return steps;
        }
    }
    panic!("it never rests: {:?}", upkeep.report());
}

/// After so many steps `node`, of which `task` is the upkeep, holds what an honest node holds, and has compared itself with all but k.
pub(super) async fn catches_up(
    task: &mut Upkeep,
    network: &Network,
    node: &Identity,
    steps: usize,
    against: &str,
) {
    for _ in 0..steps {
        task.step(network.now()).await.unwrap();
    }
    let [found, expected] = [node, &*network.nodes()[1]].map(|node| address_rows(network, node));
    assert_eq!(found, expected, "{against}: {:?}", task.report());
    assert!(task.has_taken_over().unwrap(), "{against}: all but k have been compared with");
    audit(network);
}

/// The rows that say what lies at addresses.
pub(super) fn address_rows(network: &Network, node: &Identity) -> Vec<dt_dht::Row> {
    network.replica(&node.party()).store().scan(b"l", None, 100_000).unwrap()
}

pub(super) fn stop(network: &Network, at: usize) {
    network.in_process().stop(&network.nodes()[at].party());
}

pub(super) fn start(network: &Network, at: usize) {
    network.in_process().start(&network.nodes()[at].party());
}

#[tokio::test]
async fn what_a_node_missed_comes_back() {
    let network = network(1);
    let writer = client(&network, WRITER);
    writer.put(&owned("a", 1, "old"), network.now()).await.unwrap();
    stop(&network, 2);
    for at in 0..1500 {
        writer.put(&sized(WRITER, &format!("n{at}"), 1, 3), network.now()).await.unwrap();
    }
    writer.put(&owned("a", 2, "new"), network.now()).await.unwrap();
    writer.put(&sized(WRITER, "twice", 1, 3), network.now()).await.unwrap();
    writer.put(&sized(WRITER, "twice", 1, 4), network.now()).await.unwrap_err();
    let blob = writer.put_blob(&[5; 100_000], network.now()).await.unwrap();
    start(&network, 2);

    let node = network.nodes()[2].clone();
    let mut task = upkeep(&network, &node);
    run(&mut task, &network).await;
    assert_eq!(address_rows(&network, &node), address_rows(&network, &network.nodes()[1]));
    let report = verify_store(&**network.replica(&node.party()).store()).unwrap();
    assert_eq!((report.records, report.evidence, report.shards), (1502, 1, 1));
    assert_eq!(task.report().repaired, 1504);
    assert!(task.has_taken_over().unwrap());
    // Its shard counts: the blob is restored from it and one other.
    for at in [0, 1] {
        stop(&network, at);
    }
    client(&network, READER).get_blob(&blob, network.now()).await.unwrap();
    audit(&network);
}

#[tokio::test]
async fn nodes_that_agree_exchange_a_digest_each() {
    let network = network(1);
    let writer = client(&network, WRITER);
    for at in 0..300 {
        writer.put(&sized(WRITER, &format!("n{at}"), 1, 3), network.now()).await.unwrap();
    }
    let mut task = upkeep(&network, &network.nodes()[0]);
    let steps = run(&mut task, &network).await;
    assert_eq!(task.report(), UpkeepReport::default());
    assert!(steps <= 12, "{steps} steps");
}

#[tokio::test]
async fn leases_are_brought_up_to_date_and_what_expired_does_not_come_back() {
    let network = network(1);
    let writer = client(&network, WRITER);
    for name in ["kept", "lost"] {
        writer.put(&owned(name, 1, "x"), network.now()).await.unwrap();
    }
    stop(&network, 0);
    network.advance(LEASE / 2);
    writer.put(&owned("kept", 1, "x"), network.now()).await.unwrap();
    start(&network, 0);
    let node = network.nodes()[0].clone();
    let mut task = upkeep(&network, &node);
    run(&mut task, &network).await;
    assert_eq!(task.report(), UpkeepReport { renewed: 1, ..UpkeepReport::default() });
    network.advance(LEASE / 2);
    let replica = network.replica(&node.party());
    assert_eq!(replica.sweep(None, 100, network.now()).unwrap().removed, 1);
    // The others have not swept yet.
    run(&mut task, &network).await;
    assert_eq!(held(&network, &node, owned("lost", 1, "x").key), None);
    assert_eq!(held(&network, &node, owned("kept", 1, "x").key), Some(owned("kept", 1, "x")));
}

/// A kind whose versions must follow each other: what went by is gone everywhere, and k + 1 replicas vouch for what is there.
#[tokio::test]
async fn a_record_that_the_validator_cannot_judge_any_more_is_taken_from_enough_replicas() {
    let validators: [Arc<dyn Validator>; 1] = [Arc::new(Chained)];
    let network = with_nodes(Resilience::tolerating(1).unwrap(), 4, &validators);
    let (writer, signer) = (client(&network, WRITER), identity(WRITER));
    stop(&network, 3);
    for version in 1..=5 {
        writer.put(&plain(Chained::KIND, &signer, version, "x"), network.now()).await.unwrap();
    }
    start(&network, 3);
    let node = network.nodes()[3].clone();
    run(&mut upkeep(&network, &node), &network).await;
    let newest = plain(Chained::KIND, &signer, 5, "x");
    assert_eq!(held(&network, &node, newest.key), Some(newest));
}

/// A writer who contradicts himself, and a liar, do not bring a node to give up what it has receipted; so many do that every quorum has an
/// honest one among them.
#[tokio::test]
async fn what_a_node_has_receipted_is_not_given_up_for_what_it_cannot_judge() {
    let validators: [Arc<dyn Validator>; 1] = [Arc::new(Chained)];
    let network = with_nodes(Resilience::tolerating(1).unwrap(), 4, &validators);
    let signer = identity(WRITER);
    let (his, other) = (plain(Chained::KIND, &signer, 1, "x"), |at| plain(Chained::KIND, &signer, at, "y"));
    let give = |node: usize, record: &Signed<Record>| {
        let reply = ask(&network, WRITER, &network.nodes()[node], put(record));
        assert!(matches!(reply, ReplyBody::Stored { .. }), "{reply:?}");
    };
    [2, 3].into_iter().for_each(|node| give(node, &his));
    [0, 1].into_iter().for_each(|node| (1..=3).for_each(|at| give(node, &other(at))));
    let node = network.nodes()[3].clone();
    run(&mut upkeep(&network, &node), &network).await;
    assert_eq!(held(&network, &node, his.key), Some(his.clone()), "two hold it, of which one may lie");
    (2..=3).for_each(|at| give(2, &other(at)));
    network.advance(FAST.pause);
    run(&mut upkeep(&network, &node), &network).await;
    assert_eq!(held(&network, &node, his.key), Some(other(3)));
}

/// A blob that its writer encoded inconsistently is found out once, and left alone afterwards.
#[tokio::test]
async fn a_bad_encoding_is_remembered() {
    let network = network(1);
    let blob = bad_blob(&network);
    let at = network.replicas(&blob.address());
    let node = at[3].clone();
    let mut task = upkeep(&network, &node);
    run(&mut task, &network).await;
    assert_eq!((task.report().repaired, task.report().refused), (0, 1));
    for _ in 0..3 {
        network.advance(FAST.pause);
        run(&mut task, &network).await;
    }
    assert_eq!(task.report().refused, 1);
    let mut again = upkeep(&network, &node);
    run(&mut again, &network).await;
    assert_eq!(again.report(), UpkeepReport::default());
    audit(&network);
}

/// Puts shards of which no content has all, at the first three replicas.
fn bad_blob(network: &Network) -> BlobRef {
    let resilience = network.membership().resilience();
    let (good, mut shards) = dt_dht::encode_stripe(&[3; 1000], resilience).unwrap();
    let (other, others) = dt_dht::encode_stripe(&[4; 1000], resilience).unwrap();
    shards[2].clone_from(&others[2]);
    let mut digests = good.shards().to_vec();
    digests[2] = other.shards()[2];
    let bytes = borsh::to_vec(&(1000u64, 2u16, digests)).unwrap();
    let blob: BlobRef = borsh::from_slice(&bytes).unwrap();
    for (index, node) in (0u16..3).zip(network.replicas(&blob.address())) {
        let shard = shards[usize::from(index)].clone().into();
        let body = RequestBody::PutShard { blob: blob.clone(), index, shard };
        assert!(is_stored(&ask(network, WRITER, &node, body)));
    }
    blob
}

#[tokio::test]
async fn liars_cost_their_own_share() {
    for fault in [Fault::Garbage, Fault::Silent, Fault::ForgedNewer, Fault::Replay, Fault::Zeros] {
        let network = network(1);
        let writer = client(&network, WRITER);
        stop(&network, 2);
        for at in 0..20 {
            writer.put(&sized(WRITER, &format!("n{at}"), 1, 3), network.now()).await.unwrap();
        }
        start(&network, 2);
        network.corrupt(&network.nodes()[0], fault);
        let node = network.nodes()[2].clone();
        let mut task = upkeep(&network, &node);
        catches_up(&mut task, &network, &node, 200, &format!("{fault:?}")).await;
    }
}

/// The rate counts by the time that is passed in.
#[tokio::test]
async fn the_pace_is_kept() {
    let network = network(1);
    let writer = client(&network, WRITER);
    stop(&network, 2);
    for at in 0..50 {
        writer.put(&sized(WRITER, &format!("n{at}"), 1, 3), network.now()).await.unwrap();
    }
    start(&network, 2);
    let pace = Pace { requests: Rate { per_second: 5, burst: 5 }, ..FAST };
    let replica = network.replica(&network.nodes()[2].party()).clone();
    let mut task = Upkeep::new(replica, network.faulty().clone(), SeedRng::new(9), pace);
    let started = network.now();
    let mut steps = 0u32;
    while !task.has_taken_over().unwrap() {
        match task.step(network.now()).await.unwrap() {
            Step::Worked => steps += 1,
            Step::Wait(time) => network.advance(time),
        }
    }
    let seconds = network.now().since(started).as_secs();
    assert!(seconds >= 9, "{steps} steps in {seconds} s");
}

/// A node that crashes at any write goes on afterwards, and ends with what the others have.
#[tokio::test]
async fn repair_goes_on_after_a_crash_at_every_write() {
    for writes in [0, 1, 2, 3, 5, 8, 13, 21, 34] {
        let memories: Vec<Arc<MemoryStore>> = (0..4).map(|_| Arc::new(MemoryStore::new())).collect();
        let parties = || [identity(WRITER).party(), identity(READER).party()];
        let resilience = Resilience::tolerating(1).unwrap();
        let with = |stores: Vec<Arc<dyn RecordStore>>| {
            Network::with_stores(resilience, stores, parties(), &[Arc::new(OwnedRecords)])
        };
        let first = with(memories.iter().cloned().map(|store| store as _).collect());
        stop(&first, 2);
        let writer = client(&first, WRITER);
        for at in 0..20 {
            writer.put(&sized(WRITER, &format!("n{at}"), 1, 3), first.now()).await.unwrap();
        }
        writer.put_blob(&[1; 3000], first.now()).await.unwrap();
        let dying = |at: usize, store: &Arc<MemoryStore>| -> Arc<dyn RecordStore> {
            if at == 2 { Arc::new(Dying::new(store.clone(), writes)) } else { store.clone() }
        };
        let network = with(memories.iter().enumerate().map(|(at, store)| dying(at, store)).collect());
        let mut task = upkeep(&network, &network.nodes()[2]);
        while task.step(network.now()).await.is_ok_and(|step| step == Step::Worked) {}
        verify_store(&*memories[2]).unwrap();

        let network = with(memories.iter().cloned().map(|store| store as _).collect());
        let mut task = upkeep(&network, &network.nodes()[2]);
        run(&mut task, &network).await;
        assert_eq!(address_rows(&network, &network.nodes()[2]), address_rows(&network, &network.nodes()[1]));
        audit(&network);
    }
}
