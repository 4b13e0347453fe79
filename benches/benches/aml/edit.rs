//! Edits with the new root hash, somewhere else in the document each time; and snapshots.

use core::cell::{LazyCell, RefCell};
use core::hint::black_box;

use benches::{CROWD_ID, FRAGMENT_ID, crowd, fragment, is_trial, member, member_id, unit_id};
use criterion::{BatchSize, Criterion};
use dt_aml::{Document, SubtreeHash};

use crate::{FEW_SAMPLES, Plant, document};

/// A step through the units that meets all of them, far from each other.
const STRIDE: u64 = 7919;
/// Children of one element where that is what is measured.
const CROWD: u64 = 100_000;

pub(crate) fn bench(criterion: &mut Criterion, plant: &Plant) {
    // Made by whichever figure comes first, but not while criterion looks at the clock.
    let field = LazyCell::new(|| RefCell::new(Field::of(plant)));
    let mut group = criterion.benchmark_group(format!("aml/edit {}", plant.size));
    group.bench_function("ours: insert a device", |b| {
        LazyCell::force(&field);
        let clear = || field.borrow_mut().clear();
        b.iter_batched(clear, |()| field.borrow_mut().insert(), BatchSize::PerIteration);
    });
    group.bench_function("ours: remove a device", |b| {
        LazyCell::force(&field);
        let fill = || field.borrow_mut().fill();
        b.iter_batched(fill, |()| field.borrow_mut().remove(), BatchSize::PerIteration);
    });
    // What an edit leaves behind in memory, and the clearing of it, is part of its price.
    group.bench_function("ours: insert and remove over and over, compaction included", |b| {
        LazyCell::force(&field);
        b.iter(|| {
            let mut field = field.borrow_mut();
            field.clear();
            (field.insert(), field.remove())
        });
    });
    group.finish();
}

pub(crate) fn bench_snapshots(criterion: &mut Criterion, plant: &Plant) {
    let field = LazyCell::new(|| RefCell::new(Field::of(plant)));
    let mut group = criterion.benchmark_group(format!("aml/snapshot {}", plant.size));
    group.bench_function("ours: clone", |b| {
        let field = field.borrow();
        b.iter(|| black_box(&field.document).clone());
    });
    group.bench_function("ours: insert a device, the first edit after a clone", |b| {
        LazyCell::force(&field);
        let clone = || {
            let mut field = field.borrow_mut();
            field.clear();
            field.document.clone()
        };
        b.iter_batched_ref(clone, |_snapshot| field.borrow_mut().insert(), BatchSize::PerIteration);
    });
    group.finish();
}

/// Two versions that were parsed apart, so that they share no memory.
pub(crate) fn bench_diff(criterion: &mut Criterion, plant: &Plant) {
    let versions = LazyCell::new(|| {
        let old = plant.document();
        let mut edited = old.clone();
        edited.insert(&fragment(), &unit_id(plant.units() / 2), None).expect("it fits");
        let new = edited.to_bytes();
        (old, document(core::str::from_utf8(&new).expect("UTF-8")), plant.text().as_bytes(), new)
    });
    let mut group = criterion.benchmark_group(format!("aml/diff {}", plant.size));
    group.sample_size(FEW_SAMPLES);
    group.bench_function("peer: to compare the bytes up to the difference", |b| {
        let (_, _, old, new) = &*versions;
        b.iter(|| black_box(*old).iter().zip(black_box(new)).position(|(old, new)| old != new));
    });
    group.bench_function("ours: diff, one device apart", |b| {
        let (old, new, ..) = &*versions;
        b.iter(|| black_box(old).diff(black_box(new)).expect("a difference"));
    });
    group.finish();
}

pub(crate) fn bench_crowd(criterion: &mut Criterion) {
    let count = if is_trial() { CROWD / 100 } else { CROWD };
    let document = LazyCell::new(|| RefCell::new(document(&crowd(count))));
    let (newcomer, id) = (member(u64::MAX), member_id(u64::MAX));
    let insert = |after: Option<&str>| {
        let mut document = document.borrow_mut();
        document.insert(black_box(&newcomer), CROWD_ID, after).expect("it fits");
        document.root_hash()
    };
    let remove = || {
        let mut document = document.borrow_mut();
        document.remove(black_box(&id)).expect("it is there");
        document.root_hash()
    };
    let mut group = criterion.benchmark_group("aml/edit among 100,000 siblings");
    for (place, after) in [("at the end", None), ("in the middle", Some(member_id(count / 2)))] {
        let after = after.as_deref();
        group.bench_function(format!("ours: insert {place}"), |b| {
            insert(after);
            b.iter_batched(remove, |_| insert(after), BatchSize::PerIteration);
            remove();
        });
        group.bench_function(format!("ours: remove {place}"), |b| {
            LazyCell::force(&document);
            b.iter_batched(|| insert(after), |_| remove(), BatchSize::PerIteration);
        });
    }
    group.finish();
}

/// A document in which one device comes and goes, in one unit after another.
struct Field {
    document: Document,
    fragment: String,
    units: u64,
    unit: u64,
    /// The ID of that unit.
    unit_id: String,
    is_filled: bool,
}

impl Field {
    fn of(plant: &Plant) -> Self {
        let (document, fragment) = (plant.document(), fragment());
        Self { document, fragment, units: plant.units(), unit: 0, unit_id: unit_id(0), is_filled: false }
    }

    /// Makes sure that the device is not there, and goes to another unit.
    fn clear(&mut self) {
        if self.is_filled {
            self.remove();
        }
        self.unit = (self.unit + STRIDE) % self.units;
        self.unit_id = unit_id(self.unit);
    }

    /// Makes sure that the device is there, in another unit than before.
    fn fill(&mut self) {
        self.clear();
        self.insert();
    }

    fn insert(&mut self) -> SubtreeHash {
        self.document.insert(black_box(&self.fragment), &self.unit_id, None).expect("it fits");
        self.is_filled = true;
        self.document.root_hash()
    }

    fn remove(&mut self) -> SubtreeHash {
        self.document.remove(black_box(FRAGMENT_ID)).expect("it is there");
        self.is_filled = false;
        self.document.root_hash()
    }
}
