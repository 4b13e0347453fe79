//! How evenly rendezvous hashing spreads addresses over nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// As evenly as throwing dice: the sum of squared deviations is what it is for independent throws, within six standard deviations.
/// `--nocapture` prints the imbalance.
#[test]
fn nodes_hold_as_much_as_chance_gives_them() {
    for (nodes, addresses) in [(10u64, 4000u32), (100, 4000), (10_000, 400)] {
        let registered = (0..nodes).map(|seed| Node { party: identity(seed).party(), endpoints: Vec::new() });
        let resilience = Resilience::tolerating(1).unwrap();
        let membership =
            Membership::new(Digest::ZERO, 1, resilience, registered.collect(), BTreeSet::new()).unwrap();
        let mut loads: BTreeMap<_, u64> = BTreeMap::new();
        for number in 0..addresses {
            let address = *blake3::hash(&number.to_le_bytes()).as_bytes();
            for node in membership.replicas(&address.into()) {
                *loads.entry(node).or_default() += 1;
            }
        }
        let throws = u64::from(addresses) * 4;
        let squares: u64 = loads.values().map(|load| load * load).sum();
        // Σ (load − mean)² / mean. Each address draws four of the nodes: that makes nodes × (1 − 4 / nodes).
        let deviation = i128::from(squares * nodes / throws) - i128::from(throws);
        let expected = i128::from(nodes - 4);
        let spread = 6 * i128::from((2 * nodes).isqrt() + 1);
        let most = loads.values().max().unwrap() * nodes * 100 / throws;
        println!(
            "{nodes} nodes, {throws} replicas: the fullest has {most} % of the mean; spread {deviation} of {expected}"
        );
        assert!((deviation - expected).abs() <= spread, "{nodes} nodes: {deviation} is not about {expected}");
    }
}
