//! Faulty nodes made of honest ones: whatever the protocol, these run it and then spoil what comes out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use dt_model::{Timestamp, codec};

use super::dice::Dice;
use super::prototype::{Action, Event, Make, Prototype, Seat, Stop};
use super::scenario::Fault;
use crate::record::{Sort, StateKey};
use crate::store::{Batch, LedgerStore, StoreError, StoreView, Table, scan_prefix};
use crate::{MemoryStore, Party, Replica};

/// How many old messages a replaying node remembers.
const REMEMBERED: usize = 256;

/// The node of `seat` as `fault` makes it; `death` is when one that dies does.
pub(super) fn spoil(
    fault: &Fault,
    seat: Seat,
    make: Make<'_>,
    mut dice: Dice,
    death: Timestamp,
) -> Box<dyn Prototype> {
    match fault {
        Fault::Silent => Box::new(Silent(make(seat))),
        Fault::Dead => Box::new(Dead { living: make(seat), death }),
        Fault::Twins => {
            let first_half = dice.choose(seat.nodes / 2, seat.nodes);
            let (node, nodes) = (seat.node, seat.nodes);
            let store = Arc::new(MemoryStore::default());
            let replica =
                Replica::open(store, seat.replica.genesis()).expect("the other twin opens the same chain");
            let other = Seat { replica: Arc::new(replica), ..seat.clone() };
            Box::new(Twins { twins: [make(seat), make(other)], stopped: [false; 2], node, nodes, first_half })
        }
        Fault::Replays => {
            Box::new(Replays { nodes: seat.nodes, node: seat.node, inner: make(seat), dice, old: Vec::new() })
        }
        // The store does it.
        Fault::Alters => make(seat),
        Fault::Traitor(traitor) => traitor(seat),
    }
}

struct Silent(Box<dyn Prototype>);

impl Prototype for Silent {
    fn handle(&mut self, now: Timestamp, event: Event) -> Result<Vec<Action>, Stop> {
        let mut actions = self.0.handle(now, event)?;
        actions.retain(|action| !matches!(action, Action::Send { .. } | Action::Broadcast(_)));
        Ok(actions)
    }
}

struct Dead {
    living: Box<dyn Prototype>,
    death: Timestamp,
}

impl Prototype for Dead {
    fn handle(&mut self, now: Timestamp, event: Event) -> Result<Vec<Action>, Stop> {
        if now < self.death { self.living.handle(now, event) } else { Ok(Vec::new()) }
    }
}

/// Two nodes under one key.
struct Twins {
    twins: [Box<dyn Prototype>; 2],
    stopped: [bool; 2],
    node: usize,
    nodes: usize,
    /// Those who hear the first twin.
    first_half: Vec<usize>,
}

impl Prototype for Twins {
    fn handle(&mut self, now: Timestamp, event: Event) -> Result<Vec<Action>, Stop> {
        let mut actions = Vec::new();
        match &event {
            Event::Timer(timer) => {
                // A twin's timer starts with the twin's number.
                let Some((&twin, timer)) = timer.split_first() else { return Ok(actions) };
                let timer = Bytes::copy_from_slice(timer);
                self.tell(usize::from(twin), now, Event::Timer(timer), &mut actions);
            }
            // Each hears of other transactions, so that they propose different blocks.
            Event::Submitted(bytes) => {
                let twin = bytes.last().map_or(0, |last| usize::from(last % 2));
                self.tell(twin, now, event, &mut actions);
            }
            Event::Start | Event::Message { .. } => {
                self.tell(0, now, event.clone(), &mut actions);
                self.tell(1, now, event, &mut actions);
            }
        }
        Ok(actions)
    }
}

impl Twins {
    fn tell(&mut self, twin: usize, now: Timestamp, event: Event, actions: &mut Vec<Action>) {
        if self.stopped[twin] {
            return;
        }
        let Ok(done) = self.twins[twin].handle(now, event) else {
            self.stopped[twin] = true;
            return;
        };
        let hears = |node: usize| self.first_half.contains(&node) == (twin == 0);
        for action in done {
            match action {
                Action::Broadcast(bytes) => {
                    let listeners = (0..self.nodes).filter(|&to| to != self.node && hears(to));
                    actions.extend(listeners.map(|to| Action::Send { to, bytes: bytes.clone() }));
                }
                Action::Wake { after, timer } => {
                    let number = u8::from(twin == 1);
                    let timer = [&[number], &*timer].concat().into();
                    actions.push(Action::Wake { after, timer });
                }
                Action::Send { .. } => actions.push(action),
                // A traitor does not crash.
                Action::Keep(_) => {}
            }
        }
    }
}

struct Replays {
    node: usize,
    nodes: usize,
    inner: Box<dyn Prototype>,
    dice: Dice,
    old: Vec<Bytes>,
}

impl Replays {
    fn remember(&mut self, bytes: &Bytes) {
        if self.old.len() < REMEMBERED {
            self.old.push(bytes.clone());
        } else {
            let place = self.dice.place(REMEMBERED);
            self.old[place] = bytes.clone();
        }
    }
}

impl Prototype for Replays {
    fn handle(&mut self, now: Timestamp, event: Event) -> Result<Vec<Action>, Stop> {
        if let Event::Message { bytes, .. } = &event {
            self.remember(bytes);
        }
        let mut actions = self.inner.handle(now, event)?;
        for action in &actions {
            if let Action::Send { bytes, .. } | Action::Broadcast(bytes) = action {
                self.remember(bytes);
            }
        }
        let (place, to) = (self.dice.place(self.old.len()), self.dice.place(self.nodes));
        if let Some(bytes) = self.old.get(place).filter(|_| to != self.node) {
            actions.push(Action::Send { to, bytes: bytes.clone() });
        }
        Ok(actions)
    }
}

/// A store in memory that changes when the certificate of the first party ends, as soon as there is one: whatever is written over it carries the change along.
pub(super) struct Altering {
    inner: MemoryStore,
    done: AtomicBool,
}

impl Altering {
    pub(super) fn new(inner: MemoryStore) -> Self {
        Self { inner, done: AtomicBool::new(false) }
    }
}

impl LedgerStore for Altering {
    fn view(&self) -> Result<Box<dyn StoreView>, StoreError> {
        self.inner.view()
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.inner.commit(batch)?;
        let prefix = StateKey::prefix(Sort::Party, None);
        let first = scan_prefix(&*self.inner.view()?, Table::State, &prefix, 1)?.pop();
        if let Some((key, value)) = first
            && let Ok(party) = codec::decode::<Party>(&value, value.len())
            && !self.done.swap(true, Ordering::SeqCst)
        {
            let not_after = Timestamp::from_millis(party.not_after.as_millis() - 1);
            let mut behind_its_back = Batch::default();
            behind_its_back.put(Table::State, key, codec::encode(&Party { not_after, ..party }));
            self.inner.commit(behind_its_back)?;
        }
        Ok(())
    }
}
