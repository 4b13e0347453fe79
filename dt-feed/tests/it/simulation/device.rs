//! The owner of the feed: a device that loses its power in the middle of whatever it does.

use core::pin::pin;
use core::time::Duration;

use dt_dht::Client;
use dt_dht::testing::simulator::{Dice, Host, Roster};
use dt_feed::{BatchPolicy, PublishError, Publisher};
use dt_model::testing::SeedRng;
use futures_util::future::select;

use super::notes::Book;
use crate::common::{key, manifest};

const WHO: &str = "device";

pub(super) struct Device {
    client: Client,
    host: Host,
    dice: Dice,
    rng: SeedRng,
    book: Book,
    pub(super) roster: Option<Roster>,
    /// The epoch of its key, which it keeps.
    epoch: u64,
    /// The numbers of its readings, in the order in which the publisher took them.
    tape: Vec<u64>,
    /// Entries of the last head that was acknowledged.
    acknowledged: u64,
}

impl Device {
    pub(super) fn new(client: Client, host: Host, dice: Dice, rng: SeedRng, book: Book) -> Self {
        Self { client, host, dice, rng, book, roster: None, epoch: 1, tape: Vec::new(), acknowledged: 0 }
    }

    /// So many lives, of which most end at some moment.
    pub(super) async fn lives(&mut self, lives: usize) {
        for _ in 0..lives {
            let pause = self.dice.within(0..=1500);
            self.host.sleep(Duration::from_millis(pause)).await;
            let moment = if self.dice.permille(800) { self.dice.within(1..=4000) } else { 1 << 22 };
            self.loses_power_after(moment).await;
        }
    }

    /// One life, which ends after so many milliseconds at the latest.
    pub(super) async fn loses_power_after(&mut self, moment: u64) {
        let host = self.host.clone();
        let alarm = pin!(host.sleep(Duration::from_millis(moment)));
        let life = pin!(self.life(4));
        let _whoever_was_first = select(life, alarm).await;
    }

    /// With all honest nodes up, everything succeeds.
    pub(super) async fn finishes(&mut self) {
        if let Some(roster) = &self.roster {
            roster.inform(&self.client);
        }
        if let Err(error) = self.life(2).await {
            self.book.broken(format!("the device at last: {error}"));
        }
        if self.acknowledged != self.tape.len() as u64 {
            self.book.broken(format!("{} of {} are acknowledged", self.acknowledged, self.tape.len()));
        }
    }

    async fn life(&mut self, rounds: usize) -> Result<(), PublishError> {
        let mut publisher = self.starts().await?;
        for _ in 0..rounds {
            let pause = self.dice.within(0..=400);
            self.host.sleep(Duration::from_millis(pause)).await;
            if let Some(roster) = self.roster.as_ref().filter(|_| self.dice.permille(700)) {
                roster.inform(&self.client);
            }
            if self.dice.permille(300) {
                self.epoch += 1;
                publisher.set_key(key(self.epoch))?;
            }
            for _ in 0..self.dice.within(1..=5) {
                let (number, entry) = self.book.take(self.host.now(), self.epoch);
                publisher.append(entry, self.host.now()).unwrap();
                self.tape.push(number);
            }
            let answer = self.book.ask(WHO);
            let head = publisher.flush(&self.client, self.host.now(), &mut self.rng).await?;
            answer(head.as_ref());
            self.acknowledges(&publisher);
        }
        Ok(())
    }

    /// Takes the feed up where the network has it. What was in no segment it has kept, or not.
    async fn starts(&mut self) -> Result<Publisher, PublishError> {
        let entries = u32::try_from(self.dice.within(1..=3)).unwrap();
        let policy = BatchPolicy::new(entries, 1 << 20, Duration::from_millis(100)).unwrap();
        let answer = self.book.ask(WHO);
        let now = self.host.now();
        let mut publisher = Publisher::create(&self.client, manifest(), policy, key(self.epoch), now).await?;
        answer(publisher.head());
        self.book.notes().is_created = true;
        let size = usize::try_from(publisher.size()).unwrap();
        if size > self.tape.len() {
            self.book.broken(format!("{size} entries of {} that were taken", self.tape.len()));
            return Ok(publisher);
        }
        self.book.notes().left_behind += usize::from(publisher.size() > self.acknowledged);
        let rest = self.tape.split_off(size);
        self.acknowledges(&publisher);
        if self.dice.permille(500) {
            for number in rest {
                let taken = self.book.notes().taken[usize::try_from(number).unwrap()].clone();
                publisher.append(taken.entry, self.host.now()).unwrap();
                self.tape.push(number);
            }
        }
        Ok(publisher)
    }

    /// A quorum has what the publisher's head covers: that is how the feed begins from now on.
    fn acknowledges(&mut self, publisher: &Publisher) {
        for (index, number) in
            (self.acknowledged..publisher.size()).zip(&self.tape[self.acknowledged as usize..])
        {
            self.book.saw(WHO, index, Some(*number));
        }
        if publisher.size() < self.acknowledged {
            self.book.broken(format!("{} of {} entries are left", publisher.size(), self.acknowledged));
        }
        self.acknowledged = publisher.size();
    }
}
