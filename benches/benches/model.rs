//! Signed envelopes and the canonical codec, beside the bare signature and plain borsh.
#![expect(clippy::expect_used, reason = "a benchmark reports by panicking")]

use core::hint::black_box;

use benches::Ed25519;
use borsh::{BorshDeserialize, BorshSerialize};
use criterion::{BatchSize, Criterion, Throughput};
use dt_model::testing::identity;
use dt_model::{Digest, Domain, Envelope, Message, Signed, codec};

/// Something to be signed: a chain and some bytes, as all our messages are.
#[derive(Clone, BorshSerialize, BorshDeserialize)]
struct Note {
    chain: Digest,
    text: Vec<u8>,
}

impl Message for Note {
    const DOMAIN: Domain = Domain::new("dt/benches/note/v1");
    const MAX_BYTES: usize = 1024 * 1024;
}

fn main() {
    let mut criterion = benches::criterion();
    for bytes in [256, 64 * 1024] {
        envelope(&mut criterion, bytes);
    }
    decode(&mut criterion);
    criterion.final_summary();
}

fn envelope(criterion: &mut Criterion, bytes: usize) {
    let note = Note { chain: Digest::ZERO, text: vec![0x5a; bytes] };
    let author = identity(1);
    let envelope = Signed::new(note.clone(), &author).expect("signs").into_envelope();
    let wire = codec::encode(&envelope);
    let limit = Note::MAX_BYTES;
    // What is signed: domain, signer, body.
    let preimage = [&Note::DOMAIN.prefix(), &envelope.signer().as_bytes()[..], envelope.body()].concat();
    let bare = Ed25519::over(&preimage);

    let mut group = criterion.benchmark_group(format!("model/sign {bytes} bytes"));
    group.bench_function("peer: ed25519 sign", |b| b.iter(|| bare.sign(1)));
    group.bench_function("ours: Signed::new", |b| {
        b.iter_batched(|| note.clone(), |note| Signed::new(note, &author), BatchSize::SmallInput);
    });
    group.finish();

    let mut group = criterion.benchmark_group(format!("model/open {bytes} bytes"));
    group.bench_function("peer: ed25519 verify_strict", |b| b.iter(|| bare.verify(1)));
    group.bench_function("ours: Envelope::open", |b| {
        b.iter_batched(
            || envelope.clone(),
            |envelope| envelope.open().expect("opens"),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("ours: decode and open", |b| {
        b.iter(|| {
            let envelope: Envelope<Note> = codec::decode(black_box(&wire), limit).expect("decodes");
            envelope.open().expect("opens")
        });
    });
    group.finish();
}

/// A table of many small values: where proving that an encoding is canonical costs most.
fn decode(criterion: &mut Criterion) {
    let rows: Vec<(u64, String, [u8; 32])> =
        (0..256).map(|row| (row, format!("sensor {row}"), [0x5a; 32])).collect();
    let bytes = codec::encode(&rows);
    let mut group = criterion.benchmark_group("model/decode 256 rows");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("peer: borsh::from_slice", |b| {
        b.iter(|| borsh::from_slice::<Vec<(u64, String, [u8; 32])>>(black_box(&bytes)).expect("decodes"));
    });
    group.bench_function("ours: codec::decode", |b| {
        b.iter(|| {
            codec::decode::<Vec<(u64, String, [u8; 32])>>(black_box(&bytes), 1 << 20).expect("decodes")
        });
    });
    group.finish();
}
