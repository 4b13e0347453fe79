//! Trees and proofs against the definitions of RFC 6962, section 2.1, written down as they stand there.

use dt_model::merkle::{
    CompactRange, ConsistencyProof, InclusionProof, MAX_PROOF_HASHES, Subtree, Tree, consistency_path,
    gather, inclusion_path, leaf_hash, node_hash, root, subtrees,
};
use dt_model::testing::digest;
use dt_model::{Digest, codec};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::sample::{hex, unhex};

fn leaves(count: u64) -> Vec<Digest> {
    (0..count).map(|index| leaf_hash(&[&index.to_le_bytes()])).collect()
}

/// The largest power of two below `count`.
fn split(count: usize) -> usize {
    count.next_power_of_two() / 2
}

/// MTH, section 2.1.
fn mth(d: &[Digest]) -> Digest {
    match d {
        [] => unhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
            .try_into()
            .map(<[u8; 32]>::into)
            .unwrap(),
        [leaf] => *leaf,
        _ => node_hash(&mth(&d[..split(d.len())]), &mth(&d[split(d.len())..])),
    }
}

/// PATH, section 2.1.1.
fn path(m: usize, d: &[Digest]) -> Vec<Digest> {
    if d.len() <= 1 {
        return Vec::new();
    }
    let (left, right) = d.split_at(split(d.len()));
    let (mut below, beside) = match m.checked_sub(left.len()) {
        None => (path(m, left), mth(right)),
        Some(m) => (path(m, right), mth(left)),
    };
    below.push(beside);
    below
}

/// SUBPROOF, section 2.1.2.
fn subproof(m: usize, d: &[Digest], is_old_tree: bool) -> Vec<Digest> {
    if m == d.len() {
        return if is_old_tree { Vec::new() } else { vec![mth(d)] };
    }
    let (left, right) = d.split_at(split(d.len()));
    let (mut below, beside) = match m.checked_sub(left.len()) {
        None | Some(0) => (subproof(m, left, is_old_tree), mth(right)),
        Some(m) => (subproof(m, right, false), mth(left)),
    };
    below.push(beside);
    below
}

fn range(leaves: &[Digest], start: u64, end: u64) -> CompactRange {
    let mut range = CompactRange::empty(start);
    leaves[start as usize..end as usize].iter().for_each(|leaf| range.push_leaf(*leaf).unwrap());
    range
}

fn hash_of(leaves: &[Digest]) -> impl FnMut(Subtree) -> Result<Digest, ()> {
    |subtree| range(leaves, subtree.start(), subtree.end()).root().ok_or(())
}

#[test]
fn proofs_are_those_of_the_definitions() {
    let all = leaves(40);
    for size in 0..=40 {
        let log = &all[..size as usize];
        assert_eq!(root(log.iter().copied()), mth(log));
        for index in 0..size {
            let proof = InclusionProof::generate(index, size, hash_of(log)).unwrap().unwrap();
            assert_eq!(proof.hashes, path(index as usize, log), "leaf {index} of {size}");
            assert!(proof.verify(&log[index as usize], &mth(log)));
        }
        assert_eq!(InclusionProof::generate(size, size, hash_of(log)), Ok(None));
        for from in 1..=size {
            let old = &all[..from as usize];
            let proof = ConsistencyProof::generate(from, size, hash_of(log)).unwrap().unwrap();
            assert_eq!(proof.hashes, subproof(from as usize, log, true), "{from} to {size}");
            assert!(proof.verify(&mth(old), &mth(log)), "{from} to {size}");
        }
        let proof = ConsistencyProof::generate(0, size, hash_of(log)).unwrap().unwrap();
        assert!(proof.hashes.is_empty() && proof.verify(&mth(&[]), &mth(log)), "all begins with nothing");
        assert_eq!(ConsistencyProof::generate(size + 1, size, hash_of(log)), Ok(None));
    }
}

proptest! {
    #[test]
    fn a_proof_shows_one_thing_only(
        size in 2u64..130, pick: prop::sample::Index, at: prop::sample::Index, bit in 0usize..256, other in digest()
    ) {
        let log = leaves(size);
        let top = mth(&log);
        let index = pick.index(size as usize) as u64;
        let leaf = log[index as usize];
        let proof = InclusionProof::generate(index, size, hash_of(&log)).unwrap().unwrap();
        prop_assert!(proof.verify(&leaf, &top));
        prop_assert!(!proof.verify(&other, &top) && !proof.verify(&leaf, &other));
        for shifted in 0..size {
            let moved = InclusionProof { index: shifted, ..proof.clone() };
            prop_assert_eq!(moved.verify(&leaf, &top), shifted == index, "one place only");
        }
        for changed in broken(&proof.hashes, at, bit, other) {
            let changed = InclusionProof { hashes: changed, ..proof.clone() };
            prop_assert!(!changed.verify(&leaf, &top));
        }

        let from = index.max(1);
        let old = mth(&log[..from as usize]);
        let proof = ConsistencyProof::generate(from, size, hash_of(&log)).unwrap().unwrap();
        prop_assert!(proof.verify(&old, &top));
        prop_assert!(!proof.verify(&other, &top) && !proof.verify(&old, &other) && !proof.verify(&top, &old));
        for changed in broken(&proof.hashes, at, bit, other) {
            let changed = ConsistencyProof { hashes: changed, ..proof.clone() };
            prop_assert!(!changed.verify(&old, &top));
        }
    }

    #[test]
    fn verification_is_total(
        a: u64, b: u64, small in 0u64..5, hashes in vec(digest(), 0..140), leaf in digest(), top in digest()
    ) {
        for (index, size) in [(a, b), (b, a), (a, u64::MAX), (u64::MAX, a), (small, b), (u64::MAX - 1, u64::MAX), (0, 0)] {
            let proof = InclusionProof { index, size, hashes: hashes.clone() };
            prop_assert!(!proof.verify(&leaf, &top));
            let proof = ConsistencyProof { from: index, to: size, hashes: hashes.clone() };
            prop_assert!(!proof.verify(&leaf, &top));
            prop_assert!(inclusion_path(index, size).len() < MAX_PROOF_HASHES);
            prop_assert!(consistency_path(index, size).len() <= MAX_PROOF_HASHES);
            prop_assert!(subtrees(index, size).count() <= 126);
        }
    }

    /// Any path of the right length leads somewhere, at any size, and nowhere with one hash more or less.
    #[test]
    fn lengths_follow_from_the_sizes(size in 1u64.., pick: u64, hash in digest()) {
        let index = pick % size;
        let steps = inclusion_path(index, size).len();
        let proof = |count| InclusionProof { index, size, hashes: vec![hash; count] };
        prop_assert!(proof(steps).root(&hash).is_some());
        prop_assert!(proof(steps + 1).root(&hash).is_none());
        prop_assert!(steps == 0 || proof(steps - 1).root(&hash).is_none());
    }

    #[test]
    fn ranges_join_to_the_root(cuts in vec(0u64..200, 1..6)) {
        let log = leaves(200);
        let mut cuts = cuts;
        cuts.sort_unstable();
        let (mut joined, mut tree, mut at) = (CompactRange::empty(0), Tree::empty(), 0);
        for cut in cuts {
            let next = range(&log, at, cut);
            prop_assert_eq!(next.hashes().len(), subtrees(at, cut).count());
            joined.extend(&next).unwrap();
            let longer = tree.extended(&next).unwrap();
            prop_assert!(tree.agrees_with(&longer));
            prop_assert!(at == cut || at == 0 || joined.extend(&next).is_none(), "once only");
            (tree, at) = (longer, cut);
        }
        prop_assert_eq!(&joined, &range(&log, 0, at));
        prop_assert_eq!(joined.root(), Some(mth(&log[..at as usize])));
        prop_assert_eq!((tree.size(), tree.root()), (at, mth(&log[..at as usize])));
        prop_assert_eq!(tree.range(), joined);
        prop_assert_eq!(codec::decode::<Tree>(&codec::encode(&tree), 4096), Ok(tree));
    }

    #[test]
    fn whoever_watches_sees_every_subtree_once(count in 0u64..70) {
        let log = leaves(count);
        let mut seen = Vec::new();
        let mut range = CompactRange::empty(0);
        for (index, leaf) in (0..).zip(log.iter().copied()) {
            range.push_visiting(Subtree::new(index, 0).unwrap(), leaf, |subtree, hash| seen.push((subtree, hash))).unwrap();
        }
        seen.sort_unstable();
        let mut expected = Vec::new();
        for level in 0..7 {
            for start in (0..count).step_by(1 << level) {
                let subtree = Subtree::new(start, level).unwrap();
                if subtree.end() <= count {
                    expected.push((subtree, mth(&log[start as usize..subtree.end() as usize])));
                }
            }
        }
        expected.sort_unstable();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn a_part_is_gathered_from_what_fills_it(start in 0u64..100, count in 0u64..100, level in 0u32..6) {
        let log = leaves(200);
        let wanted = Subtree::new(start >> level << level, level).unwrap();
        let parts = range(&log, start / 2, start + count);
        let complete = wanted.start() >= start / 2 && wanted.end() <= start + count
            && parts.parts().all(|(part, _)| part.level() <= level || part.start() >= wanted.end() || part.end() <= wanted.start());
        let hash = mth(&log[wanted.start() as usize..wanted.end() as usize]);
        prop_assert_eq!(gather(parts.parts(), wanted), complete.then_some(hash));
    }
}

/// The same hashes with one bit changed, one hash missing, one more, in another order.
fn broken(hashes: &[Digest], at: prop::sample::Index, bit: usize, other: Digest) -> Vec<Vec<Digest>> {
    let mut all = vec![[hashes, &[other]].concat(), [&[other], hashes].concat()];
    if !hashes.is_empty() {
        let at = at.index(hashes.len());
        let mut bytes = *hashes[at].as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let mut flipped = hashes.to_vec();
        flipped[at] = bytes.into();
        let mut missing = hashes.to_vec();
        missing.remove(at);
        let mut rotated = hashes.to_vec();
        rotated.rotate_left(1);
        all.extend([flipped, missing, rotated].into_iter().filter(|changed| changed != hashes));
    }
    all
}

#[test]
fn the_largest_sizes_do_not_overflow() {
    assert_eq!(subtrees(0, u64::MAX).count(), 64);
    assert_eq!(subtrees(1, u64::MAX).count(), 126);
    assert_eq!(inclusion_path(u64::MAX - 1, u64::MAX).len(), 63);
    assert_eq!(inclusion_path(0, u64::MAX).len(), 64);
    assert!(inclusion_path(u64::MAX, u64::MAX).is_empty());
    assert_eq!(consistency_path(1, u64::MAX).len(), 64);
    assert_eq!(consistency_path(3, u64::MAX).len(), MAX_PROOF_HASHES);
    let longest = (0..64).map(|bit| consistency_path((1u64 << bit) | 1, u64::MAX).len()).max();
    assert!(longest.is_some_and(|longest| longest <= MAX_PROOF_HASHES));
    let mut full = CompactRange::new(0, u64::MAX, vec![Digest::ZERO; 64]).unwrap();
    assert_eq!(full.push_leaf(Digest::ZERO), None);
    assert_eq!((full.end(), full.hashes().len()), (u64::MAX, 64));
    for (start, level) in [(1, 1), (0, 64), (u64::MAX, 0), (1 << 63, 63), (3, 1)] {
        assert_eq!(Subtree::new(start, level), None);
    }
    assert_eq!(Subtree::new(0, 63).unwrap().end(), 1 << 63);
    assert_eq!(CompactRange::new(1, 0, vec![]), None);
    assert_eq!(range(&leaves(9), 1, 3).root(), None, "no tree has such a part");
    assert_eq!(Tree::new(3, vec![Digest::ZERO]), None);
}

#[test]
fn roots_are_those_of_certificate_transparency() {
    let leaves =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    for (count, expected) in roots.iter().enumerate() {
        let found = root(leaves[..count].iter().map(|leaf| leaf_hash(&[&unhex(leaf)])));
        assert_eq!(hex(found.as_bytes()), *expected, "{count} leaves");
    }
}

#[test]
fn proofs_travel() {
    let log = leaves(7);
    let inclusion = InclusionProof::generate(5, 7, hash_of(&log)).unwrap().unwrap();
    let consistency = ConsistencyProof::generate(3, 7, hash_of(&log)).unwrap().unwrap();
    let bytes = codec::encode(&inclusion);
    assert_eq!(hex(&bytes[..20]), "0500000000000000070000000000000003000000");
    assert_eq!(codec::decode(&bytes, 1000).as_ref(), Ok(&inclusion));
    assert_eq!(codec::decode(&codec::encode(&consistency), 1000).as_ref(), Ok(&consistency));
    let json = serde_json::to_string(&consistency).unwrap();
    assert_eq!(serde_json::from_str::<ConsistencyProof>(&json).unwrap(), consistency);
    let json = serde_json::to_string(&inclusion).unwrap();
    assert_eq!(serde_json::from_str::<InclusionProof>(&json).unwrap(), inclusion);
}
