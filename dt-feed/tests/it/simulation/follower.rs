//! Who reads the feed: with all keys, or with those that he had before he was shut out.

use core::ops::Range;
use core::pin::pin;
use core::time::Duration;

use dt_dht::testing::simulator::{Dice, Host, Roster};
use dt_dht::{BlobError, Client, GetError};
use dt_feed::{Entry, Floor, ReadError, Reader};
use dt_model::{Secret, Timestamp};
use futures_util::future::select;

use super::notes::Book;
use crate::common::{manifest, secret};

/// Which keys somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyring {
    All,
    /// That of the first epoch.
    First,
    /// The same, which he tries everywhere.
    FirstForAll,
}

impl Keyring {
    fn key(self, epoch: u64) -> Option<Secret> {
        match self {
            Self::All => Some(secret(epoch)),
            Self::First => (epoch == 1).then(|| secret(1)),
            Self::FirstForAll => Some(secret(1)),
        }
    }

    const fn last(self) -> u64 {
        match self {
            Self::All => u64::MAX,
            Self::First | Self::FirstForAll => 1,
        }
    }
}

pub(super) struct Follower {
    client: Client,
    dice: Dice,
    roster: Option<Roster>,
    watch: Watch,
}

/// What a follower keeps from one session to the next, and holds what he is given against.
struct Watch {
    who: String,
    keys: Keyring,
    host: Host,
    book: Book,
    floor: Option<Floor>,
}

impl Follower {
    pub(super) fn new(
        client: Client,
        host: Host,
        mut dice: Dice,
        keys: Keyring,
        book: Book,
        roster: Option<Roster>,
    ) -> Self {
        let who = format!("follower {} with {keys:?}", dice.within(0..=999));
        Self { client, dice, roster, watch: Watch { who, keys, host, book, floor: None } }
    }

    /// So many sessions, of which some are broken off.
    pub(super) async fn works(mut self, sessions: usize) {
        for _ in 0..sessions {
            let pause = self.dice.within(0..=4000);
            let host = self.watch.host.clone();
            host.sleep(Duration::from_millis(pause)).await;
            if let Some(roster) = self.roster.as_ref().filter(|_| self.dice.permille(700)) {
                roster.inform(&self.client);
            }
            let patience = if self.dice.permille(150) { self.dice.within(1..=1000) } else { 1 << 22 };
            let alarm = pin!(host.sleep(Duration::from_millis(patience)));
            let session = pin!(self.session(5));
            let _whoever_was_first = select(session, alarm).await;
        }
    }

    /// With all honest nodes up, the whole log is there, and each entry is proven.
    pub(super) async fn audits(&mut self) {
        if let Some(roster) = &self.roster {
            roster.inform(&self.client);
        }
        if let Err(error) = self.audit().await {
            self.watch.book.broken(format!("the auditor: {error}"));
        }
    }

    async fn audit(&mut self) -> Result<(), ReadError> {
        let (keys, watch) = (self.watch.keys, &mut self.watch);
        let now = watch.host.now();
        let mut reader =
            Reader::open(&self.client, manifest().feed(), move |epoch| keys.key(epoch), now).await?;
        let answer = watch.book.ask(&watch.who);
        let head = reader.head(now).await?;
        answer(head.as_ref());
        let (size, known) = (head.map_or(0, |head| head.size()), watch.book.known());
        if size != known {
            watch.book.broken(format!("{size} of {known} entries are left"));
        }
        watch.check(0..size, &reader.range(0..size, watch.host.now()).await?);
        for index in 0..size {
            watch.prove(&mut reader, index).await?;
        }
        Ok(())
    }

    async fn session(&mut self, operations: usize) {
        let (keys, watch) = (self.watch.keys, &mut self.watch);
        let was_created = watch.book.notes().is_created;
        let now = watch.host.now();
        let open = Reader::open(&self.client, manifest().feed(), move |epoch| keys.key(epoch), now).await;
        let mut reader = match open {
            Ok(reader) => reader,
            Err(ReadError::UnknownFeed(_)) if was_created => {
                return watch.book.broken("the manifest is lost".to_owned());
            }
            Err(error) => return watch.failed(&error),
        };
        if let Some(floor) = watch.floor {
            reader = reader.with_floor(floor);
        }
        for _ in 0..operations {
            let pause = self.dice.within(0..=500);
            watch.host.sleep(Duration::from_millis(pause)).await;
            let done = match self.dice.below(6) {
                0 => watch.head(&mut reader).await.map(drop),
                1 | 2 => watch.latest(&mut reader).await,
                3 => watch.range(&mut reader, &mut self.dice).await,
                4 => watch.history(&mut reader, &mut self.dice).await,
                _ => watch.any_proof(&mut reader, &mut self.dice).await,
            };
            done.unwrap_or_else(|error| watch.failed(&error));
        }
    }
}

impl Watch {
    /// The latest head, which is not older than any that he has seen.
    async fn head(&mut self, reader: &mut Reader<'_, impl dt_feed::Keys>) -> Result<u64, ReadError> {
        let answer = self.book.ask(&self.who);
        let head = reader.head(self.host.now()).await?;
        answer(head.as_ref());
        let floor = head.map(|head| head.floor());
        self.rise(floor);
        Ok(floor.map_or(0, |floor| floor.size))
    }

    fn rise(&mut self, floor: Option<Floor>) {
        let size = |floor: Option<Floor>| floor.map_or(0, |floor| floor.size);
        let same = size(floor) != size(self.floor) || floor == self.floor;
        if size(floor) < size(self.floor) || !same {
            self.book.broken(format!("{} saw {:?}, and then {floor:?}", self.who, self.floor));
        }
        self.floor = floor;
    }

    async fn latest(&mut self, reader: &mut Reader<'_, impl dt_feed::Keys>) -> Result<(), ReadError> {
        let answer = self.book.ask(&self.who);
        let latest = reader.latest(self.host.now()).await?;
        answer(latest.as_ref().map(|latest| &latest.head));
        let Some(latest) = latest else { return Ok(()) };
        self.rise(Some(latest.head.floor()));
        self.check(latest.run.first..latest.head.size(), &latest.run.entries);
        Ok(())
    }

    async fn range(
        &mut self,
        reader: &mut Reader<'_, impl dt_feed::Keys>,
        dice: &mut Dice,
    ) -> Result<(), ReadError> {
        let size = self.head(reader).await?;
        let start = dice.within(0..=size);
        let range = start..dice.within(start..=size);
        let entries = reader.range(range.clone(), self.host.now()).await?;
        self.check(range, &entries);
        Ok(())
    }

    async fn history(
        &mut self,
        reader: &mut Reader<'_, impl dt_feed::Keys>,
        dice: &mut Dice,
    ) -> Result<(), ReadError> {
        let size = self.head(reader).await?;
        let now = self.host.now().as_millis();
        let (length, back) = (dice.within(0..=5000), dice.within(0..=20_000));
        let start = now.saturating_sub(back);
        let times = Timestamp::from_millis(start)..Timestamp::from_millis(start + length);
        let known = self.book.known_in(&times, size);
        let run = reader.history(times, self.host.now()).await?;
        let covered = run.first..run.first + run.entries.len() as u64;
        if let Some(index) = known.into_iter().find(|index| !covered.contains(index)) {
            self.book.broken(format!("{} missed entry {index} in {covered:?}", self.who));
        }
        self.check(covered, &run.entries);
        Ok(())
    }

    async fn any_proof(
        &mut self,
        reader: &mut Reader<'_, impl dt_feed::Keys>,
        dice: &mut Dice,
    ) -> Result<(), ReadError> {
        let size = self.head(reader).await?;
        if size > 0 { self.prove(reader, dice.within(0..=size - 1)).await } else { Ok(()) }
    }

    async fn prove(&self, reader: &mut Reader<'_, impl dt_feed::Keys>, index: u64) -> Result<(), ReadError> {
        let (proof, head) = reader.prove(index, self.host.now()).await?;
        if let Err(error) = proof.verify(&manifest(), head.record()) {
            self.book.broken(format!("{} has a proof of {index} that proves nothing: {error}", self.who));
        }
        self.book.opened(&self.who, index, &proof.entry, self.keys.last());
        Ok(())
    }

    /// He was given `entries` as the ones of `range`.
    fn check(&self, range: Range<u64>, entries: &[Entry]) {
        if range.end - range.start != entries.len() as u64 {
            self.book.broken(format!("{} was given {} entries as {range:?}", self.who, entries.len()));
        }
        for (index, entry) in range.zip(entries) {
            self.book.opened(&self.who, index, entry, self.keys.last());
        }
    }

    /// Whether that may happen while no more lie than may: the network may be down, and a key be missing.
    fn failed(&self, error: &ReadError) {
        let may_be = match error {
            ReadError::Get(
                GetError::Equivocation(_) | GetError::Conflict { .. } | GetError::Unacceptable(_),
            ) => false,
            ReadError::Lost { source, .. } => matches!(source, BlobError::TooFewShards { .. }),
            ReadError::Get(_) | ReadError::UnknownFeed(_) => true,
            ReadError::Unreadable { .. } => self.keys == Keyring::First,
            ReadError::Sealed { .. } => self.keys == Keyring::FirstForAll,
            _ => false,
        };
        if !may_be {
            self.book.refused(format!("{}: {error}", self.who));
        }
    }
}
