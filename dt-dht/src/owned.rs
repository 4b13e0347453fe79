//! The simplest kind of record: a named value that only its owner writes, and of which the newer version replaces the older.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_model::{Domain, Name, PartyId, Signed, codec};

use crate::{Address, Check, Key, Kind, MAX_RECORD_BYTES, Record, Refusal, Site, Validator};

/// Judges records of kind `ownd`: a value at an address that binds its owner and a name.
///
/// It is enough for anything that one party publishes under a name, and shows what a [`Validator`] has to check.
///
/// # Examples
/// ```
/// use dt_dht::OwnedRecords;
/// # use dt_model::{Signed, Signer, testing::identity};
/// # let owner = identity(1);
/// let name = "calibration".parse()?;
/// let record = OwnedRecords::record(owner.party(), name, 1, &b"zero at 4.02 mA"[..]);
/// let record = Signed::new(record, &owner)?;
/// assert_eq!(OwnedRecords::value(&record)?, "zero at 4.02 mA");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct OwnedRecords;

#[derive(BorshSerialize, BorshDeserialize)]
struct Owned {
    name: Name,
    value: Bytes,
}

impl OwnedRecords {
    /// The kind that it judges.
    pub const KIND: Kind = Kind::new(*b"ownd");

    /// Where the value `name` of `owner` lies.
    #[must_use]
    pub fn key(owner: &PartyId, name: &Name) -> Key {
        const ADDRESS: Domain = Domain::new("dt/dht/owned-address/v1");
        Key::new(Address::from(*ADDRESS.blake3_of(&(owner, name)).as_bytes()), Self::KIND, 0)
    }

    /// The record that gives `name` of `owner` its `version`th value. It counts once `owner` has signed it.
    #[must_use]
    pub fn record(owner: PartyId, name: Name, version: u64, value: impl Into<Bytes>) -> Record {
        let key = Self::key(&owner, &name);
        Record { key, version, body: codec::encode(&Owned { name, value: value.into() }).into() }
    }

    /// The value in `record`.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] or [`Refusal::WrongAddress`], if this is no owned record of its signer.
    pub fn value(record: &Signed<Record>) -> Result<Bytes, Refusal> {
        let owned: Owned = codec::decode(&record.body, MAX_RECORD_BYTES).map_err(|_| Refusal::Malformed)?;
        if record.key == Self::key(&record.signer(), &owned.name) {
            Ok(owned.value)
        } else {
            Err(Refusal::WrongAddress)
        }
    }

    /// What a reader gives [`crate::Client::get`]: the record is its signer's own, so at the key that he looks it up, its owner's.
    pub fn check() -> &'static Check<'static> {
        &|record| Self::value(record).map(drop)
    }
}

impl Validator for OwnedRecords {
    fn kind(&self) -> Kind {
        Self::KIND
    }

    fn admit(&self, site: &Site<'_>, offered: &Signed<Record>) -> Result<(), Refusal> {
        Self::value(offered)?;
        match site.stored {
            Some(stored) if stored.version > offered.version => {
                Err(Refusal::Stale { stored: stored.version })
            }
            Some(stored) if stored.version == offered.version => Err(Refusal::Conflict),
            _ => Ok(()),
        }
    }
}
