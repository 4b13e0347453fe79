//! Blobs: content of any length up to some GB, cut into stripes, each of them cut into as many shards as there are replicas, of which
//! k + 1 restore it (Reed-Solomon, systematic).
//!
//! ```text
//!   content  ──▶ stripe 0 │ stripe 1 │ … │ stripe m-1     1 MiB each (16 sealed chunks), the last one shorter
//!                   │           │             │
//!                   ▼           ▼             ▼           n shards each, shard i at the i-th replica of the stripe's own address
//!                n digests   n digests     n digests
//!                   └───────────┴──────┬──────┘
//!                                    index ──▶ n shards ──▶ BlobRef { length, data shards, n digests }
//!
//!   stripe ──pad──▶ [ s₀ | … | s_k ] ──Reed-Solomon──▶ s₀ … s_k  s_k+1 … s_n-1 ──BLAKE3──▶ n digests
//! ```
//!
//! What a [`BlobRef`] names directly is the blob's **root**: the content itself if it fits in one stripe, and else the index, which is
//! encoded as a stripe is. A stripe is a blob in its own right, with an address of its own: so a replica knows nothing of indexes, and
//! the stripes of one blob lie at different nodes.
//!
//! # One verdict
//! A reader that has restored a stripe encodes it again and compares the digests of *all* shards. So if a writer encoded
//! inconsistently, so that different shards restore different contents, every reader refuses, whichever shards he got. The index is
//! checked in the same way, and its length follows from the blob's: nothing is left in which two readers could differ.
//!
//! # Storing
//! ```text
//!   client ── PutShard i ──────────▶ replica i ── receipt ──▶ client       a quorum of them: a QuorumCertificate
//!   client ── KeepCertificate ─────▶ replica i ── kept ─────▶ client       a quorum of them: acknowledged
//! ```
//!
//! The second step is for those who come later: a node that takes over knows by the certificate that a quorum holds the stripe, and waits for it
//! (see [`crate::HandOver`]). It costs n requests more for each stripe, of 237 bytes and 232 for each receipt in the certificate, whose
//! signatures each node checks. With k = 1 that is 6 KB beside 2 MiB, to and fro; a node stores 450 bytes of it, beside half a MiB.
//!
//! # Reading
//! Any k + 1 of n shards will do, so a reader with a [`Timer`] asks k + 1 nodes: those that answered quickest so far, and of equally quick
//! ones those that hold the content itself, so that nothing is to be computed. When an answer is late, or is none, the next node is
//! asked besides. A node that was late or failed is avoided for some hundred stripes, one that signed a wrong shard for ever, as long as
//! there are others. Without a timer nobody knows what is late: then all are asked at once.
//!
//! # Bounds
//! At most [`STRIPES_IN_FLIGHT`] stripes of a [`BlobWriter`] or [`BlobReader`] are under way. With n replicas, of which any k + 1 restore a
//! stripe, and a quorum of q, in bytes:
//!
//! - a writer holds the messages of these stripes, each n / (k + 1) stripes long; what n − q slow replicas have still to take, at most two
//!   shards each beside those under way; and three stripes that are being filled and encoded.
//! - a reader holds the shards of these stripes, k + 1 of each, or n without a timer.
//! - both hold the index: 128 KiB for 1 GiB when k = 1, and [`MAX_INDEX_BYTES`] at most.
//!
//! The erasure code has 8 MiB of tables besides, once in a process, and as working memory up to 2n / (k + 1) stripes.

mod client;
mod code;
mod fetch;
mod index;
mod peers;
mod reader;
mod reference;
mod store;
mod timer;
mod writer;

pub use code::{StripeCoder, decode_stripe, encode_stripe};
pub use reader::BlobReader;
pub use reference::{BlobError, BlobRef, MAX_BLOB_BYTES, MAX_INDEX_BYTES, STRIPE_BYTES, max_blob_bytes};
pub use timer::Timer;
pub use writer::{BlobWriter, Checkpoint, Progress};

pub(crate) use peers::Peers;
pub(crate) use reference::shard_digest;

/// How many stripes of one blob are under way at once: enough that the network works while the next stripe is computed, few enough
/// that a writer takes some 20 MB.
pub const STRIPES_IN_FLIGHT: usize = 3;
