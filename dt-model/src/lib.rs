//! The vocabulary every crate shares: identities, keys, digests, ids, time, the canonical codec, signed envelopes.
//!
//! ```text
//!                 Identity ──implements──▶ Signer (seam: file, HSM, cloud key store)
//!                    │ sign
//!                    ▼
//!   value ──codec──▶ body ──▶ Envelope<T> ──wire──▶ Envelope<T> ──open──▶ Signed<T>
//!                             signer, signature,                          verified over the
//!                             body bytes                                  bytes as received
//! ```
//!
//! Nothing here does I/O on its own behalf (only [`Identity::save`] and [`Identity::load`] touch a file), reads a clock, or draws
//! randomness: time and random sources are arguments.
//!
//! # Example
//!
//! ```
//! use borsh::{BorshDeserialize, BorshSerialize};
//! use dt_model::{Domain, Envelope, Identity, Message, Signed, codec};
//!
//! #[derive(BorshSerialize, BorshDeserialize)]
//! struct Note { twin: [u8; 32], text: String }
//!
//! impl Message for Note {
//!     const DOMAIN: Domain = Domain::new("dt/example/note/v1");
//!     const MAX_BYTES: usize = 4096;
//! }
//!
//! # let mut rng: rand_chacha::ChaCha20Rng = rand_chacha::rand_core::SeedableRng::from_seed([7; 32]);
//! let maintainer = Identity::generate(&mut rng);
//! let note = Note { twin: [1; 32], text: "sensor replaced".into() };
//! let sent = Signed::new(note, &maintainer)?.into_envelope();
//! let wire = codec::encode(&sent);
//!
//! // Elsewhere, by someone who trusts nobody on the way:
//! let received: Envelope<Note> = codec::decode(&wire, 8192)?;
//! let note = received.open()?;
//! assert_eq!(note.signer(), maintainer.party());
//! assert_eq!(note.text, "sensor replaced");
//! # use dt_model::Signer as _;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod codec;
mod digest;
pub mod file;
mod fixed;
#[doc(hidden)]
pub use fixed::fixed_support as __fixed;
extern crate self as dt_model;
mod formal;
mod id;
mod identity;
mod key;
pub mod merkle;
mod recent_keys;
mod secret;
mod signed;
mod signer;
#[cfg(feature = "testing")]
pub mod testing;
mod time;

pub use codec::{DecodeError, decode, encode};
pub use digest::{ContentHash, ContentHasher, Digest, Domain, DomainHasher};
pub use fixed::FixedParseError;
pub use formal::{DataClass, DataElement, Operation, Permission};
pub use id::{ComponentId, Name, Text, TextError, TwinId, is_forbidden};
pub use identity::{Identity, IdentityError, Protection};
pub use key::{EncryptionKey, InvalidKey, PartyId, Signature, SignatureError};
pub use secret::{Secret, SecretError};
pub use signed::{Envelope, Message, OpenError, Signed};
pub use signer::{Signer, SignerError};
pub use time::Timestamp;

#[doc(hidden)]
pub mod __private {
    pub use borsh;
    pub use serde;
}
