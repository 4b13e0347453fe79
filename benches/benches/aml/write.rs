//! Writing, beside copying the bytes: into fresh memory, and into memory that is used again.

use core::cell::LazyCell;
use core::hint::black_box;

use benches::{FRAGMENT_ID, fragment, unit_id};
use criterion::{Criterion, Throughput};
use dt_aml::Document;

use crate::{FEW_SAMPLES, Plant};

pub(crate) fn bench(criterion: &mut Criterion, plant: &Plant) {
    let unedited = LazyCell::new(|| plant.document());
    let edited = LazyCell::new(|| edited(plant));
    let mut group = criterion.benchmark_group(format!("aml/write {}", plant.size));
    group.sample_size(FEW_SAMPLES);
    group.throughput(Throughput::Bytes(plant.bytes as u64));
    group.bench_function("peer: memcpy into fresh memory", |b| {
        let bytes = plant.text().as_bytes();
        b.iter(|| black_box(bytes).to_vec());
    });
    group.bench_function("ours: to_bytes", |b| {
        let document = &*unedited;
        b.iter(|| black_box(document).to_bytes());
    });
    group.bench_function("ours: to_bytes, edited", |b| {
        let document = &*edited;
        b.iter(|| black_box(document).to_bytes());
    });
    let mut out = Vec::new();
    group.bench_function("peer: memcpy into the same memory", |b| {
        let bytes = plant.text().as_bytes();
        b.iter(|| {
            out.clear();
            out.extend_from_slice(black_box(bytes));
        });
    });
    group.bench_function("ours: write_to", |b| {
        let document = &*unedited;
        b.iter(|| write(black_box(document), &mut out));
    });
    group.bench_function("ours: write_to, edited", |b| {
        let document = &*edited;
        b.iter(|| write(black_box(document), &mut out));
    });
    group.finish();
}

fn write(document: &Document, out: &mut Vec<u8>) {
    out.clear();
    document.write_to(out).expect("memory takes all");
}

/// The plant's document after an edit or two in the midst of it.
fn edited(plant: &Plant) -> Document {
    let mut document = plant.document();
    let unit = unit_id(plant.units() / 2);
    document.insert(&fragment(), &unit, None).expect("it fits");
    document.remove(FRAGMENT_ID).expect("it is there");
    document.insert(&fragment(), &unit, None).expect("it fits");
    document
}
