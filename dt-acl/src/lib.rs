//! k-rAC: per-item access control lists stored with the data, keys wrapped for each reader, revocation that re-keys.
//!
//! The scheme is that of Kieselmann, Wacker and Schiele (2017), as section 4.2 of the paper uses it: the list lies in the DHT beside what it
//! guards, the item's key is wrapped in it for every reader, and only a quorum of replicas changes either.
//!
//! ```text
//!               ItemId = address = digest of owner and name
//!   ┌──────────────────────────┬──────────────────────────────┐
//!   │ slot "acl "              │ slot "data"                  │        blob: shards of the
//!   │ AclRecord, version 7     │ DataRecord, counter 12       │        sealed content
//!   │  who may, by name and    │  under list 6, in epoch 3,   │───────▶ ▤ ▤ ▤ ▤
//!   │  by group; key epochs,   │  previous: 11                │            ▲
//!   │  wrapped keys, previous  │                              │            │
//!   └──────────▲───────────────┴──────────▲───────────────────┘            │
//!              │ AclValidator             │ DataValidator                  │
//!              └────── every replica ─────┘ settled together, step by step │
//!                                                                          │
//!   Items: state ─▶ own entry ──X25519──▶ Keyring ──▶ epoch key ──▶ content key
//! ```
//!
//! # One step after the other
//!
//! List and data of an item are settled together ([`dt_dht::Order::Agreed`]): the replicas agree on one sequence of steps, each of which
//! replaces the list or the data. So what a party reads is list and data of one moment, and what it writes is judged by the very list that
//! is in force at that step. Of two who start from the same state one wins; the other is told [`AclError::Conflict`], nothing of its change
//! is done, and it succeeds when it tries again from reading on, unless somebody is faster again. Whoever dies in the middle holds nobody
//! up: the next one finishes what he began, or goes over it. Who has the higher right goes first: the owner, then managers, then writers.
//!
//! Each version names the digest of the one before. So the settled list vouches for its whole past: who could do what, and when
//! ([`Items::history`]).
//!
//! # What a revocation does, and what it does not
//!
//! Once the new list has its certificate, nothing that the removed party writes is ever settled, whatever it began before; honest replicas
//! serve it nothing more; and what is written from then on is sealed under a key that it never had. **Neither kind of [`Revocation`]
//! recalls a copy already taken**: what the party has read it may have kept, and so it may have kept the old epoch's key. A
//! [`Revocation::Lazy`] one leaves the current data under that key until somebody writes again; whoever kept the key and gets at the shards
//! (one dishonest node knows where they are) reads it still. A [`Revocation::Eager`] one encrypts the current data anew at once; the old
//! shards go when their lease ends, and a node that keeps them on purpose keeps them.
//!
//! # What a later reader is given
//!
//! By [`History::Full`] the current key, and by the links between epochs every older one that the list remembers. By
//! [`History::Omitted`] only what is written after the grant: it begins a new epoch without a link. Those who were on the list before find
//! the older key in their own wrap, so they lose nothing. Content that is encrypted anew later is readable to everyone then on the list,
//! the newcomer included.
//!
//! # Whom one has to trust
//!
//! The owner, for everything. A manager, not to lock others out: a replica cannot see whether a wrap holds the right key (a reader can, by
//! its commitment). A writer, not to store a blob that cannot be restored. Of the replicas no more than *k* may lie; with more, an old
//! state may be shown again, or a removed party's right prolonged, but no list is forged: that takes the owner's key, or that of somebody
//! whom the owner once made a manager. Against the first there is the [`Floor`], from an anchor on the ledger.
//!
//! Attack by attack: [`threat_model`].
//!
//! # Limits
//!
//! A list has room for [`MAX_ENTRIES`] parties with [`MAX_EPOCHS`] key epochs, and [`MAX_GROUPS`] groups. Replicas remember some thousand
//! former versions of each record. Each change of a list wraps for everybody anew; to open it costs one X25519 agreement, however long it
//! is.
//!
//! # Example
//!
//! ```
//! use std::{collections::BTreeSet, sync::Arc};
//! use dt_acl::{AclError, AclValidator, DataValidator, Grantee, Items, Revocation, Rights};
//! use dt_dht::{Client, InProcess, Membership, MemoryStore, Node, Replica, Resilience, Validator};
//! use dt_model::{Digest, Identity, Signer, Timestamp};
//! # use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut rng = ChaCha20Rng::from_seed([7; 32]);
//! let now = Timestamp::from_millis(1_700_000_000_000);
//! let [owner, maintainer] = core::array::from_fn(|_| Arc::new(Identity::generate(&mut rng)));
//!
//! // Four nodes, of which one may be malicious.
//! let keys: Vec<_> = (0..4).map(|_| Arc::new(Identity::generate(&mut rng))).collect();
//! let nodes = keys.iter().map(|key| Node { party: key.party(), endpoints: vec![] }).collect();
//! let parties = BTreeSet::from([owner.party(), maintainer.party()]);
//! let membership = Membership::new(Digest::from([1; 32]), 1, Resilience::tolerating(1)?, nodes, parties)?;
//! let validators: Vec<Arc<dyn Validator>> = vec![Arc::new(AclValidator), Arc::new(DataValidator)];
//! let replicas = keys.iter().map(|key| {
//!     Arc::new(Replica::new(key.clone(), Arc::new(MemoryStore::new()), membership.clone(), validators.clone()))
//! });
//! let network = Arc::new(InProcess::new(replicas, Arc::new(move || now)));
//! let mut items = |party: &Arc<Identity>| {
//!     let rng = ChaCha20Rng::from_rng(&mut rng);
//!     Items::new(Arc::new(Client::new(party.clone(), network.clone(), membership.clone(), rng)))
//! };
//! let (owners, maintainers) = (items(&owner), items(&maintainer));
//!
//! // The owner writes, the maintainer reads.
//! let reader = Grantee::new(maintainer.party(), maintainer.encryption_key(), Rights::READ);
//! let item = owners.create("manual", &[reader], now, &mut rng).await?.acl.item();
//! let written = owners.write(item, b"Open the valve slowly.", now, &mut rng).await?;
//! let opened = maintainers.read(item, None, now).await?;
//! assert_eq!(&**opened.plaintext, b"Open the valve slowly.");
//! assert_eq!((opened.writer, opened.content_hash), (owner.party(), written.content_hash));
//!
//! // No more, once the new list has its certificate.
//! let revoked = owners.revoke(item, maintainer.party(), Revocation::Eager, now, &mut rng).await?;
//! let floor = revoked.state.acl.reference().into(); // to be anchored on the ledger
//! assert!(matches!(maintainers.read(item, None, now).await, Err(AclError::NotAReader(_))));
//! assert_eq!(&**owners.read(item, Some(floor), now).await?.plaintext, b"Open the valve slowly.");
//! # Ok(())
//! # }
//! ```

mod acl;
mod change;
mod content;
mod data;
mod draft;
mod error;
mod group;
mod item;
mod items;
mod keys;
mod lineage;
mod record;
mod rights;
mod state;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;
#[doc = include_str!("../THREATS.md")]
pub mod threat_model {}
mod validator;

pub use acl::{Acl, AclRef};
pub use change::{Change, ChangeError, EncryptionKeyRefused, Founders};
pub use content::{ContentDraft, ContentOpener, ContentSealer, Corrupt, Exhausted, SealedContent};
pub use data::{Data, DataRecord, DataRef, MAX_DATA_BYTES, Salt, SealedHash};
pub use error::AclError;
pub use group::{Group, GroupGrant, MAX_GROUPS, Member, Role};
pub use item::{ACL_KIND, DATA_KIND, ItemId, ItemName};
pub use items::{Items, Opened, Revocation, Revoked, Written};
pub use keys::{KeyError, Keyring};
pub use lineage::Lineage;
pub use record::{
    AclRecord, Entry, Epoch, Link, MAX_ACL_BYTES, MAX_ENTRIES, MAX_EPOCHS, MalformedAcl, Mandate,
};
pub use rights::{Grant, Grantee, History, Rights};
pub use state::{Floor, ItemState};
pub use stream::{ItemReader, ItemWriter};
pub use validator::{AclValidator, DataValidator};
