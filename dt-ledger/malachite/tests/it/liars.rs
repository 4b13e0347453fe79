//! Validators that lie, among three that do not: over real sockets, and by the seams alone.
//!
//! What a validator proposes it has kept before ([`Replica::prepare`] gives the same block again), so a store that makes a proposal up
//! makes its node a liar, and nothing else about it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dt_ledger::store::{Batch, Table, Visit};
use dt_ledger::{
    Block, Consensus as _, Header, LedgerStore, MemoryStore, StoreError, StoreView, Tip, validators_digest,
};
use dt_ledger_malachite::Start;
use dt_model::{ContentHash, Digest, codec};

use crate::cluster::*;

/// Makes a right block a wrong one.
type Lie = fn(&mut Block, &Tip);

/// By then all know each other; before it nobody lies.
const SETTLED: u64 = 8;

struct LyingStore {
    store: MemoryStore,
    chain: Digest,
    lie: Lie,
    /// What was proposed, and at which height.
    told: Arc<Mutex<Vec<(u64, Digest)>>>,
}

struct LyingView {
    view: Box<dyn StoreView>,
    chain: Digest,
    lie: Lie,
    told: Arc<Mutex<Vec<(u64, Digest)>>>,
}

impl LedgerStore for LyingStore {
    fn view(&self) -> Result<Box<dyn StoreView>, StoreError> {
        let (view, told) = (self.store.view()?, Arc::clone(&self.told));
        Ok(Box::new(LyingView { view, chain: self.chain, lie: self.lie, told }))
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.store.commit(batch)
    }
}

impl LyingView {
    /// A block without transactions for the next height: right, but for the lie.
    fn proposal(&self, round: u32) -> Option<Block> {
        let tip = self.view.get(Table::Meta, b"tip").unwrap().unwrap();
        let tip: Tip = codec::decode(&tip, usize::MAX).unwrap();
        if tip.height < SETTLED {
            return None;
        }
        let header = Header {
            chain: self.chain,
            height: tip.height + 1,
            time: tip.time.saturating_add(Duration::from_millis(1)),
            previous: tip.block,
            transactions_root: Digest::from(*ContentHash::of(b"").as_bytes()),
            state_root: tip.state_root,
            receipts_root: tip.receipts_root,
            log: tip.log,
            next_validators: validators_digest(&tip.validators),
            round,
            resting: tip.resting_after(round),
        };
        let mut block = Block { header, transactions: Vec::new() };
        (self.lie)(&mut block, &tip);
        self.told.lock().unwrap().push((tip.height + 1, block.header.digest()));
        Some(block)
    }
}

impl StoreView for LyingView {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        // What was prepared lies at its height and round.
        let made_up = match (table, key.get(8..).map(<[u8; 4]>::try_from)) {
            (Table::Pending, Some(Ok(round))) => self.proposal(u32::from_be_bytes(round)),
            _ => None,
        };
        made_up.map_or_else(|| self.view.get(table, key), |block| Ok(Some(codec::encode(&block))))
    }

    fn scan(&self, table: Table, from: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        self.view.scan(table, from, visit)
    }

    fn scan_back(&self, table: Table, to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        self.view.scan_back(table, to, visit)
    }
}

/// Four validators, of which the last one proposes as `lie` says.
struct Company {
    cluster: Cluster,
    told: Arc<Mutex<Vec<(u64, Digest)>>>,
}

impl Company {
    async fn start(lie: Lie) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = Plan::new(folder.path().into(), 4, 4);
        // Nobody is only slow, however busy the machine is; and whoever was late at the start has soon rested.
        plan.pace.propose = Duration::from_secs(6);
        plan.pace.idle = Duration::from_millis(20);
        let told = Arc::new(Mutex::new(Vec::new()));
        let store = LyingStore {
            store: MemoryStore::default(),
            chain: plan.genesis().chain(),
            lie,
            told: Arc::clone(&told),
        };
        let mut members = Vec::new();
        for member in 0..3 {
            members.push(Some(plan.start(member, Start::First).await.unwrap()));
        }
        members.push(Some(plan.start_over(3, Start::First, Arc::new(store)).await.unwrap()));
        Self { cluster: Cluster { plan, members, _folder: folder }, told }
    }

    /// Follows the chain until `found` says so of a block; its height. `found` is told whether the liar has proposed that very block, and
    /// whether it has proposed any for that height.
    async fn until(&self, mut found: impl FnMut(&Header, bool, bool) -> bool) -> u64 {
        for height in 1.. {
            let header = self.cluster.member(0).committed(height).await.unwrap().block.header.clone();
            let told = self.told.lock().unwrap();
            let (is_told, any) = told.iter().fold((false, false), |(same, any), (told, block)| {
                (same || *block == header.digest(), any || *told == height)
            });
            drop(told);
            if found(&header, is_told, any) {
                return height;
            }
        }
        unreachable!()
    }
}

/// That none of his proposals is committed: another one's is, in a later round; and that the chain goes on, also with what he is given.
async fn is_refused(what: &str, lie: Lie) {
    let company = Company::start(lie).await;
    let refused = |header: &Header, is_told: bool, any: bool| {
        assert!(!is_told, "{what}: it is committed");
        // Before the others are connected a proposal may only have been lost.
        any && header.round > 0 && header.height > SETTLED
    };
    let height = company.until(refused).await;
    let cluster = company.cluster;
    let party = cluster.enrol(3, 10).await;
    let transaction = sign(cluster.member(3).replica(), &party, 1, harmless(&party));
    let digest = cluster.member(3).submit(transaction).await.unwrap();
    let height = cluster.find(3, &digest, height).await;
    cluster.agree(height).await;
}

/// Without a lie such a proposal is taken: so what is refused below is refused for its lie.
#[test]
fn a_proposal_that_is_made_up_but_right_is_committed() {
    run(180, async {
        let company = Company::start(|_, _| {}).await;
        let height = company.until(|_, is_told, _| is_told).await;
        company.cluster.agree(height + 3).await;
    });
}

#[test]
fn a_body_that_is_not_the_headers_is_voted_down() {
    run(
        180,
        is_refused("the body", |block, _| block.transactions = vec![Bytes::from_static(b"no transaction")]),
    );
}

#[test]
fn another_state_is_voted_down() {
    run(180, is_refused("the state", |block, _| block.header.state_root = block.header.previous));
}

#[test]
fn a_time_that_does_not_go_on_is_voted_down() {
    run(180, is_refused("the time", |block, tip| block.header.time = tip.time));
}

/// Who names a later round than his own lets those rest who have not failed.
#[test]
fn a_false_round_is_voted_down() {
    run(
        180,
        is_refused("the round", |block, tip| {
            block.header.round += 1;
            block.header.resting = tip.resting_after(block.header.round);
        }),
    );
}
