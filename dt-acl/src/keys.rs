//! Keys: how an epoch key is committed to, wrapped for a party, linked to the key before it, and found again.
//!
//! ```text
//!   own secret ─┐                          wrap                       links
//!   ephemeral ──┴─X25519──▶ shared ──KDF──▶ key ──opens──▶ K₅, K₃ … ──────────▶ K₄ … K₂, K₁
//!                            item, version, epoch,           each checked against its epoch's commitment
//!                            party, both public keys
//! ```
//!
//! One ephemeral X25519 key serves all parties of one version of a list, and never another version: every change renews all wraps. So
//! a wrap says nothing outside its place: moved to another item, version, epoch or party, it does not open.

use std::collections::BTreeMap;

use borsh::BorshSerialize;
use dt_model::{Digest, Domain, EncryptionKey, PartyId, Secret, Signer, SignerError, codec};
use rand_core::CryptoRng;
use thiserror::Error;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::record::{AclRecord, Epoch, KEY_BYTES, Link};
use crate::{EncryptionKeyRefused, ItemId};

const WRAP: Domain = Domain::new("dt/acl/wrap/v1");
const LINK: Domain = Domain::new("dt/acl/link/v1");
const COMMITMENT: Domain = Domain::new("dt/acl/key-commitment/v1");

/// Why a key was not obtained.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The party is not on the list.
    #[error("{} is not on the access control list", .0.short())]
    NotAReader(PartyId),
    /// The party was given only what came later.
    #[error("epoch {epoch} is before {since}, from which on this party can read")]
    BeforeGrant {
        /// The epoch asked for.
        epoch: u64,
        /// The first one that the party can read.
        since: u64,
    },
    /// The list has no such epoch, or no longer.
    #[error("epoch {epoch} is not among {oldest} to {current}, which the list remembers")]
    UnknownEpoch {
        /// The epoch asked for.
        epoch: u64,
        /// The oldest one.
        oldest: u64,
        /// The newest one.
        current: u64,
    },
    /// What is stored does not open, or opens to a key other than the one committed to. Which it was is deliberately not said.
    #[error("the stored key does not open")]
    Corrupt,
    /// The party's own keys could not be used.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

/// The epoch keys that one party has from one version of a list.
#[derive(Debug)]
pub struct Keyring {
    item: ItemId,
    /// The number of the first of `epochs`, which are those that the list remembers.
    oldest: u64,
    epochs: Vec<Epoch>,
    since: u64,
    wrapped: BTreeMap<u64, Secret>,
}

impl Keyring {
    /// Opens the wrap that `record` has for `signer`: a binary search and one X25519 agreement, however long the list is.
    ///
    /// # Errors
    /// [`KeyError::NotAReader`], [`KeyError::Corrupt`] or [`KeyError::Signer`].
    pub fn open(record: &AclRecord, signer: &dyn Signer) -> Result<Self, KeyError> {
        let party = signer.party();
        let entry = record.entry(&party).ok_or(KeyError::NotAReader(party))?;
        let place = Place::of(record, entry.party, entry.encryption_key);
        let shared = signer.agree(&entry.encryption_key, &record.ephemeral)?;
        let opened = place.key(&shared).open_once(&[], &entry.wrap).map_err(|_| KeyError::Corrupt)?;
        let epochs = record.wrapped_epochs(entry.since);
        let (keys, []) = opened.as_chunks::<KEY_BYTES>() else { return Err(KeyError::Corrupt) };
        if keys.len() != epochs.len() {
            return Err(KeyError::Corrupt);
        }
        // What it takes from the list does not grow with the number of parties.
        let (item, oldest, since) = (record.item(), record.oldest_epoch(), entry.since);
        let mut ring =
            Self { item, oldest, epochs: record.epochs().to_vec(), since, wrapped: BTreeMap::new() };
        for (epoch, key) in epochs.into_iter().zip(keys) {
            let key = ring.committed(epoch, Secret::from_bytes(*key))?;
            ring.wrapped.insert(epoch, key);
        }
        Ok(ring)
    }

    /// The number of the current epoch.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.oldest + (self.epochs.len() as u64 - 1)
    }

    /// The first epoch that the party can read.
    #[must_use]
    pub fn since(&self) -> u64 {
        self.since.max(self.oldest)
    }

    /// The key of `epoch`, found by following links back from the nearest wrapped key; every key on the way is checked against its
    /// commitment. It takes two symmetric operations for each epoch passed.
    ///
    /// # Errors
    /// [`KeyError::UnknownEpoch`], [`KeyError::BeforeGrant`] or [`KeyError::Corrupt`].
    pub fn key(&self, epoch: u64) -> Result<Secret, KeyError> {
        let (oldest, current) = (self.oldest, self.epoch());
        if !(oldest..=current).contains(&epoch) {
            return Err(KeyError::UnknownEpoch { epoch, oldest, current });
        }
        if epoch < self.since {
            return Err(KeyError::BeforeGrant { epoch, since: self.since });
        }
        let (nearest, key) = self.wrapped.range(epoch..).next().ok_or(KeyError::Corrupt)?;
        let mut key = key.clone();
        for at in (epoch + 1..=*nearest).rev() {
            key = self.follow(at, &key)?;
        }
        Ok(key)
    }

    /// The key of the epoch before `at`, given the key of `at`.
    fn follow(&self, at: u64, key: &Secret) -> Result<Secret, KeyError> {
        let link = self.epoch_at(at).and_then(|epoch| epoch.link).ok_or(KeyError::Corrupt)?;
        let opened =
            link_key(key, self.item, at).open_once(&[], link.as_bytes()).map_err(|_| KeyError::Corrupt)?;
        let bytes = <[u8; KEY_BYTES]>::try_from(opened.as_slice()).map_err(|_| KeyError::Corrupt)?;
        self.committed(at - 1, Secret::from_bytes(bytes))
    }

    /// Lets `key` pass if it is the one that the list commits to in `epoch`.
    fn committed(&self, epoch: u64, key: Secret) -> Result<Secret, KeyError> {
        let expected = self.epoch_at(epoch).map(|epoch| epoch.commitment);
        if expected == Some(commitment(&key, self.item, epoch)) { Ok(key) } else { Err(KeyError::Corrupt) }
    }

    fn epoch_at(&self, epoch: u64) -> Option<&Epoch> {
        self.epochs.get(usize::try_from(epoch.checked_sub(self.oldest)?).ok()?)
    }
}

/// Where a wrap belongs: everything that its key depends on besides the shared secret.
#[derive(BorshSerialize)]
pub(crate) struct Place {
    item: ItemId,
    version: u64,
    epoch: u64,
    party: PartyId,
    encryption_key: EncryptionKey,
    ephemeral: EncryptionKey,
}

impl Place {
    pub(crate) fn of(record: &AclRecord, party: PartyId, encryption_key: EncryptionKey) -> Self {
        Self {
            item: record.item(),
            version: record.version(),
            epoch: record.epoch(),
            party,
            encryption_key,
            ephemeral: record.ephemeral(),
        }
    }

    fn key(&self, shared: &Secret) -> Secret {
        shared.derive(WRAP, &codec::encode(self))
    }
}

/// The secret half of a version's ephemeral key: made, used for that version's wraps, and wiped.
pub(crate) struct Ephemeral(StaticSecret);

impl Ephemeral {
    pub(crate) fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self(StaticSecret::random_from_rng(rng))
    }

    pub(crate) fn public(&self) -> EncryptionKey {
        EncryptionKey::from(PublicKey::from(&self.0).to_bytes())
    }

    /// Wraps `keys` for the party at `place`.
    pub(crate) fn wrap(&self, place: &Place, keys: &[&Secret]) -> Result<Vec<u8>, EncryptionKeyRefused> {
        let shared = self.0.diffie_hellman(&PublicKey::from(*place.encryption_key.as_bytes()));
        if !shared.was_contributory() {
            return Err(EncryptionKeyRefused { party: place.party, key: place.encryption_key });
        }
        let mut plain = Zeroizing::new(Vec::with_capacity(keys.len() * KEY_BYTES));
        for key in keys {
            plain.extend_from_slice(key.expose());
        }
        Ok(place.key(&Secret::from_bytes(shared.to_bytes())).seal_once(&[], &plain))
    }
}

/// The public commitment to an epoch key: BLAKE3's key derivation hides the key and is resistant to collisions, so nobody can find two
/// keys for one commitment.
pub(crate) fn commitment(key: &Secret, item: ItemId, epoch: u64) -> Digest {
    Digest::from(*key.derive(COMMITMENT, &codec::encode(&(item, epoch))).expose())
}

/// Seals the key of the epoch before `epoch` under the key of `epoch`, which seals nothing else in this domain.
pub(crate) fn link(key: &Secret, item: ItemId, epoch: u64, before: &Secret) -> Option<Link> {
    let sealed = link_key(key, item, epoch).seal_once(&[], before.expose());
    <[u8; 48]>::try_from(sealed.as_slice()).ok().map(Link::from)
}

fn link_key(key: &Secret, item: ItemId, epoch: u64) -> Secret {
    key.derive(LINK, &codec::encode(&(item, epoch)))
}
