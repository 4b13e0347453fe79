//! Parsing, beside a bare XML parser that keeps a tree and beside BLAKE3 of the bytes.

use core::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};

use crate::{FEW_SAMPLES, Plant, document};

pub(crate) fn bench(criterion: &mut Criterion, plant: &Plant) {
    let mut group = criterion.benchmark_group(format!("aml/parse {}", plant.size));
    group.sample_size(FEW_SAMPLES);
    group.throughput(Throughput::Bytes(plant.bytes as u64));
    // What is parsed is dropped outside the time that is measured, here and there.
    group.bench_function("peer: roxmltree parse", |b| {
        let text = plant.text();
        let parse = |()| roxmltree::Document::parse(black_box(text)).expect("well-formed");
        b.iter_batched(|| (), parse, BatchSize::PerIteration);
    });
    group.bench_function("ours: Document::parse", |b| {
        let text = plant.text();
        b.iter_batched(|| (), |()| document(black_box(text)), BatchSize::PerIteration);
    });
    group.bench_function("ours: Document::parse and root_hash", |b| {
        let text = plant.text();
        let parse = |()| {
            let document = document(black_box(text));
            (document.root_hash(), document)
        };
        b.iter_batched(|| (), parse, BatchSize::PerIteration);
    });
    group.bench_function("peer: blake3", |b| {
        let bytes = plant.text().as_bytes();
        b.iter(|| blake3::hash(black_box(bytes)));
    });
    group.finish();
}
