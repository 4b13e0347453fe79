//! Questions to the history, held against a list of everything that is filtered in so many words.

use std::collections::{BTreeMap, BTreeSet};

use dt_ledger::{
    Call, DocumentId, MAX_PAGE, Order, Outcome, Page, Place, Policy, Query, Receipt, Resource, Scope,
    TwinCall, document_id,
};
use dt_model::{ComponentId, Identity, PartyId, Signer as _, Timestamp, TwinId};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::*;

/// What the test knows of a transaction.
#[derive(Debug, Clone)]
struct Known {
    place: Place,
    time: Timestamp,
    sender: PartyId,
    is_applied: bool,
    twins: BTreeSet<TwinId>,
    components: BTreeSet<(TwinId, ComponentId)>,
}

/// What a call is to be: who calls, on which twin, what, and at which element.
type Draw = (usize, usize, usize, usize);

const AT: [&str; 3] = ["tank", "valve", "level"];

/// A plant with two twins, and the list of all that was done since.
struct World {
    plant: Plant,
    twins: [TwinId; 2],
    known: Vec<Known>,
    documents: BTreeMap<TwinId, (DocumentId, Option<ComponentId>)>,
    inserted: u32,
}

/// A call, and the elements that it touches if it is applied, and if it is not.
type Meant = (Call, Vec<ComponentId>, Vec<ComponentId>);

impl World {
    fn new() -> Self {
        let plant = Plant::new();
        let other = plant.chain.twin(&plant.maintainer, Some(&plant.agent), &[(&plant.owner, "maintainer")]);
        let twins = [plant.twin, other];
        Self { plant, twins, known: Vec::new(), documents: BTreeMap::new(), inserted: 0 }
    }

    fn party(&self, who: usize) -> &Identity {
        [&self.plant.owner, &self.plant.maintainer, &self.plant.auditor, &self.plant.agent][who]
    }

    fn meant(&mut self, (_, twin, what, at): Draw) -> Meant {
        let (twin, at) = (self.twins[twin], AT[at]);
        let (here, nowhere) = (vec![component(at)], Vec::new());
        let program = vec![component("set-speed")];
        let (call, applied, named) = match what {
            0 => (add_document(Some(at)), here.clone(), here),
            1 => (add_document(None), nowhere.clone(), nowhere),
            2 => {
                let (document, at) = self.documents.get(&twin).cloned().unwrap_or(([9; 32].into(), None));
                let call = TwinCall::AddDocumentVersion { document, version: version(2) };
                (call, at.into_iter().collect(), nowhere)
            }
            3 => {
                let call =
                    TwinCall::SetPolicy { component: Some(component(at)), policy: Policy::paper_default() };
                (call, here.clone(), here)
            }
            4 => {
                self.inserted += 1;
                let id = format!("new-{}", self.inserted);
                (edit([insert(&id, at)]), vec![component(at), component(&id)], here)
            }
            5 => (TwinCall::CallProgram(set_speed("30", "slow")), program.clone(), program),
            6 => (TwinCall::CancelCall { call: 1 }, program, nowhere),
            7 => (add_feed(at, &self.plant.agent), here.clone(), here),
            8 => {
                let head = TwinCall::AnchorHead { component: component(at), size: 1, root: digest(1) };
                (head, here.clone(), here)
            }
            _ => {
                let uri = uri("https://example.org/data");
                (TwinCall::AddExternalSource { uri, component: Some(component(at)) }, here.clone(), here)
            }
        };
        (Call::Twin { twin, call }, applied, named)
    }

    /// Commits a block of these transactions and writes down what they did.
    fn block(&mut self, transactions: &[Vec<Draw>]) {
        let (mut signed, mut all) = (Vec::new(), Vec::new());
        for draws in transactions {
            let meant: Vec<Meant> = draws.iter().map(|draw| self.meant(*draw)).collect();
            let sender = self.party(draws[0].0);
            let ahead = all.iter().filter(|(of, _)| *of == sender.party()).count() as u64;
            let calls = meant.iter().map(|(call, ..)| call.clone()).collect();
            signed.push(self.plant.chain.sign_ahead(sender, calls, ahead));
            all.push((sender.party(), meant));
        }
        self.plant.chain.wait(1);
        let committed = self.plant.chain.commit(&signed);
        let header = &committed.block.header;
        for (index, ((sender, meant), receipt)) in (0..).zip(all.into_iter().zip(&committed.receipts)) {
            let place = Place { height: header.height, index };
            self.write_down(place, header.time, sender, meant, receipt);
        }
    }

    fn write_down(
        &mut self,
        place: Place,
        time: Timestamp,
        sender: PartyId,
        meant: Vec<Meant>,
        receipt: &Receipt,
    ) {
        let is_applied = receipt.outcome == Outcome::Applied;
        let (mut twins, mut components) = (BTreeSet::new(), BTreeSet::new());
        for (number, (call, applied, named)) in (0..).zip(meant) {
            let Call::Twin { twin, call } = call else { unreachable!("only such are drawn") };
            twins.insert(twin);
            if let TwinCall::AddDocument(document) = &call
                && is_applied
            {
                let id = document_id(place.height, &receipt.transaction, number);
                self.documents.insert(twin, (id, document.component.clone()));
            }
            let touched = if is_applied { applied } else { named };
            components.extend(touched.into_iter().map(|component| (twin, component)));
        }
        self.known.push(Known { place, time, sender, is_applied, twins, components });
    }

    fn ask(&self, query: &Query) -> Page {
        self.plant.chain.replica().query(query).unwrap()
    }

    /// What `query` asks for, of what was done by now.
    fn expected(&self, query: &Query) -> Vec<Known> {
        let fits = |known: &&Known| {
            query.party.is_none_or(|party| party == known.sender)
                && (query.from..=query.until).contains(&known.time)
                && match &query.scope {
                    None => true,
                    Some(Scope::Twin(twin)) => known.twins.contains(twin),
                    Some(Scope::Component(twin, at)) => known.components.contains(&(*twin, at.clone())),
                }
        };
        let mut expected: Vec<Known> = self.known.iter().filter(fits).cloned().collect();
        if query.order == Order::NewestFirst {
            expected.reverse();
        }
        expected
    }
}

fn draw() -> impl Strategy<Value = Draw> {
    (0usize..4, 0usize..2, 0usize..10, 0usize..3)
}

fn blocks() -> impl Strategy<Value = Vec<Vec<Vec<Draw>>>> {
    vec(vec(vec(draw(), 1..3), 1..4), 1..8)
}

/// Party, scope, the blocks of the first and the last moment (counted from the first and the last of all), order, limit.
type Asked = (Option<usize>, Option<(usize, Option<usize>)>, (u64, u64), bool, u32);

fn asked() -> impl Strategy<Value = Asked> {
    let scope = (0usize..2, prop::option::of(0usize..3));
    (prop::option::of(0usize..4), prop::option::of(scope), (0u64..4, 0u64..4), any::<bool>(), 1u32..6)
}

fn query(world: &World, (party, scope, (early, late), newest, limit): Asked) -> Query {
    let until = world.plant.chain.now().as_millis() + 3 - late;
    Query {
        party: party.map(|who| world.party(who).party()),
        scope: scope.map(|(twin, at)| match at {
            None => Scope::Twin(world.twins[twin]),
            Some(at) => Scope::Component(world.twins[twin], component(AT[at])),
        }),
        from: Timestamp::from_millis(world.plant.chain.now().as_millis() - 8 + early),
        until: if late == 0 { Timestamp::MAX } else { Timestamp::from_millis(until) },
        order: if newest { Order::NewestFirst } else { Order::OldestFirst },
        after: None,
        limit,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever is asked, in pages of any size, while the chain goes on between them: each entry of the range comes once, in order.
    #[test]
    fn pages_are_what_a_list_of_everything_says(
        before in blocks(), meanwhile in blocks(), asked in vec(asked(), 4),
    ) {
        let mut world = World::new();
        let beginning = world.plant.chain.replica().tip().height;
        before.iter().for_each(|block| world.block(block));
        for (asked, block) in asked.into_iter().zip(meanwhile.chunks(2).cycle()) {
            let mut query = query(&world, asked);
            query.from = query.from.max(Timestamp::from_millis(world.known[0].time.as_millis()));
            let at_first = world.expected(&query);
            let mut found = Vec::new();
            let mut blocks = block.iter();
            loop {
                let page = world.ask(&query);
                prop_assert!(page.entries.len() <= query.limit as usize);
                let last = page.entries.last().map(|entry| entry.place);
                found.extend(page.entries);
                if page.next.is_none() && query.order == Order::NewestFirst {
                    break;
                }
                query.after = page.next.or(last).or(query.after);
                match blocks.next() {
                    Some(block) => world.block(block),
                    None if page.next.is_none() => break,
                    None => {}
                }
            }
            let expected = match query.order {
                // Pages of before the last block may have ended; what came after them is asked for with their cursor.
                Order::OldestFirst => {
                    found.extend(world.ask(&Query { limit: MAX_PAGE, ..query.clone() }).entries);
                    world.expected(&query)
                }
                Order::NewestFirst => at_first,
            };
            prop_assert_eq!(found.len(), expected.len(), "{:?}", query);
            for (entry, known) in found.iter().zip(&expected) {
                prop_assert_eq!(entry.place, known.place);
                prop_assert_eq!((entry.time, entry.sender), (known.time, known.sender));
                prop_assert_eq!(entry.outcome == Outcome::Applied, known.is_applied);
                prop_assert_eq!(&entry.twins(), &known.twins);
                let components = entry.components().into_iter().map(|(twin, at)| (twin, at.clone()));
                prop_assert_eq!(components.collect::<BTreeSet<_>>(), known.components.clone());
                let (header, envelope, receipt) =
                    world.plant.chain.replica().transaction(&entry.transaction).unwrap().unwrap();
                prop_assert_eq!((header.height, envelope.signer()), (entry.place.height, entry.sender));
                prop_assert_eq!(&receipt.outcome, &entry.outcome);
            }
        }
        prop_assert!(beginning > 0);
    }
}

/// A newest-first walk that begins anew sees what came; one that goes on does not.
#[test]
fn newest_first_goes_back_from_where_it_began() {
    let plant = Plant::new();
    let query = Query { order: Order::NewestFirst, limit: 2, ..Query::default() };
    let first = plant.chain.replica().query(&query).unwrap();
    plant.call(&plant.owner, add_document(None)).unwrap();
    let second = plant.chain.replica().query(&Query { after: first.next, ..query.clone() }).unwrap();
    let heights = |page: &Page| page.entries.iter().map(|entry| entry.place.height).collect::<Vec<_>>();
    assert_eq!((heights(&first), heights(&second)), (vec![6, 5], vec![4, 3]));
    assert_eq!(heights(&plant.chain.replica().query(&query).unwrap()), [7, 6]);
}

#[test]
fn rejected_attempts_are_found_by_party_twin_and_component() {
    let plant = Plant::new();
    let (auditor, twin) = (&plant.auditor, plant.twin);
    plant.refused(auditor, edit([remove("valve")]));
    plant.refused(auditor, TwinCall::Decommission);
    let nowhere: TwinId = [9; 32].into();
    plant.chain.call(auditor, nowhere, TwinCall::Decommission).unwrap_err();
    let ask = |scope| {
        let query = Query { party: Some(auditor.party()), scope: Some(scope), ..Query::default() };
        plant.chain.replica().query(&query).unwrap().entries
    };
    assert_eq!(ask(Scope::Twin(twin)).len(), 2);
    assert_eq!(ask(Scope::Twin(nowhere)).len(), 1, "a twin that does not exist is named nevertheless");
    let at_valve = ask(Scope::Component(twin, component("valve")));
    assert_eq!(at_valve.len(), 1);
    let Outcome::Rejected { reason, .. } = &at_valve[0].outcome else { panic!("it was refused") };
    assert_eq!(reason.rule(), "authorization.not-permitted");
    assert!(at_valve[0].resources.values().all(|written| written.count == 0), "nothing was written");
}

/// An entry says which links of which traces its transaction wrote.
#[test]
fn an_entry_leads_to_the_traces() {
    let plant = Plant::new();
    let replica = plant.chain.replica();
    plant.document(&plant.owner, Some("tank"));
    plant.chain.apply(&plant.owner, vec![plant.on(add_document(Some("tank"))); 2]).unwrap();
    let newest = Query { order: Order::NewestFirst, limit: 1, ..Query::default() };
    let entry = replica.query(&newest).unwrap().entries.remove(0);
    let tank = entry.resources[&Resource::Element(plant.twin, component("tank"))];
    assert_eq!((tank.first, tank.count), (2, 2));
    for (resource, written) in &entry.resources {
        let trace = replica.trace(resource).unwrap();
        let of_it = trace.iter().filter(|link| link.transaction == entry.transaction);
        let numbers: Vec<u64> = of_it.map(|link| link.number).collect();
        assert_eq!(numbers, (written.first..written.first + written.count).collect::<Vec<_>>());
    }
}

/// It costs a stranger nothing to name very many things; what he names is not all indexed.
#[test]
fn a_rejected_transaction_is_found_by_few_of_the_things_that_it_names() {
    let plant = Plant::new();
    plant.refused(&plant.auditor, edit((0..1000).map(|number| remove(&format!("part-{number}")))));
    let newest = Query { order: Order::NewestFirst, limit: 1, ..Query::default() };
    let entry = plant.chain.replica().query(&newest).unwrap().entries.remove(0);
    assert_eq!(entry.resources.len(), 64);
    assert_eq!(entry.twins(), [plant.twin].into());
}

#[test]
fn forged_cursors_and_huge_limits_do_no_harm() {
    let plant = Plant::new();
    let ask = |query: Query| plant.chain.replica().query(&query).unwrap();
    let height = plant.chain.replica().tip().height;
    let all = ask(Query { limit: u32::MAX, ..Query::default() });
    assert_eq!((all.entries.len() as u64, all.next), (height, None));
    assert_eq!(ask(Query { limit: 0, ..Query::default() }).entries.len(), 1, "a page is never without any");
    let numbers = [0, 1, 3, height, height + 1, u64::MAX];
    let indices = [0, 1, u32::MAX - 1, u32::MAX];
    for (at, index) in numbers.into_iter().flat_map(|at| indices.map(|index| (at, index))) {
        let place = Place { height: at, index };
        for order in [Order::OldestFirst, Order::NewestFirst] {
            let found = ask(Query { after: Some(place), order, ..Query::default() }).entries;
            let expected = all.entries.iter().filter(|entry| match order {
                Order::OldestFirst => entry.place > place,
                Order::NewestFirst => entry.place < place,
            });
            assert_eq!(found.len(), expected.count(), "{place:?} {order:?}");
        }
    }
    let backwards = Query { from: Timestamp::MAX, until: Timestamp::default(), ..Query::default() };
    assert_eq!(ask(backwards), Page::default());
    let moment = Query { from: Timestamp::MAX, ..Query::default() };
    assert_eq!(ask(moment), Page::default());
    let before_all = Query { until: Timestamp::default(), order: Order::NewestFirst, ..Query::default() };
    assert_eq!(ask(before_all), Page::default());
    let stranger = Query { party: Some(dt_model::testing::identity(999).party()), ..Query::default() };
    assert_eq!(ask(stranger), Page::default());
}
