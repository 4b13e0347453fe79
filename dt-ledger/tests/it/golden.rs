//! The golden chain: a story in which every call, edit, refusal and event occurs, and the roots after each of its blocks.
//!
//! They are kept in `tests/golden/chain.txt`, which says in its first lines what its columns are. They change when the rules or an encoding
//! do: with that, old chains no longer replay, so they must never change by accident.

mod kinds;
mod random;
mod story;
mod work;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use dt_ledger::{CommittedBlock, Genesis, MemoryStore, Replica, Tip};
use dt_model::{ContentHash, codec};

pub(crate) use story::story;

/// Set, it has the test write the file anew.
const WRITE: &str = "DT_LEDGER_WRITE_GOLDEN";
/// The file that the test compares with.
const KEPT: &str = include_str!("../golden/chain.txt");

/// What the story makes, told once for all tests.
pub(crate) struct Golden {
    pub(crate) genesis: Genesis,
    pub(crate) blocks: Vec<CommittedBlock>,
    pub(crate) tips: Vec<Tip>,
    pub(crate) store: MemoryStore,
}

pub(crate) fn golden() -> &'static Golden {
    static GOLDEN: OnceLock<Golden> = OnceLock::new();
    GOLDEN.get_or_init(|| {
        let store = MemoryStore::default();
        let replica = Arc::clone(story(Arc::new(store.clone())).replica());
        let genesis = replica.genesis().clone();
        let blocks: Vec<_> =
            (1..=replica.tip().height).map(|height| replica.block(height).unwrap().unwrap()).collect();
        // The tips are those of another replica, to which the blocks are all that it has.
        let other = Replica::open(Arc::new(MemoryStore::default()), &genesis).unwrap();
        let follow = |block: &CommittedBlock| {
            other.commit(block.block.clone(), block.certificate.clone()).unwrap();
            other.tip()
        };
        let tips = blocks.iter().map(follow).collect();
        assert_eq!(other.tip(), replica.tip());
        Golden { genesis, blocks, tips, store }
    })
}

/// What the file says of itself.
const HEAD: &str = "\
# The golden chain of dt-ledger: what a replica must hold after each block. Made by tests/it/golden.rs; do not edit.
#
# Line `chain`:  the digest of the genesis, by which the chain is named.
# Other lines, one for each block in order, with a space between:
#   height         counted from 1
#   time           the block's, milliseconds since 1970
#   transactions   how many it holds
#   block          SHA-256 digest of its header
#   state          root of the Merkle map over the state after it
#   receipts       RFC 6962 root (SHA-256) over its receipts
#   log-size       transactions on the chain up to and with it
#   log            RFC 6962 root over these
#   events         SHA-256 over its events (canonical bytes of `Vec<Event>`), which no header tells of
# Digests are in hex. The genesis and the blocks themselves, as canonical (borsh) bytes of `Genesis` and then of each `Block`, each after
# its length in 4 bytes (little-endian), are written by the test to the file that DT_LEDGER_GOLDEN_BLOCKS names.
";

fn text(golden: &Golden) -> String {
    let line = |(block, tip): (&CommittedBlock, &Tip)| {
        let Tip { height, block: digest, time, state_root, receipts_root, log, .. } = tip;
        let (time, count) = (time.as_millis(), block.receipts.len());
        let events = ContentHash::of(&codec::encode(&block.events));
        let roots = format!("{digest} {state_root} {receipts_root}");
        format!("{height} {time} {count} {roots} {} {} {events}\n", log.size, log.root)
    };
    let lines: String = golden.blocks.iter().zip(&golden.tips).map(line).collect();
    format!("{HEAD}chain {}\n{lines}", golden.genesis.chain())
}

#[test]
fn the_chain_is_what_it_was() {
    let golden = golden();
    let made = text(golden);
    if let Some(path) = std::env::var_os("DT_LEDGER_GOLDEN_BLOCKS") {
        std::fs::write(path, bytes(golden)).unwrap();
    }
    if std::env::var_os(WRITE).is_some() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/chain.txt");
        std::fs::write(path, made).unwrap();
        return;
    }
    let Some((made, kept)) = first_difference(&made, KEPT) else { return };
    panic!(
        "the golden chain is another, first where it should say\n  {kept}\nand says\n  {made}\nOld chains no longer replay. If the \
         change was meant, say so in the CHANGELOG and write the file anew:\n  {WRITE}=1 cargo test -p dt-ledger --test it golden"
    );
}

/// The first line that differs, in both texts.
fn first_difference<'a>(made: &'a str, kept: &'a str) -> Option<(&'a str, &'a str)> {
    let count = made.lines().count().max(kept.lines().count());
    let lines = |text: &'a str| text.lines().chain(std::iter::repeat("(nothing)")).take(count);
    lines(made).zip(lines(kept)).find(|(made, kept)| made != kept)
}

fn bytes(golden: &Golden) -> Vec<u8> {
    let blocks = golden.blocks.iter().map(|block| codec::encode(&block.block));
    let all = std::iter::once(codec::encode(&golden.genesis)).chain(blocks);
    all.flat_map(|bytes| [u32::try_from(bytes.len()).unwrap().to_le_bytes().to_vec(), bytes].concat())
        .collect()
}

#[test]
fn the_story_leaves_nothing_out() {
    let missing = kinds::Found::in_blocks(&golden().blocks).missing();
    assert!(missing.is_empty(), "the story lacks: {missing:#?}");
}

#[test]
fn the_first_block_that_differs_is_named() {
    let kept = text(golden());
    assert_eq!(first_difference(&kept, &kept), None);
    let lines: Vec<&str> = kept.lines().collect();
    let other = lines[20].replace(' ', "  ");
    let made = kept.replacen(lines[20], &other, 1).replacen(lines[30], "", 1);
    assert_eq!(first_difference(&made, &kept), Some((other.as_str(), lines[20])));
    let shorter = lines[..lines.len() - 1].join("\n");
    assert_eq!(first_difference(&shorter, &kept), Some(("(nothing)", *lines.last().unwrap())));
}
