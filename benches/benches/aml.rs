//! A document of a megabyte: parsing beside a bare XML parser, an edit beside parsing again, writing beside copying.
#![expect(clippy::expect_used, reason = "a benchmark reports by panicking")]

use core::hint::black_box;

use benches::{FRAGMENT_ID, fragment, plant, unit_id};
use criterion::{Criterion, Throughput};
use dt_aml::{Document, Limits};

/// A medium-sized line: some hundred devices.
const BYTES: usize = 1_000_000;
/// A unit in the middle of the plant.
const UNIT: u64 = 30;

fn main() {
    let mut criterion = benches::criterion();
    let plant = plant(BYTES);
    parse(&mut criterion, &plant);
    edit(&mut criterion, &plant);
    write(&mut criterion, &plant);
    criterion.final_summary();
}

fn parse(criterion: &mut Criterion, plant: &str) {
    let mut group = criterion.benchmark_group("aml/parse 1 MB");
    group.throughput(Throughput::Bytes(plant.len() as u64));
    group.bench_function("peer: roxmltree parse", |b| {
        b.iter(|| roxmltree::Document::parse(black_box(plant)).expect("well-formed"));
    });
    group.bench_function("peer: blake3", |b| b.iter(|| blake3::hash(black_box(plant.as_bytes()))));
    group.bench_function("ours: Document::parse, with index and hashes", |b| {
        b.iter(|| Document::parse(black_box(plant), &Limits::default()).expect("a document"));
    });
    group.finish();
}

fn edit(criterion: &mut Criterion, plant: &str) {
    let mut document = Document::parse(plant, &Limits::default()).expect("a document");
    let (fragment, unit) = (fragment(), unit_id(UNIT));
    let mut group = criterion.benchmark_group("aml/edit 1 MB");
    // Each iteration leaves the document as it found it, so nothing has to be set up in between; what an edit leaves behind in memory,
    // and the clearing of it, is part of its price.
    group.bench_function("ours: insert and remove, each with a new root hash", |b| {
        b.iter(|| {
            document.insert(black_box(&fragment), &unit, None).expect("it fits");
            let inserted = document.root_hash();
            document.remove(FRAGMENT_ID).expect("it is there");
            (inserted, document.root_hash())
        });
    });
    group.bench_function("peer: Document::parse twice", |b| {
        b.iter(|| {
            let parse = || Document::parse(black_box(plant), &Limits::default()).expect("a document");
            (parse().root_hash(), parse().root_hash())
        });
    });
    group.finish();
    assert_eq!(document.to_bytes(), plant.as_bytes(), "the edits undid each other");
}

fn write(criterion: &mut Criterion, plant: &str) {
    let document = Document::parse(plant, &Limits::default()).expect("a document");
    let mut group = criterion.benchmark_group("aml/write 1 MB");
    group.throughput(Throughput::Bytes(plant.len() as u64));
    group.bench_function("peer: memcpy", |b| b.iter(|| black_box(plant.as_bytes()).to_vec()));
    group.bench_function("ours: Document::to_bytes", |b| b.iter(|| black_box(&document).to_bytes()));
    group.finish();
}
