//! Work on several cores, with an outcome that does not depend on their number.
//!
//! ```text
//! in order:  helper  ─ work 1 ─── work 2 ─── work 4 ┈┈▶ done
//!            caller  ─ work 0 ─ take 0 ─ take 1 ─ work 3 ─ take 2 ─ take 3 ─ take 4
//! ```
//!
//! Whoever is free claims the next piece. The caller alone takes what was made of them, one after the other, and works only while the
//! piece whose turn it is has not come: so what has an order does not wait for all that has none.
//!
//! # Invariants
//! - On one thread no other is started, and each piece is taken before the next is begun.
//! - Nobody waits but for work that is under way. Where a thread is not to be had, or breaks off, the caller does its work.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;

/// How many threads may work at once, the caller's among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Threads(NonZero<usize>);

impl Threads {
    /// The caller's alone.
    pub(crate) const ONE: Self = Self(NonZero::<usize>::MIN);

    pub(crate) const fn new(threads: NonZero<usize>) -> Self {
        Self(threads)
    }

    /// As many as there are cores.
    pub(crate) fn all() -> Self {
        Self(thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN))
    }

    /// No more than `pieces` of work keep busy, when fewer than `worth` of them are not worth a thread.
    pub(crate) fn at_most(self, pieces: usize, worth: usize) -> Self {
        NonZero::new(pieces / worth.max(1)).map_or(Self::ONE, |most| Self(self.0.min(most)))
    }

    pub(crate) const fn is_one(self) -> bool {
        self.0.get() == 1
    }

    /// Both parts of them, of which the first is not the smaller; neither is empty.
    pub(crate) fn halves(self) -> [Self; 2] {
        let half = NonZero::new(self.0.get() / 2).unwrap_or(NonZero::<usize>::MIN);
        let rest = NonZero::new(self.0.get() - half.get()).unwrap_or(half);
        [Self(rest), Self(half)]
    }

    /// Does `work` on each number below `count`, and gives what comes of it to `take`, in order, on the caller's thread.
    ///
    /// # Errors
    /// The first that `take` gives: no later number is taken then, and little more is worked on.
    pub(crate) fn in_order<T: Send, E>(
        self,
        count: usize,
        work: impl Fn(usize) -> T + Sync,
        take: impl FnMut(usize, T) -> Result<(), E>,
    ) -> Result<(), E> {
        let next = AtomicUsize::new(0);
        let claim = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < count);
        let help = |done: mpsc::Sender<(usize, T)>| {
            while let Some(number) = claim() {
                // Nobody listens any more once `take` has refused something.
                if done.send((number, work(number))).is_err() {
                    return;
                }
            }
        };
        let (done, arrivals) = mpsc::channel();
        thread::scope(|scope| {
            let helpers: Vec<_> = (1..self.0.get().min(count))
                .map_while(|_| {
                    let done = done.clone();
                    thread::Builder::new().spawn_scoped(scope, || help(done)).ok()
                })
                .collect();
            drop(done);
            let taken = take_all(count, claim, &work, arrivals, take);
            // One that broke off is not missed: what it had claimed was done by the caller.
            helpers.into_iter().for_each(|helper| drop(helper.join()));
            taken
        })
    }

    /// What `here` and `there` give; `there` on another thread, if there may be one.
    pub(crate) fn both<A, B: Send>(self, here: impl FnOnce() -> A, there: impl Fn() -> B + Sync) -> (A, B) {
        if self.is_one() {
            return (here(), there());
        }
        let (here, done) = thread::scope(|scope| {
            let helper = thread::Builder::new().spawn_scoped(scope, &there);
            let here = here();
            (here, helper.ok().and_then(|helper| helper.join().ok()))
        });
        (here, done.unwrap_or_else(there))
    }
}

/// The caller's part of [`Threads::in_order`].
fn take_all<T, E>(
    count: usize,
    claim: impl Fn() -> Option<usize>,
    work: impl Fn(usize) -> T,
    arrivals: Receiver<(usize, T)>,
    mut take: impl FnMut(usize, T) -> Result<(), E>,
) -> Result<(), E> {
    let mut early = BTreeMap::new();
    for number in 0..count {
        let made = loop {
            early.extend(arrivals.try_iter());
            if let Some(made) = early.remove(&number) {
                break made;
            }
            match claim() {
                Some(ours) if ours == number => break work(number),
                Some(ours) => early.extend([(ours, work(ours))]),
                None => match arrivals.recv() {
                    Ok(arrival) => early.extend([arrival]),
                    // All helpers are gone, and this was left undone.
                    Err(_) => break work(number),
                },
            }
        };
        take(number, made)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
