//! Validators as processes of their own: the test binary runs itself again for each of them ([`child`]); the test itself is a participant that
//! watches, hands in and compares.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dt_ledger::{Call, Consensus as _, LedgerStore, Replica, audit};
use dt_ledger_malachite::{Malachite, Start, restore};
use dt_model::testing::identity;
use dt_model::{Digest, Identity};
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::{Plan, clock, compare, harmless, nonce, quick, run, sign};
use crate::log;

/// What a child is told: its number, the plan, and what is special about it.
const TASK: &str = "DT_MALACHITE_TASK";

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Task {
    pub(crate) watch: bool,
    /// Removes old blocks first.
    pub(crate) prune: bool,
    /// Begins with an image from the others, in an empty store.
    pub(crate) restore: bool,
    /// Its clock is ahead: so nobody accepts what it proposes.
    pub(crate) ahead: u64,
}

/// Not a test: what a child process does.
#[test]
#[ignore = "it is what the other tests start as a process"]
fn child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let words: Vec<&str> = task.split(' ').collect();
    let [member, validators, ports, links, watch, prune, restores, ahead, folder] = words[..] else {
        panic!("{task}")
    };
    let number = |word: &str| word.parse::<u64>().unwrap();
    let pairs = |words: &str| -> Vec<(u16, u16)> {
        let ports: Vec<u16> = words.split(',').filter_map(|port| port.parse().ok()).collect();
        ports.chunks(2).map(|pair| (pair[0], pair[1])).collect()
    };
    let plan = Plan {
        folder: PathBuf::from(folder),
        validators: number(validators),
        ports: pairs(ports),
        links: links.split(';').map(pairs).filter(|ways| !ways.is_empty()).collect(),
        pace: quick(),
    };
    let member = usize::try_from(number(member)).unwrap();
    log::keep(&format!("member-{member}"));
    run(7200, async {
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
pub(crate) struct Fleet {
    pub(crate) plan: Plan,
    children: Vec<Option<Child>>,
    pub(crate) watcher: Arc<Malachite>,
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
    pub(crate) async fn start(validators: u64, more: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let members = usize::try_from(validators + more).unwrap();
        let plan = Plan::new(folder.path().into(), validators, members + 1);
        Self::of(plan, folder).await
    }

    /// The validators of a plan, room for those that it has besides, and the watcher, who is its last member.
    pub(crate) async fn of(plan: Plan, folder: tempfile::TempDir) -> Self {
        let (validators, members) = (plan.validators, plan.ports.len() - 1);
        log::keep("watcher");
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

    pub(crate) fn spawn(&mut self, member: usize, task: Task) {
        let pairs = |pairs: &[(u16, u16)]| -> String {
            pairs.iter().map(|(one, other)| format!("{one},{other}")).collect::<Vec<_>>().join(",")
        };
        let links: Vec<String> = self.plan.links.iter().map(|ways| pairs(ways)).collect();
        let Task { watch, prune, restore, ahead } = task;
        let words = format!(
            "{member} {} {} {} {watch} {prune} {restore} {ahead} {}",
            self.plan.validators,
            pairs(&self.plan.ports),
            if links.is_empty() { "-".to_owned() } else { links.join(";") },
            self.plan.folder.display()
        );
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "fleet::child", "--ignored", "--nocapture"])
            .env(TASK, words)
            .stdout(Stdio::null())
            .spawn();
        self.children[member] = Some(child.unwrap());
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, member: usize) {
        self.require_all();
        let mut child = self.children[member].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops the process as it stands, or lets it go on.
    pub(crate) fn hold(&self, member: usize, hold: bool) {
        let child = self.children[member].as_ref().unwrap().id().to_string();
        let signal = if hold { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &child]).status().unwrap().success());
    }

    pub(crate) fn wipe(&mut self, member: usize) {
        self.kill(member);
        std::fs::remove_dir_all(self.plan.folder(member)).unwrap();
    }

    pub(crate) fn height(&self) -> u64 {
        self.watcher.status().height
    }

    /// How far a child says that it has come.
    fn told(&self, member: usize) -> u64 {
        let told = std::fs::read_to_string(standing(&self.plan, member)).unwrap_or_default();
        told.parse().unwrap_or_default()
    }

    /// Waits for so many blocks that nobody has yet: the watcher, who does not vote, hears of blocks up to a second late.
    pub(crate) async fn grow(&mut self, blocks: u64) {
        let furthest = (0..self.children.len()).map(|member| self.told(member)).max();
        let height = furthest.unwrap_or_default().max(self.height()) + blocks;
        let begun = Instant::now();
        while self.height() < height {
            self.require_all();
            assert!(begun.elapsed() < Duration::from_secs(120), "the chain grows");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// That no child has stopped by itself: on its way out it said why.
    fn require_all(&mut self) {
        for (member, child) in self.children.iter_mut().enumerate() {
            let ended = child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "member {member} has stopped by itself: {ended:?}");
        }
    }

    /// Submits and waits until the transaction is committed.
    pub(crate) async fn execute(&self, party: &Identity, calls: Vec<Call>) -> Digest {
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

    pub(crate) async fn enrol(&self, seed: u64) -> Identity {
        let party = identity(seed);
        let certificate = self.plan.keys().certificate(seed, &party);
        self.execute(&party, vec![Call::Register { certificate }]).await;
        party
    }

    /// Lets everybody come to where we are, stops them all, and compares what is on their disks.
    pub(crate) async fn finish(mut self) {
        let height = self.height();
        let members: Vec<usize> =
            (0..self.children.len()).filter(|member| self.children[*member].is_some()).collect();
        // All have what was committed, or get it from the others, once there are no more faults.
        let begun = Instant::now();
        while !members.iter().all(|member| self.told(*member) >= height)
            && begun.elapsed() < Duration::from_secs(120)
        {
            self.require_all();
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
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<Vec<Digest>>,
}

impl Load {
    pub(crate) fn start(watcher: &Arc<Malachite>, party: Identity) -> Self {
        let (stop, committed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (node, stopped, counter) = (Arc::clone(watcher), Arc::clone(&stop), Arc::clone(&committed));
        let task = tokio::spawn(async move {
            let hand_in = async {
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
            };
            tokio::select! {
                digests = hand_in => digests,
                halt = node.halted() => panic!("the watcher has stopped by itself: {halt}"),
            }
        });
        Self { stop, committed, task }
    }

    pub(crate) async fn progress(&self, fleet: &mut Fleet) {
        let before = self.committed.load(Ordering::SeqCst);
        let begun = Instant::now();
        while self.committed.load(Ordering::SeqCst) < before + 5 {
            fleet.require_all();
            assert!(begun.elapsed() < Duration::from_secs(60), "transactions go on being committed");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Every transaction that was taken is committed, and can be read.
    pub(crate) async fn finish(self, fleet: &mut Fleet) {
        self.stop.store(true, Ordering::SeqCst);
        let (watcher, begun) = (Arc::clone(&fleet.watcher), Instant::now());
        let from = watcher.status();
        while !self.task.is_finished() {
            fleet.require_all();
            assert!(
                begun.elapsed() < Duration::from_secs(120),
                "all are committed: from {from:?} the watcher came to {:?}",
                watcher.status()
            );
            sleep(Duration::from_millis(50)).await;
        }
        let digests = self.task.await.unwrap();
        for digest in &digests {
            assert!(
                watcher.replica().transaction(digest).unwrap().is_some(),
                "an acknowledged write is there"
            );
        }
        assert!(!digests.is_empty());
    }
}
