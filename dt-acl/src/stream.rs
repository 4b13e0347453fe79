//! Items whose data does not fit in memory, or is not all there yet: written and read piece by piece, or read in part.

use core::ops::Range;

use dt_dht::{BlobError, BlobReader, BlobWriter, GetError, MAX_BLOB_BYTES, Progress, PutError, seal};
use dt_model::{PartyId, Timestamp, codec};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    Acl, AclError, ContentOpener, ContentSealer, Corrupt, Data, Floor, ItemId, Items, Keyring, Written,
};

/// Content is sealed in pieces of at most so many bytes: what a writer holds besides the stripes that are under way.
const PIECE_BYTES: usize = 256 * 1024;

impl Items {
    /// Starts to replace the data of `item` by content that comes piece by piece.
    ///
    /// It will follow on the data that is settled now, under the list that is settled now: if either changes before
    /// [`ItemWriter::finish`], all was in vain, as a [`Items::write`] that loses.
    ///
    /// # Errors
    /// [`AclError::NotPermitted`], those of reading, and what comes from the DHT.
    pub async fn writer(
        &self,
        item: ItemId,
        now: Timestamp,
        rng: &mut (impl CryptoRng + Send + ?Sized),
    ) -> Result<ItemWriter<'_>, AclError> {
        let state = self.state(item, None, now).await?;
        self.require(&state.acl, now, |rights| rights.write)?;
        let key = Keyring::open(&state.acl, self.client().signer())?.key(state.acl.epoch())?;
        let previous = state.data.as_ref().map(Data::reference);
        let sealer = ContentSealer::new(&state.acl, &key, self.party(), previous, rng)?;
        let blob = self.client().write_blob()?;
        Ok(ItemWriter { items: self, acl: state.acl, sealer, blob, sealed: Vec::new() })
    }

    /// The data of `item` from `start` on, piece by piece.
    ///
    /// # Errors
    /// As [`Items::read`], and [`BlobError::OutOfRange`] behind the end of the content. Nothing of the content is fetched yet.
    pub async fn reader(
        &self,
        item: ItemId,
        floor: Option<Floor>,
        start: u64,
        now: Timestamp,
    ) -> Result<ItemReader<'_>, AclError> {
        let state = self.state(item, floor, now).await?;
        let data = state.data.ok_or(AclError::NoData(item))?;
        self.open_range(&state.acl, &data, start..data.length())
    }

    /// The `range` of the content of `data`, with the party's keys from `acl`, piece by piece: any version of the item's data, as long as
    /// nodes keep its blob. Only the stripes that hold the range are fetched.
    ///
    /// # Errors
    /// [`AclError::NotAReader`], [`AclError::Key`], [`AclError::Corrupt`], and [`BlobError::OutOfRange`]. Nothing is fetched yet.
    pub fn open_range(&self, acl: &Acl, data: &Data, range: Range<u64>) -> Result<ItemReader<'_>, AclError> {
        let (start, end, length) = (range.start, range.end, data.length());
        if start > end || end > length {
            return Err(GetError::Blob(BlobError::OutOfRange { start, end, length }).into());
        }
        let key = Keyring::open(acl, self.client().signer())?.key(data.epoch())?;
        let mut opener = data.record().opener(data.writer(), &key)?;
        // The only chunk of empty content is fetched nevertheless, so that it is checked.
        let sealed = if length == 0 { 0..data.blob().length() } else { opener.sealed_range(range) };
        let blob = self.client().read_blob(data.blob(), sealed)?;
        let before = opener.seek(start);
        let whole = start == 0 && end == length;
        let (opener, left, writer) = (Some(opener), end - start, data.writer());
        Ok(ItemReader { blob, opener, before, left, whole, corrupt: false, writer })
    }
}

/// Replaces the data of an item by content that is given piece by piece: [`Items::writer`].
///
/// Memory is bounded as that of a [`BlobWriter`]. Nobody sees anything of the content before [`ItemWriter::finish`] has returned, and
/// then everybody sees all of it. A write that breaks off is started again from the beginning: the salt, on which the key depends, is
/// drawn anew, so that no key ever seals twice.
pub struct ItemWriter<'a> {
    items: &'a Items,
    acl: Acl,
    sealer: ContentSealer,
    blob: BlobWriter<'a>,
    /// Sealed, and about to be written.
    sealed: Vec<u8>,
}

impl ItemWriter<'_> {
    /// Takes the next bytes of the content.
    ///
    /// # Errors
    /// What comes from the DHT; then the write is broken off.
    pub async fn write(&mut self, content: &[u8], now: Timestamp) -> Result<(), AclError> {
        for piece in content.chunks(PIECE_BYTES) {
            self.sealer.push(piece, &mut self.sealed).map_err(|_| too_long())?;
            self.blob.write(&self.sealed, now).await.map_err(refused)?;
            self.sealed.clear();
        }
        Ok(())
    }

    /// How far it is, in sealed bytes: [`dt_dht::seal::sealed_bytes`].
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.blob.progress()
    }

    /// Stores the rest, and settles the content as the item's data.
    ///
    /// # Errors
    /// As [`Items::write`].
    pub async fn finish(mut self, now: Timestamp) -> Result<Written, AclError> {
        let draft = self.sealer.finish(&mut self.sealed).map_err(|_| too_long())?;
        self.blob.write(&self.sealed, now).await.map_err(refused)?;
        let blob = self.blob.finish(now).await.map_err(refused)?;
        let (item, content_hash, record) = (self.acl.item(), draft.hash(), draft.record(blob, now));
        let counter = record.counter();
        let signed = self.items.sign(item.data_key(), counter, codec::encode(&record))?;
        let certificate = self.items.settle::<Data>(item, &signed, now).await?.certificate;
        let (record, acl) = (signed.digest(), self.acl.reference());
        Ok(Written { item, counter, record, content_hash, acl, certificate })
    }
}

/// More chunks than can be numbered are more bytes than a blob has.
fn too_long() -> AclError {
    PutError::TooLarge { size: u64::MAX, limit: MAX_BLOB_BYTES }.into()
}

fn refused(error: PutError) -> AclError {
    match error {
        PutError::Refused(refusal) => AclError::refused(refusal),
        other => other.into(),
    }
}

/// Gives the data of an item piece by piece: [`Items::reader`] and [`Items::open_range`].
///
/// Each piece is what the writer sealed at this place. Whether the whole is what he committed to, only its end can tell: who reads all
/// of it, and gets [`AclError::Corrupt`] instead of the end, MUST NOT believe the pieces either.
pub struct ItemReader<'a> {
    blob: BlobReader<'a>,
    /// Until the end was checked.
    opener: Option<ContentOpener>,
    /// How many bytes of what is opened next are before the range.
    before: u64,
    /// How many bytes of the range are still to be given.
    left: u64,
    /// Whether the range is the whole content.
    whole: bool,
    corrupt: bool,
    writer: PartyId,
}

impl ItemReader<'_> {
    /// Who wrote it.
    #[must_use]
    pub const fn writer(&self) -> PartyId {
        self.writer
    }

    /// The next piece of the range; `None` at its end.
    ///
    /// # Errors
    /// [`AclError::Corrupt`], and what comes from the DHT; after the latter a later call tries again.
    pub async fn next(&mut self, now: Timestamp) -> Result<Option<Zeroizing<Vec<u8>>>, AclError> {
        while let Some(opener) = &mut self.opener {
            let Some(sealed) = self.blob.next(now).await? else { break };
            // At once, so that no copy is left behind when it grows: the rest of a chunk may come out, too.
            let mut piece = Zeroizing::new(Vec::with_capacity(sealed.len() + seal::CHUNK_BYTES));
            if opener.push(&sealed, &mut piece).is_err() {
                return Err(self.give_up());
            }
            let before = usize::try_from(self.before).unwrap_or(usize::MAX).min(piece.len());
            let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(piece.len() - before);
            piece.copy_within(before..before + length, 0);
            piece.truncate(length);
            self.before -= before as u64;
            self.left -= length as u64;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        let end = self.opener.take().filter(|_| self.whole).map(ContentOpener::finish);
        if self.corrupt || matches!(end, Some(Err(_))) {
            return Err(self.give_up());
        }
        Ok(None)
    }

    /// What was found corrupt stays so.
    fn give_up(&mut self) -> AclError {
        self.opener = None;
        self.corrupt = true;
        Corrupt.into()
    }
}
