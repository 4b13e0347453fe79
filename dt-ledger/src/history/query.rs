//! Questions to the chain's history: which transactions a party sent, or touched a twin or an element, between two times; in pages.
//!
//! Each condition is a list of places in the order of the chain ([`crate::history`]). Where there are two, the walk leaps from one list into
//! the other, so that its work follows the shorter of them.

use std::ops::ControlFlow;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{ComponentId, PartyId, Timestamp, TwinId};
use serde::{Deserialize, Serialize};

use crate::block::load_header;
use crate::history::{ENTRIES, Entry, Place, component_list, party_list, twin_list};
use crate::replica::opening::{TIP, read_meta};
use crate::replica::{Replica, Tip};
use crate::store::{StoreError, StoreView, Table};

/// The most entries of one page.
pub const MAX_PAGE: u32 = 1000;
/// Places that are looked up for one page: enough for a full page of two lists in step.
const MAX_SEEKS: u32 = 4 * MAX_PAGE;
/// Bytes of entries after which a page ends: one entry may name very many elements.
const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// What is asked of the history. The default asks for everything, the oldest first.
///
/// # Examples
/// ```
/// # use dt_ledger::testing::Fixture;
/// use dt_ledger::{Order, Query};
/// use dt_model::Signer as _;
///
/// # let chain = Fixture::default();
/// # let owner = chain.enrol(1);
/// # let twin = chain.twin(&owner, None, &[]);
/// let query = Query { party: Some(owner.party()), order: Order::NewestFirst, limit: 1, ..Query::default() };
/// let page = chain.replica().query(&query)?;
/// assert!(page.entries[0].twins().contains(&twin));
/// let rest = chain.replica().query(&Query { after: page.next, ..query })?;
/// assert_eq!(rest.entries[0].place.height, 1, "the owner was enrolled first");
/// # Ok::<(), dt_ledger::StoreError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Query {
    /// Only what this party sent.
    pub party: Option<PartyId>,
    /// Only what touched this.
    pub scope: Option<Scope>,
    /// Only blocks of this time or later.
    pub from: Timestamp,
    /// Only blocks of this time or earlier.
    pub until: Timestamp,
    /// In which order.
    pub order: Order,
    /// Only what comes after this place in that order: [`Page::next`], or the place of an entry that was seen.
    pub after: Option<Place>,
    /// How many entries at most; counts as 1 where it is 0, and as [`MAX_PAGE`] where it is more.
    pub limit: u32,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            party: None,
            scope: None,
            from: Timestamp::default(),
            until: Timestamp::MAX,
            order: Order::OldestFirst,
            after: None,
            limit: MAX_PAGE,
        }
    }
}

/// What a transaction touched: wrote to, or, where it was rejected, would have.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Anything of a twin.
    Twin(TwinId),
    /// An element of its specification, with what is linked to it: documents, sources, its feed, its policy, calls of it.
    Component(TwinId, ComponentId),
}

/// In which order entries come.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// As the chain has them. Blocks that come meanwhile are found by later pages.
    #[default]
    OldestFirst,
    /// Backwards, from where the chain stood when the first page was asked for.
    NewestFirst,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Page {
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// After which place to go on; `None` if there is nothing more for now.
    ///
    /// There may be a place after a short page, even after one without entries: the page's share of the work was spent.
    pub next: Option<Place>,
}

impl Replica {
    /// The next page of what `query` asks for.
    ///
    /// A place may be kept, and given again when the chain has gone on: within the query's range no entry is missed, and none comes
    /// twice. What was pruned is not found any more. A page costs at most 4000 looks into the index, a few dozen headers for the times,
    /// and its entries, of which it takes no more after the first MiB.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn query(&self, query: &Query) -> Result<Page, StoreError> {
        let view = self.snapshot()?.view;
        let Some((mut at, walk)) = Walk::new(&*view, query)? else { return Ok(Page::default()) };
        let limit = query.limit.clamp(1, MAX_PAGE) as usize;
        let (mut page, mut seeks, mut bytes) = (Page::default(), 0, 0);
        while page.entries.len() < limit && bytes < MAX_PAGE_BYTES {
            let place = match walk.next(at, &mut seeks)? {
                Step::Found(place) => place,
                Step::Spent(reached) => {
                    page.next = query.order.before(reached);
                    return Ok(page);
                }
                Step::End => return Ok(page),
            };
            let damaged = || StoreError::Damaged { table: Table::Index, key: place.to_bytes().to_vec() };
            let (entry, length) = Entry::load(&*view, place)?.ok_or_else(damaged)?;
            page.entries.push(entry);
            bytes += length;
            match query.order.after(place) {
                Some(next) => at = next,
                None => return Ok(page),
            }
        }
        page.next = query.order.before(at);
        Ok(page)
    }
}

impl Order {
    /// The place directly after `place` in this order.
    fn after(self, place: Place) -> Option<Place> {
        match self {
            Self::OldestFirst => place.next(),
            Self::NewestFirst => place.previous(),
        }
    }

    /// The place directly before `place` in this order.
    fn before(self, place: Place) -> Option<Place> {
        match self {
            Self::OldestFirst => place.previous(),
            Self::NewestFirst => place.next(),
        }
    }
}

/// A walk along the places that all of some lists have.
struct Walk<'a> {
    view: &'a dyn StoreView,
    order: Order,
    /// What the keys of each list start with.
    lists: Vec<Vec<u8>>,
    /// The last place that is asked for.
    last: Place,
}

enum Step {
    /// The next place that all lists have.
    Found(Place),
    /// There is none before this one; nobody has looked further.
    Spent(Place),
    /// There is none.
    End,
}

impl<'a> Walk<'a> {
    /// The walk that answers `query`, and the place at which it begins.
    fn new(view: &'a dyn StoreView, query: &Query) -> Result<Option<(Place, Self)>, StoreError> {
        let scope = query.scope.as_ref().map(|scope| match scope {
            Scope::Twin(twin) => twin_list(twin),
            Scope::Component(twin, component) => component_list(*twin, component),
        });
        let mut lists: Vec<_> = query.party.as_ref().map(party_list).into_iter().chain(scope).collect();
        if lists.is_empty() {
            lists.push(ENTRIES.to_vec());
        }
        let Some((earliest, latest)) = places(view, query.from, query.until)? else { return Ok(None) };
        let (first, last) = match query.order {
            Order::OldestFirst => (earliest, latest),
            Order::NewestFirst => (latest, earliest),
        };
        let walk = Self { view, order: query.order, lists, last };
        let first = match query.after {
            None => first,
            Some(after) => match query.order.after(after) {
                Some(next) if walk.is_beyond(next, first) => next,
                Some(_) => first,
                None => return Ok(None),
            },
        };
        Ok(Some((first, walk)))
    }

    /// Whether `place` comes after `other`.
    fn is_beyond(&self, place: Place, other: Place) -> bool {
        match self.order {
            Order::OldestFirst => place > other,
            Order::NewestFirst => place < other,
        }
    }

    /// The next place, `at` or after it, that all lists have.
    fn next(&self, mut at: Place, seeks: &mut u32) -> Result<Step, StoreError> {
        loop {
            let (mut agreed, mut reached) = (true, None);
            for list in &self.lists {
                if *seeks == MAX_SEEKS {
                    return Ok(Step::Spent(at));
                }
                *seeks += 1;
                match self.seek(list, at)? {
                    Some(place) if !self.is_beyond(place, self.last) => {
                        agreed &= reached.is_none_or(|reached| reached == place);
                        (at, reached) = (place, Some(place));
                    }
                    _ => return Ok(Step::End),
                }
            }
            if agreed {
                return Ok(Step::Found(at));
            }
        }
    }

    /// The first place of `list`, `at` or after it.
    fn seek(&self, list: &[u8], at: Place) -> Result<Option<Place>, StoreError> {
        let mut found = None;
        let mut visit = |key: &[u8], _: &[u8]| {
            found = key.starts_with(list).then(|| key.to_vec());
            ControlFlow::Break(())
        };
        let from = [list, &at.to_bytes()].concat();
        match self.order {
            Order::OldestFirst => self.view.scan(Table::Index, &from, &mut visit)?,
            Order::NewestFirst => self.view.scan_back(Table::Index, &from, &mut visit)?,
        }
        let Some(key) = found else { return Ok(None) };
        match key.get(list.len()..).and_then(Place::from_bytes) {
            Some(place) => Ok(Some(place)),
            None => Err(StoreError::Damaged { table: Table::Index, key }),
        }
    }
}

/// The first and the last place in blocks of times between `from` and `until`, both included.
fn places(
    view: &dyn StoreView,
    from: Timestamp,
    until: Timestamp,
) -> Result<Option<(Place, Place)>, StoreError> {
    let (mut first, mut last) = (Place::FIRST, Place::LAST);
    if from > Timestamp::default() {
        first = Place { height: first_height(view, |time| time >= from)?, index: 0 };
    }
    if until < Timestamp::MAX {
        let beyond = Place { height: first_height(view, |time| time > until)?, index: 0 };
        match beyond.previous() {
            Some(place) => last = place,
            None => return Ok(None),
        }
    }
    Ok((first <= last).then_some((first, last)))
}

/// The first height whose block's time is `late`, or that of the next block: times never go back. Headers that are not kept are earlier
/// than those that are.
fn first_height(view: &dyn StoreView, late: impl Fn(Timestamp) -> bool) -> Result<u64, StoreError> {
    let tip = read_meta::<Tip>(view, TIP)?.map_or(0, |tip| tip.height);
    let (mut low, mut high) = (1, tip.saturating_add(1));
    while low < high {
        let middle = low + (high - low) / 2;
        if load_header(view, middle)?.is_some_and(|(header, _)| late(header.time)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Batch, LedgerStore as _, MemoryStore};

    /// Two lists that never meet, each place of one between two of the other: the worst for a walk along both.
    #[test]
    fn the_work_of_a_page_is_bounded_and_goes_on_with_the_next() {
        let party = dt_model::Signer::party(&dt_model::testing::identity(1));
        let twin = TwinId::from([7; 32]);
        let store = MemoryStore::default();
        let mut batch = Batch::default();
        let places = 3 * MAX_SEEKS;
        for index in 0..places {
            let list = if index % 2 == 0 { party_list(&party) } else { twin_list(&twin) };
            batch.put(
                Table::Index,
                [list, Place { height: 1, index }.to_bytes().to_vec()].concat(),
                Vec::new(),
            );
        }
        store.commit(batch).unwrap();
        let view = store.view().unwrap();
        for order in [Order::OldestFirst, Order::NewestFirst] {
            let query =
                Query { party: Some(party), scope: Some(Scope::Twin(twin)), order, ..Query::default() };
            let (mut at, walk) = Walk::new(&*view, &query).unwrap().unwrap();
            let mut rounds = 0;
            loop {
                let mut seeks = 0;
                let step = walk.next(at, &mut seeks).unwrap();
                assert!(seeks <= MAX_SEEKS);
                match step {
                    Step::Spent(reached) => {
                        let after = order.before(reached);
                        let (again, _) =
                            Walk::new(&*view, &Query { after, ..query.clone() }).unwrap().unwrap();
                        assert!(walk.is_beyond(again, at), "it goes on");
                        at = again;
                    }
                    Step::End => break,
                    Step::Found(place) => panic!("{place:?} is not in both"),
                }
                rounds += 1;
            }
            assert!((2..=4).contains(&rounds), "{rounds}");
        }
    }
}
