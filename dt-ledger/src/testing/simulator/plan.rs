//! What is to happen, and what of it is decided beforehand: submissions, cuts of the network, crashes.

use core::time::Duration;
use std::collections::BTreeSet;

use bytes::Bytes;

use super::dice::Dice;
use super::prototype::Event;
use super::scenario::Scenario;

/// How long the network is cut at most: several rounds of a protocol.
const LONGEST_CUT: Duration = Duration::from_millis(1200);
/// How long a node that crashed is away at most: less than a round, or many heights.
const SHORT_ABSENCE: Duration = Duration::from_millis(100);
const LONG_ABSENCE: Duration = Duration::from_millis(2000);

/// A thing that is to happen.
#[derive(Debug)]
pub(super) enum Happening {
    /// A node is told something. What was meant for an earlier life of it is lost.
    Tell {
        node: usize,
        life: Option<u32>,
        event: Event,
    },
    /// A node is to crash in the midst of what it does next, and to come back after so long.
    Crash {
        node: usize,
        away: Duration,
    },
    Restart {
        node: usize,
    },
    /// From now on these nodes are not heard by those, the first not by the second.
    Cut(Links),
    Calm,
}

/// Ways from one node to another.
pub(super) type Links = BTreeSet<(usize, usize)>;

/// What the unrest brings, whatever the nodes do: `offered` is handed to two nodes each, and the `honest` ones crash.
pub(super) fn plan(
    scenario: &Scenario,
    honest: &[usize],
    offered: Vec<Bytes>,
    dice: &mut Dice,
) -> Vec<(Duration, Happening)> {
    let (unrest, nodes, weather) = (scenario.unrest, scenario.nodes, &scenario.weather);
    let mut plan = vec![(unrest, Happening::Calm)];
    plan.extend((0..nodes).map(|node| (Duration::ZERO, Happening::Restart { node })));
    for bytes in offered.iter().flat_map(|bytes| [bytes, bytes]) {
        let (node, at) = (dice.place(nodes), dice.between((Duration::ZERO, unrest)));
        plan.push((at, Happening::Tell { node, life: None, event: Event::Submitted(bytes.clone()) }));
    }
    for _ in 0..weather.partitions {
        let start = dice.between((Duration::ZERO, unrest));
        let end = start + dice.between((Duration::ZERO, LONGEST_CUT));
        plan.push((start, Happening::Cut(cut_links(nodes, dice))));
        plan.push((end, Happening::Cut(Links::new())));
    }
    for &node in honest {
        for _ in 0..dice.below(1 + u64::from(weather.crashes)) {
            let at = dice.between((Duration::ZERO, unrest));
            // Some come back while the others still wait for their vote, some when much has happened.
            let longest = if dice.happens(500) { SHORT_ABSENCE } else { LONG_ABSENCE };
            plan.push((at, Happening::Crash { node, away: dice.between((Duration::ZERO, longest)) }));
        }
    }
    plan
}

/// A partition, or one in which one side still hears the other, or any half of all ways.
fn cut_links(nodes: usize, dice: &mut Dice) -> Links {
    let size = dice.place(nodes);
    let group = dice.choose(size, nodes);
    let (both_ways, any) = (dice.happens(500), dice.happens(500));
    let pairs = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
    let is_cut = |&(from, to): &(usize, usize)| match (group.contains(&from), group.contains(&to)) {
        _ if any => dice.happens(500),
        (true, false) => true,
        (false, true) => both_ways,
        _ => false,
    };
    pairs.filter(is_cut).collect()
}
