//! Quorum operations beside the signatures that they consist of; blobs and seals beside hash, erasure code and cipher alone.
#![expect(clippy::expect_used, reason = "a benchmark reports by panicking")]

use core::hint::black_box;
use std::collections::BTreeSet;
use std::sync::Arc;

use benches::{Ed25519, Numbers, runtime};
use bytes::Bytes;
use chacha20poly1305::aead::{Aead as _, AeadInOut as _, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use criterion::{BatchSize, Criterion, Throughput};
use dt_dht::seal::{Opener, Sealer};
use dt_dht::testing::Network;
use dt_dht::{
    Address, BlobRef, Key, Kind, Membership, Node, Order, OwnedRecords, Record, Refusal, Resilience,
    STRIPE_BYTES, Site, StripeCoder, Validator, decode_stripe, encode_stripe, seal,
};
use dt_model::testing::{Ed25519Count, count_ed25519, identity};
use dt_model::{Digest, Name, PartyId, Secret, Signed, Signer as _};

const VALUE: usize = 1024;
/// What a writer seals at once.
const PIECE: usize = 256 * 1024;
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

/// Operations of one quorum, each beside the signatures and verifications that were counted in it.
fn quorum(criterion: &mut Criterion, max_faulty: u16) {
    let writer = Arc::new(identity(1));
    let resilience = Resilience::tolerating(max_faulty).expect("enough replicas");
    let validators: [Arc<dyn Validator>; 2] = [Arc::new(OwnedRecords), Arc::new(Counter)];
    let network = Network::new(resilience, resilience.replicas(), [writer.party()], &validators);
    let client = benches::client(&network, writer.clone());
    let (now, runtime, numbers) = (network.now(), runtime(), Numbers::default());
    let name = Name::new("calibration").expect("a name");
    let key = OwnedRecords::key(&writer.party(), &name);
    let next = || -> Signed<Record> {
        let version = numbers.next() + 1;
        let record = OwnedRecords::record(writer.party(), name.clone(), version, vec![0x5a; VALUE]);
        Signed::new(record, &*writer).expect("signs")
    };
    let put = |record| runtime.block_on(client.put(&record, now)).expect("stored");
    let get =
        |()| runtime.block_on(client.get(key, OwnedRecords::check(), now)).expect("read").expect("there");
    let mut beside = Beside { criterion, max_faulty };
    beside.compare("put 1 KiB", "Client::put", next, put);
    beside.compare("get 1 KiB", "Client::get", || (), get);

    let (key, agreed) = (Key::new(Address::from([4; 32]), COUNTER, 0), Numbers::default());
    let next = || -> Signed<Record> {
        let record = Record { key, version: agreed.next() + 1, body: vec![0x5a; VALUE].into() };
        Signed::new(record, &*writer).expect("signs")
    };
    let settle = |record| runtime.block_on(client.settle(&record, now)).expect("settled");
    let state = |()| runtime.block_on(client.state(key.address, now)).expect("read").expect("there");
    beside.compare("settle 1 KiB", "Client::settle", next, settle);
    beside.compare("state of 1 KiB", "Client::state", || (), state);
}

/// Where the operations of one network are compared.
struct Beside<'a> {
    criterion: &'a mut Criterion,
    max_faulty: u16,
}

impl Beside<'_> {
    /// Measures `operate` beside the Ed25519 operations in it. What those are for, the README's "How to read them" says.
    fn compare<T, O>(
        &mut self,
        title: &str,
        ours: &str,
        mut input: impl FnMut() -> T,
        operate: impl Fn(T) -> O,
    ) {
        // The first time there is nothing to replace yet.
        operate(input());
        let mut count = || {
            let given = input();
            count_ed25519(|| operate(given)).1
        };
        let counted = count();
        assert_eq!(counted, count(), "it takes the same each time");
        let Ed25519Count { signatures, verifications } = counted;
        let bare = Ed25519::over(&[0x5a; VALUE]);
        let mut group = self.criterion.benchmark_group(format!("dht/{title}, k = {}", self.max_faulty));
        let peer = format!("peer: its {signatures} signatures and {verifications} verifications");
        group.bench_function(peer, |b| {
            b.iter(|| {
                bare.sign(signatures);
                bare.verify(verifications);
            });
        });
        group.bench_function(format!("ours: {ours}"), |b| {
            b.iter_batched(&mut input, &operate, BatchSize::SmallInput);
        });
        group.finish();
    }
}

/// Judges records of order `Agreed` by their version alone: the operation stands there for itself.
struct Counter;

const COUNTER: Kind = Kind::new(*b"coun");

impl Validator for Counter {
    fn kind(&self) -> Kind {
        COUNTER
    }

    fn order(&self) -> Order {
        Order::Agreed
    }

    fn admit(&self, site: &Site<'_>, offered: &Signed<Record>) -> Result<(), Refusal> {
        let stored = site.stored.map_or(0, |stored| stored.version);
        if offered.version == stored + 1 { Ok(()) } else { Err(Refusal::Gap { stored }) }
    }
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
    let bare = |content: &mut [u8]| {
        for piece in content.chunks_mut(seal::CHUNK_BYTES) {
            black_box(cipher.encrypt_inout_detached(&Nonce::default(), b"", piece.into()).expect("seals"));
        }
    };
    let mut coder = StripeCoder::new(resilience()).expect("a code");
    // Stripe by stripe, as `dt_acl::ItemWriter` and `dt_dht::BlobWriter` do it: `take` gets each when it is ready to be sent.
    let put = |coder: &mut StripeCoder, take: &mut dyn FnMut((BlobRef, Vec<Bytes>))| {
        let (mut sealer, mut sealed) = (Sealer::new(&key, b"item"), Vec::new());
        let mut stripe = Vec::with_capacity(STRIPE_BYTES);
        let mut send = |stripe: &mut Vec<u8>| {
            let full = core::mem::replace(stripe, Vec::with_capacity(STRIPE_BYTES));
            take(coder.encode(full).expect("encodes"));
        };
        for piece in content.chunks(PIECE) {
            sealer.push(piece, &mut sealed).expect("seals");
            let (head, tail) = sealed.split_at(sealed.len().min(STRIPE_BYTES - stripe.len()));
            stripe.extend_from_slice(head);
            if stripe.len() == STRIPE_BYTES {
                send(&mut stripe);
            }
            stripe.extend_from_slice(tail);
            sealed.clear();
        }
        sealer.finish(&mut sealed).expect("seals");
        stripe.extend_from_slice(&sealed);
        send(&mut stripe);
    };
    let mut stripes = Vec::new();
    put(&mut coder, &mut |stripe| stripes.push(stripe));
    let mut group = criterion.benchmark_group(format!("dht/the way of {mebibytes} MiB, k = 1"));
    group.throughput(Throughput::Bytes(content.len() as u64));
    group.bench_function("peer: ChaCha20-Poly1305 in place", |b| {
        b.iter_batched_ref(|| content.clone(), |content| bare(content), BatchSize::LargeInput);
    });
    // As whoever holds a whole blob together: memory that was not used before costs as much as the cipher.
    group.bench_function("peer: ChaCha20-Poly1305 into memory of its own", |b| {
        b.iter_with_large_drop(|| {
            let mut sealed = Vec::with_capacity(content.len());
            for piece in content.chunks(seal::CHUNK_BYTES) {
                let at = sealed.len();
                sealed.extend_from_slice(piece);
                bare(&mut sealed[at..]);
            }
            sealed
        });
    });
    group.bench_function("ours: put, sealed, encoded, hashed", |b| {
        b.iter(|| put(&mut coder, &mut |stripe| drop(black_box(stripe))));
    });
    // Memory that nobody used before costs as much again: what a writer to slow replicas sees, of whose stripes many are under way.
    group.bench_function("ours: put, all stripes kept", |b| {
        b.iter_with_large_drop(|| {
            let mut stripes = Vec::new();
            put(&mut coder, &mut |stripe| stripes.push(stripe));
            stripes
        });
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
    // As `dt_acl::ItemReader` does it: what it gives need not be held together, so the memory is the same again.
    group.bench_function("ours: get, the same piece by piece", |b| {
        b.iter(|| {
            let mut opener =
                Opener::new(&key, b"item", seal::sealed_bytes(content.len() as u64)).expect("a length");
            for (blob, shards) in &stripes {
                let given = (0..).zip(shards[..blob.data_shards()].iter().cloned());
                for piece in coder.decode(blob, given).expect("restores") {
                    let mut plain = Vec::with_capacity(piece.len() + seal::CHUNK_BYTES);
                    opener.push(&piece, &mut plain).expect("opens");
                    black_box(plain);
                }
            }
            opener.finish().expect("whole");
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
