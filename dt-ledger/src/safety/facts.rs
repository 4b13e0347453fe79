//! What a judgement rests on besides the call, the rules and the specification.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{ComponentId, Name, Timestamp};
use serde::{Deserialize, Serialize};

use super::rules::MAX_STARTS;
use crate::Argument;

/// What is known of a parameter or a variable.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observed {
    /// It has this value, in this unit.
    Value(Argument),
    /// It has some value, and nobody knows which.
    Unknown,
}

/// What is known when a call is judged. The contract knows what the ledger holds; an agent adds what its device reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// What time it is: the block's time, or the agent's.
    pub now: Timestamp,
    /// When the program was started before, oldest first: the last [`MAX_STARTS`] times at least.
    pub starts: Vec<Timestamp>,
    /// The last known value of each of the program's parameters. What is not here was never given.
    pub values: BTreeMap<Name, Observed>,
    /// What the device reads of variables, instead of what the specification says. The contract has no such readings.
    pub variables: BTreeMap<ComponentId, Observed>,
}

/// What the ledger remembers of a program of a twin, for its safety rules.
///
/// # Invariants
/// A call's values count from its start on. If it ends as [`crate::CallResult::Succeeded`], they stay; if as
/// [`crate::CallResult::Failed`], the machine did not take them, and the earlier ones count again; if as
/// [`crate::CallResult::Unknown`], nobody knows which, and nothing passes a maximum step until the agent reports what the device shows.
/// A start stays a start whatever comes of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct ProgramHistory {
    /// When it was started, oldest first; the last [`MAX_STARTS`] times.
    pub starts: Vec<Timestamp>,
    /// The last values of its parameters, but for the call that is under way.
    pub values: BTreeMap<Name, Observed>,
    /// The call that was started and has not ended.
    pub under_way: Option<u64>,
}

impl ProgramHistory {
    /// Call number `call` is started at `now`.
    pub(crate) fn start(&mut self, call: u64, now: Timestamp) {
        if self.starts.len() >= MAX_STARTS as usize {
            self.starts.remove(0);
        }
        self.starts.push(now);
        self.under_way = Some(call);
    }
}
