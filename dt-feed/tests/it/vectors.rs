//! Bytes that others must get too: golden values, and RFC 6962 trees as another implementation builds them.

use std::path::Path;

use dt_dht::Resilience;
use dt_feed::{
    BatchPolicy, Entry, EntryProof, Floor, Fork, MAX_FORK_BYTES, MAX_HEAD_BYTES, MAX_MANIFEST_BYTES,
    MAX_PROOF_BYTES, MAX_SEGMENT_BYTES, Publisher, Reader, Tree,
};
use dt_model::testing::{Golden, SeedRng, check_formats, identity};
use dt_model::{ContentHash, Digest, Timestamp, codec};

use crate::common::*;

const HEAD: &str = "\
# Golden bytes of dt-feed. Made by tests/it/vectors.rs; do not edit.
#
# One line is one value: its canonical (borsh) bytes in hex, or the SHA-256 of them where they are many. The owner is the party of seed 1 of
# dt_model::testing::identity, the epoch key is 32 bytes of 01, and what is random comes from dt_model::testing::SeedRng.
";
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/wire.txt");

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The leaves of the test vectors of the Certificate Transparency reference implementation, which others have taken over (Trillian,
/// `merkle/testonly/reference.go`; C2SP): eight byte strings, and the roots of the trees of the first 1 to 8 of them.
const CT_LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
const CT_ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// A tree of the first leaves, from its peaks: hashed here, with the plain SHA-256 that anybody has.
fn tree_of(leaves: &[&str]) -> Tree {
    fn perfect(leaves: &[&str]) -> [u8; 32] {
        let preimage: Vec<u8> = match leaves {
            [leaf] => {
                let bytes = (0..leaf.len() / 2).map(|at| u8::from_str_radix(&leaf[2 * at..2 * at + 2], 16));
                core::iter::once(0).chain(bytes.map(Result::unwrap)).collect()
            }
            _ => {
                let (left, right) = leaves.split_at(leaves.len() / 2);
                [&[1][..], &perfect(left), &perfect(right)].concat()
            }
        };
        *ContentHash::of(&preimage).as_bytes()
    }
    let mut peaks = Vec::new();
    let mut rest = leaves;
    while let Some(level) = rest.len().checked_ilog2() {
        let (block, after) = rest.split_at(1 << level);
        peaks.push(Digest::from(perfect(block)));
        rest = after;
    }
    codec::decode(&codec::encode(&(leaves.len() as u64, peaks)), 4096).unwrap()
}

#[test]
fn roots_are_those_of_certificate_transparency() {
    assert_eq!(
        hex(Tree::empty().root()),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "RFC 6962, section 2.1: the hash of nothing"
    );
    for (count, root) in (1..).zip(CT_ROOTS) {
        assert_eq!(hex(tree_of(&CT_LEAVES[..count]).root()), root, "{count} leaves");
    }
}

#[tokio::test]
async fn another_implementation_accepts_our_proofs() {
    use ct_merkle::{InclusionProof, RootHash};
    let network = network();
    let owner = client(&network, OWNER);
    let publisher = published(&network, &owner, 77, 9).await;
    let now = network.now();
    let mut reader = Reader::open(&owner, publisher.feed(), all_keys, now).await.unwrap();
    for index in 0..77 {
        let (proof, head) = reader.prove(index, now).await.unwrap();
        let path: Vec<u8> = proof.path.iter().flat_map(|hash| *hash.as_bytes()).collect();
        let path = InclusionProof::<sha2::Sha256>::try_from_bytes(path).unwrap();
        let root = RootHash::<sha2::Sha256>::new((*head.root().as_bytes()).into(), head.size());
        assert!(root.verify_inclusion(&leaf_preimage(&proof), index, &path).is_ok(), "{index}");
    }
}

/// What a leaf is the hash of, put together from its specification.
fn leaf_preimage(proof: &EntryProof) -> Vec<u8> {
    let payload = &proof.entry.payload;
    let mut preimage = vec![15];
    preimage.extend_from_slice(b"dt/feed/leaf/v1");
    preimage.extend_from_slice(manifest().feed().as_bytes());
    preimage.extend_from_slice(&proof.index.to_le_bytes());
    preimage.extend_from_slice(&proof.blinding);
    preimage.extend_from_slice(&proof.entry.timestamp.as_millis().to_le_bytes());
    preimage.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    preimage.extend_from_slice(payload);
    preimage
}

/// A batch of five readings: everything that it writes follows from its entries, the key, the time and the random source.
fn batch(seed: u64) -> (Step, Vec<u8>) {
    let owner = identity(OWNER);
    let mut publisher = Publisher::new(manifest(), BatchPolicy::default(), key(1), None).unwrap();
    let now = Timestamp::from_millis(START + 1000);
    (0..5).for_each(|index| publisher.append(reading(index), now).unwrap());
    let resilience = Resilience::tolerating(1).unwrap();
    let batch = publisher.batch(resilience, now, &owner, &mut SeedRng::new(seed)).unwrap().unwrap();
    assert_eq!(batch.sealed().len(), 4 + 5 * (12 + 9) + 16);
    let step = Step { segment: batch.segment().clone(), head: batch.head().clone() };
    (step, batch.sealed().to_vec())
}

#[tokio::test]
async fn formats_are_what_they_were() {
    let mut golden = Golden::new(HEAD);
    golden.section("A feed");
    golden.value("manifest", &manifest(), MAX_MANIFEST_BYTES);
    golden.add("feed", manifest().feed().as_bytes());
    golden.value("entry", &Entry::new(Timestamp::from_millis(0x0102), "4.02"), 1024);
    golden.value("floor", &Floor { size: 3, root: Digest::from([0xaa; 32]) }, 64);
    golden.section("What a batch writes");
    let (step, sealed) = batch(1);
    golden.add("sealed entries", &sealed);
    golden.value("segment", &*step.segment, MAX_SEGMENT_BYTES);
    golden.value("head", &*step.head, MAX_HEAD_BYTES);
    golden.add("root", step.head.root().as_bytes());
    golden.section("What is shown to others");
    let fork = Fork::between(&step.head, &batch(2).0.head).unwrap();
    golden.value("fork", &fork, MAX_FORK_BYTES);
    let network = network();
    let owner = client(&network, OWNER);
    published(&network, &owner, 5, 10).await;
    let mut reader = Reader::open(&owner, manifest().feed(), all_keys, network.now()).await.unwrap();
    let (proof, _) = reader.prove(2, network.now()).await.unwrap();
    golden.value("proof of an entry", &proof, MAX_PROOF_BYTES);
    golden.check(Path::new(FILE), "DT_FEED_WRITE_GOLDEN");
}

/// A new type or domain is to be given golden bytes, and a line here.
#[test]
fn every_format_has_golden_bytes() {
    let formats = [
        ("Entry", "entry"),
        ("EntryProof", "proof of an entry"),
        ("FeedId", "feed"),
        ("Floor", "floor"),
        ("Fork", "fork"),
        ("Head", "head"),
        ("Manifest", "manifest"),
        ("Segment", "segment"),
        ("dt/feed/blinding/v1", "root"),
        ("dt/feed/leaf/v1", "root"),
        ("dt/feed/manifest/v1", "feed"),
        ("dt/feed/segment-key/v1", "sealed entries"),
    ];
    let sources = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    check_formats(sources, &formats, Path::new(FILE));
}
