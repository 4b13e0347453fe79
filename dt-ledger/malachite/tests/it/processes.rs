//! Validators as processes of their own, which are killed, wiped and named anew while transactions go on.
//!
//! The test binary runs itself again for each validator ([`child`]); the test itself is a participant that watches, hands in and compares.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dt_ledger::{Call, Consensus as _, LedgerStore, Replica, Verifier, audit};
use dt_ledger_malachite::{Malachite, Start, restore};
use dt_model::testing::identity;
use dt_model::{Digest, Identity, Signer as _, Timestamp};
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::{Plan, clock, compare, harmless, nonce, quick, run, sign};

/// What a child is told: its number, the plan, and what is special about it.
const TASK: &str = "DT_MALACHITE_TASK";

#[derive(Debug, Clone, Copy, Default)]
struct Task {
    watch: bool,
    /// Removes old blocks first.
    prune: bool,
    /// Begins with an image from the others, in an empty store.
    restore: bool,
    /// Its clock is ahead: so nobody accepts what it proposes.
    ahead: u64,
}

/// Not a test: what a child process does.
#[test]
#[ignore = "it is what the other tests start as a process"]
fn child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let words: Vec<&str> = task.split(' ').collect();
    let [member, validators, ports, watch, prune, restores, ahead, folder] = words[..] else {
        panic!("{task}")
    };
    let number = |word: &str| word.parse::<u64>().unwrap();
    let ports: Vec<u16> = ports.split(',').map(|port| port.parse().unwrap()).collect();
    let plan = Plan {
        folder: PathBuf::from(folder),
        validators: number(validators),
        ports: ports.chunks(2).map(|pair| (pair[0], pair[1])).collect(),
        pace: quick(),
    };
    let member = usize::try_from(number(member)).unwrap();
    run(900, async {
        let start = match (watch == "true", plan.folder(member).join("journal/wal").exists()) {
            (true, _) => Start::Watch,
            (false, true) => Start::Resume,
            (false, false) => Start::First,
        };
        let config = plan.config(member, start);
        let store: Arc<dyn LedgerStore> = Arc::new(plan.store(member));
        if restores == "true" {
            restore(Arc::clone(&store), &plan.genesis(), &config).await.unwrap();
        }
        let replica = Arc::new(Replica::open(store, &plan.genesis()).unwrap());
        if prune == "true" {
            replica.prune(replica.tip().height).unwrap();
        }
        let ahead = Duration::from_millis(number(ahead));
        let clock = clock();
        let clock = Arc::new(move || clock().saturating_add(ahead));
        let keys = Arc::new(plan.keys().validator(member as u64));
        let node = Malachite::start(replica, keys, clock, config).await.unwrap();
        let standing = standing(&plan, member);
        tokio::select! {
            halt = node.halted() => {
                eprintln!("member {member} halted: {halt}");
                std::process::exit(3);
            }
            () = tell(&node, &standing) => {}
        }
    });
}

/// Where a child says how far it has come.
fn standing(plan: &Plan, member: usize) -> PathBuf {
    plan.folder(member).join("height")
}

/// Says how far the node has come, block after block, until it stops.
async fn tell(node: &Malachite, to: &Path) {
    let mut height = node.status().height;
    loop {
        std::fs::write(to, height.to_string()).unwrap();
        if node.committed(height + 1).await.is_err() {
            // Why, the other one tells.
            std::future::pending::<()>().await;
        }
        height += 1;
    }
}

/// Validators as children, and a participant that watches.
struct Fleet {
    plan: Plan,
    children: Vec<Option<Child>>,
    watcher: Arc<Malachite>,
    _folder: tempfile::TempDir,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Fleet {
    /// So many validators, room for `more`, and the watcher.
    async fn start(validators: u64, more: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let members = usize::try_from(validators + more).unwrap();
        let plan = Plan::new(folder.path().into(), validators, members + 1);
        let mut fleet = Self {
            children: (0..members).map(|_| None).collect(),
            watcher: Arc::new(plan.start(members, Start::Watch).await.unwrap()),
            plan,
            _folder: folder,
        };
        for member in 0..usize::try_from(validators).unwrap() {
            fleet.spawn(member, Task::default());
        }
        fleet
    }

    fn spawn(&mut self, member: usize, task: Task) {
        let ports: Vec<String> =
            self.plan.ports.iter().map(|(one, other)| format!("{one},{other}")).collect();
        let Task { watch, prune, restore, ahead } = task;
        let words = format!(
            "{member} {} {} {watch} {prune} {restore} {ahead} {}",
            self.plan.validators,
            ports.join(","),
            self.plan.folder.display()
        );
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::child", "--ignored", "--nocapture"])
            .env(TASK, words)
            .stdout(Stdio::null())
            .spawn();
        self.children[member] = Some(child.unwrap());
    }

    /// kill -9.
    fn kill(&mut self, member: usize) {
        let mut child = self.children[member].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn wipe(&mut self, member: usize) {
        self.kill(member);
        std::fs::remove_dir_all(self.plan.folder(member)).unwrap();
    }

    fn height(&self) -> u64 {
        self.watcher.status().height
    }

    /// Waits for so many blocks.
    async fn grow(&self, blocks: u64) {
        let height = self.height() + blocks;
        timeout(Duration::from_secs(120), self.watcher.committed(height))
            .await
            .expect("the chain grows")
            .unwrap();
    }

    /// Submits and waits until the transaction is committed.
    async fn execute(&self, party: &Identity, calls: Vec<Call>) -> Digest {
        let from = self.height() + 1;
        let transaction = sign(self.watcher.replica(), party, nonce(self.watcher.replica(), party), calls);
        let digest = self.watcher.submit(transaction).await.unwrap();
        for height in from.. {
            let block = timeout(Duration::from_secs(120), self.watcher.committed(height))
                .await
                .expect("in time")
                .unwrap();
            if block.receipts.iter().any(|receipt| receipt.transaction == digest) {
                return digest;
            }
        }
        unreachable!()
    }

    async fn enrol(&self, seed: u64) -> Identity {
        let party = identity(seed);
        let certificate = self.plan.keys().certificate(seed, &party);
        self.execute(&party, vec![Call::Register { certificate }]).await;
        party
    }

    /// Lets everybody come to where we are, stops them all, and compares what is on their disks.
    async fn finish(mut self) {
        let height = self.height();
        let members: Vec<usize> =
            (0..self.children.len()).filter(|member| self.children[*member].is_some()).collect();
        // All have what was committed, or get it from the others, once there are no more faults.
        let begun = Instant::now();
        let has_come = |member: &usize| {
            let told = std::fs::read_to_string(standing(&self.plan, *member)).unwrap_or_default();
            told.parse::<u64>().is_ok_and(|told| told >= height)
        };
        while !members.iter().all(has_come) && begun.elapsed() < Duration::from_secs(120) {
            sleep(Duration::from_millis(100)).await;
        }
        for member in &members {
            self.kill(*member);
        }
        self.watcher.shutdown().await;
        let genesis = self.plan.genesis();
        let opened =
            |member: usize| Arc::new(Replica::open(Arc::new(self.plan.store(member)), &genesis).unwrap());
        let replicas: Vec<_> = members.iter().map(|member| opened(*member)).collect();
        let mut all: Vec<&Arc<Replica>> = replicas.iter().collect();
        for (member, replica) in members.iter().zip(&replicas) {
            assert!(
                replica.tip().height >= height,
                "member {member} has come to {}, not {height}",
                replica.tip().height
            );
            if replica.first_block().unwrap() == 1 {
                audit(&**replica.store(), &genesis, &mut |_| {}).unwrap();
            }
        }
        all.push(self.watcher.replica());
        compare(&all, height);
    }
}

/// Hands in transactions of some parties until it is told to stop; how many are committed, all of which are then looked up.
struct Load {
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<Vec<Digest>>,
}

impl Load {
    fn start(watcher: &Arc<Malachite>, party: Identity) -> Self {
        let (stop, committed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (node, stopped, counter) = (Arc::clone(watcher), Arc::clone(&stop), Arc::clone(&committed));
        let task = tokio::spawn(async move {
            let (mut next, mut digests) = (nonce(node.replica(), &party), Vec::new());
            while !stopped.load(Ordering::SeqCst) {
                let transaction = sign(node.replica(), &party, next, harmless(&party));
                if let Ok(digest) = node.submit(transaction).await {
                    digests.push(digest);
                    next += 1;
                }
                counter.store(nonce(node.replica(), &party), Ordering::SeqCst);
                sleep(Duration::from_millis(20)).await;
            }
            // What was taken is committed, whoever was killed meanwhile.
            while nonce(node.replica(), &party) < next {
                sleep(Duration::from_millis(50)).await;
            }
            digests
        });
        Self { stop, committed, task }
    }

    async fn progress(&self) {
        let before = self.committed.load(Ordering::SeqCst);
        let begun = Instant::now();
        while self.committed.load(Ordering::SeqCst) < before + 5 {
            assert!(begun.elapsed() < Duration::from_secs(60), "transactions go on being committed");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Every transaction that was taken can be read.
    async fn finish(self, watcher: &Malachite) {
        self.stop.store(true, Ordering::SeqCst);
        let digests = timeout(Duration::from_secs(120), self.task).await.expect("all are committed").unwrap();
        for digest in &digests {
            assert!(
                watcher.replica().transaction(digest).unwrap().is_some(),
                "an acknowledged write is there"
            );
        }
        assert!(!digests.is_empty());
    }
}

#[test]
fn killed_and_back() {
    run(300, async {
        let mut fleet = Fleet::start(4, 0).await;
        let party = fleet.enrol(10).await;
        let load = Load::start(&fleet.watcher, party);
        load.progress().await;

        // One of four is killed: the others go on.
        fleet.kill(3);
        load.progress().await;
        fleet.grow(10).await;
        fleet.spawn(3, Task::default());
        load.progress().await;

        // All of them: what was committed is there, and what was not goes on.
        for member in 0..4 {
            fleet.kill(member);
        }
        for member in 0..4 {
            fleet.spawn(member, Task::default());
        }
        load.progress().await;

        // Two of four: nothing grows until one is back.
        fleet.kill(0);
        fleet.kill(1);
        sleep(Duration::from_secs(2)).await;
        let stuck = fleet.height();
        sleep(Duration::from_secs(3)).await;
        assert_eq!(fleet.height(), stuck, "two of four commit nothing");
        fleet.spawn(0, Task::default());
        fleet.spawn(1, Task::default());
        load.progress().await;
        load.finish(&fleet.watcher).await;
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
        load.progress().await;
        load.finish(&fleet.watcher).await;
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
        // The new one is needed now: of four, one is gone.
        fleet.kill(2);
        fleet.kill(1);
        fleet.grow(5).await;
        fleet.spawn(1, Task::default());
        fleet.execute(&keys.authority(0), vec![Call::SetValidators { validators: vec![key(0)] }]).await;
        fleet.grow(3).await;
        assert_eq!(fleet.watcher.replica().tip().validators.len(), 3);
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

/// Faults at random for as long as `DT_MALACHITE_SOAK` says, in seconds; a short while without it.
#[test]
fn soak() {
    let seconds = std::env::var("DT_MALACHITE_SOAK").ok().and_then(|word| word.parse().ok()).unwrap_or(15);
    run(seconds + 300, async {
        let mut fleet = Fleet::start(4, 0).await;
        let party = fleet.enrol(10).await;
        let load = Load::start(&fleet.watcher, party);
        let (begun, mut dice) = (Instant::now(), 88_172_645_463_325_252_u64);
        while begun.elapsed() < Duration::from_secs(seconds) {
            // Xorshift: the order of faults is the same each time, their moments are not.
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            let victims = [1, 1, 2, 4][usize::try_from(dice >> 8 & 3).unwrap()];
            let first = usize::try_from(dice & 3).unwrap();
            let victims: Vec<usize> = (0..victims).map(|next| (first + next) % 4).collect();
            println!("{:4} s, block {}: {victims:?} are killed", begun.elapsed().as_secs(), fleet.height());
            for member in &victims {
                fleet.kill(*member);
            }
            sleep(Duration::from_millis(dice >> 16 & 0xFFF)).await;
            for member in &victims {
                fleet.spawn(*member, Task::default());
            }
            load.progress().await;
        }
        load.finish(&fleet.watcher).await;
        fleet.finish().await;
    });
}
