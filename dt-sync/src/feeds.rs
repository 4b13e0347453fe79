//! Reading sensor data: feeds as the ledger links them, opened with the keys that the party was given.

use core::ops::Range;

use dt_acl::Keyring;
use dt_feed::{Entry, FeedId, Floor, Keys, Reader, SignedHead};
use dt_ledger::{Call, FeedReference, Resource, State as _, TwinCall};
use dt_model::{ComponentId, Secret, Timestamp, TwinId, codec};

use crate::device::Reading;
use crate::{Client, ClientError};

/// A keyring as a source of a feed's epoch keys.
pub struct FeedKeys(Keyring);

impl Keys for FeedKeys {
    fn key(&self, epoch: u64) -> Option<Secret> {
        self.0.key(epoch).ok()
    }
}

/// The readings of one feed, verified up to its owner's signature and down from the ledger's anchor.
pub struct Readings<'a> {
    client: &'a Client,
    component: ComponentId,
    reader: Reader<'a, FeedKeys>,
}

impl Client {
    /// The feed that is linked to `component` now.
    ///
    /// # Errors
    /// [`ClientError::NoFeed`], [`ClientError::Store`].
    pub fn feed(&self, twin: &TwinId, component: &ComponentId) -> Result<FeedReference, ClientError> {
        let feed = self.ledger().state()?.feed(twin, component)?;
        Ok(feed.ok_or_else(|| ClientError::NoFeed(component.clone()))?.reference)
    }

    /// All feeds that ever were linked to `component`, in order: what its trace tells. A component that was removed has its past still.
    ///
    /// # Errors
    /// [`ClientError::Store`].
    pub fn feeds_ever(
        &self,
        twin: &TwinId,
        component: &ComponentId,
    ) -> Result<Vec<FeedReference>, ClientError> {
        let mut feeds = Vec::new();
        for entry in self.ledger().history(&Resource::Feed(*twin, component.clone()))? {
            let Some((_, envelope, _)) = self.ledger().replica().transaction(&entry.transaction)? else {
                continue;
            };
            let Ok(transaction) = envelope.open() else { continue };
            if let Some(Call::Twin { call: TwinCall::AddSensorFeed { feed, .. }, .. }) =
                transaction.calls.get(entry.call as usize)
            {
                feeds.push(*feed);
            }
        }
        Ok(feeds)
    }

    /// Opens a feed of `component` for reading, with the keys that the party has now and the ledger's anchor as the floor.
    ///
    /// # Errors
    /// [`ClientError::Item`] if the party was given no keys (or no longer), [`ClientError::ForeignFeed`], [`ClientError::Feed`].
    pub async fn readings(
        &self,
        twin: &TwinId,
        component: &ComponentId,
        feed: &FeedReference,
        now: Timestamp,
    ) -> Result<Readings<'_>, ClientError> {
        let id = FeedId::from(*feed.feed.as_bytes());
        let open = async || {
            let keys = FeedKeys(self.feed_keys(twin, feed, now).await?);
            Ok::<_, ClientError>(Reader::open(self.items().client(), id, keys, now).await?)
        };
        let reader = self.following(now, open).await?;
        let manifest = reader.manifest();
        if (manifest.twin, &manifest.component, manifest.owner) != (*twin, component, feed.publisher) {
            return Err(ClientError::ForeignFeed(component.clone()));
        }
        let anchor = self.ledger().state()?.head_anchor(twin, feed)?;
        let reader = match anchor {
            Some(anchor) => reader.with_floor(Floor { size: anchor.size, root: anchor.root }),
            None => reader,
        };
        Ok(Readings { client: self, component: component.clone(), reader })
    }
}

impl<'a> Readings<'a> {
    /// The latest head, which says how many readings there are and commits to each.
    ///
    /// # Errors
    /// [`ClientError::Feed`].
    pub async fn head(&mut self, now: Timestamp) -> Result<Option<SignedHead>, ClientError> {
        let reader = &mut self.reader;
        self.client.following(now, async || Ok(reader.head(now).await?)).await
    }

    /// The last readings: those of the last batch.
    ///
    /// # Errors
    /// [`ClientError::Feed`], [`ClientError::NotAReading`].
    pub async fn latest(&mut self, now: Timestamp) -> Result<Vec<Reading>, ClientError> {
        let reader = &mut self.reader;
        let read = async || Ok::<_, ClientError>(reader.latest(now).await?);
        match self.client.following(now, read).await? {
            Some(latest) => self.decode(latest.run.first, &latest.run.entries),
            None => Ok(Vec::new()),
        }
    }

    /// The readings with these numbers, counted from 0.
    ///
    /// # Errors
    /// [`ClientError::Feed`], [`ClientError::NotAReading`].
    pub async fn range(&mut self, range: Range<u64>, now: Timestamp) -> Result<Vec<Reading>, ClientError> {
        let first = range.start;
        let reader = &mut self.reader;
        let read = async || Ok::<_, ClientError>(reader.range(range.clone(), now).await?);
        let entries = self.client.following(now, read).await?;
        self.decode(first, &entries)
    }

    /// The readings of this span of time.
    ///
    /// # Errors
    /// [`ClientError::Feed`], [`ClientError::NotAReading`].
    pub async fn history(
        &mut self,
        times: Range<Timestamp>,
        now: Timestamp,
    ) -> Result<Vec<Reading>, ClientError> {
        let reader = &mut self.reader;
        let read = async || Ok::<_, ClientError>(reader.history(times.clone(), now).await?);
        let run = self.client.following(now, read).await?;
        self.decode(run.first, &run.entries)
    }

    /// The feed's own reader, for proofs of single entries.
    #[must_use]
    pub const fn reader(&mut self) -> &mut Reader<'a, FeedKeys> {
        &mut self.reader
    }

    fn decode(&self, first: u64, entries: &[Entry]) -> Result<Vec<Reading>, ClientError> {
        let numbered = (first..).zip(entries);
        let readings = numbered.map(|(entry, of)| {
            decode(&of.payload)
                .ok_or_else(|| ClientError::NotAReading { component: self.component.clone(), entry })
        });
        readings.collect()
    }
}

/// A reading is a value, a unit and a time.
const MAX_READING_BYTES: usize = 512;

fn decode(payload: &[u8]) -> Option<Reading> {
    codec::decode(payload, MAX_READING_BYTES).ok()
}
