//! A party's card: what the others have to know of it before there is a chain. It is public, and signed by the organisation's authority.

use std::path::Path;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Domain, Envelope, Identity, Message, Name, PartyId, Signature, Signed, Text, codec, file};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, at};

/// An address of the network engines (a multiaddress).
pub(crate) type Address = Text<256>;

/// Who an organisation is, and where its node is reached.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Card {
    /// What people call the organisation and the party that takes part for it.
    pub(crate) name: Name,
    /// The key that certifies the organisation's parties, votes for it, and has signed this card.
    pub(crate) authority: PartyId,
    /// The key that votes on blocks.
    pub(crate) validator: PartyId,
    /// The key of the party, and of its DHT node.
    pub(crate) party: PartyId,
    /// What the consensus engine's network knows the node by.
    pub(crate) node: Text<128>,
    /// Where the consensus engine is reached.
    pub(crate) consensus: Address,
    /// Where transactions and images are exchanged.
    pub(crate) exchange: Address,
    /// Where the DHT node is reached.
    pub(crate) storage: Address,
}

impl Message for Card {
    const DOMAIN: Domain = Domain::new("dt/example/twin-node/card/v1");
    const MAX_BYTES: usize = 4 * 1024;
}

/// A card and its signature, as they lie in a file: JSON that people can read. Nothing about it is verified.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignedCard {
    pub(crate) card: Card,
    pub(crate) signature: Signature,
}

/// A card file is some hundred bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

impl SignedCard {
    /// Signs `card`, which is that of `authority`.
    pub(crate) fn new(card: Card, authority: &Identity) -> Result<Self, Failure> {
        let signed = Signed::new(card, authority).map_err(|error| Failure::internal(&error))?;
        let signature = *signed.envelope().signature();
        Ok(Self { card: signed.into_value(), signature })
    }

    /// The card, if its authority has signed it.
    pub(crate) fn verify(&self) -> Result<&Card, Failure> {
        let body = codec::encode(&self.card).into();
        let envelope = Envelope::<Card>::unverified(self.card.authority, self.signature, body);
        match envelope.open() {
            Ok(_) => Ok(&self.card),
            Err(error) => Err(Failure::bad_input(format_args!("the card of {}: {error}", self.card.name))),
        }
    }

    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let signed: Self = read_json(path, MAX_FILE_BYTES)?;
        signed.verify().map_err(|error| at(path, error))?;
        Ok(signed)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        write_json(path, self)
    }
}

/// What a JSON file of at most `limit` bytes says.
pub(crate) fn read_json<T: for<'de> Deserialize<'de>>(path: &Path, limit: u64) -> Result<T, Failure> {
    let length = std::fs::metadata(path).map_err(|error| at(path, error))?.len();
    if length > limit {
        return Err(at(path, format_args!("{length} bytes are more than {limit}")));
    }
    let text = std::fs::read(path).map_err(|error| at(path, error))?;
    serde_json::from_slice(&text).map_err(|error| at(path, error))
}

/// Writes a JSON file for people, whole or not at all.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| Failure::internal(&error))?;
    text.push(b'\n');
    file::write_private(path, &text).map_err(|error| at(path, error))
}
