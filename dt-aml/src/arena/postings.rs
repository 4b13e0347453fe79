//! Postings: an ordered set of (key, element), in shared pages like [`Pages`](super::pages::Pages).
//!
//! ```text
//!   root ──► branch ──► leaf ──► entries in order
//! ```
//!
//! Each level but the last keeps the first entry of what is below, so that a search reads few pages. Full leaves and
//! branches are split; what has become empty goes.

use std::sync::Arc;

use super::key::Key;
use super::tree::NodeId;

/// Most entries in a leaf, and most leaves in a branch.
const WIDTH: usize = 128;
/// How full leaves and branches are made from many entries at once: room for some edits before a split.
const FILL: usize = WIDTH - WIDTH / 8;

pub(crate) type Posting = (Key, NodeId);

/// Parts in order, each with its first entry.
#[derive(Clone, Debug)]
struct Level<P>(Vec<(Posting, Arc<P>)>);

type Leaf = Vec<Posting>;

#[derive(Clone, Debug)]
pub(crate) struct Postings {
    root: Arc<Level<Level<Leaf>>>,
}

impl<P> Level<P> {
    /// The number of the part that holds `posting`, if any does; the first part stands for all that comes before.
    fn part(&self, posting: &Posting) -> usize {
        self.0.partition_point(|(first, _)| first <= posting).saturating_sub(1)
    }
}

impl Postings {
    /// The set of these entries, in any order, each once.
    pub(crate) fn of(entries: Vec<Posting>) -> Self {
        let entries = in_order(entries);
        let leaves = entries.chunks(FILL).filter_map(|leaf| Some((*leaf.first()?, Arc::new(leaf.to_vec()))));
        let mut leaves = leaves.peekable();
        let mut root = Vec::new();
        while let Some((first, _)) = leaves.peek() {
            root.push((*first, Arc::new(Level(leaves.by_ref().take(FILL).collect()))));
        }
        Self { root: Arc::new(Level(root)) }
    }

    /// The elements with this key, in no order that means anything.
    pub(crate) fn get(&self, key: Key) -> impl Iterator<Item = NodeId> + '_ {
        let start = (key, NodeId::FIRST);
        let branches = self.root.0.get(self.root.part(&start)..).unwrap_or_default().iter();
        let leaves =
            branches.flat_map(move |(_, branch)| branch.0.get(branch.part(&start)..).unwrap_or_default());
        let entries = leaves.flat_map(move |(_, leaf)| {
            let from = leaf.partition_point(|entry| *entry < start);
            leaf.get(from..).unwrap_or_default()
        });
        entries.take_while(move |(other, _)| *other == key).map(|(_, node)| *node)
    }

    pub(crate) fn insert(&mut self, posting: Posting) {
        let root = Arc::make_mut(&mut self.root);
        if root.0.is_empty() {
            root.0.push((posting, Arc::new(Level(vec![(posting, Arc::new(Vec::new()))]))));
        }
        let at = root.part(&posting);
        let (first, branch) = &mut root.0[at];
        *first = posting.min(*first);
        let branch = Arc::make_mut(branch);
        insert_in_branch(branch, posting);
        if branch.0.len() > WIDTH {
            let half = Level(branch.0.split_off(WIDTH / 2));
            root.0.insert(at + 1, (half.0[0].0, Arc::new(half)));
        }
    }

    pub(crate) fn remove(&mut self, posting: &Posting) {
        let root = Arc::make_mut(&mut self.root);
        let at = root.part(posting);
        let Some((_, branch)) = root.0.get_mut(at) else { return };
        let branch = Arc::make_mut(branch);
        let leaf_at = branch.part(posting);
        let Some((_, leaf)) = branch.0.get_mut(leaf_at) else { return };
        let leaf = Arc::make_mut(leaf);
        if let Ok(found) = leaf.binary_search(posting) {
            leaf.remove(found);
        }
        if leaf.is_empty() {
            branch.0.remove(leaf_at);
        }
        if branch.0.is_empty() {
            root.0.remove(at);
        }
    }
}

/// Counts first how many entries belong in each bucket, since there are many buckets with few entries each: what is left to
/// be sorted is small.
fn in_order(entries: Vec<Posting>) -> Vec<Posting> {
    let buckets = entries.iter().map(|(key, _)| key.bucket() + 1).max().unwrap_or(0);
    let mut ends = vec![0_usize; buckets];
    entries.iter().for_each(|(key, _)| ends[key.bucket()] += 1);
    let mut sum = 0;
    for end in &mut ends {
        sum += std::mem::replace(end, sum);
    }
    let mut sorted = entries.clone();
    for entry in entries {
        let end = &mut ends[entry.0.bucket()];
        sorted[*end] = entry;
        *end += 1;
    }
    let mut start = 0;
    for end in ends {
        // As one number each, which compares faster than part by part.
        sorted[start..end].sort_unstable_by_key(|(key, node)| key.number() << 32 | node.index() as u128);
        start = end;
    }
    debug_assert!(sorted.is_sorted(), "buckets and numbers are in the order of keys");
    sorted
}

fn insert_in_branch(branch: &mut Level<Leaf>, posting: Posting) {
    let at = branch.part(&posting);
    let (first, leaf) = &mut branch.0[at];
    *first = posting.min(*first);
    let leaf = Arc::make_mut(leaf);
    if let Err(place) = leaf.binary_search(&posting) {
        leaf.insert(place, posting);
    }
    if leaf.len() > WIDTH {
        let half = leaf.split_off(WIDTH / 2);
        branch.0.insert(at + 1, (half[0], Arc::new(half)));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn posting(number: u32) -> Posting {
        // Few keys, so that some have many entries.
        (Key::id(&(number % 7).to_string()), NodeId::from_index((number / 7) as usize))
    }

    fn assert_same(postings: &Postings, model: &BTreeSet<Posting>) {
        for number in 0..8 {
            let key = posting(number).0;
            let found: Vec<NodeId> = postings.get(key).collect();
            let expected: Vec<NodeId> =
                model.iter().filter(|(other, _)| *other == key).map(|(_, node)| *node).collect();
            assert_eq!(found, expected);
        }
    }

    proptest! {
        #[test]
        fn postings_are_a_set_and_clones_do_not_move(
            start in 0..3000_u32,
            steps in prop::collection::vec((any::<bool>(), 0..6000_u32), 0..1500),
        ) {
            let mut model: BTreeSet<Posting> = (0..start).map(posting).collect();
            let mut postings = Postings::of((0..start).rev().map(posting).collect());
            let first = (postings.clone(), model.clone());
            assert_same(&postings, &model);
            for (insert, number) in steps {
                if insert {
                    postings.insert(posting(number));
                    model.insert(posting(number));
                } else {
                    postings.remove(&posting(number));
                    model.remove(&posting(number));
                }
            }
            assert_same(&postings, &model);
            assert_same(&first.0, &first.1);
        }

        #[test]
        fn what_was_emptied_fills_again(count in 1..2000_u32) {
            let mut postings = Postings::of((0..count).map(posting).collect());
            (0..count).for_each(|number| postings.remove(&posting(number)));
            assert_same(&postings, &BTreeSet::new());
            (0..count).for_each(|number| postings.insert(posting(number)));
            assert_same(&postings, &(0..count).map(posting).collect());
        }
    }
}
