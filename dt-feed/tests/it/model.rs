//! Property tests against the naive model of a feed: a vector of entries.

use core::time::Duration;

use dt_dht::testing::Network;
use dt_feed::{Entry, Publisher, Reader};
use dt_model::testing::SeedRng;
use dt_model::{Signer as _, Timestamp};
use proptest::prelude::*;

use crate::common::*;

#[derive(Debug, Clone)]
enum Action {
    Append { later: u64, payload: Vec<u8> },
    Flush,
    Rotate,
    Restart,
    StopNode(usize),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        12 => (0u64..50, prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(later, payload)| Action::Append { later, payload }),
        3 => Just(Action::Flush),
        1 => Just(Action::Rotate),
        1 => Just(Action::Restart),
        1 => (0usize..4).prop_map(Action::StopNode),
    ]
}

async fn run(actions: Vec<Action>, batch: u32) -> (Network, Vec<Entry>) {
    let network = network();
    let owner = client(&network, OWNER);
    let mut rng = SeedRng::new(5);
    let mut epoch = 1;
    let mut model: Vec<Entry> = Vec::new();
    let mut publisher =
        Publisher::create(&owner, manifest(), policy(batch), key(epoch), network.now()).await.unwrap();
    for action in actions {
        match action {
            Action::Append { later, payload } => {
                network.advance(Duration::from_millis(later));
                let entry = Entry::new(network.now(), payload);
                publisher.append(entry.clone(), network.now()).unwrap();
                model.push(entry);
            }
            Action::Flush => {
                publisher.flush(&owner, network.now(), &mut rng).await.unwrap();
                assert_eq!(publisher.size(), model.len() as u64);
            }
            Action::Rotate => {
                epoch += 1;
                publisher.set_key(key(epoch)).unwrap();
            }
            Action::Restart => {
                publisher = Publisher::resume(&owner, manifest(), policy(batch), key(epoch), network.now())
                    .await
                    .unwrap();
                model.truncate(publisher.size() as usize);
            }
            Action::StopNode(which) => {
                network.nodes().iter().for_each(|node| network.in_process().start(&node.party()));
                network.in_process().stop(&network.nodes()[which].party());
            }
        }
    }
    publisher.flush(&owner, network.now(), &mut rng).await.unwrap();
    (network, model)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_feed_is_a_vector(
        actions in prop::collection::vec(action(), 0..80),
        batch in 1u32..20,
        ranges in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 3),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (network, model) = run(actions, batch).await;
            let stranger = client(&network, STRANGER);
            let now = network.now();
            let mut reader = Reader::open(&stranger, manifest().feed(), all_keys, now).await.unwrap();
            for (a, b) in ranges {
                let (a, b) = (a.index(model.len() + 1), b.index(model.len() + 1));
                let (from, to) = (a.min(b), a.max(b));
                let read = reader.range(from as u64..to as u64, now).await.unwrap();
                prop_assert_eq!(&read[..], &model[from..to]);

                let time = |at: usize| model.get(at).map_or(Timestamp::MAX, |entry| entry.timestamp);
                let times = time(from)..time(to);
                let run = reader.history(times.clone(), now).await.unwrap();
                let expected: Vec<Entry> =
                    model.iter().filter(|entry| times.contains(&entry.timestamp)).cloned().collect();
                prop_assert_eq!(&run.entries, &expected);

                if from < model.len() {
                    let (proof, head) = reader.prove(from as u64, now).await.unwrap();
                    prop_assert_eq!(proof.verify(&manifest(), head.record()), Ok(()));
                    prop_assert_eq!(&proof.entry, &model[from]);
                }
            }
            Ok(())
        })?;
    }

    /// A replica that gets the records in any order, with losses and repeats, holds a chain and a head of the one log.
    #[test]
    fn a_shelf_holds_a_prefix(
        counts in prop::collection::vec(1u64..9, 1..8),
        order in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..60),
    ) {
        let steps = steps(None, &counts, 0);
        let mut shelf = Shelf::with_manifest();
        let (mut segments, mut head) = (0, 0);
        for (which, is_head) in order {
            let at = which.index(steps.len());
            if is_head {
                let accepted = shelf.offer(steps[at].head.record()).is_ok();
                prop_assert_eq!(accepted, at + 1 >= head && at < segments);
                if accepted { head = at + 1; }
            } else {
                let accepted = shelf.offer(steps[at].segment.record()).is_ok();
                prop_assert_eq!(accepted, at <= segments);
                if at == segments { segments += 1; }
            }
            prop_assert!(head <= segments);
        }
    }
}
