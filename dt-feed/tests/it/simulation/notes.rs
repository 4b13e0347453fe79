//! What is known of the feed, by whoever saw it first: and who saw something else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use dt_dht::testing::simulator::{Recorder, Seen};
use dt_feed::{Entry, SignedHead};
use dt_model::Timestamp;

use crate::common::manifest;

/// A reading that the device took. Its number is its content, so each is there once.
#[derive(Clone)]
pub(super) struct Taken {
    pub(super) entry: Entry,
    /// The device's epoch by then: the reading is sealed under the key of this one, or of a later one.
    pub(super) epoch: u64,
}

/// What a run comes to.
pub(super) enum Verdict {
    Sound,
    /// Somebody was given what cannot be.
    Broken(String),
    /// A reader noticed by itself, and refused.
    Refused(String),
}

#[derive(Default)]
pub(super) struct Notes {
    /// Every reading, by its number.
    pub(super) taken: Vec<Taken>,
    /// The number of the reading at each index of the feed, since somebody saw it there, or it was acknowledged there.
    log: BTreeMap<u64, u64>,
    /// Entries by the number of segments, of every head that was seen.
    sizes: BTreeMap<u64, u64>,
    /// Whether the manifest was acknowledged.
    pub(super) is_created: bool,
    /// How often a device that started again found a segment without its head.
    pub(super) left_behind: usize,
    broken: Option<String>,
    refused: Option<String>,
}

/// What all tasks share.
#[derive(Clone, Default)]
pub(super) struct Book {
    pub(super) recorder: Recorder,
    notes: Arc<Mutex<Notes>>,
}

impl Book {
    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
    }

    pub(super) fn broken(&self, wrong: String) {
        self.notes().broken.get_or_insert(wrong);
    }

    pub(super) fn refused(&self, wrong: String) {
        self.notes().refused.get_or_insert(wrong);
    }

    /// The device takes a reading: its number, and the entry.
    pub(super) fn take(&self, time: Timestamp, epoch: u64) -> (u64, Entry) {
        let mut notes = self.notes();
        let number = notes.taken.len() as u64;
        let entry = Entry::new(time, number.to_le_bytes().to_vec());
        notes.taken.push(Taken { entry: entry.clone(), epoch });
        (number, entry)
    }

    /// Somebody asks for the head: what he is to be shown is not older than what was seen before.
    pub(super) fn ask(&self, who: &str) -> impl FnOnce(Option<&SignedHead>) + use<> {
        let (book, call) = (self.clone(), self.recorder.history().call(who, "feed", None));
        move |head| {
            let slot = manifest().feed().head_key().slot;
            let Some(head) = head else { return book.recorder.history().answer(call, Seen::default()) };
            book.notes().sizes.insert(head.segments, head.size());
            // The device signs its heads where nobody looks: what is in them is held against its readings.
            book.recorder.history().allow(head.record().digest());
            let seen = Seen::record(slot, head.segments, head.record().digest());
            book.recorder.history().answer(call, seen);
        }
    }

    /// Somebody has the reading `number` at `index`, or `None` if it is a reading that nobody took.
    pub(super) fn saw(&self, who: &str, index: u64, number: Option<u64>) {
        let mut notes = self.notes();
        let wrong = match number {
            None => Some(format!("{who} was given an entry {index} that nobody took")),
            Some(number) => {
                let known = *notes.log.entry(index).or_insert(number);
                (known != number).then(|| format!("entry {index} was {known}, and {who} was given {number}"))
            }
        };
        if let Some(wrong) = wrong {
            notes.broken.get_or_insert(wrong);
        }
    }

    /// `who`, with the keys of the epochs up to `last`, has opened `entry` at `index`.
    pub(super) fn opened(&self, who: &str, index: u64, entry: &Entry, last: u64) {
        let number = entry.payload.as_ref().try_into().map(u64::from_le_bytes).ok();
        let find = |number: u64| self.notes().taken.get(usize::try_from(number).ok()?).cloned();
        let taken = number.and_then(find).filter(|taken| taken.entry == *entry);
        if let Some(taken) = taken.as_ref().filter(|taken| taken.epoch > last) {
            self.broken(format!("{who} with keys up to {last} opened {index} of epoch {}", taken.epoch));
        }
        self.saw(who, index, taken.and(number));
    }

    /// How many entries are known, from the first one on.
    pub(super) fn known(&self) -> u64 {
        (0..).zip(self.notes().log.keys()).take_while(|(at, index)| at == *index).count() as u64
    }

    /// The known entries of `times` that a head of `size` entries covers.
    pub(super) fn known_in(&self, times: &core::ops::Range<Timestamp>, size: u64) -> Vec<u64> {
        let notes = self.notes();
        let time = |number: u64| notes.taken[usize::try_from(number).unwrap()].entry.timestamp;
        let known = notes.log.range(..size).filter(|(_, number)| times.contains(&time(**number)));
        known.map(|(index, _)| *index).collect()
    }

    pub(super) fn verdict(&self) -> Verdict {
        if let Err(violation) = self.recorder.history().check() {
            return Verdict::Broken(format!("history: {violation}"));
        }
        let notes = self.notes();
        if let Some(wrong) = &notes.broken {
            return Verdict::Broken(wrong.clone());
        }
        let sizes: Vec<_> = notes.sizes.iter().collect();
        if let Some(pair) = sizes.windows(2).find(|pair| pair[0].1 >= pair[1].1) {
            return Verdict::Broken(format!("heads of {pair:?} segments and entries"));
        }
        match &notes.refused {
            Some(wrong) => Verdict::Refused(wrong.clone()),
            None => Verdict::Sound,
        }
    }
}
