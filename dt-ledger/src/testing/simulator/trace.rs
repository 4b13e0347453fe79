//! The record of a run: a digest over all that happened, and the last of it in words.

use core::time::Duration;
use std::collections::VecDeque;

use dt_model::{Digest, Domain};

/// How many of the last things a failure tells.
const TOLD: usize = 60;

const TRACE: Domain = Domain::new("dt/ledger/simulation/v1");

/// What has happened so far.
#[derive(Default)]
pub(super) struct Trace {
    digest: Option<Digest>,
    last: VecDeque<(Duration, Option<usize>, String)>,
}

impl Trace {
    /// Adds that `what` happened to a node, or to the network, and to which bytes.
    pub(super) fn note(&mut self, at: Duration, who: Option<usize>, what: &str, bytes: &[u8]) {
        let about = TRACE.sha256(&[bytes]);
        let millis = (at.as_millis() as u64).to_be_bytes();
        let number = who.map_or(u64::MAX, |node| node as u64).to_be_bytes();
        let parts = [self.digest().as_ref(), &millis, &number, about.as_ref(), what.as_bytes()].concat();
        self.digest = Some(TRACE.sha256(&[&parts]));
        if self.last.len() == TOLD {
            self.last.pop_front();
        }
        let what = if bytes.is_empty() { what.to_owned() } else { format!("{what} {}", about.short()) };
        self.last.push_back((at, who, what));
    }

    pub(super) fn digest(&self) -> Digest {
        self.digest.unwrap_or(Digest::ZERO)
    }

    /// The last of it, a line for each thing.
    pub(super) fn told(&self) -> Vec<String> {
        let line = |(at, who, what): &(Duration, Option<usize>, String)| {
            let who = who.map_or("network".to_owned(), |node| format!("node {node}"));
            format!("{:>6} ms  {who:<8} {what}", at.as_millis())
        };
        self.last.iter().map(line).collect()
    }
}
