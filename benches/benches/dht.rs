//! Quorum operations beside the signatures that they consist of; blobs and seals beside hash, erasure code and cipher alone.
#![expect(clippy::expect_used, reason = "a benchmark reports by panicking")]

use core::hint::black_box;
use std::sync::Arc;

use benches::{Ed25519, Numbers, runtime};
use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use criterion::{BatchSize, Criterion, Throughput};
use dt_dht::testing::Network;
use dt_dht::{OwnedRecords, Record, Resilience, decode_stripe, encode_stripe, seal};
use dt_model::testing::identity;
use dt_model::{Name, Secret, Signed, Signer as _};

const VALUE: usize = 1024;
const BLOB: usize = 1024 * 1024;
/// With one malicious node tolerated, an address has four replicas.
const REPLICAS: usize = 4;

fn main() {
    let mut criterion = benches::criterion();
    quorum(&mut criterion);
    blob(&mut criterion);
    sealing(&mut criterion);
    criterion.final_summary();
}

fn resilience() -> Resilience {
    Resilience::tolerating(1).expect("four replicas")
}

fn quorum(criterion: &mut Criterion) {
    let writer = Arc::new(identity(1));
    let network = Network::new(resilience(), REPLICAS, [writer.party()], &[Arc::new(OwnedRecords)]);
    let client = network.client(writer.clone());
    let (now, runtime, numbers) = (network.now(), runtime(), Numbers::default());
    let name = Name::new("calibration").expect("a name");
    let key = OwnedRecords::key(&writer.party(), &name);
    let next = || -> Signed<Record> {
        let version = numbers.next() + 1;
        let record = OwnedRecords::record(writer.party(), name.clone(), version, vec![0x5a; VALUE]);
        Signed::new(record, &*writer).expect("signs")
    };
    runtime.block_on(client.put(&next(), now)).expect("stored");
    let bare = Ed25519::over(&[0x5a; VALUE]);

    let mut group = criterion.benchmark_group("dht/put 1 KiB, k = 1");
    // Each replica: request, receipt and reply are signed; request, record, reply and receipt are verified.
    group.bench_function("peer: its 12 signatures and 16 verifications", |b| {
        b.iter(|| {
            bare.sign(3 * REPLICAS);
            bare.verify(4 * REPLICAS);
        });
    });
    group.bench_function("ours: Client::put", |b| {
        b.iter_batched(
            next,
            |record| runtime.block_on(client.put(&record, now)).expect("stored"),
            BatchSize::SmallInput,
        );
    });
    group.finish();

    let mut group = criterion.benchmark_group("dht/get 1 KiB, k = 1");
    // Each replica: request and reply are signed and verified; the client verifies the record once.
    group.bench_function("peer: its 8 signatures and 9 verifications", |b| {
        b.iter(|| {
            bare.sign(2 * REPLICAS);
            bare.verify(2 * REPLICAS + 1);
        });
    });
    group.bench_function("ours: Client::get", |b| {
        b.iter(|| {
            runtime.block_on(client.get(key, OwnedRecords::check(), now)).expect("read").expect("there")
        });
    });
    group.finish();
}

fn blob(criterion: &mut Criterion) {
    let content = content();
    let (blob, shards) = encode_stripe(&content, resilience()).expect("encodes");
    let (data, total) = (resilience().data_shards(), resilience().replicas());

    let mut group = criterion.benchmark_group("dht/encode a blob of 1 MiB, k = 1");
    group.throughput(Throughput::Bytes(BLOB as u64));
    group.bench_function("peer: blake3 of the content", |b| b.iter(|| blake3::hash(black_box(&content))));
    group.bench_function("peer: blake3 of all shards", |b| {
        b.iter(|| shards.iter().map(|shard| blake3::hash(black_box(shard))).collect::<Vec<_>>());
    });
    group.bench_function("peer: Reed-Solomon alone", |b| {
        b.iter(|| {
            reed_solomon_simd::encode(data, total - data, black_box(&shards[..data])).expect("encodes")
        });
    });
    group.bench_function("ours: encode_stripe", |b| {
        b.iter(|| encode_stripe(black_box(&content), resilience()).expect("encodes"));
    });
    group.finish();

    let mut group = criterion.benchmark_group("dht/decode a blob of 1 MiB, k = 1");
    group.throughput(Throughput::Bytes(BLOB as u64));
    group.bench_function("peer: blake3 of the content", |b| b.iter(|| blake3::hash(black_box(&content))));
    let given = |range: core::ops::Range<u16>| range.map(|at| (at, shards[usize::from(at)].as_ref()));
    group.bench_function("ours: decode_stripe, nothing lost", |b| {
        b.iter(|| decode_stripe(black_box(&blob), given(0..2)).expect("restores"));
    });
    group.bench_function("ours: decode_stripe, both data shards lost", |b| {
        b.iter(|| decode_stripe(black_box(&blob), given(2..4)).expect("restores"));
    });
    group.finish();
}

fn sealing(criterion: &mut Criterion) {
    let content = content();
    let key = Secret::from_bytes([7; 32]);
    let cipher = ChaCha20Poly1305::new(key.expose().into());
    let mut group = criterion.benchmark_group("dht/seal 1 MiB");
    group.throughput(Throughput::Bytes(BLOB as u64));
    group.bench_function("peer: ChaCha20-Poly1305 in one piece", |b| {
        b.iter(|| cipher.encrypt(&Nonce::default(), black_box(content.as_slice())).expect("seals"));
    });
    group.bench_function("ours: seal, in chunks of 64 KiB", |b| {
        b.iter(|| seal::seal(&key, b"item", black_box(&content)));
    });
    group.finish();
}

/// Bytes without a pattern, the same in every run.
fn content() -> Vec<u8> {
    let mut content = vec![0; BLOB];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    content
}
