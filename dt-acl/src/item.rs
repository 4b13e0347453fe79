//! What an access control list guards, and where it lies: an item, whose address nobody but its owner can take.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_dht::{Address, Key, Kind, Slot};
use dt_model::{Digest, Domain, PartyId, Text};
use serde::{Deserialize, Serialize};

/// The kind of the record that holds an item's access control list; there is one, at index 0.
pub const ACL_KIND: Kind = Kind::new(*b"acl ");
/// The kind of the record that describes an item's current data; there is one, at index 0.
pub const DATA_KIND: Kind = Kind::new(*b"data");

const NAME: Domain = Domain::new("dt/acl/item-name/v1");
const ITEM: Domain = Domain::new("dt/acl/item/v1");

/// What an owner calls an item, as a digest: replicas need it to check the address, not to read it.
///
/// A name that can be guessed can be recognised by whoever guesses it; put something random in it where that matters.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
pub struct ItemName(Digest);

impl ItemName {
    /// The name that these bytes are.
    #[must_use]
    pub fn new(name: &[u8]) -> Self {
        Self(NAME.blake3(&[name]))
    }

    /// The digest that stands for the name.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.0
    }
}

impl From<&[u8]> for ItemName {
    fn from(name: &[u8]) -> Self {
        Self::new(name)
    }
}

impl<const N: usize> From<&[u8; N]> for ItemName {
    fn from(name: &[u8; N]) -> Self {
        Self::new(name)
    }
}

impl From<&str> for ItemName {
    fn from(name: &str) -> Self {
        Self::new(name.as_bytes())
    }
}

impl<const MAX: usize> From<&Text<MAX>> for ItemName {
    fn from(name: &Text<MAX>) -> Self {
        Self::new(name.as_str().as_bytes())
    }
}

impl From<Digest> for ItemName {
    fn from(name: Digest) -> Self {
        Self::new(name.as_bytes())
    }
}

dt_model::fixed_bytes! {
    /// An item: the digest of its owner and its name, and its address in the DHT.
    ///
    /// # Invariant
    /// A record at this address MUST name the owner and the name that give this digest, so nobody else can be there first.
    pub struct ItemId(32);
}

impl ItemId {
    /// The item that `owner` calls `name`.
    ///
    /// # Examples
    /// ```
    /// use dt_acl::ItemId;
    /// use dt_model::{Signer as _, testing::identity};
    ///
    /// let (anna, bert) = (identity(1).party(), identity(2).party());
    /// assert_eq!(ItemId::new(anna, "manual"), ItemId::new(anna, b"manual"));
    /// assert_ne!(ItemId::new(anna, "manual"), ItemId::new(bert, "manual"));
    /// ```
    #[must_use]
    pub fn new(owner: PartyId, name: impl Into<ItemName>) -> Self {
        Self(*ITEM.blake3(&[owner.as_bytes(), name.into().0.as_bytes()]).as_bytes())
    }

    /// Where its records lie.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::from(self.0)
    }

    /// Where its access control list lies.
    #[must_use]
    pub fn acl_key(&self) -> Key {
        Key { address: self.address(), slot: ACL_SLOT }
    }

    /// Where the record of its data lies.
    #[must_use]
    pub fn data_key(&self) -> Key {
        Key { address: self.address(), slot: DATA_SLOT }
    }
}

impl From<ItemId> for Address {
    fn from(item: ItemId) -> Self {
        item.address()
    }
}

/// The slot of the access control list.
pub(crate) const ACL_SLOT: Slot = Slot { kind: ACL_KIND, index: 0 };
/// The slot of the data record.
pub(crate) const DATA_SLOT: Slot = Slot { kind: DATA_KIND, index: 0 };
