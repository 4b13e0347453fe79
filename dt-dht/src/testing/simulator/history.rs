//! What happened, as those who asked saw it, and whether one register could have answered so.
//!
//! # The rules
//! Every write bears a token (its record's digest) that nobody else's write bears, and every state a version that only grows. Then an
//! order in which the operations could have happened one after the other, each between its call and its answer, exists exactly if:
//! - no two states of one version differ (else [`Violation::Fork`]);
//! - nothing is seen whose writing had not begun (else [`Violation::Phantom`]);
//! - nothing is seen that is older than what an operation had seen or acknowledged before this one began, or before its writing began
//!   (else [`Violation::RolledBack`]);
//! - an acknowledged write is in the state that acknowledges it (else [`Violation::NotThere`]).
//!
//! So no search is needed: one pass over the calls and answers decides (Gibbons and Korach, "Testing shared memories", 1997, on why it
//! is hard when values are not unique). A write without an answer may have happened, or happen later: both are allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dt_model::Digest;
use thiserror::Error;

use crate::Slot;

/// Names an operation in its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperationId(usize);

/// The state of an object as an operation saw it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// The state's version: 0 where nothing was written. For records of order Newest the record's, for agreed ones the sequence.
    pub version: u64,
    /// What the state consists of: in each slot, a version and the token of the write that put it there.
    pub entries: BTreeMap<Slot, (u64, Digest)>,
}

impl Seen {
    /// The state of an object that is one record.
    #[must_use]
    pub fn record(slot: Slot, version: u64, token: Digest) -> Self {
        Self { version, entries: BTreeMap::from([(slot, (version, token))]) }
    }
}

/// An operation: a call, and its answer if it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Who did it.
    pub who: String,
    /// What it was done to.
    pub object: String,
    /// What it writes; nothing if it only reads.
    pub token: Option<Digest>,
    /// What it saw, or was acknowledged with. Nothing if it failed, or is not known to have succeeded.
    pub seen: Option<Seen>,
}

/// Why no register could have answered so.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// Two states of one version differ.
    #[error("two states of version {version}: {first:?} and {second:?}")]
    Fork {
        /// The version.
        version: u64,
        /// The state that was seen first.
        first: Box<Operation>,
        /// The other one.
        second: Box<Operation>,
    },
    /// Something was seen that nobody had begun to write.
    #[error("nobody wrote what {0:?} saw")]
    Phantom(Box<Operation>),
    /// Something was seen that is older than what had been seen or acknowledged before.
    #[error("{operation:?} began after {floor:?} had ended")]
    RolledBack {
        /// The operation that went back.
        operation: Box<Operation>,
        /// The one that had seen more.
        floor: Box<Operation>,
    },
    /// A write was acknowledged with a state that it is not in.
    #[error("{0:?} is not in what acknowledges it")]
    NotThere(Box<Operation>),
    /// From one state to a later one a slot went back, or more changed than there are steps between.
    #[error("{first:?} does not lead to {second:?}")]
    NoPath {
        /// The earlier state.
        first: Box<Operation>,
        /// The later one.
        second: Box<Operation>,
    },
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Call(usize),
    Answer(usize),
}

/// Calls and answers, in the order in which they came.
#[derive(Debug, Clone, Default)]
pub struct History {
    operations: Vec<Operation>,
    events: Vec<Event>,
    /// Tokens of writes that may happen at any time: an accomplice's.
    always: BTreeSet<Digest>,
}

impl History {
    /// Allows that `token` be seen at any time: whoever signed it may have given it away.
    pub fn allow(&mut self, token: Digest) {
        self.always.insert(token);
    }

    /// `who` calls: a write of `token`, or a read.
    pub fn call(&mut self, who: &str, object: &str, token: Option<Digest>) -> OperationId {
        let at = self.operations.len();
        let (who, object) = (who.to_owned(), object.to_owned());
        self.operations.push(Operation { who, object, token, seen: None });
        self.events.push(Event::Call(at));
        OperationId(at)
    }

    /// The answer to a call. Without one, or after an error, it is not known what became of it.
    pub fn answer(&mut self, operation: OperationId, seen: Seen) {
        if let Some(found) = self.operations.get_mut(operation.0) {
            found.seen = Some(seen);
            self.events.push(Event::Answer(operation.0));
        }
    }

    /// All operations, in the order of their calls.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Whether one register could have answered so, for every object.
    ///
    /// # Errors
    /// [`Violation`]: the first in the order of the answers.
    pub fn check(&self) -> Result<(), Violation> {
        let mut objects: BTreeMap<&str, Object<'_>> = BTreeMap::new();
        let mut floors: BTreeMap<usize, Option<&Operation>> = BTreeMap::new();
        for event in &self.events {
            match *event {
                Event::Call(at) => {
                    let operation = &self.operations[at];
                    let object = objects.entry(&operation.object).or_default();
                    if let Some(token) = operation.token {
                        object.begun.entry(token).or_insert(object.highest);
                    }
                    floors.insert(at, object.highest);
                }
                Event::Answer(at) => {
                    let operation = &self.operations[at];
                    let object = objects.entry(&operation.object).or_default();
                    object.answer(operation, floors.remove(&at).flatten(), &self.always)?;
                }
            }
        }
        Ok(())
    }

    /// [`History::check`], and that every version of a state replaces one record in one slot by its next version: what agreement promises of
    /// an address whose validators demand direct successors.
    ///
    /// # Errors
    /// [`Violation`].
    pub fn check_steps(&self) -> Result<(), Violation> {
        self.check()?;
        let mut states: BTreeMap<&str, BTreeMap<u64, (&Operation, &Seen)>> = BTreeMap::new();
        for operation in &self.operations {
            if let Some(seen) = &operation.seen {
                states.entry(&operation.object).or_default().insert(seen.version, (operation, seen));
            }
        }
        for known in states.values() {
            for ((_, (first, before)), (_, (second, after))) in known.iter().zip(known.iter().skip(1)) {
                if !leads_to(before, after) {
                    return Err(Violation::NoPath {
                        first: Box::new((*first).clone()),
                        second: Box::new((*second).clone()),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Whether `after` can be reached from `before` by steps of one slot each.
fn leads_to(before: &Seen, after: &Seen) -> bool {
    let mut steps = 0;
    for (slot, (version, token)) in &after.entries {
        let (known, same) =
            before.entries.get(slot).map_or((0, false), |(known, other)| (*known, other == token));
        if known > *version || (known == *version) != same {
            return false;
        }
        steps += version - known;
    }
    before.entries.keys().all(|slot| after.entries.contains_key(slot))
        && steps == after.version - before.version
}

/// What is known of one object, up to an event.
#[derive(Default)]
struct Object<'a> {
    /// The writes that have begun, each with what had been seen by then.
    begun: BTreeMap<Digest, Option<&'a Operation>>,
    states: BTreeMap<u64, (&'a Operation, &'a Seen)>,
    highest: Option<&'a Operation>,
}

impl<'a> Object<'a> {
    fn answer(
        &mut self,
        operation: &'a Operation,
        floor: Option<&'a Operation>,
        always: &BTreeSet<Digest>,
    ) -> Result<(), Violation> {
        let boxed = || Box::new(operation.clone());
        let Some(seen) = &operation.seen else { return Ok(()) };
        let tokens = || seen.entries.values().map(|(_, token)| token);
        if !tokens().all(|token| self.begun.contains_key(token) || always.contains(token)) {
            return Err(Violation::Phantom(boxed()));
        }
        if operation.token.is_some_and(|token| !tokens().any(|seen| *seen == token)) {
            return Err(Violation::NotThere(boxed()));
        }
        let rolled_back = |floor: &Operation| {
            Err(Violation::RolledBack { operation: boxed(), floor: Box::new(floor.clone()) })
        };
        if let Some(floor) = floor.filter(|floor| version(floor) > seen.version) {
            return rolled_back(floor);
        }
        // What began after something as new had been seen comes after it.
        let known = tokens().filter(|token| !always.contains(token));
        let before_writing = known.filter_map(|token| self.begun.get(token).copied().flatten());
        if let Some(floor) =
            before_writing.max_by_key(|floor| version(floor)).filter(|floor| version(floor) >= seen.version)
        {
            return rolled_back(floor);
        }
        let (first, known) = *self.states.entry(seen.version).or_insert((operation, seen));
        if known != seen {
            return Err(Violation::Fork {
                version: seen.version,
                first: Box::new(first.clone()),
                second: boxed(),
            });
        }
        if self.highest.is_none_or(|highest| version(highest) < seen.version) {
            self.highest = Some(operation);
        }
        Ok(())
    }
}

fn version(operation: &Operation) -> u64 {
    operation.seen.as_ref().map_or(0, |seen| seen.version)
}

/// A history that tasks share.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Mutex<History>>);

impl Recorder {
    /// The history, to add to it or to check it.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
