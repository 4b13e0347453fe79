//! What a ledger costs that has grown: blocks and proofs with a thousand documents and with a million in the state, in one run. All on one
//! thread, so that times are costs.
//!
//! Filling takes minutes and some GB of memory; `DT_BENCH_DOCUMENTS` asks for another number of documents.
#![expect(clippy::expect_used, reason = "a benchmark reports by panicking")]

use core::cell::{Cell, LazyCell};
use core::hint::black_box;

use benches::{CALLS, Chain, Ed25519, is_trial, plant, unit_id};
use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};
use dt_ledger::{
    Certified, DocumentId, ElementProof, State as _, StateKey, StateProof, Verifier, document_id,
};
use dt_model::merkle::InclusionProof;
use dt_model::{Digest, TwinId, codec};

/// Of all that a block takes memory for most is small and given back soon; what is kept would lie scattered among it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Transactions of a block.
const BLOCK: u64 = 1_000;
/// Documents in a small ledger.
const FEW: u64 = 1_000;
/// Documents in a large one, unless the environment says otherwise.
const MANY: u64 = 1_000_000;
/// Bytes of the specification that an element is proven of.
const SPECIFICATION: usize = 10_000_000;
/// Of how many documents one is kept in mind, to be proven.
const SAMPLING: usize = 32;
/// A step through numbers that meets things far from each other.
const STRIDE: usize = 7919;

fn main() {
    let mut criterion = benches::criterion();
    let many = std::env::var("DT_BENCH_DOCUMENTS").ok();
    let many = many.map_or(if is_trial() { 2 * FEW } else { MANY }, |many| many.parse().expect("a number"));
    // Filled by whichever figure comes first: a run of others does not wait.
    let grown: [Later; 2] = [FEW, many].map(|documents| {
        let grow: Box<dyn FnOnce() -> Grown> = Box::new(move || Grown::new(documents));
        LazyCell::new(grow)
    });
    let [few, large] = &grown;
    blocks(&mut criterion, many, large);
    proofs(&mut criterion, &[(FEW, few), (many, large)]);
    criterion.final_summary();
}

/// A ledger that is filled when it is asked for.
type Later = LazyCell<Grown, Box<dyn FnOnce() -> Grown>>;

/// A ledger with many documents.
struct Grown {
    chain: Chain,
    /// How many there were when it was filled.
    count: u64,
    /// Some of them.
    documents: Vec<DocumentId>,
    /// Of transactions that came one call each, in a block of 1,000.
    transactions: Vec<Digest>,
    /// A twin with a large specification.
    large: TwinId,
    units: u64,
    turn: Cell<usize>,
}

impl Grown {
    fn new(count: u64) -> Self {
        let chain = Chain::default().on_one_thread();
        let filled = chain.fill(count);
        let state = chain.fixture.state();
        let some = (0..u32::try_from(CALLS).expect("few calls")).step_by(SAMPLING);
        let documents = filled
            .into_iter()
            .flat_map(|(height, transaction)| {
                some.clone().map(move |call| document_id(height, &transaction, call))
            })
            .filter(|id| state.document(&chain.twin, id).expect("the store answers").is_some())
            .collect();
        let block = chain.fixture.commit(&chain.mixed(BLOCK));
        let transactions = block.receipts.iter().map(|receipt| receipt.transaction).collect();
        let aml = plant(if is_trial() { SPECIFICATION / 100 } else { SPECIFICATION });
        let units = aml.matches("<InternalElement Name=\"Unit ").count() as u64;
        let large = chain.twin_of(&aml);
        let grown = Self { chain, count, documents, transactions, large, units, turn: Cell::new(0) };
        grown.report();
        grown
    }

    /// Prints how long proofs are.
    fn report(&self) {
        let (documents, (_, _, state)) = (self.count, self.proven_document());
        let (_, transaction) = self.proven_transaction();
        let (unit, element) = self.proven_unit();
        let [state, transaction] =
            [codec::encode(&state), codec::encode(&transaction)].map(|proof| proof.len());
        println!(
            "ledger/scale: after {documents} documents, proofs have so many bytes: a document's {state}, a transaction's {transaction}, that of an element of {} bytes {}",
            unit.len(),
            codec::encode(&element).len()
        );
    }

    fn proven_document(&self) -> (Vec<u8>, Vec<u8>, StateProof) {
        let (key, state) = (self.document(), self.chain.fixture.state());
        let value = state.raw(&key).expect("the store answers").expect("a document");
        (key.to_bytes(), value, state.prove(&key).expect("the store answers"))
    }

    fn proven_transaction(&self) -> (Bytes, InclusionProof) {
        let (replica, transaction) = (self.chain.replica(), self.transaction());
        let proof = replica.prove_transaction(transaction).expect("the store answers");
        let (_, sent, _) = replica.transaction(transaction).expect("the store answers").expect("is there");
        (codec::encode(&sent).into(), proof.expect("a transaction"))
    }

    fn proven_unit(&self) -> (String, ElementProof) {
        self.chain.fixture.state().prove_element(&self.large, &self.unit()).expect("a unit")
    }

    /// Something else each time.
    fn turn(&self) -> usize {
        self.turn.replace(self.turn.get().wrapping_add(STRIDE))
    }

    fn document(&self) -> StateKey {
        let document = self.documents.get(self.turn() % self.documents.len()).expect("a document");
        StateKey::Document(self.chain.twin, *document)
    }

    fn transaction(&self) -> &Digest {
        self.transactions.get(self.turn() % self.transactions.len()).expect("a transaction")
    }

    fn unit(&self) -> String {
        unit_id(self.turn() as u64 % self.units)
    }
}

/// What the validator signs of the chain as it stands.
fn certified(chain: &Chain) -> Certified {
    let checkpoint = chain.replica().checkpoint();
    let signature = checkpoint.sign(&chain.fixture.validator(0)).expect("signs");
    let note = checkpoint.note(vec![signature]).expect("a note");
    Verifier::new(chain.replica().genesis()).checkpoint(&note).expect("the validator's checkpoint")
}

fn blocks(criterion: &mut Criterion, many: u64, large: &Later) {
    let mut group = criterion.benchmark_group("ledger/scale: block of 1,000");
    group.throughput(Throughput::Elements(BLOCK));
    let next = |chain: &Chain, admitted| {
        let transactions = chain.mixed(BLOCK);
        if admitted {
            chain.authenticate(&transactions);
        }
        chain.block(&transactions)
    };
    let commit = |chain: &Chain, (block, certificate)| {
        chain.replica().commit(block, certificate).expect("the next block")
    };
    group.bench_function("peer: ed25519 verify_strict, 1,000 times", |b| {
        let bare = Ed25519::over(&[0x5a; 256]);
        b.iter(|| bare.verify(1_000));
    });
    for (name, admitted) in [("a follower", false), ("verified at admission", true)] {
        group.bench_function(format!("ours: commit ({name}), after {FEW} documents"), |b| {
            let grown = || {
                let chain = Chain::default().on_one_thread();
                chain.fill(FEW);
                let block = next(&chain, admitted);
                (chain, block)
            };
            let one = |(chain, block): (Chain, _)| {
                let committed = commit(&chain, block);
                (chain, committed)
            };
            b.iter_batched(grown, one, BatchSize::PerIteration);
        });
        group.bench_function(format!("ours: commit ({name}), after {many} documents"), |b| {
            let chain = &LazyCell::force(large).chain;
            b.iter_batched(|| next(chain, admitted), |block| commit(chain, block), BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn proofs(criterion: &mut Criterion, of: &[(u64, &Later)]) {
    let mut group = criterion.benchmark_group("ledger/scale: proofs");
    group.bench_function("peer: ed25519 verify_strict", |b| {
        let bare = Ed25519::over(&[0x5a; 256]);
        b.iter(|| bare.verify(1));
    });
    for (documents, grown) in of {
        let after = format!("after {documents} documents");
        state_proofs(&mut group, &after, grown);
        transaction_proofs(&mut group, &after, grown);
        element_proofs(&mut group, &after, grown);
    }
    group.finish();
}

fn state_proofs(group: &mut BenchmarkGroup<'_, WallTime>, after: &str, grown: &Later) {
    group.bench_function(format!("ours: Snapshot::prove, a document, {after}"), |b| {
        let snapshot = grown.chain.fixture.state();
        b.iter_batched(|| grown.document(), |key| snapshot.prove(&key), BatchSize::PerIteration);
    });
    group.bench_function(format!("ours: StateProof::verify, a document, {after}"), |b| {
        let (key, value, proof) = grown.proven_document();
        let root = grown.chain.replica().tip().state_root;
        assert!(proof.verify(&root, &key, Some(&value)), "the document is there");
        b.iter(|| black_box(&proof).verify(&root, &key, Some(&value)));
    });
}

fn transaction_proofs(group: &mut BenchmarkGroup<'_, WallTime>, after: &str, grown: &Later) {
    group.bench_function(format!("ours: Replica::prove_transaction, of a block of 1,000, {after}"), |b| {
        let replica = LazyCell::force(grown).chain.replica();
        b.iter_batched(
            || grown.transaction(),
            |transaction| replica.prove_transaction(transaction),
            BatchSize::PerIteration,
        );
    });
    group.bench_function(format!("ours: Certified::transaction, {after}"), |b| {
        let certified = certified(&grown.chain);
        let (bytes, proof) = grown.proven_transaction();
        certified.transaction(&bytes, &proof).expect("it is in the log");
        b.iter(|| certified.transaction(black_box(&bytes), &proof));
    });
}

fn element_proofs(group: &mut BenchmarkGroup<'_, WallTime>, after: &str, grown: &Later) {
    group.bench_function(format!("ours: Snapshot::prove_element, of 10 MB, {after}"), |b| {
        let snapshot = grown.chain.fixture.state();
        let prove = |unit: String| snapshot.prove_element(&grown.large, &unit);
        b.iter_batched(|| grown.unit(), prove, BatchSize::PerIteration);
    });
    group.bench_function(format!("ours: Certified::element, of 10 MB, {after}"), |b| {
        let certified = certified(&grown.chain);
        let (source, proof) = grown.proven_unit();
        certified.element(&grown.large, &source, &proof).expect("it is in the specification");
        b.iter(|| certified.element(&grown.large, black_box(&source), &proof));
    });
}
