//! Whatever changes on disk, the audit finds it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{audit, code, said, story};

/// A small generator, so that a failing bit can be flipped again.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = [folder.to_owned(), folder.join("keys")].map(|part| fs::read_dir(part).unwrap());
    let paths = entries.into_iter().flatten().map(|entry| entry.unwrap().path());
    // The journal of a ledger that was closed is empty: it has no bit to flip.
    let has_bits = |path: &PathBuf| path.is_file() && fs::metadata(path).unwrap().len() > 0;
    let mut files: Vec<_> = paths.filter(has_bits).collect();
    files.sort();
    files
}

fn flip(path: &Path, byte: usize, bit: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[byte] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_bit_flipped_anywhere_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let told = story(folder.path(), &["--seed", "9"]);
    assert_eq!(code(&told), 0, "{}", said(&told));
    let mut random = Lcg(2019);
    for path in files(folder.path()) {
        let flips = if path.extension().is_some_and(|extension| extension == "redb") { 4 } else { 1 };
        for _ in 0..flips {
            let length = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
            let (byte, bit) = (random.below(length), u8::try_from(random.below(8)).unwrap());
            flip(&path, byte, bit);
            let found = audit(folder.path());
            assert_eq!(code(&found), 1, "{} byte {byte} bit {bit}: {}", path.display(), said(&found));
            flip(&path, byte, bit);
        }
    }
    let sound = audit(folder.path());
    assert_eq!(code(&sound), 0, "everything as it was: {}", said(&sound));
}

/// Without the seal, what is stored still proves itself.
#[test]
fn stored_data_proves_itself_without_the_seal() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(code(&story(folder.path(), &["--seed", "9"])), 0);
    fs::remove_file(folder.path().join("seal.json")).unwrap();
    assert_eq!(code(&audit(folder.path())), 0);

    let ledger = folder.path().join("ledger.redb");
    let bytes = fs::read(&ledger).unwrap();
    // Text of the specification, and of a document's title, wherever they are stored.
    for needle in ["guided microwave probe", "fill-level sensor replaced"] {
        let places: Vec<usize> = bytes
            .windows(needle.len())
            .enumerate()
            .filter(|(_, w)| *w == needle.as_bytes())
            .map(|(at, _)| at)
            .collect();
        assert!(!places.is_empty(), "{needle} is stored");
        let found = places.iter().any(|&at| {
            fs::write(&ledger, &bytes).unwrap();
            flip(&ledger, at, 0);
            code(&audit(folder.path())) == 1
        });
        assert!(found, "{needle}: altered where it counts, it is found");
    }
    fs::write(&ledger, &bytes).unwrap();

    // Nobody can put another run's ledger in its place: the auditor knows which chain it must be.
    let other = "00".repeat(32);
    let refused = crate::run(&["audit", "--data", crate::text(folder.path()), "--chain", &other]);
    assert_eq!(code(&refused), 1, "{}", said(&refused));
}

#[test]
fn a_file_that_vanished_or_appeared_is_found() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(code(&story(folder.path(), &["--seed", "9"])), 0);
    let node = folder.path().join("node-2.redb");
    let kept = fs::read(&node).unwrap();
    fs::remove_file(&node).unwrap();
    assert_eq!(code(&audit(folder.path())), 1);
    fs::write(&node, &kept).unwrap();
    let stranger = folder.path().join("extra");
    fs::write(&stranger, "x").unwrap();
    assert_eq!(code(&audit(folder.path())), 1);
    fs::remove_file(&stranger).unwrap();
    assert_eq!(code(&audit(folder.path())), 0);
}
