//! Changes of nodes in a simulation: what a ledger says, which every machine and every client learns in its own time.

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dt_model::PartyId;
use dt_model::testing::SeedRng;

use super::{Conditions, Dice, Host};
use crate::{Client, Membership, Node, Pace, Rate, Replica, Upkeep};

/// The membership as a ledger has it. A change begins with [`Roster::change`]; it is complete when all new nodes but *k* have stated that
/// they have taken over, the malicious without having done so.
#[derive(Clone)]
pub struct Roster(Arc<Mutex<Book>>);

/// How often somebody who waits for the end of a change looks whether it has come.
const LOOK: Duration = Duration::from_millis(500);
/// How often he does in any weather: for five minutes.
const STORM_LOOKS: u32 = 600;
/// How often he does afterwards: for ten.
const CALM_LOOKS: u32 = 1200;

struct Book {
    membership: Membership,
    /// All machines, also those that are no nodes.
    machines: Vec<PartyId>,
    stated: BTreeSet<PartyId>,
    is_closed: bool,
}

impl Roster {
    pub(super) fn new(membership: Membership, machines: Vec<PartyId>) -> Self {
        Self(Arc::new(Mutex::new(Book { membership, machines, stated: BTreeSet::new(), is_closed: false })))
    }

    /// The membership now.
    #[must_use]
    pub fn membership(&self) -> Membership {
        self.book().membership.clone()
    }

    /// Whether nodes are handing over.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.book().membership.is_changing()
    }

    /// Makes a client's requests go by the present membership.
    pub fn inform(&self, client: &Client) {
        let membership = self.membership();
        if client.membership().epoch() < membership.epoch() {
            client.update_membership(membership);
        }
    }

    /// The machines with these numbers are to be the nodes.
    ///
    /// # Panics
    /// If there are too few of them, or nodes are changing already.
    pub fn change(&self, which: impl IntoIterator<Item = usize>) {
        let mut book = self.book();
        let node = |at: usize| Node { party: book.machines[at], endpoints: Vec::new() };
        let nodes = which.into_iter().map(node).collect();
        let parties = book.membership.parties().clone();
        let joint = book.membership.successor(nodes, parties).expect("a change that can be");
        (book.membership, book.stated) = (joint, BTreeSet::new());
    }

    /// Waits for the end of a change. It may take as long as it wants in a storm in which no machine lives as long as its requests take; so
    /// after five minutes of it the weather is calm until the change has ended.
    ///
    /// # Errors
    /// What to say of a change that does not end then either.
    pub async fn settles(&self, host: &Host) -> Result<(), String> {
        let (mut looks, mut storm) = (0, None);
        while self.is_changing() {
            if looks == STORM_LOOKS {
                storm = Some(host.weather(Conditions::calm()));
            }
            if looks == STORM_LOOKS + CALM_LOOKS {
                return Err(format!("the hand-over in epoch {} never ends", self.membership().epoch()));
            }
            host.sleep(LOOK).await;
            looks += 1;
        }
        if let Some(storm) = storm {
            host.weather(storm);
        }
        Ok(())
    }

    /// Ends a change, whether or not anybody has taken over: what MUST NOT be done, to see that it is noticed.
    ///
    /// # Panics
    /// If no nodes are changing.
    pub fn complete(&self) {
        let mut book = self.book();
        book.membership = book.membership.complete().expect("nodes are changing");
    }

    /// Lets the machines' upkeep end: nodes will not change any more.
    pub fn close(&self) {
        self.book().is_closed = true;
    }

    /// `party` says that it holds everything that is its own in `epoch`.
    fn state(&self, party: PartyId, epoch: u64) {
        let mut book = self.book();
        let is_due = book.membership.is_changing() && book.membership.epoch() == epoch;
        if !is_due || book.membership.next_nodes().iter().all(|node| node.party != party) {
            return;
        }
        book.stated.insert(party);
        let tolerated = book.membership.resilience().max_faulty();
        if book.stated.len() + tolerated >= book.membership.next_nodes().len() {
            book.membership = book.membership.complete().expect("nodes are changing");
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a machine shares with the upkeep that runs on it.
pub(super) struct Seat {
    pub(super) replica: Arc<Replica>,
    pub(super) membership: Membership,
    /// How often the machine was started: an upkeep does not outlive its process.
    pub(super) starts: u64,
    pub(super) is_up: bool,
    pub(super) is_honest: bool,
}

impl Seat {
    /// Looks at the ledger. A machine that is down does so when it starts.
    fn follow(&mut self, roster: &Roster) {
        let membership = roster.membership();
        if self.membership.epoch() < membership.epoch() {
            self.replica.update_membership(membership.clone());
            self.membership = membership;
        }
    }
}

pub(super) type SharedSeat = Arc<Mutex<Seat>>;

pub(super) fn seat(seat: &SharedSeat) -> MutexGuard<'_, Seat> {
    seat.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fast enough that a change ends within a simulated minute.
fn pace() -> Pace {
    let rate = Rate { per_second: 1 << 30, burst: 1 << 30 };
    Pace { requests: rate, bytes: rate, pause: Duration::from_secs(30) }
}

/// How many pieces of work a machine does between two looks at the ledger.
const STEPS: usize = 6;

/// Runs the upkeep of one machine, which follows the ledger with some delay, until the ledger is closed.
pub(super) async fn keep(place: SharedSeat, host: Host, roster: Roster, mut dice: Dice) {
    let mut upkeep: Option<(u64, Upkeep)> = None;
    while !roster.book().is_closed {
        let pause = dice.within(10..=700);
        host.sleep(Duration::from_millis(pause)).await;
        let (replica, starts, is_honest) = {
            let mut here = seat(&place);
            if !here.is_up {
                continue;
            }
            here.follow(&roster);
            (here.replica.clone(), here.starts, here.is_honest)
        };
        let epoch = replica.membership().epoch();
        if !is_honest {
            roster.state(host.party(), epoch);
            continue;
        }
        if upkeep.as_ref().is_none_or(|(of, _)| *of != starts) {
            let rng = SeedRng::new(dice.number());
            upkeep = Some((starts, Upkeep::new(replica, Arc::new(host.clone()), rng, pace())));
        }
        let Some((_, task)) = &mut upkeep else { continue };
        for _ in 0..STEPS {
            let mut step = pin!(task.step(host.now()));
            let is_running = || {
                let here = seat(&place);
                here.is_up && here.starts == starts
            };
            let done = poll_fn(|context| match is_running() {
                true => step.as_mut().poll(context).map(Some),
                false => Poll::Ready(None),
            });
            if !matches!(done.await, Some(Ok(crate::Step::Worked))) {
                break;
            }
        }
        let is_running = {
            let here = seat(&place);
            here.is_up && here.starts == starts
        };
        if is_running && task.has_taken_over().is_ok_and(|done| done) {
            roster.state(host.party(), epoch);
        }
    }
    seat(&place).follow(&roster);
}
