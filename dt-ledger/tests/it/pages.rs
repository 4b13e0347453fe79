//! Traces and the lists of the state, page by page, against the whole of them.

use std::sync::Arc;

use dt_ledger::store::{Batch, Table};
use dt_ledger::testing::Fixture;
use dt_ledger::{
    DocumentId, LedgerStore, MemoryStore, Resource, StoreError, TraceEntry, TraceError, TraceHead, TwinCall,
};
use dt_model::{ComponentId, Signer as _, codec};

use crate::support::*;

#[test]
fn documents_are_listed_in_the_order_in_which_they_came() {
    let plant = Plant::new();
    let added: Vec<DocumentId> = (0..300).map(|_| plant.document(&plant.owner, Some("tank"))).collect();
    let state = plant.chain.state();
    let listed: Vec<DocumentId> =
        state.documents(&plant.twin).unwrap().into_iter().map(|(id, _)| id).collect();
    assert_eq!(listed, added);
    let of = state.documents_of(&plant.twin, &component("tank"), Some(&added[99]), 150).unwrap();
    assert_eq!(of, added[100..250]);
}

#[test]
fn a_trace_in_pages_is_the_trace() {
    let plant = Plant::new();
    let replica = plant.chain.replica();
    for _ in 0..7 {
        plant.document(&plant.owner, Some("tank"));
    }
    let tank = Resource::Element(plant.twin, component("tank"));
    let whole = replica.trace(&tank).unwrap();
    for limit in [0, 1, 2, 3, 7, 8, u32::MAX] {
        let (mut at, mut entries) = (TraceHead::BEGINNING, Vec::new());
        loop {
            let page = replica.trace_page(&tank, at, limit).unwrap();
            assert!(page.entries.len() <= limit.max(1) as usize);
            entries.extend(page.entries);
            at = page.reached;
            if page.reached == page.head {
                break;
            }
        }
        assert_eq!(entries, whole);
    }
    for entry in &whole {
        let page = replica.trace_page(&tank, TraceHead::after(entry), 1000).unwrap();
        assert_eq!(page.entries, whole[entry.number as usize..]);
    }
    let untouched =
        replica.trace_page(&Resource::Element(plant.twin, component("motor")), TraceHead::BEGINNING, 5);
    let untouched = untouched.unwrap();
    assert_eq!(
        (untouched.entries.len(), untouched.reached, untouched.head),
        (0, TraceHead::BEGINNING, TraceHead::BEGINNING)
    );

    let last = TraceHead::after(&whole[6]);
    let forged = [
        TraceHead { count: 3, last: last.last },
        TraceHead { count: 0, last: last.last },
        TraceHead { count: 8, last: last.last },
        TraceHead { count: u64::MAX, last: last.last },
        TraceHead { count: 7, last: digest(1) },
    ];
    for forged in forged {
        let refused = replica.trace_page(&tank, forged, 5).unwrap_err();
        assert!(matches!(refused, TraceError::NotOfThisTrace(at) if at == forged), "{refused}");
    }
}

#[test]
fn a_broken_trace_is_noticed_on_its_page() {
    let store = MemoryStore::default();
    let plant = Plant::over(Fixture::new(Arc::new(store.clone()), 2, 1));
    for _ in 0..5 {
        plant.document(&plant.owner, Some("tank"));
    }
    let tank = Resource::Element(plant.twin, component("tank"));
    let key = |number: u64| [b"rr".as_slice(), tank.digest().as_bytes(), &number.to_be_bytes()].concat();
    let read = |at: TraceHead, limit| plant.chain.replica().trace_page(&tank, at, limit);
    let first = read(TraceHead::BEGINNING, 2).unwrap();
    let is_damaged = |outcome: Result<_, TraceError>| {
        matches!(outcome, Err(TraceError::Store(StoreError::Damaged { table: Table::Index, .. })))
    };
    let value = |number| store.view().unwrap().get(Table::Index, &key(number)).unwrap().unwrap();
    let whole: Vec<_> = (1..=5).map(value).collect();
    let with = |number: u64, value: Option<Vec<u8>>| {
        let mut batch = Batch::default();
        batch.extend(Table::Index, [(key(number), value)]);
        store.commit(batch).unwrap();
    };
    // Another in the place of one: all numbers are right, and so is the last link.
    let mut other: TraceEntry = codec::decode(&whole[3], 4096).unwrap();
    other.author = plant.agent.party();
    with(4, Some(codec::encode(&other)));
    assert!(is_damaged(read(first.reached, 9)));
    with(4, Some(whole[3].clone()));
    for (number, value) in [(4, None), (4, Some(whole[2].clone())), (5, None), (5, Some(vec![1])), (3, None)]
    {
        with(number, value);
        assert_eq!(read(TraceHead::BEGINNING, 2).unwrap(), first, "before it nothing is wrong");
        assert!(is_damaged(read(first.reached, 3)), "entry {number}");
        assert!(is_damaged(read(first.reached, 9)), "entry {number}");
        with(number, Some(whole[number as usize - 1].clone()));
    }
    assert_eq!(read(first.reached, 9).unwrap().entries.len(), 3);
}

#[test]
fn lists_in_pages_are_the_lists() {
    let plant = Plant::new();
    let Plant { chain, owner, agent, twin, .. } = &plant;
    for at in ["tank", "valve", "motor", "level"] {
        plant.call(owner, add_feed(at, agent)).unwrap();
        plant.document(owner, Some(at));
        plant.document(owner, Some("tank"));
        let uri = uri(&format!("https://example.org/{at}"));
        plant.call(owner, TwinCall::AddExternalSource { uri, component: None }).unwrap();
    }
    let other = chain.twin(owner, None, &[]);
    chain.call(owner, other, add_document(Some("tank"))).unwrap();
    let state = chain.state();
    /// Whether pages of every size, put together, are `whole`.
    fn check<K: Clone + PartialEq + std::fmt::Debug, T: PartialEq + std::fmt::Debug>(
        whole: Vec<(K, T)>,
        count: usize,
        page: impl Fn(Option<&K>, usize) -> Vec<(K, T)>,
    ) {
        assert_eq!(whole.len(), count);
        for limit in 1..=count + 1 {
            let mut all: Vec<(K, T)> = Vec::new();
            loop {
                let next = page(all.last().map(|(key, _)| key), limit);
                assert!(next.len() <= limit);
                if next.is_empty() {
                    break;
                }
                all.extend(next);
            }
            assert_eq!(all, whole, "in pages of {limit}");
        }
    }
    check(state.parties().unwrap(), 5, |after, limit| state.parties_page(after, limit).unwrap());
    let participants = state.participants(twin).unwrap();
    check(participants, 4, |after, limit| state.participants_page(twin, after, limit).unwrap());
    let documents = state.documents(twin).unwrap();
    check(documents.clone(), 8, |after, limit| state.documents_page(twin, after, limit).unwrap());
    check(state.sources(twin).unwrap(), 4, |after, limit| state.sources_page(twin, after, limit).unwrap());
    check(state.feeds(twin).unwrap(), 4, |after, limit| state.feeds_page(twin, after, limit).unwrap());

    let at_tank: Vec<_> = documents
        .iter()
        .filter(|(_, of)| of.component == Some(component("tank")))
        .map(|(id, _)| (*id, ()))
        .collect();
    let of = |component: &ComponentId, after: Option<&dt_ledger::DocumentId>, limit| {
        state.documents_of(twin, component, after, limit).unwrap()
    };
    let unit = |ids: Vec<_>| ids.into_iter().map(|id| (id, ())).collect::<Vec<_>>();
    check(at_tank, 5, |after, limit| unit(of(&component("tank"), after, limit)));
    assert_eq!(of(&component("nowhere"), None, 9), []);
    let holding = |item, author| unit(state.documents_holding(twin, &item, &author, None, 99).unwrap());
    let all: Vec<_> = documents.iter().map(|(id, _)| (*id, ())).collect();
    assert_eq!(holding(digest(1), owner.party()), all);
    assert_eq!(holding(digest(1), agent.party()), []);
    assert_eq!(holding(digest(2), owner.party()), []);
}
