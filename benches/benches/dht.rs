//! Quorum operations beside the signatures that they consist of; blobs and seals beside hash, erasure code and cipher alone.
#![expect(clippy::expect_used, reason = "a benchmark reports by panicking")]

use core::hint::black_box;
use std::collections::BTreeSet;
use std::sync::Arc;

use benches::{Ed25519, Numbers, runtime};
use chacha20poly1305::aead::{Aead as _, AeadInOut as _, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use criterion::{BatchSize, Criterion, Throughput};
use dt_dht::seal::{Opener, Sealer};
use dt_dht::testing::Network;
use dt_dht::{
    Address, Membership, Node, OwnedRecords, Record, Resilience, STRIPE_BYTES, StripeCoder, decode_stripe,
    encode_stripe, seal,
};
use dt_model::testing::identity;
use dt_model::{Digest, Name, PartyId, Secret, Signed, Signer as _};

const VALUE: usize = 1024;
const BLOB: usize = 1024 * 1024;
/// With one malicious node tolerated, an address has four replicas.
const REPLICAS: usize = 4;

fn main() {
    let mut criterion = benches::criterion();
    for max_faulty in 1..=3 {
        quorum(&mut criterion, max_faulty);
    }
    placement(&mut criterion);
    blob(&mut criterion);
    for mebibytes in [1, 16] {
        path(&mut criterion, mebibytes);
    }
    sealing(&mut criterion);
    stored();
    criterion.final_summary();
}

fn resilience() -> Resilience {
    Resilience::tolerating(1).expect("four replicas")
}

fn quorum(criterion: &mut Criterion, max_faulty: u16) {
    let writer = Arc::new(identity(1));
    let resilience = Resilience::tolerating(max_faulty).expect("enough replicas");
    let replicas = resilience.replicas();
    let network = Network::new(resilience, replicas, [writer.party()], &[Arc::new(OwnedRecords)]);
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

    let mut group = criterion.benchmark_group(format!("dht/put 1 KiB, k = {max_faulty}"));
    // Each replica: request, receipt and reply are signed; request, record, reply and receipt are verified.
    group.bench_function(
        format!("peer: its {} signatures and {} verifications", 3 * replicas, 4 * replicas),
        |b| {
            b.iter(|| {
                bare.sign(3 * replicas);
                bare.verify(4 * replicas);
            });
        },
    );
    group.bench_function("ours: Client::put", |b| {
        b.iter_batched(
            next,
            |record| runtime.block_on(client.put(&record, now)).expect("stored"),
            BatchSize::SmallInput,
        );
    });
    group.finish();

    let mut group = criterion.benchmark_group(format!("dht/get 1 KiB, k = {max_faulty}"));
    // Each replica: request and reply are signed and verified; the client verifies the record once.
    let verified = 2 * replicas + 1;
    group.bench_function(
        format!("peer: its {} signatures and {verified} verifications", 2 * replicas),
        |b| {
            b.iter(|| {
                bare.sign(2 * replicas);
                bare.verify(verified);
            });
        },
    );
    group.bench_function("ours: Client::get", |b| {
        b.iter(|| {
            runtime.block_on(client.get(key, OwnedRecords::check(), now)).expect("read").expect("there")
        });
    });
    group.finish();
}

/// Nodes of the largest network.
const NODES: u64 = 10_000;

fn placement(criterion: &mut Criterion) {
    let node = |number: u64| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        key[16..24].copy_from_slice(&number.to_le_bytes());
        Node { party: PartyId::from_bytes(key).expect("canonical bytes"), endpoints: vec![] }
    };
    let nodes: Vec<Node> = (1..=NODES).map(node).collect();
    let network = Digest::from([1; 32]);
    let membership =
        Membership::new(network, 1, resilience(), nodes.clone(), BTreeSet::new()).expect("enough nodes");
    let address = |number: u64| Address::from(*blake3::hash(&number.to_le_bytes()).as_bytes());
    let mut group = criterion.benchmark_group("dht/place an address on 4 of 10,000 nodes");
    group.bench_function("peer: a keyed BLAKE3 of each node", |b| {
        b.iter(|| {
            nodes
                .iter()
                .map(|node| blake3::keyed_hash(&[7; 32], node.party.as_bytes()))
                .max_by_key(|hash| *hash.as_bytes())
        });
    });
    let mut number = 0;
    group.bench_function("ours: Membership::replicas", |b| {
        b.iter(|| {
            number += 1;
            membership.replicas(black_box(&address(number)))
        });
    });
    group.finish();

    // Two hundred nodes hold a hundred thousand addresses: how far from even?
    let few =
        Membership::new(network, 1, resilience(), nodes[..200].to_vec(), BTreeSet::new()).expect("enough");
    let mut held = std::collections::BTreeMap::<PartyId, u64>::new();
    let addresses = if benches::is_trial() { 1000 } else { 100_000 };
    (0..addresses)
        .flat_map(|number| few.replicas(&address(number)))
        .for_each(|node| *held.entry(node).or_default() += 1);
    let (least, most) =
        (held.values().min().copied().unwrap_or(0), held.values().max().copied().unwrap_or(0));
    let even = addresses * REPLICAS as u64 / 200;
    println!(
        "placement: {addresses} addresses on 200 nodes: {least} to {most} of them on a node, evenly {even}"
    );
}

/// What a writer and a reader do with content, but for the network.
fn path(criterion: &mut Criterion, mebibytes: usize) {
    let content = vec![0x5a; mebibytes << 20];
    let key = Secret::from_bytes([7; 32]);
    let cipher = ChaCha20Poly1305::new(key.expose().into());
    let bare = |content: &mut Vec<u8>| {
        for piece in content.chunks_mut(seal::CHUNK_BYTES) {
            black_box(cipher.encrypt_inout_detached(&Nonce::default(), b"", piece.into()).expect("seals"));
        }
    };
    let mut coder = StripeCoder::new(resilience()).expect("a code");
    let put = |coder: &mut StripeCoder| {
        let (mut sealer, mut stripes) = (Sealer::new(&key, b"item"), Vec::new());
        let mut sealed = Vec::with_capacity(STRIPE_BYTES);
        for piece in content.chunks(STRIPE_BYTES / (seal::CHUNK_BYTES + seal::TAG_BYTES) * seal::CHUNK_BYTES)
        {
            sealer.push(piece, &mut sealed).expect("seals");
            if sealed.len() >= STRIPE_BYTES {
                let rest = sealed.split_off(STRIPE_BYTES);
                stripes.push(coder.encode(core::mem::replace(&mut sealed, rest)).expect("encodes"));
            }
        }
        sealer.finish(&mut sealed).expect("seals");
        stripes.push(coder.encode(sealed).expect("encodes"));
        stripes
    };
    let stripes = put(&mut coder);
    let mut group = criterion.benchmark_group(format!("dht/the way of {mebibytes} MiB, k = 1"));
    group.throughput(Throughput::Bytes(content.len() as u64));
    group.bench_function("peer: ChaCha20-Poly1305 in place", |b| {
        b.iter_batched_ref(|| content.clone(), bare, BatchSize::LargeInput);
    });
    group.bench_function("ours: put, sealed, encoded, hashed", |b| {
        b.iter_with_large_drop(|| put(&mut coder));
    });
    group.bench_function("ours: get, checked, encoded again, opened", |b| {
        b.iter_with_large_drop(|| {
            let mut opener =
                Opener::new(&key, b"item", seal::sealed_bytes(content.len() as u64)).expect("a length");
            let mut plain = Vec::with_capacity(content.len());
            for (blob, shards) in &stripes {
                let given = (0..).zip(shards[..blob.data_shards()].iter().cloned());
                for piece in coder.decode(blob, given).expect("restores") {
                    opener.push(&piece, &mut plain).expect("opens");
                }
            }
            opener.finish().expect("whole");
            plain
        });
    });
    group.finish();
}

/// Bytes stored for each byte written, beside full replication.
fn stored() {
    for max_faulty in 1..=3 {
        let resilience = Resilience::tolerating(max_faulty).expect("enough replicas");
        let (_, shards) = encode_stripe(&content(), resilience).expect("encodes");
        let bytes: usize = shards.iter().map(bytes::Bytes::len).sum();
        let percent = bytes * 100 / BLOB;
        println!(
            "stored: k = {max_faulty}: {percent} % of what was written; {} % with full replication",
            resilience.replicas() * 100
        );
    }
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
