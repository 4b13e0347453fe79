//! The owner of the feed: a device that loses its power in the middle of whatever it does.

use core::ops::Range;
use core::pin::pin;
use core::time::Duration;

use dt_dht::testing::simulator::{Dice, Host, Roster};
use dt_dht::{BlobError, Client, GetError};
use dt_feed::{BatchPolicy, Entry, PublishError, Publisher, ReadError, Reader};
use dt_model::testing::SeedRng;
use futures_util::future::select;

use super::notes::Book;
use crate::common::{key, manifest, secret};

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
        let size = publisher.size();
        self.book.notes().left_behind += usize::from(size > self.acknowledged);
        if size < self.acknowledged {
            self.book.broken(format!("{size} of {} entries are left", self.acknowledged));
            return Ok(publisher);
        }
        // What is in the log now, an earlier life than the last one may have left.
        let found = self.finds(self.acknowledged..size).await?;
        let rest = self.tape.split_off(usize::try_from(self.acknowledged).unwrap());
        self.tape.extend(&found);
        self.acknowledges(&publisher);
        if self.dice.permille(500) {
            for number in rest.into_iter().filter(|number| !found.contains(number)) {
                let taken = self.book.notes().taken[usize::try_from(number).unwrap()].clone();
                if publisher.append(taken.entry, self.host.now()).is_ok() {
                    self.tape.push(number);
                }
            }
        }
        Ok(publisher)
    }

    /// The numbers of the readings at `indices`.
    async fn finds(&self, indices: Range<u64>) -> Result<Vec<u64>, PublishError> {
        if indices.is_empty() {
            return Ok(Vec::new());
        }
        let (now, keys) = (self.host.now(), |epoch| Some(secret(epoch)));
        let read = async {
            let mut reader = Reader::open(&self.client, manifest().feed(), keys, now).await?;
            reader.range(indices.clone(), now).await
        };
        match read.await {
            Ok(entries) => {
                (indices.zip(&entries))
                    .for_each(|(index, entry)| self.book.opened(WHO, index, entry, u64::MAX));
                let number =
                    |entry: &Entry| entry.payload.as_ref().try_into().map(u64::from_le_bytes).unwrap();
                Ok(entries.iter().map(number).collect())
            }
            Err(ReadError::Get(error)) => Err(error.into()),
            // Those who have the shards are not to be reached now.
            Err(ReadError::Lost { source: source @ BlobError::TooFewShards { .. }, .. }) => {
                Err(GetError::Blob(source).into())
            }
            Err(error) => {
                self.book.broken(format!("the device reads its own feed: {error}"));
                Ok(Vec::new())
            }
        }
    }

    /// A quorum has what the publisher's head covers: that is how the feed begins from now on.
    fn acknowledges(&mut self, publisher: &Publisher) {
        for (index, number) in
            (self.acknowledged..publisher.size()).zip(&self.tape[self.acknowledged as usize..])
        {
            self.book.saw(WHO, index, Some(*number));
        }
        self.acknowledged = publisher.size();
    }
}
