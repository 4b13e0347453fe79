//! Edits of a specification of 10 MB, one in each block, in another unit each time.

use core::cell::{Cell, LazyCell};

use benches::{Chain, Ed25519, FRAGMENT_ID, fragment, is_trial, plant, unit_id};
use criterion::{BatchSize, Criterion};
use dt_aml::{Edit, RemovePolicy};
use dt_ledger::{Block, Call, CommitCertificate, TwinCall};
use dt_model::TwinId;

/// Bytes of the specification.
const SIZE: usize = 10_000_000;
/// A step through the units that meets all of them, far from each other.
const STRIDE: u64 = 7919;

pub(crate) fn bench(criterion: &mut Criterion) {
    let field = LazyCell::new(Field::default);
    let mut group = criterion.benchmark_group("ledger/edit of 10 MB");
    group.bench_function("peer: ed25519 verify_strict, of the sender and of the block's one vote", |b| {
        let bare = Ed25519::over(fragment().as_bytes());
        b.iter(|| bare.verify(2));
    });
    for (name, admitted) in [("a follower", false), ("a follower, sender verified at admission", true)] {
        group.bench_function(format!("ours: Replica::commit ({name})"), |b| {
            LazyCell::force(&field);
            b.iter_batched(
                || field.next(admitted),
                |(block, certificate)| {
                    field.chain.replica().commit(block, certificate).expect("the next block")
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// A twin in whose specification one device comes and goes, in one unit after another.
struct Field {
    chain: Chain,
    twin: TwinId,
    units: u64,
    unit: Cell<u64>,
    is_filled: Cell<bool>,
}

impl Default for Field {
    fn default() -> Self {
        let aml = plant(if is_trial() { SIZE / 100 } else { SIZE });
        let chain = Chain::default().on_one_thread();
        let twin = chain.twin_of(&aml);
        let units = aml.matches("<InternalElement Name=\"Unit ").count() as u64;
        Self { chain, twin, units, unit: Cell::new(0), is_filled: Cell::new(false) }
    }
}

impl Field {
    /// The block that puts the device into the next unit; what takes it out of the last one is committed.
    fn next(&self, admitted: bool) -> (Block, CommitCertificate) {
        if self.is_filled.replace(true) {
            let edit = Edit::Remove { address: FRAGMENT_ID.into(), policy: RemovePolicy::Restrict };
            let removal = self.chain.fixture.sign(self.chain.owner(), vec![self.call(edit)]);
            self.chain.fixture.commit(&[removal]);
        }
        self.unit.set((self.unit.get() + STRIDE) % self.units);
        let edit = Edit::Insert { fragment: fragment(), parent: unit_id(self.unit.get()), after: None };
        let insertion = [self.chain.fixture.sign(self.chain.owner(), vec![self.call(edit)])];
        if admitted {
            self.chain.authenticate(&insertion);
        }
        self.chain.block(&insertion)
    }

    fn call(&self, edit: Edit) -> Call {
        Call::Twin { twin: self.twin, call: TwinCall::EditAml { edits: vec![edit], expected: None } }
    }
}
