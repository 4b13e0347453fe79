//! Following events: from any cursor, through any crash, in any pages the same sequence; and what filters let pass.

use std::collections::BTreeSet;
use std::sync::Arc;

use dt_ledger::store::{Batch, Table};
use dt_ledger::testing::Fixture;
use dt_ledger::{
    Call, Consensus, Event, EventCursor, EventFilter, EventKind, EventsError, Follower, LedgerStore,
    MemoryStore, Occurrence, Query, Replica, Resource, TwinCall, TwinEvent,
};
use dt_model::{DataClass, Signer as _};

use crate::support::*;

/// A plant in which something of every sort happens, several things in one block, and nothing in some.
fn eventful(plant: &Plant) {
    let Plant { chain, owner, maintainer, agent, .. } = plant;
    let on = |calls: Vec<TwinCall>| calls.into_iter().map(|call| plant.on(call)).collect::<Vec<Call>>();
    plant.call(owner, add_feed("level", agent)).unwrap();
    let document = plant.document(maintainer, Some("tank"));
    let mixed = on(vec![
        TwinCall::AddDocumentVersion { document, version: version(2) },
        TwinCall::RemoveDocument { document },
        edit([insert("pump", "tank"), remove("valve")]),
    ]);
    let calls = on(vec![TwinCall::CallProgram(set_speed("30", "slow")); 2]);
    chain.commit(&[chain.sign(maintainer, mixed), chain.sign(owner, calls)]);
    plant.refused(&plant.auditor, add_document(None));
    plant.call(agent, TwinCall::ClaimCalls { epoch: 1 }).unwrap();
    plant.call(agent, TwinCall::StartCall { call: 1, epoch: 1 }).unwrap();
    let head = TwinCall::AnchorHead { component: component("level"), size: 3, root: digest(3) };
    plant.call(agent, head).unwrap();
    let _ = chain.twin(maintainer, None, &[]);
    plant.call(owner, TwinCall::SetAgent { agent: None }).unwrap();
    plant
        .call(
            owner,
            TwinCall::SetPolicy { component: Some(component("tank")), policy: dt_ledger::Policy::none() },
        )
        .unwrap();
    chain.apply(owner, vec![Call::RegisterNode { endpoints: vec![uri("node")] }]).unwrap();
    chain.apply(owner, vec![Call::RevokeCertificate { party: owner.party() }]).unwrap();
}

/// All events, read off the blocks.
fn everything(replica: &Replica) -> Vec<Event> {
    (1..=replica.tip().height).flat_map(|height| replica.block(height).unwrap().unwrap().events).collect()
}

fn pages(replica: &Replica, from: EventCursor, filter: &EventFilter, limit: u32) -> Vec<Occurrence> {
    let (mut from, mut all) = (from, Vec::new());
    loop {
        let page = replica.events(from, filter, limit).unwrap();
        assert!(page.events.len() <= limit as usize);
        if page.next == from {
            assert!(page.events.is_empty());
            return all;
        }
        all.extend(page.events);
        from = page.next;
    }
}

async fn follow(consensus: &Arc<dyn Consensus>, from: EventCursor, filter: &EventFilter) -> Vec<Occurrence> {
    let mut follower = Follower::new(Arc::clone(consensus), from, filter.clone());
    let mut all = Vec::new();
    while let Some(occurrence) = follower.next_committed().await.unwrap() {
        assert_eq!(follower.cursor(), occurrence.cursor);
        all.push(occurrence);
    }
    all
}

#[tokio::test]
async fn the_sequence_goes_on_from_any_cursor() {
    let plant = Plant::new();
    eventful(&plant);
    let replica = plant.chain.replica();
    let consensus: Arc<dyn Consensus> = Arc::new(plant.chain.solo());
    let all = pages(replica, EventCursor::BEGINNING, &EventFilter::default(), 1000);
    assert_eq!(
        all.iter().map(|occurrence| occurrence.event.clone()).collect::<Vec<_>>(),
        everything(replica)
    );
    assert!(all.len() > 20 && all.is_sorted_by_key(|occurrence| occurrence.cursor));
    let some = EventFilter::default().classes([DataClass::Program, DataClass::Sensor]);
    for filter in [EventFilter::default(), some] {
        let passing: Vec<_> = all.iter().filter(|of| filter.matches(&of.event)).cloned().collect();
        for crash in 0..=all.len() {
            // What is kept is the cursor of the last event that was dealt with.
            let kept = crash.checked_sub(1).map_or(EventCursor::BEGINNING, |last| all[last].cursor);
            let rest: Vec<_> = passing.iter().filter(|of| of.cursor > kept).cloned().collect();
            for limit in [1, 2, 7, 1000] {
                assert_eq!(pages(replica, kept, &filter, limit), rest);
            }
            assert_eq!(follow(&consensus, kept, &filter).await, rest);
        }
    }
    for height in 0..=replica.tip().height + 1 {
        let rest: Vec<_> = all.iter().filter(|of| of.cursor.height > height).cloned().collect();
        assert_eq!(pages(replica, EventCursor::after_block(height), &EventFilter::default(), 5), rest);
    }
}

/// One follows while the chain goes on, and crashes now and then, also while it waits.
#[tokio::test]
async fn a_follower_misses_nothing_while_blocks_are_made() {
    let plant = Plant::new();
    let solo = Arc::new(plant.chain.solo());
    let consensus: Arc<dyn Consensus> = solo.clone();
    let (mut kept, mut seen) = (EventCursor::BEGINNING, Vec::new());
    for round in 0..30 {
        let calls = vec![plant.on(add_document(Some("tank"))); round % 4];
        if !calls.is_empty() {
            solo.submit(plant.chain.sign(&plant.owner, calls)).await.unwrap();
        }
        let mut follower = Follower::new(Arc::clone(&consensus), kept, EventFilter::default());
        loop {
            let given_up = async { tokio::task::yield_now().await };
            let next = tokio::select! { biased; next = follower.next() => next, () = given_up => break };
            let next = next.unwrap();
            kept = next.cursor;
            seen.push(next.event);
            if seen.len() % 5 == 0 {
                follower = Follower::new(Arc::clone(&consensus), kept, EventFilter::default());
            }
        }
        // Whoever gave up waiting goes on with the same follower.
        solo.submit(plant.chain.sign(&plant.owner, vec![plant.on(add_document(None))])).await.unwrap();
        let next = follower.next().await.unwrap();
        kept = next.cursor;
        seen.push(next.event);
    }
    assert_eq!(seen, everything(plant.chain.replica()));
    let mut follower = Follower::new(consensus, kept, EventFilter::default());
    let (told, made) = tokio::join!(
        follower.next(),
        solo.submit(plant.chain.sign(&plant.owner, vec![plant.on(add_document(None))]))
    );
    assert_eq!(told.unwrap().event.transaction, made.unwrap(), "one that waits is told");
}

#[test]
fn filters_tell_things_apart() {
    let plant = Plant::new();
    eventful(&plant);
    let (replica, twin) = (plant.chain.replica(), plant.twin);
    let kinds = |filter: EventFilter| -> Vec<EventKind> {
        let found = pages(replica, EventCursor::BEGINNING, &filter, 3);
        found.into_iter().map(|occurrence| occurrence.event.kind).collect()
    };
    let names = |filter: EventFilter| -> Vec<String> {
        let name = |kind: &EventKind| match kind {
            EventKind::Twin(of, event) if *of == twin => format!("{event:?}"),
            kind => format!("{kind:?}"),
        };
        let name =
            |kind: &EventKind| name(kind).split(['(', '{']).next().unwrap_or_default().trim().to_owned();
        kinds(filter).iter().map(name).collect()
    };
    let all = || EventFilter::default();
    let at = |resource| names(all().resources([resource]));
    let tank = Resource::Element(twin, component("tank"));
    assert_eq!(
        at(tank.clone()),
        ["DocumentAdded", "DocumentVersionAdded", "DocumentRemoved", "SpecificationChanged", "PolicyChanged"],
        "an element's events are its documents', its own, and its policy's"
    );
    assert_eq!(at(Resource::Element(twin, component("level"))), ["FeedAdded", "HeadAnchored"]);
    assert_eq!(at(Resource::Feed(twin, component("level"))), ["FeedAdded", "HeadAnchored"]);
    assert_eq!(at(Resource::Element(twin, component("pump"))), ["SpecificationChanged"]);
    assert_eq!(at(Resource::Element(twin, component("valve"))), ["SpecificationChanged"]);
    assert_eq!(at(Resource::Element(twin, component("motor"))), [""; 0]);
    let program = ["CallQueued", "CallQueued", "CallsClaimed", "CallStarted", "AgentChanged"];
    assert_eq!(
        at(Resource::Element(twin, component("set-speed"))),
        program,
        "a call's program is its element"
    );
    assert_eq!(at(Resource::Call(twin, 1)), ["CallQueued", "CallsClaimed", "CallStarted"]);
    assert_eq!(
        at(Resource::Call(twin, 2)),
        ["CallQueued", "CallsClaimed", "AgentChanged"],
        "it is open again"
    );
    assert_eq!(at(Resource::Nodes), ["NodeRegistered", "NodeRetired"]);
    let party = Resource::Party(plant.owner.party());
    assert_eq!(
        at(party.clone()),
        ["PartyRegistered", "CertificateRevoked"],
        "each event has its own resources"
    );
    assert_eq!(names(all().resources([tank]).classes([DataClass::Policy])), ["PolicyChanged"]);
    assert_eq!(names(all().twins([twin]).classes([DataClass::Sensor])), ["FeedAdded", "HeadAnchored"]);
    assert_eq!(names(all().twins([[9; 32].into()])), [""; 0]);
    let of_twin = kinds(all().twins([twin]));
    assert!(
        of_twin
            .iter()
            .all(|kind| matches!(kind, EventKind::Twin(of, _) | EventKind::TwinCreated(of) if *of == twin))
    );
    assert_eq!(kinds(all().twins([twin]).resources([party])).len(), of_twin.len() + 2, "one or the other");
    assert!(of_twin.contains(&EventKind::Twin(twin, TwinEvent::CallStarted(1))));
}

/// What events say they happened to is what the traces say was written.
#[test]
fn events_and_entries_tell_of_the_same_things() {
    let plant = Plant::new();
    eventful(&plant);
    let replica = plant.chain.replica();
    for entry in replica.query(&Query::default()).unwrap().entries {
        let block = replica.block(entry.place.height).unwrap().unwrap();
        let of_it = block.events.iter().filter(|event| event.transaction == entry.transaction);
        let told: BTreeSet<&Resource> = of_it.flat_map(|event| &event.resources).collect();
        if entry.outcome == dt_ledger::Outcome::Applied {
            assert_eq!(told, entry.resources.keys().collect());
        } else {
            assert!(told.is_empty());
        }
    }
}

#[tokio::test]
async fn forged_cursors_find_nothing_and_do_no_harm() {
    let plant = Plant::new();
    let replica = plant.chain.replica();
    let (tip, filter) = (replica.tip().height, EventFilter::default());
    let consensus: Arc<dyn Consensus> = Arc::new(plant.chain.solo());
    for height in [tip + 1, tip + 2, u64::MAX - 1, u64::MAX] {
        for index in [0, 1, u32::MAX] {
            let cursor = EventCursor { height, index };
            let page = replica.events(cursor, &filter, u32::MAX).unwrap();
            assert_eq!((page.events.len(), page.next), (0, cursor));
            assert_eq!(follow(&consensus, cursor, &filter).await, []);
        }
    }
    assert_eq!(EventCursor::after_block(u64::MAX).height, u64::MAX);
    let behind = EventCursor { height: tip, index: u32::MAX };
    assert_eq!(pages(replica, behind, &filter, 1), [], "more events than a block has");
    assert_eq!(replica.events(EventCursor::BEGINNING, &filter, 0).unwrap().events.len(), 1);
    let beginning = EventCursor { height: 0, index: u32::MAX };
    assert_eq!(
        pages(replica, beginning, &filter, 9).len(),
        everything(replica).len(),
        "block 0 has no events"
    );
}

#[test]
fn whoever_comes_too_late_is_told_so() {
    let store = MemoryStore::default();
    let plant = Plant::over(Fixture::new(Arc::new(store.clone()), 2, 1));
    let mut batch = Batch::default();
    for height in 1..=2u64 {
        batch.remove(Table::Blocks, [&height.to_be_bytes()[..], b"b"].concat());
    }
    store.commit(batch).unwrap();
    let replica = plant.chain.replica();
    let from = |height| replica.events(EventCursor::after_block(height), &EventFilter::default(), 10);
    assert!(matches!(from(0), Err(EventsError::Pruned { height: 1 })));
    assert!(matches!(from(1), Err(EventsError::Pruned { height: 2 })));
    assert_eq!(from(2).unwrap().events.len(), 4);
}
