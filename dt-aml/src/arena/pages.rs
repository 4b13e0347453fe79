//! A vector in shared pages: copied in no time, changed without copying more than a page or three.
//!
//! ```text
//!   root ──► branch ──► page ──► 64 items
//! ```
//!
//! A clone shares everything with the original. Who changes an item then gets a page, a branch and a root of its own;
//! who shares with nobody changes in place.

use std::sync::Arc;

/// Items in a page, and pages in a branch.
const WIDTH: usize = 1 << SHIFT;
const SHIFT: usize = 6;

type Page<T> = Vec<T>;
type Branch<T> = Vec<Arc<Page<T>>>;

/// A vector of items that are cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Pages<T> {
    root: Arc<Vec<Arc<Branch<T>>>>,
    len: usize,
}

/// Where item number `index` is: its branch, its page in the branch, its place in the page.
const fn place(index: usize) -> (usize, usize, usize) {
    (index >> (2 * SHIFT), (index >> SHIFT) % WIDTH, index % WIDTH)
}

impl<T: Clone> Pages<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Item number `index`, which MUST be below the length.
    pub(crate) fn get(&self, index: usize) -> &T {
        let (branch, page, at) = place(index);
        &self.root[branch][page][at]
    }

    /// Item number `index`, which MUST be below the length, to be changed.
    pub(crate) fn get_mut(&mut self, index: usize) -> &mut T {
        let (branch, page, at) = place(index);
        let branch = Arc::make_mut(&mut Arc::make_mut(&mut self.root)[branch]);
        &mut Arc::make_mut(&mut branch[page])[at]
    }

    pub(crate) fn push(&mut self, item: T) {
        let (branch, page, _) = place(self.len);
        let root = Arc::make_mut(&mut self.root);
        if root.len() == branch {
            root.push(Arc::new(Vec::with_capacity(1)));
        }
        let branch = Arc::make_mut(&mut root[branch]);
        if branch.len() == page {
            branch.push(Arc::new(Vec::new()));
        }
        Arc::make_mut(&mut branch[page]).push(item);
        self.len += 1;
    }

    /// Drops all items from number `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        let (branch, page, at) = place(len);
        let root = Arc::make_mut(&mut self.root);
        root.truncate(branch + 1);
        if let Some(branch) = root.last_mut() {
            let branch = Arc::make_mut(branch);
            branch.truncate(page + 1);
            if let Some(page) = branch.last_mut() {
                Arc::make_mut(page).truncate(at);
            }
        }
        self.len = len;
        self.drop_empty();
    }

    /// Drops a last page and a last branch without items.
    fn drop_empty(&mut self) {
        let root = Arc::make_mut(&mut self.root);
        if let Some(branch) = root.last_mut() {
            let branch = Arc::make_mut(branch);
            branch.pop_if(|page| page.is_empty());
        }
        root.pop_if(|branch| branch.is_empty());
    }
}

/// Fills pages one item after another, each of which can be changed until all are there. Shares nothing yet, so it
/// needs no counting of references.
pub(crate) struct PagesBuilder<T>(Vec<Page<T>>);

impl<T: Clone> PagesBuilder<T> {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> &mut T {
        &mut self.0[index / WIDTH][index % WIDTH]
    }

    pub(crate) fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * WIDTH + last.len())
    }

    #[inline]
    pub(crate) fn push(&mut self, item: T) {
        match self.0.last_mut() {
            Some(page) if page.len() < WIDTH => page.push(item),
            _ => {
                let mut page = Vec::with_capacity(WIDTH);
                page.push(item);
                self.0.push(page);
            }
        }
    }

    pub(crate) fn into_items(self) -> impl Iterator<Item = T> {
        self.0.into_iter().flatten()
    }

    pub(crate) fn build(self) -> Pages<T> {
        let len = self.len();
        let mut root: Vec<Arc<Branch<T>>> = Vec::with_capacity(self.0.len().div_ceil(WIDTH));
        let mut pages = self.0.into_iter().map(Arc::new).peekable();
        while pages.peek().is_some() {
            root.push(Arc::new(pages.by_ref().take(WIDTH).collect()));
        }
        Pages { root: Arc::new(root), len }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(u32),
        Set(usize, u32),
        Truncate(usize),
        Clone,
    }

    fn steps() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => any::<u32>().prop_map(Step::Push),
            3 => (any::<usize>(), any::<u32>()).prop_map(|(at, item)| Step::Set(at, item)),
            1 => any::<usize>().prop_map(Step::Truncate),
            1 => Just(Step::Clone),
        ]
    }

    fn assert_same(pages: &Pages<u32>, model: &[u32]) {
        assert_eq!(pages.len(), model.len());
        assert!((0..model.len()).all(|index| *pages.get(index) == model[index]));
    }

    proptest! {
        #[test]
        fn pages_are_a_vector_and_clones_do_not_move(
            start in prop::sample::select(vec![0, 1, WIDTH - 1, WIDTH, WIDTH * WIDTH - 1, WIDTH * WIDTH + 5]),
            steps in prop::collection::vec(steps(), 0..200),
        ) {
            let mut model: Vec<u32> = (0..start as u32).collect();
            let mut builder = PagesBuilder::new();
            model.iter().for_each(|item| builder.push(*item));
            let mut pages = builder.build();
            let mut clones = vec![(pages.clone(), model.clone())];
            for step in steps {
                match step {
                    Step::Push(item) => {
                        pages.push(item);
                        model.push(item);
                    }
                    Step::Set(at, item) if !model.is_empty() => {
                        let at = at % model.len();
                        *pages.get_mut(at) = item;
                        model[at] = item;
                    }
                    Step::Set(..) => {}
                    Step::Truncate(len) => {
                        let len = len % (model.len() + 1);
                        pages.truncate(len);
                        model.truncate(len);
                    }
                    Step::Clone => clones.push((pages.clone(), model.clone())),
                }
            }
            assert_same(&pages, &model);
            clones.iter().for_each(|(pages, model)| assert_same(pages, model));
        }
    }
}
