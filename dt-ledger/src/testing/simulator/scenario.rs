//! What a simulation is to go through.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use super::prototype::{Prototype, Seat};

/// How a faulty node behaves, from the first moment to the last. Which nodes are the faulty ones is left to the seed.
///
/// All but the last are made of the prototype itself, so they fit every prototype. What only a protocol's connoisseur can do (a
/// proposal that is no block, votes for everything) is written as a prototype of its own: [`crate::testing::Traitor`] is one for
/// [`crate::testing::Tendermint`].
#[derive(Clone)]
pub enum Fault {
    /// It hears everything, and says nothing.
    Silent,
    /// It dies at some moment of the unrest, and does not come back.
    Dead,
    /// It runs twice with one key, with two stores and two mempools. Each half of the others hears one of the two, and both hear all: so
    /// it proposes two blocks, votes for two, and forgets what it has locked (Bano et al. 2020, "Twins: BFT Systems Made Robust").
    Twins,
    /// It sends again, at any time and to anybody, what it has sent or received some time ago.
    Replays,
    /// Its store changes a row of the state behind its back: it computes another state than the rest, and must stop.
    Alters,
    /// It behaves as this one does.
    Traitor(Arc<dyn Fn(Seat) -> Box<dyn Prototype>>),
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "Silent",
            Self::Dead => "Dead",
            Self::Twins => "Twins",
            Self::Replays => "Replays",
            Self::Alters => "Alters",
            Self::Traitor(_) => "Traitor",
        })
    }
}

/// What the network does to messages during the unrest. Each message goes its own way, so they overtake each other.
#[derive(Debug, Clone)]
pub struct Weather {
    /// How long a message is on its way, at least and at most.
    pub delay: (Duration, Duration),
    /// How many of a thousand messages are lost.
    pub lost: u16,
    /// How many of a thousand messages arrive twice.
    pub doubled: u16,
    /// How often the network is cut for a while: into two groups that do not hear each other, or of which one does not hear the other,
    /// or so that some nodes do not hear some others.
    pub partitions: u32,
    /// How often each honest node crashes, at most.
    pub crashes: u32,
}

impl Weather {
    /// Nothing is lost and nobody crashes; messages overtake each other a little.
    pub const FAIR: Self = Self {
        delay: (Duration::from_millis(5), Duration::from_millis(50)),
        lost: 0,
        doubled: 0,
        partitions: 0,
        crashes: 0,
    };

    /// Everything at once.
    pub const FOUL: Self = Self {
        delay: (Duration::from_millis(1), Duration::from_millis(400)),
        lost: 100,
        doubled: 100,
        partitions: 12,
        crashes: 5,
    };
}

/// What a simulation is to go through: first the unrest, in which the weather is as told, then the calm, in which it is
/// [`Weather::FAIR`], all nodes run, and everything that was submitted must be committed everywhere in time. Faulty nodes stay faulty.
///
/// # Examples
/// ```
/// use dt_ledger::testing::{Fault, Scenario, Weather};
///
/// let scenario = Scenario { faulty: vec![Fault::Silent], weather: Weather::FOUL, ..Scenario::new(4) };
/// assert_eq!(scenario.nodes, 4);
/// ```
#[derive(Debug, Clone)]
pub struct Scenario {
    /// How many nodes there are, all of them validators.
    pub nodes: usize,
    /// How some of them misbehave. A protocol that bears f faults among 3f + 1 nodes is to bear f of these.
    pub faulty: Vec<Fault>,
    /// The weather of the unrest.
    pub weather: Weather,
    /// How long the unrest lasts.
    pub unrest: Duration,
    /// How soon after the unrest everything must be committed on every honest node.
    pub patience: Duration,
    /// How many parties join the chain and act.
    pub parties: u64,
    /// How many transactions each of them submits, each to two nodes.
    pub transactions: u64,
}

impl Scenario {
    /// So many honest nodes in fair weather, and a dozen transactions in five seconds.
    #[must_use]
    pub const fn new(nodes: usize) -> Self {
        Self {
            nodes,
            faulty: Vec::new(),
            weather: Weather::FAIR,
            unrest: Duration::from_secs(5),
            patience: Duration::from_secs(60),
            parties: 3,
            transactions: 4,
        }
    }
}
